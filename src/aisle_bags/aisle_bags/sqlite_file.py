"""One SQLite file that is being written, in rosbag2's schema version 4. The same methods as ``mcap_file.McapFile``.

The format has no place for publish times, sequence numbers and attached files; the last lie in a folder beside it.
"""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from collections import Counter
from pathlib import Path

import zstandard

from aisle_bags.bag_errors import BagError
from aisle_bags.bag_metadata import METADATA_VERSION, STORED_METADATA, FileSummary
from aisle_bags.message_compression import compress_file
from aisle_bags.stored_topics import StoredTopic

#: rosbag2's names of what is compressed, by Zstandard: nothing, the file when it is closed, or each message.
COMPRESSIONS = ("none", "file", "message")
#: Where files lie that travel in a bag whose storage cannot hold them.
ATTACHMENTS_FOLDER = "attachments"
#: A transaction ends after so many messages or bytes: what is held in memory at most.
_TRANSACTION_MESSAGES, _TRANSACTION_BYTES = 1000, 4 << 20
_SCHEMA_VERSION = 4
_SCHEMA = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, serialization_format TEXT NOT NULL,
    offered_qos_profiles TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
    encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
"""
_ADD_MESSAGE = "INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)"


class SqliteFile:
    """One new file at ``path`` (FileExistsError if there is one). Methods that write raise OSError where the system refuses."""

    def __init__(self, path: Path, compression: str = "none", ros_distro: str = "") -> None:
        path.open("xb").close()
        self._path = path
        self._compression = compression
        self._compressor = zstandard.ZstdCompressor() if compression == "message" else None
        self._database = sqlite3.connect(path, isolation_level=None)
        self._run(self._database.executescript, _SCHEMA)
        self._run(self._database.execute, "INSERT INTO schema VALUES (?, ?)", (_SCHEMA_VERSION, ros_distro))
        self._topics: dict[str, int] = {}
        self._types: set[str] = set()
        self._waiting: list[tuple[int, int, bytes]] = []
        self._waiting_bytes = self._size_bytes = 0
        self._counts: Counter[str] = Counter()
        self._start_ns: int | None = None
        self._end_ns: int | None = None
        self._closed = False

    @property
    def size_bytes(self) -> int:
        """About what the file takes."""
        return self._size_bytes

    @property
    def counts(self) -> Counter[str]:
        """Messages by topic."""
        return self._counts

    @property
    def start_ns(self) -> int | None:
        """The first log time, None without messages."""
        return self._start_ns

    def summary(self) -> FileSummary:
        """What has been written so far."""
        return FileSummary(self._path.name, dict(self._counts), self._start_ns, self._end_ns, self.size_bytes)

    def declare(self, topic: StoredTopic) -> None:
        """Makes a topic known; once."""
        if topic.schema and topic.type not in self._types:
            self._types.add(topic.type)
            definition = (topic.type, topic.schema_encoding, topic.schema.decode("utf-8", "replace"), topic.type_hash)
            self._run(
                self._database.execute,
                "INSERT INTO message_definitions (topic_type, encoding, encoded_message_definition, type_description_hash)"
                " VALUES (?, ?, ?, ?)",
                definition,
            )
        added = self._run(
            self._database.execute,
            "INSERT INTO topics (name, type, serialization_format, offered_qos_profiles, type_description_hash) VALUES (?, ?, ?, ?, ?)",
            (topic.name, topic.type, topic.encoding, topic.qos, topic.type_hash),
        )
        self._topics[topic.name] = added.lastrowid

    def write(self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int, sequence: int) -> None:
        """Stores one message of a declared topic."""
        stored = self._compressor.compress(data) if self._compressor else data
        self._waiting.append((self._topics[topic], log_time_ns, stored))
        self._waiting_bytes += len(stored)
        self._size_bytes += len(stored) + 24
        self._counts[topic] += 1
        self._start_ns = log_time_ns if self._start_ns is None else min(self._start_ns, log_time_ns)
        self._end_ns = log_time_ns if self._end_ns is None else max(self._end_ns, log_time_ns)
        if len(self._waiting) >= _TRANSACTION_MESSAGES or self._waiting_bytes >= _TRANSACTION_BYTES:
            self.cut()

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """Puts a file beside this one. Raises BagError for a name that leads elsewhere."""
        folder = (self._path.parent / ATTACHMENTS_FOLDER).resolve()
        file = (folder / name).resolve()
        if not file.is_relative_to(folder):
            raise BagError(f"{self._path}: attached file '{name}' would lie outside of the bag")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def note(self, name: str, values: dict[str, str]) -> None:
        """Of MCAP's metadata records the format has a place only for the bag's own metadata."""
        if name == STORED_METADATA:
            (text,) = values.values()
            self._run(self._database.execute, "INSERT INTO metadata (metadata_version, metadata) VALUES (?, ?)", (METADATA_VERSION, text))

    def cut(self) -> None:
        """Ends the transaction: what was written so far survives a crash of this process."""
        self._run(self._database.execute, "BEGIN")
        self._run(self._database.executemany, _ADD_MESSAGE, self._waiting)
        self._run(self._database.execute, "COMMIT")
        self._waiting.clear()
        self._waiting_bytes = 0

    def sync(self) -> None:
        """Nothing to do: SQLite waits for the disk at the end of each transaction."""

    def close(self) -> FileSummary:
        """Finishes the file. Tells what is in it."""
        if not self._closed:
            self.cut()
            self.abandon()
            if self._compression == "file":
                plain, self._path = self._path, self._path.with_name(f"{self._path.name}.zstd")
                compress_file(plain, self._path)
                plain.unlink()
        return dataclasses.replace(self.summary(), size_bytes=self._path.stat().st_size)

    def abandon(self) -> None:
        """Closes the file as it is."""
        self._closed = True
        self._database.close()

    def remove(self) -> None:
        """Closes the file and removes it."""
        self.abandon()
        self._path.unlink()

    def _run(self, statement, *arguments):
        """SQLite tells of a full disk in its own way."""
        try:
            return statement(*arguments)
        except sqlite3.OperationalError as error:
            raise OSError(None, str(error), os.fspath(self._path)) from error
