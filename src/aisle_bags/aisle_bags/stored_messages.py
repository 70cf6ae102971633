"""Messages as bags store them, and how those of several files become one sequence."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple


class RawMessage(NamedTuple):
    """One stored message: ``data`` is its CDR form. ``publish_time_ns`` is the log time where the bag does not know it."""

    topic: str
    type: str
    log_time_ns: int
    data: bytes
    publish_time_ns: int = 0
    sequence: int = 0


def in_time_order(streams: Iterable[tuple[int | None, Iterator[RawMessage]]]) -> Iterator[RawMessage]:
    """Merges streams, each in the order of log times and given with its first log time (None: it is empty).

    Of one time, the first stream's messages come first. A stream is not touched before its time comes, so that files that follow one
    another are read one after the other.
    """
    filled = [(start_ns, stream) for start_ns, stream in streams if start_ns is not None]
    if len(filled) == 1:
        return filled[0][1]
    announced = [_announced(start_ns, stream) for start_ns, stream in filled]
    return (message for _, message in heapq.merge(*announced, key=itemgetter(0)) if message is not None)


def _announced(start_ns: int, stream: Iterator[RawMessage]) -> Iterator[tuple[int, RawMessage | None]]:
    yield start_ns, None
    for message in stream:
        yield message.log_time_ns, message
