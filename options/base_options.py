"""What the option classes of train.py and test.py share: tokens from files, retired names, one parser."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import yaml
from tqdm import tqdm

from i2i.acceleration import AccelerationConfig
from i2i.acceleration.choices import keeps_memory
from i2i.config import OptionParser, as_dict, expanded_path, from_values, tokens_from
from i2i.data import DataConfig
from i2i.data.loader import worker_failure
from i2i.errors import UserError, end, ending, file_errors
from i2i.models import MODELS
from i2i.process import keep_freed_memory
from i2i.run import RunConfig, checkpoint_path
from i2i.training import checkpoint
from i2i.training.memory import is_out_of_memory
from options.retired import IGNORED, Ignored, for_model, modernise

PRESETS = Path(__file__).parent / "presets"

Source = tuple[str, list[str]]  # where tokens come from, nothing for the command line, and the tokens


class LineHandler(logging.Handler):
    """Log lines that do not tear a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


class BaseOptions:
    """Command line to frozen option objects: `run`, `data`, `model` and what a subclass adds.

    What is said comes, first to last, from the defaults of the model, a checkpoint, `--options` files, and `argv`; the
    last word wins. Bad input ends the program with one line and exit code 2.
    """

    program: ClassVar[str]
    description: ClassVar[str]
    models: ClassVar[tuple[str, ...]] = tuple(MODELS)
    default_model: ClassVar[str] = "cyclegan"
    shown_model: ClassVar[str] = "cyclegan"  # what the help says of that
    defaults: ClassVar[dict[str, Any]] = {}
    ignored: ClassVar[Ignored] = IGNORED
    sources: list[Source]
    run: RunConfig
    data: DataConfig
    model: Any
    model_name: str
    path: Path  # of the checkpoint, if there is one
    checkpoint: dict[str, Any] | None = None
    given: Collection[str] = ()  # the options that files and argv set

    def __init__(self, argv: Sequence[str] | None = None) -> None:
        logging.basicConfig(level=logging.INFO, format=f"{self.program}: %(message)s", handlers=[LineHandler()])
        self.argv = list(sys.argv[1:] if argv is None else argv)
        self.one_line(self._parse)

    def sections(self) -> dict[str, type]:
        """Attribute name -> dataclass of options, in the order in which the help shows them."""
        return {"run": RunConfig, "data": DataConfig}

    def stored(self) -> dict[str, Any]:
        """Options from the checkpoint of an earlier run, if one is asked for; the given ones come behind these."""
        return {}

    def _parse(self) -> None:
        self.sources = [("", modernise(self.argv, self.notice, ignored=self.ignored))]
        self.sources = [*map(self._file, self._peek().get("options", [])), *self.sources]
        self.model_name = self._chosen_model()
        if any({"-h", "--help"} & set(tokens) for _, tokens in self.sources):
            self.parser().parse_args(["--help"])
        self.sources.append(("", self._suffixed_name()))
        if keeps_memory(self._peek(AccelerationConfig)["keep_memory"]).value:
            keep_freed_memory()  # ahead of the first tensor, which a checkpoint may bring
        stored = self.stored()
        self.model_name = self._chosen_model(stored.get("model"))
        parser = self.parser()
        values = parser.defaults | parser.given(tokens_from(stored), "the checkpoint")
        given: dict[str, Any] = {}
        for source, tokens in self.sources:
            given |= parser.given(for_model(tokens, self.model_name, self.notice), source)
        self.given = given.keys()
        self._build(values | given)

    def _build(self, values: dict[str, Any]) -> None:
        for title, config in self.sections().items():
            setattr(self, title, from_values(config, values))
        self.model = from_values(self.config_class, values)

    def _file(self, name: str) -> Source:
        path, tokens = read_options(name)
        return path, modernise(tokens, lambda message: self.notice(f"{path}: {message}"), ignored=self.ignored)

    def _peek(self, *configs: type) -> dict[str, Any]:
        """What is said before it is known for which model; with the defaults of `configs`."""
        parser = OptionParser(prog=self.program, add_help=False)
        self.add_commands(parser)
        for config in configs:
            parser.add_options("", config)
        return self._values(parser)

    def _values(self, parser: OptionParser) -> dict[str, Any]:
        """The defaults of `parser` and what the sources say of its options, whatever else they say."""
        values = dict(parser.defaults)
        for source, tokens in self.sources:
            values |= parser.given(tokens, source, strict=False)
        return values

    def _chosen_model(self, stored: str | None = None) -> str:
        name = self._peek().get("model", stored or self.default_model)
        if name not in self.models:
            raise UserError(f"--model {name!r}: choose from {', '.join(self.models)}")
        if stored is not None and name not in (stored, "test"):
            raise UserError(f"--model {name}: {self.path} is a {stored}; leave --model out")
        return stored or name

    def _suffixed_name(self) -> list[str]:
        """A token for the name with its suffix, whose braces hold names of options; none without a suffix."""
        suffix = self._peek().get("suffix")
        if not suffix:
            return []
        parser = self.parser()
        values = {"model": self.model_name} | self._values(parser)
        words = {name: "x".join(map(str, v)) if isinstance(v, list | tuple) else v for name, v in values.items()}
        try:
            return [f"--name={words['name']}_{suffix.format_map(parser.by_every_name(words))}"]
        except (KeyError, ValueError, AttributeError) as error:
            raise UserError(f"--suffix {suffix}: braces hold names of options, not {error}") from None

    @file_errors("--checkpoints_dir")
    def _load_checkpoint(self, folder: Path, epoch: str, mapped: bool = False) -> dict[str, Any]:
        """Read a checkpoint of the run in `folder`; gives the options that it was saved with."""
        self.path = checkpoint_path(folder, epoch)
        self.checkpoint = checkpoint.load(self.path, mapped=mapped)
        if self.checkpoint["options"].get("model") not in MODELS:
            raise UserError(f"{self.path} does not say which of the models {', '.join(MODELS)} it holds")
        return self.checkpoint["options"]

    @property
    def config_class(self) -> type:
        """The dataclass of the chosen model's own options."""
        return MODELS[self.model_name].Config

    def model_defaults(self) -> Mapping[str, Any]:
        """What the chosen model changes of the other sections' defaults."""
        return MODELS[self.model_name].defaults

    def shown_defaults(self) -> dict[str, str | None]:
        """What the help says of defaults that depend on other things; None leaves the option out of it."""
        return {}

    def parser(self) -> OptionParser:
        """The parser for the chosen model: its own options, in groups."""
        parser = OptionParser(prog=self.program, description=self.description, epilog=self.epilog())
        self.add_commands(parser)
        defaults = {**self.model_defaults(), **self.defaults}
        for title, config in self.sections().items():
            parser.add_options(title, config, defaults, self.shown_defaults())
            if title == "data":
                parser.add_options(f"model {self.model_name}", self.config_class, shown=self.shown_defaults())
        return parser

    def add_commands(self, parser: OptionParser) -> None:
        """Add the options that decide on the others."""
        models = "{" + ",".join(self.models) + "}"
        parser.add_argument("--model", metavar=models, help=f"which model (default: {self.shown_model})")
        parser.add_argument(
            "--options",
            type=expanded_path,
            action="extend",
            nargs="+",
            metavar="FILE",
            help="YAML files of options, or names of presets",
        )
        parser.add_argument("--suffix", metavar="TEXT", help="added to the name; {lr} in it becomes the value of --lr")

    def epilog(self) -> str:
        """What the help says at its end."""
        return f"Presets: {', '.join(presets())}. --model X --help shows the options of another model."

    def as_dict(self) -> dict[str, Any]:
        """All options, flat, as plain values: what options.yaml and the checkpoint hold."""
        values: dict[str, Any] = {"model": self.model_name}
        for title in self.sections():
            values |= as_dict(getattr(self, title))
        return values | as_dict(self.model)

    def one_line(self, work: Callable[[], Any]) -> Any:
        """Run `work` as `errors.ending` does, with one line too if memory runs out or a loader's worker dies."""
        with ending(self.program, "--verbose" in self.argv, self.way_on):
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if is_out_of_memory(error):
                    raise UserError(f"out of memory: {self.ways_out()}") from error
                if failure := worker_failure(error):  # it is raised wherever the program is at that moment
                    raise failure from error
                raise

    def way_on(self) -> str:
        """How to go on with work that a signal has stopped; empty if it begins anew."""
        return ""

    def ways_out(self) -> str:
        """What there is to do where memory does not suffice."""
        raise NotImplementedError

    def fail(self, message: str, code: int = 2) -> NoReturn:
        """End the program with one line."""
        end(self.program, message, code)

    def notice(self, message: str) -> None:
        """One line on stderr that changes nothing."""
        print(f"{self.program}: note: {message}", file=sys.stderr)


def presets() -> list[str]:
    """The names of the presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


@file_errors("--options")
def read_options(name: str) -> Source:
    """The path and the tokens of a YAML file, or of a preset by its name.

    Raises:
        ValueError: if there is no such file or it is no flat list of options.
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
