"""Batches of any size, layout and precision give each image what it would get alone."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2i.acceleration import AccelerationConfig, Choices
from i2i.models.generation import generate
from i2i.networks import build_generator
from i2i.translation import suitable_batch_size
from i2i.translator import Translator
from tests import tiny

PATHS = ("x/one.png", "two.png", "y/three.jpg")
KINDS = [
    (name, norm, dropout) for name in ("unet", "resnet") for norm in ("batch", "instance", "none") for dropout in (0, 1)
]


def network(name: str, norm: str, dropout: Any, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    depth = {"unet": {"num_downs": 6}, "resnet": {"num_blocks": 2}}[name]  # dropout begins at a U-Net's fifth level
    net = build_generator(
        name, in_channels=3, out_channels=3, filters=4, norm=norm, dropout=bool(dropout), upsample="deconv", **depth
    )
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics and weights that are not those of a fresh layer
            for value in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(value, 0.5, 1.5)
    return net.to(dtype)


def images(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype) * 2 - 1


def as_the_reference_does(net: nn.Module, image: Tensor, path: str) -> Tensor:
    """One image through a network in training mode, from the seed that its name gives."""
    torch.manual_seed(zlib.crc32(f"7:{path.split('/')[-1]}".encode()))
    with torch.no_grad():
        return net.train()(image[None])[0]


@pytest.mark.parametrize(("name", "norm", "dropout"), KINDS)
@pytest.mark.parametrize("running_statistics", [False, True])
def test_a_batch_gives_what_single_images_give(name: str, norm: str, dropout: int, running_statistics: bool) -> None:
    net = network(name, norm, dropout)
    together = generate(net, images(), PATHS, 7, running_statistics)
    alone = [
        generate(net, image[None], (path,), 7, running_statistics) for image, path in zip(images(), PATHS, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-9)
    spread = (together[0] - together[1]).abs().max()
    assert spread > 1e-3, "images that all come out alike would prove nothing"


@pytest.mark.parametrize(("name", "norm", "dropout"), KINDS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_what_the_reference_gives(name: str, norm: str, dropout: int, layout: torch.memory_format) -> None:
    net = network(name, norm, dropout, torch.float32)
    batch = images(torch.float32).to(memory_format=layout)
    together = generate(net, batch, PATHS, 7)
    expected = [
        as_the_reference_does(net, image, path) for image, path in zip(images(torch.float32), PATHS, strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(expected), rtol=0, atol=1e-4)


def test_dropout_is_on_unless_running_statistics_are_asked_for() -> None:
    net = network("resnet", "instance", 1)
    dropped, other, kept = (
        generate(net, images(), PATHS, seed, eval) for seed, eval in ((7, False), (8, False), (7, True))
    )
    assert not torch.equal(dropped, other) and not torch.equal(dropped, kept)
    torch.testing.assert_close(kept, generate(net, images(), PATHS, 8, True), rtol=0, atol=0)


def test_nothing_is_left_changed() -> None:
    net = network("unet", "batch", 1)
    net.down[1].eval()
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    modes, drawn = [module.training for module in net.modules()], torch.get_rng_state()
    for _ in range(2):
        generate(net, images(), PATHS, 7)
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes and torch.equal(torch.get_rng_state(), drawn)
    assert not any("forward" in vars(module) for module in net.modules())


def test_an_error_leaves_nothing_changed_either() -> None:
    net = network("unet", "batch", 1)
    with pytest.raises(RuntimeError):
        generate(net, images()[:, :2], PATHS, 7)
    assert not any("forward" in vars(module) for module in net.modules())


# --- the translator


def test_a_result_is_a_tensor_like_any_other() -> None:
    result = Translator(tiny.cyclegan(), device="cpu")(torch.rand(3, 16, 16))
    weight = torch.ones((), requires_grad=True)
    (weight * result).sum().backward()
    assert weight.grad is not None and not result.requires_grad


@pytest.mark.parametrize("build", [tiny.cyclegan, tiny.pix2pix])
@pytest.mark.parametrize("channels_last", ["on", "off"])
def test_bf16_is_close_to_fp32(build: Any, channels_last: str) -> None:
    model, batch = build(), images(torch.float32)
    exact = Translator(model, device="cpu").translate(batch, PATHS)
    config = AccelerationConfig(precision="bf16", channels_last=channels_last)
    translator = Translator(model, device="cpu", acceleration=config)
    close = translator.translate(batch, PATHS)
    assert close.dtype == torch.float32 and not torch.equal(close, exact)
    assert (close - exact).abs().mean() < 0.02 * exact.abs().max()
    kinds = {m.weight.dtype for m in translator.inference.networks[0].modules() if isinstance(m, nn.Conv2d)}
    assert kinds == {torch.bfloat16}, "converted once, not at every image"
    torch.testing.assert_close(translator.visuals(batch, None, PATHS)["fake_B"].float(), close)


def test_generated_images_come_in_bf16_too() -> None:
    model, labels = tiny.cgan(), torch.tensor([0, 1, 2])
    exact = Translator(model, device="cpu").generate(labels, 3)
    close = Translator(model, device="cpu", acceleration=AccelerationConfig(precision="bf16")).generate(labels, 3)
    assert close.dtype == torch.float32 and 0 < (close - exact).abs().max() < 0.1


def test_what_the_device_cannot_do_is_refused() -> None:
    translator = Translator(tiny.cyclegan(), device="cpu", acceleration=AccelerationConfig(precision="fp16"))
    with pytest.raises(ValueError, match="fp16 needs CUDA"):
        translator.translate(images(torch.float32))


def test_a_translation_goes_on_where_compiling_fails(caplog: pytest.LogCaptureFixture) -> None:
    def fails(*inputs: Tensor) -> Tensor:
        raise RuntimeError("no compiler")

    model, batch = tiny.cyclegan(), images(torch.float32)
    expected = Translator(model, device="cpu").translate(batch)
    translator = Translator(model, device="cpu")
    translator.inference.choices = Choices(compile="default")
    model.generator_a_to_b._compiled_call_impl = fails
    for _ in range(2):
        torch.testing.assert_close(translator.translate(batch), expected)
    assert [record.getMessage() for record in caplog.records] == [
        "compiled networks fail, the translation goes on without compiling: no compiler"
    ]


def test_dropout_and_batch_norm_by_image_go_through_a_compiler() -> None:
    net, batch = network("unet", "batch", 1), images()
    expected = generate(net, batch, PATHS, 7)
    net.compile(backend="eager")  # all of torch.compile but the code that it would write
    for _ in range(2):
        torch.testing.assert_close(generate(net, batch, PATHS, 7), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(generate(net, batch, PATHS, 7, True), generate(net.eval(), batch, PATHS, 7, True))


def test_batches_are_large_where_that_pays() -> None:
    deep, flat = tiny.pix2pix(num_downs=5), tiny.cyclegan()
    sizes = [suitable_batch_size(Translator(model, device="cpu")) for model in (deep, flat, tiny.cgan())]
    assert sizes == [8, 1, 64]
