"""What can still be read of an SQLite file of a bag that was not closed or is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from aisle_bags.bag_errors import BagError
from aisle_bags.sqlite_pages import is_cut_off, message_rows
from aisle_bags.sqlite_source import DAMAGE, has_journal, opened, read_topics
from aisle_bags.stored_topics import StoredTopic


class SqliteSalvage:
    """One file; use it in a ``with`` statement. ``notes`` tell, once ``rows`` are read, what was damaged.

    Raises BagError where not even the topics can be read.
    """

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        self.notes = ["was not closed: what lay in its journal was taken in"] if has_journal(path) else []
        try:
            self._database = opened(path, self._stack)
            # SQLite refuses a file that is shorter than its header says, unless it is told that damage is expected.
            self._database.execute("PRAGMA writable_schema = ON")
            self.topics: dict[int, StoredTopic] = read_topics(path, self._database)
            self._file = Path(self._database.execute("PRAGMA database_list").fetchone()[2])
        except DAMAGE as error:
            self._stack.close()
            raise BagError(f"{path}: nothing can be read: {' '.join(str(error).split())}") from error
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> SqliteSalvage:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def rows(self) -> Iterator[tuple[int, int, bytes]]:
        """Topic number, log time (ns) and data, in about the order in which they were stored."""
        last = odd = 0
        try:
            if is_cut_off(self._file):
                raise sqlite3.DatabaseError("it is shorter than its header says")
            query = "SELECT id, topic_id, timestamp, data FROM messages NOT INDEXED ORDER BY id"
            for row, topic, log_time_ns, data in self._database.execute(query):
                if isinstance(data, bytes) and isinstance(log_time_ns, int) and log_time_ns >= 0:
                    yield topic, log_time_ns, data
                else:
                    odd += 1
                last = row
        except DAMAGE as error:
            self.notes.append(f"is damaged ({' '.join(str(error).split())}): whole messages were looked for in each of its pages")
            for row, topic, log_time_ns, data in message_rows(self._file):
                if row > last and log_time_ns >= 0:
                    yield topic, log_time_ns, data
        if odd:
            self.notes.append(f"{odd} rows that hold no time since 1970 or no bytes are left out")
