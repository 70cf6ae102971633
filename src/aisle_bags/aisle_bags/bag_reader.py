"""Reads MCAP bags: rosbag2 folders, folders without metadata.yaml, single files, split files. Needs no ROS.

The message definitions come from the bag itself; rosbags decodes with them, so a bag can be read where its packages are not installed.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import yaml
from mcap.reader import NonSeekingReader, SeekingReader
from mcap.records import Channel, Schema
from mcap.summary import Summary
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from aisle_bags.cdr_records import Decoder, fast_decoder
from aisle_bags.mcap_chunks import stored_messages
from aisle_contract.conversions import MESSAGE_TYPES, from_message
from aisle_contract.record_topics import INPUT_RECORDS
from aisle_contract.records import Record

#: A topic of the graph: namespace, then the name that ``aisle_contract.topics`` gives it.
_GRAPH_TOPIC = re.compile(
    r"^(?P<namespace>(?:/\w+)*?)/(?P<name>cameras/camera_\w+/.+|shelves/gondola_\w+/shelf_\w+/weights|gates/gate_\w+/events"
    r"|tracks|shelf_events|item_observations|carts|receipts|reviews|alerts|markers)$"
)
_MAGIC = b"\x89MCAP0\r\n"
_INPUT_TYPES = frozenset(MESSAGE_TYPES[kind] for kind in INPUT_RECORDS)


class BagError(Exception):
    """A bag cannot be read: the message names the file, what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class BagTopic:
    """One topic of a bag: full name, ROS type, number of messages, namespace (``/`` for none)."""

    name: str
    type: str
    count: int
    namespace: str


class RawMessage(NamedTuple):
    """One stored message: ``data`` is its CDR form."""

    topic: str
    type: str
    log_time_ns: int
    data: bytes


class _OpenFile(NamedTuple):
    path: Path
    stream: IO[bytes]
    summary: Summary


class BagReader:
    """An open bag; use it in a ``with`` statement. ``path``: the bag's folder or one MCAP file.

    Raises BagError for what is not a bag or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._files = _files_of(self._path)
        self._typestore = get_typestore(Stores.EMPTY)
        self._stack = ExitStack()
        self._readers: list[_OpenFile] = []
        self._decoders: dict[str, Decoder | None] = {}
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self.topics: dict[str, BagTopic] = {}
        try:
            for file in self._files:
                self._open(file)
        except BaseException:
            self._stack.close()
            raise

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
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self._files)

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

    def messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """Stored messages in the order of their log time (then file, then place in the file); all topics, or those named."""
        streams = [self._file_messages(file, topics) for file in self._readers]
        # Stable: of one time, the first file's come first.
        return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda message: message.log_time_ns)

    def decode(self, message: RawMessage) -> Any:
        """The message as an object with its fields as attributes; arrays of numbers are NumPy arrays. Raises BagError."""
        try:
            return self._typestore.deserialize_cdr(message.data, message.type)
        except (SerdeError, KeyError) as error:
            raise BagError(f"{self._path}: topic '{message.topic}' at {message.log_time_ns} ns: not a {message.type}: {error}") from error

    def record(self, message: RawMessage) -> Record:
        """The record of a message of ``aisle_msgs``. Raises BagError for one that does not fit together."""
        if message.topic not in self._decoders:
            self._decoders[message.topic] = fast_decoder(message.type, self._typestore.fielddefs)
        decoder = self._decoders[message.topic]
        record = decoder(message.data) if decoder is not None else None
        return record if record is not None else self._record(message)

    def _record(self, message: RawMessage) -> Record:
        decoded = self.decode(message)
        try:
            return from_message(decoded)
        except (ValueError, TypeError) as error:
            raise BagError(f"{self._path}: topic '{message.topic}' at {message.log_time_ns} ns: {error}") from error

    def records(self, types: Iterable[type] = INPUT_RECORDS, namespace: str | None = None) -> Iterator[Record]:
        """Records of these types of one store (by default the bag's only one), in the order of their log times."""
        wanted = self.topics_of(*(MESSAGE_TYPES[kind] for kind in types), namespace=namespace or self.namespace())
        for message in self.messages([topic.name for topic in wanted]):
            yield self.record(message)

    def attachments(self) -> dict[str, bytes]:
        """Files that travel in the bag, by name."""
        found: dict[str, bytes] = {}
        for file in self._readers:
            for attachment in _told(file.path, SeekingReader(_rewound(file.stream)).iter_attachments()):
                found[attachment.name] = attachment.data
        return found

    def _open(self, file: Path) -> None:
        try:
            stream = self._stack.enter_context(file.open("rb"))
        except OSError as error:
            raise BagError(f"{file}: cannot be read: {error.strerror}") from error
        summary, counts, span = _contents(file, stream)
        self._readers.append(_OpenFile(file, stream, summary))
        for channel_id, channel in sorted(summary.channels.items()):
            self._add_topic(file, channel, summary.schemas.get(channel.schema_id), counts[channel_id])
        if span is not None:
            self.start_ns = span[0] if self.start_ns is None else min(self.start_ns, span[0])
            self.end_ns = span[1] if self.end_ns is None else max(self.end_ns, span[1])

    def _add_topic(self, file: Path, channel: Channel, schema: Schema | None, count: int) -> None:
        if channel.message_encoding != "cdr" or schema is None:
            raise BagError(f"{file}: topic '{channel.topic}' is encoded as '{channel.message_encoding}', expected ROS 2's 'cdr'")
        known = self.topics.get(channel.topic)
        if known is not None and known.type != schema.name:
            raise BagError(f"{file}: topic '{channel.topic}' has two types, {known.type} and {schema.name}, expected one")
        if known is None:
            self._register(file, schema)
        match = _GRAPH_TOPIC.match(channel.topic)
        namespace = (match["namespace"] if match else "") or "/"
        self.topics[channel.topic] = BagTopic(channel.topic, schema.name, count + (known.count if known else 0), namespace)

    def _register(self, file: Path, schema: Schema) -> None:
        text = schema.data.decode("utf-8", "replace")
        try:
            if schema.encoding == "ros2msg":
                found = get_types_from_msg(text, schema.name)
            elif schema.encoding in ("ros2idl", "omgidl"):
                found = get_types_from_idl(text)
            else:
                raise ValueError(f"it is written in '{schema.encoding}', expected ros2msg or ros2idl")
            self._typestore.register({name: fields for name, fields in found.items() if name not in self._typestore.fielddefs})
        except Exception as error:
            # rosbags' parser raises what it stumbles over.
            raise BagError(f"{file}: definition of message type '{schema.name}' cannot be read: {error}") from error

    def _file_messages(self, file: _OpenFile, topics: Collection[str] | None) -> Iterator[RawMessage]:
        summary = file.summary
        if not summary.chunk_indexes:
            for schema, channel, message in _told(file.path, NonSeekingReader(_rewound(file.stream)).iter_messages(topics=topics)):
                yield RawMessage(channel.topic, schema.name, message.log_time, message.data)
            return
        wanted = {
            number: (channel.topic, self.topics[channel.topic].type)
            for number, channel in summary.channels.items()
            if topics is None or channel.topic in topics
        }
        for log_time_ns, _, number, data in _told(file.path, stored_messages(file.stream, summary, wanted)):
            yield RawMessage(*wanted[number], log_time_ns, data)


def _rewound(stream: IO[bytes]) -> IO[bytes]:
    stream.seek(0)
    return stream


def _contents(file: Path, stream: Any) -> tuple[Summary, Counter[int], tuple[int, int] | None]:
    """Channels, messages per channel and (first, last) log time of an MCAP file; counted where the file has no summary."""
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise BagError(f"{file}: not an MCAP file (it does not begin with MCAP's magic bytes)")
    stream.seek(0)
    try:
        summary = SeekingReader(stream).get_summary()
    except Exception as error:
        raise BagError(
            f"{file}: its end is missing or damaged ({error}), expected a closed file; 'mcap recover' (mcap.dev) saves its whole parts"
        ) from error
    if summary is not None and summary.statistics is not None:
        statistics = summary.statistics
        span = (statistics.message_start_time, statistics.message_end_time) if statistics.message_count else None
        return summary, Counter(statistics.channel_message_counts), span
    return _scanned(file, stream)


def _scanned(file: Path, stream: Any) -> tuple[Summary, Counter[int], tuple[int, int] | None]:
    summary, counts, times = Summary(), Counter[int](), []
    stream.seek(0)
    for schema, channel, message in _told(file, NonSeekingReader(stream).iter_messages(log_time_order=False)):
        summary.channels[channel.id] = channel
        if schema is not None:
            summary.schemas[schema.id] = schema
        counts[channel.id] += 1
        times.append(message.log_time)
    return summary, counts, (min(times), max(times)) if times else None


def _told(file: Path, items: Iterable[Any]) -> Iterator[Any]:
    """Passes on what the MCAP library reads. It raises whatever its parsers and decompressors stumble over; here that becomes one error."""
    iterator = iter(items)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            raise BagError(f"{file}: damaged: {type(error).__name__}: {error}") from error
        yield item


def _files_of(path: Path) -> list[Path]:
    """The MCAP files of a bag, in order."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BagError(f"{path}: no such file or folder")
    metadata = path / "metadata.yaml"
    if metadata.is_file():
        return _files_of_metadata(path, metadata)
    files = sorted(path.glob("*.mcap"), key=_by_number)
    if not files:
        raise BagError(f"{path}: not a bag: found neither metadata.yaml nor *.mcap files")
    return files


def _files_of_metadata(folder: Path, metadata: Path) -> list[Path]:
    try:
        information = yaml.safe_load(metadata.read_text())["rosbag2_bagfile_information"]
        storage, names = information["storage_identifier"], information["relative_file_paths"]
        compressed = information.get("compression_mode", "")
        files = [folder / Path(name).name for name in names]
    except (OSError, UnicodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BagError(f"{metadata}: not rosbag2 metadata: {type(error).__name__}: {error}") from error
    if storage != "mcap":
        raise BagError(f"{metadata}: storage_identifier is '{storage}', expected 'mcap' (convert it: rosbags-convert --dst-storage mcap)")
    if str(compressed).lower() not in ("", "none"):
        raise BagError(f"{metadata}: compression_mode is '{compressed}', expected none (MCAP compresses its own chunks)")
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise BagError(f"{metadata}: relative_file_paths names {', '.join(missing) or 'no file'}, expected files beside it")
    return files


def _by_number(file: Path) -> tuple[str, int, str]:
    """``bag_10.mcap`` after ``bag_9.mcap``."""
    match = re.fullmatch(r"(.*?)_?(\d+)", file.stem)
    return (match[1], int(match[2]), file.name) if match else (file.stem, -1, file.name)
