"""Reads one MCAP file of a bag in the order of log times, without holding more of it than chunks whose times overlap.

Files with chunk indexes are read by them. What has none (rosbag2's preset ``fastwrite``, writers that were told to leave them out) is
looked through once, after which it is read the same way.
"""

from __future__ import annotations

import heapq
import io
import struct
from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, ChunkIndex, Message, Schema
from mcap.stream_reader import breakup_chunk
from mcap.summary import Summary

from aisle_bags.bag_errors import BagError
from aisle_bags.bag_metadata import STORED_METADATA, STORED_METADATA_KEY, BagMetadata, parse_stored_metadata
from aisle_bags.latched_messages import REPEATED, Repeated, read_repeated
from aisle_bags.mcap_chunks import Chunks, StoredMessage, stored_messages
from aisle_bags.message_compression import decompressed
from aisle_bags.stored_messages import RawMessage
from aisle_bags.stored_topics import StoredTopic, full_type_name, normal_qos

MAGIC = b"\x89MCAP0\r\n"
#: ROS's times are signed; MCAP's go further.
LAST_TIME_NS = (1 << 63) - 1
#: Opcode and length, as they stand before each record's content.
RECORD_HEADER = struct.Struct("<BQ")
#: Start, end, uncompressed size and checksum, as they stand at the beginning of a chunk.
CHUNK_HEADER = struct.Struct("<QQQI")
#: A ``RawMessage`` of a tuple of all its fields, at a third of what its constructor costs.
_message = partial(tuple.__new__, RawMessage)


class McapSource:
    """One open file. Raises BagError for what is no closed MCAP file with ROS 2 messages."""

    storage = "mcap"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._repeated: dict[str, Repeated] = {}
        self._stream = _opened(path)
        self._chunks = Chunks(self._stream)
        try:
            self._contents = _contents(path, self._stream)
            if self.end_ns is not None and self.end_ns > LAST_TIME_NS:
                raise BagError(f"{path}: a message was logged at {self.end_ns} ns, expected at most {LAST_TIME_NS} ns, in the year 2262")
            self._topics = {
                channel_id: topic_of_channel(path, channel, self._contents.summary.schemas.get(channel.schema_id))
                for channel_id, channel in sorted(self._contents.summary.channels.items())
            }
        except BaseException:
            self._stream.close()
            raise

    def close(self) -> None:
        self._stream.close()

    @property
    def topics(self) -> list[StoredTopic]:
        """A topic that several channels carry comes several times."""
        return list(self._topics.values())

    @property
    def counts(self) -> Counter[str]:
        """Messages by topic."""
        counts: Counter[str] = Counter()
        for channel_id, topic in self._topics.items():
            counts[topic.name] += self._contents.counts[channel_id]
        for name, repeated in self._repeated.items():
            if name in counts:
                counts[name] = max(counts[name] - repeated.count, 0)
        return counts

    @property
    def start_ns(self) -> int | None:
        """The first log time; None without messages."""
        return self._contents.start_ns

    @property
    def end_ns(self) -> int | None:
        """The last log time; None without messages."""
        return self._contents.end_ns

    def leave_out_repeated(self) -> None:
        """Skips from now on what this file repeats of those before it, which are read too."""
        for name, values in self.metadata_records():
            if name == REPEATED:
                try:
                    self._repeated = read_repeated(values)
                except ValueError as error:
                    raise _damaged(self.path, error) from error

    def read_side_by_side(self, readings: int) -> None:
        """So many calls of ``messages`` will go on at the same time: what they share is decompressed once."""
        self._chunks.readings = readings

    def stored_metadata(self) -> BagMetadata | None:
        """The bag's metadata as the file itself carries them, if it does."""
        for name, values in self.metadata_records():
            if name == STORED_METADATA and STORED_METADATA_KEY in values:
                return parse_stored_metadata(values[STORED_METADATA_KEY])
        return None

    def metadata_records(self) -> Iterator[tuple[str, dict[str, str]]]:
        """MCAP's metadata records: name, values."""
        for record in _told(self.path, SeekingReader(_rewound(self._stream)).iter_metadata()):
            yield record.name, dict(record.metadata)

    def attachments(self) -> Iterator[tuple[str, str, bytes]]:
        """Attached files: name, media type, content."""
        for record in _told(self.path, SeekingReader(_rewound(self._stream)).iter_attachments()):
            yield record.name, record.media_type, record.data

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        *,
        compressed: bool = False,
    ) -> Iterator[RawMessage]:
        """Messages of these topics (all by default) in the order of log times, from ``start_ns`` to before ``end_ns``.

        ``compressed``: messages may be compressed one by one.
        """
        wanted = {number: (topic.name, topic.type) for number, topic in self._topics.items() if topics is None or topic.name in topics}
        repeated = {number: self._repeated[name].last for number, (name, _) in wanted.items() if name in self._repeated}
        for some in _told(self.path, self._stored(wanted, start_ns, end_ns)):
            if not (repeated or compressed):
                # Nearly always.
                yield from [_message((*wanted[number], time, data, sent, sequence)) for time, _, number, data, sent, sequence in some]
                continue
            for log_time_ns, _, number, data, publish_time_ns, sequence in some:
                if repeated and number in repeated and sequence <= repeated[number]:
                    continue
                if compressed:
                    data = decompressed(self.path, data)
                topic, type_name = wanted[number]
                yield _message((topic, type_name, log_time_ns, data, publish_time_ns, sequence))

    def log_times(self) -> Iterator[tuple[str, np.ndarray]]:
        """Log times by topic, int64 ns, in pieces: one for each topic of a chunk, in the file's order. Reads only message indexes."""
        left_out = Counter({name: repeated.count for name, repeated in self._repeated.items()})
        for name, times in self._all_log_times():
            # What is repeated comes first.
            skipped = min(left_out[name], len(times))
            left_out[name] -= skipped
            if skipped < len(times):
                yield name, times[skipped:]

    def _all_log_times(self) -> Iterator[tuple[str, np.ndarray]]:
        names = {number: topic.name for number, topic in self._topics.items()}
        for index in sorted(self._contents.summary.chunk_indexes, key=lambda index: index.chunk_start_offset):
            yield from _told(self.path, self._chunk_log_times(index, names))
        loose = self._contents.loose
        for number in np.unique(loose.channels):
            yield names[int(number)], loose.times[loose.channels == number]

    def _stored(self, wanted: Collection[int], start_ns: int | None, end_ns: int | None) -> Iterator[list[StoredMessage]]:
        loose = self._loose_messages(wanted, start_ns, end_ns)
        if not self._contents.summary.chunk_indexes:
            return ([message] for message in loose)
        chunked = stored_messages(self._chunks, self._contents.summary, wanted, start_ns, end_ns)
        if not len(self._contents.loose.times):
            return chunked
        return ([message] for message in heapq.merge(chain.from_iterable(chunked), loose, key=itemgetter(0)))

    def _loose_messages(self, wanted: Collection[int], start_ns: int | None, end_ns: int | None) -> Iterator[StoredMessage]:
        loose = self._contents.loose
        chosen = np.isin(loose.channels, list(wanted))
        if start_ns is not None:
            chosen &= loose.times >= start_ns
        if end_ns is not None:
            chosen &= loose.times < end_ns
        places = np.flatnonzero(chosen)
        for place in places[np.argsort(loose.times[places], kind="stable")]:
            self._stream.seek(int(loose.offsets[place]))
            _, length = RECORD_HEADER.unpack(self._stream.read(RECORD_HEADER.size))
            message = Message.read(ReadDataStream(self._stream), length)
            yield message.log_time, 0, message.channel_id, message.data, message.publish_time, message.sequence

    def _chunk_log_times(self, index: ChunkIndex, names: dict[int, str]) -> Iterator[tuple[str, np.ndarray]]:
        if not index.message_index_offsets:
            self._stream.seek(index.chunk_start_offset + RECORD_HEADER.size)
            times: dict[int, list[int]] = {}
            for record in breakup_chunk(Chunk.read(ReadDataStream(self._stream)), validate_crc=True):
                if isinstance(record, Message):
                    times.setdefault(record.channel_id, []).append(record.log_time)
            for number, found in times.items():
                yield names[number], np.array(found, np.int64)
        for number, offset in index.message_index_offsets.items():
            self._stream.seek(offset + RECORD_HEADER.size)
            head = self._stream.read(6)
            (length,) = struct.unpack("<I", head[2:])
            entries = np.frombuffer(self._stream.read(length), "<u8")
            yield names[number], entries[::2].astype(np.int64)


class _Loose(NamedTuple):
    """Messages outside of chunks: where each lies, its channel and its log time (ns)."""

    offsets: np.ndarray
    channels: np.ndarray
    times: np.ndarray


@dataclass
class _Contents:
    summary: Summary
    counts: Counter[int]
    start_ns: int | None
    end_ns: int | None
    loose: _Loose = field(default_factory=lambda: _Loose(*(np.zeros(0, np.int64) for _ in range(3))))


def record_headers(stream: IO[bytes], start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Records between two bytes of a file: opcode, byte at which the record begins, length of its content.

    Ends at ``end`` or at the first record that does not fit in front of it.
    """
    position = start
    while position + RECORD_HEADER.size <= end:
        stream.seek(position)
        opcode, length = RECORD_HEADER.unpack(stream.read(RECORD_HEADER.size))
        if position + RECORD_HEADER.size + length > end:
            return
        yield opcode, position, length
        position += RECORD_HEADER.size + length


def _opened(path: Path) -> IO[bytes]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise BagError(f"{path}: cannot be read: {error.strerror}") from error
    found = stream.read(len(MAGIC))
    if found != MAGIC:
        stream.close()
        raise BagError(f"{path}: not an MCAP file (it does not begin with MCAP's magic bytes)")
    return stream


def _contents(path: Path, stream: IO[bytes]) -> _Contents:
    try:
        summary = SeekingReader(_rewound(stream)).get_summary()
    except Exception as error:
        # The library raises whatever its parsers stumble over.
        raise BagError(
            f"{path}: its end is missing or damaged ({str(error) or type(error).__name__}), expected a closed file; "
            "'./aisle bag recover' saves what is readable"
        ) from error
    if summary is not None and _is_complete(summary):
        statistics = summary.statistics
        times = (statistics.message_start_time, statistics.message_end_time) if statistics.message_count else (None, None)
        return _Contents(summary, Counter(statistics.channel_message_counts), *times)
    try:
        return _scanned(stream)
    except Exception as error:
        raise _damaged(path, error) from error


def _is_complete(summary: Summary) -> bool:
    """Whether everything needed for reading stands in the summary."""
    statistics = summary.statistics
    if statistics is None or set(statistics.channel_message_counts) - set(summary.channels):
        return False
    if any(channel.schema_id and channel.schema_id not in summary.schemas for channel in summary.channels.values()):
        return False
    if statistics.message_count and not summary.channels:
        return False
    return len(summary.chunk_indexes) == statistics.chunk_count and (statistics.chunk_count > 0 or statistics.message_count == 0)


def _scanned(stream: IO[bytes]) -> _Contents:
    summary, counts = Summary(), Counter[int]()
    offsets, channels, times = array("q"), array("q"), array("q")
    spans: list[tuple[int, int]] = []
    for opcode, position, length in record_headers(stream, len(MAGIC), stream.seek(0, io.SEEK_END)):
        stream.seek(position + RECORD_HEADER.size)
        data = ReadDataStream(stream)
        if opcode == Opcode.CHUNK:
            chunk = Chunk.read(data)
            records = breakup_chunk(chunk, validate_crc=True)
            for record in records:
                _note(record, summary, counts)
            if logged := [record.log_time for record in records if isinstance(record, Message)]:
                spans.append((min(logged), max(logged)))
                summary.chunk_indexes.append(_index_of(chunk, position, length, *spans[-1]))
        elif opcode == Opcode.SCHEMA:
            _note(Schema.read(data), summary, counts)
        elif opcode == Opcode.CHANNEL:
            _note(Channel.read(data), summary, counts)
        elif opcode == Opcode.MESSAGE:
            message = Message.read(data, length)
            _note(message, summary, counts)
            offsets.append(position)
            channels.append(message.channel_id)
            times.append(message.log_time)
        elif opcode == Opcode.DATA_END:
            break
    unknown = counts.keys() - summary.channels.keys()
    if unknown:
        raise ValueError(f"messages of channel {min(unknown)}, which is not declared")
    loose = _Loose(*(np.frombuffer(values, np.int64) if values else np.zeros(0, np.int64) for values in (offsets, channels, times)))
    if len(loose.times):
        spans.append((int(loose.times.min()), int(loose.times.max())))
    start_ns, end_ns = min((start for start, _ in spans), default=None), max((end for _, end in spans), default=None)
    return _Contents(summary, counts, start_ns, end_ns, loose)


def _note(record: object, summary: Summary, counts: Counter[int]) -> None:
    if isinstance(record, Schema):
        summary.schemas[record.id] = record
    elif isinstance(record, Channel):
        summary.channels[record.id] = record
    elif isinstance(record, Message):
        counts[record.channel_id] += 1


def _index_of(chunk: Chunk, position: int, length: int, start_ns: int, end_ns: int) -> ChunkIndex:
    """As the file's own would be, but without message indexes."""
    return ChunkIndex(
        chunk_length=RECORD_HEADER.size + length,
        chunk_start_offset=position,
        compression=chunk.compression,
        compressed_size=len(chunk.data),
        message_end_time=end_ns,
        message_index_length=0,
        message_index_offsets={},
        message_start_time=start_ns,
        uncompressed_size=chunk.uncompressed_size,
    )


def topic_of_channel(path: Path, channel: Channel, schema: Schema | None) -> StoredTopic:
    """The topic that a channel carries. Raises BagError for one that is not ROS 2's."""
    if channel.message_encoding != "cdr":
        raise BagError(f"{path}: topic '{channel.topic}' is encoded as '{channel.message_encoding}', expected ROS 2's 'cdr'")
    if schema is None:
        raise BagError(f"{path}: topic '{channel.topic}' has no schema, expected the name of its message type")
    return StoredTopic(
        name=channel.topic,
        type=full_type_name(schema.name),
        qos=normal_qos(channel.metadata.get("offered_qos_profiles")),
        schema_encoding=schema.encoding if schema.data else "",
        schema=schema.data,
        type_hash=channel.metadata.get("topic_type_hash", ""),
    )


def _rewound(stream: IO[bytes]) -> IO[bytes]:
    stream.seek(0)
    return stream


def _damaged(path: Path, error: Exception) -> BagError:
    return BagError(f"{path}: damaged: {type(error).__name__}: {error}; './aisle bag recover' saves what is readable")


def _told(path: Path, items: Iterator) -> Iterator:
    """Passes on what the MCAP library reads. It raises whatever its parsers and decompressors stumble over; here that becomes one error."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except BagError:
            raise
        except Exception as error:
            raise _damaged(path, error) from error
        yield item
