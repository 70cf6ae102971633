"""rosbag2's metadata.yaml: read in versions 1 to 9, written in version 9 (that of ROS 2 Jazzy and Kilted).

Format: rosbag2_storage/include/rosbag2_storage/yaml.hpp of https://github.com/ros2/rosbag2. What the files of a bag say themselves
(topics, counts, times) is taken from them; the metadata adds which files there are, how they are compressed, and QoS that is not in them.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from aisle_bags.bag_errors import BagError
from aisle_bags.stored_topics import StoredTopic, normal_qos, plain_yaml, qos_entries

METADATA_FILE = "metadata.yaml"
METADATA_VERSION = 9
#: MCAP's metadata record in which rosbag2 keeps a copy, and its one key; in SQLite files it is a table.
STORED_METADATA, STORED_METADATA_KEY = "rosbag2", "serialized_metadata"
#: The C library's parser is ten times as fast; PyYAML is built without it in places.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ROOT = "rosbag2_bagfile_information"
#: What rosbag2 writes is nested eight times.
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class FileSummary:
    """What one closed file of a bag holds: messages by topic, first and last log time (None without messages), ns."""

    name: str
    counts: Mapping[str, int]
    start_ns: int | None
    end_ns: int | None
    size_bytes: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class TopicDetails:
    """What only the metadata of some bags tells about a topic."""

    qos: str = ""
    type_hash: str = ""


@dataclass(frozen=True, slots=True)
class BagMetadata:
    """``compression_mode``: none, file or message, in lower case; ``files`` as named there; ``custom`` is ``custom_data`` as text."""

    version: int
    storage: str
    files: tuple[str, ...] = ()
    compression_format: str = ""
    compression_mode: str = "none"
    topics: Mapping[str, TopicDetails] = field(default_factory=dict)
    custom: Mapping[str, str] = field(default_factory=dict)
    ros_distro: str = ""


def metadata_text(
    topics: Sequence[StoredTopic],
    files: Sequence[FileSummary],
    custom: Mapping[str, str],
    *,
    storage: str = "mcap",
    compression: str = "",
    ros_distro: str | None = None,
) -> str:
    """The text of ``metadata.yaml``. ``custom``: what stands in ``custom_data``; ``compression``: file, message or empty."""
    information = metadata_information(topics, files, custom, storage=storage, compression=compression, ros_distro=ros_distro)
    return plain_yaml({_ROOT: information})


def metadata_information(
    topics: Sequence[StoredTopic],
    files: Sequence[FileSummary],
    custom: Mapping[str, str],
    *,
    storage: str = "mcap",
    compression: str = "",
    ros_distro: str | None = None,
) -> dict[str, Any]:
    """The fields of ``metadata.yaml`` in rosbag2's order; the same as YAML is what storage files carry themselves."""
    counts = sum((Counter(file.counts) for file in files), Counter())
    return {
        "version": METADATA_VERSION,
        "storage_identifier": storage,
        **_times(files),
        "message_count": sum(counts.values()),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.type,
                    "serialization_format": topic.encoding,
                    "offered_qos_profiles": qos_entries(topic.qos),
                    "type_description_hash": topic.type_hash,
                },
                "message_count": counts[topic.name],
            }
            for topic in topics
        ],
        "compression_format": "zstd" if compression else "",
        "compression_mode": compression.upper(),
        "relative_file_paths": [file.name for file in files],
        "files": [{"path": file.name, **_times([file]), "message_count": sum(file.counts.values())} for file in files],
        "custom_data": dict(custom) or None,
        "ros_distro": os.environ.get("ROS_DISTRO", "rosbags") if ros_distro is None else ros_distro,
    }


def read_metadata(file: Path) -> BagMetadata:
    """Raises BagError naming the file and what it holds instead."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise BagError(f"{file}: cannot be read: {error}") from error
    if not text.strip("\x00 \t\r\n"):
        raise BagError(f"{file}: is empty, expected rosbag2 metadata ('./aisle bag recover' makes it anew)")
    try:
        return _understood(text)
    except yaml.YAMLError as error:
        raise BagError(f"{file}: not rosbag2 metadata: {' '.join(str(error).split())}") from error
    except _WrongField as error:
        raise BagError(f"{file}: not rosbag2 metadata: {error}") from error
    except (KeyError, TypeError) as error:
        raise BagError(f"{file}: not rosbag2 metadata: expected the key '{_ROOT}'") from error


@functools.lru_cache(maxsize=4)
def _understood(text: str) -> BagMetadata:
    """A replay's processes each open the bag: forked ones find this done."""
    return _parsed(_loaded(text)[_ROOT])


def parse_stored_metadata(text: str) -> BagMetadata | None:
    """Metadata that a storage file carries itself (newer rosbag2); None for what cannot be understood."""
    try:
        return _parsed(_loaded(text))
    except (yaml.YAMLError, _WrongField, TypeError):
        return None


def _loaded(text: str) -> Any:
    """Raises _WrongField for nesting that would overflow the C library's stack: a crash that nobody could catch."""
    depth = 0
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise _WrongField(f"lists and keys are nested more than {_DEEPEST} times")
    return yaml.load(text, _LOADER)


class _WrongField(ValueError):
    """Names a field, what it holds and what was expected."""


def _times(files: Sequence[FileSummary]) -> dict[str, Any]:
    start_ns = min((file.start_ns for file in files if file.start_ns is not None), default=0)
    end_ns = max((file.end_ns for file in files if file.end_ns is not None), default=0)
    return {"duration": {"nanoseconds": end_ns - start_ns}, "starting_time": {"nanoseconds_since_epoch": start_ns}}


def _parsed(information: Any) -> BagMetadata:
    if not isinstance(information, dict):
        raise _WrongField(f"found {_shown(information)}, expected fields")
    files = _field(information, "relative_file_paths", list)
    if not all(isinstance(name, str) and name for name in files):
        raise _WrongField(f"relative_file_paths is {_shown(files)}, expected file names")
    custom = _field(information, "custom_data", dict, {})
    return BagMetadata(
        version=_field(information, "version", int),
        storage=_field(information, "storage_identifier", str),
        files=tuple(files),
        compression_format=str(information.get("compression_format") or "").lower(),
        compression_mode=str(information.get("compression_mode") or "none").lower(),
        topics=dict(_topic_details(_field(information, "topics_with_message_count", list, []))),
        custom={str(key): str(value) for key, value in custom.items()},
        ros_distro=str(information.get("ros_distro") or ""),
    )


def _topic_details(entries: list[Any]) -> list[tuple[str, TopicDetails]]:
    topics = [entry.get("topic_metadata") for entry in entries if isinstance(entry, dict)]
    return [
        (topic["name"], TopicDetails(normal_qos(topic.get("offered_qos_profiles")), str(topic.get("type_description_hash") or "")))
        for topic in topics
        if isinstance(topic, dict) and isinstance(topic.get("name"), str)
    ]


def _field(information: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = information.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, kind):
        expected = {int: "a number", str: "text", list: "a list", dict: "keys with values"}[kind]
        raise _WrongField(f"field '{name}': found {'nothing' if value is None else _shown(value)}, expected {expected}")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
