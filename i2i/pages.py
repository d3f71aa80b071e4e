"""Templates of the HTML pages that grow row by row."""

from __future__ import annotations

import os
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from jinja2 import Environment


def link(path: str | PurePath) -> str:
    """A relative path as a URL, whatever characters and bytes its names hold."""
    return quote(os.fsencode(PurePath(path).as_posix()))


def render(template: str, **values: object) -> str:
    """Fill the template of that name in i2i/templates; every value is escaped."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    return Environment(loader=PackageLoader("i2i"), autoescape=True, keep_trailing_newline=True)
