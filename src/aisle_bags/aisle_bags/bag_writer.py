"""Writes rosbag2 bags: MCAP or SQLite files with message definitions, and metadata.yaml, as ``ros2 bag`` and rosbags read them.

Messages are taken as CDR bytes and stored untouched. Format: https://mcap.dev/spec, profile "ros2"; rosbag2's metadata version 9.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from aisle_bags import mcap_file, sqlite_file
from aisle_bags.bag_metadata import (
    METADATA_FILE,
    STORED_METADATA,
    STORED_METADATA_KEY,
    FileSummary,
    metadata_information,
    metadata_text,
)
from aisle_bags.latched_messages import REPEATED, LatchedMessages, repeated_note
from aisle_bags.mcap_file import McapFile
from aisle_bags.sqlite_file import SqliteFile
from aisle_bags.stored_messages import RawMessage
from aisle_bags.stored_topics import StoredTopic, plain_yaml, stored_topic
from aisle_contract.conversions import serialised, to_message
from aisle_contract.record_topics import topic_of
from aisle_contract.records import Record, ScaleReading
from aisle_contract.topics import Topic

#: A file that is removed to make room for the bag's end.
_RESERVE = ".reserve"


class BagWriter:
    """One new bag in ``folder``, which must not exist (FileExistsError).

    ``storage`` is mcap or sqlite3; ``compression`` of MCAP's chunks zstd (default), lz4 or none; of SQLite none (default), file or
    message. ``ros_distro`` is the one that the messages are from, by default this environment's.

    With ``whole`` the bag appears only when it is closed without an error: nothing half-written stays. Without it (for recorders) the
    files lie in place from the start, so that a crash costs no more than the last chunk.

    ``reserve_bytes`` of the disk are taken at the start and given back for the end, metadata.yaml above all: it fits on a full disk, too.

    A new file is begun when one is ``split_bytes`` large or holds ``split_ns`` of log time (0: never). Each file can be read alone: it
    has the topics, their definitions and the attachments. With ``repeat_latched`` (MCAP only; it may be set until the first message) each
    file begins with what latched topics had said before, logged with its first message but with the publish times and numbers that it had;
    ``BagReader`` leaves out what is repeated where it reads the files before, too. Without it a message is in one file only.
    """

    def __init__(
        self,
        folder: Path,
        *,
        storage: str = "mcap",
        compression: str | None = None,
        chunk_bytes: int = 1 << 20,
        whole: bool = True,
        split_bytes: int = 0,
        split_ns: int = 0,
        reserve_bytes: int = 0,
        repeat_latched: bool = False,
        ros_distro: str | None = None,
    ) -> None:
        self._folder = Path(folder)
        self._storage, self._compression = storage, compression_of(storage, compression)
        if self._folder.exists():
            raise FileExistsError(f"{self._folder} exists already: a bag is never overwritten, give another name or remove it")
        self._work_folder = self._folder.with_name(f".{self._folder.name}.{os.getpid()}.part") if whole else self._folder
        self._work_folder.mkdir(parents=True)
        self._chunk_bytes = chunk_bytes
        self._ros_distro = os.environ.get("ROS_DISTRO", "rosbags") if ros_distro is None else ros_distro
        self._split_bytes, self._split_ns = split_bytes, split_ns
        self.repeat_latched = repeat_latched
        self._latched = LatchedMessages()
        self._repeated: Counter[str] = Counter()
        self._begins, self._begin_bytes = True, 0
        self._stored: Counter[str] = Counter()
        self._topics: dict[str, StoredTopic] = {}
        self._declared: dict[str, Topic] = {}
        self._counts: Counter[str] = Counter()
        self._attachments: list[tuple[str, str, bytes]] = []
        self._files: list[FileSummary] = []
        self._number = 0
        self._ended = self._closed = False
        #: Stands in metadata.yaml's ``custom_data`` when the bag is closed.
        self.custom_data: dict[str, str] = {}
        self._reserve = self._work_folder / _RESERVE
        try:
            if reserve_bytes:
                _reserve(self._reserve, reserve_bytes)
            self._file = self._new_file()
        except OSError:
            # A full disk: nothing has been written that somebody could want.
            shutil.rmtree(self._work_folder)
            raise
        self._is_open = True

    @property
    def folder(self) -> Path:
        """Where the files lie now."""
        return self._work_folder

    @property
    def counts(self) -> Counter[str]:
        """Messages written, by topic name; repeated ones count once."""
        return self._counts

    @property
    def topics(self) -> Mapping[str, StoredTopic]:
        """Topics by name."""
        return self._topics

    @property
    def files(self) -> tuple[FileSummary, ...]:
        """The files that are closed; after ``close`` all."""
        return tuple(self._files)

    def add_topic(self, topic: Topic) -> None:
        """Declares a topic; ``topic.name`` is stored as it is (bags hold full names). A topic declared twice must be the same.

        Raises UnknownMessageType if the type's definition is not installed, ValueError for a second type or QoS on one name.
        """
        known = self._declared.get(topic.name)
        if known is None:
            self.add_stored_topic(stored_topic(topic))
            self._declared[topic.name] = topic
        elif known != topic:
            raise ValueError(f"topic '{topic.name}' is {known.type} in this bag already, got {topic.type} ({topic.qos.name})")

    def add_stored_topic(self, topic: StoredTopic) -> None:
        """Declares a topic as another bag holds it; one declared twice must be the same (ValueError)."""
        known = self._topics.get(topic.name)
        if known is None:
            self._topics[topic.name] = topic
            self._file.declare(topic)
        elif known != topic:
            raise ValueError(f"topic '{topic.name}' is {known.type} in this bag already, got {topic.type} or another QoS or definition")

    def write(
        self, topic_name: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None, sequence: int | None = None
    ) -> None:
        """Stores one serialised message of a declared topic (KeyError otherwise), received at ``log_time_ns``.

        It is taken to be published then and numbered within its topic unless told otherwise.
        """
        if self._is_full(log_time_ns):
            self.split()
        published_ns = log_time_ns if publish_time_ns is None else publish_time_ns
        number = self._counts[topic_name] if sequence is None else sequence
        topic = self._topics[topic_name]
        if self._begins:
            self._begin(log_time_ns)
        self._file.write(topic_name, data, log_time_ns, published_ns, number)
        self._counts[topic_name] += 1
        if self.repeat_latched and topic.latched:
            self._latched.add(topic, RawMessage(topic_name, topic.type, log_time_ns, data, published_ns, number))

    def write_message(self, topic: Topic, message: Any, log_time_ns: int) -> None:
        """Stores a ROS message object, declaring its topic where needed."""
        self.add_topic(topic)
        self.write(topic.name, serialised(message), log_time_ns)

    def write_record(self, record: Record, namespace: str = "/") -> None:
        """Stores a record on its topic below ``namespace``, logged when a live recorder would have received it at the earliest."""
        self.write_message(absolute(topic_of(record), namespace), to_message(record), available_ns(record))

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """Adds a file to the bag (an MCAP attachment), to this and all later files of it."""
        self._attachments.append((name, media_type, data))
        self._file.attach(name, media_type, data)

    def note(self, name: str, values: Mapping[str, str]) -> None:
        """Adds an MCAP metadata record; SQLite has no place for it."""
        self._file.note(name, dict(values))

    def split(self) -> None:
        """Closes the file and begins the next one."""
        self._finish_file()
        self._number += 1
        self._file = self._new_file()
        self._is_open = self._begins = True

    def drop_oldest(self) -> None:
        """Removes the oldest closed file."""
        (self._work_folder / self._files.pop(0).name).unlink()

    def cut(self) -> None:
        """Ends the open chunk: what was written so far survives a crash of this process."""
        self._file.cut()

    def sync(self) -> None:
        """Waits until what was cut lies on the disk: it survives a power failure."""
        self._file.sync()

    def end(self) -> Counter[str]:
        """Closes the last file; ``close`` has to follow. Gives the messages that the disk did not take any more, by topic."""
        if not self._ended:
            self._ended = True
            self._reserve.unlink(missing_ok=True)
            if self._is_open:
                self._finish_file()
        return self._counts - self._stored

    def close(self) -> None:
        """Finishes the bag and puts it in its place. OSError where the disk does not take the end; what it took can be read."""
        if self._closed:
            return
        self.end()
        self._closed = True
        compression = self._compression if self._compression in ("file", "message") else ""
        options = {"storage": self._storage, "compression": compression, "ros_distro": self._ros_distro}
        write_metadata(self._work_folder, metadata_text(list(self._topics.values()), self._files, self.custom_data, **options))
        if self._work_folder != self._folder:
            self._work_folder.rename(self._folder)

    def discard(self) -> None:
        """Gives up: a bag that was to appear whole leaves nothing, any other keeps what was written."""
        if self._work_folder == self._folder:
            self.close()
        elif not self._closed:
            self._closed = True
            self._file.abandon()
            shutil.rmtree(self._work_folder)

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _new_file(self) -> McapFile | SqliteFile:
        path = self._work_folder / f"{self._folder.name}_{self._number}"
        file: McapFile | SqliteFile
        if self._storage == "mcap":
            file = McapFile(path.with_name(f"{path.name}.mcap"), self._compression, self._chunk_bytes)
        else:
            file = SqliteFile(path.with_name(f"{path.name}.db3"), self._compression, self._ros_distro)
        try:
            for attachment in self._attachments:
                file.attach(*attachment)
        except OSError:
            # A full disk. The files before are closed, and readers would stumble over a part of one.
            file.remove()
            raise
        for topic in self._topics.values():
            file.declare(topic)
        return file

    def _begin(self, log_time_ns: int) -> None:
        """Puts what is latched at the beginning of a file."""
        self._begins, self._begin_bytes = False, 0
        if not self.repeat_latched:
            return
        earlier = self._latched.messages()
        self._repeated = Counter(message.topic for message in earlier)
        self._file.note(REPEATED, repeated_note(earlier))
        for message in earlier:
            self._file.write(message.topic, message.data, log_time_ns, message.publish_time_ns, message.sequence)
        if earlier:
            self._file.cut()
            # It does not count for the size at which the next file is begun: else there might be no end of files.
            self._begin_bytes = self._file.size_bytes

    def _is_full(self, log_time_ns: int) -> bool:
        if self._begins:
            return False
        if self._split_ns and log_time_ns - self._file.start_ns >= self._split_ns:
            return True
        return bool(self._split_bytes) and self._file.size_bytes - self._begin_bytes >= self._split_bytes

    def _finish_file(self) -> None:
        """Closes the file. It carries metadata of its own, for those who get it without the rest of the bag."""
        self._is_open = False
        compression = "message" if self._compression == "message" else ""
        options = {"storage": self._storage, "compression": compression, "ros_distro": self._ros_distro}
        information = metadata_information(list(self._topics.values()), [self._file.summary()], self.custom_data, **options)
        # On a full disk the file is closed as far as it fits; metadata.yaml says it all the same.
        with contextlib.suppress(OSError):
            self._file.note(STORED_METADATA, {STORED_METADATA_KEY: plain_yaml(information)})
        closed = self._file.close()
        self._files.append(closed)
        self._stored += Counter(closed.counts) - self._repeated
        self._repeated = Counter()


def _reserve(path: Path, size: int) -> None:
    with path.open("xb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


class UnknownCompression(ValueError):
    """Names the storage, the compression that was asked for and those that it has."""


def compression_of(storage: str, compression: str | None) -> str:
    """A storage's compression, by default zstd for MCAP and none for SQLite. Raises UnknownCompression."""
    choices = {"mcap": ("zstd", *mcap_file.COMPRESSIONS), "sqlite3": sqlite_file.COMPRESSIONS}
    if storage not in choices:
        raise UnknownCompression(f"storage is '{storage}', expected one of {', '.join(choices)}")
    chosen = choices[storage][0] if compression is None else compression
    if chosen not in choices[storage]:
        raise UnknownCompression(f"compression of {storage} is '{chosen}', expected one of {', '.join(sorted(set(choices[storage])))}")
    return chosen


def write_metadata(folder: Path, text: str) -> None:
    """Writes a bag's metadata.yaml, or nothing: readers do without it, but not with half of it."""
    part = folder / f".{METADATA_FILE}.part"
    try:
        part.write_text(text)
        part.rename(folder / METADATA_FILE)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def absolute(topic: Topic, namespace: str) -> Topic:
    """A topic with its full name in a namespace, as bags name topics; names that begin with ``/`` already are full."""
    if topic.name.startswith("/"):
        return topic
    return Topic(f"/{namespace.strip('/')}/{topic.name}".replace("//", "/"), topic.type, topic.qos)


def available_ns(record: Record) -> int:
    """When a record can first be on the wire: a batch of weights not before its last sample."""
    return record.end_ns if isinstance(record, ScaleReading) else record.stamp_ns
