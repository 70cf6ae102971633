"""Tables out of a bag's records, read once and written row by row."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path

from aisle_bags.bag_errors import BagError
from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_tables import TABLES, table_of
from aisle_bags.table_files import TableFile
from aisle_contract.conversions import MESSAGE_TYPES


def available_tables(reader: BagReader, namespace: str) -> dict[str, int]:
    """Tables that a bag has records for, and how many messages these are."""
    counts = {
        name: sum(topic.count for topic in reader.topics_of(MESSAGE_TYPES[table.record], namespace=namespace))
        for name, table in TABLES.items()
    }
    return {name: count for name, count in counts.items() if count}


def export_tables(
    reader: BagReader,
    namespace: str,
    tables: Collection[str],
    folder: Path,
    file_format: str,
    read: Callable[[int], None] = lambda count: None,
) -> dict[str, int]:
    """Writes ``<table>.<format>`` for each table into ``folder``; returns their numbers of rows.

    Rows are in the order of log times. Raises BagError, OSError, FormatNotInstalled; then no file is left behind.
    """
    kinds = [TABLES[name].record for name in tables]
    with ExitStack() as stack:
        files = {name: stack.enter_context(TableFile(folder / f"{name}.{file_format}", TABLES[name].columns)) for name in tables}
        for record in reader.records(kinds, namespace):
            table = table_of(record)
            if table is None:
                raise BagError(f"{reader.path}: {type(record).__name__} has no table")
            for row in table.rows(record):
                files[table.name].add(row)
            read(1)
    return {name: file.rows for name, file in files.items()}
