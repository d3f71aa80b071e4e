"""The library's face: a trained run as a function from image to image."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from i2i import reference_weights
from i2i.data import Batch, DataSpec
from i2i.data.batch import normalise
from i2i.data.folder import upright_eight_bit
from i2i.models import MODELS, GanModel, build_model
from i2i.models.pix2pix import Pix2Pix
from i2i.run import checkpoint_path, resolve_device
from i2i.training import checkpoint
from i2i.visuals.images import to_uint8

log = logging.getLogger(__name__)

AnyImage = Image.Image | np.ndarray | Tensor


class Translator:
    """A model ready to translate: `Translator.from_run("checkpoints/maps")(image)`.

    `target` is the domain that images are translated to. `running_statistics` is the reference's `--eval`.
    """

    def __init__(
        self,
        model: GanModel,
        device: str = "auto",
        *,
        target: str = "b",
        seed: int = 0,
        running_statistics: bool = False,
    ) -> None:
        self.device = resolve_device(device)
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.target, self.seed, self.running_statistics = target, seed, running_statistics

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
        state = checkpoint.load(checkpoint_path(Path(folder), epoch))
        return cls(load_model(state, overrides, ema), **keywords)

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
            raise ValueError(f"{path} holds a discriminator ({architecture.name}); translation needs a generator")
        if architecture.norm_is_assumed:
            log.info("%s: instance normalisation is assumed; --norm none if the generator had none", path)
        arguments = dict(architecture.keywords)
        spec = DataSpec(arguments.pop("in_channels"), arguments.pop("out_channels"))
        arguments["generator_filters"] = arguments.pop("filters")
        if architecture.name.startswith("unet"):
            arguments["dropout"] = dropout
        model = build_model("pix2pix", Pix2Pix.Config(generator=architecture.name, **arguments), spec)
        model.get_submodule("generator").load_state_dict(weights)
        return cls(model, **keywords)

    def __call__(self, image: AnyImage) -> AnyImage:
        """Translate one image; what comes back is of the kind and the size of what went in.

        Takes a Pillow image, a uint8 array (H, W) or (H, W, C), or a tensor (C, H, W), uint8 or
        float in [-1, 1].

        Raises:
            ValueError: if an array or a tensor is of another type, or has other channels than the model takes.
        """
        channels = self.model.spec.in_channels if self.target == "b" else self.model.spec.out_channels
        pixels = _as_tensor(image, channels)
        result = self.translate(pixels[None].to(self.device))[0]
        if isinstance(image, Tensor):
            return result.to(image.device)
        array = to_uint8(result).permute(1, 2, 0).cpu().numpy()
        array = array[:, :, 0] if array.shape[2] == 1 else array
        return Image.fromarray(array) if isinstance(image, Image.Image) else array

    def translate(self, images: Tensor, paths: tuple[str, ...] = ()) -> Tensor:
        """Translate a batch (N, C, H, W) in [-1, 1]; `paths` name the seeds of the images' dropout."""
        batch = Batch(a=images, paths_a=paths) if self.target == "b" else Batch(b=images, paths_b=paths)
        return self.model.translate(batch, target=self.target, **self._options)

    def visuals(self, images: Tensor, truth: Tensor | None, paths: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """All that the model shows of a batch, and of the true translations if they are known, by label."""
        batch = Batch(a=images, b=truth, paths_a=paths, paths_b=paths if truth is not None else ())
        if self.target == "a":
            batch = Batch(a=batch.b, b=batch.a, paths_a=batch.paths_b, paths_b=batch.paths_a)
        return self.model.visuals(batch, **self._options)

    @property
    def _options(self) -> dict[str, Any]:
        return {"seed": self.seed, "running_statistics": self.running_statistics}

    def generate(self, labels: Tensor, seed: int) -> Tensor:
        """Images of class indices (N,) from a class-conditional model; row i is named by its label and `seed + i`."""
        return self.model.translate(Batch(label=labels.to(self.device)), seed=seed)


def _as_tensor(image: AnyImage, channels: int) -> Tensor:
    if isinstance(image, Image.Image):
        image = np.asarray(upright_eight_bit(image, channels))
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise ValueError(f"arrays hold uint8, this one {image.dtype}; give floats in [-1, 1] as a tensor (C, H, W)")
        array = image[:, :, None] if image.ndim == 2 else image
        image = torch.from_numpy(array.copy()).permute(2, 0, 1)
    image = normalise(image)
    if image.ndim != 3 or image.shape[0] != channels:
        raise ValueError(f"the model takes images of {channels} channels, this one has the shape {tuple(image.shape)}")
    return image


def load_model(state: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, ema: bool = True) -> GanModel:
    """The model that the checkpoint `state` was saved from.

    Raises:
        ValueError: if the weights do not fit; names the options that differ from the checkpoint's.
    """
    options = state["options"] | dict(overrides or {})
    config = MODELS[options["model"]].Config
    own = {field.name: options[field.name] for field in dataclasses.fields(config) if field.name in options}
    spec = state["spec"]
    size, classes = tuple(spec["image_size"]), tuple(spec["classes"])
    model = build_model(options["model"], config(**own), DataSpec(**spec | {"image_size": size, "classes": classes}))
    model.load_checkpoint(state["model"], state["options"])
    if ema and state["ema"] is not None:
        model.load_state_dict(state["ema"]["weights"], strict=False)
    return model
