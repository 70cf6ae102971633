"""Zstandard, as rosbag2 compresses single messages and whole files."""

from __future__ import annotations

from pathlib import Path

import zstandard

from aisle_bags.bag_errors import BagError

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PIECE = 1 << 17


def decompressed(file: Path, data: bytes) -> bytes:
    """The message. One that is not compressed is returned as it is: no CDR form begins with Zstandard's magic bytes."""
    if data[: len(ZSTD_MAGIC)] != ZSTD_MAGIC:
        return data
    # Without a limit from the frame's header: rosbag2 writes the size there, others may not.
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        plain = decompressor.decompress(data)
    except zstandard.ZstdError as error:
        raise BagError(f"{file}: a message that is compressed by Zstandard cannot be read: {error}") from error
    if not decompressor.eof:
        raise BagError(f"{file}: a message that is compressed by Zstandard cannot be read: it ends too early")
    return plain


def decompress_file(source: Path, target: Path) -> None:
    """Raises BagError for what is not Zstandard, or ends too early."""
    try:
        whole = _decompress(source, target)
    except zstandard.ZstdError as error:
        raise BagError(f"{source}: cannot be decompressed: {error}, expected a file compressed by Zstandard") from error
    if not whole:
        raise BagError(f"{source}: the compressed file ends too early; './aisle bag recover' saves what is readable")


def compress_file(source: Path, target: Path) -> None:
    """Writes a file as rosbag2's file compression does."""
    with source.open("rb") as plain, target.open("wb") as compressed:
        # Older rosbag2 needs the size in the frame's header.
        zstandard.ZstdCompressor().copy_stream(plain, compressed, size=source.stat().st_size)


def decompress_beginning(source: Path, target: Path) -> bool:
    """As ``decompress_file``, but keeps what came out before the compressed file ended or was damaged. Whether it was whole."""
    try:
        return _decompress(source, target)
    except zstandard.ZstdError:
        return False


def _decompress(source: Path, target: Path) -> bool:
    """Whether the compressed file was there to its end."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    with source.open("rb") as compressed, target.open("wb") as plain:
        while not decompressor.eof and (piece := compressed.read(_PIECE)):
            plain.write(decompressor.decompress(piece))
    return decompressor.eof
