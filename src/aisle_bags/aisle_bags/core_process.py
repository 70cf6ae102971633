"""The tracker and the shelf monitor in processes of their own: until carts are made they share nothing.

Each process reads its part of the bag itself, so that only what its cores give crosses over, and the few records that no core there takes.
"""

from __future__ import annotations

import fcntl
import gc
import io
import multiprocessing
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from multiprocessing.connection import Connection
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any

from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.core_runs import Closing, Core, CoreRun, Moment, merged
from aisle_bags.event_order import EventOrder, Logged
from aisle_contract.records import GateEvent, Record, ShelfEvent, ShelfEvents, StepResult
from aisle_fusion.shelf_monitor import ShelfMonitor
from aisle_fusion.shelf_monitor_config import ShelfMonitorConfig
from aisle_perception.packed_tracks import PackedTracks, unpacked
from aisle_perception.tracker import PersonTracker, TrackerConfig
from aisle_store.store import Store

#: New objects after which garbage is looked for.
_COLLECTED_EVERY = 400_000
#: Steps that cross over together: one at a time would cost more than the work. It blocks while too much has not been taken yet. The first
#: ones are fewer, each twice as many as before: somebody waits for them.
_BATCH = 32
#: Whoever makes carts of what all the others give has most to do: where processors are few it comes first (the others are this much nicer).
_GIVES_WAY = 2
#: So much may wait to be taken: tracks of some seconds.
_WAITING_BYTES = 1 << 20
#: Moment, records (tracks packed) and warnings of one step; None in place of warnings for a record as it was read.
_Sent = tuple[Moment, list[Any], "list[str] | None"]


@dataclass(frozen=True)
class ShelfTask:
    """What a monitor is run on: a bag's topics of weights."""

    bag: Path
    topics: tuple[str, ...]
    store: Store
    config: ShelfMonitorConfig

    name = "shelf monitor"

    def core(self) -> Core:
        return ShelfMonitor(self.store, self.config)


@dataclass(frozen=True)
class TrackerTask:
    """What a tracker is run on: a bag's topics of detections. ``for_crossing``: its tracks are packed."""

    bag: Path
    topics: tuple[str, ...]
    store: Store
    config: TrackerConfig
    for_crossing: bool = False

    name = "tracker"

    def core(self) -> Core:
        return PersonTracker(self.store, self.config, for_crossing=self.for_crossing)


@dataclass(frozen=True)
class PlainTask:
    """A bag's topics whose records are passed on as they are."""

    bag: Path
    topics: tuple[str, ...]

    name = "reader"

    def core(self) -> None:
        return None


CoreTask = ShelfTask | TrackerTask | PlainTask
#: Tasks with the numbers that their runs get.
Numbered = Sequence[tuple[int, CoreTask]]


def run_here(tasks: Numbered, logged: Callable[[Collection[str]], Iterable[Logged]]) -> list[CoreRun]:
    """Tasks in this process; ``logged`` gives the records of some topics in the order in which they were logged."""
    return [CoreRun(number, task.core(), EventOrder(logged(task.topics))) for number, task in tasks]


class CoreProcess:
    """Iterates over what the cores of one or more tasks gave (as ``CoreRun``, merged), made by another process; use it in a ``with``
    statement. ``closings``, by number, are there once the iteration has come to its end.

    Raises BagError as reading the bag does, RuntimeError where the process ends without having told why.
    """

    def __init__(self, tasks: Numbered) -> None:
        self._name = " and ".join(task.name for _, task in tasks)
        context = multiprocessing.get_context("fork" if can_fork() else "spawn")
        self._receiver, sender = context.Pipe(duplex=False)
        _widen(sender)
        self._process = context.Process(target=_run, args=(tasks, sender, self._receiver), daemon=True, name=self._name)
        with warnings.catch_warnings():
            # Python counts native threads too: those of OpenBLAS, which takes care of forks itself.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            self._process.start()
        sender.close()
        self.closings: dict[int, Closing] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def __enter__(self) -> CoreProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._receiver.close()
        if kind is not None:
            self._process.terminate()
        self._process.join()

    def __iter__(self) -> Iterator[tuple[Moment, StepResult | Record]]:
        while self.closings is None:
            try:
                told = self._receiver.recv()
            except EOFError:
                self._process.join()
                raise RuntimeError(f"the {self._name}'s process ended with exit code {self._process.exitcode}") from None
            if isinstance(told, BaseException):
                raise told
            if isinstance(told, dict):
                self.closings = told
                for closing in told.values():
                    closing.step.records[:] = map(_arrived, closing.step.records)
            else:
                for moment, records, warnings in told:
                    yield moment, records[0] if warnings is None else StepResult([_arrived(record) for record in records], warnings)


def _widen(pipe: Connection) -> None:
    """Lets more wait in a pipe, where the system can: two processes that do now more, now less stop each other less often."""
    with suppress(AttributeError, OSError):
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _WAITING_BYTES)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Meanwhile garbage is looked for a hundred times less often, and not among what is loaded by now, a hundred thousand objects.

    Records make no cycles, and the tens of thousands that wait for their turn would be looked through again and again.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_COLLECTED_EVERY, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def can_fork() -> bool:
    """A forked process begins at once, a fresh one with a second of imports. But a forked one inherits the locks that other threads hold,
    without the threads."""
    return threading.active_count() == 1


def _run(tasks: Numbered, sender: Connection, receiver: Connection) -> None:
    # This process's own copy of the other end would keep the pipe alive when nobody listens any more.
    receiver.close()
    with suppress(AttributeError, OSError):
        os.nice(_GIVES_WAY)
    # Nobody listens any more: whoever started this has been told why.
    with sender, suppress(BrokenPipeError):
        try:
            with seldom_collected(), BagReader(tasks[0][1].bag) as reader:
                tasks = [(number, replace(task, for_crossing=True) if isinstance(task, TrackerTask) else task) for number, task in tasks]
                reader.read_side_by_side(len(tasks))
                runs = run_here(tasks, lambda topics: ((m.log_time_ns, m.topic, reader.record(m)) for m in reader.messages(topics)))
                batch: list[_Sent] = []
                together = 1
                for moment, what in merged(runs):
                    batch.append((moment, *_sent_step(what)))
                    if len(batch) >= together:
                        _send(sender, batch)
                        batch, together = [], min(2 * together, _BATCH)
                _send(sender, batch)
                _send(sender, {run.number: run.closing for run in runs})
        except BagError as error:
            _send(sender, error)


def _sent_step(what: StepResult | Record) -> tuple[list[Any], list[str] | None]:
    return (what.records, what.warnings) if isinstance(what, StepResult) else ([what], None)


def _arrived(record: Record | PackedTracks) -> Record:
    return unpacked(record) if isinstance(record, PackedTracks) else record


def _send(sender: Connection, what: Sequence[_Sent] | dict[int, Closing] | BagError) -> None:
    written = io.BytesIO()
    pickler = pickle.Pickler(written, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = _BY_CONSTRUCTOR
    pickler.dump(what)
    sender.send_bytes(written.getvalue())


def _by_constructor(kind: type) -> Callable[[Any], tuple[type, tuple[Any, ...]]]:
    values = attrgetter(*(field.name for field in fields(kind)))
    return lambda record: (kind, values(record))


#: How records that cross over by the hundred are pickled: by themselves, dataclasses with slots ask for their fields one by one.
_BY_CONSTRUCTOR = {kind: _by_constructor(kind) for kind in (GateEvent, ShelfEvent, ShelfEvents)}
