import json
import os
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from i2i.networks import (
    DISCRIMINATORS,
    GENERATORS,
    INITIALIZATIONS,
    NORMS,
    UPSAMPLINGS,
    build_generator,
    initialize,
)
from i2i.networks.blocks import PixelShuffleConv2d, pad_to_multiple, upsampling_layer
from i2i.networks.kernels import reflect_pad

SMALL: dict[str, dict[str, int]] = {"resnet": {"num_blocks": 1}, "unet": {"num_downs": 3}}


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def small_generator(name: str, **keywords: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_generator(name, in_channels=2, out_channels=1, filters=4, **SMALL[name], **keywords)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# padding


def test_reflection_of_a_row_by_hand():
    row = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    assert reflect_pad(row, 5, 4, 0, 0).flatten().tolist() == [2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3]
    assert reflect_pad(row, 0, 0, 2, 1).shape == (1, 1, 4, 3)


def test_a_single_pixel_is_repeated():
    assert reflect_pad(torch.full((1, 1, 1, 1), 7.0), 3, 3, 3, 3).equal(torch.full((1, 1, 7, 7), 7.0))


def test_deterministic_padding_equals_torch_in_value_and_gradient(deterministic):
    image = torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, 5 + 3, 6 + 5, dtype=torch.float64)
    ours = reflect_pad(image, 4, 1, 1, 2)
    (ours_gradient,) = torch.autograd.grad((ours * weight).sum(), image)
    theirs = F.pad(image, (4, 1, 1, 2), mode="reflect")
    (theirs_gradient,) = torch.autograd.grad((theirs * weight).sum(), image)
    assert ours.equal(theirs)
    torch.testing.assert_close(ours_gradient, theirs_gradient, rtol=0, atol=1e-14)


def test_networks_stay_the_same_under_deterministic_algorithms(deterministic):
    network = small_generator("resnet")
    image = torch.randn(1, 2, 13, 9)
    gathered = network(image)
    torch.use_deterministic_algorithms(False)
    assert gathered.equal(network(image))


def test_padding_to_a_multiple_is_a_no_op_at_multiples():
    image = torch.randn(1, 1, 8, 12)
    assert pad_to_multiple(image, 4) is image
    assert pad_to_multiple(image, 8).shape == (1, 1, 8, 16)
    assert pad_to_multiple(image, 4, minimum=20).shape == (1, 1, 20, 20)


# generators


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("upsample", UPSAMPLINGS)
def test_generators_keep_any_size(name: str, norm: str, upsample: str):
    network = small_generator(name, norm=norm, upsample=upsample, dropout=True)
    for training, size in product([True, False], [(1, 1), (17, 31), (50, 32)]):
        fake = network.train(training)(torch.randn(2, 2, *size))
        assert fake.shape == (2, 1, *size)
        assert fake.abs().max() <= 1


@pytest.mark.parametrize(("name", "right"), [("resnet", 2), ("unet", 6)])
def test_sizes_in_between_equal_the_reflected_image_cropped(name: str, right: int):
    network = small_generator(name).eval()
    image = torch.randn(1, 2, 13, 18)
    padded = F.pad(image, (0, right, 0, 3), mode="reflect")
    assert network(image).equal(network(padded)[..., :13, :18])


@pytest.mark.parametrize("name", ["unet_64", "unet_128", "unet_256", "resnet_9blocks"])
def test_full_size_generators_translate_one_odd_image(name: str):
    network = GENERATORS[name](in_channels=1, out_channels=3, filters=2)
    assert network(torch.randn(1, 1, 33, 100)).shape == (1, 3, 33, 100)


@pytest.mark.parametrize(("name", "upsample"), list(product(SMALL, UPSAMPLINGS)))
def test_flags_never_change_keys(name: str, upsample: str):
    plain = small_generator(name, upsample=upsample).state_dict()
    dropped = small_generator(name, upsample=upsample, dropout=True).state_dict()
    assert list(plain) == list(dropped)
    assert list(plain) == list(small_generator(name).state_dict())
    without_norm = small_generator(name, upsample=upsample, norm="none").state_dict()
    assert list(plain) == list(without_norm)


def test_dropout_acts_in_training_only():
    for name, depth in (("resnet", {"num_blocks": 1}), ("unet", {"num_downs": 6})):
        network = build_generator(name, in_channels=1, out_channels=1, filters=8, dropout=True, **depth)
        image = torch.randn(1, 1, 64, 64)
        assert not network(image).equal(network(image))
        network.eval()
        assert network(image).equal(network(image))


def test_unet_drops_out_where_the_reference_does():
    network = GENERATORS["unet_256"](in_channels=1, out_channels=1, filters=1, dropout=True)
    assert [isinstance(layer.dropout, nn.Dropout) for layer in network.up] == [False, True, True, True] + 3 * [False]


@pytest.mark.parametrize("kind", UPSAMPLINGS)
@pytest.mark.parametrize("kernel_size", [3, 4])
def test_upsampling_doubles_the_size(kind: str, kernel_size: int):
    layer = upsampling_layer(kind, 3, 5, bias=True, kernel_size=kernel_size)
    assert layer(torch.randn(2, 3, 1, 7)).shape == (2, 5, 2, 14)


def test_nearest_upsampling_by_hand():
    layer = upsampling_layer("nearest", 1, 1, bias=False, kernel_size=3)
    layer.weight.data.copy_(torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]).view(1, 1, 3, 3))
    assert layer(torch.tensor([[[[1.0, 2.0]]]])).tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]


def test_pixelshuffle_starts_without_checkerboard():
    network = small_generator("unet", upsample="pixelshuffle")
    initialize(network)
    layers = [module for module in network.modules() if isinstance(module, PixelShuffleConv2d)]
    assert len(layers) == 3
    for layer in layers:
        enlarged = layer(torch.randn(1, layer.in_channels, 4, 4))
        smooth = F.interpolate(enlarged[..., ::2, ::2], scale_factor=2.0, mode="nearest")
        torch.testing.assert_close(enlarged, smooth)


def test_builder_refuses_what_a_generator_does_not_take():
    with pytest.raises(ValueError, match="unknown generator 'resent'.*resnet_9blocks"):
        build_generator("resent", in_channels=3, out_channels=3)
    with pytest.raises(ValueError, match="'unet_256' takes no num_blocks, got 4: choose 'resnet'"):
        build_generator("unet_256", in_channels=3, out_channels=3, num_blocks=4)
    with pytest.raises(ValueError, match="'resnet_9blocks' takes no num_blocks, got 6"):
        build_generator("resnet_9blocks", in_channels=3, out_channels=3, num_blocks=6)
    with pytest.raises(ValueError, match="num_downs 1 is too small"):
        build_generator("unet", in_channels=3, out_channels=3, num_downs=1)
    with pytest.raises(ValueError, match="unknown norm 'group': choose one of instance, batch, none"):
        build_generator("resnet", in_channels=3, out_channels=3, norm="group")
    with pytest.raises(ValueError, match="unknown upsampling 'cubic': choose one of deconv"):
        build_generator("unet", in_channels=3, out_channels=3, upsample="cubic")


# discriminators


def test_basic_sees_seventy_pixels_of_each_patch():
    network = DISCRIMINATORS["basic"](1, filters=2, norm="none").double()
    image = torch.randn(1, 1, 256, 256, dtype=torch.float64, requires_grad=True)
    logits = network(image)
    assert logits.shape == (1, 1, 30, 30)
    (gradient,) = torch.autograd.grad(logits[0, 0, 15, 15], image)
    rows = gradient[0, 0].abs().sum(dim=1).nonzero()
    assert rows.max() - rows.min() + 1 == 70


@pytest.mark.parametrize("n_layers", [1, 2, 4])
def test_every_number_of_layers_takes_its_minimum_size(n_layers: int):
    network = DISCRIMINATORS["n_layers"](3, filters=2, n_layers=n_layers)
    size = 3 * 2**n_layers
    assert network(torch.randn(1, 3, size, size)).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=f"{n_layers} layers needs images of at least {size}x{size}, got {size}x5"):
        network(torch.randn(1, 3, 5, size))


def test_pixel_judges_each_pixel_by_itself():
    network = DISCRIMINATORS["pixel"](2, filters=4, norm="none")
    image = torch.randn(1, 2, 3, 5)
    assert network(image).shape == (1, 1, 3, 5)
    torch.testing.assert_close(network(image)[..., 1:2, 2:3], network(image[..., 1:2, 2:3]))


def test_discriminators_refuse_layers_that_they_do_not_have():
    with pytest.raises(ValueError, match="'basic' has 3 layers, not 5: choose 'n_layers'"):
        DISCRIMINATORS["basic"](3, n_layers=5)
    with pytest.raises(ValueError, match="'pixel' has no n_layers, got 5"):
        DISCRIMINATORS["pixel"](3, n_layers=5)
    with pytest.raises(ValueError, match="n_layers 0 is too small"):
        DISCRIMINATORS["n_layers"](3, n_layers=0)


# all networks


@pytest.mark.parametrize("name", [*SMALL, *DISCRIMINATORS])
def test_every_parameter_gets_a_gradient(name: str):
    discriminator = name in DISCRIMINATORS
    network = DISCRIMINATORS[name](2, filters=4) if discriminator else small_generator(name, norm="batch", dropout=True)
    network(torch.randn(2, 2, 24, 24)).square().sum().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


# initialisation


def test_initial_statistics():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(64, 64, 3), nn.BatchNorm2d(4096), nn.Linear(300, 200), nn.ConvTranspose2d(32, 64, 4)
    )
    initialize(network)
    for layer in (network[0], network[2], network[3]):
        assert abs(layer.weight.mean()) < 1e-3
        assert abs(layer.weight.std() - 0.02) < 1e-3
        assert not layer.bias.any()
    assert abs(network[1].weight.mean() - 1) < 2e-3
    assert abs(network[1].weight.std() - 0.02) < 2e-3
    assert not network[1].bias.any()


def test_initial_scales_of_the_other_types():
    torch.manual_seed(0)
    layer = nn.Linear(400, 200)
    initialize(layer, "xavier", gain=2.0)
    assert abs(layer.weight.std() - 2 * (2 / 600) ** 0.5) < 2e-3
    initialize(layer, "kaiming")
    assert abs(layer.weight.std() - (2 / 400) ** 0.5) < 2e-3
    initialize(layer, "orthogonal", gain=3.0)
    torch.testing.assert_close(layer.weight @ layer.weight.T, 9 * torch.eye(200), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match=f"'zeros': choose one of {', '.join(INITIALIZATIONS)}"):
        initialize(layer, "zeros")


# the reference's full-size networks

LAYOUTS = Path(os.environ.get("I2I_TEST_DATA", "")) / "reference" / "state_dict_layouts.json"


@pytest.mark.skipif("I2I_TEST_DATA" not in os.environ, reason="I2I_TEST_DATA is not set")
def test_parameter_counts_are_the_references():
    layouts = json.loads(LAYOUTS.read_text())
    for name, layout in layouts.items():
        with torch.device("meta"):
            network = full_size_network(name)
        assert parameter_count(network) == layout["parameters"], name
        assert len(network.state_dict()) == len(layout["tensors"]), name


def full_size_network(layout: str) -> nn.Module:
    """Build what a layout's name says: 'unet_256/batch/dropout' or 'discriminator basic n_layers=3 in=3/batch'."""
    described, norm, *dropout = layout.split("/")
    if dropout:
        return GENERATORS[described](in_channels=3, out_channels=3, norm=norm, dropout=dropout == ["dropout"])
    _, name, n_layers, in_channels = described.split()
    numbers = {"n_layers": int(n_layers.split("=")[1]), "in_channels": int(in_channels.split("=")[1])}
    return DISCRIMINATORS[name](**numbers, norm=norm)
