"""Every flag of the reference implementation, of all its generations: the same meaning, or a notice."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from options.test_options import TestOptions
from options.train_options import TrainOptions

Cases = list[tuple[str, str, Any]]  # command, the option of ours that it sets, to what


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(command: str) -> TrainOptions:
    return TrainOptions(shlex.split(command))


def translate(command: str) -> TestOptions:
    return TestOptions(["--reference_weights", "g.pth", *shlex.split(command)])


SAME: Cases = [
    ("--dataroot d", "dataroot", "d"),
    ("--name n", "name", "n"),
    ("--checkpoints_dir c", "checkpoints_dir", "c"),
    ("--model cycle_gan", "model", "cyclegan"),
    ("--model pix2pix", "model", "pix2pix"),
    ("--input_nc 1", "in_channels", 1),
    ("--output_nc 1", "out_channels", 1),
    ("--ngf 32", "generator_filters", 32),
    ("--ndf 32", "discriminator_filters", 32),
    *((f"--netD {name}", "discriminator", name) for name in ("basic", "n_layers", "pixel")),
    *((f"--netG {name}", "generator", name) for name in ("resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128")),
    ("--n_layers_D 4", "n_layers_D", 4),
    *((f"--norm {name}", "norm", name) for name in ("instance", "batch", "none")),
    ("--norm syncbatch", "norm", "batch"),
    ("--norm sync_batch", "norm", "batch"),
    ("--norm=sync_instance", "norm", "instance"),
    *((f"--init_type {name}", "init_type", name) for name in ("normal", "xavier", "kaiming", "orthogonal")),
    ("--init_gain 0.1", "init_gain", 0.1),
    ("--no_dropout", "dropout", False),
    *((f"--dataset_mode {name}", "dataset_mode", name) for name in ("unaligned", "aligned")),
    ("--direction BtoA", "direction", "BtoA"),
    ("--serial_batches", "serial_batches", True),
    ("--num_threads 0", "num_threads", 0),
    ("--batch_size 3", "batch_size", 3),
    ("--load_size 300", "load_size", [300, 300]),
    ("--load_size 320 290", "load_size", [320, 290]),
    ("--crop_size 128", "crop_size", [128, 128]),
    ("--max_dataset_size 7", "max_dataset_size", 7),
    ("--max_dataset_size inf", "max_dataset_size", None),
    *(
        (f"--preprocess {name}", "preprocess", name)
        for name in ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none")
    ),
    ("--no_flip", "flip", False),
    ("--verbose", "verbose", True),
    ("--phase val", "phase", "val"),
]
SAME_IN_TRAINING: Cases = [
    ("--display_freq 10", "display_freq", 10),
    ("--print_freq 10", "print_freq", 10),
    ("--use_wandb", "wandb", True),
    ("--wandb_project_name p", "wandb_project", "p"),
    ("--save_latest_freq 10", "save_latest_freq", 10),
    ("--save_epoch_freq 10", "save_epoch_freq", 10),
    ("--n_epochs 3", "n_epochs", 3),
    ("--n_epochs_decay 0", "n_epochs_decay", 0),
    ("--beta1 0.9", "beta1", 0.9),
    ("--lr 2e-3", "lr", 0.002),
    *((f"--gan_mode {name}", "gan_mode", name) for name in ("vanilla", "lsgan", "wgangp")),
    ("--pool_size 0", "pool_size", 0),
    *((f"--lr_policy {name}", "lr_policy", name) for name in ("linear", "step", "plateau", "cosine")),
    ("--lr_decay_iters 5", "lr_decay_iters", 5),
    ("--lambda_A 5", "lambda_A", 5.0),
    ("--lambda_B 5", "lambda_B", 5.0),
    ("--lambda_identity 0", "lambda_identity", 0.0),
    ("--model pix2pix --lambda_L1 10", "reconstruction", "10.0*l1"),
]
SAME_IN_TESTS: Cases = [
    ("--results_dir r", "results_dir", "r"),
    ("--epoch 5", "epoch", "5"),
    ("--load_iter 0", "epoch", "latest"),
    ("--eval", "eval", True),
    ("--num_test 5", "num_test", 5),
    ("--num_test inf", "num_test", None),
    ("--model test", "model", "test"),
]
RETIRED: Cases = [
    ("--gpu_ids -1", "device", "cpu"),
    ("--gpu_ids=-1", "device", "cpu"),
    ("--gpu_ids 0", "device", "cuda:0"),
    ("--gpu_ids 1,0", "device", "cuda:1"),
    ("--batchSize 3", "batch_size", 3),
    ("--loadSize=300", "load_size", [300, 300]),
    ("--fineSize 128", "crop_size", [128, 128]),
    ("--resize_or_crop scale_width", "preprocess", "scale_width"),
    ("--which_model_netG unet_128", "generator", "unet_128"),
    ("--which_model_netD pixel", "discriminator", "pixel"),
    ("--which_direction BtoA", "direction", "BtoA"),
    ("--nThreads 0", "num_threads", 0),
]
RETIRED_IN_TRAINING: Cases = [
    ("--niter 3", "n_epochs", 3),
    ("--niter_decay 3", "n_epochs_decay", 3),
    ("--no_lsgan", "gan_mode", "vanilla"),
    ("--display_env e", "visdom_env", "e"),
    ("--display_server http://s", "visdom_server", "http://s"),
    ("--display_port 99", "visdom_port", 99),
    ("--model pix2pix --lambda_A 50", "reconstruction", "50.0*l1"),
]
RETIRED_IN_TESTS: Cases = [
    ("--which_epoch 5", "epoch", "5"),
    ("--load_iter 500", "epoch", "iter_500"),
    ("--how_many 5", "num_test", 5),
    ("--ntest inf", "num_test", None),
]
IGNORED = ["--display_winsize 256", "--display_id 0", "--display_ncols=4"]
IGNORED_IN_TRAINING = [
    "--update_html_freq 100",
    "--no_html",
    "--save_by_iter",
    "--epoch_count 1",
    "--model pix2pix --pool_size 0",
    "--model pix2pix --lambda_B 10",
    "--model pix2pix --lambda_identity 0.5",
]
IGNORED_IN_TESTS = [
    "--aspect_ratio 1.0",
    "--display_server http://s",
    "--display_port 1",
    "--display_env e",
    "--use_wandb",
    "--wandb_project_name p",
]


@pytest.mark.parametrize(("command", "name", "value"), SAME + SAME_IN_TRAINING)
def test_flags_of_the_reference_mean_the_same_in_training(
    command: str, name: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(command).as_dict()[name] == value
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("command", "name", "value"), SAME + SAME_IN_TESTS)
def test_flags_of_the_reference_mean_the_same_in_tests(command: str, name: str, value: Any) -> None:
    assert translate(command).as_dict()[name] == value


@pytest.mark.parametrize(("command", "name", "value"), RETIRED + RETIRED_IN_TRAINING)
def test_retired_flags_still_work_in_training(
    command: str, name: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(command).as_dict()[name] == value
    assert capsys.readouterr().err.count("train.py: note: ") == 1


@pytest.mark.parametrize(("command", "name", "value"), RETIRED + RETIRED_IN_TESTS)
def test_retired_flags_still_work_in_tests(
    command: str, name: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert translate(command).as_dict()[name] == value
    assert "test.py: note: " in capsys.readouterr().err


@pytest.mark.parametrize("command", IGNORED + IGNORED_IN_TRAINING)
def test_flags_without_a_meaning_are_ignored_in_training(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = "--model pix2pix" if "pix2pix" in command else ""
    assert train(f"{command} --seed 3").as_dict() == train(f"{model} --seed 3").as_dict()
    assert capsys.readouterr().err.count("is ignored: ") == 1


@pytest.mark.parametrize("command", IGNORED + IGNORED_IN_TESTS)
def test_flags_without_a_meaning_are_ignored_in_tests(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert translate(f"{command} --seed 3").as_dict() == translate("--seed 3").as_dict()
    assert capsys.readouterr().err.count("is ignored: ") == 1


COMMANDS: dict[str, dict[str, Any]] = {  # of the reference's README and scripts, of two generations
    "train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --pool_size 50 --no_dropout": {
        "model": "cyclegan",
        "dropout": False,
    },
    "train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --netG unet_256 --direction BtoA "
    "--lambda_L1 100 --dataset_mode aligned --norm batch --pool_size 0": {
        "reconstruction": "100.0*l1",
        "direction": "BtoA",
    },
    "train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --which_model_netG unet_256 "
    "--which_direction BtoA --lambda_A 100 --dataset_mode aligned --no_lsgan --norm batch --pool_size 0 "
    "--display_id 0": {"reconstruction": "100.0*l1", "direction": "BtoA", "gan_mode": "vanilla"},
    "train.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization": {
        "model": "pix2pix",
        "dataset_mode": "aligned",
        "derive": "colorization",
    },
    "test.py --dataroot ./datasets/colorization --name color --model=colorization --dataset_mode colorization": {
        "dataset_mode": "aligned",
        "derive": "colorization",
    },
    "test.py --dataroot ./datasets/facades/testB/ --name facades_pix2pix --model test "
    "--netG unet_256 --direction BtoA --dataset_mode single --norm batch": {"dataset_mode": "single", "norm": "batch"},
    "test.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --phase test --no_dropout": {
        "phase": "test",
        "dataset_mode": "unaligned",
    },
}


@pytest.mark.parametrize("command", COMMANDS)
def test_whole_commands_of_the_reference(command: str) -> None:
    program, _, arguments = command.partition(" ")
    values = (train if program == "train.py" else translate)(arguments).as_dict()
    assert {name: values[name] for name in COMMANDS[command]} == COMMANDS[command]
