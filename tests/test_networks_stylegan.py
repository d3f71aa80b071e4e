import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.networks.blocks import initialize
from i2i.networks.equalized import EqualizedConv2d, EqualizedEmbedding, EqualizedLinear
from i2i.networks.styled import AdaINLayer, ModulatedConv2d, NoisyLeakyReLU, enlarged
from i2i.networks.stylegan import STYLES, DownBlock, StyleGANDiscriminator, StyleGANGenerator
from i2i.random_state import SkipInit


def small_generator(num_classes: int = 3, **keywords: Any) -> StyleGANGenerator:
    """16x16, in three sizes: six layers take a w."""
    torch.manual_seed(0)
    return StyleGANGenerator(num_classes, 16, 1, **{"noise_dim": 6, "filters": 4, "mapping_layers": 2} | keywords)


def small_discriminator(num_classes: int = 3, **keywords: Any) -> StyleGANDiscriminator:
    torch.manual_seed(0)
    return StyleGANDiscriminator(num_classes, 16, 1, **{"filters": 4} | keywords)


def make_noisy(generator: StyleGANGenerator) -> None:
    for module in generator.modules():
        if isinstance(module, NoisyLeakyReLU):
            nn.init.ones_(module.strength)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# published sizes, at 1024x1024


def test_parameter_counts_are_the_published_ones():
    with SkipInit():
        adain = StyleGANGenerator(0, 1024, 3, noise_dim=512, filters=16, style="adain")
        modulation = StyleGANGenerator(0, 1024, 3, noise_dim=512, filters=32, mapping_layers=2)
        discriminator = StyleGANDiscriminator(0, 1024, 3, filters=32)
    # The authors' own, 26.2 M in the paper, counts the outputs of the eight sizes that it grew through.
    grown = sum(3 * width + 3 for width in (512, 512, 512, 512, 256, 128, 64, 32))
    assert parameter_count(adain) == 26_219_627 - grown
    # What stylegan2-ada-pytorch prints for 1024x1024, with its default of two mapping layers.
    assert parameter_count(modulation) == 28_794_124
    assert parameter_count(discriminator) == 29_012_513


# equalised learning rate


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (EqualizedLinear(400, 300), (64, 400)),
        (EqualizedLinear(400, 300, lr_multiplier=0.01), (64, 400)),
        (EqualizedConv2d(64, 48, 3), (4, 64, 8, 8)),
    ],
)
def test_equalised_layers_keep_unit_variance(layer: EqualizedLinear | EqualizedConv2d, shape: tuple[int, ...]):
    torch.manual_seed(0)
    nn.init.normal_(layer.weight, 0.0, layer.weight.std().item())
    torch.testing.assert_close(layer(torch.randn(shape)).std(), torch.tensor(1.0), atol=0.05, rtol=0)


def test_equalised_weights_start_at_unit_variance_whatever_initialize_does():
    network = nn.Sequential(EqualizedLinear(400, 300), EqualizedConv2d(64, 48, 3), EqualizedEmbedding(300, 400))
    initialize(network)
    for layer in network:
        torch.testing.assert_close(layer.weight.std(), torch.tensor(1.0), atol=0.02, rtol=0)
    slow = EqualizedLinear(400, 300, bias=1.0, lr_multiplier=0.01)
    torch.testing.assert_close(slow.weight.std(), torch.tensor(100.0), atol=2, rtol=0)
    assert slow(torch.zeros(1, 400)).equal(torch.ones(1, 300))


def test_one_step_of_adam_moves_a_slow_layer_a_hundredth_as_far():
    moved = []
    for lr_multiplier in (1.0, 0.01):
        layer = EqualizedLinear(4, 1, lr_multiplier=lr_multiplier)
        x = torch.tensor([[1.0, 2, 3, 4]])
        before = layer(x)
        before.sum().backward()
        torch.optim.Adam(layer.parameters(), lr=0.1).step()
        moved.append((before - layer(x)).item())
    assert moved[0] == pytest.approx(0.1 * 10 / 2 + 0.1, rel=1e-3)  # all weights by lr, scaled by 1 / sqrt(4); the bias
    assert moved[1] == pytest.approx(moved[0] / 100, rel=1e-2)


# styles


def test_demodulation_is_that_of_each_images_own_kernels():
    torch.manual_seed(0)
    conv = ModulatedConv2d(3, 5, 3, w_dim=4).double()
    x, w = torch.randn(2, 3, 6, 6, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    kernels = conv.conv.scaled_weight()[None] * conv.affine(w)[:, None, :, None, None]
    kernels = kernels / kernels.square().sum(dim=(2, 3, 4), keepdim=True).add(1e-8).sqrt()
    grouped = F.conv2d(x.reshape(1, 6, 6, 6), kernels.reshape(10, 3, 3, 3), padding=1, groups=2).view(2, 5, 6, 6)
    torch.testing.assert_close(conv(x, w), grouped * math.sqrt(2), rtol=1e-12, atol=1e-12)


def test_adain_gives_each_channel_the_mean_and_deviation_of_its_style():
    torch.manual_seed(0)
    layer = AdaINLayer(EqualizedConv2d(3, 5, 3, padding=1), 5, 16, enlarge=True, w_dim=4).double()
    w = torch.randn(2, 4, dtype=torch.float64)
    styled = layer(torch.randn(2, 3, 8, 8, dtype=torch.float64), w)
    scale, shift = layer.affine(w).chunk(2, dim=1)
    torch.testing.assert_close(styled.mean(dim=(2, 3)), shift, rtol=0, atol=1e-12)
    torch.testing.assert_close(styled.std(dim=(2, 3), correction=0), (1 + scale).abs(), rtol=1e-3, atol=0)


def test_enlarging_filters_by_one_three_three_one():
    x = torch.randn(1, 1, 5, 6, dtype=torch.float64)
    filter_row = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 4
    kernel = torch.outer(filter_row, filter_row)[None, None]
    by_filter = F.conv_transpose2d(x, kernel, stride=2, padding=1)
    torch.testing.assert_close(enlarged(x)[..., 1:-1, 1:-1], by_filter[..., 1:-1, 1:-1])


@pytest.mark.parametrize("style", STYLES)
def test_every_layer_obeys_its_own_w(style: str):
    generator = small_generator(style=style).eval()
    make_noisy(generator)  # else the constant of the adain generator, the same everywhere, has nothing to normalise
    w = torch.randn(1, 6)
    image = generator.synthesize(w)
    rows = w[:, None].repeat(1, 6, 1)
    torch.testing.assert_close(generator.synthesize(rows), image)
    for layer in range(6):
        changed = rows.clone()
        changed[:, layer] = torch.randn(6)
        assert not torch.allclose(generator.synthesize(changed), image, atol=1e-4), layer


@pytest.mark.parametrize(("style", "rows"), [("modulation", 16 + 16 + 8 + 8 + 4 + 16 + 8 + 4), ("adain", 2 * 56)])
def test_latent_weights_are_the_gradients_of_all_styles(style: str, rows: int):
    generator = small_generator(style=style)
    weights = generator.latent_weights()
    assert weights.shape == (rows, 6)
    first = generator.get_submodule("synthesis.layers.0")
    affine = first.conv.affine if style == "modulation" else first.affine
    jacobian = torch.autograd.functional.jacobian(affine, torch.zeros(1, 6))[0, :, 0]
    torch.testing.assert_close(weights[: len(jacobian)], jacobian)


def test_unknown_styles_and_conditionings_are_refused():
    with pytest.raises(ValueError, match="unknown style 'adin': choose one of modulation, adain"):
        small_generator(style="adin")
    with pytest.raises(ValueError, match="--conditioning cbn: this generator's are concat, embedding"):
        small_generator(conditioning="cbn")


# style mixing


def test_mixed_rows_are_those_of_the_first_and_then_of_the_second():
    generator = small_generator(style_mixing=0.5)
    mixed = generator.mixed(torch.zeros(4000, 6), torch.ones(4000, 6))
    taken = mixed[..., 0]
    assert mixed.shape == (4000, 6, 6)
    assert mixed.equal(taken[..., None].expand(-1, -1, 6))
    assert not taken[:, 0].any()
    assert (taken.diff(dim=1) >= 0).all()
    share = taken.mean(dim=0)
    torch.testing.assert_close(share, 0.5 * torch.arange(6) / 5, atol=0.03, rtol=0)  # any layer but the first


def test_training_draws_from_mixed_latents():
    generator = small_generator(style_mixing=1.0)
    noise, label = torch.randn(5, 6), torch.tensor([0, 1, 2, 0, 1])
    torch.manual_seed(1)
    image = generator(noise, label)
    torch.manual_seed(1)
    other = generator.latent(torch.randn(5, 6), label)
    rows = generator.mixed(generator.latent(noise, label), other)
    torch.testing.assert_close(image, generator.synthesize(rows))
    generator.style_mixing = 0.0
    torch.testing.assert_close(generator(noise, label), generator.synthesize(generator.latent(noise, label)))


# the mapping, its mean and truncation


def test_mapping_heeds_direction_and_class_but_not_the_length_of_noise():
    generator = small_generator()
    noise, label = torch.randn(1, 6), torch.tensor([0])
    w = generator.latent(noise, label)
    torch.testing.assert_close(generator.latent(5 * noise, label), w)
    assert not torch.allclose(generator.latent(-noise, label), w)
    assert not torch.allclose(generator.latent(noise, label + 1), w)
    one_hot = F.one_hot(label, 3).float()
    torch.testing.assert_close(generator.latent(noise, one_hot), w)


def test_mean_moves_towards_each_seen_classs_latents_in_training_alone():
    generator = small_generator()
    noise, label = torch.randn(4, 6), torch.tensor([2, 0, 2, 2])
    w = generator.latent(noise, label).detach()
    generator.eval()
    generator(noise, label)
    assert not generator.mean_latent.any()
    generator.train()
    generator(noise, label)
    expected = 0.005 * torch.stack([w[1], torch.zeros(6), w[[0, 2, 3]].mean(dim=0)])
    torch.testing.assert_close(generator.mean_latent, expected)
    generator(noise, label)
    torch.testing.assert_close(generator.mean_latent, expected * 1.995)
    assert generator.state_dict()["mean_latent"].equal(generator.mean_latent)


def test_mean_without_classes_and_in_half_precision():
    generator = small_generator(0)
    noise = torch.randn(4, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        generator(noise)
    expected = 0.005 * generator.latent(noise).detach().mean(dim=0, keepdim=True)
    torch.testing.assert_close(generator.mean_latent, expected, rtol=0.05, atol=1e-4)


def test_truncation_moves_latents_to_the_mean_of_their_class():
    generator = small_generator().eval()
    generator.mean_latent.normal_()
    label = torch.tensor([0, 2])
    w = generator.latent(torch.randn(2, 6), label)
    means = generator.mean_latent[[0, 2]]
    assert generator.truncated(w, label, 1.0).equal(w)
    assert generator.truncated(w, label, 0.0).equal(means)
    torch.testing.assert_close(generator.truncated(w, label, 0.7), means + 0.7 * (w - means))
    image = generator.synthesize(generator.truncated(w, label, 0.0), label)
    torch.testing.assert_close(image, generator.synthesize(means, label))


def test_a_mixture_of_classes_has_the_mixture_of_their_means():
    generator = small_generator()
    generator.mean_latent.normal_()
    mean = generator.truncated(torch.randn(1, 6), torch.tensor([[0.25, 0, 0.75]]), 0.0)
    torch.testing.assert_close(mean[0], 0.25 * generator.mean_latent[0] + 0.75 * generator.mean_latent[2])
    generator = small_generator(0)
    generator.mean_latent.normal_()
    torch.testing.assert_close(generator.truncated(torch.randn(1, 6), None, 0.0), generator.mean_latent)


# noise


def test_noise_has_no_effect_until_its_strength_is_learned():
    layer = NoisyLeakyReLU(3, 8, strengths=1)
    x = torch.randn(2, 3, 8, 8)
    assert layer(x).equal(F.leaky_relu(x, 0.2))
    nn.init.ones_(layer.strength)
    first, second = layer(x + 100), layer(x + 100)
    added = first - (x + 100)
    torch.testing.assert_close(added[:, 0], added[:, 2], atol=1e-4, rtol=0)  # one plane for all channels
    assert not added[0].allclose(added[1], atol=0.1)  # of each image its own
    assert not first.allclose(second, atol=0.1)  # and of each step


@pytest.mark.parametrize("style", STYLES)
def test_evaluation_depends_on_seed_and_class_alone(style: str):
    generator = small_generator(style=style).eval()
    make_noisy(generator)
    noise, label = torch.randn(3, 6), torch.tensor([0, 1, 2])
    images = generator(noise, label)
    assert images.equal(generator(noise, label))
    torch.testing.assert_close(generator(noise[1:2], label[1:2]), images[1:2])
    other = small_generator(style=style).eval()
    other.get_parameter("synthesis.constant").data.zero_()
    for module in other.modules():
        if isinstance(module, NoisyLeakyReLU):
            module.noise.zero_()
    other.load_state_dict(generator.state_dict())
    assert other(noise, label).equal(images)


# gradients


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("conditioning", ["concat", "embedding"])
def test_gradients_reach_all_of_the_generator(style: str, conditioning: str):
    generator = small_generator(style=style, conditioning=conditioning)
    images = generator(torch.randn(4, 6), torch.tensor([0, 1, 2, 0]))
    (images * torch.randn_like(images)).sum().backward()
    assert [key for key, p in generator.named_parameters() if p.grad is None or not p.grad.any()] == []


def penalty_gradients(discriminator: StyleGANDiscriminator) -> dict[str, Tensor | None]:
    """Gradients of R1, the squared length of the logits' gradient in the image."""
    image = torch.randn(4, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    logits = discriminator.double()(image, torch.tensor([0, 1, 2, 0]))
    (slope,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
    slope.square().sum().backward()
    return {key: parameter.grad for key, parameter in discriminator.named_parameters()}


@pytest.mark.parametrize("minibatch", ["none", "stddev", "discrimination"])
def test_gradient_penalties_reach_all_weights(minibatch: str):
    gradients = penalty_gradients(small_discriminator(minibatch=minibatch))
    assert [key for key, g in gradients.items() if key.endswith("weight") and (g is None or not g.any())] == []


@pytest.mark.parametrize("conditioning", ["concat", "embedding", "projection", "acgan"])
def test_gradients_reach_all_of_the_discriminator(conditioning: str):
    discriminator = small_discriminator(conditioning=conditioning)
    judged = discriminator(torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 0]), features=True)
    loss = judged.logits.square().sum()
    if judged.class_logits is not None:
        loss = loss + judged.class_logits.square().sum()
    loss.backward()
    assert [key for key, p in discriminator.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert [feature.shape[-1] for feature in judged.features] == [16, 8, 4, 16]


# the discriminator


def test_a_residual_block_keeps_variance_and_centre():
    torch.manual_seed(0)
    block = DownBlock(64, 64)
    flat = block(torch.randn(64, 64, 1, 1).expand(-1, -1, 16, 16))[..., 2:-2, 2:-2]
    slope = (1 + 0.2**2) / 2  # what a leaky ReLU leaves of a symmetric variance
    torch.testing.assert_close(flat.square().mean(), torch.tensor(2 * slope**2 + 0.5), rtol=0.1, atol=0)
    impulse = torch.zeros(1, 64, 16, 16)
    impulse[..., 7:9, 7:9] = 1
    for layer in (block.conv, block.down):
        layer.weight.data = layer.weight + layer.weight.flip(2, 3)
    symmetric = block(impulse)
    torch.testing.assert_close(symmetric, symmetric.flip(2, 3), atol=1e-5, rtol=1e-5)


def test_stddev_stands_before_the_last_convolution_and_tells_copies_from_a_batch():
    discriminator = small_discriminator(0)
    assert discriminator.conv.weight.shape == (16, 17, 3, 3)
    image = torch.randn(4, 1, 16, 16)
    alone, among_others = discriminator(image[:1]), discriminator(image)[:1]
    copies = discriminator(image[:1].expand(4, -1, -1, -1))
    torch.testing.assert_close(copies[:1], alone)
    assert not torch.allclose(alone, among_others, atol=1e-4)


def test_the_head_is_equalised_too():
    discriminator = small_discriminator(minibatch="discrimination")
    assert isinstance(discriminator.head, EqualizedLinear)
    assert isinstance(discriminator.embedding, EqualizedEmbedding)
    assert discriminator.embedding.weight.shape == (3, 16 + 50)
    assert isinstance(small_discriminator(conditioning="acgan").classifier, EqualizedLinear)
