import math
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.metrics.compute import label_values
from i2i.metrics.lpips import file_digest
from i2i.metrics.segmentation import label_confusion, load_segmentation

NAMES = ("pixel_accuracy", "class_accuracy", "miou")
RED, GREEN, BLUE = torch.eye(3).mul(2).sub(1).view(3, 3, 1, 1)


class Brightest(nn.Module):
    """The class of a pixel is its brightest channel, judged at half the size."""

    def forward(self, photos: Tensor) -> Tensor:
        return F.avg_pool2d(photos, 2)


class Wrapped(nn.Module):
    """As torchvision's networks answer."""

    def forward(self, photos: Tensor) -> dict[str, Tensor]:
        return {"out": photos}


class Flat(nn.Module):
    """A classifier of whole images."""

    def forward(self, photos: Tensor) -> Tensor:
        return photos.mean(dim=(2, 3))


def save(network: nn.Module, file: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would rather export; the files stay readable
        torch.jit.save(torch.jit.script(network), str(file))
    return file


# the network


def test_classes_are_read_off_at_the_size_of_the_photos(tmp_path: Path) -> None:
    file = save(Brightest(), tmp_path / "brightest.pt")
    segment = load_segmentation(file)
    left, right = RED.expand(3, 6, 4), BLUE.expand(3, 6, 4)
    photos = torch.stack([torch.cat((left, right), dim=2), GREEN.expand(3, 6, 8)])
    classes = segment(photos)
    assert classes.dtype == torch.int64
    assert classes.tolist() == [[[0, 0, 0, 0, 2, 2, 2, 2]] * 6, [[1] * 8] * 6]
    assert segment.num_classes == 3
    assert (segment.name, segment.digest) == ("brightest.pt", file_digest(file))


def test_files_that_are_no_network_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--segmentation .*absent.pt: there is no such file"):
        load_segmentation(tmp_path / "absent.pt")
    for content in (b"damaged", b""):
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(ValueError, match="--segmentation .*x.pt"):
            load_segmentation(tmp_path / "x.pt")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="--segmentation .*state.pt"):
        load_segmentation(tmp_path / "state.pt")


@pytest.mark.parametrize(("network", "found"), [(Wrapped(), "dict"), (Flat(), r"shape \(1, 3\)")])
def test_a_network_that_gives_no_logits_of_pixels_is_refused(network: nn.Module, found: str, tmp_path: Path) -> None:
    segment = load_segmentation(save(network, tmp_path / "x.pt"))
    with pytest.raises(ValueError, match=f"x.pt .*{found}"):
        segment(torch.zeros(1, 3, 4, 4))


# counts

TRUTH = torch.tensor([[[0, 0, 0, 1], [1, 1, 255, 255]], [[0, 0, 0, 0], [2, 2, 2, 2]]])
PREDICTED = torch.tensor([[[0, 0, 1, 1], [1, 2, 0, 3]], [[0, 0, 0, 0], [2, 2, 2, 1]]])


def test_pixels_are_counted_by_true_and_predicted_class() -> None:
    counts = label_confusion(PREDICTED, TRUTH, 4)
    first = [[2, 1, 0, 0, 0], [0, 2, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    second = [[4, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 3, 0, 0], [0, 0, 0, 0, 0]]
    assert counts.tolist() == [first, second]
    assert counts.dtype == torch.int64
    assert torch.equal(counts, label_confusion(PREDICTED, TRUTH.to(torch.uint8), 4))


def test_label_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="true label map holds class 2"):
        label_confusion(PREDICTED.clamp(max=1), TRUTH, 2)
    with pytest.raises(ValueError, match="generated label map holds class 3"):
        label_confusion(PREDICTED, TRUTH, 3)
    with pytest.raises(ValueError, match="3x2 and 4x2"):
        label_confusion(PREDICTED[..., :3], TRUTH, 4)


def test_pixels_of_no_class_are_right_nowhere() -> None:
    truth, predicted = torch.tensor([[[0, 0, 1, 255]]]), torch.tensor([[[0, 255, 1, 255]]])
    counts = label_confusion(predicted, truth, 2)
    assert counts.tolist() == [[[1, 0, 1], [0, 1, 0]]]
    assert label_values(NAMES, counts) == pytest.approx({"pixel_accuracy": 2 / 3, "class_accuracy": 0.75, "miou": 0.75})


# values


def test_values_by_hand() -> None:
    # Summed up: 6 of 7 pixels of class 0, 2 of 3 of class 1, 3 of 4 of class 2; class 3 is nowhere that counts.
    values = label_values(NAMES, label_confusion(PREDICTED, TRUTH, 4))
    assert values == pytest.approx(
        {
            "pixel_accuracy": 11 / 14,
            "class_accuracy": (6 / 7 + 2 / 3 + 3 / 4) / 3,
            "miou": (6 / 7 + 2 / (3 + 2) + 3 / (4 + 1)) / 3,
        }
    )
    assert values == label_values(NAMES, label_confusion(PREDICTED, TRUTH, 4).sum(dim=0))


def test_a_class_that_is_only_predicted_costs_intersection_and_no_accuracy() -> None:
    values = label_values(NAMES, torch.tensor([[3, 1], [0, 0]]))
    assert values == pytest.approx({"pixel_accuracy": 0.75, "class_accuracy": 0.75, "miou": (0.75 + 0) / 2})


def test_perfect_maps_score_one_and_maps_without_pixels_nothing() -> None:
    truth = torch.where(TRUTH == 255, 0, TRUTH)
    assert set(label_values(NAMES, label_confusion(truth, truth, 4)).values()) == {1.0}
    empty = label_confusion(PREDICTED, torch.full_like(TRUTH, 255), 4)
    assert empty.sum() == 0
    assert all(math.isnan(value) for value in label_values(NAMES, empty).values())
