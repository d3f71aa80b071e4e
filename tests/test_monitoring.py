"""What looks on while a model trains, and what is done where values are not finite."""

import json
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from i2i.data import Batch
from i2i.models.base import Phase
from i2i.run import checkpoint_path, saved_epochs
from i2i.training import Diverged, Trainer, checkpoint
from i2i.training.nonfinite import MAX_SKIPPED_AT_START, MAX_SKIPPED_IN_A_ROW
from i2i.training.trainer import MAX_ROLLBACKS
from i2i.watch.boards import Board, Boards, Finding, Progress
from i2i.watch.doctor import DoctorObserver
from i2i.watch.validation import Thumbnails, Validation, ValidationConfig
from i2i.watch.validation.observer import ValidationObserver
from tests import tiny


class Notes(Board):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[tuple[Progress, dict[str, float]]] = []
        self.found: list[Finding] = []

    def scalars(self, progress: Progress, values: dict[str, float]) -> None:
        self.rows.append((progress, values))

    def findings(self, progress: Progress, findings: Any) -> None:
        self.found += findings

    def curve(self, name: str) -> list[tuple[int, float]]:
        return [(progress.images, values[name]) for progress, values in self.rows if name in values]


class Scripted:
    """A validator that finds what it is told to, and draws random numbers on the way, as a careless one would."""

    def __init__(self, values: list[float], best_metric: str = "l1") -> None:
        self.values, self.best_metric, self.runs = list(values), best_metric, 0

    def __len__(self) -> int:
        return 2

    def run(self, model: torch.nn.Module) -> Validation:
        torch.rand(3)
        assert not torch.is_grad_enabled() or not any(p.grad is not None for p in model.parameters())
        value = self.values[min(self.runs, len(self.values) - 1)]
        self.runs += 1
        empty = torch.zeros(0, 3, 32, 32)
        return Validation({self.best_metric: value}, {}, [], [], Thumbnails(empty, empty, empty), self.best_metric)


def trainer(folder: Path | None, values: list[float] | None = None, **options: Any) -> tuple[Trainer, Notes]:
    notes, config = (
        Notes(),
        ValidationConfig(val_freq=options.pop("val_freq", 4), patience=options.pop("patience", None)),
    )
    validator = Scripted(values, options.pop("best_metric", "l1")) if values is not None else None
    model = tiny.pix2pix()
    train = tiny.TrainConfig(**{"n_epochs": 4, "n_epochs_decay": 0, "print_freq": 2} | options)
    observers = tiny.observers(train, Boards([notes]))
    if validator is not None:
        observers.insert(-1, ValidationObserver(validator, config, 1, 8))  # type: ignore[arg-type]
    stream: Any = tiny.RandomStream(model, 2, 8)
    made = Trainer(model, stream, train, observers=observers, folder=folder, options={"model": "pix2pix"})
    return made, notes


def validation(made: Trainer) -> ValidationObserver:
    return next(observer for observer in made.observers if isinstance(observer, ValidationObserver))


# --- validation


def test_validation_happens_every_so_many_images_and_at_the_end(tmp_path: Path) -> None:
    made, notes = trainer(tmp_path, [0.5], n_epochs=1, n_epochs_decay=0)
    made.fit()
    assert [images for images, _ in notes.curve("val_l1")] == [4, 8]


def test_the_best_weights_are_kept_and_the_checkpoint_says_why(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, [0.5, 0.2, 0.4, math.nan, 0.3, 0.25, 0.6, 0.7])
    made.fit()
    best, latest = (checkpoint.load(tmp_path / f"{name}.pt") for name in ("best", "latest"))
    assert (best["images"], latest["images"]) == (8, 32)
    assert best["validation"]["metric"] == "l1"
    assert best["validation"]["best"] == 0.2
    assert best["validation"]["best_images"] == 8
    assert latest["validation"]["best_images"] == 8
    assert latest["validation"]["count"] == 8
    assert latest["validation"]["since_best"] == 6
    assert saved_epochs(tmp_path) == ["best", "latest"]
    assert checkpoint_path(tmp_path, "best") == tmp_path / "best.pt"


def test_the_last_validation_is_on_record(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, [0.5, 0.4, 0.3], n_epochs=1, save_epoch_freq=1, val_freq=6)
    made.fit()
    best, latest, epoch = (checkpoint.load(tmp_path / f"{name}.pt") for name in ("best", "latest", "epoch_1"))
    for state in (best, latest, epoch):
        validation = state["validation"]
        assert (validation["count"], validation["best_images"], validation["best"]) == (2, 8, 0.4)
        assert state["history"]["counts"] == {}, "losses that are logged are not logged again"


def test_what_changes_without_a_step_is_saved(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, [0.5, 0.6])
    made.model.train()
    made.train_step()
    made.save()
    validation(made).observe(made.view)
    made.save()
    assert checkpoint.load(tmp_path / "latest.pt")["validation"]["count"] == 1


def weights(made: Trainer) -> list[Tensor]:
    return [value.clone() for value in made.model.state_dict().values() if isinstance(value, Tensor)]


@pytest.mark.parametrize("ema", [None, 0.9])
def test_validation_does_not_disturb_training(tmp_path: Path, ema: float | None) -> None:
    found = []
    for values in (None, [0.5, 0.4, 0.3]):
        torch.manual_seed(3)
        made, _ = trainer(None, values, ema=ema)
        made.fit()
        found.append((weights(made), torch.get_rng_state()))
    assert all(map(torch.equal, *(one for one, _ in found)))
    assert torch.equal(*(state for _, state in found))


def test_patience_stops_early_as_if_all_were_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made, notes = trainer(tmp_path, [0.5, 0.2, 0.3, 0.3, 0.3, 0.3], patience=2)
    assert made.fit()
    assert [images for images, _ in notes.curve("val_l1")] == [4, 8, 12, 16]
    assert made.images == 16
    assert "Stopped early" in caplog.text and notes.found[-1].name == "stopped_early"
    again, notes = trainer(tmp_path, [0.1], patience=2)
    again.load_state_dict(checkpoint.load(tmp_path / "latest.pt"))
    assert again.fit()
    assert again.images == 16
    assert "a larger --patience goes on" in caplog.text


def test_plateaus_follow_the_best_metric(tmp_path: Path) -> None:
    made, notes = trainer(tmp_path, [0.5], lr_policy="plateau", n_epochs=6)
    made.fit()
    rates = [rate for _, rate in notes.curve("lr_generator")]
    assert rates[0] == pytest.approx(0.0002)
    assert rates[-1] == pytest.approx(0.00004)  # twelve validations that bring nothing, of which it waits for five


@pytest.mark.parametrize("values", [[25.0], [25.0 - 0.01 * number for number in range(12)]])
def test_plateaus_follow_metrics_that_are_to_grow(values: list[float]) -> None:
    made, notes = trainer(None, values, best_metric="psnr", lr_policy="plateau", n_epochs=6)
    made.fit()
    assert notes.curve("lr_generator")[-1][1] == pytest.approx(0.00004)


def test_a_plateau_of_something_else_starts_anew(tmp_path: Path) -> None:
    made, _ = trainer(tmp_path, [0.5], lr_policy="plateau", n_epochs=1)
    made.fit()
    saved = checkpoint.load(tmp_path / "latest.pt")
    for metric, seen in (("l1", 2), ("psnr", 0)):
        again, _ = trainer(None, [0.5], best_metric=metric, lr_policy="plateau")
        again.load_state_dict(saved)
        assert again.players.plateau is not None
        assert again.players.plateau.schedulers["generator"].last_epoch == seen


def test_a_metric_is_watched_without_epochs_means() -> None:
    made, _ = trainer(None, [0.5], lr_policy="plateau", plateau_loss="G_L1", n_epochs=1)
    other, _ = trainer(None, [0.5], lr_policy="plateau", n_epochs=1)
    for one, watched in ((made, "G_L1"), (other, "l1")):
        one.fit()
        assert one.players.plateau is not None
        assert (one.players.plateau.watched, one.players.plateau.history.means()) == (watched, {})
        assert one.players.plateau.schedulers["generator"].last_epoch == (1 if one is made else 2)


def test_an_epoch_of_steps_that_were_left_out_says_nothing_of_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = trainer(None, on_nan="skip", lr_policy="plateau", n_epochs=2)
    poison(made, monkeypatch, lambda step: step < 4)
    assert made.fit()
    assert made.players.plateau is not None and made.players.plateau.schedulers["generator"].last_epoch == 1


def crash_before_best(made: Trainer, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    def kill(saved: Path, path: Path) -> None:
        if made.images == at:
            raise KeyboardInterrupt
        original(saved, path)

    original = checkpoint.save_as_well
    monkeypatch.setattr(checkpoint, "save_as_well", kill)


@pytest.mark.parametrize("at", [4, 8, 32])
def test_a_crash_between_two_files_does_not_cost_the_best(tmp_path: Path, monkeypatch: Any, at: int) -> None:
    killed, _ = trainer(tmp_path, [0.9 - 0.1 * number for number in range(8)])
    crash_before_best(killed, monkeypatch, at)
    with pytest.raises(KeyboardInterrupt):
        killed.fit()
    monkeypatch.undo()
    again, _ = trainer(tmp_path, [2.0])
    again.load_state_dict(checkpoint.load(tmp_path / "latest.pt"))
    again.fit()
    best, latest = (checkpoint.load(tmp_path / f"{name}.pt") for name in ("best", "latest"))
    assert best["images"] == latest["validation"]["best_images"] == at
    assert latest["images"] == 32


def test_without_the_best_checkpoint_the_next_one_is_the_best(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, _ = trainer(tmp_path, [0.2, 0.5], n_epochs=1)
    first.fit()
    (tmp_path / "best.pt").rename(tmp_path / "best.pt.aside")  # as --continue_train --epoch N does
    again, _ = trainer(tmp_path, [0.4, 0.5])
    again.load_state_dict(checkpoint.load(tmp_path / "latest.pt"))
    again.fit()
    assert "there is no best.pt any more" in caplog.text
    best = checkpoint.load(tmp_path / "best.pt")
    assert (best["images"], best["validation"]["best"]) == (12, 0.4)


def test_a_validation_that_fails_costs_no_training(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    made, _ = trainer(tmp_path, [0.5])
    monkeypatch.setattr(validation(made).validator, "run", lambda model: torch.zeros(2) + torch.zeros(3))
    with pytest.raises(RuntimeError, match="size of tensor"):
        made.fit()
    assert checkpoint.load(tmp_path / "latest.pt")["images"] == 4
    assert "--val_freq 0 goes on without it" in caplog.text


def test_what_has_diverged_is_not_validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, notes = trainer(tmp_path, [0.5], print_freq=100)
    poison(made, monkeypatch, lambda step: step == 3)
    with pytest.raises(Diverged):
        made.fit()
    assert [images for images, _ in notes.curve("val_l1")] == [4]


def test_the_last_epoch_is_not_called_an_early_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made, _ = trainer(tmp_path, [0.2, 0.5], n_epochs=1, patience=1)
    assert made.fit()
    assert "Stopped early" not in caplog.text


def test_a_run_that_goes_on_knows_its_best(tmp_path: Path) -> None:
    straight, _ = trainer(tmp_path / "a", [0.5, 0.2, 0.4, 0.3])
    (tmp_path / "a").mkdir()
    straight.fit()
    (tmp_path / "b").mkdir()
    first, _ = trainer(tmp_path / "b", [0.5, 0.2], n_epochs=1)
    first.fit()
    second, _ = trainer(tmp_path / "b", [0.4, 0.3])
    second.load_state_dict(checkpoint.load(tmp_path / "b" / "latest.pt"))
    second.fit()
    ends = [checkpoint.load(tmp_path / run / "latest.pt")["validation"] for run in "ab"]
    assert ends[0]["best_images"] == ends[1]["best_images"] == 8
    assert checkpoint.load(tmp_path / "b" / "best.pt")["images"] == 8


# --- gradients and findings


def test_norms_of_gradients_are_logged_for_every_player() -> None:
    made, notes = trainer(None, n_epochs=1)
    made.fit()
    assert len(notes.curve("grad_generator")) == len(notes.curve("grad_discriminator")) == 4
    assert all(value > 0 for _, value in notes.curve("grad_generator"))


def test_the_norm_is_that_of_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = trainer(None)
    seen: list[Tensor] = []
    optimizer = made.players.optimizers["discriminator"]
    step = optimizer.step

    def noted(*args: Any, **keywords: Any) -> Any:
        parameters = made.model.players["discriminator"].parameters()
        seen.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]).norm())
        return step(*args, **keywords)

    monkeypatch.setattr(optimizer, "step", noted)
    made.model.train()
    made.train_step()
    torch.testing.assert_close(made.players.norms["discriminator"], seen[0])


# --- values that are not finite


def poison(made: Trainer, monkeypatch: pytest.MonkeyPatch, steps: Callable[[int], bool]) -> None:
    """The generator's loss becomes NaN in the steps that `steps` names; the images of the batch as well."""
    original = made.model.training_step

    def poisoned(next_batch: Callable[[], Batch], step: int) -> Iterator[Phase]:
        bad = steps(step)

        def batch() -> Batch:
            good = next_batch()
            good.a = good.image("a") * math.nan if bad else good.a
            return good

        yield from original(batch, step)

    monkeypatch.setattr(made.model, "training_step", poisoned)


def test_stop_is_the_default_and_says_what_it_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, notes = trainer(tmp_path)
    poison(made, monkeypatch, lambda step: step == 5)
    with pytest.raises(Diverged, match="step 6"):
        made.fit()
    assert [finding.name for finding in notes.found] == ["not_finite"]
    assert "--on_nan" in notes.found[0].advice


def test_skipping_leaves_a_step_out_and_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    made, notes = trainer(None, on_nan="skip")
    poison(made, monkeypatch, lambda step: step == 3)
    made.model.train()
    for _ in range(3):
        made.train_step()
    before, step = weights(made), made.step
    with caplog.at_level(logging.WARNING):
        made.train_step()
    assert all(map(torch.equal, before, weights(made)))  # buffers of batch norm among them
    assert (made.step, made.images) == (step + 1, 8)
    assert "Step 4 was skipped" in caplog.text and "7.png" in caplog.text
    made.train_step()
    assert not all(map(torch.equal, before, weights(made)))
    assert made.fit()
    assert all(math.isfinite(value) for _, values in notes.rows for value in values.values())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_that_is_left_out_is_told_of_and_leaves_nothing(monkeypatch: Any, precision: str) -> None:
    made, notes = trainer(None, on_nan="skip")
    if precision == "fp16":
        made.players.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    poison(made, monkeypatch, lambda step: step in (3, 5))  # each of them the first after a line of the log
    assert made.fit()
    assert [images for images, _ in notes.curve("G_L1")] == [image for image in range(2, 34, 2) if image not in (8, 12)]
    assert all(math.isfinite(value) for _, values in notes.rows for value in values.values())
    finding, end = notes.found  # of the first; the next is that of the tenth; and of the end
    assert (finding.name, finding.figure, end.figure) == ("not_finite", 4, 2 / 16)
    assert "D_fake" in finding.message and "6.png, 7.png" in finding.message
    assert all(bool(value.isfinite().all()) for value in weights(made))


def test_all_images_of_a_step_are_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    made, _ = trainer(None, on_nan="skip", accumulate=2)
    poison(made, monkeypatch, lambda step: step == 0)
    made.model.train()
    made.train_step()
    assert "its images: 0.png, 1.png, 2.png, 3.png." in caplog.text


def test_what_was_left_out_is_counted_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = trainer(tmp_path, on_nan="skip", n_epochs=1)
    poison(made, monkeypatch, lambda step: step > 0)
    made.fit()
    again, _ = trainer(None, on_nan="skip")
    again.load_state_dict(checkpoint.load(tmp_path / "latest.pt"))
    assert again.players.skipping is not None
    assert (again.players.skipping.skipped, again.players.skipping.in_a_row) == (3, 3)


def test_pools_do_not_keep_what_a_bad_step_made(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.cyclegan()
    made = tiny.trainer(model, on_nan="skip")
    poison(made, monkeypatch, lambda step: step == 1)
    model.train()
    for _ in range(3):
        made.train_step()
    assert len(model.pool_b.images) == 4
    assert all(image.isfinite().all() for image in model.pool_b.images)


def test_skipping_gives_up_where_nothing_else_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = trainer(None, on_nan="skip", n_epochs=100)
    poison(made, monkeypatch, lambda step: step > 0)
    with pytest.raises(Diverged, match=str(MAX_SKIPPED_IN_A_ROW)):
        made.fit()
    assert made.step == MAX_SKIPPED_IN_A_ROW + 1


def test_skipping_gives_up_sooner_where_nothing_has_ever_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = trainer(None, on_nan="skip", n_epochs=100)
    poison(made, monkeypatch, lambda step: True)
    with pytest.raises(Diverged, match=str(MAX_SKIPPED_AT_START)):
        made.fit()


def test_the_end_of_a_run_says_how_many_steps_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made, notes = trainer(None, on_nan="skip")
    poison(made, monkeypatch, lambda step: step in (3, 5))
    assert made.fit()
    assert (notes.found[-1].severity, notes.found[-1].message[:14]) == ("alarm", "2 of 16 steps ")


def test_skipping_changes_nothing_where_all_is_finite() -> None:
    found = []
    for on_nan in ("stop", "skip"):
        torch.manual_seed(0)
        made, _ = trainer(None, on_nan=on_nan)
        made.fit()
        found.append(weights(made))
    assert all(map(torch.equal, *found))


def test_rolling_back_goes_on_from_the_last_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    made, notes = trainer(tmp_path, on_nan="rollback", save_latest_freq=4)
    poison(made, monkeypatch, lambda step: step == 5)
    assert made.fit()
    assert made.players.rollbacks == 1
    assert "rolled back to the weights of latest.pt at step 4" in caplog.text
    rates = dict(notes.curve("lr_generator"))
    assert rates[8] == pytest.approx(0.0002)
    assert rates[16] == pytest.approx(0.0001)
    assert [finding.name for finding in notes.found] == ["not_finite"]
    end = checkpoint.load(tmp_path / "latest.pt")
    assert (end["images"], end["rollbacks"]) == (32, 1)


def test_a_rollback_leaves_no_norm_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, notes = trainer(tmp_path, on_nan="rollback", save_latest_freq=4, ema=0.9)
    poison(made, monkeypatch, lambda step: step == 5)
    assert made.fit()
    assert all(math.isfinite(norm) for name in made.players.optimizers for _, norm in notes.curve(f"grad_{name}"))


def test_the_end_is_rolled_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = trainer(tmp_path, on_nan="rollback", save_latest_freq=12, print_freq=1000)
    poison(made, monkeypatch, lambda step: step == 14)
    assert made.fit()
    assert made.players.rollbacks == 1
    assert all(bool(value.isfinite().all()) for value in weights(made))


def test_rolling_back_gives_up_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = trainer(tmp_path, on_nan="rollback", save_latest_freq=4, n_epochs=40)
    poison(made, monkeypatch, lambda step: step > 4)
    with pytest.raises(Diverged):
        made.fit()
    assert made.players.rollbacks == MAX_ROLLBACKS
    assert checkpoint.load(tmp_path / "latest.pt")["rollbacks"] == MAX_ROLLBACKS


def test_without_a_save_there_is_no_way_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = trainer(tmp_path, on_nan="rollback")
    poison(made, monkeypatch, lambda step: True)
    with pytest.raises(Diverged, match="G_L1"):
        made.fit()
    assert not (tmp_path / "latest.pt").exists()


def test_what_is_watched_is_plain_json() -> None:
    made, _ = trainer(None, [0.5], n_epochs=1)
    made.fit()
    json.dumps({observer.name: observer.state_dict() for observer in made.observers})


def test_a_doctor_that_fails_never_stops_a_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, notes = trainer(None, n_epochs=1)

    def fails(*_: Any) -> list[Finding]:
        raise ZeroDivisionError("of a constant")

    doctor = next(observer.doctor for observer in made.observers if isinstance(observer, DoctorObserver))
    monkeypatch.setattr(doctor, "losses", fails)
    assert made.fit()
    assert caplog.text.count("ZeroDivisionError: of a constant") == 1
    assert len(notes.curve("G_L1")) == 4
