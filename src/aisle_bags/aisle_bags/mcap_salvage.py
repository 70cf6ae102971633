"""What can still be read of an MCAP file that was not closed or is damaged. Nothing is taken for granted: no end, no summary, no index.

A file that ends in the middle of a chunk gives the messages of that chunk which decompress. A chunk whose checksum does not fit is left
out: which of its messages is wrong cannot be told. Behind damage, reading goes on at the next compressed chunk.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import IO

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Attachment, Channel, Chunk, McapRecord, Message, Metadata, Schema
from mcap.stream_reader import get_chunk_data_stream

from aisle_bags.mcap_source import CHUNK_HEADER, MAGIC, RECORD_HEADER, record_headers

#: A chunk's compression, with its length before it: by it a chunk is found again behind damage.
_COMPRESSIONS = (b"\x04\x00\x00\x00zstd", b"\x03\x00\x00\x00lz4")
#: Records that may stand in a file, and those in a chunk.
_OPCODES = frozenset(range(Opcode.HEADER, Opcode.DATA_END + 1))
_IN_CHUNKS = {Opcode.SCHEMA: Schema, Opcode.CHANNEL: Channel}
_OUTSIDE = {**_IN_CHUNKS, Opcode.ATTACHMENT: Attachment, Opcode.METADATA: Metadata}
#: Names of compressions are shorter; a length beyond is damage.
_LONGEST_NAME = 16
#: No message is longer: a length beyond is damage.
_LONGEST_BYTES = 4 << 30
#: Of a chunk that is cut off no more is looked at; its length may be damage, and the rest of the file large.
_LARGEST_PART = 256 << 20
#: The file is taken out of memory again after so many bytes.
_RELEASED_BYTES = 64 << 20

Salvaged = Schema | Channel | Message | Attachment | Metadata


class McapSalvage:
    """One file. ``notes`` tell, once ``records`` are read, what was damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[str] = []

    def compression(self) -> str | None:
        """Of the file's first chunk: none, lz4 or zstd; None without a chunk."""
        size = self._path.stat().st_size
        with self._path.open("rb") as stream:
            for opcode, position, _ in record_headers(stream, len(MAGIC), size):
                if opcode == Opcode.CHUNK:
                    return _chunk_compression(stream, position)
                if opcode not in _OPCODES:
                    return None
        return None

    def records(self, read: Callable[[int], None] = lambda size: None) -> Iterator[Salvaged]:
        """Schemas, channels, messages (each after its channel), attachments and metadata records, in the file's order.

        ``read`` is called with numbers of bytes, for progress.
        """
        with ExitStack() as stack:
            stream = stack.enter_context(self._path.open("rb"))
            size = self._path.stat().st_size
            if size <= len(MAGIC):
                self.notes.append(f"only {size} bytes")
                return
            content = stack.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
            yield from _declared_in_summary(self._path)
            yield from self._walk(content, size, read)

    def _walk(self, content: mmap.mmap, size: int, read: Callable[[int], None]) -> Iterator[Salvaged]:
        position: int | None = len(MAGIC)
        is_closed, released = False, 0
        if content[: len(MAGIC)] != MAGIC:
            self.notes.append("does not begin with MCAP's magic bytes")
            position = self._next_chunk(content, 0)
        while position is not None and position + RECORD_HEADER.size <= size:
            opcode, length = RECORD_HEADER.unpack_from(content, position)
            following = position + RECORD_HEADER.size + length
            if opcode == Opcode.DATA_END:
                is_closed = content[size - len(MAGIC) :] == MAGIC
                break
            if opcode in _OPCODES and following <= size:
                is_whole = yield from self._record(content, opcode, position, length)
                if not is_whole:
                    # Its length may be damage too.
                    following = min(following, self._next_chunk(content, position + 1) or following)
                read(following - position)
                position = following
                if position - released > _RELEASED_BYTES:
                    # What has been read need not stay in memory.
                    content.madvise(mmap.MADV_DONTNEED)
                    released = position
            else:
                yield from self._broken(content, opcode, position, length)
                position = self._next_chunk(content, position + 1)
        if not is_closed:
            self.notes.append("was not closed")

    def _record(self, content: mmap.mmap, opcode: int, position: int, length: int) -> Generator[Salvaged, None, bool]:
        """Returns whether the record was whole."""
        data = content[position + RECORD_HEADER.size : position + RECORD_HEADER.size + length]
        try:
            if opcode == Opcode.CHUNK:
                chunk = Chunk.read(ReadDataStream(BytesIO(data)))
                plain, plain_length = get_chunk_data_stream(chunk, validate_crc=True)
                records = list(_whole_records(plain.read(plain_length)))
            else:
                records = list(_parsed(opcode, data, _OUTSIDE))
        except Exception as error:
            # The library raises whatever its parsers and decompressors stumble over.
            self._note_damage(opcode, position, error)
            if opcode == Opcode.CHUNK:
                yield from self._of_damaged_chunk(content, position, data)
            return False
        yield from records
        return True

    def _note_damage(self, opcode: int, position: int, error: Exception) -> None:
        what = "chunk" if opcode == Opcode.CHUNK else "record"
        self.notes.append(f"{what} at byte {position} is damaged and left out ({str(error) or type(error).__name__})")

    def _of_damaged_chunk(self, content: mmap.mmap, position: int, data: bytes) -> Iterator[Salvaged]:
        """What the topics are, which often stands in the first chunk only, can be used; messages only where the rest is known to lack.

        After a power failure a file may have its length, but zero bytes where its end was not written.
        """
        behind = position + RECORD_HEADER.size + len(data)
        is_cut_off = data.endswith(bytes(8)) and not content[behind : behind + 4096].strip(b"\x00")
        for record in self._part_of_chunk(data.rstrip(b"\x00") if is_cut_off else data):
            if is_cut_off or not isinstance(record, Message):
                yield record

    def _broken(self, content: mmap.mmap, opcode: int, position: int, length: int) -> Iterator[Salvaged]:
        """A record that does not fit in the file: its last one, unless its length is damage."""
        rest = len(content) - position
        if opcode == 0 and not any(content[start : start + (1 << 20)].strip(b"\x00") for start in range(position, len(content), 1 << 20)):
            self.notes.append(f"ends in {rest} zero bytes")
        elif opcode == Opcode.CHUNK and length < _LONGEST_BYTES:
            self.notes.append(f"ends in the middle of the chunk at byte {position}")
            start = position + RECORD_HEADER.size
            yield from self._part_of_chunk(content[start : start + min(length, _LARGEST_PART)].rstrip(b"\x00"))
        elif opcode in _OPCODES and length < _LONGEST_BYTES:
            self.notes.append(f"ends in the middle of the record at byte {position}")
        else:
            self.notes.append(f"damaged from byte {position} on")

    def _part_of_chunk(self, data: bytes) -> Iterator[Salvaged]:
        """The records of a chunk's beginning, as far as it decompresses."""
        head = CHUNK_HEADER.size + 4
        if len(data) < head:
            return
        start_ns, end_ns, _, _ = CHUNK_HEADER.unpack_from(data)
        (name_length,) = struct.unpack_from("<I", data, CHUNK_HEADER.size)
        compression = data[head : head + name_length].decode("ascii", "replace")
        try:
            for record in _whole_records(_decompressed_part(compression, data[head + name_length + 8 :])):
                if isinstance(record, Message) and not start_ns <= record.log_time <= end_ns:
                    return
                yield record
        except Exception:
            # The library raises what its parsers stumble over: here is where the readable part ends.
            return

    def _next_chunk(self, content: mmap.mmap, start: int) -> int | None:
        """Where the next compressed chunk that looks right begins; None if there is none."""
        before = RECORD_HEADER.size + CHUNK_HEADER.size
        while True:
            places = [place for mark in _COMPRESSIONS if (place := content.find(mark, start + before)) >= 0]
            if not places:
                return None
            position = min(places) - before
            opcode, length = RECORD_HEADER.unpack_from(content, position)
            start_ns, end_ns, _, _ = CHUNK_HEADER.unpack_from(content, position + RECORD_HEADER.size)
            if opcode == Opcode.CHUNK and length < _LONGEST_BYTES and start_ns <= end_ns:
                return position
            start = position + 1


def _chunk_compression(stream: IO[bytes], position: int) -> str:
    stream.seek(position + RECORD_HEADER.size + CHUNK_HEADER.size)
    (length,) = struct.unpack("<I", stream.read(4))
    return stream.read(min(length, _LONGEST_NAME)).decode("ascii", "replace") or "none"


def _declared_in_summary(path: Path) -> list[Schema | Channel]:
    """Schemas and channels from the file's end, for the case that the chunk which declares them is damaged."""
    try:
        with path.open("rb") as stream:
            summary = SeekingReader(stream).get_summary()
    except Exception:
        # No end, or not a whole one: then they come from the chunks alone.
        return []
    if summary is None or not {channel.schema_id for channel in summary.channels.values()} <= summary.schemas.keys():
        # What stands there but in part stands in the chunks.
        return []
    return [*summary.schemas.values(), *summary.channels.values()]


def _decompressed_part(compression: str, data: bytes) -> bytes:
    """What comes out of the beginning of compressed data; nothing of an unknown compression."""
    decompressors = {"zstd": zstandard.ZstdDecompressor().decompressobj(), "lz4": lz4.frame.LZ4FrameDecompressor()}
    if compression == "":
        return data
    if compression not in decompressors:
        return b""
    plain = bytearray()
    try:
        for start in range(0, len(data), 4096):
            plain += decompressors[compression].decompress(data[start : start + 4096])
    except (zstandard.ZstdError, RuntimeError, EOFError):
        # What came out before it is right: blocks are decompressed one after the other.
        pass
    return bytes(plain)


def _whole_records(data: bytes) -> Iterator[Salvaged]:
    """Records of a chunk up to the first that is not whole."""
    for opcode, position, length in record_headers(BytesIO(data), 0, len(data)):
        start = position + RECORD_HEADER.size
        yield from _parsed(opcode, data[start : start + length], _IN_CHUNKS)


def _parsed(opcode: int, data: bytes, kinds: dict[int, type[McapRecord]]) -> Iterator[Salvaged]:
    stream = ReadDataStream(BytesIO(data))
    if opcode == Opcode.MESSAGE:
        yield Message.read(stream, len(data))
    elif opcode in kinds:
        yield kinds[opcode].read(stream)
