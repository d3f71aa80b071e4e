"""The library's face: a trained run as a function from image to image."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from i2i.acceleration import AccelerationConfig
from i2i.acceleration.apply import HALF
from i2i.data import Batch, DataSpec
from i2i.data.batch import normalise
from i2i.data.derive import Derivation, derivation
from i2i.data.domain import Domain, classes_of_mask, held_by
from i2i.data.images import Reader, pil_pixels
from i2i.data.images.display import displayed
from i2i.data.images.writing import denormalise, stored_mask
from i2i.errors import UserError
from i2i.models import MODELS, GanModel, build_model
from i2i.models.generation import ties_images
from i2i.models.pix2pix import Pix2Pix
from i2i.networks import reference_weights
from i2i.networks.spectral import fold_spectral_norm
from i2i.run import checkpoint_path, resolve_device
from i2i.training import checkpoint
from i2i.translate.inference import Inference

log = logging.getLogger(__name__)

# Options of a run that say how its input is made of an image.
READING = ("derive", "derive_scale", "alpha", "pages", "max_pixels")
AnyImage = Image.Image | np.ndarray | Tensor
SLACK = 1e-3  # by which rounding may take a tensor out of [-1, 1]


class Translator:
    """A model ready to translate: `Translator.from_run("checkpoints/maps")(image)`.

    `target` is the domain that images are translated to. `running_statistics` is the reference's `--eval`. The model is
    the translator's own from now on: it is moved to the device, and made faster by what `acceleration` says.
    Nothing else of the process is touched, and threads may share a translator. `alpha`, `pages` and `max_pixels` say
    how files are read; `averaged` tells whether the weights are averages over training. `signature` is a hash that
    tells its weights from others.
    """

    def __init__(
        self,
        model: GanModel,
        device: str = "auto",
        *,
        target: str = "b",
        seed: int = 0,
        running_statistics: bool = False,
        averaged: bool = False,
        derive: str = "none",
        derive_scale: int = 4,
        alpha: str = "drop",
        pages: str = "auto",
        max_pixels: int = Reader.max_pixels,
        acceleration: AccelerationConfig | None = None,
    ) -> None:
        self.device = resolve_device(device)
        self.signature = _signature(model.players["generator"].modules)
        self.model = model.to(self.device).eval().requires_grad_(False)
        fold_spectral_norm(self.model)
        self.averaged = averaged
        self.target, self.seed, self.running_statistics = target, seed, running_statistics
        self.reader = Reader(alpha, pages, max_pixels)
        networks = self.model.players["generator"].modules
        by_image = not (running_statistics or model.spec.classes) and any(map(ties_images, networks))
        self.inference = Inference(networks, self.device, acceleration or AccelerationConfig(), by_image)
        self._warn_of_few_values()
        self.derivation: Derivation | None = None
        if derive != "none":
            image = Domain() if derive == "colorization" else model.spec.domains[1][0]
            self.derivation = derivation(derive, derive_scale, image)

    @classmethod
    def from_run(
        cls,
        folder: str | Path,
        epoch: str = "latest",
        *,
        overrides: Mapping[str, Any] | None = None,
        ema: bool = True,
        **keywords: Any,
    ) -> Translator:
        """The model of a run's checkpoint, with its averaged weights if it has any and `ema` is set.

        `overrides` replace options of the model that the checkpoint holds; `keywords` go to the constructor.

        Raises:
            ValueError: if there is no such checkpoint, or it is damaged or of another architecture.
        """
        state = checkpoint.load(checkpoint_path(Path(folder), epoch), mapped=True)
        reading = {name: state["options"][name] for name in READING if name in state["options"]}
        averaged = ema and state["ema"] is not None
        return cls(load_model(state, overrides, ema), averaged=averaged, **reading | keywords)

    @classmethod
    def from_reference(
        cls, path: str | Path, *, norm: str | None = None, dropout: bool = True, **keywords: Any
    ) -> Translator:
        """The generator in a weights file of the reference implementation, its architecture read off the weights.

        `norm` overrides what was read; `dropout` is used for a U-Net, whose weights do not tell. Instance
        normalisation is assumed where it and none cannot be told apart.

        Raises:
            ValueError: if the file is missing, damaged, or no generator.
        """
        architecture, weights = reference_weights.read(path, norm)
        if architecture.kind != "generator":
            raise UserError(f"{path} holds a discriminator ({architecture.name}); translation needs a generator")
        if architecture.norm_is_assumed:
            log.info("%s: instance normalisation is assumed; --norm none if the generator had none", path)
        arguments = dict(architecture.keywords)
        spec = DataSpec(arguments.pop("in_channels"), arguments.pop("out_channels"))
        if (spec.in_channels, spec.out_channels) == (1, 2):  # the reference's colorization, and nothing else
            a, b = derivation("colorization", 1, Domain()).domains()
            spec = spec._replace(a=(a,), b=(b,))
        arguments["generator_filters"] = arguments.pop("filters")
        if architecture.name.startswith("unet"):
            arguments["dropout"] = dropout
        model = build_model("pix2pix", Pix2Pix.Config(generator=architecture.name, **arguments), spec, drawn=False)
        model.get_submodule("generator").load_state_dict(weights)
        return cls(model, derive="colorization" if spec.a else "none", **keywords)

    def __call__(self, image: AnyImage | str | Path) -> AnyImage:
        """Translate one image; what comes back is of the kind and the size of what went in.

        Takes a Pillow image, an array (H, W) or (H, W, C) of the numbers that the files of the domain hold (uint8,
        uint16, or floats in the range that the run was given), or a tensor (C, H, W), uint8 or float in [-1, 1]. A
        path is opened as test.py opens it, and a Pillow image comes back. Where the run translates to label maps, the
        classes come back, and colours for a colorization.

        Raises:
            ImageError: if the path is no image that can be read; it is a ValueError too.
            ValueError: if it has other channels than the model takes, another type, values that are not finite or, in
                a tensor, outside [-1, 1], or if floats have no known range.
        """
        if isinstance(image, Tensor):
            self._check_tensor(image)
            return self.translate(self._checked(normalise(image))[None])[0].to(image.device)
        source, target = self._domains()
        where = str(image) if isinstance(image, str | Path) else f"this {_kind_of(image)}"
        pixels = self._pixels(image, source, where)
        domain = held_by(pixels, source, where)
        batch = self._checked(normalise(domain.to_tensor(pixels)))[None]
        result = self.translate(batch)
        if target.kind == "chroma":
            result, target = displayed({"real": batch, "fake": result}, [source], [target])["fake"], Domain()
        if target.kind == source.kind and (isinstance(image, np.ndarray) or target.channels == 1):
            target = target.of_kind(domain.kind) or target
        array = denormalise(result[0], target)
        array = stored_mask(array) if target.is_mask else array
        array = array[:, :, 0] if array.shape[2:] == (1,) else array
        return array if isinstance(image, np.ndarray) else _picture(array)

    def _warn_of_few_values(self) -> None:
        precision, (a, b) = self.inference.config.precision, self.model.spec.domains
        kinds = {domain.kind for domain in (b if self.target == "b" else a)}
        if precision in HALF and kinds & {"uint16", "float32"}:
            log.warning("--precision %s: results of more than 8 bits have few different values", precision)

    def move_to(self, device: torch.device) -> None:
        """Go on with another device, before anything is translated."""
        self.device = self.inference.device = device
        self.model.to(device)

    def _pixels(self, image: Image.Image | np.ndarray | str | Path, source: Domain, where: str) -> np.ndarray:
        """(H, W, C) numbers of `source`, or (H, W) class indices; `where` they are from, for errors."""
        if source.is_labels:
            indices = self.reader.labels(str(image)) if isinstance(image, str | Path) else np.asarray(image)
            if indices.ndim != 2:
                raise UserError(f"the model takes a map of classes (H, W), this one has the shape {indices.shape}")
            if indices.dtype.kind not in "bui":
                raise UserError(f"{where} holds {indices.dtype}, and a map of classes whole numbers")
            return classes_of_mask(indices) if source.is_mask else indices
        channels = source.channels if self.derivation is None else self.derivation.input_channels
        if isinstance(image, str | Path):
            pixels = self.reader.pixels(str(image), channels, fill=source.low)
        else:
            pixels = pil_pixels(image, channels, self.reader.alpha) if isinstance(image, Image.Image) else image
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        if pixels.ndim != 3:
            raise UserError(f"an image has the shape (H, W) or (H, W, C), this one {pixels.shape}")
        if pixels.dtype.kind not in "buif":
            raise UserError(f"{where} holds {pixels.dtype}, not numbers")
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise UserError(f"{where} holds values that are not finite (NaN or infinity); replace them")
        if self.derivation is None:
            return pixels
        image_domain = held_by(pixels, self.derivation.image, where)
        return dataclasses.replace(self.derivation, image=image_domain).input(pixels)

    def _domains(self) -> tuple[Domain, Domain]:
        a, b = self.model.spec.domains
        source, target = (a, b) if self.target == "b" else (b, a)
        if len(source) > 1:
            raise UserError(f"the model's input are {len(source)} images; give their channels as one tensor (C, H, W)")
        return source[0], target[0]

    def _checked(self, image: Tensor) -> Tensor:
        channels = self._channels(self.target == "b")
        if image.ndim != 3 or image.shape[0] != channels or not image.numel():
            shape = tuple(image.shape)
            raise UserError(f"the model takes images of {channels} channels, this one has the shape {shape}")
        return image.to(self.device)

    def _channels(self, of_a: bool) -> int:
        return self.model.spec.in_channels if of_a else self.model.spec.out_channels

    def _check_tensor(self, image: Tensor) -> None:
        """Raises ValueError for numbers that are no image: a tensor has no domain by which others could be read."""
        if image.dtype == torch.uint8 or not image.numel():
            return
        if not image.is_floating_point():
            raise UserError(f"this tensor holds {_name(image.dtype)}: float in [-1, 1] or uint8 is expected")
        low, high = (end.item() for end in image.detach().float().aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise UserError("this tensor holds values that are not finite (NaN or infinity); replace them")
        if low < -1 - SLACK or high > 1 + SLACK:
            raise UserError(
                f"this tensor holds values from {low:.4g} to {high:.4g}: floats are expected in [-1, 1], as "
                "x / 127.5 - 1 makes them of 0 to 255, and 0 to 255 as uint8"
            )

    def _check_batch(self, images: Tensor, of_a: bool) -> None:
        channels = self._channels(of_a)
        if images.ndim != 4 or images.shape[1] != channels or not images.is_floating_point() or not images.numel():
            found = f"{_name(images.dtype)} {tuple(images.shape)}"
            raise UserError(f"a batch is float (N, {channels}, H, W) in [-1, 1], this one {found}")

    def translate(self, images: Tensor, paths: tuple[str, ...] = ()) -> Tensor:
        """Translate a batch (N, C, H, W) in [-1, 1]; `paths` name the seeds of the images' dropout.

        The images lie on the translator's device. That they are finite and in [-1, 1] is not looked at.

        Raises:
            ValueError: for other shapes, and for other types than floats.
        """
        self._check_batch(images, self.target == "b")
        batch = Batch(a=images, paths_a=paths) if self.target == "b" else Batch(b=images, paths_b=paths)
        return self.inference(lambda: self.model.translate(batch, target=self.target, **self._options)).to(images.dtype)

    def visuals(self, images: Tensor, truth: Tensor | None, paths: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """All that the model shows of a batch, and of the true translations if they are known, by label.

        Both as `translate` takes them, and with its errors.
        """
        self._check_batch(images, self.target == "b")
        if truth is not None:
            self._check_batch(truth, self.target != "b")
        batch = Batch(a=images, b=truth, paths_a=paths, paths_b=paths if truth is not None else ())
        if self.target == "a":
            batch = Batch(a=batch.b, b=batch.a, paths_a=batch.paths_b, paths_b=batch.paths_a)
        return self.inference(lambda: self.model.visuals(batch, **self._options))

    @property
    def _options(self) -> dict[str, Any]:
        return {"seed": self.seed, "running_statistics": self.running_statistics}

    def generate(self, labels: Tensor, seed: int, truncation: float | None = None) -> Tensor:
        """Images of class indices (N,) from a class-conditional model; row i is named by its label and `seed + i`.

        An unconditional model takes indices as well, for their number. `truncation` is that of `CGAN.latents`.

        Raises:
            ValueError: if the model translates images.
        """
        labels = labels.to(self.device)
        return self.inference(lambda: self.model.generate(labels, seed, truncation)).float()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _kind_of(image: Any) -> str:
    """Raises ValueError for what is neither a Pillow image nor an array."""
    if isinstance(image, Image.Image):
        return "image"
    if not isinstance(image, np.ndarray):
        raise UserError(f"a {type(image).__name__} is no image: give a Pillow image, an array, a tensor or a path")
    return "array"


def _signature(networks: Sequence[nn.Module]) -> str:
    """Return a hash of the networks' layers and of the first few of their weights, all of which training moves."""
    content = hashlib.blake2b(digest_size=8)
    for network in networks:
        content.update(repr(network).encode())
        for name, values in network.state_dict().items():
            first = values.detach().reshape(-1)[:64].to("cpu", torch.float64)
            content.update(f"{name} {tuple(values.shape)}".encode() + first.numpy().tobytes())
    return content.hexdigest()


def _picture(array: np.ndarray) -> Image.Image:
    try:
        return Image.fromarray(array)
    except TypeError:
        shape = "x".join(map(str, array.shape))
        raise UserError(f"Pillow has no images of {shape} {array.dtype}: give an array to get an array back") from None


def load_model(state: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, ema: bool = True) -> GanModel:
    """The model that the checkpoint `state` was saved from.

    Raises:
        ValueError: if the weights do not fit; names the options that differ from the checkpoint's.
    """
    options = state["options"] | dict(overrides or {})
    config = MODELS[options["model"]].Config
    own = {field.name: options[field.name] for field in dataclasses.fields(config) if field.name in options}
    model = build_model(options["model"], config(**own), DataSpec.from_dict(state["spec"]), drawn=False)
    averages = state["ema"]["weights"] if ema and state["ema"] is not None else {}
    model.load_checkpoint(state["model"] | averages, state["options"])
    return model
