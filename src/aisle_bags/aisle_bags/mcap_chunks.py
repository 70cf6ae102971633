"""Messages of a chunked MCAP file, several times faster than the MCAP library's own loop: no object is made for what is not wanted.

The library still finds, decompresses and checks the chunks; here only the records within a chunk are told apart, by ``aisle_kernels``
(https://mcap.dev/spec, "Message (op=0x05)").
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Collection, Iterator
from operator import itemgetter
from typing import IO

from mcap.data_stream import ReadDataStream
from mcap.records import Chunk, ChunkIndex
from mcap.stream_reader import get_chunk_data_stream
from mcap.summary import Summary

import aisle_kernels

#: Bytes of opcode and length, as they stand before a record's content.
_RECORD_HEAD = 9
_MOST_CHANNELS = 1 << 16

#: Log time (ns), byte of the file at which its chunk begins, channel id, serialised form, publish time (ns), sequence number.
StoredMessage = tuple[int, int, int, bytes, int, int]
_TIME_AND_CHUNK = itemgetter(0, 1)
_TIME = itemgetter(0)


class Chunks:
    """Decompressed chunks of one file. Where several topics are read one beside the other (``readings``, of which each gets a chunk once),
    they are kept until all have had them, the newest of them up to ``kept_bytes``."""

    def __init__(self, stream: IO[bytes], kept_bytes: int = 32 << 20) -> None:
        self._stream = stream
        self._room = kept_bytes
        self._kept: dict[int, tuple[bytes, int]] = {}
        self.readings = 1

    def data(self, index: ChunkIndex) -> bytes:
        """Raises what the MCAP library raises for a damaged chunk."""
        place = index.chunk_start_offset
        if place in self._kept:
            data, readings = self._taken_out(place)
        else:
            data, readings = _chunk_data(self._stream, index), self.readings
        if readings > 1:
            self._kept[place] = data, readings - 1
            self._room -= len(data)
            while self._room < 0:
                self._taken_out(next(iter(self._kept)))
        return data

    def _taken_out(self, place: int) -> tuple[bytes, int]:
        data, readings = self._kept.pop(place)
        self._room += len(data)
        return data, readings


def stored_messages(
    chunks: Chunks, summary: Summary, channels: Collection[int], start_ns: int | None = None, end_ns: int | None = None
) -> Iterator[list[StoredMessage]]:
    """Messages of these channels in the order of their log times, some at a time; those of one time in the order in which they were stored.

    Only those from ``start_ns`` on and before ``end_ns``, where given.
    ``summary`` must have chunk indexes. The file is read from time to time, each time after seeking. Only messages of chunks whose times
    overlap are held together. Raises what the MCAP library raises for damaged chunks, ValueError for a record that does not fit its chunk.
    """
    indexes = [
        index
        for index in summary.chunk_indexes
        if _may_hold(index, channels)
        and (start_ns is None or index.message_end_time >= start_ns)
        and (end_ns is None or index.message_start_time < end_ns)
    ]
    indexes.sort(key=lambda index: (index.message_start_time, index.chunk_start_offset))
    wanted = bytearray(_MOST_CHANNELS)
    for channel in channels:
        wanted[channel] = 1
    held: list[StoredMessage] = []
    for number, index in enumerate(indexes, 1):
        held += aisle_kernels.chunk_messages(chunks.data(index), index.chunk_start_offset, wanted)
        held.sort(key=_TIME_AND_CHUNK)
        if start_ns is not None:
            del held[: bisect_left(held, start_ns, key=_TIME)]
        if end_ns is not None:
            del held[bisect_left(held, end_ns, key=_TIME) :]
        until = len(held) if number == len(indexes) else bisect_left(held, indexes[number].message_start_time, key=_TIME)
        yield held[:until]
        del held[:until]


def _may_hold(index: ChunkIndex, channels: Collection[int]) -> bool:
    """Without message indexes only a look into the chunk tells."""
    return not index.message_index_offsets or not index.message_index_offsets.keys().isdisjoint(channels)


def _chunk_data(stream: IO[bytes], index: ChunkIndex) -> bytes:
    stream.seek(index.chunk_start_offset + _RECORD_HEAD, io.SEEK_SET)
    data_stream, length = get_chunk_data_stream(Chunk.read(ReadDataStream(stream)), validate_crc=True)
    return data_stream.read(length)
