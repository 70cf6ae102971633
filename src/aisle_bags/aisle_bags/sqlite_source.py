"""Reads one SQLite file of a bag (rosbag2's schema versions 1 to 4) in the order of log times.

A file that was not closed has changes in a journal or a write-ahead log beside it. SQLite would put these into the file, which is not
ours to change: such a file is read from a copy.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import numpy as np

from aisle_bags.bag_errors import BagError
from aisle_bags.bag_metadata import BagMetadata, parse_stored_metadata
from aisle_bags.message_compression import decompressed
from aisle_bags.stored_messages import RawMessage
from aisle_bags.stored_topics import StoredTopic, full_type_name, normal_qos

MAGIC = b"SQLite format 3\x00"
#: What SQLite's library raises at damaged files; the second one where not even its complaint is text.
DAMAGE = (sqlite3.Error, UnicodeDecodeError)
#: A row that holds a message: whole numbers that are times since 1970, and bytes. SQLite puts anything into any column.
_IS_MESSAGE = "typeof(timestamp) = 'integer' AND timestamp >= 0 AND typeof(data) = 'blob'"
#: What SQLite leaves beside a file that was not closed.
_JOURNALS = ("-wal", "-journal")
#: Log times are handed out in pieces of so many.
_PIECE = 100_000


class SqliteSource:
    """One open file. Raises BagError for what is no SQLite file of rosbag2 with ROS 2 messages."""

    storage = "sqlite3"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        try:
            self._database = opened(path, self._stack)
            self._topics = read_topics(path, self._database)
            self._counts, self.start_ns, self.end_ns = self._read_counts()
        except DAMAGE as error:
            self._stack.close()
            raise _damaged(path, error) from error
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        self._stack.close()

    @property
    def topics(self) -> list[StoredTopic]:
        return list(self._topics.values())

    @property
    def counts(self) -> Counter[str]:
        """Messages by topic."""
        counts: Counter[str] = Counter()
        for number, topic in self._topics.items():
            counts[topic.name] += self._counts[number]
        return counts

    def leave_out_repeated(self) -> None:
        """Nothing tells which messages are repeated: the format has no place for it."""

    def read_side_by_side(self, readings: int) -> None:
        """Nothing is shared: the format is not compressed."""

    def stored_metadata(self) -> BagMetadata | None:
        """The bag's metadata as the file itself carries them (since schema version 3), if it does."""
        if not _columns(self._database, "metadata"):
            return None
        row = self._database.execute("SELECT metadata FROM metadata ORDER BY id DESC LIMIT 1").fetchone()
        return parse_stored_metadata(row[0]) if row and isinstance(row[0], str) else None

    def metadata_records(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The format has none."""
        return iter(())

    def attachments(self) -> Iterator[tuple[str, str, bytes]]:
        """The format has none."""
        return iter(())

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        *,
        compressed: bool = False,
    ) -> Iterator[RawMessage]:
        """Messages of these topics (all by default) in the order of log times, from ``start_ns`` to before ``end_ns``.

        ``compressed``: messages may be compressed one by one.
        """
        wanted = {number: (topic.name, topic.type) for number, topic in self._topics.items() if topics is None or topic.name in topics}
        where, values = [f"topic_id IN ({', '.join('?' * len(wanted))})"], list(wanted)
        if start_ns is not None:
            where.append("timestamp >= ?")
            values.append(start_ns)
        if end_ns is not None:
            where.append("timestamp < ?")
            values.append(end_ns)
        rows = self._rows(f"SELECT topic_id, timestamp, data FROM messages WHERE {' AND '.join(where)} ORDER BY timestamp, id", values)
        for number, log_time_ns, data in rows:
            if compressed:
                data = decompressed(self.path, data)
            yield RawMessage(*wanted[number], log_time_ns, data, log_time_ns)

    def log_times(self) -> Iterator[tuple[str, np.ndarray]]:
        """Log times by topic, int64 ns, in pieces."""
        for number, topic in self._topics.items():
            piece: list[int] = []
            for (log_time_ns,) in self._rows("SELECT timestamp FROM messages WHERE topic_id = ? ORDER BY timestamp", [number]):
                piece.append(log_time_ns)
                if len(piece) == _PIECE:
                    yield topic.name, np.array(piece, np.int64)
                    piece = []
            if piece:
                yield topic.name, np.array(piece, np.int64)

    def _read_counts(self) -> tuple[Counter[int], int | None, int | None]:
        rows = self._database.execute(
            f"SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp), SUM({_IS_MESSAGE}) FROM messages GROUP BY topic_id"
        ).fetchall()
        known = [row for row in rows if row[0] in self._topics]
        if len(known) < len(rows):
            raise BagError(f"{self.path}: messages of a topic that the table 'topics' does not have; './aisle bag recover' leaves them out")
        odd = sum(count - messages for _, count, _, _, messages in known)
        if odd:
            found = f"{odd} rows of the table 'messages' hold no time since 1970 or no bytes"
            raise BagError(f"{self.path}: {found}; './aisle bag recover' leaves them out")
        counts = Counter({number: count for number, count, *_ in known})
        return counts, min((row[2] for row in known), default=None), max((row[3] for row in known), default=None)

    def _rows(self, query: str, values: list[int]) -> Iterator[tuple]:
        try:
            # Not "yield from": who stops early would close the cursor, which fails once the file is closed.
            for row in self._database.execute(query, values):  # noqa: UP028
                yield row
        except DAMAGE as error:
            raise _damaged(self.path, error) from error


def read_topics(path: Path, database: sqlite3.Connection) -> dict[int, StoredTopic]:
    """Topics by their numbers. Raises BagError for what is no bag or holds other messages than ROS 2's."""
    columns = _columns(database, "topics")
    if not {"id", "name", "type", "serialization_format"} <= columns or not {"id", "topic_id", "timestamp", "data"} <= _columns(
        database, "messages"
    ):
        raise BagError(f"{path}: an SQLite file, but not a bag: expected rosbag2's tables 'topics' and 'messages'")
    definitions = _definitions(database)
    extra = [name if name in columns else "''" for name in ("offered_qos_profiles", "type_description_hash")]
    topics = {}
    for number, name, kind, encoding, qos, type_hash in database.execute(
        f"SELECT id, name, type, serialization_format, {', '.join(extra)} FROM topics ORDER BY id"
    ):
        if not isinstance(name, str) or not isinstance(kind, str):
            raise BagError(f"{path}: topic {number} has the name {name!r} and the type {kind!r}, expected text")
        if encoding != "cdr":
            raise BagError(f"{path}: topic '{name}' is serialised as '{encoding}', expected ROS 2's 'cdr'")
        definition = definitions.get(kind, ("", b""))
        topics[number] = StoredTopic(name, full_type_name(kind), normal_qos(qos), *definition, type_hash=str(type_hash or ""))
    return topics


def _definitions(database: sqlite3.Connection) -> dict[str, tuple[str, bytes]]:
    if not _columns(database, "message_definitions"):
        return {}
    rows = database.execute("SELECT topic_type, encoding, encoded_message_definition FROM message_definitions ORDER BY id")
    return {kind: (str(encoding or ""), text if isinstance(text, bytes) else str(text).encode()) for kind, encoding, text in rows if text}


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in database.execute(f"PRAGMA table_info({table})")}


def opened(path: Path, stack: ExitStack) -> sqlite3.Connection:
    """The file for reading; ``stack`` closes it. One that was not closed is copied first: its journal then becomes a part of it."""
    options = "mode=ro&immutable=1"
    if has_journal(path):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aisle-bag-")))
        path, options = _copied_with_journal(path, folder), "mode=rw"
    database = sqlite3.connect(f"file:{quote(str(path.resolve()))}?{options}", uri=True)
    stack.callback(database.close)
    # Damaged text is still worth a look.
    database.text_factory = lambda text: text.decode("utf-8", "replace")
    if "mode=rw" in options:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return database


def has_journal(path: Path) -> bool:
    """Whether changes lie beside the file that are not in it yet."""
    return any(_beside(path, ending).is_file() and _beside(path, ending).stat().st_size for ending in _JOURNALS)


def _copied_with_journal(path: Path, folder: Path) -> Path:
    """A copy of the file and of what lies beside it, which SQLite may change. Raises BagError where it cannot be made."""
    try:
        for ending in ("", *_JOURNALS):
            if _beside(path, ending).is_file():
                shutil.copyfile(_beside(path, ending), _beside(folder / path.name, ending))
    except OSError as error:
        raise BagError(f"{path}: was not closed, and cannot be copied to {folder}: {error.strerror or error}") from error
    return folder / path.name


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _damaged(path: Path, error: Exception) -> BagError:
    return BagError(f"{path}: damaged: {' '.join(str(error).split())}; './aisle bag recover' saves what is readable")
