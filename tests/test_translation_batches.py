"""Batches of any size, layout and precision give each image what it would get alone."""

from __future__ import annotations

import pickle
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from i2i.acceleration import AccelerationConfig, Choices, Work, choose
from i2i.data import Batch, DataSpec
from i2i.data.domain import Domain
from i2i.data.images.writing import denormalise
from i2i.models import build_model
from i2i.models.cyclegan import CycleGAN
from i2i.models.generation import generate
from i2i.models.pix2pix import Pix2Pix
from i2i.networks import build_generator
from i2i.networks.spectral import spectral_normalize
from i2i.translate import suitable_batch_size
from i2i.translate.translator import Translator
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


def test_a_spectral_norm_is_left_where_it_was() -> None:
    net = network("unet", "batch", 0, torch.float32)
    spectral_normalize(net)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    first, second = (generate(net.train(), images(torch.float32), PATHS, 7) for _ in range(2))
    assert first.equal(second)
    assert all(value.equal(before[key]) for key, value in net.state_dict().items())
    net(images(torch.float32))
    assert not all(value.equal(before[key]) for key, value in net.state_dict().items() if key.endswith("_u"))


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


def label_maps(precision: str) -> tuple[Tensor, np.ndarray]:
    """Of a model that is sure of its classes: what it gives, and the classes."""
    torch.manual_seed(0)
    domains = {"a": (Domain(),), "b": (Domain(20, "labels", 0, 19),)}
    config = Pix2Pix.Config(**tiny.TRANSLATION | {"generator": "unet", "num_downs": 5, "dropout": False})
    model = build_model("pix2pix", config, DataSpec(3, 20, **domains))
    last = [module for module in model.generator.modules() if isinstance(module, nn.ConvTranspose2d)][-1]
    last.weight.data *= 40
    translator = Translator(model, device="cpu", acceleration=AccelerationConfig(precision=precision))
    smooth = nn.functional.interpolate(images(torch.float32)[:1, :, :16, :16], size=(64, 64), mode="bilinear")
    result = translator.translate(smooth)
    return result, denormalise(result[0], domains["b"][0])


def test_classes_in_bf16_are_those_in_fp32() -> None:
    (exact, expected), (_, close) = label_maps("fp32"), label_maps("bf16")
    assert (exact.max(dim=1)[0] > 0.99).float().mean() > 0.5, "where bf16 would know 1 only"
    assert len(np.unique(expected)) > 5
    assert (close != expected).mean() < 0.03


def test_few_values_of_many_are_said(caplog: pytest.LogCaptureFixture) -> None:
    deep = {"a": (Domain(3, "uint16", 0, 65535),), "b": (Domain(),)}
    config = CycleGAN.Config(**tiny.TRANSLATION | {"generator": "resnet", "num_blocks": 1})
    for target, precision in (("b", "bf16"), ("a", "auto"), ("a", "bf16")):
        assert not caplog.records
        model = build_model("cyclegan", config, DataSpec(**deep))
        Translator(model, device="cpu", target=target, acceleration=AccelerationConfig(precision=precision))
    assert [record.getMessage() for record in caplog.records] == [
        "--precision bf16: results of more than 8 bits have few different values"
    ]


def test_threads_share_a_translator() -> None:
    translator = Translator(tiny.pix2pix(num_downs=6, norm="batch", dropout=True), device="cpu")
    inputs = [image[None] for image in images(torch.float32)]
    expected = [translator.translate(image) for image in inputs]

    def repeated(number: int) -> bool:
        return all(torch.equal(translator.translate(inputs[number]), expected[number]) for _ in range(10))

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(repeated, range(3)))
    assert not any("forward" in vars(module) for module in translator.model.modules())


def test_a_pickled_translator_goes_on() -> None:
    for translator in (Translator(build(), device="cpu") for build in (tiny.pix2pix, tiny.cyclegan)):
        expected = translator.translate(images(torch.float32), PATHS)
        again = pickle.loads(pickle.dumps(translator))
        assert torch.equal(again.translate(images(torch.float32), PATHS), expected)


@pytest.mark.parametrize("compiled", ["off", "reduce-overhead"])
def test_what_cuda_graphs_overwrite_is_copied(compiled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch, held = tiny.cyclegan(), images(torch.float32), torch.zeros(1)
    translator = Translator(model, device="cpu")
    translator.inference.choices = Choices(compile=compiled)
    monkeypatch.setattr(model, "translate", lambda *batch, **options: held)
    monkeypatch.setattr(model, "visuals", lambda *batch, **options: {"fake_B": held})
    results = [
        translator.translate(batch),
        translator.visuals(batch, None)["fake_B"],
    ]
    digits = tiny.cgan()
    generator = Translator(digits, device="cpu")
    generator.inference.choices = Choices(compile=compiled)
    monkeypatch.setattr(digits, "translate", lambda *batch, **options: held)
    results.append(generator.generate(torch.zeros(1), 0))
    held += 1
    assert [result.item() for result in results] == [float(compiled == "off")] * 3


def test_compiling_is_left_alone_where_layers_go_image_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i.acceleration.choices.find_spec", lambda name: object())  # triton
    device, words = torch.device("cuda"), Work(False, 10**6, 16, (256, 256))
    assert choose(AccelerationConfig(), device, words, [nn.Conv2d(1, 1, 3)]).compile == "default"
    decided = choose(AccelerationConfig(), device, words._replace(by_image=True), [nn.Conv2d(1, 1, 3)])
    assert decided.compile == "off" and "per image" in decided.reasons["compile"]
    tied = [
        Translator(model, device="cpu", running_statistics=running_statistics).inference.by_image
        for model in (tiny.pix2pix(norm="batch"), tiny.cyclegan(), tiny.cgan())
        for running_statistics in (False, True)
    ]
    assert tied == [True, False, False, False, False, False]


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


def test_a_normalised_model_translates_the_same_and_can_be_sent_to_other_processes() -> None:
    torch.manual_seed(0)
    model = tiny.cgan(spectral_norm="both", gan_mode="hinge")
    labels = torch.tensor([0, 1, 2])
    expected = model.eval().translate(Batch(label=labels), seed=3)
    translator = Translator(model, device="cpu")
    assert torch.allclose(translator.generate(labels, 3), expected, atol=1e-6)
    again = pickle.loads(pickle.dumps(translator))
    assert again.generate(labels, 3).equal(translator.generate(labels, 3))
