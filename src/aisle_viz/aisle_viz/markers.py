"""What RViz shows, as plain data: the store's furniture, and people, shelf events and carts as they come.

Colours are RGBA 0..1. Shapes are in the frame ``store``; a shape replaces the one with the same (namespace, number).
"""

from __future__ import annotations

import colorsys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, BodyPoint, Cart, CartStatus, Record, ShelfEvent, ShelfEvents, Track, Tracks
from aisle_store.camera_model import Camera
from aisle_store.store import Gondola, Store

Colour = tuple[float, float, float, float]

GREY: Colour = (0.55, 0.57, 0.6, 1.0)
PLATE: Colour = (0.35, 0.4, 0.48, 0.5)
CAMERA: Colour = (0.2, 0.6, 0.9, 0.8)
GATE: Colour = (0.2, 0.8, 0.4, 0.9)
TAKEN: Colour = (0.95, 0.45, 0.1, 0.9)
PUT: Colour = (0.15, 0.65, 0.95, 0.9)
TEXT: Colour = (1.0, 1.0, 1.0, 1.0)

PERSON_HEIGHT = 1.7
PERSON_RADIUS = 0.2
FRUSTUM_DEPTH = 0.3
#: How finely the outermost ray that a calibration knows is looked for towards each corner of the image.
FRUSTUM_STEPS = 40
ROOF_SHARE = 0.25
SHOULDER_HEIGHT = 1.4
#: A covariance ellipse shows two standard deviations (86 % of a 2-D normal distribution).
ELLIPSE_DEVIATIONS = 2.0
ELLIPSE_CORNERS = 24


class Kind(Enum):
    """Which marker draws a shape; DELETE takes the shape away."""

    ARROW = "arrow"
    SPHERE = "sphere"
    CYLINDER = "cylinder"
    LINE_STRIP = "line strip"
    LINE_LIST = "line list"
    TRIANGLE_LIST = "triangle list"
    TEXT = "text"
    DELETE = "delete"


@dataclass(frozen=True, eq=False)
class Shape:
    """One marker. ``points`` float64 [N, 3] for arrows (start, end), lines and triangles; ``position`` float64 [3] m for the others.

    ``size`` (x, y, z) m: diameters; for lines x is the width, for arrows x the shaft's and y the head's diameter, for text z the height.
    """

    namespace: str
    number: int
    kind: Kind
    colour: Colour = TEXT
    position: np.ndarray = field(default_factory=lambda: np.zeros(3))
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    text: str = ""


@dataclass(frozen=True)
class MarkersConfig:
    trail_s: float = parameter(5.0, "How long a person's trail is, s", 0.0, 600.0)
    event_s: float = parameter(8.0, "How long a shelf event stays visible, s", 0.1, 600.0)
    refresh_s: float = parameter(2.0, "How often the furniture is sent again for late joiners, s", 0.1, 60.0)


def furniture(store: Store) -> list[Shape]:
    """Shapes of all that does not move: floor, gondolas, shelves, plates, cameras, gates."""
    floor = np.column_stack([store.floor, np.zeros(len(store.floor))])
    shapes = [Shape("floor", 0, Kind.LINE_STRIP, GREY, size=(0.02, 0, 0), points=np.vstack([floor, floor[:1]]))]
    for number, gondola in enumerate(store.gondolas.values()):
        shapes += _gondola(number, gondola)
    plates = np.concatenate([plate.corners[[0, 1, 2, 0, 2, 3]] for plate in store.plates()] or [np.zeros((0, 3))])
    shapes.append(Shape("plates", 0, Kind.TRIANGLE_LIST, PLATE, size=(1, 1, 1), points=plates))
    for number, camera in enumerate(store.cameras.values()):
        shapes += _camera(number, camera)
    for number, gate in enumerate(store.gates.values()):
        ends = np.column_stack([gate.ends, [0.02, 0.02]])
        shapes.append(Shape("gates", number, Kind.LINE_STRIP, GATE, size=(0.05, 0, 0), points=ends))
        shapes.append(_text("gate names", number, np.array([*gate.centre, 0.3]), gate.gate, 0.12))
    return shapes


class MarkerScene:
    """Turns records into shapes. ``step`` gives the shapes that change with one record."""

    def __init__(self, store: Store, config: MarkersConfig) -> None:
        self._store = store
        self._config = config
        self._numbers: dict[str, int] = {}
        self._trails: dict[str, deque[tuple[int, np.ndarray]]] = {}
        self._drawn: dict[str, list[tuple[str, int]]] = {}
        self._carts: dict[str, Cart] = {}
        self._events: deque[tuple[int, int]] = deque()
        self._event_count = 0

    def step(self, record: Record) -> list[Shape]:
        """Shapes to draw or to delete after this record; none for records that are not shown."""
        if isinstance(record, Tracks):
            return [*self._faded_events(record.stamp_ns), *self._people(record)]
        if isinstance(record, ShelfEvents):
            return [shape for event in record.final for shape in self._event(event)]
        if isinstance(record, Cart):
            self._remember(record)
        return []

    def _remember(self, cart: Cart) -> None:
        """Carts are drawn with the person who holds them, at the next tracks."""
        if cart.status == CartStatus.CLOSED:
            self._carts = {track: held for track, held in self._carts.items() if held.session != cart.session}
        elif cart.track:
            self._carts[cart.track] = cart

    def _people(self, record: Tracks) -> Iterator[Shape]:
        present = {track.track for track in record.tracks}
        for gone in [track for track in self._drawn if track not in present]:
            yield from (Shape(namespace, number, Kind.DELETE) for namespace, number in self._drawn.pop(gone))
            del self._trails[gone]
        for track in record.tracks:
            number = self._numbers.setdefault(track.track, len(self._numbers))
            trail = self._trails.setdefault(track.track, deque())
            trail.append((record.stamp_ns, track.position))
            while trail[0][0] < record.stamp_ns - self._config.trail_s * NANOSECONDS:
                trail.popleft()
            shapes = list(self._person(number, track))
            drawn = [(shape.namespace, shape.number) for shape in shapes]
            yield from (Shape(*key, Kind.DELETE) for key in self._drawn.get(track.track, []) if key not in drawn)
            self._drawn[track.track] = drawn
            yield from shapes

    def _person(self, number: int, track: Track) -> Iterator[Shape]:
        colour = person_colour(number, alpha=0.35 + 0.55 * float(np.clip(track.existence, 0, 1)))
        ground = np.array([*track.position, 0.02])
        middle = np.array([*track.position, PERSON_HEIGHT / 2])
        yield Shape("people", number, Kind.CYLINDER, colour, middle, (2 * PERSON_RADIUS, 2 * PERSON_RADIUS, PERSON_HEIGHT))
        yield Shape("uncertainty", number, Kind.LINE_STRIP, colour, size=(0.01, 0, 0), points=covariance_ellipse(track))
        tip = ground + np.array([*track.velocity, 0.0])
        yield Shape("velocity", number, Kind.ARROW, colour, size=(0.03, 0.07, 0), points=np.array([ground, tip]))
        trail = np.array([[*position, 0.02] for _, position in self._trails[track.track]])
        if len(trail) > 1:
            yield Shape("trails", number, Kind.LINE_STRIP, colour, size=(0.02, 0, 0), points=trail)
        for namespace, point, size in _body_points(track):
            yield Shape(namespace, number, Kind.SPHERE, colour, point.position, (size, size, size))
        arms = _arms(track)
        if len(arms):
            yield Shape("arms", number, Kind.LINE_LIST, colour, size=(0.03, 0, 0), points=arms)
        doubts = [_deviation_cross(point) for _, point, _ in _body_points(track)]
        if doubts:
            yield Shape("body uncertainty", number, Kind.LINE_LIST, colour, size=(0.006, 0, 0), points=np.concatenate(doubts))
        label = f"track {track.track}"
        if track.track in self._carts:
            label += "\n" + _cart_label(self._store, self._carts[track.track])
        yield _text("labels", number, np.array([*track.position, PERSON_HEIGHT + 0.35]), label, 0.1)

    def _event(self, event: ShelfEvent) -> Iterator[Shape]:
        number = self._event_count
        self._event_count += 1
        self._events.append((event.end_ns, number))
        plates = [self._store.plate(event.gondola, event.shelf, plate) for plate in event.plates]
        if not plates:
            return
        change = float(event.change.sum())
        lifted = np.concatenate([plate.corners[[0, 1, 2, 0, 2, 3]] for plate in plates]) + _up(0.01)
        yield Shape("shelf events", number, Kind.TRIANGLE_LIST, TAKEN if change < 0 else PUT, size=(1, 1, 1), points=lifted)
        where = np.mean([plate.front for plate in plates], axis=0) + _up(0.08)
        yield _text("changes", number, where, f"{change * 1000:+.0f} g", 0.06)

    def _faded_events(self, now_ns: int) -> Iterator[Shape]:
        while self._events and self._events[0][0] < now_ns - self._config.event_s * NANOSECONDS:
            _, number = self._events.popleft()
            yield Shape("shelf events", number, Kind.DELETE)
            yield Shape("changes", number, Kind.DELETE)


def person_colour(number: int, alpha: float = 1.0) -> Colour:
    """Colours of consecutive numbers differ clearly: hues a golden angle apart."""
    return (*colorsys.hsv_to_rgb((number * 0.618034) % 1.0, 0.65, 0.95), alpha)


def covariance_ellipse(track: Track) -> np.ndarray:
    """float64 [25, 3]: closed outline of the position's uncertainty on the floor; a covariance without a root gives a point."""
    values, vectors = np.linalg.eigh(track.covariance[:2, :2])
    axes = vectors * (ELLIPSE_DEVIATIONS * np.sqrt(np.maximum(values, 0.0)))
    angles = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS + 1)
    outline = track.position + np.column_stack([np.cos(angles), np.sin(angles)]) @ axes.T
    return np.column_stack([outline, np.full(len(outline), 0.02)])


def _body_points(track: Track) -> Iterator[tuple[str, BodyPoint, float]]:
    named = (("heads", track.head, 0.2), ("left wrists", track.left_wrist, 0.09), ("right wrists", track.right_wrist, 0.09))
    return ((namespace, point, size) for namespace, point, size in named if point is not None)


def _arms(track: Track) -> np.ndarray:
    """float64 [2 K, 3]: from the body's axis to each of the K known wrists."""
    shoulder = np.array([*track.position, SHOULDER_HEIGHT])
    return np.array([end for wrist in (track.left_wrist, track.right_wrist) if wrist is not None for end in (shoulder, wrist.position)])


def _deviation_cross(point: BodyPoint) -> np.ndarray:
    """float64 [6, 3]: the three axes of the covariance, as long as the ellipse on the floor is wide: long where one camera alone looks."""
    values, vectors = np.linalg.eigh(point.covariance)
    axes = ELLIPSE_DEVIATIONS * np.sqrt(np.maximum(values, 0.0)) * vectors
    return np.concatenate([[point.position - axis, point.position + axis] for axis in axes.T])


def _cart_label(store: Store, cart: Cart) -> str:
    lines = [cart.shopper or "not identified"]
    for line in cart.lines:
        name = store.products[line.product].name if line.product in store.products else line.product
        lines.append(f"{line.quantity} x {name}  {line.probability:.0%}")
    return "\n".join(lines)


def _up(height: float) -> np.ndarray:
    return np.array([0.0, 0.0, height])


def _text(namespace: str, number: int, position: np.ndarray, text: str, height: float) -> Shape:
    return Shape(namespace, number, Kind.TEXT, TEXT, position, (0, 0, height), text=text)


def _gondola(number: int, gondola: Gondola) -> Iterator[Shape]:
    outlines = [_box_edges(shelf.pose, shelf.width, shelf.depth, 0.02) for shelf in gondola.shelves.values()]
    panel = _box_edges(gondola.pose, gondola.width, gondola.depth, gondola.height)
    yield Shape("gondolas", number, Kind.LINE_LIST, GREY, size=(0.01, 0, 0), points=np.concatenate([panel, *outlines]))
    top = gondola.pose @ [gondola.width / 2, gondola.depth / 2, gondola.height + 0.15, 1.0]
    yield _text("gondola names", number, top[:3], f"gondola {gondola.gondola}", 0.12)


def _box_edges(pose: np.ndarray, width: float, depth: float, height: float) -> np.ndarray:
    """float64 [24, 3]: the twelve edges of a box that spans (0..width, 0..depth, 0..height) in its own frame."""
    corners = np.array([[x, y, z] for z in (0, height) for x, y in ((0, 0), (width, 0), (width, depth), (0, depth))])
    corners = corners @ pose[:3, :3].T + pose[:3, 3]
    edges = [(i, (i + 1) % 4) for i in range(4)]
    edges += [(4 + a, 4 + b) for a, b in edges[:4]] + [(i, i + 4) for i in range(4)]
    return corners[np.array(edges).ravel()]


def frustum(camera: Camera, depth: float) -> np.ndarray:
    """float64 [4, 3]: points at the distance ``depth`` m seen at the image's corners, clockwise from the top left.

    A calibration with strong distortion may say nothing about the corners: then the points are as near to them as it does.
    """
    right, bottom = camera.width - 1.0, camera.height - 1.0
    corners = np.array([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]])
    middle = camera.matrix[:2, 2]
    shares = np.linspace(1.0, 0.0, FRUSTUM_STEPS + 1)
    rays = camera.rays((middle + shares[:, None, None] * (corners - middle)).reshape(-1, 2)).reshape(len(shares), 4, 3)
    outermost = np.isfinite(rays).all(axis=2).argmax(axis=0)
    return camera.position + depth * rays[outermost, np.arange(4)]


def _camera(number: int, camera: Camera) -> Iterator[Shape]:
    corners = frustum(camera, FRUSTUM_DEPTH)
    edges = [point for i in range(4) for point in (camera.position, corners[i], corners[i], corners[(i + 1) % 4])]
    # A roof on the image's upper edge tells which way up the camera is.
    ridge = (corners[0] + corners[1]) / 2 + ROOF_SHARE * (corners[0] - corners[3])
    edges += [corners[0], ridge, ridge, corners[1]]
    yield Shape("cameras", number, Kind.LINE_LIST, CAMERA, size=(0.008, 0, 0), points=np.array(edges))
    yield _text("camera names", number, camera.position + _up(0.12), camera.camera, 0.1)
