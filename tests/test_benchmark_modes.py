"""The benchmark of mode collapse counts modes as it says, and trains what it says."""

import math
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

import i2i.tools.digits
from i2i.tools.digits import Labelled, Real

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import modes


def points(*places: tuple[float, float]) -> Tensor:
    return torch.tensor(places).view(-1, 2, 1, 1)


@pytest.fixture
def stacked(monkeypatch: pytest.MonkeyPatch) -> modes.Case:
    """The case on digits that are grey squares, 25 times their number, which a perfect classifier reads."""
    squares = (torch.arange(10) * 25).to(torch.uint8).view(10, 1, 1, 1).expand(-1, -1, 28, 28).contiguous()
    digits = Labelled(squares, torch.arange(10))

    def classify(classifier: None, images: Tensor) -> tuple[Tensor, Tensor]:
        number = (images.mean(dim=(1, 2, 3)) + 1) * 127.5 / 25
        return -100 * (number[:, None] - torch.arange(10)).square(), number

    class Trained:
        network = None

    monkeypatch.setattr(i2i.tools.digits, "read_real", lambda *_: Real(digits, digits, tuple("0123456789")))
    monkeypatch.setattr(i2i.tools.digits, "load_or_train_classifier", lambda *_, **__: Trained())
    monkeypatch.setattr(i2i.tools.digits, "classify", classify)
    return modes.stacked(Path("nowhere"))


def test_points_are_of_the_gaussian_within_three_standard_deviations() -> None:
    near, far = 2.9 * modes.SPREAD, 3.1 * modes.SPREAD
    found = modes.ring(Path()).find(points((0.7, 0), (0.7, near), (0.7, far), (-near, -0.7), (0, 0)))
    assert found.mode.tolist() == [0, 0, -1, 6, -1]
    assert found.good.tolist() == [True, True, False, True, False]
    assert found.covered == 2


def test_real_points_are_those_of_eight_gaussians() -> None:
    case = modes.ring(Path())
    real = case.draw(20000, torch.Generator().manual_seed(0))
    found = case.find(real)
    assert found.covered == 8 and found.divergence < 0.001
    assert abs(found.good.double().mean() - (1 - math.exp(-4.5))) < 0.003  # within 3 sigma in the plane
    first = real.flatten(1)[found.mode == 2]
    torch.testing.assert_close(first.mean(dim=0), torch.tensor([0, 0.7]), atol=0.002, rtol=0)


def test_divergence_from_equal_shares_by_hand() -> None:
    def divergence(*mode: int) -> float:
        return modes.Found(torch.tensor(mode), torch.ones(len(mode), dtype=torch.bool), 4).divergence

    assert divergence(0, 1, 2, 3) == 0
    assert divergence(2, 2, 2, -1) == pytest.approx(math.log(4))
    assert divergence(0, 0, 0, 1) == pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1))
    assert math.isnan(divergence(-1, -1))


def test_a_stack_is_of_the_mode_that_is_read_in_its_channels(stacked: modes.Case) -> None:
    grey = torch.tensor([[1.0, 2, 3], [9, 0, 9], [1, 2, 3], [4, 4.5, 4]]) * 25 / 127.5 - 1
    found = stacked.find(grey[:, :, None, None].expand(-1, -1, 28, 28))
    assert found.mode[:3].tolist() == [123, 909, 123]
    assert found.good.tolist() == [True, True, True, False]  # 4 and 5 are alike to it
    assert found.modes == 1000


def test_real_stacks_are_of_all_modes_and_in_range(stacked: modes.Case) -> None:
    real = stacked.draw(10000, torch.Generator().manual_seed(0))
    assert real.shape == (10000, 3, 28, 28) and real.min() == -1 and abs(real.max() - (2 * 225 / 255 - 1)) < 1e-6
    found = stacked.find(real)
    assert found.covered > 990 and found.good.all()
    assert 0.03 < found.divergence < 0.07  # about 999 / (2 * 10000), as that of any 10000 draws


@pytest.mark.parametrize("name", modes.SETTINGS)
def test_settings_reach_the_model_and_the_trainer(name: str, stacked: modes.Case, monkeypatch) -> None:
    trained = []
    monkeypatch.setattr(modes.Trainer, "train_step", lambda trainer: trained.append(trainer))
    case = {"ring": modes.ring(Path()), "stacked": stacked}[name]._replace(samples=3)
    for setting, options in modes.SETTINGS[name].items():
        modes.train(case, options, 1, seed=0)
        model, rates = trained[-1].model, trained[-1].config
        assert model.config.unconditional and model.num_classes == 0
        values = vars(model.config) | vars(rates)
        assert {option: values[option] for option in options} == options, setting
    assert len({str(options) for options in modes.SETTINGS[name].values()}) == len(modes.SETTINGS[name])


def test_learning_rates_fall_over_the_second_half() -> None:
    case = modes.ring(Path())
    stream = modes.Draws(case, 3000, seed=0)
    assert modes.EPOCHS * len(stream) == 3000 * modes.BATCH
    assert stream().image("b").shape == (modes.BATCH, 2, 1, 1)
    assert stream.position == modes.BATCH


def test_snapshots_are_taken_on_the_way_and_repeat_with_the_seed() -> None:
    case = modes.ring(Path())._replace(samples=7)
    first, again, other = (modes.train(case, {}, 6, seed) for seed in (0, 0, 1))
    assert len(first) == modes.SNAPSHOTS and first[0].shape == (7, 2, 1, 1)
    assert all(one.equal(two) for one, two in zip(first, again, strict=True))
    assert not first[0].equal(first[-1]) and not first[-1].equal(other[-1])


def test_it_runs_from_the_command_line_to_table_and_picture(tmp_path: Path, capsys, monkeypatch, stacked) -> None:
    monkeypatch.setitem(modes.CASES, "stacked", lambda mnist: stacked._replace(samples=40))
    modes.main(["--steps", "2", "--seeds", "2", "--settings", "plain", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines] == [
        *("ring, 2 steps", "---", "real", "plain"),
        *("stacked, 2 steps", "---", "real", "plain"),
    ]
    assert lines[2].startswith("| real | 8 | 99% | 0.00 |")
    assert len(lines[3].split("|")[2].split()) == 2  # a number of modes for each seed
    for name in modes.CASES:
        assert Image.open(tmp_path / f"modes_{name}.png").width > 500


def test_a_setting_that_a_case_lacks_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        modes.main(["--case", "ring", "--settings", "magic"])
    assert "magic: those of ring are plain, equal learning rates," in capsys.readouterr().err
