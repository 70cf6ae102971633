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
    statures = np.array([[1.0, 1e-12, 0.0, 1.0, 1e-12], [1.1, 1e-12, 0.0, 1.1, 1e-12]])
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
    np.testing.assert_allclose(statures[:, :2], [[1.0, 0.02**2], [1.1, 0.02**2]])


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


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Persons:
    stamp_ns: int
    camera: str
    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray | None
    embeddings: np.ndarray | None


def persons_form(*names: str, same: bytes = b"same") -> object:
    kind = aisle_kernels.record_class(Persons, names or tuple(field.name for field in dataclasses.fields(Persons)))
    return aisle_kernels.record_form(kind, ("7",), np.ndarray, np.dtype(np.float32), same, b"\xff\xff\0\xff")


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
        aisle_kernels.person_detections(persons_form("stamp_ns", "camera"), persons_message())
    with pytest.raises(ValueError, match="argument 6 has 4 numbers, expected 3"):
        persons_form(same=b"sam")
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


def test_records_are_made_as_by_their_constructors() -> None:
    form, message = persons_form(), persons_message((51, 2))
    counts = sys.getrefcount(Persons), sys.getrefcount(None)
    for _ in range(9):
        one = aisle_kernels.person_detections(form, message)
    assert type(one) is Persons
    assert repr(one) == repr(Persons(*(getattr(one, field.name) for field in dataclasses.fields(Persons))))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.camera = "8"
    boxes = one.boxes
    held_by = sys.getrefcount(boxes)
    assert held_by == 3
    del one
    assert abs(sys.getrefcount(Persons) - counts[0]) + abs(sys.getrefcount(None) - counts[1]) < 9


class Loose:
    first: int = 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((Persons, ("stamp_ns", "third")), AttributeError, "third"),
        ((Persons, ("stamp_ns", "__doc__")), TypeError, "with __slots__"),
        ((Loose, ("first",)), TypeError, "with __slots__"),
        ((slice, ("start",)), TypeError, "with __slots__"),
        ((Persons, ["stamp_ns"]), TypeError, "a class and a tuple of names"),
        ((1, ("real",)), TypeError, "a class and a tuple of names"),
    ],
)
def test_classes_whose_objects_hold_attributes_otherwise_are_refused(arguments: tuple, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        aisle_kernels.record_class(*arguments)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Followed:
    track: str
    position: np.ndarray
    velocity: np.ndarray
    covariance: np.ndarray
    existence: float
    unseen_s: float
    head: object
    left: object
    right: object


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Point:
    position: np.ndarray
    covariance: np.ndarray


def unpacking(**changed: object) -> tuple:
    track, point = (aisle_kernels.record_class(kind, tuple(field.name for field in dataclasses.fields(kind))) for kind in (Followed, Point))
    arguments = {"track": track, "point": point, "people": [("a", 0.5, 0.0)], "known": np.array([True, False, True])}
    arguments |= {"positions": np.ones((1, 2)), "velocities": np.ones((1, 2)), "covariances": np.ones((1, 4, 4))}
    arguments |= {"points": np.arange(9.0).reshape(3, 3), "spreads": np.ones((3, 3, 3))}
    return aisle_kernels.unpacked_tracks(*(arguments | changed).values())


def test_tracks_are_unpacked() -> None:
    (one,) = unpacking()
    assert (one.track, one.existence, one.unseen_s, one.left) == ("a", 0.5, 0.0, None)
    assert [array.shape for array in (one.position, one.velocity, one.covariance)] == [(2,), (2,), (4, 4)]
    assert (one.head.position.tolist(), one.right.position.tolist()) == ([0, 1, 2], [6, 7, 8])
    assert one.head.covariance.shape == (3, 3)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"known": np.array([True])}, ValueError, "argument 4 has 1 numbers, expected 3"),
        ({"people": ()}, TypeError, "and a list"),
        ({"people": ["abc"]}, TypeError, "a track, an existence"),
        ({"point": aisle_kernels.record_class(Point, ("position",))}, TypeError, "9 and of 2 attributes"),
        ({"positions": np.ones((0, 2))}, IndexError, "out of bounds"),
    ],
)
def test_tracks_that_do_not_fit_together_are_refused(changed: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        unpacking(**changed)
