"""Reads bags of rosbag2: MCAP and SQLite, folders with and without metadata.yaml, single, split and compressed files. Needs no ROS.

The message definitions come from the bag itself; rosbags decodes with them, so a bag can be read where its packages are not installed.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_typestore

from aisle_bags.bag_errors import BagError
from aisle_bags.bag_files import bag_files, open_sources
from aisle_bags.cdr_records import Decoder, fast_decoder
from aisle_bags.message_definitions import (
    UnknownMessageType,
    UnreadableDefinition,
    foreign_definition,
    parsed_definition,
)
from aisle_bags.sqlite_file import ATTACHMENTS_FOLDER
from aisle_bags.stored_messages import RawMessage, in_time_order
from aisle_bags.stored_topics import StoredTopic
from aisle_contract.conversions import MESSAGE_TYPES, from_message
from aisle_contract.record_topics import INPUT_RECORDS
from aisle_contract.records import Record

__all__ = ["BagError", "BagReader", "BagTopic", "RawMessage"]

#: A topic of the graph: namespace, then the name that ``aisle_contract.topics`` gives it.
_GRAPH_TOPIC = re.compile(
    r"^(?P<namespace>(?:/\w+)*?)/(?P<name>cameras/camera_\w+/.+|shelves/gondola_\w+/shelf_\w+/weights|gates/gate_\w+/events"
    r"|tracks|shelf_events|item_observations|carts|receipts|reviews|alerts|markers)$"
)
_INPUT_TYPES = frozenset(MESSAGE_TYPES[kind] for kind in INPUT_RECORDS)


@dataclass(frozen=True, slots=True)
class BagTopic:
    """One topic of a bag: full name, ROS type, number of messages, namespace (``/`` for none)."""

    name: str
    type: str
    count: int
    namespace: str


class BagReader:
    """An open bag; use it in a ``with`` statement. ``path``: the bag's folder, its metadata.yaml or one storage file.

    Raises BagError for what is not a bag or is damaged. Files that are compressed as a whole, or were not closed by SQLite, are read from
    copies in the folder for temporary files. What a file of a split bag repeats of the files before it (``latched_messages``) comes once.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._files, metadata = bag_files(self._path)
        self._typestore = get_typestore(Stores.EMPTY)
        self._learned: set[str] = set()
        self._stack = ExitStack()
        self._decoders: dict[str, Decoder | None] = {}
        self.topics: dict[str, BagTopic] = {}
        self._stored: dict[str, StoredTopic] = {}
        try:
            self._sources = open_sources(self._files, self._stack, metadata)
            for source in self._sources[1:]:
                source.leave_out_repeated()
            self.metadata = metadata or self._sources[0].stored_metadata()
            for source in self._sources:
                for topic in source.topics:
                    self._add_topic(source.path, self._completed(topic))
                self._count(source.counts)
        except BaseException:
            self._stack.close()
            raise
        self.start_ns = min((source.start_ns for source in self._sources if source.start_ns is not None), default=None)
        self.end_ns = max((source.end_ns for source in self._sources if source.end_ns is not None), default=None)
        # Whether messages may be compressed one by one stands in metadata.yaml only.
        self._message_compression = metadata is None or metadata.compression_mode == "message"

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    @property
    def path(self) -> Path:
        return self._path

    @property
    def files(self) -> tuple[Path, ...]:
        """The bag's storage files, in order."""
        return tuple(self._files)

    @property
    def storage(self) -> str:
        """rosbag2's name of the bag's format: mcap or sqlite3."""
        return self._sources[0].storage

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self._files)

    @property
    def message_count(self) -> int:
        return sum(topic.count for topic in self.topics.values())

    @property
    def stored_topics(self) -> Mapping[str, StoredTopic]:
        """Topics with QoS and definitions, by name."""
        return self._stored

    def namespace(self) -> str:
        """The namespace of the graph's topics. Raises BagError if the bag holds those of several stores."""
        ours = [topic for topic in self.topics.values() if topic.type in _INPUT_TYPES or _GRAPH_TOPIC.match(topic.name)]
        found = sorted({topic.namespace for topic in ours})
        if len(found) > 1:
            raise BagError(f"{self._path}: topics of several stores ({', '.join(found)}), expected one: name it with --namespace")
        return found[0] if found else "/"

    def topics_of(self, *types: str, namespace: str | None = None) -> list[BagTopic]:
        """Topics of these ROS types, by name; only those of one namespace where it is given."""
        return [
            topic for _, topic in sorted(self.topics.items()) if topic.type in types and (namespace is None or topic.namespace == namespace)
        ]

    def messages(
        self, topics: Collection[str] | None = None, start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[RawMessage]:
        """Stored messages in the order of their log time (then file, then place in the file); all topics, or those named.

        Only those from ``start_ns`` on and before ``end_ns``, where given.
        """
        wanted = None if topics is None else frozenset(topics)
        return in_time_order(
            (source.start_ns, source.messages(wanted, start_ns, end_ns, compressed=self._message_compression))
            for source in self._sources
            if start_ns is None or source.end_ns is None or source.end_ns >= start_ns
        )

    def read_side_by_side(self, readings: int) -> None:
        """So many calls of ``messages`` will go on at the same time, each from beginning to end: what they share is decompressed once."""
        for source in self._sources:
            source.read_side_by_side(readings)

    def log_times(self) -> Iterator[tuple[str, np.ndarray]]:
        """Log times by topic, int64 ns, in pieces in about the order of time; quicker than reading the messages."""
        for source in self._sources:
            yield from source.log_times()

    def decode(self, message: RawMessage) -> Any:
        """The message as an object with its fields as attributes; arrays of numbers are NumPy arrays. Raises BagError."""
        self._learn(message.type, message.topic)
        try:
            return self._typestore.deserialize_cdr(message.data, message.type)
        except (SerdeError, KeyError, ValueError) as error:
            raise BagError(f"{self._path}: topic '{message.topic}' at {message.log_time_ns} ns: not a {message.type}: {error}") from error

    def record(self, message: RawMessage) -> Record:
        """The record of a message of ``aisle_msgs``. Raises BagError for one that does not fit together."""
        if message.topic not in self._decoders:
            self._learn(message.type, message.topic)
            self._decoders[message.topic] = fast_decoder(message.type, self._typestore.fielddefs)
        decoder = self._decoders[message.topic]
        record = decoder(message.data) if decoder is not None else None
        return record if record is not None else self._record(message)

    def records(self, types: Iterable[type] = INPUT_RECORDS, namespace: str | None = None) -> Iterator[Record]:
        """Records of these types of one store (by default the bag's only one), in the order of their log times."""
        wanted = self.topics_of(*(MESSAGE_TYPES[kind] for kind in types), namespace=namespace or self.namespace())
        for message in self.messages([topic.name for topic in wanted]):
            yield self.record(message)

    def attachments(self) -> dict[str, bytes]:
        """Files that travel in the bag, by name."""
        found = {name: data for source in self._sources for name, _, data in source.attachments()}
        folder = self._path / ATTACHMENTS_FOLDER
        if folder.is_dir():
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            found.update({file.relative_to(folder).as_posix(): file.read_bytes() for file in files})
        return found

    def metadata_records(self) -> Iterator[tuple[str, dict[str, str]]]:
        """MCAP's metadata records, name and values, of all files."""
        for source in self._sources:
            yield from source.metadata_records()

    def _record(self, message: RawMessage) -> Record:
        decoded = self.decode(message)
        try:
            return from_message(decoded)
        except (ValueError, TypeError, KeyError) as error:
            raise BagError(f"{self._path}: topic '{message.topic}' at {message.log_time_ns} ns: {error}") from error

    def _completed(self, topic: StoredTopic) -> StoredTopic:
        """With what only the metadata of some bags says."""
        details = self.metadata.topics.get(topic.name) if self.metadata else None
        if details is None:
            return topic
        return dataclasses.replace(topic, qos=topic.qos or details.qos, type_hash=topic.type_hash or details.type_hash)

    def _add_topic(self, file: Path, topic: StoredTopic) -> None:
        known = self._stored.get(topic.name)
        if known is not None and known.type != topic.type:
            raise BagError(f"{file}: topic '{topic.name}' has two types, {known.type} and {topic.type}, expected one")
        if known is None or (topic.schema and not known.schema):
            self._stored[topic.name] = topic
        match = _GRAPH_TOPIC.match(topic.name)
        namespace = (match["namespace"] if match else "") or "/"
        self.topics.setdefault(topic.name, BagTopic(topic.name, topic.type, 0, namespace))

    def _count(self, counts: Counter[str]) -> None:
        for name, count in counts.items():
            topic = self.topics[name]
            self.topics[name] = dataclasses.replace(topic, count=topic.count + count)

    def _learn(self, type_name: str, topic: str) -> None:
        """Makes the typestore know a type and what it is made of: from the bag, or where that has no definition, from elsewhere."""
        if type_name in self._learned:
            return
        stored = self._stored.get(topic)
        encoding, text = (stored.schema_encoding, stored.schema.decode("utf-8", "replace")) if stored and stored.schema else ("", "")
        if not text:
            encoding, text = "ros2msg", self._foreign_definition(type_name)
        try:
            found = parsed_definition(type_name, encoding, text)
            self._typestore.register({name: fields for name, fields in found.items() if name not in self._typestore.fielddefs})
        except (UnreadableDefinition, TypesysError) as error:
            raise BagError(f"{self._path}: definition of message type '{type_name}' cannot be read: {error}") from error
        if type_name not in self._typestore.fielddefs:
            raise BagError(
                f"{self._path}: definition of message type '{type_name}' cannot be read: it defines {', '.join(found) or 'nothing'}"
            )
        self._learned.add(type_name)

    def _foreign_definition(self, type_name: str) -> str:
        distro, version = (self.metadata.ros_distro, self.metadata.version) if self.metadata else ("", None)
        try:
            return foreign_definition(type_name, distro, version)
        except UnknownMessageType as error:
            raise BagError(f"{self._path}: has no definition of message type '{type_name}', and none is installed: {error}") from error
