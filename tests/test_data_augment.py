"""Random changes: the draw, the two backends that carry it out, and pipelines of the user's own."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i.data.augment import AUGMENT_PRESETS, GEOMETRIC, NEUTRAL, PARAMETERS, draw, matrix
from i2i.data.augment.cpu import UserPipeline, augment
from i2i.data.augment.device import augment_batch
from i2i.data.domain import Domain
from tests.pictures import coordinates, noise

PRESETS = ("light", "strong")
EACH = dict(
    angle=20.0, scale=0.85, shift_x=0.07, shift_y=-0.06, shear=9.0, brightness=0.2, contrast=-0.25, saturation=0.25
) | dict(hue=-0.05, blur=1.2)
FLOATS = {channels: Domain(channels, "float32", -500, 500) for channels in (1, 2, 3, 4)}


def device(pixels: np.ndarray, parameters: np.ndarray, domain: Domain) -> np.ndarray:
    """What the device makes of one image, in the values of `pixels`; of a label map (H, W), the classes."""
    tensor = domain.to_tensor(pixels)
    unit = tensor / 127.5 - 1 if tensor.dtype == torch.uint8 else tensor
    changed = augment_batch(unit[None], parameters[None], [domain])[0]
    if domain.is_labels:
        return changed.argmax(0).numpy()
    return ((changed + 1) / 2 * (domain.high - domain.low) + domain.low).permute(1, 2, 0).numpy()


Backend = Callable[[np.ndarray, np.ndarray, Domain], np.ndarray]
BACKENDS: dict[str, Backend] = {"cpu": augment, "device": device}
both = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS.keys())


def changes(**values: float) -> np.ndarray:
    """Parameters that are neutral but for those named."""
    return np.array([values.get(name, neutral) for name, neutral in zip(PARAMETERS, NEUTRAL, strict=True)], np.float32)


def drawn(preset: str, seed: int, color: bool = True) -> np.ndarray:
    parameters = draw(preset, np.random.default_rng(seed), np.random.default_rng((seed, 1)) if color else None)
    assert parameters is not None
    return parameters


def smooth(channels: int, width: int = 96, height: int = 80, seed: int = 0) -> np.ndarray:
    """Waves (H, W, C) in [0, 1] without detail that any resampling could lose."""
    random, (rows, columns) = np.random.default_rng(seed), np.mgrid[:height, :width]
    waves = [
        np.sin(columns / random.uniform(8, 25) + i) * np.cos(rows / random.uniform(8, 25)) for i in range(channels)
    ]
    return np.stack(waves, axis=-1) * 0.45 + 0.5


def eight_bit(unit: np.ndarray) -> np.ndarray:
    return np.rint(unit * 255).astype(np.uint8)


def as_float(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32)


def difference(pixels: np.ndarray, parameters: np.ndarray, domain: Domain) -> np.ndarray:
    """How far the backends are apart, in parts of 255 of the range."""
    on_cpu, on_device = (backend(pixels, parameters, domain) for backend in BACKENDS.values())
    return np.abs(on_cpu.astype(np.float64) - on_device) / (domain.high - domain.low) * 255


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_the_backends_agree_on_every_change(name: str, channels: int) -> None:
    pixels = eight_bit(smooth(channels))
    changed = augment(pixels, changes(**{name: EACH[name]}), Domain(channels))
    assert (changed.dtype, changed.shape) == (pixels.dtype, pixels.shape)
    assert np.array_equal(changed, pixels) == (name in ("saturation", "hue") and channels != 3)
    assert difference(pixels, changes(**{name: EACH[name]}), Domain(channels)).max() < 1  # of it, 0.5 are rounding


@pytest.mark.parametrize("preset", PRESETS)
def test_the_backends_agree_on_the_presets(preset: str) -> None:
    apart = [difference(eight_bit(smooth(3, seed=seed)), drawn(preset, seed), Domain()) for seed in range(20)]
    assert np.mean(apart) < 0.5 and np.max(apart) < 3  # the worker rounds to 8 bits before it changes colours


@pytest.mark.parametrize(
    "domain", [Domain(3, "uint16", 0, 65535), Domain(3, "uint16", 1000, 5000), FLOATS[3], FLOATS[1]], ids=str
)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_backends_agree_on_other_kinds_of_pixels(preset: str, domain: Domain) -> None:
    pixels = (smooth(domain.channels) * (domain.high - domain.low) + domain.low).astype(domain.kind)
    assert augment(pixels, drawn(preset, 1), domain).dtype == pixels.dtype
    assert difference(pixels, drawn(preset, 1), domain).max() < 1


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 5), (7, 1), (300, 2)])
def test_the_backends_agree_on_tiny_images(size: tuple[int, int]) -> None:
    parameters = drawn("strong", 2)
    parameters[PARAMETERS.index("blur")] = 1.5
    assert difference(noise(*size), parameters, Domain()).max() < 3


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_label_maps_keep_their_classes_and_colours(preset: str, kind: type) -> None:
    labels = eight_bit(smooth(1))[..., 0].astype(kind) // 32 * 3  # of the 24 classes every third
    domain = Domain(24, "labels", 0, 23)
    on_cpu, on_device = (backend(labels, drawn(preset, 3), domain) for backend in BACKENDS.values())
    assert (on_cpu.dtype, on_cpu.shape) == (labels.dtype, labels.shape)
    assert set(np.unique(on_cpu)) | set(np.unique(on_device)) <= set(np.unique(labels))
    assert np.mean(on_cpu == on_device) > 0.995 and np.mean(on_cpu == labels) < 0.9


def test_one_hot_stays_one_hot_on_the_device() -> None:
    classes = torch.from_numpy(eight_bit(smooth(1))[..., 0] // 32).long()
    one_hot = torch.nn.functional.one_hot(classes, 8).permute(2, 0, 1)[None] * 2.0 - 1
    changed = augment_batch(one_hot, drawn("strong", 4)[None], [Domain(8, "labels", 0, 7)])
    assert changed.unique().tolist() == [-1, 1] and changed.sum(1).unique().tolist() == [-6]


@both
def test_neutral_changes_give_back_every_bit(backend: Backend) -> None:
    for pixels, domain in [(noise(20, 30), Domain()), (as_float(noise(20, 30)), FLOATS[3])]:
        unchanged = backend(pixels, NEUTRAL, domain)
        np.testing.assert_array_equal(np.rint(unchanged), pixels)
    batch = torch.rand(1, 3, 8, 8) * 2 - 1
    assert torch.equal(augment_batch(batch, NEUTRAL[None], [Domain()]), batch)


@both
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_angles_turn_against_the_clock(backend: Backend, turns: int) -> None:
    turned = backend(coordinates(33, 33), changes(angle=90 * turns), Domain())
    np.testing.assert_allclose(turned, np.rot90(coordinates(33, 33), turns), atol=1e-3)


@both
def test_shifts_go_right_and_down_and_the_border_reflects(backend: Backend) -> None:
    shifted = backend(coordinates(40, 20), changes(shift_x=0.25, shift_y=0.1), Domain())
    np.testing.assert_allclose(shifted[2:, 10:], coordinates(40, 20)[:-2, :-10], atol=1e-3)
    np.testing.assert_allclose(shifted[2:, :10], coordinates(40, 20)[:-2, 10:0:-1], atol=1e-3)


@both
def test_scale_enlarges_and_shear_slants_about_the_centre(backend: Backend) -> None:
    pixels, (rows, columns) = as_float(coordinates(41, 31)), np.mgrid[:31, :41]
    enlarged = backend(pixels, changes(scale=2), FLOATS[3])
    np.testing.assert_allclose(enlarged[..., 0], (columns - 20) / 2 + 20, atol=0.02)
    np.testing.assert_allclose(enlarged[..., 1], (rows - 15) / 2 + 15, atol=0.02)
    slanted = backend(pixels, changes(shear=10), FLOATS[3])[:, 4:-4]
    np.testing.assert_allclose(slanted[..., 0], (columns - np.tan(np.radians(10)) * (rows - 15))[:, 4:-4], atol=0.02)


@both
@pytest.mark.parametrize(
    ("values", "before", "after"),
    [
        ({"brightness": 0.2}, (100, 230, 0), (151, 255, 51)),
        ({"contrast": 0.5}, (100, 200, 0), (86.25, 236.25, 0)),
        ({"contrast": -0.2, "brightness": -0.1}, (0, 127.5, 255), (0, 102, 204)),
        ({"contrast": 0.5, "brightness": 0.25}, (0, 60, 255), (0, 90, 255)),  # clipped once, at the end
        ({"saturation": -0.5}, (200, 0, 0), (129.9, 29.9, 29.9)),
        ({"saturation": 0.25}, (100, 100, 100), (100, 100, 100)),
        ({"hue": 1 / 3}, (200, 10, 10), (10, 200, 10)),
        ({"hue": -1 / 6}, (200, 10, 10), (200, 10, 200)),
    ],
)
def test_colours_change_as_written(
    backend: Backend, values: dict[str, float], before: Sequence[float], after: Sequence[float]
) -> None:
    pixels = np.full((4, 4, 3), before, np.float32)
    changed = backend(pixels, changes(**values), Domain(3, "float32", 0, 255))
    np.testing.assert_allclose(changed, np.broadcast_to(after, (4, 4, 3)), atol=0.1)


@both
def test_blur_is_a_gaussian(backend: Backend) -> None:
    impulse = np.zeros((21, 21, 1), np.float32)
    impulse[10, 10] = 100
    weights = np.exp(-((np.arange(21) - 10) ** 2) / (2 * 1.2**2))
    blurred = backend(impulse, changes(blur=1.2), Domain(1, "float32", 0, 100))
    np.testing.assert_allclose(blurred[..., 0], np.outer(weights, weights) / weights.sum() ** 2 * 100, atol=0.01)


@both
@pytest.mark.parametrize("domain", [Domain(1, "lightness", 0, 100), Domain(2, "chroma", -110, 110)])
def test_parts_of_lab_keep_their_values(backend: Backend, domain: Domain) -> None:
    pixels = (smooth(domain.channels) * 100).astype(np.float32)
    parameters = drawn("strong", 5)
    geometry = np.where([name in GEOMETRIC for name in PARAMETERS], parameters, NEUTRAL)
    np.testing.assert_array_equal(backend(pixels, parameters, domain), backend(pixels, geometry, domain))


@both
def test_transparency_only_moves(backend: Backend) -> None:
    pixels, parameters = eight_bit(smooth(4)), changes(angle=10, brightness=0.2, blur=1)
    alpha, moved = (backend(pixels, some, Domain(4, alpha=True))[..., 3] for some in (parameters, changes(angle=10)))
    np.testing.assert_array_equal(alpha, moved)


@both
def test_mirrored_views_are_images_like_others(backend: Backend) -> None:
    parameters, view = drawn("strong", 6), noise(30, 20)[:, ::-1]
    np.testing.assert_array_equal(backend(view, parameters, Domain()), backend(view.copy(), parameters, Domain()))


def test_the_device_changes_each_sample_by_itself() -> None:
    batch = torch.rand(5, 3, 24, 32) * 2 - 1
    parameters = np.stack([NEUTRAL, *(drawn("strong", seed) for seed in range(4))])
    changed = augment_batch(batch, parameters, [Domain()])
    alone = [augment_batch(batch[i : i + 1], parameters[i : i + 1], [Domain()]) for i in range(5)]
    torch.testing.assert_close(changed, torch.cat(alone), atol=2e-4, rtol=0)
    assert changed.min() >= -1 and changed.max() <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_the_device_keeps_type_and_format(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    exact = torch.from_numpy(smooth(5)).permute(2, 0, 1)[None].float() * 2 - 1
    domains, parameters = [Domain(), Domain(2)], drawn("strong", 7)[None]
    changed = augment_batch(exact.to(dtype).contiguous(memory_format=memory_format), parameters, domains)
    assert changed.dtype == dtype and changed.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(changed.float(), augment_batch(exact, parameters, domains), atol=0.02, rtol=0)


def test_the_device_is_never_waited_for() -> None:
    parameters = np.stack([drawn("strong", seed) for seed in range(4)])
    images = torch.empty(4, 11, 16, 16, device="meta")  # has no values: whoever looks at them fails
    domains = [Domain(), Domain(5, "labels", 0, 4), Domain(2, "chroma", -110, 110), Domain(1)]
    assert augment_batch(images, parameters, domains).shape == images.shape


@both
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", range(4))
def test_pairs_masks_and_conditions_stay_aligned(backend: Backend, preset: str, seed: int) -> None:
    """The column of a pixel is known to every image of the sample: as red, as 16 bits, as a float, as a class."""
    a, columns = coordinates(96, 80), np.mgrid[:80, :96][1]
    geometry, in_color = drawn(preset, seed, color=False), drawn(preset, seed)
    red = backend(a, geometry, Domain())[..., 0].astype(np.float64)
    fine = backend(columns[..., None].astype(np.uint16) * 256, geometry, Domain(1, "uint16", 0, 65535))[..., 0] / 256
    exact = backend(columns[..., None].astype(np.float32), geometry, FLOATS[1])[..., 0]
    lab = backend(columns[..., None].astype(np.float32), in_color, Domain(1, "lightness", 0, 100))[..., 0]
    mask = backend((columns >= 40).astype(np.uint8), in_color, Domain(2, "labels", 0, 1))
    for other in (fine, exact, lab):
        assert np.abs(red - other).max() < 0.6  # of it, 0.5 are the rounding to 8 bits
    off = mask != (exact >= 39.5)
    assert np.abs(exact[off] - 39.5).max(initial=0) < 0.05
    assert abs(exact - columns).mean() > 0.3  # it has moved


def test_the_conditions_of_a_sample_move_together_on_the_device() -> None:
    domains = [Domain(), Domain(2, "labels", 0, 1), Domain(1)]
    column = torch.arange(64.0).expand(48, 64) / 32 - 1
    classes = torch.stack([column < 0, column >= 0]) * 2.0 - 1
    batch = torch.cat([column.expand(3, 48, 64), classes, column[None]])[None]
    changed = augment_batch(batch, drawn("strong", 8, color=False)[None], domains)[0]
    torch.testing.assert_close(changed[5], changed[0])
    inside = changed[0].abs() > 0.04
    assert torch.equal((changed[4] > 0)[inside], (changed[0] >= 0)[inside])


def test_the_matrix_is_the_one_of_opencv() -> None:
    import cv2

    expected = cv2.getRotationMatrix2D((49.5, 29.5), 17, 1.2) + [[0, 0, 5], [0, 0, -6]]
    ours = matrix(changes(angle=17, scale=1.2, shift_x=0.05, shift_y=-0.1), 100, 60)
    np.testing.assert_allclose(ours, [*expected, [0, 0, 1]], atol=1e-5)


@pytest.mark.parametrize("preset", ["none", "reference"])
def test_presets_of_crop_and_flip_draw_nothing(preset: str) -> None:
    assert draw(preset, np.random.default_rng(0), np.random.default_rng(1)) is None


@pytest.mark.parametrize("preset", PRESETS)
def test_draws_follow_the_uniform_law(preset: str) -> None:
    count, names = 2000, list(AUGMENT_PRESETS[preset])
    all_drawn = np.stack([drawn(preset, seed) for seed in range(count)])
    for name, neutral, values in zip(PARAMETERS, NEUTRAL, all_drawn.T, strict=True):
        if name not in names:
            assert (values == neutral).all()
            continue
        low, high, probability = AUGMENT_PRESETS[preset][name]
        changed = values[values != neutral]
        deviation = (high - low) / 12**0.5
        assert np.float32(low) <= values.min() and values.max() <= np.float32(high)
        assert changed.mean() == pytest.approx((low + high) / 2, abs=4 * deviation / len(changed) ** 0.5)
        assert changed.std() == pytest.approx(deviation, rel=0.06)
        assert len(changed) / count == pytest.approx(probability, abs=0.05)
    correlation = np.corrcoef(all_drawn[:, [PARAMETERS.index(name) for name in names]].T)
    assert np.abs(correlation - np.eye(len(names))).max() < 0.1


def test_a_pair_can_share_the_geometry_alone() -> None:
    a, b = (draw("strong", np.random.default_rng(0), np.random.default_rng(seed)) for seed in (1, 2))
    plain = drawn("strong", 0, color=False)
    assert a is not None and b is not None
    np.testing.assert_array_equal(a[:5], b[:5])
    np.testing.assert_array_equal(a[:5], plain[:5])
    assert not np.isclose(a[5:9], b[5:9]).any()
    np.testing.assert_array_equal(plain[5:], NEUTRAL[5:])


def written(path: Path, *transforms: Any) -> Path:
    import albumentations

    albumentations.save(albumentations.Compose(list(transforms)), path, data_format="yaml")
    return path


@pytest.fixture
def crop_and_turn(tmp_path: Path) -> UserPipeline:
    import albumentations as lib

    steps = [
        lib.RandomCrop(24, 32),
        lib.HorizontalFlip(p=0.5),
        lib.RandomRotate90(p=0),
        lib.Affine(rotate=(-20, 20), p=1),
    ]
    return UserPipeline(written(tmp_path / "pipeline.yaml", *steps))


def test_a_users_pipeline_moves_all_images_alike(crop_and_turn: UserPipeline) -> None:
    pixels = coordinates(48, 40) + 20  # the border is black
    mask = (pixels[..., 0] >= 44).astype(np.uint8)
    for seed in range(5):
        images = [pixels, mask, pixels[..., :1], pixels[:, :, ::-1]]  # the last two are views
        a, moved, grey, blue = crop_and_turn(images, [False, True, False, False], seed)
        assert a.shape == (24, 32, 3) and moved.shape == (24, 32) and grey.shape == (24, 32, 1)
        np.testing.assert_allclose(grey[..., 0], a[..., 0], atol=1)
        np.testing.assert_allclose(blue[..., 2], a[..., 0], atol=1)
        inside = (a[..., 2] == 27) & (np.abs(a[..., 0] - 43.5) > 1)
        np.testing.assert_array_equal(moved[inside], a[..., 0][inside] >= 44)


def test_a_users_pipeline_draws_from_the_seed_alone(crop_and_turn: UserPipeline) -> None:
    again = pickle.loads(pickle.dumps(crop_and_turn))  # as for a worker that is spawned
    first = [crop_and_turn([noise(48, 40)], [False], seed)[0] for seed in range(6)]
    second = [again([noise(48, 40)], [False], seed)[0] for seed in reversed(range(6))][::-1]
    np.testing.assert_array_equal(first, second)
    assert len({image.tobytes() for image in first}) == 6


def test_the_steps_of_a_users_pipeline_draw_apart(tmp_path: Path) -> None:
    import albumentations as lib

    pipeline = UserPipeline(written(tmp_path / "flips.yaml", lib.HorizontalFlip(p=0.5), lib.VerticalFlip(p=0.5)))
    corners = {tuple(pipeline([coordinates(8, 8)], [False], seed)[0][0, 0, :2]) for seed in range(40)}
    assert corners == {(0, 0), (7, 0), (0, 7), (7, 7)}


def test_a_users_pipeline_takes_label_maps_alone_and_a_single_step(tmp_path: Path) -> None:
    import albumentations as lib

    lib.save(lib.HorizontalFlip(p=1), tmp_path / "flip.yaml", data_format="yaml")
    labels = noise(6, 4)[..., 0]
    (flipped,) = UserPipeline(tmp_path / "flip.yaml")([labels[:, ::-1]], [True], 0)
    np.testing.assert_array_equal(flipped, labels)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "No such file or directory"),
        ("a: [1,", "while parsing a flow node"),
        ("just words", "string indices"),
        ("steps: 1", "'transform' is missing or unknown"),
        ("transform: {__class_fullname__: Blurrr, p: 1}", "'Blurrr' is missing or unknown"),
        ("transform: {__class_fullname__: RandomCrop, p: 1, height: -4, width: 4}", "greater than or equal to 1"),
    ],
)
def test_a_file_without_a_pipeline_is_refused_in_a_line(tmp_path: Path, text: str | None, reason: str) -> None:
    path = tmp_path / "pipeline.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=reason) as error:
        UserPipeline(path)
    assert str(error.value).startswith(f"--augment_file {path} ") and "\n" not in str(error.value)


def test_a_users_pipeline_that_does_not_fit_the_images_is_refused_in_a_line(tmp_path: Path) -> None:
    import albumentations as lib

    normalising = UserPipeline(written(tmp_path / "normalise.yaml", lib.Normalize()))
    with pytest.raises(ValueError, match="normalise.yaml.*float32.*uint8") as error:
        normalising([noise(8, 8)], [False], 0)
    assert "\n" not in str(error.value)
    too_large = UserPipeline(written(tmp_path / "crop.yaml", lib.RandomCrop(64, 64)))
    with pytest.raises(ValueError, match="crop.yaml.*Crop size") as error:
        too_large([noise(8, 8)], [False], 0)
    assert "\n" not in str(error.value)


def test_importing_albumentations_asks_no_network() -> None:
    program = """
import sys, urllib.request
from i2i.data.augment import cpu
assert not [name for name in ("albumentations", "kornia", "cv2") if name in sys.modules]
asked = []
urllib.request.OpenerDirector.open = lambda *arguments, **options: asked.append(arguments)
import numpy
from i2i.data.augment import NEUTRAL
from i2i.data.domain import Domain
cpu.augment(numpy.zeros((8, 8, 3), numpy.uint8), NEUTRAL + 0.5, Domain())
assert "albumentations" in sys.modules and not asked
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
