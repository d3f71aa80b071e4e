"""The benchmarks: the baseline is the real computation, and what is printed of it is what was measured."""

import argparse
import os
import statistics
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from i2i.data import DataSpec
from i2i.models import MODELS, build_model

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import profiling
import quality
import steps
import textbook
import train_step
import translate
import turns
from textbook_networks import PatchGAN, ResNet, UNet
from turns import Taken

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = Path(os.environ.get("I2I_TEST_DATA", "")) / "reference"
needs_reference = pytest.mark.skipif("I2I_TEST_DATA" not in os.environ, reason="I2I_TEST_DATA is unset")
CPU = torch.device("cpu")


# the baseline


@needs_reference
@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("cyclegan", partial(textbook.CycleGAN, partial(ResNet, 6, 8), 8)),
        ("pix2pix", partial(textbook.Pix2Pix, partial(UNet, 7, 8, dropout=False), 8)),
    ],
)
def test_the_textbook_takes_the_steps_of_the_reference(name: str, model: partial) -> None:
    trace, trained = torch.load(REFERENCE / f"trace_{name}.pt", weights_only=True), model()
    for label, network in trained.networks.items():
        network.double().load_state_dict(trace["initial"][label])
    trained.start()
    images = zip(*(trace[domain].double().split(trace["batch_size"]) for domain in "AB"), strict=True)
    assert len(trace["losses"]) >= 5
    for expected, (a, b) in zip(trace["losses"], images, strict=True):
        losses = {name: loss.item() for name, loss in trained.step(a, b).items()}
        assert losses == pytest.approx(expected, rel=1e-7)
    for label, network in trained.networks.items():
        final = network.state_dict()
        assert final.keys() == trace["final"][label].keys()
        for key, (total, norm) in trace["final"][label].items():
            assert final[key].double().norm().item() == pytest.approx(norm, rel=1e-7), key
            assert final[key].double().sum().item() == pytest.approx(total, rel=1e-7, abs=1e-7 * norm), key


@needs_reference
@pytest.mark.parametrize(
    ("file", "build"),
    [
        ("resnet_9blocks", partial(ResNet, 9, 8)),
        ("unet_128", partial(UNet, 7, 8, dropout=False)),
        ("patchgan_instance", partial(PatchGAN, 3, 8)),
        ("patchgan_conditional", partial(PatchGAN, 6, 8, "batch")),
    ],
)
def test_the_textbook_s_networks_are_the_reference_s(file: str, build: partial) -> None:
    figures, network = torch.load(REFERENCE / f"{file}.pt", weights_only=True), build().double()
    network.load_state_dict(figures["state_dict"])
    with torch.no_grad():
        in_training = network(figures["input"].double())
        in_evaluation = network.eval()(figures["input"].double())
    torch.testing.assert_close(in_training, figures["output_train_mode"].double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(in_evaluation, figures["output_eval_mode"].double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", steps.CASES)
def test_both_columns_train_networks_of_the_same_layers(name: str) -> None:
    case = steps.CASES[name]
    with torch.device("meta"):
        theirs = steps.textbook_model(case).networks.values()
        spec = DataSpec(3, 1, (28, 28), tuple("0123456789")) if case.model == "cgan" else DataSpec()
        ours = build_model(case.model, MODELS[case.model].Config(generator=case.generator), spec)
    shapes = Counter(tuple(p.shape) for p in ours.parameters())
    assert shapes == Counter(tuple(p.shape) for network in theirs for p in network.parameters())


def test_pool_and_classes_of_the_textbook() -> None:
    torch.manual_seed(0)
    pool = textbook.Pool()
    shown = [float(pool.query(torch.full((1, 1, 1, 1), float(i)))) for i in range(200)]
    assert shown[:50] == list(range(50)) and len(pool.images) == 50
    older = [value < i for i, value in enumerate(shown)]
    assert 0.3 < statistics.mean(older[50:]) < 0.7

    model = textbook.DigitGAN()
    model.start()
    real, label = torch.rand(4, 1, 28, 28), torch.arange(4)
    losses = model.step(real, label)
    assert losses.keys() == {"D_fake", "D_real", "G_GAN"} and all(loss.isfinite() for loss in losses.values())


# training steps


def test_operations_are_those_of_the_algorithm() -> None:
    convolution = nn.Conv2d(3, 5, 3, padding=1)
    assert steps.operations(convolution, torch.rand(2, 3, 8, 8)) == 2 * (2 * 8 * 8 * 5) * (3 * 3 * 3)
    # What a profiler counted of the reference implementation itself.
    known = {"cyclegan_128": 1353e9, "pix2pix_256": 87e9, "pix2pix_128": 170e9}
    assert {name: steps.step_operations(steps.CASES[name]) for name in known} == pytest.approx(known, rel=0.01)


@pytest.mark.parametrize("name", ["textbook", "fp32", "bf16+nhwc", "fp32+checkpoint+plain"])
def test_a_column_s_words_decide_how_its_step_is_done(name: str, monkeypatch) -> None:
    case = steps.Case("cgan", "dcgan", 28, 2)
    monkeypatch.setitem(steps.CASES, "tiny", case)
    column = steps.column("tiny", name, CPU)
    warm, turn = column.answer({"warm_up": 1}), column.answer({"steps": 1})
    assert warm["flops"] == steps.step_operations(case) > 0
    assert min(warm["seconds"], turn["seconds"]) > 0 and turn["memory"] > turns.MIB
    if name != "textbook":
        trainer = column.step.__self__  # type: ignore[attr-defined]
        assert trainer.step >= 2
        assert trainer.acceleration.precision == name[:4]
        assert trainer.config.checkpoint_activations == ("checkpoint" in name)
        assert trainer.acceleration.kernels == ("plain" if "plain" in name else "auto")
        assert trainer.acceleration.channels_last or "nhwc" not in name


def test_both_columns_train_on_the_batch(monkeypatch) -> None:
    case = steps.Case("cyclegan", "resnet_6blocks", 32, 1)
    trainer = steps.i2i_step(case, {"fp32"}, CPU).__self__  # type: ignore[attr-defined]
    trainer.train_step()
    theirs = steps.textbook_step(case, set(), CPU)()
    assert trainer.history.means().keys() == theirs.keys()
    assert trainer.images == 1


def test_the_ceiling_is_a_convolution() -> None:
    column = steps.column("ceiling", "bf16", CPU)
    assert column.flops == 2 * (64 * 64 * 256) * (9 * 256)
    assert column.step().dtype == torch.bfloat16


def test_the_command_line_knows_every_case_and_word_without_torch() -> None:
    assert {*steps.ACCELERATION, "textbook", "checkpoint"} == set(train_step.WORDS)
    assert {name: case.batch_size for name, case in steps.CASES.items()} == {
        name: images for name, (images, _) in train_step.CASES.items()
    }
    for module in (train_step, translate):
        with pytest.raises(argparse.ArgumentTypeError, match="'fast' is none of textbook"):
            module.column_name("fp32+fast")
    # The peak memory of what a benchmark starts would be no less than its own.
    code = "import sys, train_step, translate, quality; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "benchmarks", check=True)


def test_a_row_of_training_steps() -> None:
    taken = {
        "textbook": [Taken(4.0, 200 * turns.MIB), Taken(9.0, 300 * turns.MIB), Taken(4.0, 100 * turns.MIB)],
        "bf16": [Taken(2.0, 150 * turns.MIB), Taken(3.0, 150 * turns.MIB), Taken(4.0, 150 * turns.MIB)],
        "ceiling bf16": [Taken(0.5, 0), Taken(0.5, 0), Taken(0.5, 0)],
    }
    row = train_step.case_row("cyclegan_128", "bf16", taken, flops=6e9, ceiling_flops=3e9)
    assert row == "| cyclegan_128 | bf16 | 3.000 | 1.3 | 2 | 33% | 150 | 0.50 | 2.00 |"
    assert turns.head(*train_step.TITLES).splitlines()[1].count("-") / 3 == row.count("|") - 1


def test_the_kinds_of_a_step_are_found() -> None:
    network = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        network(torch.rand(2, 3, 64, 64)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    found = profiling.profile_step(step, "cpu")
    assert found["kinds"].keys() >= {"convolution forward", "convolution backward", "norm", "padding", "activation"}
    assert found["kinds"]["optimiser"] > 0 and list(found["kinds"].values()) == sorted(found["kinds"].values())[::-1]
    assert ["2x8x64x64", "2x3x66x66", "8x3x3x3"] in [shapes.split() for _, shapes, _, _ in found["longest"]]
    assert all(calls >= 1 for _, _, calls, _ in found["longest"])


# processes and turns


def test_things_take_turns_and_ratios_are_those_of_a_turn() -> None:
    done: list[str] = []

    def action(name: str, seconds: float) -> Taken:
        done.append(name)
        return Taken(seconds * len(done), 0)  # the machine gets slower all the time

    taken = turns.take_turns({"a": partial(action, "a", 2.0), "b": partial(action, "b", 1.0)}, 3)
    assert "".join(done) == "ababab"
    assert turns.median_seconds(taken["a"]) == 6
    assert turns.speed_ratio(taken["b"], taken["a"]) == pytest.approx(statistics.median([2 / 2, 6 / 4, 10 / 6]))


def test_a_column_answers_until_it_is_closed_and_says_when_it_dies(tmp_path: Path) -> None:
    program = tmp_path / "column.py"
    program.write_text(
        f"import sys; sys.path.append({str(ROOT / 'benchmarks')!r})\n"
        "from turns import answer_requests\n"
        "def answer(request):\n"
        "    print('chatter')\n"
        "    return sys.argv[1] * request['times'] if request['times'] else sys.exit(3)\n"
        "answer_requests(answer)\n"
    )
    column = turns.Column(program, "x")
    assert [column.ask({"times": times}) for times in (2, 3)] == ["xx", "xxx"]
    column.close()
    assert column.process.returncode == 0
    with pytest.raises(SystemExit, match="y ended with code 3"):
        turns.Column(program, "y").ask({"times": 0})


def test_whole_processes_are_timed_and_their_memory_is_their_own(tmp_path: Path) -> None:
    idle = turns.run([sys.executable, "-c", "import time; time.sleep(0.2)"], tmp_path)
    large = turns.run([sys.executable, "-c", "len(bytearray(2**28).replace(b'x', b'y'))"], tmp_path)
    assert idle.seconds >= 0.2 and large.memory >= 2**28
    with pytest.raises(SystemExit, match="(?s)ended with code 1:.*No module named 'nothing'"):
        turns.run([sys.executable, "-c", "import nothing"], tmp_path)


# translation and quality


def test_translations_are_compared_picture_by_picture(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for place, shift in (("one", 0), ("near", 2), ("far", 3)):
        (tmp_path / place / "deeper").mkdir(parents=True)
        for label in translate.LABELS:
            Image.fromarray(pixels + np.uint8(shift)).save(tmp_path / place / "deeper" / f"0_{label}.png")
    compare = partial(translate.check, tmp_path / "one")
    compare(tmp_path / "near", 1, alike=True)
    compare(tmp_path / "far", 1, alike=False)
    with pytest.raises(SystemExit, match="0_real_A.png is not the picture"):
        compare(tmp_path / "far", 1, alike=True)
    with pytest.raises(SystemExit, match="do not hold the same 2 pictures"):
        compare(tmp_path / "near", 2, alike=True)


def test_the_programs_that_translate_write_the_same_pictures(tmp_path: Path) -> None:
    translate.prepare(tmp_path, ["resnet_9blocks"], 32, 2, None)
    arguments = argparse.Namespace(size=32, device="cpu", turns=1, count=2)
    rows = translate.table("resnet_9blocks", ["textbook", "fp32"], tmp_path, arguments)
    assert [row.split(" | ")[1] for row in rows] == ["textbook", "fp32"]
    assert rows[0].endswith("| 1.00 | 1.00 |")


def test_quality_is_compared_within_the_spread_of_the_seeds() -> None:
    assert quality.verdict([0.030, 0.032], [0.031, 0.033]) == "yes"
    assert quality.verdict([0.04], [0.031]) == "-"  # nothing is known of the spread
    assert quality.verdict([0.040, 0.041], [0.031, 0.033]) == "NO"


def test_quality_runs_from_training_to_score(capsys) -> None:
    quality.main(["--quick"])
    way, distance, mean, spread, agrees = capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    assert (way, spread, agrees) == ("fp32", "0.0000", "-")
    assert 0 < float(distance) == float(mean) < 0.5
