"""Messages of chunks against the MCAP library's own loop."""

from __future__ import annotations

import io
from itertools import chain
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import SeekingReader
from mcap.summary import Summary
from mcap.writer import CompressionType, IndexType, Writer

from aisle_bags.mcap_chunks import Chunks, stored_messages


def file(log_times: list[int], compression: CompressionType = CompressionType.ZSTD, indexes: IndexType = IndexType.ALL) -> IO[bytes]:
    """Messages of three channels in turn, in chunks of few messages, stored in the given order."""
    stream = io.BytesIO()
    writer = Writer(stream, chunk_size=100, compression=compression, index_types=indexes)
    writer.start()
    schema = writer.register_schema("kind", "ros2msg", b"")
    channels = [writer.register_channel(name, "cdr", schema) for name in "abc"]
    for number, log_time_ns in enumerate(log_times):
        writer.add_message(channels[number % 3], log_time_ns, bytes([number % 256]) * (number % 40), log_time_ns, number)
    writer.finish()
    return stream


def summary_of(stream: IO[bytes]) -> Summary:
    stream.seek(0)
    return SeekingReader(stream).get_summary()


def by_library(stream: IO[bytes], topics: str) -> list[tuple[int, int, bytes]]:
    stream.seek(0)
    found = SeekingReader(stream).iter_messages(topics=list(topics))
    return [(message.log_time, message.channel_id, message.data) for _, _, message in found]


def by_chunks(stream: IO[bytes], topics: str) -> list[tuple[int, int, bytes]]:
    summary = summary_of(stream)
    channels = {number for number, channel in summary.channels.items() if channel.topic in topics}
    found = chain.from_iterable(stored_messages(Chunks(stream), summary, channels))
    return [(time, channel, data) for time, _, channel, data, _, _ in found]


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=60),
    st.sampled_from(["abc", "b", "ca"]),
    st.sampled_from(CompressionType),
    st.sampled_from([IndexType.ALL, IndexType.CHUNK]),
)
def test_any_order_of_storage_gives_the_librarys_order(log_times, topics, compression, indexes) -> None:
    stream = file(log_times, compression, indexes)
    assert by_chunks(stream, topics) == by_library(stream, topics)


def test_chunks_are_read_one_after_the_other() -> None:
    stream = file(list(range(300)))
    messages = stored_messages(Chunks(stream), summary_of(stream), {1, 2, 3})
    next(messages)
    assert stream.tell() < len(stream.getvalue()) / 10


def test_damage_is_noticed() -> None:
    stream = file(list(range(40)), CompressionType.NONE)
    summary = summary_of(stream)
    stream.seek(summary.chunk_indexes[1].chunk_start_offset + 80)
    stream.write(b"\xff\xff\xff")
    with pytest.raises(Exception, match=r"(?i)crc"):
        list(stored_messages(Chunks(stream), summary, {1, 2, 3}))


def test_chunks_are_kept_until_all_have_had_them_while_there_is_room() -> None:
    stream = file(list(range(300)))
    indexes = summary_of(stream).chunk_indexes
    room = sum(index.uncompressed_size for index in indexes[:3])
    chunks = Chunks(stream, kept_bytes=room)
    chunks.readings = 2
    first = [chunks.data(index) for index in indexes[:3]]
    assert all(chunks.data(index) is data for index, data in zip(indexes[:3], first, strict=True))
    assert not chunks._kept
    everything = [chunks.data(index) for index in indexes]
    assert 0 < sum(len(data) for data, _ in chunks._kept.values()) <= room
    assert chunks.data(indexes[-1]) is everything[-1]
    assert chunks.data(indexes[0]) == first[0]


def test_chunks_that_one_reads_alone_are_not_kept() -> None:
    stream = file(list(range(300)))
    chunks = Chunks(stream)
    for index in summary_of(stream).chunk_indexes:
        chunks.data(index)
    assert not chunks._kept
