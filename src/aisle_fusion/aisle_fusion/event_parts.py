"""Shelf events that are not one move each: parts of one slow lift, a hand that rested first, and moves in both directions in one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, ShelfEvent


@dataclass(frozen=True)
class PartsConfig:
    """Parameters of joining and separating shelf events."""

    split_gap_s: float = parameter(1.5, "Parts of one move follow each other within this time (s)", 0.0, 10.0)
    split_share: float = parameter(0.05, "Share of moves that the shelf reports in parts", 0.0, 0.9)
    rest_share: float = parameter(0.02, "Share of moves of which the shelf reports a hand that rested there as a part", 0.0, 0.9)
    rest_kg: float = parameter(0.5, "Mean load of such a hand (kg)", 0.01, 20.0)
    rest_s: float = parameter(1.0, "Mean time for which it rests there unnoticed (s)", 0.01, 60.0)
    rest_gap_s: float = parameter(5.0, "Longer than this it does not (s)", 0.0, 60.0)
    rest_unsteadiness: float = parameter(0.08, "By this share of itself its load changes meanwhile, one standard deviation", 0.0, 1.0)
    taken_again_share: float = parameter(0.05, "Share of things put back that are taken again at once", 0.0, 1.0)
    least_part_kg: float = parameter(0.015, "Changes in both directions are separate moves from this size on (kg)", 0.0, 1.0)


def opposite_parts(event: ShelfEvent, order: Sequence[str], least_kg: float) -> list[ShelfEvent]:
    """The event cut where its change turns from taking to putting along the shelf (``order``: plate ids from left to right).

    Nothing that one person does to one thing changes neighbouring plates in opposite directions. Plates with little change go with the
    nearest part. One event comes back if there is one direction only, or a part would be smaller than ``least_kg``.
    """
    sequence = sorted(range(len(event.plates)), key=lambda i: order.index(event.plates[i]))
    size = np.abs(event.change)
    clear = [i for i in sequence if size[i] > max(4 * event.deviation[i], 0.1 * size.max(), 0.5 * least_kg)]
    runs: list[list[int]] = []
    for i in clear:
        if runs and event.change[runs[-1][-1]] * event.change[i] > 0:
            runs[-1].append(i)
        else:
            runs.append([i])
    if len(runs) < 2:
        return [event]
    place = {i: order.index(plate) for i, plate in enumerate(event.plates)}
    members: list[list[int]] = [[] for _ in runs]
    for i in sequence:
        members[min(range(len(runs)), key=lambda r: min(abs(place[i] - place[j]) for j in runs[r]))].append(i)
    # What was taken comes first: it may be what was put.
    parts = sorted((_only(event, sorted(chosen)) for chosen in members), key=lambda part: part.change.sum() > 0)
    return parts if all(abs(part.change.sum()) >= least_kg for part in parts) else [event]


def may_belong_together(first: ShelfEvent, second: ShelfEvent, config: PartsConfig) -> bool:
    """Whether ``second`` may continue ``first``: the same shelf, soon after, plates in common. A hand may rest before it takes."""
    if (first.gondola, first.shelf) != (second.gondola, second.shelf):
        return False
    apart_ns = max(first.start_ns, second.start_ns) - min(first.end_ns, second.end_ns)
    rested = first.change.sum() > 0 > second.change.sum()
    if apart_ns > (max(config.rest_gap_s, config.split_gap_s) if rested else config.split_gap_s) * NANOSECONDS:
        return False
    return bool(_strong_plates(first) & _strong_plates(second))


def joined(first: ShelfEvent, second: ShelfEvent, config: PartsConfig) -> ShelfEvent:
    """Both as one event: changes add up. What was measured between two that follow each other soon ends the one and begins the other: its
    error cancels out, and half of the variances is left. A hand's load, which cancels out, was not steady."""
    apart_ns = max(first.start_ns, second.start_ns) - min(first.end_ns, second.end_ns)
    in_common = set(first.plates) & set(second.plates) if apart_ns <= config.split_gap_s * NANOSECONDS else set()
    rested = first.change.sum() * second.change.sum() < 0
    hand = min(first, second, key=lambda part: abs(float(part.change.sum()))) if rested else None
    plates = tuple(dict.fromkeys((*first.plates, *second.plates)))
    change, variance, changed = dict.fromkeys(plates, 0.0), dict.fromkeys(plates, 0.0), dict.fromkeys(plates, 0)
    for event in (first, second):
        for plate, changed_ns in zip(event.plates, event.changed_ns.tolist(), strict=False):
            changed[plate] = max(changed[plate], changed_ns)
        for plate, kilograms, deviation in zip(event.plates, event.change, event.deviation, strict=True):
            unsteady = config.rest_unsteadiness * float(kilograms) if event is hand else 0.0
            change[plate] += float(kilograms)
            variance[plate] += (0.5 if plate in in_common else 1.0) * float(deviation) ** 2 + unsteady**2
    return replace(
        first,
        event=f"{first.event}+{second.event}",
        start_ns=min(first.start_ns, second.start_ns),
        end_ns=max(first.end_ns, second.end_ns),
        plates=plates,
        change=np.array(list(change.values())),
        deviation=np.sqrt(np.array(list(variance.values()))),
        changed_ns=np.array(list(changed.values())) if len(first.changed_ns) and len(second.changed_ns) else np.zeros(0, dtype=np.int64),
    )


def without_hand(event: ShelfEvent, felt_kg: Mapping[str, float], config: PartsConfig) -> ShelfEvent | None:
    """What else an event took, if a hand left with it whose load was ``felt_kg`` [plate] when it came; None if no more than that left."""
    plates = tuple(dict.fromkeys((*event.plates, *(plate for plate, load in felt_kg.items() if load))))
    change, variance = dict.fromkeys(plates, 0.0), dict.fromkeys(plates, 0.0)
    for plate, kilograms, deviation in zip(event.plates, event.change.tolist(), event.deviation.tolist(), strict=True):
        # The load was measured as it came, too.
        change[plate], variance[plate] = kilograms, 2.0 * deviation**2
    for plate in plates:
        load = felt_kg.get(plate, 0.0)
        change[plate] += load
        variance[plate] += (config.rest_unsteadiness * load) ** 2
    if math.fsum(change.values()) >= 0.0:
        return None
    times = dict(zip(event.plates, event.changed_ns.tolist(), strict=False))
    changed_ns = np.array([times.get(plate, max(times.values())) for plate in plates]) if times else event.changed_ns
    kilograms, deviation = np.array(list(change.values())), np.sqrt(np.array(list(variance.values())))
    return replace(event, plates=plates, change=kilograms, deviation=deviation, changed_ns=changed_ns)


def join_gain(
    whole: float, parts: Sequence[float], events: Sequence[ShelfEvent], config: PartsConfig, taken_again: float = -np.inf
) -> float:
    """Log odds that ``events`` are one move, from their log evidences ``parts`` and that of the ``whole`` (densities per kg).

    A move in one direction may be split at any share of it; of two in both directions the smaller part is a hand that came or went.
    ``taken_again``: log evidence of two together, if the second takes what the first put.
    """
    changes = [float(event.change.sum()) for event in events]
    total = abs(math.fsum(changes))
    if all(change * changes[0] > 0 for change in changes):
        chance = (config.split_share / max(total, 1e-3)) ** (len(parts) - 1)
    elif len(parts) == 2:
        hand = min(map(abs, changes))
        apart_s = max(0, events[1].start_ns - events[0].end_ns) / NANOSECONDS
        chance = config.rest_share / config.rest_kg * float(np.exp(-hand / config.rest_kg - apart_s / config.rest_s))
    else:
        chance = 0.0
    apart = np.logaddexp(math.fsum(parts), taken_again + np.log(config.taken_again_share + 1e-300))
    return float(whole - apart + np.log(chance + 1e-300))


def separate_gain(whole: float, apart: float, event: ShelfEvent, parts: int) -> float:
    """Log odds that an event is several moves, from the log evidences (densities per kg) of the whole and of all parts together."""
    return apart - whole + (parts - 1) * float(np.log(max(float(np.abs(event.change).sum()), 1e-3)))


def _only(event: ShelfEvent, chosen: list[int]) -> ShelfEvent:
    plates = tuple(event.plates[i] for i in chosen)
    changed_ns = event.changed_ns[chosen] if len(event.changed_ns) else event.changed_ns
    return replace(event, plates=plates, change=event.change[chosen], deviation=event.deviation[chosen], changed_ns=changed_ns)


def _strong_plates(event: ShelfEvent) -> set[str]:
    size = np.abs(event.change)
    return {plate for plate, kilograms in zip(event.plates, size, strict=True) if kilograms > 0.15 * size.sum()}
