"""The serial line protocol of weighing shelves (docs/scale-protocol.md): lines to bytes and back.

$P,<gondola>,<shelf>,<sample period us>,<plate>,...*<CRC>       what the columns of W lines are
$W,<gondola>,<shelf>,<sequence>,<device time us>,<grams>,...*<CRC>   one sample of all plates
"""

from __future__ import annotations

import binascii
import math
import re
from dataclasses import dataclass, field

from aisle_contract.topics import ID_PATTERN

#: Longer lines are garbage: a line of 64 plates has about 700 characters.
MAX_LINE_BYTES = 2048
#: Sequence numbers and device times start again at zero here.
SEQUENCE_MODULUS = 1 << 16
DEVICE_TIME_MODULUS_US = 1 << 32
#: A channel that no plate is connected to.
UNUSED_CHANNEL = "-"

_NUMBER = re.compile(rb"-?\d{1,7}(\.\d{1,6})?")


@dataclass(frozen=True)
class ShelfColumns:
    """A ``P`` line: which plate each column of the shelf's samples belongs to (``UNUSED_CHANNEL``: none)."""

    gondola: str
    shelf: str
    period_us: int
    plates: tuple[str, ...]


@dataclass(frozen=True)
class ShelfSample:
    """A ``W`` line. ``grams``: NaN where the device had no value."""

    gondola: str
    shelf: str
    sequence: int
    device_us: int
    grams: tuple[float, ...]


@dataclass
class LineCounts:
    """``garbled``: not a line of the protocol, or too long; ``corrupt``: wrong checksum; ``malformed``: right checksum, wrong content."""

    good: int = 0
    garbled: int = 0
    corrupt: int = 0
    malformed: int = 0


def encode(line: ShelfColumns | ShelfSample) -> bytes:
    """The bytes of one line, as a device sends them. Raises ValueError for what a line cannot say."""
    if isinstance(line, ShelfColumns):
        fields = ["P", line.gondola, line.shelf, str(line.period_us), *line.plates]
    else:
        grams = ("" if math.isnan(value) else f"{value:.1f}" for value in line.grams)
        fields = ["W", line.gondola, line.shelf, str(line.sequence), str(line.device_us), *grams]
    body = ",".join(fields).encode("ascii", "replace")
    if _parse(body) is None or any("," in text for text in fields):
        raise ValueError(f"{body!r} is not a line of the protocol, expected ids, ranges and sizes of docs/scale-protocol.md")
    return b"$%s*%04X\r\n" % (body, checksum(body))


def checksum(body: bytes) -> int:
    """CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF) of what stands between ``$`` and ``*``."""
    return binascii.crc_hqx(body, 0xFFFF)


@dataclass
class LineDecoder:
    """Bytes, cut anywhere, to lines. What cannot be a line is dropped and counted; decoding goes on with the next line."""

    counts: LineCounts = field(default_factory=LineCounts)
    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[ShelfColumns | ShelfSample]:
        """The lines that ``data`` completes, in order."""
        self._buffer += data
        *complete, rest = self._buffer.split(b"\n")
        self._buffer = rest
        if len(self._buffer) > MAX_LINE_BYTES:
            self._buffer.clear()
            self.counts.garbled += 1
        decoded = (self._decode(bytes(line)) for line in complete)
        return [line for line in decoded if line is not None]

    def _decode(self, line: bytes) -> ShelfColumns | ShelfSample | None:
        if not line.strip():
            return None
        # A line whose end was lost runs into the next one: what follows the last $ may be whole.
        start = line.rfind(b"$")
        body, star, crc = line[start + 1 :].rstrip(b"\r").rpartition(b"*")
        if start > 0:
            self.counts.garbled += 1
        if start < 0 or not star or len(line) > MAX_LINE_BYTES:
            self.counts.garbled += start <= 0
            return None
        if crc != b"%04X" % checksum(body):
            self.counts.corrupt += 1
            return None
        parsed = _parse(body)
        if parsed is None:
            self.counts.malformed += 1
        else:
            self.counts.good += 1
        return parsed


def _parse(body: bytes) -> ShelfColumns | ShelfSample | None:
    if len(body) > MAX_LINE_BYTES - len("$*FFFF\r"):
        return None
    fields = body.split(b",")
    if len(fields) < 5 or not _is_id(fields[1]) or not _is_id(fields[2]):
        return None
    gondola, shelf = fields[1].decode("ascii"), fields[2].decode("ascii")
    if fields[0] == b"P":
        return _columns(gondola, shelf, fields[3], fields[4:])
    if fields[0] == b"W" and len(fields) > 5:
        return _sample(gondola, shelf, fields[3], fields[4], fields[5:])
    return None


def _columns(gondola: str, shelf: str, period: bytes, plates: list[bytes]) -> ShelfColumns | None:
    period_us = _integer(period, DEVICE_TIME_MODULUS_US)
    names = [plate.decode("ascii", "replace") for plate in plates]
    used = [name for name in names if name != UNUSED_CHANNEL]
    if not period_us or not used or len(set(used)) < len(used) or not all(map(ID_PATTERN.fullmatch, used)):
        return None
    return ShelfColumns(gondola, shelf, period_us, tuple(names))


def _sample(gondola: str, shelf: str, sequence: bytes, device_us: bytes, values: list[bytes]) -> ShelfSample | None:
    number, time_us = _integer(sequence, SEQUENCE_MODULUS), _integer(device_us, DEVICE_TIME_MODULUS_US)
    if number is None or time_us is None or not all(value == b"" or _NUMBER.fullmatch(value) for value in values):
        return None
    return ShelfSample(gondola, shelf, number, time_us, tuple(float(value) if value else math.nan for value in values))


def _integer(text: bytes, limit: int) -> int | None:
    if not text.isdigit() or len(text) > 10 or int(text) >= limit:
        return None
    return int(text)


def _is_id(text: bytes) -> bool:
    return text.isascii() and ID_PATTERN.fullmatch(text.decode("ascii")) is not None
