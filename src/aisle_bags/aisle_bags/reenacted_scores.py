"""Labelled sessions through re-enacted sensors and the offline chain, scored: the work behind ``./aisle score``.

The sessions of one seed are a day of the store: played one after another, on the same shelves, through one chain, which learns as it would
in a shop. By themselves they are as many opening days.
"""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from aisle_bags.bag_store import attach_changed_store
from aisle_bags.bag_writer import BagWriter, available_ns
from aisle_bags.core_settings import CoreSettings
from aisle_bags.failure_panels import Footage, Story
from aisle_bags.failures import FailureReport
from aisle_bags.offline import OfflineResult, OfflineRunner, in_event_order
from aisle_bags.scoring import SessionScore, score_session
from aisle_contract.records import Cart, CartStatus, Receipt, Record, ScaleReading, Tracks
from aisle_sim.labelled_sessions import LabelledSession
from aisle_sim.profiles import PROFILES, SensorProfile, with_item_camera
from aisle_sim.simulator import SimulatedSession, simulate_in_sequence
from aisle_sim.true_events import session_events
from aisle_store.store import Store

#: How often finished sessions of other processes are looked for (s).
_LOOK_S = 0.2


@dataclass(frozen=True)
class Enacted:
    """One session played with one seed: what happened, and what the chain made of it."""

    simulated: SimulatedSession
    result: OfflineResult
    score: SessionScore
    story: Story

    @property
    def footage(self) -> Footage:
        """All that was recorded: a session is short. Empty where that was not kept."""
        readings = [record for record in self.simulated.records if isinstance(record, ScaleReading)]
        return Footage(readings, self.result.tracks, self.simulated.reenactment.shoppers)


@dataclass(frozen=True)
class ScoreTask:
    """What every session is played with. ``bags``: folder that gets a bag of each session's sensor records, for looking into it;
    ``item_accuracy``: of a camera for things in hands, 0 = none."""

    store: Store
    settings: CoreSettings
    profile: SensorProfile = PROFILES["nominal"]
    bags: Path | None = None
    item_accuracy: float = 0.0

    def enact(
        self, sessions: Sequence[LabelledSession], seed: int, played: Callable[[str], None] | None = None, keep: bool = True
    ) -> Iterator[Enacted]:
        """Plays sessions one after another through one chain and bills them; ``played`` is called with each one's name when it is over.

        Receipts come when all are over: they are the session's in which the shopper came. ``keep``: also what sensors recorded and the
        tracks, which is much. Raises what ``aisle_sim.simulator.simulate`` raises, FileExistsError for a bag that exists.
        """
        given: list[Record] = []
        runner = OfflineRunner(self.store, self.settings.without_open_carts(), publish=lambda record: _collect(record, given, keep))
        day = []
        profile = with_item_camera(self.profile, self.item_accuracy)
        for simulated in simulate_in_sequence(self.store, sessions, profile, seed):
            if self.bags is not None:
                self._keep(simulated, self.bags / f"{simulated.session}-{self.profile.name}-{seed}")
            for record in in_event_order(simulated.records):
                runner.feed(record)
            day.append(simulated if keep else replace(simulated, records=[]))
            if played is not None:
                played(simulated.session)
        for simulated, result in zip(day, _by_session(day, runner.finish(), given), strict=True):
            yield self._scored(simulated, result, seed)

    def _scored(self, simulated: SimulatedSession, result: OfflineResult, seed: int) -> Enacted:
        warnings = (*simulated.warnings, *result.warnings)
        score = score_session(simulated.session, seed, simulated.truth, result.receipts, warnings, result.carts)
        closed = [cart for cart in result.carts if cart.status == CartStatus.CLOSED]
        truth = session_events(simulated.reenactment)
        report = FailureReport(simulated.truth, truth, closed, result.events, simulated.start_ns)
        score = replace(score, wrong_lines=report.explained(score.wrong_lines))
        return Enacted(simulated, result, score, Story(truth, closed, result.events, simulated.start_ns))

    def _keep(self, simulated: SimulatedSession, folder: Path) -> None:
        with BagWriter(folder) as writer:
            attach_changed_store(writer, self.store)
            for record in sorted(simulated.records, key=available_ns):
                writer.write_record(record)


def score_sessions(
    task: ScoreTask,
    sessions: Sequence[LabelledSession],
    seeds: Sequence[int],
    jobs: int = 1,
    played: Callable[[str], None] | None = None,
    apart: bool = False,
) -> list[SessionScore]:
    """Scores by session, then seed, the same for every number of ``jobs``; ``played`` is called with each session's name as it is over.

    ``apart``: each session by itself, through a chain that has learnt nothing yet.
    """
    groups = [(session,) for session in sessions] if apart else [tuple(sessions)]
    days = [(group, seed) for group in groups for seed in seeds]
    scores = _played_here(task, days, played) if jobs <= 1 else _played_by_workers(task, days, jobs, played)
    places = {session.session: place for place, session in enumerate(sessions)}
    return sorted(scores, key=lambda score: (places[score.session], score.seed))


def _collect(record: Record, given: list[Record], keep: bool) -> None:
    if keep or not isinstance(record, Tracks):
        given.append(record)


def _by_session(day: Sequence[SimulatedSession], result: OfflineResult, given: Sequence[Record]) -> list[OfflineResult]:
    """What was ``given``, by session: carts and receipts by when the shopper came, all else by its stamp. Warnings are the last one's."""
    came = {record.session: record.entered_ns for record in given if isinstance(record, Cart)}
    parts = [OfflineResult() for _ in day]
    ends = [after.start_ns for _, after in pairwise(day)]
    for record in given:
        time_ns = came.get(record.session, record.stamp_ns) if isinstance(record, Cart | Receipt) else record.stamp_ns
        parts[sum(time_ns >= end for end in ends)].records.append(record)
    parts[-1].warnings, parts[-1].diagnostics, parts[-1].fed = result.warnings, result.diagnostics, result.fed
    return parts


Day = tuple[Sequence[LabelledSession], int]


def _played_here(task: ScoreTask, days: Iterable[Day], played: Callable[[str], None] | None) -> list[SessionScore]:
    return [enacted.score for sessions, seed in days for enacted in task.enact(sessions, seed, played, keep=False)]


def _played_by_workers(task: ScoreTask, days: Sequence[Day], jobs: int, played: Callable[[str], None] | None) -> list[SessionScore]:
    # Fresh processes: a forked one would inherit OpenCV's thread pool without its threads.
    context = multiprocessing.get_context("spawn")
    news = context.Queue()
    with ProcessPoolExecutor(min(jobs, len(days) or 1), context, initializer=_keep_task, initargs=(task, news)) as pool:
        futures = [pool.submit(_play_in_worker, day) for day in days]
        try:
            _tell_until_done(futures, news, played)
            return [score for future in futures for score in future.result()]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _tell_until_done(futures: Sequence[Future], news: Any, played: Callable[[str], None] | None) -> None:
    """Passes the names of finished sessions on. Ends early where a worker failed."""
    while True:
        over = all(future.done() for future in futures) or any(future.done() and future.exception() for future in futures)
        try:
            while True:
                name = news.get(timeout=_LOOK_S)
                if played is not None:
                    played(name)
        except queue.Empty:
            if over:
                return


_worker_task: ScoreTask | None = None
_worker_news: Any = None


def _keep_task(task: ScoreTask, news: Any) -> None:
    """The store is large: a worker gets it once, not with each session."""
    global _worker_task, _worker_news
    _worker_task, _worker_news = task, news


def _play_in_worker(day: Day) -> list[SessionScore]:
    return _played_here(_worker_task, [day], _worker_news.put)
