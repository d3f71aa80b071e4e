"""Flags of earlier frameworks: what they are called now, or why they are not needed any more."""

from collections.abc import Callable, Mapping, Sequence

from i2i.errors import UserError

Notice = Callable[[str], None]
Ignored = dict[str, tuple[bool, str]]  # flag -> whether it takes a value, why it is left out

# Old name -> today's name, taking the same values.
RENAMED = {
    "--batchSize": "--batch_size",
    "--loadSize": "--load_size",
    "--fineSize": "--crop_size",
    "--resize_or_crop": "--preprocess",
    "--which_model_netG": "--netG",
    "--which_model_netD": "--netD",
    "--which_direction": "--direction",
    "--which_epoch": "--epoch",
    "--nThreads": "--num_threads",
    "--niter": "--n_epochs",
    "--niter_decay": "--n_epochs_decay",
    "--how_many": "--num_test",
    "--ntest": "--num_test",
    "--no_lsgan": "--gan_mode=vanilla",
    "--display_env": "--visdom_env",
    "--display_server": "--visdom_server",
    "--display_port": "--visdom_port",
}

IGNORED: Ignored = {
    "--display_id": (True, "a visdom window is asked for by --visdom"),
    "--display_ncols": (True, "samples are laid out by themselves"),
    "--display_winsize": (True, "pages scale their pictures"),
    "--update_html_freq": (True, "the page is written with every sample, see --display_freq"),
    "--no_html": (False, "the page costs next to nothing"),
    "--save_by_iter": (False, "latest.pt is replaced as a whole, epochs are kept as epoch_<N>.pt"),
    "--epoch_count": (True, "--continue_train knows its epoch"),
    "--aspect_ratio": (True, "results have the size of their inputs"),
}

# What means something else, or nothing, for one model alone.
RENAMED_FOR = {"pix2pix": {"--lambda_A": "--lambda_L1"}}
IGNORED_FOR: dict[str, Ignored] = {
    "pix2pix": {
        "--pool_size": (True, "pix2pix shows its discriminator the newest images only"),
        "--lambda_B": (True, "pix2pix has no second cycle"),
        "--lambda_identity": (True, "pix2pix has no identity loss"),
    }
}

# Values that have another name here. One device normalises over all of its batch anyway.
VALUES = {
    "--model": {"cycle_gan": "cyclegan"},
    "--norm": {"syncbatch": "batch", "sync_batch": "batch", "sync_instance": "instance"},
    "--max_dataset_size": {"inf": "none"},
    "--num_test": {"inf": "none"},
}

# What was a model and a layout of its own is now a way to make pairs.
DERIVED = ["--derive", "colorization"]
EXPANDED = {
    ("--model", "colorization"): ["--model", "pix2pix", *DERIVED],
    ("--dataset_mode", "colorization"): ["--dataset_mode", "aligned", *DERIVED],
}


def modernise(
    tokens: Sequence[str], notice: Notice, renamed: Mapping[str, str] = RENAMED, ignored: Ignored = IGNORED
) -> list[str]:
    """Replace retired flags and values by today's; `notice` is told of every retired flag.

    Raises:
        ValueError: for a value that a retired flag does not take.
    """
    result: list[str] = []
    rest = list(tokens)
    while rest:
        name, equals, value = _undouble(rest.pop(0)).partition("=")
        if name.replace("--no-", "--", 1) in ignored and name not in ignored:  # false in a file
            continue
        if name in ignored:
            takes_value, reason = ignored[name]
            if takes_value and not equals:
                _take_value(rest)
            notice(f"{name} is ignored: {reason}")
        elif name in REWRITTEN:
            given = value if equals else _take_value(rest)
            today = REWRITTEN[name](given)
            notice(f"{name} {given} is now {' '.join(today) or 'the default'}")
            result += today
        else:
            today_name = renamed.get(name, name)
            if today_name != name:
                notice(f"{name} is now {today_name}")
            words = VALUES.get(today_name, {})
            said = value if equals else (rest[0] if rest else "")
            if (today_name, said) in EXPANDED:
                result += EXPANDED[today_name, said]
                del rest[: not equals]
                continue
            result.append(today_name + equals + words.get(value, value))
            if not equals and rest and rest[0] in words:
                result.append(words[rest.pop(0)])
    return result


def for_model(tokens: Sequence[str], model: str, notice: Notice) -> list[str]:
    """Replace what has another meaning, or none, for `model`."""
    return modernise(tokens, notice, RENAMED_FOR.get(model, {}), IGNORED_FOR.get(model, {}))


def _take_value(rest: list[str]) -> str:
    return rest.pop(0) if rest and not rest[0].startswith("--") else ""


def _undouble(token: str) -> str:
    """`--no-no_flip`, which is `no_flip: false` in a file, says `--flip`."""
    name = token.removeprefix("--no-no_")
    return token if name == token or f"--no_{name}" in IGNORED else f"--{name}"


def _device(gpu_ids: str) -> list[str]:
    """A run is trained on one device, the first of those given."""
    first = gpu_ids.split(",")[0]
    if not first.removeprefix("-").isdecimal():
        raise UserError(f"--gpu_ids {gpu_ids!r}: give the number of a CUDA device, or -1 for the CPU; see --device")
    return ["--device", "cpu" if first.startswith("-") else f"cuda:{first}"]


def _iteration(load_iter: str) -> list[str]:
    return [] if load_iter == "0" else ["--epoch", f"iter_{load_iter}"]


REWRITTEN: dict[str, Callable[[str], list[str]]] = {
    "--gpu_ids": _device,
    "--load_iter": _iteration,
}
