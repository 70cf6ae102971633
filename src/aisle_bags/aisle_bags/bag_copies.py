"""New bags out of others: all of one in another format, a part of one, several in one. Messages are copied as they are, known or not.

Nothing of a bag is held in memory but its latched messages, and a new bag appears whole or not at all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from aisle_bags.bag_errors import BagError
from aisle_bags.bag_info import DROPPED
from aisle_bags.bag_metadata import STORED_METADATA, BagMetadata
from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_writer import BagWriter
from aisle_bags.latched_messages import REPEATED, LatchedMessages
from aisle_bags.message_definitions import UnknownMessageType, definition_hash, foreign_definition
from aisle_bags.stored_messages import RawMessage
from aisle_bags.stored_topics import StoredTopic, merged_qos

#: MCAP's metadata records that tell about the files as they were, and not about the recording.
_OF_FILES = (STORED_METADATA, REPEATED)
_MEDIA_TYPES = {".yaml": "application/yaml", ".csv": "text/csv", ".json": "application/json", ".txt": "text/plain"}

#: Called with the number of messages read since the last call.
Read = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BagFormat:
    """As ``BagWriter`` takes them. None: the storage of the bag that is copied, the storage's usual compression."""

    storage: str | None = None
    compression: str | None = None


def convert_bag(reader: BagReader, out: Path, bag_format: BagFormat, read: Read = lambda count: None) -> list[str]:
    """All of a bag in a format. Returns notes for people. Raises BagError, FileExistsError, ValueError for an unknown compression."""
    with _new_bag([reader], out, bag_format) as (writer, notes):
        for message in reader.messages():
            _copy(writer, message)
            read(1)
    return notes


def cut_bag(
    reader: BagReader,
    out: Path,
    start_ns: int,
    end_ns: int,
    bag_format: BagFormat,
    *,
    topics: Collection[str] | None = None,
    read: Read = lambda count: None,
) -> list[str]:
    """What was logged from ``start_ns`` to ``end_ns``, both included, of these topics (all by default), with all attachments.

    What latched topics had sent before that a late subscriber would still have got comes first, logged at ``start_ns``. Returns notes
    for people. Raises BagError where nothing was logged in that time.
    """
    chosen = reader.topics.keys() if topics is None else topics
    latched = {name for name in chosen if reader.stored_topics[name].latched}
    with _new_bag([reader], out, bag_format, topics=chosen) as (writer, notes):
        for message in _still_latched(reader, latched, start_ns):
            _copy(writer, message._replace(log_time_ns=start_ns))
        copied = 0
        for message in reader.messages(chosen, start_ns, end_ns + 1):
            _copy(writer, message)
            copied += 1
            read(1)
        if not copied:
            raise BagError(f"{reader.path}: nothing was logged from {start_ns} to {end_ns} ns, the bag has {_span(reader)}")
    return notes


def merge_bags(readers: Sequence[BagReader], out: Path, bag_format: BagFormat, read: Read = lambda count: None) -> list[str]:
    """Several bags in one, by log time. A message that two bags have, at one time or on a latched topic, comes once.

    Returns notes for people. Raises BagError for topics whose types or definitions differ.
    """
    with _new_bag(readers, out, bag_format) as (writer, notes):
        for message in _merged(readers, writer.topics):
            _copy(writer, message)
            read(1)
    return notes


@contextmanager
def _new_bag(
    readers: Sequence[BagReader], out: Path, bag_format: BagFormat, topics: Collection[str] | None = None
) -> Iterator[tuple[BagWriter, list[str]]]:
    """A writer that knows the bags' topics and has their attachments, and a list for notes."""
    first = readers[0]
    notes: list[str] = []
    declared = [topic for topic in _topics_of(readers, notes) if topics is None or topic.name in topics]
    storage = bag_format.storage or first.storage
    distro = first.metadata.ros_distro if first.metadata else ""
    with BagWriter(out, storage=storage, compression=bag_format.compression, ros_distro=distro) as writer:
        writer.custom_data.update(_joined_custom_data([reader.metadata.custom for reader in readers if reader.metadata]))
        for topic in declared:
            writer.add_stored_topic(topic)
        _attach(readers, writer, notes)
        records = ((name, tuple(values.items())) for reader in readers for name, values in reader.metadata_records())
        for name, values in dict.fromkeys(records):
            if name not in _OF_FILES:
                writer.note(name, dict(values))
        yield writer, notes


def _joined_custom_data(parts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The bags' custom data; dropped messages are added up, of other keys the first bag's value is kept."""
    joined: dict[str, str] = {}
    for part in parts:
        for key, value in part.items():
            known = joined.get(key, "")
            if key.startswith(DROPPED) and known.isdecimal() and value.isdecimal():
                joined[key] = str(int(known) + int(value))
            else:
                joined.setdefault(key, value)
    return joined


def _topics_of(readers: Sequence[BagReader], notes: list[str]) -> list[StoredTopic]:
    """The bags' topics with definitions. Raises BagError where two bags differ in what a topic's messages are."""
    found: dict[str, tuple[BagReader, StoredTopic]] = {}
    for reader in readers:
        for topic in reader.stored_topics.values():
            topic = with_definition(topic, reader.metadata, notes)
            if topic.name in found:
                other, known = found[topic.name]
                topic = _agreed(known, topic, other.path, reader.path)
            found[topic.name] = (reader, topic)
    return [topic for _, topic in found.values()]


def _agreed(first: StoredTopic, second: StoredTopic, first_bag: Path, second_bag: Path) -> StoredTopic:
    if first.type != second.type:
        raise BagError(f"{second_bag}: topic '{first.name}' is {second.type}, expected {first.type} as in {first_bag}")
    hashes = {_hash(topic) for topic in (first, second) if topic.schema} - {""}
    if len(hashes) > 1:
        raise BagError(f"{second_bag}: {second.type} of topic '{first.name}' is defined otherwise than in {first_bag}")
    stored = first if first.schema else second
    return dataclasses.replace(stored, qos=merged_qos(first.qos, second.qos), type_hash=first.type_hash or second.type_hash)


def _hash(topic: StoredTopic) -> str:
    return definition_hash(topic.type, topic.schema_encoding, topic.schema.decode("utf-8", "replace"))


def _attach(readers: Sequence[BagReader], writer: BagWriter, notes: list[str]) -> None:
    attached: dict[str, bytes] = {}
    for reader in readers:
        for name, data in reader.attachments().items():
            if name not in attached:
                writer.attach(name, media_type(name), data)
                attached[name] = data
            elif attached[name] != data:
                notes.append(f"{reader.path}: its attached file '{name}' differs from the one of {readers[0].path}, which is kept")


def _copy(writer: BagWriter, message: RawMessage) -> None:
    writer.write(message.topic, message.data, message.log_time_ns, message.publish_time_ns, message.sequence)


def _still_latched(reader: BagReader, topics: Collection[str], until_ns: int) -> list[RawMessage]:
    """What a subscriber of latched topics that comes at a time still gets, in the order in which it was sent."""
    latched = LatchedMessages()
    for message in reader.messages(topics, None, until_ns) if topics else ():
        latched.add(reader.stored_topics[message.topic], message)
    return latched.messages()


def _merged(readers: Sequence[BagReader], topics: Mapping[str, StoredTopic]) -> Iterator[RawMessage]:
    """Messages of several bags by log time, without those that an earlier bag had at the same time or, on latched topics, ever."""
    latched = {name for name, topic in topics.items() if topic.latched}
    ever: dict[tuple[str, bytes], int] = {}
    now: dict[tuple[str, bytes], int] = {}
    now_ns: int | None = None
    streams = [_numbered(number, reader) for number, reader in enumerate(readers)]
    for log_time_ns, number, message in heapq.merge(*streams, key=itemgetter(0)):
        if log_time_ns != now_ns:
            now_ns = log_time_ns
            now.clear()
        seen = ever if message.topic in latched else now
        if seen.setdefault((message.topic, hashlib.sha1(message.data, usedforsecurity=False).digest()), number) == number:
            yield message


def _numbered(number: int, reader: BagReader) -> Iterator[tuple[int, int, RawMessage]]:
    for message in reader.messages():
        yield message.log_time_ns, number, message


def _span(reader: BagReader) -> str:
    return "no messages" if reader.start_ns is None else f"{reader.start_ns} to {reader.end_ns} ns"


def media_type(name: str) -> str:
    """Of an attached file, by its name."""
    return _MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream")


def with_definition(topic: StoredTopic, metadata: BagMetadata | None, notes: list[str]) -> StoredTopic:
    """The topic with the definition that its bag lacks, where one is known."""
    if topic.schema:
        return topic
    try:
        text = foreign_definition(topic.type, *(metadata.ros_distro, metadata.version) if metadata else ())
    except UnknownMessageType:
        text = ""
    known_hash = definition_hash(topic.type, "ros2msg", text) if text else ""
    if not text or topic.type_hash not in ("", known_hash):
        notes.append(f"topic '{topic.name}': no definition of {topic.type} is known, its messages are copied as they are")
        return topic
    return dataclasses.replace(topic, schema_encoding="ros2msg", schema=text.encode(), type_hash=known_hash)
