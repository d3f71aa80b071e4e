"""The options of a translation."""

from __future__ import annotations

import dataclasses
import re

from i2i.config import check_choice, check_range, option
from i2i.data.images.writing import Encoding
from i2i.errors import UserError

PICTURES = ("fake", "real_fake", "all")
FORMATS = ("png", "jpg")


@dataclasses.dataclass(frozen=True)
class TestConfig:
    """Options of what to translate, with which checkpoint, and where to write the pictures."""

    __test__ = False  # not a test case, whatever its name makes pytest think

    epoch: str = option("latest", "which checkpoint: latest, best by validation, or the number of an epoch")
    input: str | None = option(
        None, "an image, or a folder of images, instead of a data set of the run's layout", path=True
    )
    results_dir: str = option("./results/", "where the pictures go", path=True)
    num_test: int | None = option(None, "translate at most so many images (default: all)")
    eval: bool = option(False, "no dropout, and BatchNorm's averages from training instead of the image's own")
    ema: bool = option(True, "use the averaged weights, if the run has any")
    pictures: str = option("real_fake", "what to write: fake, real_fake, or all that the model shows", choices=PICTURES)
    format: str = option(
        "png", "of pictures; label maps, 16 bits, transparency and floats stay in files that hold them", choices=FORMATS
    )
    png_level: int = option(1, "from 0, the fastest, to 9, the smallest files")
    jpeg_quality: int = option(95, "from 1, the smallest files, to 100")
    skip_existing: bool = option(False, "leave out images whose result is there already, in either format")
    processes: int = option(1, "so many processes share the images, on CUDA each with a device of its own")
    part: str | None = option(
        None, "2/4: every fourth image from the second on, for one of four machines that share a folder"
    )
    reference_weights: str | None = option(None, "a generator of the reference implementation, a .pth file", path=True)
    labels: tuple[str, ...] | None = option(None, "classes to generate, such as 0-9 or cat dog (default: all)")
    num_per_class: int = option(10, "images to generate of every class")
    truncation: float | None = option(
        None, "generate typical images, the more the smaller: 0.7 or so of a stylegan, of others 2 to 0.5"
    )

    def __post_init__(self) -> None:
        check_choice("pictures", self.pictures, PICTURES)
        check_choice("format", self.format, FORMATS)
        check_range("num_test", self.num_test, 1)
        check_range("num_per_class", self.num_per_class, 1)
        check_range("truncation", self.truncation, 0)
        check_range("png_level", self.png_level, 0, 9)
        check_range("jpeg_quality", self.jpeg_quality, 1, 100)
        check_range("processes", self.processes, 1)
        number, parts = self._part
        if not 1 <= number <= parts:
            raise UserError(f"--part {self.part}: give the part's number and how many there are, from 1/4 to 4/4")

    @property
    def _part(self) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", "1/1" if self.part is None else self.part)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    @property
    def encoding(self) -> Encoding:
        """The encoding of picture files."""
        return Encoding(self.format, self.png_level, self.jpeg_quality)

    @property
    def suffix(self) -> str:
        """The part of the folder's name that is due to truncation."""
        return "" if self.truncation is None else f"_truncation{self.truncation:g}"

    @property
    def part_name(self) -> str:
        """The part as it stands in names of files, such as 2of4; empty for a whole run."""
        return "" if self.part is None else "{}of{}".format(*self._part)

    @property
    def page(self) -> str:
        """The name of the page, which every part has for itself."""
        return f"index_{self.part_name}.html" if self.part_name else "index.html"

    def items(self, count: int) -> range:
        """Return the indices of this part among `count` images."""
        number, parts = self._part
        return range(number - 1, count, parts)
