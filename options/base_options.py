"""Shared by the option classes of train.py and test.py: command line, YAML files and checkpoints to dataclasses."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from i2i.acceleration import AccelerationConfig
from i2i.acceleration.choices import keeps_memory
from i2i.config import OptionParser, as_dict, expanded_path, from_values, tokens_from
from i2i.data import DataConfig
from i2i.errors import UserError, ending, file_errors
from i2i.models import MODELS
from i2i.process import keep_freed_memory
from i2i.run import RunConfig, checkpoint_path
from i2i.training import checkpoint
from options.retired import IGNORED, Ignored, for_model, modernise

PRESETS = Path(__file__).parent / "presets"

Source = tuple[str, list[str]]  # a file's name, or "" for the command line, and its tokens


class BaseOptions:
    """Frozen option objects from the command line: `run`, `data`, `model` and what a subclass adds.

    Values come from the defaults of the model, a checkpoint, `--options` files and `argv`; later ones win. Bad input
    ends the program with one line and exit code 2.
    """

    program: ClassVar[str]
    description: ClassVar[str]
    default_model: ClassVar[str] = "cyclegan"
    shown_model: ClassVar[str] = "cyclegan"  # the default in the help
    defaults: ClassVar[dict[str, Any]] = {}
    ignored: ClassVar[Ignored] = IGNORED
    run: RunConfig
    data: DataConfig
    model: Any
    model_name: str
    path: Path | None = None  # of the checkpoint, if there is one
    checkpoint: dict[str, Any] | None = None
    given: Collection[str] = ()  # names of the options that files and argv set

    def __init__(self, argv: Sequence[str] | None = None) -> None:
        self.argv = list(sys.argv[1:] if argv is None else argv)
        with ending(self.program, "--verbose" in self.argv):
            self._parse()

    def model_names(self) -> list[str]:
        """Return the values of `--model`."""
        return list(MODELS)

    def sections(self) -> dict[str, type]:
        """Return the dataclasses of options by attribute name, in the order of the help."""
        return {"run": RunConfig, "data": DataConfig}

    def stored(self, first: dict[str, Any]) -> dict[str, Any]:
        """Load the checkpoint of an earlier run, if `first` asks for one, and return its options."""
        return {}

    def early_configs(self) -> tuple[type, ...]:
        """Return the dataclasses of options that `stored` needs to know, besides those of `add_commands`."""
        return (RunConfig, AccelerationConfig)

    def _parse(self) -> None:
        sources = [*map(self._file, option_files(self.argv)), ("", self._modernised(self.argv))]
        first = self._first_look(sources)
        self.model_name = self._checked_model(first.get("model", self.default_model))
        if any({"-h", "--help"} & set(tokens) for _, tokens in sources):
            self.parser().parse_args(["--help"])
        # Before the first tensor, which a checkpoint may bring.
        if keeps_memory(first["keep_memory"]).value:
            keep_freed_memory()
        suffixed: dict[str, Any] = {}
        if suffix := first.get("suffix"):
            suffixed = {"name": f"{first['name']}_{self._fill(suffix, sources)}"}
        stored = self.stored(first | suffixed)
        self.model_name = self._stored_model(first.get("model"), stored.get("model"))
        parser = self.parser()
        given = parser.given_by([(s, for_model(t, self.model_name, self.notice)) for s, t in sources]) | suffixed
        self.given = given.keys()
        self._build(parser.defaults | stored | given)

    def _build(self, values: dict[str, Any]) -> None:
        for title, config in self.sections().items():
            setattr(self, title, from_values(config, values))
        self.model = from_values(self.config_class, values)

    def _first_look(self, sources: Sequence[Source]) -> dict[str, Any]:
        """Return the options that decide which others there are, with defaults."""
        parser = OptionParser(prog=self.program, add_help=False)
        self.add_commands(parser)
        for config in self.early_configs():
            parser.add_options("", config)
        return parser.defaults | parser.given_by(sources, strict=False)

    def _file(self, name: str) -> Source:
        path, tokens = read_options(name)
        return path, self._modernised(tokens, f"{path}: ")

    def _modernised(self, tokens: Sequence[str], about: str = "") -> list[str]:
        return modernise(tokens, lambda message: self.notice(f"{about}{message}"), ignored=self.ignored)

    def _checked_model(self, name: str) -> str:
        if name not in self.model_names():
            raise UserError(f"--model {name!r}: choose from {', '.join(self.model_names())}")
        return name

    def _stored_model(self, given: str | None, stored: str | None) -> str:
        """Return the model's name: that of the checkpoint, or the one that is given."""
        if given is not None and stored is not None and given not in (stored, "test"):
            raise UserError(f"--model {given}: {self.path} is a {stored}; leave --model out")
        return stored or self.model_name

    def _fill(self, suffix: str, sources: Sequence[Source]) -> str:
        """Return `--suffix` with the names of options in braces replaced by their values."""
        parser = self.parser()
        tokens = [token for _, tokens in sources for token in for_model(tokens, self.model_name, self.notice)]
        values = {"model": self.model_name} | parser.defaults | parser.given(tokens, strict=False)
        words = {name: "x".join(map(str, v)) if isinstance(v, list | tuple) else v for name, v in values.items()}
        try:
            return suffix.format_map(parser.by_every_name(words))
        except (KeyError, ValueError, AttributeError) as error:
            raise UserError(f"--suffix {suffix}: braces hold names of options, not {error}") from None

    @file_errors("--checkpoints_dir")
    def _load_checkpoint(self, folder: Path, epoch: str, mapped: bool = False) -> dict[str, Any]:
        """Load a checkpoint of the run in `folder`; return the options that it was saved with."""
        self.path = checkpoint_path(folder, epoch)
        self.checkpoint = checkpoint.load(self.path, mapped=mapped)
        if self.checkpoint["options"].get("model") not in MODELS:
            raise UserError(f"{self.path} does not say which of the models {', '.join(MODELS)} it holds")
        return self.checkpoint["options"]

    @property
    def config_class(self) -> type:
        """The dataclass of the model's own options."""
        return MODELS[self.model_name].Config

    def model_defaults(self) -> Mapping[str, Any]:
        """Return the defaults of other sections' options that the model replaces."""
        return MODELS[self.model_name].defaults

    def shown_defaults(self) -> dict[str, str | None]:
        """Return words for the help in place of defaults, or None for options that the help leaves out."""
        return {}

    def parser(self) -> OptionParser:
        """Build the parser for the chosen model."""
        parser = OptionParser(prog=self.program, description=self.description, epilog=self.epilog())
        self.add_commands(parser)
        defaults, shown = {**self.model_defaults(), **self.defaults}, self.shown_defaults()
        for title, config in self.sections().items():
            parser.add_options(title, config, defaults, shown)
            if title == "data":
                parser.add_options(f"model {self.model_name}", self.config_class, shown=shown)
        return parser

    def add_commands(self, parser: OptionParser) -> None:
        """Add the options that are in no dataclass: they decide on the others."""
        models = "{" + ",".join(self.model_names()) + "}"
        parser.add_argument("--model", metavar=models, help=f"model (default: {self.shown_model})")
        parser.add_argument(
            "--options",
            type=expanded_path,
            action="extend",
            nargs="+",
            metavar="FILE",
            help="YAML files of options, or names of presets",
        )
        parser.add_argument(
            "--suffix", metavar="TEXT", help="appended to the name; {lr} in it is replaced by the value of --lr"
        )

    def epilog(self) -> str:
        """Return the end of the help."""
        return f"Presets: {', '.join(presets())}. --model X --help shows the options of another model."

    def as_dict(self) -> dict[str, Any]:
        """Return all options by name, as plain values."""
        values: dict[str, Any] = {"model": self.model_name}
        for title in self.sections():
            values |= as_dict(getattr(self, title))
        return values | as_dict(self.model)

    def notice(self, message: str) -> None:
        """Print a note on stderr."""
        print(f"{self.program}: note: {message}", file=sys.stderr)


def option_files(argv: Sequence[str]) -> list[str]:
    """Return the values of `--options` on the command line."""
    names: list[str] = []
    takes = False
    for token in argv:
        if token.startswith("--options="):
            names.append(expanded_path(token.partition("=")[2]))
        elif takes and not token.startswith("-"):
            names.append(expanded_path(token))
        takes = token == "--options" or (takes and not token.startswith("-"))
    return names


def presets() -> list[str]:
    """Return the names of the presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


@file_errors("--options")
def read_options(name: str) -> Source:
    """Return the path and the tokens of a YAML file, or of the preset of that name.

    Raises:
        UserError: if there is no such file, or it is not a flat list of options.
    """
    path = Path(name) if Path(name).is_file() else PRESETS / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"--options {name}: no such file, and the presets are: {', '.join(presets())}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--options {path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"--options {path}: one `name: value` a line is expected")
    try:
        return str(path), tokens_from(values)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
