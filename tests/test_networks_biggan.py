"""Residual networks for images of a class (SNGAN, BigGAN), self-attention, and what holds for every discriminator."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from i2i.losses import r1_penalty
from i2i.networks import CLASS_DISCRIMINATORS, CLASS_GENERATORS, initialize
from i2i.networks.attention import SelfAttention
from i2i.networks.biggan import BigGANDiscriminator, BigGANGenerator, attention_level, noise_chunks
from i2i.networks.class_conditional import ConditionalBatchNorm, base_and_doublings
from i2i.networks.residual import DiscriminatorBlock, GeneratorBlock, level_widths
from i2i.networks.sngan import SNGANDiscriminator, SNGANGenerator
from i2i.networks.spectral import spectral_normalize
from i2i.random_state import SkipInit

LABEL = torch.tensor([0, 2])


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small_biggan(**keywords: int) -> BigGANGenerator:
    torch.manual_seed(0)
    return BigGANGenerator(
        **{"num_classes": 3, "image_size": 16, "channels": 1, "noise_dim": 7, "filters": 4} | keywords
    )


# sizes


def test_the_published_counts_of_biggan():
    """70.4 and 88.0 million at 128x128; table 1 of the paper says 158.3, which leaves out the 1000 x 128 embedding."""
    with torch.device("meta"), SkipInit():
        generator, discriminator = BigGANGenerator(1000, 128, 3), BigGANDiscriminator(1000, 128, 3)
    assert parameter_count(generator) == 70_433_988
    assert parameter_count(discriminator) == 87_982_370
    assert round((70_433_988 - 1000 * 128 + 87_982_370) / 1e6, 1) == 158.3


def test_small_counts_by_hand():
    """8x8 of one channel: a stem of 4x4, one block to 8x8 and the image; one block to 4x4 and one that stays there."""
    stem, norms = (5 + 1) * 8 * 16, 2 * 3 * 8 + 2 * 3 * 4
    block, image = (8 * 9 + 1) * 4 + (4 * 9 + 1) * 4 + (8 + 1) * 4, 2 * 4 + (4 * 9 + 1)
    generator = SNGANGenerator(3, 8, 1, noise_dim=5, filters=4)
    assert parameter_count(generator) == stem + norms + block + image

    first = (1 * 9 + 1) * 4 + (4 * 9 + 1) * 4 + (1 + 1) * 4
    last = (4 * 9 + 1) * 4 + (4 * 9 + 1) * 8 + (4 + 1) * 8
    head = (8 + 1) + 3 * 8
    assert parameter_count(SNGANDiscriminator(3, 8, 1, filters=4)) == first + last + head

    wider = (4 * 9 + 1) * 8 + (8 * 9 + 1) * 8 - (4 * 9 + 1) * 4 - (4 * 9 + 1) * 8
    attention = 4 * 1 + 4 * 1 + 4 * 2 + 2 * 4 + 1
    assert parameter_count(BigGANDiscriminator(3, 8, 1, filters=4)) == first + last + head + wider + attention


def test_widths_of_the_papers_at_128():
    assert level_widths(64, 6) == [64, 128, 256, 512, 1024, 1024]
    with torch.device("meta"), SkipInit():
        generator, discriminator = SNGANGenerator(1000, 128, 3), SNGANDiscriminator(1000, 128, 3)
    assert [block.conv1.in_channels for block in generator.blocks] == [1024, 1024, 512, 256, 128]
    assert [block.conv1.in_channels for block in discriminator.blocks] == [3, 64, 128, 256, 512, 1024]
    assert [block.conv2.out_channels for block in discriminator.blocks] == [64, 128, 256, 512, 1024, 1024]
    assert isinstance(discriminator.blocks[-1].shortcut, nn.Identity)


@pytest.mark.parametrize(
    ("image_size", "attended"), [(8, 4), (16, 8), (28, 14), (64, 32), (128, 64), (256, 64), (200, 56)]
)
def test_attention_looks_at_64_or_half_of_the_size(image_size: int, attended: int):
    base, doublings = base_and_doublings(image_size)
    assert base * 2 ** attention_level(base, doublings) == attended
    generator = BigGANGenerator(0, image_size, 1, noise_dim=8, filters=1)
    discriminator = BigGANDiscriminator(0, image_size, 1, filters=1)
    seen: list[int] = []
    for module in (*generator.modules(), *discriminator.modules()):
        if isinstance(module, SelfAttention):
            module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].shape[-1]))
    with torch.no_grad():
        discriminator(generator(torch.randn(2, 8)))
    assert seen == [attended, attended]


# blocks


def test_blocks_equal_the_papers_order_of_steps():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    up = GeneratorBlock(3, 5, nn.BatchNorm2d).double()
    enlarged = F.interpolate(up.norm1(x).relu(), scale_factor=2)
    expected = up.conv2(up.norm2(up.conv1(enlarged)).relu()) + up.shortcut(F.interpolate(x, scale_factor=2))
    torch.testing.assert_close(up(x), expected)

    down = DiscriminatorBlock(3, 4, 5, downsample=True).double()
    expected = F.avg_pool2d(down.conv2(down.conv1(x.relu()).relu()) + down.shortcut(x), 2)
    torch.testing.assert_close(down(x), expected)


@pytest.mark.parametrize("first", [True, False])
def test_the_first_block_alone_sees_what_is_below_zero(first: bool):
    torch.manual_seed(0)
    dark = -torch.rand(2, 1, 4, 4)
    block = DiscriminatorBlock(1, 2, 2, downsample=True, first=first)
    nn.init.zeros_(block.shortcut.weight)
    assert block(dark).equal(block(0 * dark)) is not first


def test_a_discriminator_sums_over_the_positions():
    network = SNGANDiscriminator(0, 8, 1, filters=2)
    *_, last, vector = network(torch.randn(2, 1, 8, 8), features=True).features
    assert last.shape == (2, 4, 4, 4)
    torch.testing.assert_close(vector, last.clamp(min=0).flatten(2).sum(dim=2))


# attention


def test_attention_starts_as_the_identity():
    x = torch.randn(2, 16, 5, 7)
    assert SelfAttention(16)(x).equal(x)


def test_attention_by_hand():
    """Eight equal channels, of which theta, phi and g each take one; a 2x4 map has two pooled positions to look at."""
    layer = SelfAttention(8)
    for conv in (layer.theta, layer.phi, layer.g, layer.output):
        nn.init.zeros_(conv.weight)
    layer.theta.weight.data[0, 0] = layer.phi.weight.data[0, 0] = layer.g.weight.data[0, 0] = 1.0
    layer.output.weight.data[0, 0] = 2.0
    layer.gain.data.fill_(0.5)
    rows = torch.tensor([[1.0, 0.0, -1.0, 2.0], [0.5, -2.0, 3.0, 0.0]])
    x = torch.zeros(1, 8, 2, 4)
    x[0, 0] = rows
    pooled = torch.tensor([1.0, 3.0])  # the largest of the left and of the right 2x2
    share = (3.0 * rows).exp() / ((1.0 * rows).exp() + (3.0 * rows).exp())
    expected = rows + 0.5 * 2.0 * ((1 - share) * pooled[0] + share * pooled[1])
    torch.testing.assert_close(layer(x)[0, 0], expected)
    assert not layer(x)[0, 1:].any()


def test_attention_is_over_all_positions_of_one_image():
    torch.manual_seed(0)
    layer = SelfAttention(8)
    layer.gain.data.fill_(1.0)
    x = torch.randn(2, 8, 3, 5)
    changed = x.clone()
    changed[0, :, 2, 4] += 5.0  # the odd corner, which pooling must not lose
    difference = (layer(changed) - layer(x)).abs().sum(dim=1)
    assert (difference[0] > 0).all()
    assert not difference[1].any()


def test_attention_has_second_derivatives():
    torch.manual_seed(0)
    layer = SelfAttention(4).double()
    layer.gain.data.fill_(0.7)
    x = torch.randn(1, 4, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x,))


# BigGAN's noise and class


def test_noise_is_split_evenly_and_the_stem_takes_the_rest():
    assert noise_chunks(120, 5) == [20] * 6
    assert noise_chunks(100, 2) == [34, 33, 33]
    with pytest.raises(ValueError, match="--noise_dim 2: biggan cuts it in 3 parts; choose 3 or more"):
        BigGANGenerator(3, 28, 1, noise_dim=2)


def test_each_chunk_reaches_its_block_alone():
    network = small_biggan(image_size=32)  # 7 numbers: 4 for the stem, 1 for each block
    outputs: dict[str, Tensor] = {}
    for name in ("stem", "blocks.0", "blocks.1", "blocks.2"):
        network.get_submodule(name).register_forward_hook(lambda *call, name=name: outputs.update({name: call[2]}))
    noise = torch.randn(2, 7)
    network(noise, LABEL)
    before = dict(outputs)
    for number, changed in (
        (4, {"blocks.0", "blocks.1", "blocks.2"}),
        (5, {"blocks.1", "blocks.2"}),
        (6, {"blocks.2"}),
    ):
        moved = noise.clone()
        moved[:, number] += 1.0
        network(moved, LABEL)
        assert {name for name in outputs if not outputs[name].equal(before[name])} == changed


def test_one_embedding_serves_all_norms():
    network = small_biggan()
    counts: Counter[str] = Counter()
    network.class_embedding.register_forward_hook(lambda *_: counts.update(["embedding"]))
    network(torch.randn(2, 7), LABEL)
    assert counts["embedding"] == 1
    assert [tuple(p.shape) for name, p in network.named_parameters() if "embedding" in name] == [(3, 128)]
    norms = [module for module in network.modules() if isinstance(module, ConditionalBatchNorm)]
    assert [norm.scale.in_features for norm in norms] == [128 + 2] * 4
    for norm in norms:
        for layer in (norm.scale, norm.shift):
            nn.init.zeros_(layer.weight[:, :128].detach())
    network.eval()
    noise = torch.randn(1, 7).expand(2, 7)
    one, other = network(noise, LABEL)
    assert one.equal(other), "the class enters by the embedding alone"


def test_only_cbn_conditions_biggan():
    with pytest.raises(ValueError, match="--conditioning concat: this generator's are cbn"):
        BigGANGenerator(3, 16, 1, conditioning="concat")


@pytest.mark.parametrize("num_classes", [0, 3])
def test_latent_weights_are_what_is_first_applied_to_the_noise(num_classes: int):
    network = small_biggan(num_classes=num_classes).eval()
    layers = [network.stem, *(m for m in network.blocks.modules() if isinstance(m, nn.Linear))]
    results: dict[nn.Module, Tensor] = {}
    for layer in layers:
        layer.register_forward_hook(lambda layer, _, result: results.update({layer: result}))
    noise = torch.randn(2, 7)
    network(noise, torch.tensor([1, 1]) if num_classes else None)
    difference = torch.cat([results[layer][1] - results[layer][0] for layer in layers])
    torch.testing.assert_close(network.latent_weights() @ (noise[1] - noise[0]), difference, atol=1e-5, rtol=1e-5)


# every network


@pytest.mark.parametrize("name", CLASS_DISCRIMINATORS)
def test_gradient_penalties_have_the_gradient_of_finite_differences(name: str):
    torch.manual_seed(0)
    network = CLASS_DISCRIMINATORS[name](num_classes=3, image_size=8, channels=1, filters=4).double()
    for module in network.modules():
        if isinstance(module, SelfAttention):
            module.gain.data.fill_(0.5)
    images = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    parameters = dict(network.named_parameters())
    direction = {key: torch.randn_like(p) for key, p in parameters.items()}

    def penalty(step: float) -> Tensor:
        moved = {key: p + step * direction[key] for key, p in parameters.items()}
        return r1_penalty(lambda image: torch.func.functional_call(network, moved, (image, LABEL)), images)

    gradient = torch.autograd.grad(penalty(0.0), list(parameters.values()), allow_unused=True)
    slope = sum((g * direction[key]).sum() for key, g in zip(parameters, gradient, strict=True) if g is not None)
    measured = (penalty(1e-6) - penalty(-1e-6)) / 2e-6
    assert measured.abs() > 1e-9
    torch.testing.assert_close(slope, measured, rtol=1e-4, atol=1e-9)


def matrix(layer: nn.Module) -> Tensor:
    """The weight as torch's spectral_norm sees it: one row for each output channel."""
    weight = layer.weight.detach()
    return (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1)


def largest_singular_values(network: nn.Module, x: Tensor, **keywords: bool) -> list[float]:
    """Those of all weights that are normalised, after the network has followed them for a while."""
    spectral_normalize(network)
    with torch.no_grad():
        for _ in range(50):
            network(x, LABEL, **keywords)
    layers = [module for module in network.eval().modules() if is_parametrized(module, "weight")]
    return [torch.linalg.matrix_norm(matrix(layer), 2).item() for layer in layers]


def weight_count(network: nn.Module) -> int:
    """Count all but the planes of the classes, which are an input."""
    weights = {name for name, p in network.named_parameters() if name.endswith("weight") and p.dim() > 1}
    return len(weights - {"planes.embedding.weight"})


@pytest.mark.parametrize("conditioning", ["concat", "embedding", "projection", "acgan"])
@pytest.mark.parametrize("name", CLASS_DISCRIMINATORS)
def test_spectral_norms_of_discriminators_are_one(name: str, conditioning: str):
    torch.manual_seed(0)
    network = CLASS_DISCRIMINATORS[name](num_classes=3, image_size=8, channels=1, filters=4, conditioning=conditioning)
    count = weight_count(network)
    values = largest_singular_values(network, torch.randn(2, 1, 8, 8), features=True)
    assert values == pytest.approx([1.0] * count, abs=0.01)


@pytest.mark.parametrize("name", CLASS_GENERATORS)
def test_spectral_norms_of_generators_are_one(name: str):
    torch.manual_seed(0)
    network = CLASS_GENERATORS[name](num_classes=3, image_size=8, channels=1, noise_dim=8, filters=4)
    count = weight_count(network)
    assert largest_singular_values(network, torch.randn(2, 8)) == pytest.approx([1.0] * count, abs=0.01)


@pytest.mark.parametrize("network", [BigGANGenerator, SNGANDiscriminator, BigGANDiscriminator])
def test_orthogonal_initialisation(network: type[nn.Module]):
    torch.manual_seed(0)
    built = network(num_classes=3, image_size=16, channels=1, filters=8)
    initialize(built, "orthogonal", gain=1.0)
    layers = [module for module in built.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert len(layers) >= 10
    for layer in layers:
        weight = matrix(layer)
        wide = weight if len(weight) <= weight.shape[1] else weight.T
        torch.testing.assert_close(wide @ wide.T, torch.eye(len(wide)), atol=1e-5, rtol=0)
