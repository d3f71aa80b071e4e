"""The translator, under the name that earlier versions gave its module; see `i2i.translate`."""

from i2i.translate.translator import Translator

__all__ = ["Translator"]
