from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle_drivers.scale_protocol import MAX_LINE_BYTES, LineDecoder, ShelfColumns, ShelfSample, checksum, encode

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "scale-protocol.md"

ids = st.from_regex(r"[A-Za-z0-9_]{1,8}", fullmatch=True)
grams = st.one_of(st.just(math.nan), st.integers(-200_000, 200_000).map(lambda tenths: tenths / 10))
columns = st.builds(
    ShelfColumns,
    ids,
    ids,
    st.integers(1, 10_000_000),
    st.lists(st.one_of(ids, st.just("-")), min_size=1, max_size=16, unique=True).filter(lambda plates: plates != ["-"]).map(tuple),
)
samples = st.builds(
    ShelfSample, ids, ids, st.integers(0, 65535), st.integers(0, 2**32 - 1), st.lists(grams, min_size=1, max_size=16).map(tuple)
)
lines = st.lists(st.one_of(columns, samples), max_size=4)


def as_text(decoded: list) -> list[str]:
    """NaN differs from itself; its text does not."""
    return [repr(line) for line in decoded]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]


@given(lines, st.lists(st.integers(0, 10_000), max_size=20))
def test_what_is_encoded_is_decoded_however_it_is_cut(sent, places):
    decoder = LineDecoder()
    received = [line for chunk in cut(b"".join(map(encode, sent)), places) for line in decoder.feed(chunk)]
    assert as_text(received) == as_text(sent)
    assert (decoder.counts.good, decoder.counts.garbled, decoder.counts.corrupt, decoder.counts.malformed) == (len(sent), 0, 0, 0)


@given(lines, lines, st.binary(max_size=300))
def test_garbage_costs_at_most_the_line_it_stands_in(before, after, garbage):
    decoder = LineDecoder()
    received = decoder.feed(b"".join(map(encode, before)) + garbage + b"\n" + b"".join(map(encode, after)))
    assert as_text(received[: len(before)]) == as_text(before)
    assert as_text(received[len(received) - len(after) :]) == as_text(after)


@given(st.one_of(columns, samples), st.data())
def test_a_flipped_bit_never_gives_another_line(line, data):
    coded = bytearray(encode(line))
    coded[data.draw(st.integers(0, len(coded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for received in LineDecoder().feed(bytes(coded) + b"\n"):
        assert repr(received) == repr(line)


@given(st.binary(max_size=4000))
def test_any_bytes_are_survived(data):
    decoder = LineDecoder()
    decoder.feed(data)
    assert len(decoder._buffer) <= MAX_LINE_BYTES
    line = ShelfSample("1", "2", 3, 4, (5.0,))
    assert decoder.feed(b"\n" + encode(line))[-1:] == [line]


def test_a_line_without_its_end_does_not_take_the_next_one_with_it():
    first, second = ShelfSample("1", "1", 1, 10, (1.0,)), ShelfSample("1", "1", 2, 20, (2.0,))
    decoder = LineDecoder()
    assert decoder.feed(encode(first)[:-9] + encode(second)) == [second]
    assert decoder.counts.garbled == 1


def signed(body: bytes) -> bytes:
    return b"$%s*%04X\n" % (body, checksum(body))


@pytest.mark.parametrize(
    "body",
    [
        b"W,1,1,65536,0,1.0",
        b"W,1,1,0,4294967296,1.0",
        b"W,1,1,0,0",
        b"W,1,1,-1,0,1.0",
        b"W,1,1,0,0,1e3",
        b"W,1,1,0,0,nan",
        b"W,1,1,0,0, 1.0",
        b"W,1,1,0,0,12345678",
        b"W,1/2,1,0,0,1.0",
        b"W,\xff,1,0,0,1.0",
        b"P,1,1,0,1,2",
        b"P,1,1,16667,1,1",
        b"P,1,1,16667,-",
        b"P,1,1,16667,a b",
        b"X,1,1,0,0,1.0",
        b"",
    ],
)
def test_a_rightly_signed_line_with_wrong_content_is_malformed(body):
    decoder = LineDecoder()
    assert decoder.feed(signed(body)) == []
    assert decoder.counts.malformed == 1


def test_the_checksum_is_the_one_of_the_catalogues():
    # The check value of CRC-16/CCITT-FALSE.
    assert checksum(b"123456789") == 0x29B1


def test_lines_that_cannot_be_said_are_refused():
    with pytest.raises(ValueError, match="not a line of the protocol"):
        encode(ShelfSample("1", "1", 70_000, 0, (1.0,)))
    with pytest.raises(ValueError, match="not a line of the protocol"):
        encode(ShelfColumns("1", "1", 16667, ("a,b",)))


def test_the_examples_of_the_document_decode():
    examples = re.findall(r"^\$[PW],\d.*$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(examples) == 2
    received = LineDecoder().feed("\n".join([*examples, ""]).encode())
    assert received[0] == ShelfColumns("1", "3", 16667, ("1", "2", "3"))
    assert repr(received[1]) == repr(ShelfSample("1", "3", 17, 283339, (105.3, math.nan, -4.5)))
