"""Gathers what a picture of a wrong line shows (``aisle_viz.failure_plot`` draws it) from a session that was just played."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aisle_bags.reenacted_scores import Enacted
from aisle_bags.scoring import WrongLine
from aisle_contract.records import NANOSECONDS, CartStatus, ScaleReading, ShelfEvent, ShelfEventStatus
from aisle_sim.true_events import TrueEvent, session_events
from aisle_store.store import Plate, ShelfKey, Store

_AROUND_S = 4.0
_LONGEST_S = 40.0
#: Moments at one shelf that are nearer together than this share a panel, s.
_SAME_MOMENT_S = 6.0
_MOST_PLATES = 8
_LEAST_CHANGE_KG = 0.003
_HAND_STEP_S = 0.05


@dataclass(frozen=True, eq=False)
class ShelfMoment:
    """What a panel shows: arrays and texts as ``aisle_viz.failure_plot.FailurePanel`` takes them."""

    title: str
    times: np.ndarray
    weights: Mapping[str, np.ndarray]
    true_hands: Mapping[str, tuple[np.ndarray, np.ndarray]]
    tracked_hands: Mapping[str, tuple[np.ndarray, np.ndarray]]
    events: Sequence[tuple[float, float, str]]
    truth: Sequence[tuple[float, str]]


def shelf_moments(store: Store, enacted: Enacted, most: int = 6) -> list[ShelfMoment]:
    """The moments at shelves that the wrong lines rest on, or should have rested on; in the order of the lines, ``most`` of them."""
    truth = [event for event in session_events(enacted.simulated.reenactment) if event.plates]
    chosen: list[tuple[ShelfKey, float, float, str]] = []
    for line in enacted.score.wrong_lines:
        for shelf, start_s, end_s in _places_of(line, enacted, truth):
            if not any(s == shelf and abs(start_s - a) < _SAME_MOMENT_S for s, a, _, _ in chosen):
                chosen.append((shelf, start_s, end_s, _title(line)))
    return [_moment(store, enacted, truth, *place) for place in chosen[:most]]


def _places_of(line: WrongLine, enacted: Enacted, truth: Iterable[TrueEvent]) -> list[tuple[ShelfKey, float, float]]:
    start_ns = enacted.simulated.start_ns
    places = [(e.plates[0][:2], e.start_s, e.end_s) for e in truth if e.person == line.shopper and line.product in e.products]
    for cart in enacted.result.carts:
        if cart.status == CartStatus.CLOSED and cart.shopper == line.shopper:
            for evidence in (evidence for own in cart.lines if own.product == line.product for evidence in own.evidence):
                times = ((evidence.start_ns - start_ns) / NANOSECONDS, (evidence.end_ns - start_ns) / NANOSECONDS)
                places.append(((evidence.gondola, evidence.shelf), *times))
    return places


def _title(line: WrongLine) -> str:
    who = line.shopper or "nobody known"
    return f"{who}: {line.product} expected {line.expected}, charged {line.found}. {line.cause}: {line.detail}"


def _moment(
    store: Store, enacted: Enacted, truth: Sequence[TrueEvent], shelf: ShelfKey, start_s: float, end_s: float, title: str
) -> ShelfMoment:
    first_s, last_s = start_s - _AROUND_S, min(end_s, start_s + _LONGEST_S) + _AROUND_S
    origin_ns = enacted.simulated.start_ns
    here = [event for event in enacted.result.events if (event.gondola, event.shelf) == shelf and event.status == ShelfEventStatus.FINAL]
    here = [event for event in here if _within(event, origin_ns, first_s, last_s)]
    really = [event for event in truth if event.plates[0][:2] == shelf and event.end_s >= first_s and event.start_s <= last_s]
    plates = _concerned(store, shelf, here, really)
    times, weights = _weights(enacted, shelf, [plate.plate for plate in plates], first_s, last_s)
    return ShelfMoment(
        title=f"gondola {shelf[0]} shelf {shelf[1]}. {title}",
        times=times,
        weights=weights,
        true_hands=_true_hands(enacted, plates, first_s, last_s),
        tracked_hands=_tracked_hands(enacted, plates, first_s, last_s),
        events=[(*_seconds(event, origin_ns), _judged(event, enacted)) for event in here],
        truth=[(event.time_s, f"{event.person} {event.action} {', '.join(event.products)}") for event in really],
    )


def _within(event: ShelfEvent, origin_ns: int, first_s: float, last_s: float) -> bool:
    start_s, end_s = _seconds(event, origin_ns)
    return end_s >= first_s and start_s <= last_s


def _seconds(event: ShelfEvent, origin_ns: int) -> tuple[float, float]:
    return (event.start_ns - origin_ns) / NANOSECONDS, (event.end_ns - origin_ns) / NANOSECONDS


def _concerned(store: Store, shelf: ShelfKey, events: Sequence[ShelfEvent], truth: Sequence[TrueEvent]) -> list[Plate]:
    names = {key[2] for event in truth for key in event.plates}
    for event in events:
        names |= {plate for plate, change in zip(event.plates, event.change, strict=True) if abs(change) > _LEAST_CHANGE_KG}
    plates = [plate for plate in store.shelf(*shelf).plates.values() if plate.plate in names]
    return plates[:_MOST_PLATES] or list(store.shelf(*shelf).plates.values())[:1]


def _weights(
    enacted: Enacted, shelf: ShelfKey, plates: Sequence[str], first_s: float, last_s: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times [T] s and changes since the first of them, g [T] by plate."""
    origin_ns = enacted.simulated.start_ns
    readings = [r for r in enacted.simulated.records if isinstance(r, ScaleReading) and (r.gondola, r.shelf) == shelf]
    readings = [r for r in readings if first_s <= (r.stamp_ns - origin_ns) / NANOSECONDS <= last_s]
    if not readings:
        return np.array([first_s, last_s]), {}
    times = np.concatenate([(r.stamp_ns - origin_ns + r.sample_period_ns * np.arange(len(r.weights))) / NANOSECONDS for r in readings])
    grams = 1000 * np.concatenate([r.weights for r in readings])
    columns = {plate: grams[:, readings[0].plates.index(plate)] for plate in plates}
    return times, {plate: values - np.nanmedian(values[:30]) if np.isfinite(values).any() else values for plate, values in columns.items()}


def _true_hands(enacted: Enacted, plates: Sequence[Plate], first_s: float, last_s: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    hands = {}
    for shopper in enacted.simulated.reenactment.shoppers:
        times = np.arange(max(first_s, shopper.first_s), min(last_s, shopper.last_s), _HAND_STEP_S)
        if len(times):
            hands[shopper.person] = (times, np.min([_distance(plates, wrist) for wrist in shopper.wrists(times)], axis=0))
    return hands


def _tracked_hands(enacted: Enacted, plates: Sequence[Plate], first_s: float, last_s: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for tracks in enacted.result.tracks:
        time_s = (tracks.stamp_ns - enacted.simulated.start_ns) / NANOSECONDS
        if not first_s <= time_s <= last_s:
            continue
        for track in tracks.tracks:
            wrists = [point.position for point in (track.left_wrist, track.right_wrist) if point is not None]
            if wrists:
                found.setdefault(track.track, []).append((time_s, float(_distance(plates, np.array(wrists)).min())))
    return {track: tuple(np.array(samples).T) for track, samples in found.items()}


def _distance(plates: Sequence[Plate], points: np.ndarray) -> np.ndarray:
    """Distances [N] m of points [N, 3] from the nearest of the plates' rectangles."""
    distances = []
    for plate in plates:
        to_plate = np.linalg.inv(plate.pose)
        local = points @ to_plate[:3, :3].T + to_plate[:3, 3]
        nearest = np.clip(local, 0.0, [plate.width, plate.depth, 0.0])
        distances.append(np.linalg.norm(local - nearest, axis=1))
    return np.min(distances, axis=0)


def _judged(event: ShelfEvent, enacted: Enacted) -> str:
    """What carts made of an event, in words."""
    parts = []
    for cart in enacted.result.carts:
        if cart.status != CartStatus.CLOSED:
            continue
        for line in cart.lines:
            for evidence in line.evidence:
                same_shelf = (evidence.gondola, evidence.shelf) == (event.gondola, event.shelf)
                if same_shelf and evidence.start_ns <= event.end_ns and evidence.end_ns >= event.start_ns:
                    who = cart.shopper or "nobody known"
                    parts.append(f"{who} {evidence.quantity:+d} {line.product} ({evidence.probability:.0%})")
    grams = 1000 * float(np.nansum(event.change))
    return f"{grams:+.0f} g: {'; '.join(parts) or 'in no cart'}"
