"""Writes rosbag2 bags: one MCAP file with its message definitions, and metadata.yaml, as ``ros2 bag`` and rosbags read them.

Messages are taken as CDR bytes and stored untouched. Format: https://mcap.dev/spec, profile "ros2"; rosbag2's metadata version 8.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from mcap.writer import CompressionType, IndexType, Writer

from aisle_bags.message_definitions import message_definition
from aisle_contract.conversions import serialised, to_message
from aisle_contract.qos import Profile
from aisle_contract.record_topics import topic_of
from aisle_contract.records import Record, ScaleReading
from aisle_contract.topics import Topic

_COMPRESSIONS = {"none": CompressionType.NONE, "lz4": CompressionType.LZ4, "zstd": CompressionType.ZSTD}
#: rosbag2 8 writes QoS as text with rmw's numbers; both newer and older readers take that.
_METADATA_VERSION = 8
_UNLIMITED = {"sec": 9223372036, "nsec": 854775807}
#: rmw_qos_reliability_policy_e, rmw_qos_durability_policy_e, rmw_qos_history_policy_e, rmw_qos_liveliness_policy_e.
_RELIABLE, _BEST_EFFORT, _TRANSIENT_LOCAL, _VOLATILE, _KEEP_LAST, _AUTOMATIC = 1, 2, 1, 2, 1, 1


class BagWriter:
    """One new bag in ``folder``, which must not exist (FileExistsError).

    With ``whole`` the bag appears only when it is closed without an error: nothing half-written stays. Without it (for recorders) the
    file lies in place from the start, so that a crash costs no more than the last chunk.
    """

    def __init__(self, folder: Path, *, compression: str = "zstd", chunk_bytes: int = 1 << 20, whole: bool = True) -> None:
        self._folder = Path(folder)
        if self._folder.exists():
            raise FileExistsError(f"{self._folder} exists already: a bag is never overwritten, give another name or remove it")
        self._work_folder = self._folder.with_name(f".{self._folder.name}.{os.getpid()}.part") if whole else self._folder
        self._work_folder.mkdir(parents=True)
        self._file_name = f"{self._folder.name}_0.mcap"
        self._stream = (self._work_folder / self._file_name).open("wb")
        self._mcap = Writer(
            self._stream, chunk_size=chunk_bytes, compression=_COMPRESSIONS[compression], index_types=IndexType.ALL, enable_data_crcs=True
        )
        self._mcap.start(profile="ros2", library="aisle")
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._topics: dict[str, Topic] = {}
        self._counts: Counter[str] = Counter()
        self._start_ns: int | None = None
        self._end_ns: int | None = None
        self._closed = False

    @property
    def counts(self) -> Counter[str]:
        """Messages written, by topic name."""
        return self._counts

    @property
    def topics(self) -> Mapping[str, Topic]:
        """Declared topics by name."""
        return self._topics

    def add_topic(self, topic: Topic) -> None:
        """Declares a topic; ``topic.name`` is stored as it is (bags hold full names). A topic declared twice must be the same.

        Raises UnknownMessageType if the type's definition is not installed, ValueError for a second type or QoS on one name.
        """
        known = self._topics.get(topic.name)
        if known is not None:
            if known != topic:
                raise ValueError(f"topic '{topic.name}' is {known.type} in this bag already, got {topic.type} ({topic.qos.name})")
            return
        if topic.type not in self._schemas:
            definition = message_definition(topic.type).encode()
            self._schemas[topic.type] = self._mcap.register_schema(topic.type, "ros2msg", definition)
        metadata = {"offered_qos_profiles": _qos_text(topic.qos)}
        self._channels[topic.name] = self._mcap.register_channel(topic.name, "cdr", self._schemas[topic.type], metadata)
        self._topics[topic.name] = topic

    def write(self, topic_name: str, data: bytes, log_time_ns: int) -> None:
        """Stores one serialised message of a declared topic (KeyError otherwise), received at ``log_time_ns``."""
        sequence = self._counts[topic_name]
        self._mcap.add_message(self._channels[topic_name], log_time_ns, data, log_time_ns, sequence & 0xFFFFFFFF)
        self._counts[topic_name] += 1
        self._start_ns = log_time_ns if self._start_ns is None else min(self._start_ns, log_time_ns)
        self._end_ns = log_time_ns if self._end_ns is None else max(self._end_ns, log_time_ns)

    def write_message(self, topic: Topic, message: Any, log_time_ns: int) -> None:
        """Stores a ROS message object, declaring its topic where needed."""
        self.add_topic(topic)
        self.write(topic.name, serialised(message), log_time_ns)

    def write_record(self, record: Record, namespace: str = "/") -> None:
        """Stores a record on its topic below ``namespace``, logged when a live recorder would have received it at the earliest."""
        self.write_message(absolute(topic_of(record), namespace), to_message(record), available_ns(record))

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """Adds a file to the bag (an MCAP attachment); the same input gives the same bytes, so it carries no time."""
        self._mcap.add_attachment(create_time=0, log_time=0, name=name, media_type=media_type, data=data)

    def close(self) -> None:
        """Finishes the file and puts the bag in its place."""
        if self._closed:
            return
        self._closed = True
        self._mcap.finish()
        self._stream.close()
        (self._work_folder / "metadata.yaml").write_text(yaml.safe_dump(self._metadata(), sort_keys=False, width=10_000))
        if self._work_folder != self._folder:
            self._work_folder.rename(self._folder)

    def discard(self) -> None:
        """Gives up: a bag that was to appear whole leaves nothing, any other keeps what was written."""
        if self._work_folder == self._folder:
            self.close()
        elif not self._closed:
            self._closed = True
            self._stream.close()
            shutil.rmtree(self._work_folder)

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _metadata(self) -> dict[str, Any]:
        start_ns, end_ns = self._start_ns or 0, self._end_ns or 0
        total = sum(self._counts.values())
        times = {"starting_time": {"nanoseconds_since_epoch": start_ns}, "duration": {"nanoseconds": end_ns - start_ns}}
        information = {
            "version": _METADATA_VERSION,
            "storage_identifier": "mcap",
            **times,
            "message_count": total,
            "topics_with_message_count": [
                {
                    "topic_metadata": {
                        "name": topic.name,
                        "type": topic.type,
                        "serialization_format": "cdr",
                        "offered_qos_profiles": _qos_text(topic.qos),
                        "type_description_hash": "",
                    },
                    "message_count": self._counts[topic.name],
                }
                for topic in self._topics.values()
            ],
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [self._file_name],
            "files": [{"path": self._file_name, **times, "message_count": total}],
            "custom_data": None,
            "ros_distro": os.environ.get("ROS_DISTRO", "rosbags"),
        }
        return {"rosbag2_bagfile_information": information}


def absolute(topic: Topic, namespace: str) -> Topic:
    """A topic with its full name in a namespace, as bags name topics; names that begin with ``/`` already are full."""
    if topic.name.startswith("/"):
        return topic
    return Topic(f"/{namespace.strip('/')}/{topic.name}".replace("//", "/"), topic.type, topic.qos)


def available_ns(record: Record) -> int:
    """When a record can first be on the wire: a batch of weights not before its last sample."""
    return record.end_ns if isinstance(record, ScaleReading) else record.stamp_ns


def _qos_text(profile: Profile) -> str:
    """The channel's and metadata.yaml's ``offered_qos_profiles``: rosbags drops the messages of a topic where the two differ."""
    entry = {
        "history": _KEEP_LAST,
        "depth": profile.depth,
        "reliability": _RELIABLE if profile.reliable else _BEST_EFFORT,
        "durability": _TRANSIENT_LOCAL if profile.transient_local else _VOLATILE,
        "deadline": _UNLIMITED,
        "lifespan": _UNLIMITED,
        "liveliness": _AUTOMATIC,
        "liveliness_lease_duration": _UNLIMITED,
        "avoid_ros_namespace_conventions": False,
    }
    return yaml.dump([entry], Dumper=_NoAliases, sort_keys=False)


class _NoAliases(yaml.SafeDumper):
    """Writes equal values out: rosbag2's reader does not need YAML anchors explained."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
