"""Spectral normalisation: largest singular values of 1, and networks that can be trained, saved and copied under it."""

import copy
import io
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from i2i.losses import gradient_penalty, r1_penalty
from i2i.networks import CLASS_DISCRIMINATORS, build_class_network, initialize
from i2i.networks.equalized import EqualizedConv2d, EqualizedLinear
from i2i.networks.layers import Conv2d, ConvTranspose2d
from i2i.networks.patchgan import PatchGAN, PixelDiscriminator
from i2i.networks.spectral import fold_spectral_norm, spectral_normalize
from i2i.networks.unet import UNetGenerator


class Projection(nn.Module):
    """Linear layers and an embedding, as in a class-conditional discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 24), nn.LeakyReLU(0.2), nn.Linear(24, 16))
        self.embedding = nn.Embedding(10, 16)

    def forward(self, image: Tensor) -> Tensor:
        label = torch.arange(len(image)) % 10
        return (self.embedding(label) * self.layers(image)).sum(dim=1, keepdim=True)


NETWORKS = {
    "patchgan": lambda: PatchGAN(3, 8),
    "pixel": lambda: PixelDiscriminator(3, 8),
    "unet": lambda: UNetGenerator(3, 3, 8, num_downs=5),
    "projection": Projection,
}


PASSES = 100  # as two singular values can be close to each other


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 32)


def normalized(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    spectral_normalize(network)
    return network


def weighted(network: nn.Module) -> Iterator[nn.Module]:
    return (m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding))


def as_matrix(layer: nn.Module, weight: Tensor) -> Tensor:
    """One row for each output channel, or each entry of an embedding."""
    return (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1)


def largest_singular_values(network: nn.Module) -> list[float]:
    network.eval()
    return [torch.linalg.matrix_norm(as_matrix(layer, layer.weight), 2).item() for layer in weighted(network)]


@pytest.mark.parametrize("name", NETWORKS)
def test_largest_singular_values_are_one(name: str) -> None:
    network, image = normalized(name), images(1)
    with torch.no_grad():
        for _ in range(PASSES):
            network(image)
    values = largest_singular_values(network)
    assert len(values) == sum(1 for _ in weighted(NETWORKS[name]()))
    assert values == pytest.approx([1] * len(values), abs=0.01)


def test_singular_values_are_followed_through_training() -> None:
    network = normalized("patchgan")
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        (-network(images()).mean()).backward()
        optimizer.step()
    before = [layer.parametrizations.weight.original.clone() for layer in weighted(normalized("patchgan"))]
    after = [layer.parametrizations.weight.original for layer in weighted(network)]
    assert all((new - old).abs().max() > 0.05 for new, old in zip(after, before, strict=True))
    with torch.no_grad():
        for _ in range(10):
            network(images())
    assert largest_singular_values(network) == pytest.approx([1] * len(after), abs=0.01)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_the_one_whose_weights_were_divided(name: str) -> None:
    torch.manual_seed(0)
    plain = NETWORKS[name]().double()
    network = copy.deepcopy(plain)
    spectral_normalize(network)
    with torch.no_grad():
        for layer, other in zip(weighted(network), weighted(plain), strict=True):
            u, values, v = torch.linalg.svd(as_matrix(other, other.weight), full_matrices=False)
            norm = layer.parametrizations.weight[0]
            norm._u.copy_(u[:, 0])
            norm._v.copy_(v[0])
            other.weight /= values[0]
    image = images().double()
    torch.testing.assert_close(network.eval()(image), plain.eval()(image))


def test_layers_are_normalised_once_and_nothing_else_is() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU())
    spectral_normalize(network)
    spectral_normalize(network)
    names = {name for name, _ in network.named_parameters()}
    assert names == {"0.bias", "0.parametrizations.weight.original", "1.weight", "1.bias", "2.weight"}
    assert len(network[0].parametrizations.weight) == 1


def test_the_norm_takes_the_place_of_an_equalised_scale() -> None:
    torch.manual_seed(0)
    layer = EqualizedLinear(6, 5)
    spectral_normalize(layer)
    layer.eval()
    assert layer.scaled_weight().equal(layer.weight)
    assert layer.parametrizations.weight.original.std() > 0.5  # which is what makes layers learn at one speed


@pytest.mark.parametrize(
    "layer", [EqualizedLinear(6, 5, gain=3.0, lr_multiplier=0.1), EqualizedConv2d(2, 5, 3, gain=3.0)]
)
def test_the_gain_of_an_equalised_layer_stays(layer: EqualizedLinear | EqualizedConv2d) -> None:
    spectral_normalize(layer)
    with torch.no_grad():
        for _ in range(PASSES):
            layer.scaled_weight()
    layer.eval()
    values = [torch.linalg.matrix_norm(weight.flatten(1), 2).item() for weight in (layer.weight, layer.scaled_weight())]
    assert values == pytest.approx([1, 3], rel=1e-3)


def class_effect(name: str, normalized: bool) -> float:
    """How much logits differ between classes of one image, relative to images of one class."""
    torch.manual_seed(0)
    network = build_class_network(
        "discriminator", name, num_classes=10, image_size=16, channels=1, filters=8, conditioning="embedding"
    )
    initialize(network)
    if normalized:
        spectral_normalize(network)
    image, label = torch.rand(20, 1, 16, 16) * 2 - 1, torch.arange(20) % 10
    with torch.no_grad():
        for _ in range(20):
            network(image, label)
        network.eval()
        of_classes = network(image[:1].expand_as(image), label)
        return (of_classes.std() / network(image, label.clamp(max=0)).std()).item()


@pytest.mark.parametrize("name", CLASS_DISCRIMINATORS)
def test_planes_of_a_class_keep_their_weight_beside_the_image(name: str) -> None:
    assert class_effect(name, normalized=True) > class_effect(name, normalized=False) / 3


# the kernels of i2i.networks.layers: few positions, wide kernels, torch's own

LAYERS = {
    "product": (lambda: Conv2d(6, 5, 4, stride=2, padding=1), (2, 6, 8, 8)),
    "blocks": (lambda: Conv2d(6, 3, 7, padding=3), (1, 6, 24, 24)),
    "convolution": (lambda: Conv2d(6, 5, 3, padding=1), (2, 6, 24, 24)),
    "transposed product": (lambda: ConvTranspose2d(6, 5, 4, stride=2, padding=1), (2, 6, 4, 4)),
    "transposed convolution": (lambda: ConvTranspose2d(6, 5, 4, stride=2, padding=1), (2, 6, 24, 24)),
}


def layer_and_input(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    layer = build()
    spectral_normalize(layer)
    return layer.eval(), torch.randn(shape)


@pytest.mark.parametrize("name", LAYERS)
def test_kernels_agree_on_normalised_weights(name: str) -> None:
    layer, x = layer_and_input(name)
    results = {}
    for kernels in ("auto", "plain"):
        layer.kernels = kernels
        y = layer(x)
        gradients = torch.autograd.grad(y.square().sum(), [layer.parametrizations.weight.original, layer.bias])
        with torch.no_grad():
            assert layer(x).equal(y)
        results[kernels] = (y, *gradients)
    torch.testing.assert_close(results["auto"], results["plain"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_kernels_work_on_normalised_weights_in_half_precision(name: str) -> None:
    layer, x = layer_and_input(name)
    original = layer.parametrizations.weight.original
    exact = layer(x)
    (expected,) = torch.autograd.grad(exact.square().mean(), original)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        loss = y.float().square().mean()
        with torch.no_grad():
            assert layer(x).equal(y)
    (gradient,) = torch.autograd.grad(loss, original)
    assert y.dtype == torch.bfloat16 and gradient.dtype == torch.float32
    torch.testing.assert_close(y.float(), exact, rtol=0.02, atol=0.02)
    assert (gradient - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_the_quotient(name: str) -> None:
    # Miyato et al. 2018, eq. 12: of W / (u W v), with u and v as constants
    layer, x = layer_and_input(name)
    parametrization = layer.parametrizations.weight
    u, v = parametrization[0]._u, parametrization[0]._v
    matrix = as_matrix(layer, parametrization.original)
    sigma = (u @ matrix @ v).item()
    weight = layer.weight.detach().requires_grad_()
    function = nn.functional.conv_transpose2d if isinstance(layer, nn.ConvTranspose2d) else nn.functional.conv2d
    y = function(x, weight, layer.bias, layer.stride, layer.padding)
    (through,) = torch.autograd.grad(y.square().mean(), weight)
    through = as_matrix(layer, through)
    expected = (through - (through * matrix / sigma).sum() * torch.outer(u, v)) / sigma

    (gradient,) = torch.autograd.grad(layer(x).square().mean(), parametrization.original)
    torch.testing.assert_close(as_matrix(layer, gradient), expected, rtol=1e-4, atol=1e-5)
    assert (gradient * parametrization.original).sum().item() == pytest.approx(0, abs=1e-4)  # blind to the scale


# in training


def test_each_pass_in_training_is_one_power_iteration_and_none_in_evaluation() -> None:
    layer = nn.Linear(6, 4)
    spectral_normalize(layer)
    norm, weight = layer.parametrizations.weight[0], layer.parametrizations.weight.original.detach()
    torch.nn.init.normal_(norm._v)
    u = nn.functional.normalize(weight @ norm._v, dim=0)
    v = nn.functional.normalize(weight.T @ u, dim=0)
    layer.train()(torch.randn(2, 6))
    torch.testing.assert_close((norm._u, norm._v), (u, v))
    layer.eval()(torch.randn(2, 6))
    torch.testing.assert_close((norm._u, norm._v), (u, v))


def test_two_passes_and_penalties_can_be_differentiated() -> None:
    network = normalized("patchgan")
    real, fake = images(), images()
    loss = network(fake).mean() - network(real).mean()
    loss = loss + gradient_penalty(network, real, fake) + r1_penalty(network, real)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    assert all(layer.parametrizations.weight.original.grad.abs().sum() > 0 for layer in weighted(network))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_loaded_network_goes_on_where_it_was(name: str) -> None:
    network, other, image = normalized(name), NETWORKS[name](), images()
    network(image)
    spectral_normalize(other)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.eval()(image).equal(network.eval()(image))
    for _ in range(2):
        torch.manual_seed(1)  # for dropout
        first = network.train()(image)
        torch.manual_seed(1)
        assert other.train()(image).equal(first)


def test_a_copy_lives_on_its_own() -> None:
    network, image = normalized("patchgan"), images()
    twin = copy.deepcopy(network)
    expected = network.eval()(image)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(2).add_(0.1)
        twin.train()(image)
    assert network(image).equal(expected)
    assert not twin.eval()(image).equal(expected)


# folding


@pytest.mark.parametrize("name", NETWORKS)
def test_a_folded_network_is_plain_and_computes_the_same(name: str) -> None:
    network, image = normalized(name), images()
    expected = network.eval()(image)
    folded = copy.deepcopy(network).train()
    fold_spectral_norm(folded)
    plain = NETWORKS[name]()
    assert folded.state_dict().keys() == plain.state_dict().keys()
    assert [type(module) for module in folded.modules()] == [type(module) for module in plain.modules()]
    assert folded.eval()(image).equal(expected)
    assert pickle.loads(pickle.dumps(folded))(image).equal(expected)
    assert network(image).equal(expected), "the original of the copy is left alone"


# features


@pytest.mark.parametrize("discriminator", [PatchGAN(3, 8, 2), PixelDiscriminator(3, 8)])
def test_patch_discriminators_lend_their_features(discriminator: PatchGAN | PixelDiscriminator) -> None:
    image = images()
    judged = discriminator(image, features=True)
    assert judged.logits.equal(discriminator(image))
    assert judged.class_logits is None
    assert len(judged.features) == len(discriminator.layers)
    assert discriminator.head(judged.features[-1]).equal(judged.logits)
    for layer, before, after in zip(discriminator.layers, (image, *judged.features), judged.features, strict=False):
        assert layer(before).equal(after)
