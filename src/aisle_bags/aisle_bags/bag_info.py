"""What is in a bag: topics with rates and gaps, times, what the recorder dropped. Reads only log times and holds none of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aisle_bags.bag_reader import BagReader
from aisle_bags.stored_topics import StoredTopic
from aisle_contract.records import NANOSECONDS

#: Keys of ``custom_data`` under which the recorder tells how many messages it dropped: this and, after it, a topic's name.
DROPPED = "aisle.dropped"
#: An interval this many times as long as the usual one is a gap.
GAP_FACTOR = 3.0
#: A topic is regular if this share of its intervals is within a factor of two of the median; only then are there gaps.
REGULAR_SHARE = 0.8
#: Intervals are counted in classes an eighth of an octave wide, from 1 ns.
_CLASSES_PER_OCTAVE = 8
_CLASSES = 64 * _CLASSES_PER_OCTAVE


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """``rate_hz``: messages by time between the first and the last; None with fewer than two. ``gaps``: None where not regular.

    ``longest_ns`` is the longest interval between two messages, which begins at ``longest_start_ns``.
    """

    topic: StoredTopic
    count: int
    rate_hz: float | None
    gaps: int | None
    longest_ns: int | None
    longest_start_ns: int | None
    dropped: int


@dataclass(frozen=True, slots=True)
class BagInfo:
    """``files``: name and size in bytes. Times in ns since the epoch, None without messages."""

    path: str
    storage: str
    files: tuple[tuple[str, int], ...]
    metadata_version: int | None
    ros_distro: str
    compression: str
    start_ns: int | None
    end_ns: int | None
    topics: tuple[TopicInfo, ...]
    attachments: tuple[tuple[str, int], ...]
    custom_data: Mapping[str, str]

    @property
    def message_count(self) -> int:
        return sum(topic.count for topic in self.topics)

    @property
    def duration_s(self) -> float:
        return 0.0 if self.start_ns is None or self.end_ns is None else (self.end_ns - self.start_ns) / NANOSECONDS

    @property
    def dropped(self) -> int:
        """Messages that the recorder could not keep."""
        return sum(topic.dropped for topic in self.topics)

    def as_json(self) -> dict[str, Any]:
        """Plain values; times in ns, intervals in s."""
        return {
            "path": self.path,
            "storage": self.storage,
            "files": [{"name": name, "bytes": size} for name, size in self.files],
            "metadata_version": self.metadata_version,
            "ros_distro": self.ros_distro,
            "compression": self.compression,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "duration_s": self.duration_s,
            "messages": self.message_count,
            "dropped": self.dropped,
            "topics": [_topic_json(topic) for topic in self.topics],
            "attachments": [{"name": name, "bytes": size} for name, size in self.attachments],
            "custom_data": dict(self.custom_data),
        }


def bag_info(reader: BagReader, read: Callable[[int], None] = lambda count: None) -> BagInfo:
    """Looks through the log times of a bag; ``read`` is called with numbers of messages, for progress. Raises BagError."""
    intervals = {name: _Intervals() for name in reader.topics}
    for name, times in reader.log_times():
        intervals[name].add(times)
        read(len(times))
    metadata = reader.metadata
    custom = dict(metadata.custom) if metadata else {}
    drops = dropped_messages(custom)
    names = sorted({*reader.topics, *drops})
    return BagInfo(
        path=str(reader.path),
        storage=reader.storage,
        files=tuple((file.name, file.stat().st_size) for file in reader.files),
        metadata_version=metadata.version if metadata else None,
        ros_distro=metadata.ros_distro if metadata else "",
        compression=metadata.compression_mode if metadata else "none",
        start_ns=reader.start_ns,
        end_ns=reader.end_ns,
        topics=tuple(_topic_info(reader, name, intervals.get(name) or _Intervals(), drops.get(name, 0)) for name in names),
        attachments=tuple((name, len(data)) for name, data in sorted(reader.attachments().items())),
        custom_data=custom,
    )


def dropped_messages(custom_data: Mapping[str, str]) -> dict[str, int]:
    """How many messages of each topic were dropped, as the bag's metadata tell; empty where they do not."""
    told = {key.removeprefix(DROPPED).strip(): value for key, value in custom_data.items() if key.startswith(f"{DROPPED} ")}
    return {name: int(count) for name, count in told.items() if count.isdecimal() and int(count)}


def _topic_info(reader: BagReader, name: str, intervals: _Intervals, dropped: int) -> TopicInfo:
    stored = reader.stored_topics.get(name) or StoredTopic(name, "", "", "", b"")
    count = reader.topics[name].count if name in reader.topics else 0
    return TopicInfo(stored, count, intervals.rate_hz(), intervals.gaps(), *intervals.longest, dropped)


def _topic_json(info: TopicInfo) -> dict[str, Any]:
    return {
        "name": info.topic.name,
        "type": info.topic.type,
        "messages": info.count,
        "rate_hz": info.rate_hz,
        "gaps": info.gaps,
        "longest_interval_s": None if info.longest_ns is None else info.longest_ns / NANOSECONDS,
        "longest_interval_start_ns": info.longest_start_ns,
        "latched": info.topic.latched,
        "dropped": info.dropped,
        "definition": info.topic.schema_encoding if info.topic.schema else None,
    }


class _Intervals:
    """Statistics of the times between a topic's messages, by counts of classes of them."""

    def __init__(self) -> None:
        self._count = 0
        self._first: int | None = None
        self._last: int | None = None
        self._classes = np.zeros(_CLASSES, np.int64)
        self.longest: tuple[int | None, int | None] = (None, None)

    def add(self, times: np.ndarray) -> None:
        """Log times, int64 ns; pieces come in about the order of time."""
        if not len(times):
            return
        times = np.sort(times)
        self._count += len(times)
        if self._last is not None:
            times = np.concatenate([[self._last], times])
        self._first = int(times.min()) if self._first is None else min(self._first, int(times.min()))
        # A piece that reaches back before the last time is of a chunk that overlaps another: what lies between counts as none.
        steps = np.maximum(np.diff(times), 0)
        self._last = int(times.max())
        if not len(steps):
            return
        classes = np.log2(np.maximum(steps, 1)) * _CLASSES_PER_OCTAVE
        self._classes += np.bincount(classes.astype(np.int64), minlength=_CLASSES)
        widest = int(steps.argmax())
        if self.longest[0] is None or steps[widest] > self.longest[0]:
            self.longest = (int(steps[widest]), int(times[widest]))

    def rate_hz(self) -> float | None:
        if self._first is None or self._last is None or self._count < 2 or self._last <= self._first:
            return None
        return (self._count - 1) * NANOSECONDS / (self._last - self._first)

    def gaps(self) -> int | None:
        """How many intervals are much longer than the usual one; None where no interval is usual."""
        total = int(self._classes.sum())
        if total < 10:
            return None
        median = int(np.searchsorted(np.cumsum(self._classes), total / 2))
        near = self._classes[max(median - _CLASSES_PER_OCTAVE, 0) : median + _CLASSES_PER_OCTAVE + 1].sum()
        if near < REGULAR_SHARE * total:
            return None
        return int(self._classes[median + math.ceil(math.log2(GAP_FACTOR) * _CLASSES_PER_OCTAVE) + 1 :].sum())
