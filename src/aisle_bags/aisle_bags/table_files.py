"""Tables as files: CSV, or Parquet where pyarrow is installed. A file appears when it is complete, or not at all."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from aisle_bags.bag_tables import Cell, Column

FORMATS = ("csv", "parquet")
#: Rows to a row group of Parquet: so many are held in memory.
_GROUP_ROWS = 50_000


class FormatNotInstalled(Exception):
    """Says what is missing and how it is installed."""


class TableFile:
    """A new file; use it in a ``with`` statement. Raises OSError; FormatNotInstalled for Parquet without pyarrow."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self.path = path
        self.rows = 0
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._part = part
        self._writer: _Csv | _Parquet = _Parquet(part, columns) if path.suffix == ".parquet" else _Csv(part, columns)

    def add(self, row: Sequence[Cell]) -> None:
        """One cell for each column."""
        self._writer.add(row)
        self.rows += 1

    def __enter__(self) -> TableFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._writer.close()
            if kind is None:
                self._part.replace(self.path)
        finally:
            self._part.unlink(missing_ok=True)


class _Csv:
    """What is not known is an empty cell; numbers have all their digits."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow([column.name for column in columns])

    def add(self, row: Sequence[Cell]) -> None:
        self._rows.writerow(row)

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self._arrow, parquet = _pyarrow()
        kinds = {int: self._arrow.int64(), float: self._arrow.float64(), str: self._arrow.string()}
        self._schema = self._arrow.schema([(column.name, kinds[column.kind]) for column in columns])
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[Sequence[Cell]] = []

    def add(self, row: Sequence[Cell]) -> None:
        self._waiting.append(row)
        if len(self._waiting) == _GROUP_ROWS:
            self._write()

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        columns = [list(column) for column in zip(*self._waiting, strict=True)] or [[] for _ in self._schema]
        arrays = [self._arrow.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self._waiting = []


def require_format(name: str) -> None:
    """Raises FormatNotInstalled where files of the format cannot be written here."""
    if name == "parquet":
        _pyarrow()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise FormatNotInstalled("Parquet needs the Python package pyarrow: ./aisle --with parquet installs it") from error
    return pyarrow, pyarrow.parquet
