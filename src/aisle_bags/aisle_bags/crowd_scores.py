"""A simulated crowd through the offline chain, scored, and what its wrong lines' pictures need: the work behind ``./aisle score --crowd``.

The crowd is simulated in a process of its own while the chain works on what came before; both hold a few windows of seconds at most.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aisle_bags.bag_store import attach_changed_store
from aisle_bags.bag_writer import BagWriter, available_ns
from aisle_bags.core_settings import CoreSettings
from aisle_bags.failure_panels import Footage, Moment, Story
from aisle_bags.failures import FailureReport
from aisle_bags.offline import OfflineRunner, in_event_order
from aisle_bags.scoring import SessionScore, score_session
from aisle_contract.records import (
    NANOSECONDS,
    Cart,
    CartStatus,
    PersonDetections,
    Receipt,
    Record,
    ScaleReading,
    ShelfEvent,
    ShelfEvents,
    Tracks,
)
from aisle_perception.tracker import PersonTracker
from aisle_sim.crowd import CrowdWindow, simulate_crowd
from aisle_sim.crowd_config import CrowdConfig
from aisle_sim.profiles import PROFILES, SensorProfile, with_item_camera
from aisle_sim.reenactment import ShopperMotion
from aisle_sim.simulator import DEFAULT_START_NS
from aisle_sim.true_events import TrueEvent
from aisle_store.store import Store


@dataclass(frozen=True)
class CrowdTask:
    """A crowd that is let in for ``minutes``. ``bag``: folder that gets the sensor records;
    ``item_accuracy``: of a camera for things in hands, 0 = none."""

    store: Store
    settings: CoreSettings
    crowd: CrowdConfig
    minutes: float
    profile: SensorProfile = PROFILES["nominal"]
    bag: Path | None = None
    item_accuracy: float = 0.0


@dataclass(frozen=True, eq=False)
class CrowdResult:
    """``simulated_s`` of a crowd took ``wall_s``; ``people`` came, staff not counted. ``story``: what the score was made of."""

    score: SessionScore
    story: Story
    people: int
    simulated_s: float
    wall_s: float


@dataclass
class Billed:
    """What of the chain's records is kept: no more than the visits need."""

    receipts: list[Receipt] = field(default_factory=list)
    carts: list[Cart] = field(default_factory=list)
    events: list[ShelfEvent] = field(default_factory=list)

    def take(self, record: Record) -> None:
        if isinstance(record, Receipt):
            self.receipts.append(record)
        elif isinstance(record, Cart) and record.status == CartStatus.CLOSED:
            self.carts.append(record)
        elif isinstance(record, ShelfEvents):
            self.events.extend(record.final)


def score_crowd(task: CrowdTask, seed: int, advanced: Callable[[float], None] | None = None) -> CrowdResult:
    """Simulates and bills one crowd. ``advanced`` is told the simulated seconds since it was last told.

    Raises FileExistsError for a bag that exists, ValueError for a store without gates or goods.
    """
    started_s = time.monotonic()
    billed, simulated_s = Billed(), 0.0
    truth: dict[str, dict[str, int]] = {}
    known: list[str] = []
    happened: list[TrueEvent] = []
    runner = OfflineRunner(task.store, task.settings.without_open_carts(), publish=billed.take)
    with _CrowdBag(task, seed) as bag:
        for window in _from_other_process(task, seed):
            bag.keep(window)
            for record in in_event_order(window.records):
                runner.feed(record)
            # Not the visits themselves: bodies in motion would fill the memory over a day.
            for visit in window.visits:
                known.append(visit.person)
                happened += visit.events
                if visit.items is not None:
                    truth[visit.person] = visit.items
            passed_s = (window.end_ns - window.start_ns) / NANOSECONDS
            simulated_s += passed_s
            if advanced is not None:
                advanced(passed_s)
    result = runner.finish()
    receipts = sorted(billed.receipts, key=lambda receipt: (receipt.stamp_ns, receipt.session))
    score = score_session("crowd", seed, truth, receipts, result.warnings, billed.carts)
    report = FailureReport(known, happened, billed.carts, billed.events, DEFAULT_START_NS)
    score = replace(score, wrong_lines=report.explained(score.wrong_lines))
    story = Story(happened, billed.carts, billed.events, DEFAULT_START_NS)
    return CrowdResult(score, story, len(truth), simulated_s, time.monotonic() - started_s)


def film_crowd(task: CrowdTask, seed: int, moments: Sequence[Moment], advanced: Callable[[float], None] | None = None) -> Footage:
    """Plays the crowd again and keeps what was recorded around some moments: weights, tracks and the people near.

    A crowd is not filmed at once because nobody knows beforehand what will have gone wrong. ``advanced`` as in ``score_crowd``.
    """
    tracker = PersonTracker(task.store, task.settings.tracker)
    readings: list[ScaleReading] = []
    tracks: list[Tracks] = []
    shoppers: list[ShopperMotion] = []
    last_s = max((moment.last_s for moment in moments), default=0.0)
    for window in _from_other_process(task, seed):
        for record in in_event_order(window.records):
            at_s = (record.stamp_ns - DEFAULT_START_NS) / NANOSECONDS
            if isinstance(record, ScaleReading):
                shelf = record.gondola, record.shelf
                if any(moment.shelf == shelf and moment.first_s <= at_s <= moment.last_s for moment in moments):
                    readings.append(record)
            elif isinstance(record, PersonDetections) and at_s <= last_s:
                tracks += _within(moments, tracker.step(record).records)
        present = [visit.motion for visit in window.visits]
        shoppers += [m for m in present if any(m.first_s <= moment.last_s and m.last_s >= moment.first_s for moment in moments)]
        if advanced is not None:
            advanced((window.end_ns - window.start_ns) / NANOSECONDS)
    tracks += _within(moments, tracker.flush().records)
    return Footage(readings, tracks, shoppers)


def _within(moments: Sequence[Moment], records: Iterable[Record]) -> list[Tracks]:
    tracks = [record for record in records if isinstance(record, Tracks)]
    times_s = [(record.stamp_ns - DEFAULT_START_NS) / NANOSECONDS for record in tracks]
    return [r for r, at_s in zip(tracks, times_s, strict=True) if any(m.first_s <= at_s <= m.last_s for m in moments)]


class _CrowdBag:
    """Writes windows to a bag in the order in which the live graph would have recorded them; does nothing where no bag is wanted."""

    def __init__(self, task: CrowdTask, seed: int) -> None:
        self._store = task.store
        self._folder = None if task.bag is None else task.bag / f"crowd-{task.crowd.shoppers}-{task.profile.name}-{seed}"
        self._writer: BagWriter | None = None
        self._waiting: list[Record] = []

    def __enter__(self) -> _CrowdBag:
        if self._folder is not None:
            self._writer = BagWriter(self._folder).__enter__()
            attach_changed_store(self._writer, self._store)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._writer is not None:
            self._write(self._waiting)
            self._writer.__exit__(*error)

    def keep(self, window: CrowdWindow) -> None:
        if self._writer is not None:
            ready = sorted([*self._waiting, *window.records], key=available_ns)
            # What is available only after the window's end may come after something of the next one.
            self._waiting = [record for record in ready if available_ns(record) >= window.end_ns]
            self._write(ready[: len(ready) - len(self._waiting)])

    def _write(self, records: Iterable[Record]) -> None:
        for record in records:
            self._writer.write_record(record)


def _from_other_process(task: CrowdTask, seed: int) -> Iterator[CrowdWindow]:
    """The crowd's windows, simulated in a fresh process; one waits in the pipe while the next is made."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    simulation = context.Process(target=_send_windows, args=(theirs, task, seed), daemon=True)
    simulation.start()
    theirs.close()
    try:
        with closing(ours):
            while (item := ours.recv()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
    except EOFError:
        raise RuntimeError("the process that simulates the crowd ended before its time") from None
    finally:
        simulation.terminate()
        simulation.join()


def _send_windows(pipe: Connection, task: CrowdTask, seed: int) -> None:
    with closing(pipe):
        try:
            profile = with_item_camera(task.profile, task.item_accuracy)
            for window in simulate_crowd(task.store, task.minutes, task.crowd, profile, seed):
                pipe.send(window)
            pipe.send(None)
        except Exception as error:
            pipe.send(error)
