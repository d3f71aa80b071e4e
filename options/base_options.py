"""What the option classes of train.py and test.py share: tokens from files, retired names, one parser."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import yaml
from tqdm import tqdm

from i2i.config import OneLineParser, add_options, as_dict, from_namespace, tokens_from
from i2i.data import DataConfig
from i2i.models import MODELS
from i2i.run import RunConfig
from options.retired import ALIASES, modernise

PRESETS = Path(__file__).parent / "presets"


class LineHandler(logging.Handler):
    """Log lines that do not tear a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


class BaseOptions:
    """Command line to frozen option objects: `run`, `data`, `model` and what a subclass adds.

    Tokens come, first to last, from the defaults of the model, from `--options` files, and from `argv`; the last word
    wins. Bad input ends the program with one line and exit code 2.
    """

    program: ClassVar[str]
    description: ClassVar[str]
    models: ClassVar[tuple[str, ...]] = tuple(MODELS)
    default_model: ClassVar[str] = "cyclegan"
    defaults: ClassVar[dict[str, Any]] = {}
    run: RunConfig
    data: DataConfig
    model: Any
    model_name: str

    def __init__(self, argv: Sequence[str] | None = None) -> None:
        logging.basicConfig(level=logging.INFO, format=f"{self.program}: %(message)s", handlers=[LineHandler()])
        tokens = modernise(sys.argv[1:] if argv is None else argv, self.notice)
        self.one_line(lambda: self._parse(tokens))

    def sections(self) -> dict[str, type]:
        """Attribute name -> dataclass of options, in the order in which the help shows them."""
        return {"run": RunConfig, "data": DataConfig}

    def stored(self, tokens: list[str]) -> list[str]:
        """Tokens from the checkpoint of an earlier run, which come ahead of the given ones."""
        return []

    def _parse(self, given: list[str]) -> None:
        files = self._peek(given, "--options", nargs="+", default=[])
        tokens = [token for name in files for token in read_options(name)] + given
        tokens = self.stored(tokens) + tokens
        self.model_name = self._chosen_model(tokens)
        parser = self.parser()
        self.namespace = parser.parse_strictly(tokens)
        for title, config in self.sections().items():
            setattr(self, title, from_namespace(config, self.namespace))
        self.model = from_namespace(self.config_class, self.namespace)

    def _chosen_model(self, tokens: list[str]) -> str:
        name = self._peek(tokens, "--model", default=self.default_model)
        name = ALIASES["--model"].get(name, name)
        if name not in self.models:
            raise ValueError(f"--model {name!r}: choose from {', '.join(self.models)}")
        return name

    @property
    def config_class(self) -> type:
        """The dataclass of the chosen model's own options."""
        return MODELS[self.model_name].Config

    def parser(self) -> OneLineParser:
        """The parser for the chosen model: its own options, in groups."""
        epilog = f"--model X --help shows the options of X, which is one of {', '.join(self.models)}."
        parser = OneLineParser(prog=self.program, description=self.description, epilog=epilog)
        parser.add_argument(
            "--model", default=self.default_model, metavar="{" + ",".join(self.models) + "}", help="which model"
        )
        parser.add_argument(
            "--options", action="extend", nargs="+", metavar="FILE", help="YAML files of options, or names of presets"
        )
        defaults = {**self.model_defaults(), **self.defaults}
        for title, config in self.sections().items():
            add_options(parser, title, config, defaults)
            if title == "run":
                add_options(parser, f"model {self.model_name}", self.config_class)
        return parser

    def model_defaults(self) -> Mapping[str, Any]:
        """What the chosen model changes of the other sections' defaults."""
        return MODELS[self.model_name].defaults

    def as_dict(self) -> dict[str, Any]:
        """All options, flat, as plain values: what options.yaml and the checkpoint hold."""
        values: dict[str, Any] = {"model": self.model_name}
        for title in self.sections():
            values |= as_dict(getattr(self, title))
        return values | as_dict(self.model)

    @staticmethod
    def _peek(tokens: Sequence[str], flag: str, **arguments: Any) -> Any:
        """The value of one flag, before there is a parser that knows the others."""
        parser = OneLineParser(add_help=False)
        if arguments.get("nargs"):
            arguments["action"] = "extend"
        parser.add_argument(flag, dest="value", **arguments)
        return parser.parse_known_args(list(tokens))[0].value

    def one_line(self, work: Callable[[], Any]) -> Any:
        """Run `work`; what a user got wrong ends the program with one line and exit code 2."""
        try:
            return work()
        except (ValueError, OSError) as error:
            if "--verbose" in sys.argv:
                raise
            self.fail(str(error))

    def fail(self, message: str, code: int = 2) -> NoReturn:
        """End the program with one line."""
        print(f"{self.program}: error: {' '.join(message.split())}", file=sys.stderr)
        raise SystemExit(code)

    def notice(self, message: str) -> None:
        """One line on stderr that changes nothing."""
        print(f"{self.program}: note: {message}", file=sys.stderr)


def read_options(name: str) -> list[str]:
    """The tokens of a YAML file, or of a preset by its name.

    Raises:
        ValueError: if there is no such file or it is no flat list of options.
    """
    path = Path(name)
    if not path.is_file():
        path = PRESETS / f"{name}.yaml"
    if not path.is_file():
        presets = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.yaml")))
        raise ValueError(f"--options {name}: no such file, and the presets are: {presets}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--options {path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"--options {path}: one `name: value` a line is expected")
    return modernise(tokens_from(values), lambda message: None)
