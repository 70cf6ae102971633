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
    try:
        # Without a limit from the frame's header: rosbag2 writes the size there, others may not.
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except zstandard.ZstdError as error:
        raise BagError(f"{file}: a message that is compressed by Zstandard cannot be read: {error}") from error


def decompress_file(source: Path, target: Path) -> None:
    """Raises BagError for what is not Zstandard, or ends too early."""
    try:
        with source.open("rb") as compressed, target.open("wb") as plain:
            zstandard.ZstdDecompressor().copy_stream(compressed, plain)
    except zstandard.ZstdError as error:
        raise BagError(f"{source}: cannot be decompressed: {error}, expected a file compressed by Zstandard") from error


def compress_file(source: Path, target: Path) -> None:
    """Writes a file as rosbag2's file compression does."""
    with source.open("rb") as plain, target.open("wb") as compressed:
        # Older rosbag2 needs the size in the frame's header.
        zstandard.ZstdCompressor().copy_stream(plain, compressed, size=source.stat().st_size)


def decompress_beginning(source: Path, target: Path) -> bool:
    """As ``decompress_file``, but keeps what came out before the compressed file ended or was damaged. Whether it was whole."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    with source.open("rb") as compressed, target.open("wb") as plain:
        try:
            while piece := compressed.read(_PIECE):
                plain.write(decompressor.decompress(piece))
        except zstandard.ZstdError:
            return False
    return decompressor.eof
