"""The tracker and the shelf monitor in processes of their own: until carts are made they share nothing.

Each reads its part of the bag itself, so that only what it gives crosses over.
"""

from __future__ import annotations

import multiprocessing
import pickle
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.core_runs import Closing, Core, CoreRun
from aisle_bags.event_order import EventOrder, Key
from aisle_bags.packed_tracks import PackedTracks, packed, unpacked
from aisle_contract.records import Record, StepResult, Tracks
from aisle_fusion.shelf_monitor import ShelfMonitor
from aisle_fusion.shelf_monitor_config import ShelfMonitorConfig
from aisle_perception.tracker import PersonTracker, TrackerConfig
from aisle_store.store import Store

#: Steps that cross over together: one at a time would cost more than the work. It blocks while the other side has not taken them.
_BATCH = 32
#: Place, records (tracks packed) and warnings of one step.
_Sent = tuple[Key, list[Any], list[str]]


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
    """What a tracker is run on: a bag's topics of detections."""

    bag: Path
    topics: tuple[str, ...]
    store: Store
    config: TrackerConfig

    name = "tracker"

    def core(self) -> Core:
        return PersonTracker(self.store, self.config)


CoreTask = ShelfTask | TrackerTask


def run_here(task: CoreTask, reader: BagReader) -> CoreRun:
    """A task in this process."""
    entries = ((message.log_time_ns, message.topic, reader.record(message)) for message in reader.messages(task.topics))
    return CoreRun(task.core(), EventOrder(entries))


class CoreProcess:
    """Iterates over what a task's core gave (as ``CoreRun``), made by another process; use it in a ``with`` statement.

    Raises BagError as reading the bag does, RuntimeError where the process ends without having told why.
    """

    def __init__(self, task: CoreTask) -> None:
        self._name = task.name
        context = multiprocessing.get_context("fork" if can_fork() else "spawn")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(task, sender, self._receiver), daemon=True, name=task.name)
        with warnings.catch_warnings():
            # Python counts native threads too: those of OpenBLAS, which takes care of forks itself.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            self._process.start()
        sender.close()
        self.closing: Closing | None = None

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

    def __iter__(self) -> Iterator[tuple[Key, StepResult]]:
        while self.closing is None:
            try:
                told = self._receiver.recv()
            except EOFError:
                self._process.join()
                raise RuntimeError(f"the {self._name}'s process ended with exit code {self._process.exitcode}") from None
            if isinstance(told, BaseException):
                raise told
            if isinstance(told, Closing):
                self.closing = told
            else:
                for key, records, warnings in told:
                    yield key, StepResult([_arrived(record) for record in records], warnings)


def can_fork() -> bool:
    """A forked process begins at once, a fresh one with a second of imports. But a forked one inherits the locks that other threads hold,
    without the threads."""
    return threading.active_count() == 1


def _run(task: CoreTask, sender: Connection, receiver: Connection) -> None:
    # This process's own copy of the other end would keep the pipe alive when nobody listens any more.
    receiver.close()
    # Nobody listens any more: whoever started this has been told why.
    with sender, suppress(BrokenPipeError):
        try:
            with BagReader(task.bag) as reader:
                run = run_here(task, reader)
                batch: list[_Sent] = []
                for key, step in run:
                    batch.append((key, [_sent(record) for record in step.records], step.warnings))
                    if len(batch) >= _BATCH:
                        _send(sender, batch)
                        batch = []
                _send(sender, batch)
                _send(sender, run.closing)
        except BagError as error:
            _send(sender, error)


def _sent(record: Record) -> Record | PackedTracks:
    return packed(record) if isinstance(record, Tracks) else record


def _arrived(record: Record | PackedTracks) -> Record:
    return unpacked(record) if isinstance(record, PackedTracks) else record


def _send(sender: Connection, what: Sequence[_Sent] | Closing | BagError) -> None:
    sender.send_bytes(pickle.dumps(what, protocol=pickle.HIGHEST_PROTOCOL))
