"""What holds for every generator and discriminator of images of a class, and the numbers of the smaller ones."""

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.networks import (
    CLASS_DISCRIMINATORS,
    CLASS_GENERATORS,
    DISCRIMINATOR_CONDITIONINGS,
    MINIBATCH,
    UPSAMPLINGS,
    ClassDiscriminator,
    ClassGenerator,
    build_class_network,
    initialize,
)
from i2i.networks.class_conditional import (
    ClassEmbedding,
    ConditionalBatchNorm,
    base_and_doublings,
    cropped,
    padded,
)
from i2i.networks.minibatch import MinibatchDiscrimination, MinibatchStdDev

LABEL = torch.tensor([0, 2])
SIZES = [(16, 1), (28, 3), (33, 4), (64, 1)]  # and channels
GENERATORS = [(name, way) for name, network in CLASS_GENERATORS.items() for way in network.conditionings]  # type: ignore[attr-defined]
DISCRIMINATORS = list(product(CLASS_DISCRIMINATORS, DISCRIMINATOR_CONDITIONINGS))


def small_generator(name: str, **keywords: Any) -> ClassGenerator:
    torch.manual_seed(0)
    common = {"num_classes": 3, "image_size": 16, "channels": 1, "noise_dim": 8, "filters": 4}
    return build_class_network("generator", name, **common | keywords)


def small_discriminator(name: str, **keywords: Any) -> ClassDiscriminator:
    torch.manual_seed(0)
    common = {"num_classes": 3, "image_size": 16, "channels": 1, "filters": 4}
    return build_class_network("discriminator", name, **common | keywords)


def shaken(network: nn.Module) -> nn.Module:
    """Move every parameter, for those that start at 0 hold back the gradient of others."""
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def without_gradient(network: nn.Module) -> list[str]:
    return [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# generators


@pytest.mark.parametrize(("name", "conditioning"), GENERATORS)
def test_generators_draw_any_size(name: str, conditioning: str):
    for size, channels in SIZES:
        network = small_generator(name, conditioning=conditioning, image_size=size, channels=channels)
        image = network(torch.randn(2, 8), LABEL)
        assert image.shape == (2, channels, size, size)
        assert image.abs().max() <= 1


@pytest.mark.parametrize("name", CLASS_GENERATORS)
def test_networks_draw_and_judge_large_images(name: str):
    image = small_generator(name, image_size=256, filters=1)(torch.randn(2, 8), LABEL)
    assert image.shape == (2, 1, 256, 256)
    assert small_discriminator(name, image_size=256, filters=1)(image, LABEL).shape == (2, 1)


@pytest.mark.parametrize(("name", "conditioning"), GENERATORS)
def test_generators_heed_class_and_noise(name: str, conditioning: str):
    network = shaken(small_generator(name, conditioning=conditioning)).eval()
    noise = torch.randn(2, 8)
    image = network(noise, LABEL)
    assert (image - network(noise, LABEL - LABEL)).abs().amax(dim=(1, 2, 3)).gt(1e-4).tolist() == [False, True]
    assert (image - network(-noise, LABEL)).abs().max() > 1e-4
    assert image.equal(network.synthesize(network.latent(noise, LABEL), LABEL))


@pytest.mark.parametrize(("name", "conditioning"), GENERATORS)
def test_mixtures_of_classes_lie_between_them(name: str, conditioning: str):
    network = small_generator(name, conditioning=conditioning)
    initialize(network)
    network.double().eval()
    noise = torch.randn(1, 8, dtype=torch.float64)
    first, last = (network(noise, torch.tensor([label])) for label in (0, 2))
    shares = torch.tensor([[1.0, 0, 0], [0.75, 0, 0.25], [0.25, 0, 0.75], [0, 0, 1]], dtype=torch.float64)
    path = [network(noise, share[None]) for share in shares]
    torch.testing.assert_close([path[0], path[-1]], [first, last])
    assert 0 < (path[1] - first).norm() < (path[1] - last).norm()
    assert 0 < (path[2] - last).norm() < (path[2] - first).norm()


@pytest.mark.parametrize("name", CLASS_GENERATORS)
def test_one_flag_leaves_the_classes_out(name: str):
    generator, discriminator = (build(name, num_classes=0) for build in (small_generator, small_discriminator))
    image = generator(torch.randn(2, 8))
    assert image.shape == (2, 1, 16, 16)
    assert discriminator(image).shape == (2, 1)
    assert parameter_count(generator) < parameter_count(small_generator(name))
    assert parameter_count(discriminator) < parameter_count(small_discriminator(name))


@pytest.mark.parametrize("name", CLASS_GENERATORS)
def test_latent_weights_are_all_that_sees_latents(name: str):
    network = shaken(small_generator(name, noise_dim=240, filters=1)).double().eval()
    latent = network.latent(torch.randn(1, 240, dtype=torch.float64), LABEL[:1])
    weights = network.latent_weights().detach()
    assert weights.shape[1] == latent.shape[1]
    directions = torch.linalg.svd(weights).Vh
    image = network.synthesize(latent, LABEL[:1])
    torch.testing.assert_close(image, network.synthesize(latent + directions[-1], LABEL[:1]), rtol=0, atol=1e-9)
    assert (image - network.synthesize(latent + directions[0], LABEL[:1])).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "conditioning"), GENERATORS)
def test_every_parameter_of_generators_gets_a_gradient(name: str, conditioning: str):
    network = shaken(small_generator(name, conditioning=conditioning))
    network(torch.randn(4, 8), torch.tensor([0, 1, 2, 0])).square().sum().backward()
    assert without_gradient(network) == []


@pytest.mark.parametrize("upsample", UPSAMPLINGS)
def test_dcgan_enlarges_as_told(upsample: str):
    network = small_generator("dcgan", upsample=upsample, image_size=30)
    assert network(torch.randn(2, 8), LABEL).shape == (2, 1, 30, 30)
    assert list(network.state_dict()) == list(small_generator("dcgan", image_size=30).state_dict())


# discriminators


@pytest.mark.parametrize(("name", "conditioning"), DISCRIMINATORS)
def test_discriminators_judge_any_size(name: str, conditioning: str):
    for size, channels in SIZES:
        network = small_discriminator(name, conditioning=conditioning, image_size=size, channels=channels)
        image = torch.randn(2, channels, size, size)
        logits = network.eval()(image, LABEL)
        judged = network(image, LABEL, features=True)
        assert logits.shape == (2, 1)
        assert judged.logits.equal(logits)
        assert len(judged.features) > 1
        assert {len(feature) for feature in judged.features} == {2}
        assert (judged.class_logits is not None) == (conditioning == "acgan")


@pytest.mark.parametrize(("name", "conditioning"), DISCRIMINATORS)
def test_discriminators_heed_class_and_image(name: str, conditioning: str):
    network = shaken(small_discriminator(name, conditioning=conditioning, minibatch="none")).eval()
    image = torch.randn(2, 1, 16, 16)
    logits = network(image, LABEL)
    changed = (logits - network(image, LABEL - LABEL)).abs().gt(1e-5).flatten().tolist()
    assert changed == [False, conditioning != "acgan"]
    assert (logits - network(-image, LABEL)).abs().min() > 1e-5


@pytest.mark.parametrize("name", CLASS_DISCRIMINATORS)
def test_features_are_maps_of_the_image(name: str):
    network = shaken(small_discriminator(name)).eval()
    image = torch.randn(2, 1, 16, 16, requires_grad=True)
    features = network(image, LABEL, features=True).features
    other = network(-image, LABEL, features=True).features
    for feature, changed in zip(features, other, strict=True):
        (gradient,) = torch.autograd.grad(feature.sum(), image, retain_graph=True)
        assert gradient.any()
        assert not feature.equal(changed)


def test_features_stay_as_they_were():
    network = small_discriminator("dcgan").eval()
    image = torch.randn(2, 1, 16, 16)
    features = network(image, LABEL, features=True).features
    first = network.down[0](image)
    assert features[0].equal(first)
    assert features[1].equal(network.down[1](first))


@pytest.mark.parametrize(
    ("name", "conditioning", "minibatch"),
    [(name, conditioning, "none") for name, conditioning in DISCRIMINATORS]
    + [(name, "projection", minibatch) for name, minibatch in product(CLASS_DISCRIMINATORS, MINIBATCH)],
)
def test_every_parameter_of_discriminators_gets_a_gradient(name: str, conditioning: str, minibatch: str):
    network = shaken(small_discriminator(name, conditioning=conditioning, minibatch=minibatch))
    image = torch.randn(4, 1, 16, 16, requires_grad=True)
    judged = network(image, torch.tensor([0, 1, 2, 0]), features=True)
    (gradient,) = torch.autograd.grad(judged.logits.sum(), image, create_graph=True)  # as gradient penalties do
    auxiliary = judged.class_logits.square().sum() if judged.class_logits is not None else 0
    (judged.logits.square().sum() + gradient.square().sum() + auxiliary).backward()
    assert without_gradient(network) == []
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("size", [1, 2])
def test_mlp_draws_and_judges_points(size: int):
    for conditioning in CLASS_GENERATORS["mlp"].conditionings:  # type: ignore[attr-defined]
        network = small_generator("mlp", conditioning=conditioning, image_size=size, channels=2)
        assert network(torch.randn(2, 8), LABEL).shape == (2, 2, size, size)
    for conditioning in DISCRIMINATOR_CONDITIONINGS:
        network = small_discriminator("mlp", conditioning=conditioning, image_size=size, channels=2)
        assert network(torch.randn(2, 2, size, size), LABEL).shape == (2, 1)


# numbers by hand


@pytest.mark.parametrize(
    ("kind", "name", "keywords", "count"),
    [
        # stem (5 + 3) * 8 * 4 * 4 and its norm 2 * 8, 8 to 4 channels by 4x4 and its norm, 4 to 1 channels and a bias
        ("generator", "dcgan", {}, 1024 + 16 + 512 + 8 + 65),
        ("generator", "dcgan", {"conditioning": "embedding"}, (5 + 64) * 128 + 3 * 64 + 16 + 512 + 8 + 65),
        ("generator", "dcgan", {"conditioning": "cbn"}, 5 * 128 + 2 * 3 * 8 + 512 + 2 * 3 * 4 + 65),
        ("generator", "dcgan", {"num_classes": 0}, 5 * 128 + 16 + 512 + 8 + 65),
        ("generator", "dcgan", {"upsample": "nearest"}, 1024 + 16 + 288 + 8 + 37),
        # 8 to 16, 32 and 64 numbers with two norms, and those to 16 * 16 pixels
        ("generator", "mlp", {}, 144 + (544 + 64) + (2112 + 128) + 16640),
        ("generator", "mlp", {"conditioning": "cbn"}, 96 + (544 + 192) + (2112 + 384) + 16640),
        # 1 to 4 channels by 4x4 and a bias, 4 to 8 and a norm, 8 * 4 * 4 to a logit, and a row of these for each class
        ("discriminator", "dcgan", {}, 68 + 512 + 16 + 129 + 3 * 128),
        ("discriminator", "dcgan", {"conditioning": "concat"}, 4 * 64 + 4 + 512 + 16 + 129),
        ("discriminator", "dcgan", {"conditioning": "embedding"}, 3 * 256 + 2 * 64 + 4 + 512 + 16 + 129),
        ("discriminator", "dcgan", {"conditioning": "acgan"}, 68 + 512 + 16 + 129 + 3 * 129),
        ("discriminator", "dcgan", {"num_classes": 0}, 68 + 512 + 16 + 129),
        ("discriminator", "dcgan", {"minibatch": "stddev"}, 68 + 512 + 16 + (144 + 1) + 3 * 144),
        ("discriminator", "dcgan", {"minibatch": "discrimination"}, 596 + 128 * 250 + (178 + 1) + 3 * 178),
        # 256 pixels and 3 classes to 64, 32, 16 and 1 numbers
        ("discriminator", "mlp", {}, 260 * 64 + 65 * 32 + 33 * 16 + 17),
        ("discriminator", "mlp", {"conditioning": "embedding"}, 3 * 256 + 513 * 64 + 65 * 32 + 33 * 16 + 17),
    ],
)
def test_parameter_counts(kind: str, name: str, keywords: dict[str, Any], count: int):
    small = small_generator if kind == "generator" else small_discriminator
    assert parameter_count(small(name, **({"noise_dim": 5} if kind == "generator" else {}) | keywords)) == count


def test_dcgan_keeps_the_keys_of_its_checkpoints():
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    stem, up, down = ([f"{at}.conv.weight", *(f"{at}.norm.{key}" for key in norm)] for at in ("stem", "up.0", "down.1"))
    generator = [*stem, *up, "head.weight", "head.bias"]
    discriminator = ["down.0.conv.weight", "down.0.conv.bias", *down, "head.weight", "head.bias"]
    assert list(small_generator("dcgan").state_dict()) == generator
    assert list(small_discriminator("dcgan").state_dict()) == [*discriminator, "embedding.weight"]


def test_sizes():
    sizes = {8: (4, 1), 9: (5, 1), 15: (4, 2), 16: (4, 2), 28: (7, 2), 30: (4, 3), 33: (5, 3), 48: (6, 3), 256: (4, 6)}
    assert {size: base_and_doublings(size) for size in sizes} == sizes
    for name in ("dcgan", "resnet"):
        with pytest.raises(ValueError, match="squares of 8 pixels and more, not 7: choose mlp"):
            small_generator(name, image_size=7)


def test_what_is_padded_can_be_cropped_again():
    image = torch.arange(1.0, 5).view(1, 1, 2, 2)
    surrounded = torch.tensor([[0, 0, 0, 0, 0], [0, 1, 2, 0, 0], [0, 3, 4, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0.0]])
    assert padded(image, 5).equal(surrounded[None, None])
    assert cropped(padded(image, 5), 2).equal(image)
    assert padded(image, 2) is image


@pytest.mark.parametrize(("batch_norm", "shape"), [(nn.BatchNorm2d, (4, 5, 3, 2)), (nn.BatchNorm1d, (4, 5))])
def test_conditional_batch_norm_scales_and_shifts_by_class(batch_norm: type[nn.Module], shape: tuple[int, ...]):
    layer = ConditionalBatchNorm(5, 3, batch_norm)
    x, label = torch.randn(shape), torch.tensor([0, 2, 2, 1])
    rows = [linear.weight.T[label].view(4, 5, *[1] * (len(shape) - 2)) for linear in (layer.scale, layer.shift)]
    condition = F.one_hot(label, 3).float()
    expected = F.batch_norm(x, None, None, training=True) * (1 + rows[0]) + rows[1]
    torch.testing.assert_close(layer(x, condition), expected)
    expected = F.batch_norm(x, layer.norm.running_mean, layer.norm.running_var) * (1 + rows[0]) + rows[1]
    torch.testing.assert_close(layer.eval()(x, condition), expected)


def test_initialised_conditional_norms_are_nearly_plain():
    layer = ConditionalBatchNorm(1000, 10)
    initialize(layer)
    assert abs(layer.scale.weight.std() - 0.02) < 1e-3
    assert abs(layer.shift.weight.std() - 0.02) < 1e-3


def test_class_embeddings_cannot_grow():
    layer = ClassEmbedding(3, 4)
    mixture = torch.tensor([[0.0, 1, 0], [0.5, 0.5, 0]])
    vectors = layer(mixture)
    torch.testing.assert_close(vectors.square().mean(dim=1), torch.ones(2))
    torch.testing.assert_close(vectors[0], F.normalize(layer.embedding.weight[1], dim=0) * 2)
    layer.embedding.weight.data *= 100
    torch.testing.assert_close(layer(mixture), vectors)


def test_planes_are_images_that_cannot_grow():
    network = small_discriminator("dcgan", conditioning="embedding")
    image, label = torch.zeros(2, 1, 16, 16), torch.tensor([2, 0])
    beside = network.with_planes(image, label)[:, 1]
    torch.testing.assert_close(beside.square().mean(dim=(1, 2)), torch.ones(2))
    network.planes.embedding.weight.data *= 100
    torch.testing.assert_close(network.with_planes(image, label)[:, 1], beside)
    row = network.planes.embedding.weight[2].view(16, 16)
    torch.testing.assert_close(beside[0], row / row.square().mean().sqrt())


def test_standard_deviation_of_a_batch():
    two = torch.tensor([[0.0, 2], [2, 2]])  # deviations 1 and 0
    expected = torch.tensor([[0, 2, 0.5], [2, 2, 0.5]])
    torch.testing.assert_close(MinibatchStdDev()(two), expected, rtol=0, atol=1e-4)
    maps = MinibatchStdDev()(two.view(2, 1, 2, 1).expand(2, 1, 2, 3))
    assert maps.shape == (2, 2, 2, 3)
    torch.testing.assert_close(maps[:, 1], torch.full((2, 2, 3), 0.5), rtol=0, atol=1e-4)
    assert MinibatchStdDev()(two[:1].repeat(5, 1))[:, 2].abs().max() <= 1.1e-4


def test_standard_deviation_within_groups():
    six = torch.tensor([[0.0], [5], [3], [5], [6], [5]])  # by threes, every other: 0, 3, 6 and 5, 5, 5
    spread = MinibatchStdDev(group_size=4)(six)[:, 1]
    torch.testing.assert_close(spread, torch.tensor([6**0.5, 0] * 3), rtol=0, atol=1.1e-4)


@pytest.mark.parametrize(("count", "group"), [(7, 7), (25, 5), (35, 5), (10, 2), (8, 4), (9, 3)])
def test_no_group_is_a_single_image(count: int, group: int):
    batch = torch.randn(count, 3)
    groups = batch.view(group, count // group, 3)
    expected = groups.std(dim=0, correction=0).mean(dim=1).repeat(group)
    torch.testing.assert_close(MinibatchStdDev()(batch)[:, 3], expected, rtol=0, atol=1e-4)


def test_a_single_image_differs_from_none():
    assert MinibatchStdDev()(torch.randn(1, 3))[0, 3] == pytest.approx(1e-4)


def test_closeness_is_that_of_single_precision_under_autocast():
    torch.manual_seed(0)
    layer, x = MinibatchDiscrimination(64), 100 + 0.1 * torch.randn(4, 64)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x), exact, rtol=1e-5, atol=1e-5)


def test_closeness_within_a_batch():
    layer = MinibatchDiscrimination(1, kernels=2, kernel_dim=2)
    layer.project.weight.data = torch.tensor([[1.0], [2], [0], [0]])  # the first kernel at L1 3, the second at 0
    expected = torch.tensor([[0, 0.0497871, 1], [1, 0.0497871, 1]])
    torch.testing.assert_close(layer(torch.tensor([[0.0], [1]])), expected)
    assert layer(torch.ones(5, 1))[:, 1:].equal(torch.full((5, 2), 4.0))


@pytest.mark.parametrize("minibatch", ["stddev", "discrimination"])
def test_minibatch_layers_tell_a_collapsed_batch(minibatch: str):
    network = small_discriminator("mlp", minibatch=minibatch).eval()
    image = torch.randn(4, 1, 16, 16)
    alone = image[:1].expand(4, -1, -1, -1)
    label = torch.zeros(4, dtype=torch.long)
    assert abs(network(image, label)[0] - network(alone, label)[0]) > 1e-4
    plain = small_discriminator("mlp").eval()
    torch.testing.assert_close(plain(image, label)[0], plain(alone, label)[0])


# what users get wrong


@pytest.mark.parametrize(
    ("kind", "name", "keywords", "message"),
    [
        ("generator", "dcgna", {}, "unknown generator 'dcgna': choose one of mlp, dcgan"),
        ("generator", "mlp", {"upsample": "nearest"}, "generator 'mlp' takes no upsample, got 'nearest': dcgan would"),
        ("generator", "dcgan", {"conditioning": "projection"}, "--conditioning projection: .* concat, embedding, cbn"),
        ("generator", "dcgan", {"conditioning": "cbn", "norm": "instance"}, "cbn does not go with --norm instance"),
        ("generator", "mlp", {"norm": "instance"}, "'instance': choose one of batch, none"),
        ("generator", "dcgan", {"upsample": "cubic"}, "unknown upsampling 'cubic': choose one of deconv"),
        ("discriminator", "mlp", {"conditioning": "cbn"}, "--conditioning_D cbn: choose one of concat, embedding"),
        ("discriminator", "dcgan", {"minibatch": "pac"}, "unknown minibatch layer 'pac': choose one of none, stddev"),
        ("discriminator", "resnet", {"norm": "batch"}, "'resnet' takes no norm, got 'batch': mlp, dcgan would"),
    ],
)
def test_refusals_take_one_line(kind: str, name: str, keywords: dict[str, str], message: str):
    small = small_generator if kind == "generator" else small_discriminator
    with pytest.raises(ValueError, match=message) as error:
        small(name, **keywords)
    assert "\n" not in str(error.value)


def test_keywords_that_are_none_are_left_to_the_network():
    plain: Tensor = small_generator("mlp", upsample=None, norm=None)(torch.zeros(2, 8), LABEL)
    assert plain.equal(small_generator("mlp")(torch.zeros(2, 8), LABEL))
