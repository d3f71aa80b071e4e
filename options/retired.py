"""Flags of the reference implementation and its predecessors: today's names, or why they are ignored."""

from collections.abc import Callable, Mapping, Sequence

from i2i.errors import UserError

Notice = Callable[[str], None]
Ignored = dict[str, tuple[bool, str]]  # flag -> (it takes a value, why it is ignored)

# Old name -> today's name, with the same values.
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
    "--display_id": (True, "--visdom opens a visdom window"),
    "--display_ncols": (True, "the layout of samples is automatic"),
    "--display_winsize": (True, "pages scale their pictures"),
    "--update_html_freq": (True, "the page is written with every sample, see --display_freq"),
    "--no_html": (False, "the page costs almost nothing"),
    "--save_by_iter": (False, "latest.pt is replaced, epochs are kept as epoch_<N>.pt"),
    "--epoch_count": (True, "--continue_train knows its epoch"),
    "--aspect_ratio": (True, "results have the size of their inputs"),
}

# Flags with another meaning, or none, for one model.
RENAMED_FOR = {"pix2pix": {"--lambda_A": "--lambda_L1"}}
IGNORED_FOR: dict[str, Ignored] = {
    "pix2pix": {
        "--pool_size": (True, "pix2pix has no image pool"),
        "--lambda_B": (True, "pix2pix has no cycle"),
        "--lambda_identity": (True, "pix2pix has no identity loss"),
    }
}

# Values with another name. On one device batch norm is synchronised anyway.
VALUES = {
    "--model": {"cycle_gan": "cyclegan"},
    "--norm": {"syncbatch": "batch", "sync_batch": "batch", "sync_instance": "instance"},
    "--max_dataset_size": {"inf": "none"},
    "--num_test": {"inf": "none"},
}

# Colorization was a model and a layout of its own; now it is a way to make pairs.
DERIVED = ["--derive", "colorization"]
EXPANDED = {
    ("--model", "colorization"): ["--model", "pix2pix", *DERIVED],
    ("--dataset_mode", "colorization"): ["--dataset_mode", "aligned", *DERIVED],
}


def modernise(
    tokens: Sequence[str], notice: Notice, renamed: Mapping[str, str] = RENAMED, ignored: Ignored = IGNORED
) -> list[str]:
    """Replace retired flags and values by today's, and pass a message about each to `notice`.

    Raises:
        UserError: for a value that a retired flag does not take.
    """
    result: list[str] = []
    rest = list(tokens)
    while rest:
        name, equals, value = _undouble(rest.pop(0)).partition("=")
        if name.replace("--no-", "--", 1) in ignored and name not in ignored:  # `flag: false` in a file
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
    """Replace flags that have another meaning, or none, for `model`."""
    return modernise(tokens, notice, RENAMED_FOR.get(model, {}), IGNORED_FOR.get(model, {}))


def _take_value(rest: list[str]) -> str:
    return rest.pop(0) if rest and not rest[0].startswith("--") else ""


def _undouble(token: str) -> str:
    """Turn `--no-no_flip`, which `no_flip: false` in a file gives, into `--flip`."""
    name = token.removeprefix("--no-no_")
    return token if name == token or f"--no_{name}" in IGNORED else f"--{name}"


def _device(gpu_ids: str) -> list[str]:
    """Return the flag for the first of the devices; a run is trained on one."""
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
