"""Pairs from folders, conditions, manifests and single images; label maps and images of other kinds."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.data import (
    BatchStream,
    DataConfig,
    DataSpec,
    ImageDataset,
    ImageError,
    Key,
    Sample,
    build_dataset,
    sample_batch,
)
from i2i.data.domain import Domain
from tests.pictures import coordinates, dataset, noise, numbered, numbers, save

AUGMENTED: dict[str, Any] = {"preprocess": "resize_and_crop", "load_size": (40,), "crop_size": (32,), "flip": True}


def epoch_of(data: ImageDataset, epoch: int = 0) -> list[Sample]:
    return [data.load(Key(epoch, item)) for item in range(len(data))]


def values(samples: list[Sample], domain: str) -> list[int]:
    return numbers(torch.stack([getattr(sample, domain) for sample in samples]))


def write_npy(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


@pytest.mark.parametrize("folders", ["train{}", "train_{}", "train/{}", "{}/train", "{}"])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_files_of_one_name_are_a_pair_wherever_their_folders_lie(tmp_path: Path, folders: str, direction: str) -> None:
    numbered(tmp_path / folders.format("A"), 3)
    for number in range(3):
        Image.fromarray(np.full((4, 4, 3), 100 + number, np.uint8)).save(
            save(tmp_path / folders.format("B") / f"{number}.png", noise(4, 4)).with_suffix(".bmp")
        )
        (tmp_path / folders.format("B") / f"{number}.png").unlink()
    samples = epoch_of(dataset(tmp_path, "aligned", direction=direction))
    found = {"A": values(samples, "a"), "B": values(samples, "b")}
    assert (found["A"], found["B"]) == (
        ([0, 1, 2], [100, 101, 102]) if direction == "AtoB" else ([100, 101, 102], [0, 1, 2])
    )
    assert Path(str(samples[0].path_b)).suffix == (".bmp" if direction == "AtoB" else ".png")


def test_the_folders_of_a_pair_may_lie_anywhere(tmp_path: Path) -> None:
    numbered(tmp_path / "here" / "val", 2)
    numbered(tmp_path / "there", 2)
    places = {"dataroot_A": str(tmp_path / "here"), "dataroot_B": str(tmp_path / "there")}
    samples = epoch_of(dataset(Path(""), "aligned", phase="val", **places | {"dataroot": ""}))
    assert values(samples, "a") == values(samples, "b") == [0, 1]
    unpaired = dataset(Path(""), "unaligned", phase="val", **places | {"dataroot": ""})
    assert len(unpaired) == 2


def test_files_without_a_partner_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    numbered(tmp_path / "trainA", 4)
    numbered(tmp_path / "trainB", 4, first=2)
    with caplog.at_level(logging.WARNING):
        data = dataset(tmp_path, "aligned")
    assert values(epoch_of(data), "a") == [2, 3]
    lone = [tmp_path / "trainA" / "0.png", tmp_path / "trainA" / "1.png"]
    lone += [tmp_path / "trainB" / "4.png", tmp_path / "trainB" / "5.png"]
    assert sorted(data.columns.unmatched) == [str(path) for path in lone]
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("4 files ") and all(str(path) in message for path in lone)


def test_folders_without_a_common_name_are_no_pairs(tmp_path: Path) -> None:
    numbered(tmp_path / "trainA", 3)
    numbered(tmp_path / "trainB", 3, first=10)
    with pytest.raises(ValueError, match=r"3 .*trainA \(0\.png, 1\.png, \.\.\.\)"):
        dataset(tmp_path, "aligned")


def test_two_files_of_one_name_cannot_be_told_apart(tmp_path: Path) -> None:
    numbered(tmp_path / "trainA", 1)
    save(tmp_path / "trainA" / "0.bmp", noise(4, 4))
    numbered(tmp_path / "trainB", 1)
    with pytest.raises(ValueError, match=r"0\.bmp and .*0\.png"):
        dataset(tmp_path, "aligned")


def test_a_translation_needs_no_truth(tmp_path: Path) -> None:
    from i2i.data import DataConfig, build_dataset

    numbered(tmp_path / "testA", 3)
    config = DataConfig(str(tmp_path), dataset_mode="aligned", phase="test", preprocess="none", flip=False)
    (first, *_) = epoch_of(build_dataset(config, needs_b=False))
    assert first.a is not None and first.b is None and first.path_b is None
    with pytest.raises(ValueError, match="no folder of B"):
        build_dataset(config)
    numbered(tmp_path / "testB", 3)
    assert epoch_of(build_dataset(config, needs_b=False))[0].b is not None


def test_conditions_are_one_input_channel_after_channel(tmp_path: Path) -> None:
    edges, depth, b = (noise(24, 20, seed) for seed in range(3))
    save(tmp_path / "train_edges" / "x.png", edges[:, :, 0])
    save(tmp_path / "depth" / "train" / "x.tif", depth[:, :, 0].astype(np.uint16) * 257)
    save(tmp_path / "trainB" / "x.jpg", b)
    options: dict[str, Any] = {"conditions": ("edges", "depth"), "condition_channels": (3, 1)}
    data = dataset(tmp_path, "aligned", **options)
    (sample,) = epoch_of(data)
    assert sample.a is not None and sample.a.shape == (4, 20, 24) and sample.a.dtype == torch.float32
    shown = ((sample.a + 1) * 127.5).round().to(torch.uint8).numpy()
    assert all(np.array_equal(shown[channel], edges[:, :, 0]) for channel in range(3))
    assert np.array_equal(shown[3], depth[:, :, 0])
    assert data.spec == DataSpec(4, 3, (256, 256), (), (Domain(3), Domain(1, "uint16", 0, 65535)), (Domain(3),))


def test_the_images_of_a_may_be_one_of_the_conditions(tmp_path: Path) -> None:
    numbered(tmp_path / "trainA", 2)
    numbered(tmp_path / "train_mask", 2, first=0)
    numbered(tmp_path / "trainB", 2)
    data = dataset(tmp_path, "aligned", conditions=("A", "mask"))
    assert data.spec.in_channels == 6 and epoch_of(data)[1].a.unique().tolist() == [1]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="no folder of edges"):
        dataset(tmp_path, "aligned", conditions=("A", "edges"))


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.jsonl"])
def test_a_manifest_lists_pairs(tmp_path: Path, name: str) -> None:
    numbered(tmp_path / "x", 4)
    rows = [{"A": f"x/{n}.png", "b": f"x/{3 - n}.png", "split": "train" if n else "val"} for n in range(4)]
    if name.endswith("jsonl"):
        text = "\n".join(json.dumps(row) for row in rows)
    else:
        mark = "," if name.endswith("csv") else "\t"
        text = "\n".join(mark.join(row) for row in [list(rows[0]), *(row.values() for row in rows)])
    (tmp_path / name).write_text("\ufeff" + text, encoding="utf-8")
    samples = epoch_of(dataset(tmp_path / name, "aligned"))
    assert (values(samples, "a"), values(samples, "b")) == ([1, 2, 3], [2, 1, 0])
    assert values(epoch_of(dataset(tmp_path / name, "aligned", phase="val", direction="BtoA")), "a") == [3]
    with pytest.raises(ValueError, match="--phase test.*train, val"):
        dataset(tmp_path / name, "aligned", phase="test")


def test_a_manifest_lists_unpaired_images_and_labels(tmp_path: Path) -> None:
    numbered(tmp_path, 5)
    (tmp_path / "u.csv").write_text("a,b\n0.png,\n1.png,\n,2.png\n3.png,4.png\n")
    data = dataset(tmp_path / "u.csv", "unaligned")
    assert [Path(path).stem for path in data.files] == ["0", "1", "3"]
    assert [Path(path).stem for path in data.outputs] == ["2", "4"]
    paired = dataset(tmp_path / "u.csv", "aligned")
    assert values(epoch_of(paired), "a") == [3] and len(paired.columns.unmatched) == 3
    (tmp_path / "c.csv").write_text("image;label\n0.png;cat10\n1.png;cat9\n2.png;cat10\n")
    classes = dataset(tmp_path / "c.csv", "classes")
    assert classes.classes == ("cat9", "cat10")
    assert [sample.label for sample in epoch_of(classes)] == [1, 0, 1]
    assert values(epoch_of(dataset(tmp_path / "c.csv", "single")), "a") == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "--dataroot"),
        ("a,c\n0.png,0.png\n", "'B'.*a, c"),
        ("a,b\n", "rows"),
        ("a,b\n0.png,\n", "A, B"),
    ],
)
def test_a_bad_manifest_is_answered_in_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        dataset(tmp_path / "m.csv", "aligned")
    assert str(tmp_path / "m.csv") in str(caught.value) and "\n" not in str(caught.value)


def test_a_label_map_is_one_channel_a_class_and_never_mixed(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (50, 60)).astype(np.uint8)
    picture = Image.fromarray(labels)
    picture.putpalette([value for number in range(256) for value in (255 - number, number, 9)])
    (tmp_path / "trainA").mkdir()
    picture.save(tmp_path / "trainA" / "x.png")
    save(tmp_path / "trainB" / "x.png", (labels * 60)[:, :, None].repeat(3, 2))
    data = dataset(tmp_path, "aligned", in_classes=4, **AUGMENTED)
    assert data.spec.in_channels == 4 and data.spec.a == (Domain(4, "labels", 0, 3),)
    for epoch in range(4):
        (sample,) = epoch_of(data, epoch)
        assert sample.a is not None and sample.a.shape == (4, 32, 32)
        assert sample.a.unique().tolist() == [0, 255]
        assert (sample.a.sum(0, dtype=torch.int32) == 255).all()


def test_255_is_no_class_and_any_other_beyond_the_classes_is_an_error(tmp_path: Path) -> None:
    save(tmp_path / "trainA" / "x.png", np.array([[0, 1, 255]], np.uint8))
    save(tmp_path / "trainB" / "x.png", noise(3, 1))
    (sample,) = epoch_of(dataset(tmp_path, "aligned", in_classes=2))
    assert sample.a is not None and sample.a[:, 0].tolist() == [[255, 0, 0], [0, 255, 0]]
    with pytest.raises(ImageError, match=r"x\.png.*class 1.*--in_classes"):
        epoch_of(dataset(tmp_path, "aligned", in_classes=1))


@pytest.mark.parametrize("preset", ["reference", "light", "strong"])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_pair_mask_and_conditions_stay_aligned_to_the_pixel(tmp_path: Path, preset: str, backend: str) -> None:
    size = 48
    rows, columns = np.mgrid[:size, :size]
    mask = (((rows // 12) + (columns // 12)) % 2).astype(np.uint8)
    picture = np.stack([mask * 255] * 3, axis=2)
    for name in ("A", "depth", "B"):
        save(tmp_path / f"train{name}" / "x.png", picture)
    save(tmp_path / "trainmask" / "x.png", mask)
    options: dict[str, Any] = {"conditions": ("A", "depth", "mask"), "condition_classes": (0, 0, 2)}
    options |= AUGMENTED | {"condition_channels": (3, 3, 2), "augment_color": "none"}
    data = dataset(
        tmp_path,
        "aligned",
        augment_preset=preset,
        augment=backend,
        load_size=(size,),
        **{name: value for name, value in options.items() if name != "load_size"},
    )
    stream = BatchStream(data, 4)
    for _ in range(3):
        batch = stream()
        assert batch.a is not None and batch.b is not None
        a, depth, label = batch.a.split([3, 3, 2], dim=1)
        assert torch.equal(a, batch.b) and torch.equal(depth, batch.b)
        sure = batch.b[:, 0].abs() > 0.9  # between two squares a pixel is a mixture, of which the mask takes the nearer
        assert (label.argmax(1)[sure] == (batch.b[:, 0] > 0)[sure]).float().mean() > 0.999
        assert (label.sum(1) == 0).all() and label.unique().tolist() == [-1, 1]


def test_arrays_with_many_channels_and_floats_of_a_range(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).integers(0, 65536, (6, 5, 7)).astype(np.uint16)
    heat = np.linspace(-1000, 1000, 30, dtype=np.float32).reshape(6, 5)
    write_npy(tmp_path / "trainA" / "x.npy", cube)
    write_npy(tmp_path / "trainB" / "x.npy", heat)
    options = {"in_channels": 7, "out_channels": 1}
    with pytest.raises(ValueError, match="x.npy.*float32.*--out_range"):
        _ = dataset(tmp_path, "aligned", **options).spec
    data = dataset(tmp_path, "aligned", out_range=(-500.0, 500.0), **options)
    (sample,) = epoch_of(data)
    assert sample.a is not None and sample.b is not None and sample.kind == "uint16"
    expected = cube.transpose(2, 0, 1) / 32767.5 - 1
    assert np.abs(sample.a.numpy() - expected).max() < 1e-6
    assert np.abs(sample.b[0].numpy() - (heat / 500).clip(-1, 1)).max() < 1e-6
    assert data.spec.b == (Domain(1, "float32", -500, 500),)


def test_files_of_8_and_16_bits_may_be_mixed(tmp_path: Path) -> None:
    save(tmp_path / "0.png", np.full((4, 4), 128, np.uint8))
    save(tmp_path / "1.png", np.full((4, 4), 128 * 257, np.uint16))
    data = dataset(tmp_path, "single", in_channels=1, serial_batches=True)
    batch = BatchStream(data, 2)()
    assert batch.a is not None and batch.a.dtype == torch.float32
    assert (batch.a - (128 / 127.5 - 1)).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("name", "channels"),
    [("colorization", (1, 2)), ("grey", (1, 3)), ("edges", (1, 3)), ("downscale", (3, 3)), ("inpainting", (4, 3))],
)
@pytest.mark.parametrize("layout", ["train", "trainB", "."])
def test_pairs_are_made_of_single_images(tmp_path: Path, name: str, channels: tuple[int, int], layout: str) -> None:
    save(tmp_path / layout / "x.png", coordinates(64, 48))
    data = dataset(tmp_path, "aligned", derive=name, **AUGMENTED)
    assert (data.spec.in_channels, data.spec.out_channels) == channels
    first, second = epoch_of(data)[0], epoch_of(data, 1)[0]
    for sample in (first, second):
        assert sample.a is not None and sample.b is not None
        assert (sample.a.shape, sample.b.shape) == ((channels[0], 32, 32), (channels[1], 32, 32))
    assert not torch.equal(first.b, second.b)  # type: ignore[arg-type]
    again = epoch_of(dataset(tmp_path, "aligned", derive=name, **AUGMENTED))[0]
    assert torch.equal(first.a, again.a) and torch.equal(first.b, again.b)  # type: ignore[arg-type]


def test_no_preset_means_no_chance(tmp_path: Path) -> None:
    save(tmp_path / "x.png", coordinates(40, 40))
    data = dataset(tmp_path, "single", augment_preset="none", **AUGMENTED)
    crops = [epoch_of(data, epoch)[0].a for epoch in range(5)]
    assert all(torch.equal(crop, crops[0]) for crop in crops)  # type: ignore[arg-type]
    assert crops[0][:2, 0, 0].tolist() == [4, 4]  # type: ignore[index]


def test_a_missing_folder_does_not_turn_the_other_into_pairs(tmp_path: Path) -> None:
    numbered(tmp_path / "train" / "A", 3)
    numbered(tmp_path / "train" / "label", 3)
    with pytest.raises(ValueError, match="no folder of B"):
        dataset(tmp_path, "aligned")


def test_what_the_reference_combined_is_read_and_not_what_it_was_made_of(tmp_path: Path) -> None:
    for name in "AB":
        numbered(tmp_path / name / "train", 2)
    save(tmp_path / "train" / "both.png", noise(8, 4))
    assert [Path(path).name for path in dataset(tmp_path, "aligned").files] == ["both.png"]
    numbered(tmp_path / "trainA", 3)  # unpaired ones of equal names, as datasets/prepare.py draws them
    numbered(tmp_path / "trainB", 3)
    assert len(dataset(tmp_path, "aligned")) == 1
    assert len(dataset(tmp_path, "aligned", conditions=("A",))) == 3


@pytest.mark.parametrize("places", [{}, {"dataroot_A": "A", "dataroot_B": "B", "dataroot": ""}])
def test_a_phase_that_is_not_there_is_not_made_of_the_others(tmp_path: Path, places: dict[str, str]) -> None:
    for phase in ("train", "val"):
        for name in "AB":
            numbered(tmp_path / name / phase, 2)
    options = {name: str(tmp_path / path) if path else "" for name, path in places.items()}
    assert len(dataset(tmp_path, "aligned", phase="val", **options)) == 2
    with pytest.raises(ValueError, match="train, val|no images in .*test"):
        dataset(tmp_path, "aligned", phase="test", **options)


def test_a_derived_phase_is_not_made_of_the_others(tmp_path: Path) -> None:
    numbered(tmp_path / "train", 2)
    with pytest.raises(ValueError, match="test.*train.*--phase"):
        dataset(tmp_path, "aligned", derive="grey", phase="test")


def test_inputs_without_a_truth_are_all_translated(tmp_path: Path) -> None:
    numbered(tmp_path / "testA", 4)
    numbered(tmp_path / "testB", 2)
    (tmp_path / "m.csv").write_text("a,b\ntestA/0.png,testB/0.png\ntestA/1.png,\n")
    for root, count in ((tmp_path, 4), (tmp_path / "m.csv", 2)):
        config = DataConfig(str(root), dataset_mode="aligned", phase="test", preprocess="none", flip=False)
        samples = epoch_of(build_dataset(config, needs_b=False))
        assert len(samples) == count and all(sample.b is None for sample in samples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conditions": ("A", "B")}, "--conditions A B"),
        ({"conditions": ("x", "X")}, "--conditions x X"),
        ({"dataset_mode": "unaligned", "derive": "grey"}, "--derive grey.*--dataset_mode aligned"),
        ({"in_range": (0.0, float("inf"))}, "--in_range 0 inf"),
        ({"augment_file": "x.yaml", "augment_preset": "strong"}, "--augment_file.*--augment_preset strong"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig("x", **{"dataset_mode": "aligned"} | options)


@pytest.mark.parametrize("name", ["l.csv", "l.jsonl"])
def test_a_row_without_a_label_is_refused(tmp_path: Path, name: str) -> None:
    rows = (
        "image,label\nx.png,cat\ny.png,\n"
        if name.endswith("csv")
        else '{"image": "x.png", "label": "cat"}\n{"image": "y"}'
    )
    (tmp_path / name).write_text(rows)
    with pytest.raises(ValueError, match="label"):
        dataset(tmp_path / name, "classes")


def test_spaces_around_cells_and_names_of_other_types(tmp_path: Path) -> None:
    numbered(tmp_path, 2)
    (tmp_path / "m.csv").write_text("a, b, split\n0.png, 1.png, train\n")
    assert values(epoch_of(dataset(tmp_path / "m.csv", "aligned")), "b") == [1]
    (tmp_path / "m.jsonl").write_text('{"a": ["0.png", "1.png"], "b": "1.png"}')
    with pytest.raises(ValueError, match=r"\['0.png', '1.png'\]"):
        dataset(tmp_path / "m.jsonl", "aligned")


@pytest.mark.parametrize("width", [1146, 1150, 2302, 1152])
def test_halves_of_a_large_jpeg_are_whole(tmp_path: Path, width: int) -> None:
    left = np.full((600, width // 2, 3), 30, np.uint8)
    path = tmp_path / "train" / "x.jpg"
    path.parent.mkdir()
    Image.fromarray(np.concatenate([left, left + 190], axis=1)).save(path, quality=100, subsampling=0)
    (sample,) = epoch_of(dataset(tmp_path, "aligned", preprocess="resize_and_crop", load_size=(286,)))
    assert sample.a is not None and sample.b is not None
    assert (sample.a.float() - 30).abs().max() <= 3 and (sample.b.float() - 220).abs().max() <= 3


def test_a_jpeg_and_a_png_of_one_size_stay_of_one_size(tmp_path: Path) -> None:
    for name in ("A/x.jpg", "B/x.png"):
        save(tmp_path / f"train{name}", noise(1000, 1501))
    options: dict[str, Any] = {"preprocess": "scale_width_and_crop", "load_size": (250,), "crop_size": (200,)}
    (sample,) = epoch_of(dataset(tmp_path, "aligned", **options))
    assert sample.a is not None and sample.a.shape == (3, 200, 200)


def test_values_beyond_the_range_mean_the_same_on_both_backends(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:64, :64]
    for name in "AB":
        write_npy(tmp_path / f"train{name}" / "x.npy", (rows + columns).astype(np.float32))
    options: dict[str, Any] = {"in_channels": 1, "out_channels": 1, "in_range": (30.0, 60.0), "out_range": (0.0, 126.0)}
    streams = [
        BatchStream(dataset(tmp_path, "aligned", augment=backend, augment_preset="strong", **options), 1)
        for backend in ("cpu", "gpu")
    ]
    for _ in range(4):
        worker, device = (stream() for stream in streams)
        assert (worker.image("a") - device.image("a")).abs().max() < 0.03


def test_the_page_shows_what_the_device_does(tmp_path: Path) -> None:
    numbered(tmp_path / "trainA", 4, size=32)
    for number in range(4):
        save(tmp_path / "trainB" / f"{number}.png", coordinates(32, 32) * 7)
    shown = [
        sample_batch(dataset(tmp_path, "unaligned", augment=backend, augment_preset="strong"))
        for backend in ("cpu", "gpu")
    ]
    assert (shown[0].image("b") - shown[1].image("b")).abs().mean() < 0.02
    plain = sample_batch(dataset(tmp_path, "unaligned"))
    assert (shown[0].image("b") - plain.image("b")).abs().mean() > 0.1
