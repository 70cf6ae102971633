"""Rows of a bag's table ``messages`` straight from the pages of a damaged SQLite file, where its tree of pages is torn.

SQLite itself would give up all that hangs on a lost page, and takes pages behind a file's end for zero bytes. Here each leaf page is
read by itself, and a message counts only if all its pages are there. Format: https://www.sqlite.org/fileformat2.html, sections 1.6, 2.1.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_HEADER_BYTES = 100
_TABLE_LEAF = 0x0D
#: Sizes of whole numbers by serial type; 8 and 9 are the numbers 0 and 1 themselves.
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
#: The columns id (stored as NULL: it is the row's number), topic_id, timestamp, data.
_COLUMNS = 4


class StoredRow(NamedTuple):
    number: int
    topic: int
    log_time_ns: int
    data: bytes


class _NotARow(ValueError):
    """The bytes are not a whole row of the table."""


def is_cut_off(path: Path) -> bool:
    """Whether the file is shorter than its header says."""
    with path.open("rb") as stream:
        head = stream.read(_HEADER_BYTES)
    return len(head) < _HEADER_BYTES or _page_size(head) * struct.unpack_from(">I", head, 28)[0] > path.stat().st_size


def message_rows(path: Path) -> Iterator[StoredRow]:
    """All whole rows that look like those of ``messages``, in the order of the pages."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        pages = _Pages(content)
        for page in range(1, pages.count + 1):
            yield from pages.rows(page)


def _page_size(head: bytes) -> int:
    (size,) = struct.unpack_from(">H", head, 16)
    return 65536 if size == 1 else size


class _Pages:
    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._size = _page_size(content[:_HEADER_BYTES])
        self._usable = self._size - content[20]
        self.count = len(content) // self._size if self._size else 0

    def rows(self, page: int) -> Iterator[StoredRow]:
        start = (page - 1) * self._size
        head = start + (_HEADER_BYTES if page == 1 else 0)
        if self._content[head] != _TABLE_LEAF:
            return
        (cells,) = struct.unpack_from(">H", self._content, head + 3)
        if 8 + 2 * cells > self._size:
            return
        for cell in range(cells):
            (offset,) = struct.unpack_from(">H", self._content, head + 8 + 2 * cell)
            try:
                yield self._row(start + offset, start + self._usable)
            except (_NotARow, IndexError, struct.error):
                continue

    def _row(self, position: int, end: int) -> StoredRow:
        length, position = _varint(self._content, position)
        number, position = _varint(self._content, position)
        local = self._local_bytes(length)
        if position + local > end or length > len(self._content):
            raise _NotARow
        payload = self._content[position : position + local]
        if local < length:
            payload += self._overflow(struct.unpack_from(">I", self._content, position + local)[0], length - local)
        return _parsed(number, payload)

    def _local_bytes(self, length: int) -> int:
        """How much of a row lies in its leaf page; the rest lies in a chain of others."""
        most = self._usable - 35
        if length <= most:
            return length
        least = (self._usable - 12) * 32 // 255 - 23
        fitting = least + (length - least) % (self._usable - 4)
        return fitting if fitting <= most else least

    def _overflow(self, page: int, length: int) -> bytes:
        parts = []
        while length > 0:
            if not 1 < page <= self.count:
                raise _NotARow
            start = (page - 1) * self._size
            (page,) = struct.unpack_from(">I", self._content, start)
            part = self._content[start + 4 : start + 4 + min(length, self._usable - 4)]
            parts.append(part)
            length -= len(part)
        if page != 0:
            raise _NotARow
        return b"".join(parts)


def _parsed(number: int, payload: bytes) -> StoredRow:
    head_length, position = _varint(payload, 0)
    kinds = []
    while position < head_length:
        kind, position = _varint(payload, position)
        kinds.append(kind)
    if len(kinds) != _COLUMNS or position != head_length or kinds[0] != 0 or kinds[3] < 12 or kinds[3] % 2:
        raise _NotARow
    topic, position = _integer(payload, position, kinds[1])
    log_time_ns, position = _integer(payload, position, kinds[2])
    data = payload[position:]
    if len(data) != (kinds[3] - 12) // 2:
        raise _NotARow
    return StoredRow(number, topic, log_time_ns, data)


def _integer(payload: bytes, position: int, kind: int) -> tuple[int, int]:
    if kind not in _INTEGER_BYTES:
        raise _NotARow
    following = position + _INTEGER_BYTES[kind]
    value = kind - 8 if kind >= 8 else int.from_bytes(payload[position:following], "big", signed=True)
    return value, following


def _varint(content: bytes | mmap.mmap, position: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        byte = content[position]
        position += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position
    return value << 8 | content[position], position + 1
