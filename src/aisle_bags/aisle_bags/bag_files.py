"""Which files a bag consists of, whatever its layout: rosbag2 folders, folders without metadata.yaml, single and compressed files."""

from __future__ import annotations

import re
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from aisle_bags import mcap_source, sqlite_source
from aisle_bags.bag_errors import BagError
from aisle_bags.bag_metadata import METADATA_FILE, BagMetadata, read_metadata
from aisle_bags.mcap_source import McapSource
from aisle_bags.message_compression import ZSTD_MAGIC, decompress_file
from aisle_bags.sqlite_source import SqliteSource

Source = McapSource | SqliteSource


class _Format(NamedTuple):
    name: str
    suffix: str
    magic: bytes
    source: type[Source]


_FORMATS = {
    "mcap": _Format("MCAP", ".mcap", mcap_source.MAGIC, McapSource),
    "sqlite3": _Format("SQLite", ".db3", sqlite_source.MAGIC, SqliteSource),
}
_STORAGE_FILE = re.compile(r"(?P<stem>.*?)(?:_?(?P<number>\d+))?\.(?P<suffix>mcap|db3)(?P<zstd>\.zstd)?")
_EXPECTED = "expected an MCAP or SQLite file, or one of these compressed by Zstandard"


def bag_files(path: Path) -> tuple[list[Path], BagMetadata | None]:
    """A bag's storage files in order, and its metadata where there is a metadata.yaml. ``path``: folder, metadata.yaml or one file.

    Raises BagError for what is not a bag and for files that are named but not there.
    """
    if path.is_file():
        return ([path], None) if path.name != METADATA_FILE else bag_files(path.parent)
    if not path.is_dir():
        raise BagError(f"{path}: no such file or folder")
    if (path / METADATA_FILE).is_file():
        metadata = read_metadata(path / METADATA_FILE)
        _check(path / METADATA_FILE, metadata)
        return _named_files(path, metadata), metadata
    files = storage_files(path)
    if not files:
        raise BagError(f"{path}: not a bag: found neither {METADATA_FILE} nor *.mcap or *.db3 files")
    return files, None


def storage_files(folder: Path) -> list[Path]:
    """Files in a folder that are named like storage files, by number: ``bag_10.mcap`` after ``bag_9.mcap``.

    A file that also lies there decompressed counts once. Raises BagError for a folder with files of both formats.
    """
    found = {path.name: match for path in folder.iterdir() if path.is_file() and (match := _STORAGE_FILE.fullmatch(path.name))}
    names = [name for name in found if name.removesuffix(".zstd") == name or name.removesuffix(".zstd") not in found]
    suffixes = sorted({found[name]["suffix"] for name in names})
    if len(suffixes) > 1:
        raise BagError(f"{folder}: holds both *.mcap and *.db3 files and no {METADATA_FILE} that tells which ones: name one file")
    return [folder / name for name in sorted(names, key=lambda name: (found[name]["stem"], int(found[name]["number"] or -1), name))]


def open_sources(files: list[Path], stack: ExitStack, metadata: BagMetadata | None = None) -> list[Source]:
    """Opens storage files; ``stack`` closes them and removes what had to be decompressed. Raises BagError naming the file."""
    sources = []
    for file in files:
        source = open_source(_decompressed(file, stack), file, metadata)
        source.path = file
        stack.callback(source.close)
        sources.append(source)
    return sources


def open_source(file: Path, named: Path | None = None, metadata: BagMetadata | None = None) -> Source:
    """Opens one file as what its first bytes say it is; ``named``: the file's name for people."""
    named = named or file
    if sqlite_source.has_journal(file):
        # All of it may still lie in the journal, beside an empty file.
        return SqliteSource(file)
    found = _first_bytes(file, named)
    for storage_format in _FORMATS.values():
        if found.startswith(storage_format.magic):
            return storage_format.source(file)
    for storage, storage_format in _FORMATS.items():
        if named.name.removesuffix(".zstd").endswith(storage_format.suffix) or (metadata and metadata.storage == storage):
            name = storage_format.name
            raise BagError(f"{named}: not an {name} file (it does not begin with {name}'s magic bytes)")
    raise BagError(f"{named}: {_EXPECTED}, found one that begins with {found[:8]!r}")


def _first_bytes(file: Path, named: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            found = stream.read(16)
    except OSError as error:
        raise BagError(f"{named}: cannot be read: {error.strerror}") from error
    if not found:
        raise BagError(f"{named}: is empty (0 bytes), {_EXPECTED}")
    if not found.strip(b"\x00"):
        raise BagError(f"{named}: begins with zero bytes, {_EXPECTED}")
    return found


def _decompressed(file: Path, stack: ExitStack) -> Path:
    if sqlite_source.has_journal(file) or not _first_bytes(file, file).startswith(ZSTD_MAGIC):
        return file
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aisle-bag-")))
    target = folder / file.name.removesuffix(".zstd")
    decompress_file(file, target)
    return target


def _check(file: Path, metadata: BagMetadata) -> None:
    if metadata.storage not in _FORMATS:
        raise BagError(f"{file}: storage_identifier is '{metadata.storage}', expected {' or '.join(_FORMATS)}")
    if metadata.compression_mode not in ("none", "file", "message"):
        raise BagError(f"{file}: compression_mode is '{metadata.compression_mode}', expected none, file or message")
    if metadata.compression_mode != "none" and metadata.compression_format != "zstd":
        raise BagError(f"{file}: compression_format is '{metadata.compression_format}', expected 'zstd'")


def _named_files(folder: Path, metadata: BagMetadata) -> list[Path]:
    """Metadata up to version 3 name files together with their folder, later ones beside the metadata."""
    files, missing = [], []
    for name in dict.fromkeys(metadata.files):
        candidates = [folder / name, folder / Path(name).name]
        # rosbag2 leaves what it decompressed, and has told names without the compression's ending.
        candidates += [candidate.with_name(f"{candidate.name}.zstd") for candidate in candidates]
        candidates += [candidate.with_suffix("") for candidate in candidates if candidate.suffix == ".zstd"]
        found = next((candidate for candidate in candidates if candidate.is_file()), None)
        files.append(found) if found else missing.append(name)
    if missing or not files:
        raise BagError(
            f"{folder / METADATA_FILE}: relative_file_paths names {', '.join(missing) or 'no file'}, expected files beside it"
            "; './aisle bag recover' makes the metadata anew from the files that are there"
        )
    return files
