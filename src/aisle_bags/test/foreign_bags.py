"""Bags as ROS 2's own tools of all years write them, made here from the formats' descriptions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from mcap.writer import CompressionType, IndexType, Writer

START = 1_600_000_000_000_000_000
STEP = 100_000_000
STRING_DEFINITION = "string data\n"
IDL_DEFINITION = """================================================================================
IDL: std_msgs/msg/String
module std_msgs { module msg { struct String { string data; }; }; };
"""
_UNLIMITED = {"sec": 9223372036, "nsec": 854775807}

Messages = Sequence[tuple[str, int, bytes]]


def string(text: str) -> bytes:
    """std_msgs/msg/String in CDR, little-endian."""
    data = text.encode() + b"\0"
    return b"\x00\x01\x00\x00" + len(data).to_bytes(4, "little") + data


def talk(count: int = 20, topic: str = "/talk") -> list[tuple[str, int, bytes]]:
    """Topic, log time and data of some messages."""
    return [(topic, START + number * STEP, string(f"hello {number}")) for number in range(count)]


def qos(version: int, latched: bool = False) -> Any:
    """``offered_qos_profiles`` as metadata of a version hold it."""
    names = version >= 9
    profile = {
        "history": "keep_last" if names else 1,
        "depth": 7,
        "reliability": "reliable" if names else 1,
        "durability": ("transient_local" if latched else "volatile") if names else (1 if latched else 2),
        "deadline": _UNLIMITED,
        "lifespan": _UNLIMITED,
        "liveliness": "automatic" if names else 1,
        "liveliness_lease_duration": _UNLIMITED,
        "avoid_ros_namespace_conventions": False,
    }
    return [profile] if names else yaml.safe_dump([profile])


def metadata(version: int, storage: str, files: Sequence[str], count: int, *, mode: str = "", latched: bool = False) -> str:
    """metadata.yaml with the fields that the version has."""
    topic: dict[str, Any] = {"name": "/talk", "type": "std_msgs/msg/String", "serialization_format": "cdr"}
    if version >= 4:
        topic["offered_qos_profiles"] = qos(version, latched)
    if version >= 7:
        topic["type_description_hash"] = "RIHS01_1"
    times = {"starting_time": {"nanoseconds_since_epoch": START}, "duration": {"nanoseconds": (count - 1) * STEP}}
    information: dict[str, Any] = {"version": version, "storage_identifier": storage, **times, "message_count": count}
    information["topics_with_message_count"] = [{"topic_metadata": topic, "message_count": count}]
    information["relative_file_paths"] = list(files)
    if version >= 3:
        information |= {"compression_format": "zstd" if mode else "", "compression_mode": mode}
    if version >= 5:
        information["files"] = [{"path": file, **times, "message_count": count} for file in files]
    if version >= 6:
        information["custom_data"] = {"shop": "corner"}
    if version >= 8:
        information["ros_distro"] = "jazzy"
    return yaml.safe_dump({"rosbag2_bagfile_information": information}, sort_keys=False)


def write_sqlite(
    path: Path,
    messages: Messages,
    *,
    schema: int = 4,
    kind: str = "std_msgs/msg/String",
    encoding: str = "cdr",
    definition: tuple[str, str] | None = ("ros2msg", STRING_DEFINITION),
    stored: Callable[[bytes], bytes] = bytes,
) -> None:
    """A storage file of one of rosbag2's four schema versions; ``stored`` changes each message's data."""
    database = sqlite3.connect(path)
    columns = "id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, serialization_format TEXT NOT NULL"
    columns += ", offered_qos_profiles TEXT NOT NULL" if schema >= 2 else ""
    columns += ", type_description_hash TEXT NOT NULL" if schema >= 4 else ""
    database.execute(f"CREATE TABLE topics({columns})")
    database.execute(
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, data BLOB NOT NULL)"
    )
    if schema >= 3:
        database.execute("CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL)")
        database.execute("INSERT INTO schema VALUES (?, 'iron')", (schema,))
        database.execute("CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL)")
    if schema >= 4:
        database.execute(
            "CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,"
            " encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL)"
        )
        if definition:
            database.execute("INSERT INTO message_definitions VALUES (1, ?, ?, ?, '')", (kind, *definition))
    names = list(dict.fromkeys(topic for topic, _, _ in messages)) or ["/talk"]
    for number, name in enumerate(names, 1):
        extra = (qos(8),) if schema >= 2 else ()
        extra += ("",) if schema >= 4 else ()
        database.execute(f"INSERT INTO topics VALUES (?, ?, ?, ?{', ?' * len(extra)})", (number, name, kind, encoding, *extra))
    rows = [(names.index(topic) + 1, time, stored(data)) for topic, time, data in messages]
    database.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", rows)
    database.commit()
    database.close()


def write_mcap(
    path: Path,
    messages: Messages,
    *,
    kind: str = "std_msgs/msg/String",
    definition: tuple[str, str] = ("ros2msg", STRING_DEFINITION),
    encoding: str = "cdr",
    compression: CompressionType = CompressionType.ZSTD,
    with_schema: bool = True,
    profile: str = "ros2",
    chunk_size: int = 400,
    **options: Any,
) -> None:
    """A storage file of MCAP; ``options`` go to the library's writer."""
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=chunk_size, compression=compression, **options)
        writer.start(profile=profile)
        schema = writer.register_schema(kind, definition[0], definition[1].encode()) if with_schema else 0
        channels: dict[str, int] = {}
        for number, (topic, time, data) in enumerate(messages):
            if topic not in channels:
                channels[topic] = writer.register_channel(topic, encoding, schema, {"offered_qos_profiles": qos(8)})
            writer.add_message(channels[topic], time, data, max(time - 5, 0), number)
        writer.finish()


#: What a writer may leave out of a file that it closes.
BARE = {"index_types": IndexType.NONE, "repeat_channels": False, "repeat_schemas": False, "use_statistics": False}
UNCHUNKED = {"use_chunking": False}
