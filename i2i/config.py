"""Options as dataclass fields: each carries its help, and this module turns fields into argparse flags and back."""

import argparse
import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

Namespace = argparse.Namespace
METAVARS = {int: "N", float: "X", str: "TEXT"}


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] | None = None,
    aliases: Sequence[str] = (),
) -> Any:
    """A dataclass field with its help, its choices and the other names that it answers to on the command line."""
    metadata = {"help": help, "choices": choices, "aliases": tuple(aliases)}
    return dataclasses.field(default=default, metadata=metadata)


def with_default(config: type, name: str, default: Any) -> Any:
    """The option `name` of the dataclass `config`, for a subclass that only differs in its default."""
    field = next(field for field in dataclasses.fields(config) if field.name == name)
    return dataclasses.field(default=default, metadata=field.metadata)


class BooleanFlag(argparse.Action):
    """`--flip` and its opposites `--no-flip` and `--no_flip`; takes no value."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        names = [name for name in option_strings if name.startswith("--")]
        self.negative = [f"--no{separator}{name[2:]}" for name in names for separator in "-_"]
        kwargs.pop("type", None)
        super().__init__([*option_strings, *self.negative], dest, nargs=0, **kwargs)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        setattr(namespace, self.dest, option_string not in self.negative)


class HelpFormatter(argparse.HelpFormatter):
    """Names on a line of their own where they are long, the default behind the help."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=118)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, BooleanFlag):
            positive = [name for name in action.option_strings if name not in action.negative]
            return ", ".join(positive + [name for name in action.negative if action.default and "--no-" in name])
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return ", ".join(action.option_strings) + " " + self._format_args(action, action.dest.upper())

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if action.default in (None, argparse.SUPPRESS, "") or isinstance(action, argparse._HelpAction):
            return text
        return f"{text} (default: {_shown(action.default)})"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)).replace("%", "%%") if isinstance(value, tuple) else str(value).replace("%", "%%")


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations and answers bad input with a single line and exit code 2."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, usage="%(prog)s [options]", **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")

    def parse_strictly(self, tokens: Sequence[str]) -> Namespace:
        """Parse every token; an unknown option is an error that names the nearest known one."""
        namespace, unknown = self.parse_known_args(list(tokens))
        if unknown:
            self.error(self._unknown(unknown[0].split("=")[0]))
        return namespace

    def _unknown(self, name: str) -> str:
        if not name.startswith("-"):
            return f"unexpected argument {name!r}: values stand behind the option that they belong to"
        nearest = difflib.get_close_matches(name, list(self._option_string_actions), n=1)
        return f"unknown option {name}" + (f", did you mean {nearest[0]}?" if nearest else "")


def add_options(
    parser: argparse.ArgumentParser, title: str, config: type, defaults: Mapping[str, Any] | None = None
) -> None:
    """Add a flag for every field of the dataclass `config`, under `title`; `defaults` override the fields'."""
    group = parser.add_argument_group(title)
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        default = (defaults or {}).get(field.name, field.default)
        _add_flag(group, field, hints[field.name], default)


def _add_flag(group: Any, field: dataclasses.Field, hint: Any, default: Any) -> None:
    names = [f"--{field.name}", *field.metadata.get("aliases", ())]
    arguments: dict[str, Any] = {"dest": field.name, "default": default, "help": field.metadata.get("help")}
    kind, many = value_type(hint)
    if kind is bool:
        group.add_argument(*names, action=BooleanFlag, **arguments)
        return
    choices = field.metadata.get("choices")
    metavar = "{" + ",".join(choices) + "}" if choices else METAVARS[kind]
    arguments |= {"choices": choices, "metavar": metavar}
    group.add_argument(*names, type=kind, nargs="+" if many else None, **arguments)


def value_type(hint: Any) -> tuple[type, bool]:
    """The scalar type behind an annotation such as `int | None` or `tuple[int, ...]`, and whether several are taken."""
    if isinstance(hint, types.UnionType):
        hint = next(arm for arm in typing.get_args(hint) if arm is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def from_namespace(config: type, namespace: Namespace) -> Any:
    """Build the dataclass `config` from a parsed namespace; its own validation may raise ValueError."""
    values = {field.name: getattr(namespace, field.name) for field in dataclasses.fields(config)}
    return config(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def as_dict(config: Any) -> dict[str, Any]:
    """The fields of a config as plain values: what YAML and a checkpoint hold."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def tokens_from(values: Mapping[str, Any]) -> list[str]:
    """Options written down, as command-line tokens: a list becomes `--x a b`, true `--x`, false `--no-x`, null nothing.

    Raises:
        ValueError: if a value is neither a scalar nor a list of scalars.
    """
    tokens: list[str] = []
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool):
            tokens.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(v, list | dict) for v in value)):
            raise ValueError(f"option {name}: {value!r} is nested; options are flat, one `name: value` a line")
        else:
            items = value if isinstance(value, list | tuple) else [value]
            tokens += [f"--{name}", *map(str, items)] if len(items) != 1 else [f"--{name}={items[0]}"]
    return tokens


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of `choices`; argparse says the same for the command line."""
    if value not in choices:
        raise ValueError(f"--{name} {value!r}: choose from {', '.join(choices)}")


def check_range(name: str, value: float | None, low: float, high: float = float("inf")) -> None:
    """Raise ValueError unless `low <= value <= high`; None passes."""
    if value is not None and not low <= value <= high:
        limits = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise ValueError(f"--{name} {value:g}: must be {limits}")
