"""Gathers what a picture of a wrong line shows (``aisle_viz.failure_plot`` draws it): where and when to look, and what was there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aisle_bags.scoring import WrongLine
from aisle_contract.records import NANOSECONDS, Cart, ScaleReading, ShelfEvent, ShelfEventStatus, Tracks
from aisle_sim.reenactment import ShopperMotion
from aisle_sim.true_events import TrueEvent
from aisle_store.store import Plate, ShelfKey, Store

_AROUND_S = 4.0
_LONGEST_S = 40.0
#: Moments at one shelf that are nearer together than this share a panel, s.
_SAME_MOMENT_S = 6.0
_MOST_PLATES = 8
_LEAST_CHANGE_KG = 0.003
_HAND_STEP_S = 0.05
#: Hands that come no nearer to the plates are not shown, m.
_NEAR_M = 1.6

#: Times [N] s and distances [N] m from the plates.
Hand = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class ShelfPanel:
    """What a panel shows: arrays and texts as ``aisle_viz.failure_plot.FailurePanel`` takes them."""

    title: str
    times: np.ndarray
    weights: Mapping[str, np.ndarray]
    true_hands: Mapping[str, Hand]
    tracked_hands: Mapping[str, Hand]
    events: Sequence[tuple[float, float, str]]
    truth: Sequence[tuple[float, str]]


@dataclass(frozen=True, eq=False)
class Story:
    """What happened at the shelves and what the chain made of it. ``carts``: the closed ones; ``start_ns``: zero of the truth's times."""

    truth: Sequence[TrueEvent]
    carts: Sequence[Cart]
    events: Sequence[ShelfEvent]
    start_ns: int


@dataclass(frozen=True)
class Moment:
    """Some seconds at one shelf that a wrong line rests on, or should have rested on."""

    shelf: ShelfKey
    start_s: float
    end_s: float
    title: str

    @property
    def first_s(self) -> float:
        """From here on it is drawn."""
        return self.start_s - _AROUND_S

    @property
    def last_s(self) -> float:
        return min(self.end_s, self.start_s + _LONGEST_S) + _AROUND_S


@dataclass(frozen=True, eq=False)
class Footage:
    """What was recorded around moments: weights, tracks, and the people who were there as they really moved."""

    readings: Sequence[ScaleReading]
    tracks: Sequence[Tracks]
    shoppers: Sequence[ShopperMotion]


def wrong_moments(story: Story, lines: Sequence[WrongLine], most: int = 6) -> list[Moment]:
    """Where and when to look for what went wrong, in the order of the lines; ``most`` of them."""
    chosen: list[Moment] = []
    for line in lines:
        for shelf, start_s, end_s in _places_of(line, story):
            if not any(other.shelf == shelf and abs(start_s - other.start_s) < _SAME_MOMENT_S for other in chosen):
                chosen.append(Moment(shelf, start_s, end_s, _title(line)))
    return chosen[:most]


def _places_of(line: WrongLine, story: Story) -> list[tuple[ShelfKey, float, float]]:
    own = [event for event in story.truth if event.plates and event.person == line.shopper and line.product in event.products]
    places = [(event.plates[0][:2], event.start_s, event.end_s) for event in own]
    for cart in story.carts:
        if cart.shopper == line.shopper:
            for evidence in (evidence for own in cart.lines if own.product == line.product for evidence in own.evidence):
                times = ((evidence.start_ns - story.start_ns) / NANOSECONDS, (evidence.end_ns - story.start_ns) / NANOSECONDS)
                places.append(((evidence.gondola, evidence.shelf), *times))
    return places


def _title(line: WrongLine) -> str:
    who = line.shopper or "nobody known"
    return f"{who}: {line.product} expected {line.expected}, charged {line.found}. {line.cause}: {line.detail}"


def shelf_panel(store: Store, story: Story, footage: Footage, moment: Moment) -> ShelfPanel:
    """One moment with all that was there. People whose hands stay away are left out."""
    shelf, first_s, last_s = moment.shelf, moment.first_s, moment.last_s
    here = [event for event in story.events if (event.gondola, event.shelf) == shelf and event.status == ShelfEventStatus.FINAL]
    here = [event for event in here if _within(event, story.start_ns, first_s, last_s)]
    really = [event for event in story.truth if event.plates and event.plates[0][:2] == shelf]
    really = [event for event in really if event.end_s >= first_s and event.start_s <= last_s]
    plates = _concerned(store, shelf, here, really)
    times, weights = _weights(footage.readings, story.start_ns, shelf, [plate.plate for plate in plates], first_s, last_s)
    return ShelfPanel(
        title=f"gondola {shelf[0]} shelf {shelf[1]}. {moment.title}",
        times=times,
        weights=weights,
        true_hands=_near(_true_hands(footage.shoppers, plates, first_s, last_s)),
        tracked_hands=_near(_tracked_hands(story, footage.tracks, plates, first_s, last_s)),
        events=[(*_seconds(event, story.start_ns), _judged(event, story.carts)) for event in here],
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
    readings: Sequence[ScaleReading], origin_ns: int, shelf: ShelfKey, plates: Sequence[str], first_s: float, last_s: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times [T] s and changes since the first of them, g [T] by plate."""
    readings = [r for r in readings if (r.gondola, r.shelf) == shelf and first_s <= (r.stamp_ns - origin_ns) / NANOSECONDS <= last_s]
    if not readings:
        return np.array([first_s, last_s]), {}
    times = np.concatenate([(r.stamp_ns - origin_ns + r.sample_period_ns * np.arange(len(r.weights))) / NANOSECONDS for r in readings])
    grams = 1000 * np.concatenate([r.weights for r in readings])
    columns = {plate: grams[:, readings[0].plates.index(plate)] for plate in plates}
    return times, {plate: values - np.nanmedian(values[:30]) if np.isfinite(values).any() else values for plate, values in columns.items()}


def _near(hands: Mapping[str, Hand]) -> dict[str, Hand]:
    return {name: hand for name, hand in hands.items() if hand[1].min() <= _NEAR_M}


def _true_hands(shoppers: Sequence[ShopperMotion], plates: Sequence[Plate], first_s: float, last_s: float) -> dict[str, Hand]:
    hands = {}
    for shopper in shoppers:
        times = np.arange(max(first_s, shopper.first_s), min(last_s, shopper.last_s), _HAND_STEP_S)
        if len(times):
            hands[shopper.person] = (times, np.min([_distance(plates, wrist) for wrist in shopper.wrists(times)], axis=0))
    return hands


def _tracked_hands(story: Story, tracks: Sequence[Tracks], plates: Sequence[Plate], first_s: float, last_s: float) -> dict[str, Hand]:
    """By track, with the name of who left as it."""
    names = {cart.track: cart.shopper for cart in story.carts}
    found: dict[str, list[tuple[float, float]]] = {}
    for at_once in tracks:
        time_s = (at_once.stamp_ns - story.start_ns) / NANOSECONDS
        if not first_s <= time_s <= last_s:
            continue
        for track in at_once.tracks:
            wrists = [point.position for point in (track.left_wrist, track.right_wrist) if point is not None]
            if wrists:
                name = f"{track.track} ({names[track.track]})" if names.get(track.track) else track.track
                found.setdefault(name, []).append((time_s, float(_distance(plates, np.array(wrists)).min())))
    return {name: tuple(np.array(samples).T) for name, samples in found.items()}


def _distance(plates: Sequence[Plate], points: np.ndarray) -> np.ndarray:
    """Distances [N] m of points [N, 3] from the nearest of the plates' rectangles."""
    distances = []
    for plate in plates:
        to_plate = np.linalg.inv(plate.pose)
        local = points @ to_plate[:3, :3].T + to_plate[:3, 3]
        nearest = np.clip(local, 0.0, [plate.width, plate.depth, 0.0])
        distances.append(np.linalg.norm(local - nearest, axis=1))
    return np.min(distances, axis=0)


def _judged(event: ShelfEvent, carts: Sequence[Cart]) -> str:
    """What carts made of an event, in words."""
    parts = []
    for cart in carts:
        for line in cart.lines:
            for evidence in line.evidence:
                same_shelf = (evidence.gondola, evidence.shelf) == (event.gondola, event.shelf)
                if same_shelf and evidence.start_ns <= event.end_ns and evidence.end_ns >= event.start_ns:
                    who = cart.shopper or "nobody known"
                    parts.append(f"{who} {evidence.quantity:+d} {line.product} ({evidence.probability:.0%})")
    grams = 1000 * float(np.nansum(event.change))
    return f"{grams:+.0f} g: {'; '.join(parts) or 'in no cart'}"
