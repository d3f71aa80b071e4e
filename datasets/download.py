"""Fetch a data set over pooch and unpack it, refusing what would be written outside its folder."""

import shutil
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

from sources import RemoteFile, Source

PHASES = ("train", "val", "test")


def write_source(source: Source, folder: Path, downloads: Path, any_checksum: bool = False) -> None:
    """Fetch the files of a data set and lay them out below `folder`.

    Args:
        folder: an empty folder; gets `train`, `val`, `test`, or `trainA`, `trainB`, `testA`, `testB`, or idx files.
        downloads: where the files lie meanwhile; what is there already is not fetched again. Removed at the end.
        any_checksum: accept files whose checksum is not the known one.

    Raises:
        ValueError: not offered any more; out of reach; wrong checksum; an archive that is damaged or unsafe.
    """
    if not source.files:
        raise ValueError(f"not offered for download, {source.terms} ({source.home})")
    for path in [fetch(file, downloads, any_checksum) for file in source.files]:
        if path.name.endswith((".zip", ".tar.gz")):
            unpack(path, folder)
        else:
            shutil.copy(path, folder)
    shutil.rmtree(downloads)


def fetch(file: RemoteFile, downloads: Path, any_checksum: bool = False) -> Path:
    """Fetch one file from the first address that answers, unless it is there; its path.

    Raises:
        ValueError: no address answers; the checksum is not the known one; pooch is not installed.
    """
    try:
        import pooch
    except ImportError as error:
        raise ValueError("fetching data needs the packages pooch and tqdm: pip install pooch tqdm") from error
    pooch.get_logger().setLevel("WARNING")
    checksum = None if any_checksum else file.checksum
    for url in file.urls:
        print(f"fetching {url}")
        try:
            bar = sys.stderr is not None and sys.stderr.isatty()
            path = Path(pooch.retrieve(url, checksum, fname=file.name, path=downloads, progressbar=bar))
        except OSError as error:
            reason = _reason(error)
        except ValueError as error:
            raise ValueError(f"{error} To accept it nevertheless, give --any_checksum") from error
        else:
            if checksum is None:
                print(f"{file.name}: sha256:{pooch.file_hash(str(path))}, not compared with anything")
            return path
    by_hand = f"fetch it by hand, put it at {downloads / file.name}, and run this again"
    raise ValueError(f"cannot fetch {url} ({reason}): {by_hand}")


def _reason(error: OSError) -> str:
    # requests wraps urllib3's retry error, which wraps the cause; the cause begins with the connection it was on
    cause = getattr(next(iter(error.args), None), "reason", error)
    return str(cause).rpartition("): ")[2]


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into an empty folder, without the folders that it wraps around the phases.

    Raises:
        ValueError: the archive is damaged, holds no phase, or would write outside `folder`.
    """
    unpacked = folder / ".unpacked"
    try:
        if archive.suffix == ".zip":
            _unzip(archive, unpacked)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{archive} is damaged or unsafe ({error}): delete it and run this again") from error
    for path in _find_root(unpacked, archive).iterdir():
        path.rename(folder / path.name)
    shutil.rmtree(unpacked)


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            # zipfile would drop the `..` and write the member elsewhere: an archive that tries is not to be trusted
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise zipfile.BadZipFile(f"member {name!r} leads outside the folder")
        file.extractall(folder)


def _find_root(unpacked: Path, archive: Path) -> Path:
    for root in (unpacked, *sorted(unpacked.iterdir())):
        if root.is_dir() and any(path.name.startswith(PHASES) and path.is_dir() for path in root.iterdir()):
            return root
    raise ValueError(f"{archive} holds no folder {', '.join(PHASES)}, but {[path.name for path in unpacked.iterdir()]}")
