"""Every kernel gives what torch's layer gives, keeps the layout, and runs where it should."""

import copy
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from i2i.networks import DISCRIMINATORS, GENERATORS, UPSAMPLINGS, kernels
from i2i.networks.blocks import InterpolateConv2d, PixelShuffleConv2d
from i2i.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from i2i.networks.layers import Conv2d, ConvTranspose2d, InstanceNorm2d, ReflectionPad
from i2i.networks.unet import UNetGenerator

# name -> (layer, sizes of its input): the smallest, odd ones, and where a layer has few positions, many of them
LAYERS: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, int]]]] = {
    "instance": (lambda: InstanceNorm2d(6), [(1, 2), (7, 5), (16, 32)]),
    "pad": (lambda: ReflectionPad(2), [(3, 4), (7, 5), (16, 32)]),
    "conv 4x4 stride 2": (lambda: Conv2d(6, 5, 4, stride=2, padding=1), [(2, 2), (7, 5), (48, 50)]),
    "conv 3x3": (lambda: Conv2d(6, 7, 3, bias=False), [(3, 4), (9, 6), (26, 27)]),
    "conv 1x1": (lambda: Conv2d(6, 2, 1), [(1, 1), (3, 5), (23, 24)]),
    "head": (lambda: Conv2d(6, 3, 7), [(7, 8), (31, 32), (30, 32), (40, 30)]),
    "padded head": (lambda: Conv2d(6, 4, 7, padding=3, bias=False), [(1, 2), (26, 24), (25, 24)]),
    "deconv 4x4 stride 2": (lambda: ConvTranspose2d(6, 5, 4, stride=2, padding=1), [(1, 1), (3, 5), (23, 24)]),
    "deconv 3x3 stride 2": (
        lambda: ConvTranspose2d(6, 5, 3, stride=2, padding=1, output_padding=1, bias=False),
        [(1, 2), (5, 4), (23, 24)],
    ),
    "projection": (lambda: ConvTranspose2d(6, 5, 7), [(1, 1), (2, 3)]),
    "nearest": (lambda: InterpolateConv2d(6, 5, True, "nearest"), [(1, 2), (12, 24)]),
    "bilinear": (lambda: InterpolateConv2d(6, 5, False, "bilinear"), [(1, 2), (12, 24)]),
    "pixelshuffle": (lambda: PixelShuffleConv2d(6, 5, True), [(2, 3), (23, 24)]),
}
CASES = [(name, size) for name, (_, sizes) in LAYERS.items() for size in sizes]


class Operations(TorchDispatchMode):
    """Counts torch's operations, backward ones too, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[operation.overloadpacket.__name__] += 1
        return operation(*args, **(kwargs or {}))


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return LAYERS[name][0]()


def maps(batch: int, size: tuple[int, int], channels_last: bool, channels: int = 6) -> Tensor:
    """Random maps with a mean, like those that convolutions with a bias give."""
    torch.manual_seed(1)
    x = torch.randn(batch, channels, *size) + 0.5
    return x.clone(memory_format=torch.channels_last) if channels_last else x


def use_plain(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if hasattr(module, "kernels"):
            module.kernels = "plain"
    return network


def derivatives(network: nn.Module, x: Tensor, *labels: Tensor) -> list[list[Tensor]]:
    """Output; gradients by the input and the weights; again, differentiable; those of the input's squared gradient."""
    x = x.detach().requires_grad_()
    output = network(x, *labels)
    torch.manual_seed(2)
    direction, leaves = torch.empty_like(output).copy_(torch.randn(output.shape)), [x, *network.parameters()]
    first = torch.autograd.grad(output, leaves, direction, retain_graph=True)
    again = torch.autograd.grad(output, leaves, direction, create_graph=True)
    if not again[0].requires_grad:
        return [[output], [*first], [*again]]
    second = torch.autograd.grad(again[0].square().sum(), leaves, allow_unused=True, materialize_grads=True)
    return [[output], [*first], [*again], [*second]]


def assert_as_exact(network: nn.Module, x: Tensor, *labels: Tensor, tolerance: float, twice: bool = True) -> Tensor:
    """Compare with what torch itself gives in float64 and NCHW, by the largest value of each order; gives the output.

    Not by that of each tensor: the gradient of a bias before a norm is 0, and all that one sees is rounding.
    """
    exact = use_plain(copy.deepcopy(network)).double()
    got, expected = derivatives(network, x, *labels), derivatives(exact, x.detach().double().contiguous(), *labels)
    for group, exact_group in [*zip(got, expected, strict=True)][: None if twice else 2]:
        scale = max(1.0, *(value.abs().max().item() for value in exact_group))
        for one, other in zip(group, exact_group, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=0, atol=tolerance * scale)
    return got[0][0]


@pytest.mark.parametrize(("name", "size"), CASES)
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "NHWC"])
def test_layers_equal_torch_in_fp32(name: str, size: tuple[int, int], batch: int, channels_last: bool) -> None:
    layer, x = build(name), maps(batch, size, channels_last)
    output = assert_as_exact(layer, x, tolerance=3e-5)
    if channels_last:
        assert output.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert layer(x).equal(output)


@pytest.mark.parametrize(("name", "size"), CASES)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "NHWC"])
def test_layers_equal_torch_within_bf16(name: str, size: tuple[int, int], batch: int, channels_last: bool) -> None:
    layer, x = build(name), maps(batch, size, channels_last).bfloat16()
    for weight in layer.parameters():
        weight.data = weight.data.bfloat16().float()  # so that only results are rounded
    with torch.autocast("cpu", torch.bfloat16):
        assert assert_as_exact(layer, x, tolerance=2**-7, twice=False).dtype == torch.bfloat16


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "NHWC"])
def test_norm_of_bf16_has_exact_statistics(batch: int, channels_last: bool) -> None:
    """Only the result is rounded, even for few values far from 0, by whose bf16 mean nothing could be told."""
    x = (maps(batch, (2, 2), channels_last) + 10).bfloat16()
    direction = maps(batch, (2, 2), channels_last).square().bfloat16()
    exact = (value.double().contiguous() for value in (x, direction))
    expected, by_input = output_and_gradient(nn.InstanceNorm2d(6), *exact)
    output, gradient = output_and_gradient(InstanceNorm2d(6), x, direction)
    torch.testing.assert_close(output.double(), expected, rtol=2**-8, atol=1e-5)
    torch.testing.assert_close(gradient.double(), by_input, rtol=2**-8, atol=1e-5 * by_input.abs().max().item())


@pytest.mark.parametrize("kind", ["auto", "plain"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norm_is_right_between_layouts(kind: str, dtype: torch.dtype) -> None:
    """torch's own goes wrong where the gradient is channels_last and the batch is one."""
    layer = InstanceNorm2d(6)
    layer.kernels = kind
    x, direction = maps(1, (5, 4), False).to(dtype), torch.randn(1, 6, 5, 4, dtype=dtype)
    expected = output_and_gradient(nn.InstanceNorm2d(6), x.double(), direction.double())
    last = x.contiguous(memory_format=torch.channels_last)
    inputs = [x, last]
    if kind == "auto" and dtype == torch.float32:
        inputs.append(last[0][None])  # a batch of one whose stride is that of a channel
    for layout in inputs:
        for other in (direction, direction.contiguous(memory_format=torch.channels_last)):
            output, gradient = output_and_gradient(layer, layout, other)
            torch.testing.assert_close(output.double(), expected[0], rtol=0, atol=1e-5)
            torch.testing.assert_close(gradient.double(), expected[1], rtol=0, atol=1e-5)


def output_and_gradient(norm: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    output = norm(x)
    return output, *torch.autograd.grad(output, x, direction)


def test_a_single_value_has_no_norm() -> None:
    with pytest.raises(ValueError, match="Expected more than 1 spatial element"):
        InstanceNorm2d(3)(torch.zeros(2, 3, 1, 1))


# which kernel runs


def operations(layer: nn.Module, x: Tensor) -> Counter[str]:
    with Operations() as seen:
        layer(x.requires_grad_()).sum().backward()
    return seen.counts


@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize(("name", "few", "many"), [
    ("conv 4x4 stride 2", (4, (32, 16)), (4, (32, 18))),
    ("deconv 4x4 stride 2", (4, (16, 8)), (4, (16, 9))),
])  # fmt: skip
def test_few_positions_are_a_product(name: str, few: Any, many: Any, channels_last: bool) -> None:
    layer = build(name)
    product = operations(layer, maps(*few, channels_last))
    assert product["mm"] == 3 and not product["convolution"] and not product["convolution_backward"]
    alone = [
        operations(layer, maps(*many, channels_last)),
        operations(copy.deepcopy(layer).double(), maps(*few, channels_last).double()),
        operations(use_plain(layer), maps(*few, channels_last)),
    ]
    for counts in alone:
        assert counts["convolution"] == counts["convolution_backward"] == 1 and not counts["mm"]


def test_a_wide_kernel_for_few_channels_makes_blocks_of_an_even_size() -> None:
    head, x = build("head"), maps(1, (30, 32), True)
    assert operations(head, x)["pixel_shuffle"] == 1
    for layer, other in (
        (head, maps(1, (31, 32), True)),
        (Conv2d(6, 5, 7), x),
        (Conv2d(6, 3, 5), x),
        (Conv2d(6, 3, 7, stride=2, padding=20), x),
        (use_plain(copy.deepcopy(head)), x),
        (copy.deepcopy(head).double(), x.double()),
    ):
        counts = operations(layer, other.detach())
        assert counts["convolution"] == 1 and not counts["pixel_shuffle"]


NORMS = ("native_group_norm", "native_batch_norm", "var_mean", "cat", "view")


@pytest.mark.parametrize(("device", "batch", "channels_last", "expected"), [
    ("cpu", 1, False, {"native_group_norm": 1}),
    ("cpu", 3, False, {"native_group_norm": 1}),
    ("cpu", 1, True, {"native_batch_norm": 1}),
    ("cpu", 3, True, {"native_batch_norm": 3, "cat": 1}),
    ("cuda", 1, False, {"native_batch_norm": 1}),
    ("cuda", 3, False, {"native_batch_norm": 1, "view": 2}),
    ("cuda", 1, True, {"native_batch_norm": 1}),
    ("cuda", 3, True, {"var_mean": 1}),
])  # fmt: skip
def test_norm_takes_the_kernel_of_device_batch_and_layout(
    device: str, batch: int, channels_last: bool, expected: dict[str, int]
) -> None:
    with FakeTensorMode():
        x = torch.empty(batch, 6, 8, 8, device=device)
        x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
        with torch.no_grad(), Operations() as seen:
            output = InstanceNorm2d(6)(x)
    assert {name: seen.counts[name] for name in NORMS if seen.counts[name]} == expected
    assert output.stride() == x.stride()


def test_plain_norms_are_torchs() -> None:
    for layer, dtype in ((use_plain(InstanceNorm2d(6)), torch.float32), (InstanceNorm2d(6), torch.float64)):
        x = maps(2, (8, 8), False).to(dtype)
        assert operations(layer, x)["native_batch_norm"] == 1
        assert layer(x).equal(nn.InstanceNorm2d(6)(x))


# what only CUDA runs, which is right on the CPU too


class Formula(nn.Module):
    """The instance norm of compilers, and of torch's own where it is told to."""

    kernels = "auto"

    def forward(self, x: Tensor) -> Tensor:
        return kernels.norm_by_formula(x, 1e-5) if self.kernels == "auto" else F.instance_norm(x)


@pytest.mark.parametrize("size", [(1, 2), (7, 5)])
@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_formula_of_the_norm(size: tuple[int, int], channels_last: bool, dtype: torch.dtype) -> None:
    x = maps(2, size, channels_last).to(dtype)
    tolerance = 3e-5 if dtype == torch.float32 else 2**-7
    output = assert_as_exact(Formula(), x, tolerance=tolerance, twice=dtype == torch.float32)
    assert output.dtype == dtype
    assert output.stride() == x.stride()


def test_padding_channels_last_as_a_volume() -> None:
    x = maps(2, (5, 6), True)
    direction = torch.randn(2, 6, 10, 11)
    got = output_and_gradient(lambda image: kernels.reflect_pad_channels_last(image, 4, 1, 2, 3), x, direction)
    expected = output_and_gradient(lambda image: F.pad(image, (4, 1, 2, 3), mode="reflect"), x, direction)
    assert got[0].equal(expected[0])
    torch.testing.assert_close(got[1], expected[1])
    assert got[0].is_contiguous(memory_format=torch.channels_last)
    with FakeTensorMode(), Operations() as seen:
        padded = ReflectionPad(2)(torch.empty(2, 6, 8, 8, device="cuda").to(memory_format=torch.channels_last))
    assert seen.counts["reflection_pad3d"] == 1
    assert padded.is_contiguous(memory_format=torch.channels_last)


# whole networks

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: partial(build, in_channels=3, out_channels=3, filters=4) for name, build in GENERATORS.items()},
    **{f"unet {name}": partial(UNetGenerator, 3, 3, 4, upsample=name, num_downs=3) for name in UPSAMPLINGS},
    **{f"discriminator {name}": partial(build, 3, filters=4) for name, build in DISCRIMINATORS.items()},
    "class generator dcgan": partial(DCGANGenerator, 2, 32, 3, 5, 4),
    "class discriminator dcgan": partial(DCGANDiscriminator, 2, 32, 3, 4),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels_last", [False, True], ids=["NCHW", "NHWC"])
def test_networks_equal_torch(name: str, channels_last: bool) -> None:
    torch.manual_seed(0)
    network, image = NETWORKS[name](), maps(2, (32, 32), channels_last, channels=3)
    inputs = (image[:, 0, 0, :5], torch.tensor([0, 1])) if name.startswith("class generator") else (image,)
    inputs = (image, torch.tensor([0, 1])) if name.startswith("class discriminator") else inputs
    assert_as_exact(network, *inputs, tolerance=1e-5)


@pytest.mark.parametrize("name", ["resnet_6blocks", "unet_64", "discriminator basic"])
@pytest.mark.parametrize("batch", [1, 2])
def test_networks_keep_the_layout_to_the_end(name: str, batch: int) -> None:
    """Through the single pixel in the middle of a U-Net too, which looks the same in both."""
    network, seen = NETWORKS[name](), []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(kernels.is_channels_last(inputs[0])))
    for channels_last in (False, True):
        seen.clear()
        network(maps(batch, (64, 64), channels_last, channels=3))
        assert set(seen) == {channels_last}


@pytest.mark.parametrize(("backend", "precision", "tolerance"), [
    pytest.param("inductor", torch.float32, 1e-5, marks=pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc")),
    ("aot_eager", torch.bfloat16, 2**-5),
])  # fmt: skip
def test_compiled_layers_equal_torch_and_keep_the_layout(
    backend: str, precision: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    up = [ReflectionPad(3), Conv2d(4, 3, 7)]
    network = nn.Sequential(Conv2d(3, 4, 4, 2, 1), InstanceNorm2d(4), ConvTranspose2d(4, 4, 4, 2, 1), *up)
    x, direction = maps(2, (24, 24), True, channels=3), torch.randn(2, 3, 24, 24).to(precision)
    expected = output_and_gradient(use_plain(copy.deepcopy(network)), x.contiguous(), direction.float())
    network.compile(backend=backend)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        got = output_and_gradient(network, x, direction)
    assert got[0].dtype == precision and got[0].is_contiguous(memory_format=torch.channels_last)
    for one, exact in zip(got, expected, strict=True):
        torch.testing.assert_close(one.float(), exact, rtol=0, atol=tolerance * exact.abs().max().item())
