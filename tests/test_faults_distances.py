"""A distance to train with and the metric of its name say the same of the same images."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from i2i.losses import DISTANCES, Distance
from i2i.metrics import METRICS
from i2i.metrics.card import Card
from i2i.metrics.compute import paired_values
from i2i.metrics.lpips import load_lpips
from i2i.training.checkpoint import modernise
from i2i.watch.validation import BestCheckpoint


def grey(value: float, seed: int) -> Tensor:
    """Images of one shade with a little noise, (2, 3, 40, 48) in [-1, 1]."""
    noise = torch.rand(2, 3, 40, 48, generator=torch.Generator().manual_seed(seed))
    return (value + 0.1 * (noise - 0.5)).clamp(-1, 1)


PAIRS: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "grey": lambda: (grey(0.0, 0), grey(0.06, 1)),
    "dark": lambda: (grey(-0.9, 0), grey(-0.8, 1)),
    "bright": lambda: (grey(0.95, 0), grey(0.8, 1)),
    "random": lambda: (12 * grey(0.0, 0), 12 * grey(0.0, 1)),
    "alike": lambda: (10 * grey(0.0, 0), 10 * grey(0.0, 0) + grey(0.0, 1)),
}


def clamped(kind: str) -> tuple[Tensor, Tensor]:
    fake, real = PAIRS[kind]()
    return fake.clamp(-1, 1), real.clamp(-1, 1)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("name", sorted(set(DISTANCES) & set(METRICS) - {"lpips"}))
def test_a_distance_is_the_metric_of_its_name(name: str, kind: str) -> None:
    fake, real = clamped(kind)
    metric = paired_values([name], fake, real)[name].mean().item()
    expected = 1 - metric if METRICS[name].higher_is_better else metric
    assert DISTANCES[name](fake, real).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.skipif("I2I_TEST_DATA" not in os.environ, reason="I2I_TEST_DATA is unset: no weights")
@pytest.mark.parametrize("kind", PAIRS)
def test_lpips_is_the_metric_of_its_name(kind: str) -> None:
    weights = Path(os.environ["I2I_TEST_DATA"]) / "weights" / "alexnet_features_torchvision_names.pth"
    (fake, real), distance = clamped(kind), Distance("lpips")
    distance.load_networks("alex", weights)
    metric = paired_values(["lpips"], fake, real, load_lpips("alex", weights))["lpips"].mean().item()
    assert distance(fake, real).item() == pytest.approx(metric, abs=1e-5)


@pytest.mark.parametrize("kind", PAIRS)
def test_ssim_is_that_of_scikit_image(kind: str) -> None:
    from skimage.metrics import structural_similarity

    fake, real = clamped(kind)
    expected = [
        structural_similarity(
            *(((images[row].double().numpy() + 1) / 2) for images in (fake, real)),
            channel_axis=0,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for row in range(len(fake))
    ]
    assert paired_values(["ssim"], fake, real)["ssim"].tolist() == pytest.approx(expected, abs=1e-5)
    assert DISTANCES["ssim"](fake, real).item() == pytest.approx(1 - np.mean(expected), abs=1e-5)


def test_a_card_of_schema_1_has_its_l1_doubled(tmp_path: Path) -> None:
    """Its figures were of images in [0, 1]."""
    score = {"value": 0.1, "low": 0.05, "high": None, "fakes": 3, "reals": 3}
    old = {
        "schema": 1,
        "title": "old",
        "figures": [{"name": "l1", **score, "baselines": {"copy": score}, "left_out": {}}],
        **{name: {} for name in ("subject", "baselines", "protocol", "options", "environment")},
        **{"warnings": [], "command": "", "created": ""},
    }
    (tmp_path / "card.json").write_text(json.dumps(old), encoding="utf-8")
    (figure,) = Card.load(tmp_path / "card.json").figures
    assert (figure.score.value, figure.score.low, figure.score.high) == (0.2, 0.1, None)
    assert figure.baselines["copy"].value == 0.2


@pytest.mark.parametrize(("age", "factor"), [("today", 1), ("schema 1", 2)])
def test_the_best_l1_of_a_run_of_an_older_version_is_doubled(age: str, factor: float) -> None:
    """Such runs recorded no data, and their l1 was of images in [0, 1]."""
    selection = BestCheckpoint("l1", higher_is_better=False)
    selection.update({"l1": 0.25, "psnr": 20.0}, 4, 2)
    saved = {"validation": selection.state_dict() | {"figures": {"l1": 0.25}}, "monitor": {}, "model": {}}
    state = modernise(saved | ({"data": {}} if age == "today" else {}))["validation"]
    assert state["best"] == state["best_figures"]["l1"] == state["figures"]["l1"] == 0.25 * factor
    assert state["best_figures"]["psnr"] == 20
