"""The command lines of train.py and test.py: files, defaults, complaints, help, and what a run has stored."""

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from i2i.config import OptionParser, from_values, tokens_from
from i2i.data import DataConfig, DataSpec
from i2i.errors import UserError
from i2i.models import build_model
from i2i.networks.reference_weights import Architecture, build, save_reference
from i2i.training import Trainer, checkpoint
from i2i.training.folder import claim_folder
from options.base_options import BaseOptions
from options.test_options import TestOptions
from options.train_options import TrainOptions
from test import input_config, load_translator
from tests.tiny import RandomStream

TINY = "--num_downs 3 --generator unet --ngf 4 --ndf 4 --netD pixel"
Complaint = Callable[[type[BaseOptions], str], str]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return tmp_path


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Complaint:
    """What a command line is refused with: one line, and exit code 2."""

    def run(options: type[BaseOptions], command: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            options(shlex.split(command))
        errors = [line for line in capsys.readouterr().err.splitlines() if ": note: " not in line]
        assert exit.value.code == 2 and len(errors) == 1 and errors[0].startswith(f"{options.program}: error: ")
        return errors[0]

    return run


def train(command: str = "") -> TrainOptions:
    return TrainOptions(shlex.split(command))


def translate(command: str = "--reference_weights latest_net_G.pth") -> TestOptions:
    return TestOptions(shlex.split(command))


def write(file: str, **values: Any) -> str:
    Path(file).write_text(yaml.safe_dump(values))
    return file


# --- Defaults.


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (
            "cyclegan",
            dict(generator="resnet_9blocks", norm="instance", dropout=False, dataset_mode="unaligned")
            | dict(gan_mode="lsgan", pool_size=50, lambda_A=10, lambda_B=10, lambda_identity=0.5),
        ),
        (
            "pix2pix",
            dict(generator="unet_256", norm="batch", dropout=True, dataset_mode="aligned")
            | dict(gan_mode="vanilla", reconstruction="100*l1"),
        ),
    ],
)
def test_defaults_are_those_of_the_reference(model: str, values: dict[str, Any]) -> None:
    values |= dict(discriminator="basic", generator_filters=64, discriminator_filters=64, in_channels=3, out_channels=3)
    values |= dict(load_size=[286, 286], crop_size=[256, 256], batch_size=1, flip=True, preprocess="resize_and_crop")
    values |= dict(lr=0.0002, beta1=0.5, beta2=0.999, n_epochs=100, n_epochs_decay=100, lr_policy="linear")
    values |= dict(init_type="normal", init_gain=0.02, print_freq=100, display_freq=400, save_latest_freq=5000)
    options = train(f"--model {model}").as_dict()
    assert {name: options[name] for name in values} == values


def test_a_test_crops_to_what_it_resizes_to() -> None:
    assert translate().data.load_size == (256, 256)
    assert translate("--reference_weights g.pth --preprocess crop --crop_size 64 48").data.load_size == (64, 48)


def test_options_are_frozen() -> None:
    options = train()
    for part in (options.run, options.data, options.model, options.train, options.visuals):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, dataclasses.fields(part)[0].name, "changed")


# --- Files.


def test_a_file_is_flags_written_down() -> None:
    name = write("o.yaml", model="cycle_gan", netG="unet_128", lr="2e-4", flip=False, load_size=[320, 300], ema=None)
    options = train(f"--options {name}")
    assert (options.model_name, options.model.generator, options.train.lr) == ("cyclegan", "unet_128", 2e-4)
    assert (options.data.flip, options.data.load_size, options.train.ema) == (False, (320, 300), None)


@pytest.mark.parametrize(
    ("values", "flip"), [({"flip": True}, True), ({"flip": False}, False), ({"no_flip": True}, False)]
)
def test_booleans_in_files(values: dict[str, bool], flip: bool) -> None:
    assert train(f"--options {write('o.yaml', **values)}").data.flip is flip


def test_what_a_file_denies_is_not_said() -> None:
    name = write("o.yaml", no_flip=False, use_wandb=False, no_html=False, continue_train=False)
    assert train(f"--no_flip --options {write('flip.yaml', flip=False)} {name}").data.flip is False
    assert train(f"--options {write('flip.yaml', flip=False)} {name}").data.flip is True


def test_retired_names_in_files(capsys: pytest.CaptureFixture[str]) -> None:
    name = write("o.yaml", model="pix2pix", lambda_A=50, niter=3, gpu_ids=-1, max_dataset_size=float("inf"))
    options = train(f"--options {name}")
    assert (options.model.reconstruction, options.train.n_epochs, options.run.device) == ("50.0*l1", 3, "cpu")
    assert options.data.max_dataset_size is None
    assert "o.yaml: --niter is now --n_epochs" in capsys.readouterr().err


def test_the_last_word_wins() -> None:
    first, second = write("1.yaml", lr=1, beta1=0.1, batch_size=2), write("2.yaml", lr=2, beta1=0.2)
    options = train(f"--lr 3 --options {first} {second}")
    assert (options.train.lr, options.train.beta1, options.data.batch_size) == (3, 0.2, 2)
    assert train(f"--options {second} --options {first}").train.lr == 1


def test_a_preset_by_its_name_gives_way_to_the_command_line() -> None:
    options = train("--options shapes_pix2pix --crop_size 64")
    assert (options.model_name, options.data.crop_size, options.data.load_size) == ("pix2pix", (64, 64), (128, 128))


def test_a_number_of_a_file_is_taken_back_by_none() -> None:
    name = write("o.yaml", ema=0.9, max_dataset_size=5)
    options = train(f"--options {name} --ema none --max_dataset_size none")
    assert (options.train.ema, options.data.max_dataset_size) == (None, None)


@pytest.mark.parametrize(
    "command",
    [
        "--model cgan --no_flip --max_dataset_size 5",
        "--model pix2pix --reconstruction '50*l1 + 10*ssim' --norm_D none --load_size 320 300 --lr 1e-5",
        "--model pix2pix --lambda_L1 7 --no_dropout --visdom_env e",
        "--cycle l2 --identity 'l1 + l2' --ema 0.99 --clip_grad 1 --direction BtoA",
    ],
)
def test_options_come_back_from_what_they_are_saved_as(command: str) -> None:
    options = train(command)
    again = TrainOptions(tokens_from(yaml.safe_load(yaml.safe_dump(options.as_dict()))))
    assert again.as_dict() == options.as_dict()
    assert again.model == options.model and again.data == options.data and again.train == options.train


# --- Complaints.


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("--model template", "choose from cgan, pix2pix, cyclegan"),
        ("--dataset_mode template", "choose from 'aligned', 'unaligned'"),
        ("--lambda_regression 1", "unknown option --lambda_regression"),
        ("--bathc_size 3", "unknown option --bathc_size, did you mean --batch_size?"),
        ("--bathc_size=3", "unknown option --bathc_size, did you mean --batch_size?"),
        ("--batch 3", "unknown option --batch"),
        ("--lr 1 2", "unexpected argument '2'"),
        ("--lr fast", "--lr: invalid float value: 'fast'"),
        ("--gan_mode hing", "choose from 'vanilla', 'minimax', 'lsgan', 'hinge'"),
        ("--n_epochs", "--n_epochs: expected one argument"),
        ("--batch_size 0", "--batch_size 0: must be at least 1"),
        ("--load_size 1 2 3", "--load_size 1 2 3: give one positive number, or width and height"),
        ("--crop_size 300", "--load_size 286 286 is smaller than --crop_size 300 300"),
        ("--gpu_ids all", "--gpu_ids 'all'"),
        ("--gpu_ids", "--gpu_ids ''"),
        ("--name ../elsewhere", "--name '../elsewhere'"),
        ("--options nowhere", "no such file, and the presets are: "),
        ("--suffix {nothing}", "--suffix {nothing}: braces hold names of options"),
        ("--suffix {", "--suffix {: braces hold names of options"),
        ("--model pix2pix --lambda_L1 1 --reconstruction 5*l1", "give one of them"),
        ("--continue_train --overwrite --name none", "there is no run in"),
    ],
)
def test_bad_command_lines(command: str, words: str, complaint: Complaint) -> None:
    assert words in complaint(TrainOptions, command)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lrr: 1", "bad.yaml: unknown option --lrr, did you mean --lr?"),
        ("lr: fast", "bad.yaml: argument --lr: invalid float value: 'fast'"),
        ("seed: [1, 2]", "bad.yaml: unexpected argument '2'"),
        ("gan_mode: x", "bad.yaml: argument --gan_mode: invalid choice: 'x'"),
        ("batch_size: 0", "--batch_size 0"),
        ("flip: maybe", "bad.yaml: argument --flip"),
        ("train: {lr: 1}", "bad.yaml: option train: {'lr': 1} is nested"),
        ("- lr", "bad.yaml: one `name: value` a line is expected"),
        ("lr: [", "bad.yaml is not YAML"),
        ("lr: !!python/object/apply:os.system [ls]", "bad.yaml is not YAML"),
    ],
)
def test_bad_files(text: str, words: str, complaint: Complaint) -> None:
    Path("bad.yaml").write_text(text)
    assert words in complaint(TrainOptions, "--options bad.yaml")


def test_several_processes_are_refused(complaint: Complaint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert train().model_name == "cyclegan"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "WORLD_SIZE is 2: training on several devices is not there yet" in complaint(TrainOptions, "")


# --- Names and help.


def test_a_suffix_holds_options_by_any_of_their_names() -> None:
    command = "--name n --model pix2pix --load_size 300 290 --suffix {model}_{netG}_{generator}_{load_size}_{input_nc}"
    assert train(command).run.name == "n_pix2pix_unet_256_unet_256_300x290_3"
    assert "suffix" not in train(command).as_dict()


def help_of(options: type[BaseOptions], command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit:
        options([*shlex.split(command), "--help"])
    assert exit.value.code == 0
    return capsys.readouterr().out


def test_help_shows_the_chosen_model_alone(capsys: pytest.CaptureFixture[str]) -> None:
    pages = {model: help_of(TrainOptions, f"--model {model}", capsys) for model in ("cyclegan", "pix2pix", "cgan")}
    for flag, owner in (("--lambda_A", "cyclegan"), ("--reconstruction", "pix2pix"), ("--noise_dim", "cgan")):
        assert [model for model, page in pages.items() if flag in page] == [owner]
    for model, page in pages.items():
        headings = [line for line in page.splitlines() if line.endswith(":") and not line.startswith(" ")]
        own = [
            "run:",
            "data:",
            f"model {model}:",
            "train:",
            "start:",
            "validation:",
            "metric_networks:",
            "acceleration:",
            "visuals:",
        ]
        assert headings == ["options:", *own]
    assert "--no-dropout" in pages["pix2pix"] and "--no-dropout" not in pages["cyclegan"]
    assert "(default: 286)" in pages["pix2pix"] and "(default: 28)" in pages["cgan"]


def test_help_of_a_preset_is_that_of_its_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--noise_dim" in help_of(TrainOptions, "--options digits", capsys)


def test_help_of_a_test_needs_no_run_and_leaves_out_what_the_run_knows(capsys: pytest.CaptureFixture[str]) -> None:
    page = help_of(TestOptions, "--name nowhere", capsys)
    assert "--num_test" in page and "--results_dir" in page
    assert "--netG" not in page and "--input_nc" not in page


# --- Options that a run has stored.


def save_run(command: str, folder: str = "checkpoints/run", epoch: str = "latest", in_channels: int = 3) -> None:
    options = train(command)
    model = build_model(options.model_name, options.model, DataSpec(in_channels))
    stream: Any = RandomStream(model)
    trainer = Trainer(model, stream, options.train, options=options.as_dict())
    path = Path(folder) / ("latest.pt" if epoch == "latest" else f"epoch_{epoch}.pt")
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(trainer.state_dict(), path)


PIX2PIX = f"--model pix2pix {TINY} --direction BtoA --crop_size 64 --load_size 72 --lr 0.001"
CYCLEGAN = f"--model cyclegan {TINY} --crop_size 64 --load_size 72"


def test_continuing_takes_over_the_options_but_those_given() -> None:
    save_run(f"{PIX2PIX} --lambda_L1 5 --max_dataset_size 9 --overwrite")
    options = train("--name run --continue_train --n_epochs 7 --lr_policy step")
    expected = train(f"{PIX2PIX} --lambda_L1 5 --max_dataset_size 9 --n_epochs 7 --lr_policy step --name run").as_dict()
    assert options.as_dict() == expected | {"continue_train": True}
    assert options.checkpoint is not None and options.path == Path("checkpoints/run/latest.pt")


def test_continuing_from_a_numbered_checkpoint() -> None:
    save_run(f"{PIX2PIX} --seed 1")
    save_run(f"{PIX2PIX} --seed 2", epoch="5")
    assert train("--name run --continue_train").run.seed == 1
    assert train("--name run --continue_train --epoch 5").run.seed == 2


def test_continuing_finds_a_run_by_its_suffix_and_folder() -> None:
    save_run(f"{PIX2PIX} --seed 4", folder="other/run_pix2pix")
    command = "--name run --model pix2pix --suffix {model} --checkpoints_dir other --continue_train"
    options = train(command)
    assert (options.run.seed, options.run.folder) == (4, Path("other/run_pix2pix"))
    assert options.resume_command == "python train.py --name run_pix2pix --checkpoints_dir other --continue_train"
    assert train(shlex.join(shlex.split(options.resume_command)[2:])).run.seed == 4


def test_continuing_in_a_file() -> None:
    save_run(f"{PIX2PIX} --seed 4")
    assert train(f"--options {write('o.yaml', name='run', continue_train=True)}").run.seed == 4


def test_a_run_that_was_moved_stays_where_it_is() -> None:
    save_run(f"{PIX2PIX} --name made --checkpoints_dir elsewhere")
    assert train("--name run --continue_train").run.folder == Path("checkpoints/run")


def test_continuing_as_another_model(complaint: Complaint) -> None:
    save_run(PIX2PIX)
    words = complaint(TrainOptions, "--name run --continue_train --model cyclegan")
    assert "--model cyclegan: checkpoints/run/latest.pt is a pix2pix" in words
    words = complaint(TestOptions, "--name run --model cycle_gan")
    assert "--model cyclegan: checkpoints/run/latest.pt is a pix2pix" in words


def test_a_missing_checkpoint(complaint: Complaint) -> None:
    save_run(PIX2PIX)
    assert "--epoch can be: latest" in complaint(TrainOptions, "--name run --continue_train --epoch 3")
    assert "--epoch can be: latest" in complaint(TestOptions, "--name run --load_iter 500")
    assert "runs beside it: run" in complaint(TestOptions, "--name ran")


def test_a_checkpoint_without_options(complaint: Complaint) -> None:
    Path("checkpoints/run").mkdir(parents=True)
    content = {"options": {}, "spec": {}, "model": {}, "ema": None, "step": 0}
    checkpoint.save(content, Path("checkpoints/run/latest.pt"))
    assert "does not say which of the models" in complaint(TestOptions, "--name run")


def test_a_model_is_given_data_that_it_can_learn_from(complaint: Complaint) -> None:
    words = complaint(TrainOptions, "--model pix2pix --dataroot d --dataset_mode unaligned")
    assert "--dataset_mode unaligned: pix2pix learns from aligned data" in words
    assert train("--model cyclegan --dataroot d --dataset_mode aligned").data.dataset_mode == "aligned"


def claim(options: TrainOptions) -> None:
    resumed = options.path if options.train.continue_train else None
    claim_folder(options.run.folder, options.saved(), resumed=resumed, overwrite=options.train.overwrite).release()


def test_a_run_folder_is_refused_continued_or_put_aside(complaint: Complaint) -> None:
    save_run(PIX2PIX)
    save_run(PIX2PIX, epoch="3")
    with pytest.raises(UserError, match="--continue_train.*--overwrite"):
        claim(train(f"{PIX2PIX} --name run"))
    claim(train("--name run --continue_train"))
    assert len(list(Path("checkpoints/run").glob("*.pt"))) == 2
    claim(train(f"{PIX2PIX} --name run --overwrite"))
    held = {path.name for path in Path("checkpoints/run").iterdir()}
    assert held == {"options.yaml", ".lock", "latest.pt.replaced", "epoch_3.pt.replaced"}


def test_the_saved_file_starts_the_same_run() -> None:
    options = train(f"{CYCLEGAN} --name run --identity l2")
    claim(options)
    assert train("--options checkpoints/run/options.yaml").as_dict() == options.as_dict()


def test_a_test_takes_the_model_and_the_layout_from_its_run() -> None:
    save_run(f"{PIX2PIX} --batch_size 3 --seed 5 --max_dataset_size 9")
    options = translate("--name run")
    assert (options.model_name, options.model.generator, options.model.num_downs) == ("pix2pix", "unet", 3)
    assert (options.data.direction, options.data.dataset_mode) == ("BtoA", "aligned")
    assert options.data.crop_size == options.data.load_size == (64, 64)
    assert (options.data.phase, options.data.preprocess, options.data.flip) == ("test", "none", False)
    assert (options.run.seed, options.data.max_dataset_size, options.opposite) == (0, None, False)
    assert load_translator(options).model.config == train(PIX2PIX).model
    assert options.folder == Path("results/run/test_latest")


def test_a_test_of_a_run_under_the_name_test() -> None:
    save_run(PIX2PIX)
    options = translate("--name run --model test --no_dropout --dataset_mode single --direction BtoA --dataroot d")
    assert (options.model_name, options.model.dropout, options.data.dataset_mode) == ("pix2pix", False, "single")


def test_the_other_direction_is_a_cyclegans_other_generator(complaint: Complaint) -> None:
    save_run(CYCLEGAN)
    options = translate("--name run --direction BtoA")
    assert options.opposite and load_translator(options).target == "a"
    assert tuple(options.labels) == ("real_B", "fake_A", "real_A")
    save_run(PIX2PIX)
    assert translate("--name run --direction BtoA").labels == ("real_A", "fake_B", "real_B")
    words = complaint(TestOptions, "--name run --direction AtoB")
    assert "is a pix2pix trained BtoA" in words


def test_channels_follow_the_direction() -> None:
    save_run(f"{CYCLEGAN} --input_nc 1 --lambda_identity 0", in_channels=1)
    for direction, channels in (("AtoB", (1, 3)), ("BtoA", (3, 1))):
        options = translate(f"--name run --direction {direction} --dataroot d --num_test 4")
        images = input_config(options, load_translator(options))
        assert (images.in_channels, images.out_channels) == channels
        assert (images.direction, images.max_dataset_size) == (direction, 4)


def test_an_input_goes_before_the_layout_of_the_run() -> None:
    save_run(PIX2PIX)
    options = translate("--name run --input photos/dogs --dataroot d")
    images = input_config(options, load_translator(options))
    assert (images.dataroot, images.dataset_mode) == ("photos/dogs", "single")
    assert options.folder == Path("results/run/dogs_latest")
    assert translate("--name run --input .").folder.name == f"{Path.cwd().name}_latest"


def test_another_architecture_is_named(complaint: Complaint) -> None:
    save_run(PIX2PIX)
    with pytest.raises(ValueError, match="--generator_filters.*8.*4"):
        load_translator(translate("--name run --ngf 8"))


def test_sizes_without_an_effect_are_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    save_run(PIX2PIX)
    assert translate("--name run --crop_size 512 --preprocess resize_and_crop").data.load_size == (512, 512)
    assert "no effect" not in capsys.readouterr().err
    translate("--name run --load_size 512")
    assert "sizes have no effect with --preprocess none" in capsys.readouterr().err


# --- Runs of the reference implementation.

SMALL = Architecture("generator", "resnet_6blocks", dict(in_channels=3, out_channels=3, filters=2, norm="instance"))


def save_reference_run(*networks: str, epoch: str = "latest") -> None:
    Path("checkpoints/old").mkdir(parents=True, exist_ok=True)
    for network in networks:
        save_reference("checkpoints/old", epoch, network, build(SMALL).state_dict(), SMALL)


def test_a_pretrained_generator() -> None:
    save_reference_run("G")
    options = translate("--dataroot d --name old --model test --no_dropout")
    assert options.weights == Path("checkpoints/old/latest_net_G.pth")
    translator = load_translator(options)
    assert translator.model.config.generator_filters == 2
    assert translator.translate(torch.zeros(1, 3, 16, 16)).shape == (1, 3, 16, 16)
    assert tuple(options.labels) == ("real", "fake", "truth")
    assert (options.data.dataset_mode, options.folder) == ("single", Path("results/old/test_latest"))


@pytest.mark.parametrize(
    ("command", "name", "opposite"),
    [
        ("--model cycle_gan", "latest_net_G_A.pth", False),
        ("--model cycle_gan --direction BtoA", "latest_net_G_B.pth", True),
        ("--model test --model_suffix _B", "latest_net_G_B.pth", True),
        ("--model cycle_gan --epoch 20", "20_net_G_A.pth", False),
        ("--model cycle_gan --load_iter 500", "iter_500_net_G_A.pth", False),
    ],
)
def test_which_file_of_a_reference_run(command: str, name: str, opposite: bool) -> None:
    for epoch in ("latest", "20", "iter_500"):
        save_reference_run("G_A", "G_B", "D_A", epoch=epoch)
    options = translate(f"--dataroot d --name old {command}")
    assert options.weights is not None and options.weights.name == name
    assert options.opposite is opposite and options.data.direction == ("BtoA" if opposite else "AtoB")
    assert options.folder.name == f"test_{name.split('_net_')[0]}" + ("_BtoA" if opposite else "")


def test_a_missing_file_of_a_reference_run(complaint: Complaint) -> None:
    save_reference_run("G_A", "G_B")
    words = complaint(TestOptions, "--name old --epoch 7")
    assert "7_net_G_A.pth does not exist; there are: latest_net_G_A.pth, latest_net_G_B.pth" in words
    assert "latest_net_G_C.pth does not exist" in complaint(TestOptions, "--name old --model_suffix _C")


def test_a_run_of_ours_goes_before_reference_files_beside_it() -> None:
    save_reference_run("G")
    save_run(PIX2PIX, folder="checkpoints/old")
    options = translate("--name old")
    assert options.weights is None and options.model_name == "pix2pix"


def test_a_given_norm_overrides_what_the_weights_say() -> None:
    save_reference_run("G")
    weights = "--reference_weights checkpoints/old/latest_net_G.pth"
    assert load_translator(translate(weights)).model.config.norm == "instance"
    assert load_translator(translate(f"{weights} --norm none")).model.config.norm == "none"
    assert load_translator(translate(f"{weights} --options {write('o.yaml', norm='none')}")).model.config.norm == "none"


def test_small_negative_numbers_and_none_go_round_through_a_checkpoint() -> None:
    options = train("--dataroot d --in_range -0.00001 255")
    tokens = tokens_from(options.as_dict())
    parser = options.parser()
    assert from_values(DataConfig, parser.defaults | parser.given(tokens)).in_range == (-1e-05, 255.0)
    assert train("--dataroot d --in_range none").data.in_range is None


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("--x 3:\nno such thing"), 2, "tool: error: --x 3: no such thing (--help lists the options)\n"),
        (KeyboardInterrupt(), 130, "tool: interrupted\n"),
    ],
)
def test_a_tool_ends_with_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended, OptionParser(prog="tool").one_line():
        raise error
    assert (ended.value.code, capsys.readouterr().err) == (code, line)
