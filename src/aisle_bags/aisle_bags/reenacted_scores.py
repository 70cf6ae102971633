"""Labelled sessions through re-enacted sensors and the offline chain, scored: the work behind ``./aisle score``."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from aisle_bags.bag_store import attach_changed_store
from aisle_bags.bag_writer import BagWriter, available_ns
from aisle_bags.core_settings import CoreSettings
from aisle_bags.failure_panels import Footage, Story
from aisle_bags.failures import FailureReport
from aisle_bags.offline import OfflineResult, OfflineRunner
from aisle_bags.scoring import SessionScore, score_session
from aisle_contract.records import CartStatus, ScaleReading
from aisle_sim.labelled_sessions import LabelledSession
from aisle_sim.profiles import find_profile, with_item_camera
from aisle_sim.simulator import SimulatedSession, simulate
from aisle_sim.true_events import session_events
from aisle_store.store import Store


@dataclass(frozen=True)
class Enacted:
    """One session played with one seed: what happened, and what the chain made of it."""

    simulated: SimulatedSession
    result: OfflineResult
    score: SessionScore
    story: Story

    @property
    def footage(self) -> Footage:
        """All that was recorded: a session is short."""
        readings = [record for record in self.simulated.records if isinstance(record, ScaleReading)]
        return Footage(readings, self.result.tracks, self.simulated.reenactment.shoppers)


@dataclass(frozen=True)
class ScoreTask:
    """What every session is played with. ``bags``: folder that gets a bag of each session's sensor records, for looking into it;
    ``item_accuracy``: of a camera for things in hands, 0 = none."""

    store: Store
    settings: CoreSettings
    profile: str = "nominal"
    bags: Path | None = None
    item_accuracy: float = 0.0

    def enact(self, session: LabelledSession, seed: int) -> Enacted:
        """Plays one session and bills it. Raises what ``aisle_sim.simulator.simulate`` raises, FileExistsError for a bag that exists."""
        simulated = simulate(self.store, session, with_item_camera(find_profile(self.profile), self.item_accuracy), seed)
        if self.bags is not None:
            self._keep(simulated, self.bags / f"{session.session}-{self.profile}-{seed}")
        result = OfflineRunner(self.store, self.settings).run(simulated.records)
        warnings = (*simulated.warnings, *result.warnings)
        score = score_session(session.session, seed, simulated.truth, result.receipts, warnings, result.carts)
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
    scored: Callable[[SessionScore], None] | None = None,
) -> list[SessionScore]:
    """Scores by session, then seed, the same for every number of ``jobs``; ``scored`` is called in that order as results come in."""
    pairs = [(session, seed) for session in sessions for seed in seeds]
    scores = []
    if jobs <= 1:
        results = (task.enact(session, seed).score for session, seed in pairs)
        for score in results:
            _tell(score, scores, scored)
        return scores
    # Fresh processes: a forked one would inherit OpenCV's thread pool without its threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(pairs) or 1), context, initializer=_keep_task, initargs=(task,)) as pool:
        for score in pool.map(_score_in_worker, pairs):
            _tell(score, scores, scored)
    return scores


def _tell(score: SessionScore, scores: list[SessionScore], scored: Callable[[SessionScore], None] | None) -> None:
    scores.append(score)
    if scored is not None:
        scored(score)


_worker_task: ScoreTask | None = None


def _keep_task(task: ScoreTask) -> None:
    """The store is large: a worker gets it once, not with each session."""
    global _worker_task
    _worker_task = task


def _score_in_worker(pair: tuple[LabelledSession, int]) -> SessionScore:
    return _worker_task.enact(*pair).score
