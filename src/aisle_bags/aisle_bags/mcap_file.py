"""One MCAP file that is being written and stays readable whatever happens: a crash, a full disk.

The MCAP library's writer makes the records; they are collected here and handed to the operating system only at the ends of chunks. So
a file that a crash leaves behind is whole up to its last chunk, and one that no longer fits on the disk is cut back there and closed.
Format: https://mcap.dev/spec.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter, deque
from pathlib import Path
from typing import NamedTuple

from mcap.data_stream import RecordBuilder
from mcap.records import DataEnd, Footer
from mcap.writer import MCAP0_MAGIC, CompressionType, IndexType, Writer

from aisle_bags.bag_metadata import FileSummary
from aisle_bags.stored_topics import StoredTopic

COMPRESSIONS = {"none": CompressionType.NONE, "lz4": CompressionType.LZ4, "zstd": CompressionType.ZSTD}
#: On a full disk the end of the file needs some bytes: at most so many of the last chunks are given up for them.
_CHUNKS_TO_GIVE_UP = 16


class _Boundary(NamedTuple):
    """The state of the file after a whole chunk."""

    offset: int
    counts: Counter[str]
    start_ns: int | None
    end_ns: int | None


class _Collected:
    """The stream that the MCAP writer writes to: ``pending`` is what the file does not have yet."""

    def __init__(self) -> None:
        self.pending = bytearray()
        self.written = 0

    def write(self, data: bytes) -> int:
        self.pending += data
        return len(data)

    def tell(self) -> int:
        return self.written + len(self.pending)

    def flush(self) -> None:
        """What is pending waits for ``McapFile``."""


class McapFile:
    """One new file at ``path`` (FileExistsError if there is one). Methods that write raise OSError where the system refuses; after
    that only ``close`` may be called.
    """

    def __init__(self, path: Path, compression: str = "zstd", chunk_bytes: int = 1 << 20) -> None:
        self._path = path
        self._file = path.open("xb", buffering=0)
        self._stream = _Collected()
        self._mcap = Writer(
            self._stream, chunk_size=chunk_bytes, compression=COMPRESSIONS[compression], index_types=IndexType.ALL, enable_data_crcs=True
        )
        self._schemas: dict[tuple[str, str, bytes], int] = {}
        self._channels: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._start_ns: int | None = None
        self._end_ns: int | None = None
        self._boundaries: deque[_Boundary] = deque(maxlen=_CHUNKS_TO_GIVE_UP)
        self._failed = self._closed = False
        self._mcap.start(profile="ros2", library="aisle")
        try:
            self._hand_over()
        except OSError:
            self.remove()
            raise

    @property
    def size_bytes(self) -> int:
        """What has been written and what waits for the end of its chunk to be (without the messages of the open chunk)."""
        return self._stream.tell()

    @property
    def counts(self) -> Counter[str]:
        """Messages by topic."""
        return self._counts

    @property
    def start_ns(self) -> int | None:
        """The first log time, None without messages."""
        return self._start_ns

    def summary(self) -> FileSummary:
        """What has been written so far."""
        return FileSummary(self._path.name, dict(self._counts), self._start_ns, self._end_ns, self.size_bytes)

    def declare(self, topic: StoredTopic) -> None:
        """Makes a topic known; once."""
        schema = (topic.type, topic.schema_encoding, topic.schema)
        if schema not in self._schemas:
            self._schemas[schema] = self._mcap.register_schema(*schema)
        metadata = {"offered_qos_profiles": topic.qos, "topic_type_hash": topic.type_hash}
        self._channels[topic.name] = self._mcap.register_channel(topic.name, topic.encoding, self._schemas[schema], metadata)

    def write(self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int, sequence: int) -> None:
        """Stores one message of a declared topic."""
        self._mcap.add_message(self._channels[topic], log_time_ns, data, publish_time_ns, sequence & 0xFFFFFFFF)
        self._counts[topic] += 1
        self._start_ns = log_time_ns if self._start_ns is None else min(self._start_ns, log_time_ns)
        self._end_ns = log_time_ns if self._end_ns is None else max(self._end_ns, log_time_ns)
        if self._stream.pending:
            self._hand_over()

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """Adds a file; the same input gives the same bytes, so it carries no time."""
        self._mcap.add_attachment(create_time=0, log_time=0, name=name, media_type=media_type, data=data)
        self._hand_over()

    def note(self, name: str, values: dict[str, str]) -> None:
        """Adds an MCAP metadata record."""
        self._mcap.add_metadata(name, values)
        self._hand_over()

    def cut(self) -> None:
        """Ends the open chunk: what was written so far survives a crash of this process."""
        self._mcap.flush()
        self._hand_over()

    def sync(self) -> None:
        """Waits until what was handed over lies on the disk: it survives a power failure. Another thread may call it meanwhile."""
        try:
            # One of its own: the file may be closed while the disk is waited for.
            descriptor = os.dup(self._file.fileno())
        except ValueError:
            # It has been closed.
            return
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> FileSummary:
        """Finishes the file; where that does not work any more, ends it after the last chunk that fits. Tells what is in it."""
        if not self._closed:
            self._closed = True
            try:
                self._finish()
            finally:
                self._file.close()
        return dataclasses.replace(self.summary(), size_bytes=self._path.stat().st_size)

    def abandon(self) -> None:
        """Closes the file as it is."""
        self._closed = True
        self._file.close()

    def remove(self) -> None:
        """Closes the file and removes it."""
        self.abandon()
        self._path.unlink()

    def _finish(self) -> None:
        if not self._failed:
            try:
                self._mcap.finish()
                self._hand_over()
                return
            except OSError:
                pass
        self._end_early()

    def _hand_over(self) -> None:
        """Writes what is pending, all or nothing."""
        if self._failed:
            raise OSError(f"{self._path}: could not be written before")
        rest = memoryview(bytes(self._stream.pending))
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._failed = True
            raise
        self._stream.written = self._stream.tell()
        self._stream.pending.clear()
        self._boundaries.append(_Boundary(self._stream.written, self._counts.copy(), self._start_ns, self._end_ns))

    def _end_early(self) -> None:
        """Without index and summary, which readers can do without, the end is 50 bytes long."""
        end = RecordBuilder()
        DataEnd(0).write(end)
        Footer(summary_start=0, summary_offset_start=0, summary_crc=0).write(end)
        data = end.end() + MCAP0_MAGIC
        error: OSError | None = None
        while self._boundaries:
            boundary = self._boundaries.pop()
            try:
                self._file.truncate(boundary.offset)
                self._file.seek(boundary.offset)
                if self._file.write(data) == len(data):
                    _, self._counts, self._start_ns, self._end_ns = boundary
                    return
            except OSError as refusal:
                error = refusal
        raise error or OSError(f"{self._path}: the end does not fit on the disk")
