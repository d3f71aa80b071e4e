"""Flags of earlier frameworks: what they are called now, or why they are not needed any more."""

from collections.abc import Callable, Sequence

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
    "--identity": "--lambda_identity",
    "--how_many": "--num_test",
    "--ntest": "--num_test",
    "--display_env": "--visdom_env",
    "--display_server": "--visdom_server",
    "--display_port": "--visdom_port",
}

# Old flag -> the tokens that say the same.
REWRITTEN = {
    "--no_lsgan": ["--gan_mode", "vanilla"],
}

# Flag -> (how many values it takes, why it is left out).
IGNORED: dict[str, tuple[int, str]] = {
    "--use_wandb": (0, "no Weights & Biases board yet; metrics.jsonl, the curves and the page are always written"),
    "--wandb_project_name": (1, "no Weights & Biases board yet"),
    "--display_id": (1, "a visdom window is asked for with --visdom"),
    "--display_ncols": (1, "samples are laid out by themselves"),
    "--display_winsize": (1, "pages scale their pictures"),
    "--update_html_freq": (1, "the page is written with every sample, see --display_freq"),
    "--no_html": (0, "the page costs next to nothing"),
    "--save_by_iter": (0, "latest.pt is replaced as a whole, epochs are kept as epoch_<N>.pt"),
    "--epoch_count": (1, "--continue_train knows its epoch"),
    "--aspect_ratio": (1, "results have the size of their inputs"),
}

# Values that have another name here.
ALIASES = {
    "--model": {"cycle_gan": "cyclegan"},
    "--resize_or_crop": {},
    "--norm": {"sync_batch": "batch", "sync_instance": "instance", "syncbatch": "batch"},
    "--max_dataset_size": {"inf": str(2**62)},
    "--ntest": {"inf": str(2**62)},
}


def modernise(tokens: Sequence[str], notice: Callable[[str], None]) -> list[str]:
    """Replace retired flags and values by today's; `notice` is told of every retired flag."""
    result: list[str] = []
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        name, equals, value = token.partition("=")
        if name in IGNORED:
            count, reason = IGNORED[name]
            notice(f"{name} is ignored: {reason}")
            del rest[: 0 if equals else count]
        elif name in REWRITTEN:
            notice(f"{name} is now {' '.join(REWRITTEN[name])}")
            result += REWRITTEN[name]
        elif name == "--gpu_ids":
            result += ["--device", _device(value if equals else rest.pop(0) if rest else "", notice)]
        else:
            if name in RENAMED:
                notice(f"{name} is now {RENAMED[name]}")
            values = ALIASES.get(name, {})
            result.append(RENAMED.get(name, name) + equals + values.get(value, value))
            if not equals and rest and rest[0] in values:
                result.append(values[rest.pop(0)])
    return result


def _device(gpu_ids: str, notice: Callable[[str], None]) -> str:
    first, *others = gpu_ids.split(",")
    if others:
        notice(f"--gpu_ids {gpu_ids}: one device trains a run, the first is taken")
    device = "cpu" if first.startswith("-") else f"cuda:{first}"
    notice(f"--gpu_ids {gpu_ids} is now --device {device}")
    return device
