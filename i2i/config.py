"""Options as dataclass fields, and argparse flags made from them."""

import argparse
import dataclasses
import difflib
import os
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from i2i.errors import UserError, ending

METAVARS = {int: "N", float: "X", str: "TEXT"}


def option(
    default: Any,
    help: str,
    *,
    choices: Collection[str] | None = None,
    aliases: Sequence[str] = (),
    path: bool = False,
    architecture: bool | str = False,
) -> Any:
    """Return a dataclass field with its help text, its choices and the other names of its flag.

    Choices may be a registry: entries that are added to it later are choices too.

    Args:
        path: the value is a path, whose `~` is expanded.
        architecture: a checkpoint fits only with an equal value; a string names the attribute to compare instead.
    """
    metadata = {"help": help, "choices": choices, "aliases": tuple(aliases), "path": path}
    metadata["architecture"] = architecture
    return dataclasses.field(default=default, metadata=metadata)


def expanded_path(text: str) -> str:
    """Return a path with `~` expanded; several paths are separated by `::`."""
    return "::".join(map(os.path.expanduser, text.split("::")))


expanded_path.__name__ = "path"  # argparse names the type by it


def with_default(config: type, name: str, default: Any) -> Any:
    """Return the option `name` of the dataclass `config` with another default, for a subclass."""
    field = next(field for field in dataclasses.fields(config) if field.name == name)
    return dataclasses.field(default=default, metadata=field.metadata)


class BooleanFlag(argparse.Action):
    """`--flip` and its opposites `--no-flip` and `--no_flip`; the help shows the opposite of flags that are on."""

    def __init__(self, option_strings: Sequence[str], dest: str, on: bool, **kwargs: Any) -> None:
        self.negative = [f"--no{separator}{name[2:]}" for name in option_strings for separator in "-_"]
        self.shown = [*option_strings, *(self.negative[::2] if on else [])]
        super().__init__([*option_strings, *self.negative], dest, nargs=0, **kwargs)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, option_string not in self.negative)


class HelpFormatter(argparse.HelpFormatter):
    """Shows all names of an option, then its value once."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=118)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, BooleanFlag):
            return ", ".join(action.shown)
        if action.nargs == 0:
            return super()._format_action_invocation(action)
        return ", ".join(action.option_strings) + " " + self._format_args(action, action.dest.upper())


class OptionParser(argparse.ArgumentParser):
    """A parser of options that are dataclass fields, without abbreviations. Bad input raises UserError.

    `defaults` holds the default of every option.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            formatter_class=HelpFormatter,
            allow_abbrev=False,
            usage="%(prog)s [options]",
            argument_default=argparse.SUPPRESS,
            **kwargs,
        )
        self.defaults: dict[str, Any] = {}
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)  # with exponents

    def add_options(
        self,
        title: str,
        config: type,
        defaults: Mapping[str, Any] | None = None,
        shown: Mapping[str, str | None] | None = None,
    ) -> None:
        """Add a flag for every field of the dataclass `config`, in the group `title` of the help.

        `defaults` replace the fields' own. `shown` holds words for the help in place of a default, or None for options
        that the help leaves out.
        """
        group = self.add_argument_group(title)
        hints = typing.get_type_hints(config)
        for field in dataclasses.fields(config):
            default = (defaults or {}).get(field.name, field.default)
            self.defaults[field.name] = default
            words = (shown or {}).get(field.name, default)
            hidden = shown is not None and field.name in shown and words is None
            help = argparse.SUPPRESS if hidden else _help(field.metadata["help"], words)
            _add_flag(group, field, hints[field.name], default, help)

    def given(self, tokens: Iterable[str], source: str = "", strict: bool = True) -> dict[str, Any]:
        """Return the options that `tokens` set, by field name; error messages name the `source` of the tokens.

        Raises:
            UserError: for bad values and, if `strict`, for unknown options.
        """
        try:
            namespace, unknown = self.parse_known_args(list(tokens))
            if unknown and strict:
                self.error(self._unknown(unknown[0].split("=")[0]))
        except UserError as error:
            raise UserError(f"{source}: {error}" if source else str(error)) from None
        return vars(namespace)

    def given_by(self, sources: Sequence[tuple[str, Sequence[str]]], strict: bool = True) -> dict[str, Any]:
        """Return the options that several (source, tokens) set; later ones win.

        Raises:
            UserError: for bad values and, if `strict`, for unknown options; names the source.
        """
        try:
            return self.given([token for _, tokens in sources for token in tokens], strict=strict)
        except UserError:
            for source, tokens in sources:  # to name the source
                self.given(tokens, source, strict)
            raise

    def by_every_name(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return `values` under all names of their flags."""
        names = ((name.removeprefix("--"), action.dest) for name, action in self._option_string_actions.items())
        return {name: values[field] for name, field in names if field in values}

    def error(self, message: str) -> NoReturn:
        """Raise UserError; argparse calls this for bad input."""
        raise UserError(message)

    @contextmanager
    def one_line(self) -> Iterator[None]:
        """Run a command as `errors.ending` does; the line about bad input names --help."""
        with ending(self.prog, help_hint=True):
            yield

    def _unknown(self, name: str) -> str:
        if not name.startswith("-"):
            return f"unexpected argument {name!r}: values follow the option that they belong to"
        nearest = difflib.get_close_matches(name, list(self._option_string_actions), n=1)
        return f"unknown option {name}" + (f", did you mean {nearest[0]}?" if nearest else "")


def _add_flag(group: Any, field: dataclasses.Field, hint: Any, default: Any, help: str) -> None:
    names = [f"--{field.name}", *field.metadata["aliases"]]
    kind, many, optional = _value_type(hint)
    if kind is bool:
        group.add_argument(*names, dest=field.name, action=BooleanFlag, on=default, help=help)
        return
    choices = field.metadata["choices"]  # as it is: `i2i.metrics.config` checks some itself
    switch = {"on", "off"} <= set(choices or ())
    if switch:  # YAML reads a bare on or off as true or false, which become flags without a value
        negative = [f"--no{separator}{field.name}" for separator in "-_"]
        group.add_argument(*negative, dest=field.name, action="store_const", const="off", help=argparse.SUPPRESS)
    group.add_argument(
        *names,
        dest=field.name,
        type=_type_of(field, kind, optional),
        nargs="+" if many else "?" if switch else None,
        const="on" if switch else None,
        choices=choices,
        metavar="{" + ",".join(choices) + "}" if choices else METAVARS[kind],
        help=help,
    )


def _type_of(field: dataclasses.Field, kind: type, optional: bool) -> Callable[[str], Any]:
    if field.metadata["path"]:
        return expanded_path
    return _number_or_none(kind) if optional and kind is not str else kind


def _value_type(hint: Any) -> tuple[type, bool, bool]:
    """Split an annotation such as `tuple[int, ...] | None` into scalar type, takes several values, takes None."""
    optional = isinstance(hint, types.UnionType)
    if optional:
        hint = next(arm for arm in typing.get_args(hint) if arm is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True, optional
    return hint, False, optional


def _number_or_none(kind: type) -> Callable[[str], Any]:
    """Return a reader of numbers that reads `none` as None, to undo what a file has set."""

    def read(text: str) -> Any:
        return None if text == "none" else kind(text)

    read.__name__ = kind.__name__  # argparse names the type by it: "invalid int value"
    return read


def _help(text: str, default: Any) -> str:
    shown = str(default)
    if isinstance(default, tuple):
        shown = " ".join(map(str, default[:1] if len(set(default)) == 1 else default))
    elif isinstance(default, float):
        shown = f"{default:g}"
    elif default is True:
        shown = "on"
    worth_it = default is not None and default is not False and default != ""
    return (f"{text} (default: {shown})" if worth_it else text).replace("%", "%%")


def from_values(config: type, values: Mapping[str, Any]) -> Any:
    """Build the dataclass `config` from options by name. Raises UserError as its validation does."""
    own = {field.name: values[field.name] for field in dataclasses.fields(config)}
    return config(**{name: _plain(value) for name, value in own.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return None if value == [None] else tuple(value)  # `none` undoes what a file has set
    return value


def as_dict(config: Any) -> dict[str, Any]:
    """Return the fields of a config as plain values, for YAML and checkpoints."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def tokens_from(values: Mapping[str, Any]) -> list[str]:
    """Return options as command-line tokens: a list becomes `--x a b`, true `--x`, false `--no-x`, null nothing.

    Raises:
        UserError: if a value is neither a scalar nor a list of scalars.
    """
    tokens: list[str] = []
    for name, value in values.items():
        items = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(item, Mapping | list | tuple) for item in items):
            raise UserError(f"option {name}: {value!r} is nested; options are flat, one `name: value` a line")
        if isinstance(value, bool):
            tokens.append(f"--{name}" if value else f"--no-{name}")
        elif len(items) != 1:
            tokens += [f"--{name}", *map(str, items)]
        elif value is not None:
            tokens.append(f"--{name}={items[0]}")
    return tokens


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise UserError unless `value` is one of `choices`."""
    if value not in choices:
        raise UserError(f"--{name} {value!r}: choose from {', '.join(choices)}")


def check_range(name: str, value: float | None, low: float, high: float = float("inf")) -> None:
    """Raise UserError unless `low <= value <= high`; None passes."""
    if value is not None and not low <= value <= high:
        limits = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise UserError(f"--{name} {value:g}: must be {limits}")
