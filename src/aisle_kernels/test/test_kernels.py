"""The compiled functions against the same in NumPy, and what they say to wrong arguments."""

from __future__ import annotations

import dataclasses
import gc
import struct
import sys

import numpy as np
import pytest

import aisle_kernels

RNG = np.random.default_rng


def positive(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    roots = rng.normal(size=(count, size, size))
    return roots @ np.swapaxes(roots, 1, 2) + 0.1 * np.eye(size)


def lenses() -> object:
    """A pinhole camera with a focal length of 100 px that looks along the store's x axis; grid points every 10 px of 200 x 100 px."""
    u, v = np.meshgrid(np.arange(21) * 10.0, np.arange(11) * 10.0)
    table = np.column_stack([(u.ravel() - 100.0) / 100.0, (v.ravel() - 50.0) / 100.0])
    rotation = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    return aisle_kernels.lenses(11, 21, 10.0, 0.0, np.zeros((1, 3)), rotation[None], np.array([[200.0, 100.0]]), np.array([100.0]), table)


def test_rays_lie_between_those_of_the_grid() -> None:
    handle = lenses()
    # What the handle was made of lives as long as it does.
    gc.collect()
    rays = np.empty((3, 3))
    pixels = np.array([[100.0, 50.0], [133.0, 41.0], [np.nan, 50.0]])
    aisle_kernels.directions(handle, np.zeros(3, dtype=int), pixels, rays)
    np.testing.assert_allclose(rays[:2], [[1.0, 0.0, 0.0], [1.0, -0.33, 0.09]], atol=1e-12)
    assert np.isnan(rays[2]).all()


def test_bodies_without_open_sides_are_corrected_as_by_plain_positions() -> None:
    """One detection for each of two persons whose statures are known: its evidence is a position with a covariance."""
    rng = RNG(3)
    means, covariances = rng.normal(size=(2, 4)), positive(rng, 2, 4)
    statures = np.array([[1.0, 1e-12], [1.1, 1e-12]])
    places = means[:, :2] + 0.01
    precisions = np.linalg.inv(positive(rng, 2, 2))
    information, vector = np.zeros((2, 3, 3)), np.zeros((2, 3))
    information[:, :2, :2] = precisions
    vector[:, :2] = np.einsum("mij,mj->mi", precisions, places)
    plain = means.copy(), covariances.copy()
    aisle_kernels.fuse(*plain, np.array([0, 1]), places, np.zeros(2), precisions)
    sides = np.zeros((2, 2)), np.tile([1.0, 0.0, 0.0], (2, 1))
    aisle_kernels.correct_bodies(
        2.0, 0.1, 0.02**2, means, covariances, statures, np.array([0, 1]), np.zeros(2), information, vector, *sides
    )
    np.testing.assert_allclose(means, plain[0], atol=1e-6)
    np.testing.assert_allclose(covariances, plain[1], atol=1e-6)
    np.testing.assert_allclose(statures, [[1.0, 0.02**2], [1.1, 0.02**2]])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"whose": np.array([0, 2])}, IndexError, "argument 3 holds 2, expected 0 to 1"),
        ({"whose": np.array([0.0, 1.0])}, TypeError, "argument 3 is an array of 'd', expected 'l'"),
        ({"means": np.zeros((2, 4), dtype=np.float32)}, TypeError, "argument 1 is an array of 'f', expected 'd'"),
        ({"positions": np.zeros((3, 2))}, ValueError, "argument 4 has 6 numbers, expected 4"),
        ({"positions": np.zeros((2, 4))[:, :2]}, ValueError, "contiguous"),
        ({"covariances": np.zeros((2, 4, 4))}, ArithmeticError, "singular"),
        ({"covariances": None}, TypeError, "buffer|bytes-like"),
    ],
)
def test_wrong_arguments_are_told(change: dict, error: type[Exception], words: str) -> None:
    arguments = {
        "means": np.zeros((2, 4)),
        "covariances": np.tile(np.eye(4), (2, 1, 1)),
        "whose": np.array([0, 1]),
        "positions": np.zeros((2, 2)),
        "ages": np.zeros(2),
        "precisions": np.tile(np.eye(2), (2, 1, 1)),
    }
    with pytest.raises(error, match=words):
        aisle_kernels.fuse(*(arguments | change).values())


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"counts": np.array([[2, 2]])}, ValueError, "do not add up"),
        ({"counts": np.array([[1, 1]])}, ValueError, "do not add up"),
        ({"counts": np.array([[-1, 4]])}, ValueError, "do not add up"),
        ({"places": np.array([0, 1, 4])}, IndexError, "argument 10 holds 4, expected 0 to 3"),
        ({"result": np.empty((3, 1, 2))}, ValueError, "argument 11 has 6 numbers, expected 4"),
        ({"spreads": 0}, ValueError, "at least one spread"),
    ],
)
def test_pairs_of_loads_that_do_not_fit_together_are_told(change: dict, error: type[Exception], words: str) -> None:
    arguments = {
        "total": 1.0,
        "deviation": 0.1,
        "spreads": 1,
        "change": np.ones(2),
        "variance": np.ones(2),
        "patterns": np.ones((4, 1, 2)),
        "reach": np.ones((4, 1, 2)),
        "masses": np.ones((1, 2)),
        "counts": np.array([[1, 2]]),
        "places": np.array([0, 1, 2]),
        "result": np.empty((2, 1, 2)),
    }
    aisle_kernels.pair_misfits(*arguments.values())
    with pytest.raises(error, match=words):
        aisle_kernels.pair_misfits(*(arguments | change).values())


def message(channel: int, log_time: int, data: bytes) -> bytes:
    """As it stands in a chunk."""
    return struct.pack("<BQHIQQ", 5, 22 + len(data), channel, 7, log_time, log_time + 1) + data


def test_messages_of_wanted_channels_are_taken_from_a_chunk() -> None:
    wanted = bytearray(65536)
    wanted[3] = wanted[65535] = 1
    schema = struct.pack("<BQ", 3, 5) + b"12345"
    chunk = message(3, 11, b"abc") + schema + message(4, 12, b"d") + message(65535, 2**63 + 5, b"")
    found = aisle_kernels.chunk_messages(chunk, 99, wanted)
    assert found == [(11, 99, 3, b"abc", 12, 7), (2**63 + 5, 99, 65535, b"", 2**63 + 6, 7)]
    assert aisle_kernels.chunk_messages(b"", 0, wanted) == []


@pytest.mark.parametrize("end", [b"\x05", struct.pack("<BQ", 5, 2**63) + bytes(30), struct.pack("<BQ", 5, 21) + bytes(21)])
def test_records_that_do_not_fit_into_a_chunk_are_told(end: bytes) -> None:
    with pytest.raises(ValueError, match=f"a record at byte 33 of a chunk of {33 + len(end)} bytes does not fit"):
        aisle_kernels.chunk_messages(message(3, 11, b"ab") + end, 0, bytearray(65536))


@dataclasses.dataclass(frozen=True, slots=True)
class Persons:
    stamp_ns: int
    camera: str
    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray | None
    embeddings: np.ndarray | None


def persons_form(names: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Persons))) -> object:
    return aisle_kernels.record_form(Persons, names, ("7",), np.ndarray, np.dtype(np.float32), b"same", b"\xff\xff\0\xff")


def persons_message(*persons: tuple[int, int], same: bytes = b"same", count: int | None = None) -> bytes:
    """Of persons with so many numbers in keypoints and embedding, which count up from 0."""
    words = []
    for keypoints, embedding in persons:
        words += [*range(5), struct.unpack("<f", struct.pack("<I", keypoints))[0], *range(keypoints)]
        words += [struct.unpack("<f", struct.pack("<I", embedding))[0], *range(embedding)]
    front = struct.pack("<4siI", b"\0\1\0\0", -2, 5) + same + struct.pack("<I", len(persons) if count is None else count)
    return front + struct.pack(f"<{len(words)}f", *words)


def test_persons_are_read_where_all_are_alike() -> None:
    found = aisle_kernels.person_detections(persons_form(), persons_message((51, 2), (51, 2)) + b"xyz")
    assert (found.stamp_ns, found.camera) == (-2 * 10**9 + 5, "7")
    np.testing.assert_array_equal(found.boxes, [[0, 1, 2, 3]] * 2)
    np.testing.assert_array_equal(found.scores, [4, 4])
    np.testing.assert_array_equal(found.keypoints, np.broadcast_to(np.arange(51).reshape(17, 3), (2, 17, 3)))
    np.testing.assert_array_equal(found.embeddings, [[0, 1]] * 2)
    nobody = aisle_kernels.person_detections(persons_form(), persons_message(same=b"sa?e"))
    assert (nobody.boxes.shape, nobody.scores.shape, nobody.keypoints, nobody.embeddings) == ((0, 4), (0,), None, None)


@pytest.mark.parametrize(
    "message",
    [
        persons_message((51, 2), (51, 3)),
        persons_message((51, 2), (0, 2)),
        persons_message((50, 2)),
        persons_message((51, 2), count=2),
        persons_message((51, 2), (51, 2), count=1),
        persons_message((51, 2))[:-1],
        persons_message((51, 2), count=2**32 - 1),
        persons_message((51, 2), same=b"none"),
        persons_message()[:-1],
        b"\0\0" + persons_message()[2:],
        b"",
    ],
)
def test_persons_are_not_read_where_they_differ_or_do_not_fit(message: bytes) -> None:
    assert aisle_kernels.person_detections(persons_form(), message) is None


def test_forms_that_do_not_fit_their_records_are_refused() -> None:
    with pytest.raises(ValueError, match="as many names as"):
        aisle_kernels.person_detections(persons_form(("stamp_ns", "camera")), persons_message())
    with pytest.raises(AttributeError, match="faces"):
        aisle_kernels.person_detections(persons_form(("stamp_ns", "camera", "faces", "scores", "boxes", "keypoints")), persons_message())
    with pytest.raises(TypeError, match="a class, a tuple of names"):
        persons_form(["stamp_ns"])
    with pytest.raises(ValueError, match="argument 7 has 3 numbers, expected 4"):
        aisle_kernels.record_form(Persons, ("stamp_ns",), (), np.ndarray, np.dtype(np.float32), b"same", b"\xff\xff\xff")
    with pytest.raises(ValueError, match="incorrect name"):
        aisle_kernels.person_detections(lenses(), persons_message())


def test_what_may_not_be_written_to_is_refused() -> None:
    means = np.zeros((1, 4))
    means.flags.writeable = False
    with pytest.raises(ValueError, match=r"read-only|writ"):
        aisle_kernels.predict(2, 0.1, 1.0, means, np.zeros((1, 4, 4)))


def test_a_call_with_too_few_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match="fuse: got 1 arguments, expected 6"):
        aisle_kernels.fuse(np.zeros((1, 4)))


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    first: int
    second: object = None


def test_records_are_made_as_by_their_constructors() -> None:
    content = [1]
    counts = sys.getrefcount(content)
    one = aisle_kernels.made(Frozen, ("first", "second"), (7, content))
    assert one == Frozen(7, content)
    assert type(one) is Frozen
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.first = 8
    del one
    assert sys.getrefcount(content) == counts
    with pytest.raises(AttributeError, match="third"):
        aisle_kernels.made(Frozen, ("first", "third"), (7, content))
    for wrong in ((Frozen, ("first",), (1, 2)), (Frozen, ["first"], (1,)), (1, ("first",), (1,)), (Frozen, ("first",))):
        with pytest.raises(TypeError, match="a class, a tuple of names"):
            aisle_kernels.made(*wrong)
