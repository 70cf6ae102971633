"""The shelf monitor in a process of its own: it shares nothing with the tracker until carts are made, and is half of the work.

It reads the bag's weights itself, so that only shelf events cross over.
"""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.core_runs import Closing, CoreRun
from aisle_bags.event_order import EventOrder, Key
from aisle_contract.records import StepResult
from aisle_fusion.shelf_monitor import ShelfMonitor
from aisle_fusion.shelf_monitor_config import ShelfMonitorConfig
from aisle_store.store import Store

#: Steps that cross over together: one at a time would cost more than the work. It blocks while the other side has not taken them.
_BATCH = 32


@dataclass(frozen=True)
class ShelfTask:
    """What a monitor is run on: a bag's topics of weights."""

    bag: Path
    topics: tuple[str, ...]
    store: Store
    config: ShelfMonitorConfig

    def run(self, reader: BagReader) -> CoreRun:
        """In this process."""
        entries = ((message.log_time_ns, message.topic, reader.record(message)) for message in reader.messages(self.topics))
        return CoreRun(ShelfMonitor(self.store, self.config), EventOrder(entries))


class ShelfProcess:
    """Iterates over what the monitor gave (as ``CoreRun``), made by another process; use it in a ``with`` statement.

    Raises BagError as reading the bag does, RuntimeError where the process ends without having told why.
    """

    def __init__(self, task: ShelfTask) -> None:
        # A fresh process: a forked one would inherit the locks of threads that libraries have started, without the threads.
        context = multiprocessing.get_context("spawn")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(task, sender), daemon=True, name="shelf monitor")
        self._process.start()
        sender.close()
        self.closing: Closing | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def __enter__(self) -> ShelfProcess:
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
                raise RuntimeError(f"the shelf monitor's process ended with exit code {self._process.exitcode}") from None
            if isinstance(told, BaseException):
                raise told
            if isinstance(told, Closing):
                self.closing = told
            else:
                yield from told


def _run(task: ShelfTask, sender: Connection) -> None:
    # Nobody listens any more: whoever started this has been told why.
    with sender, suppress(BrokenPipeError):
        try:
            with BagReader(task.bag) as reader:
                run = task.run(reader)
                batch: list[tuple[Key, StepResult]] = []
                for step in run:
                    batch.append(step)
                    if len(batch) >= _BATCH:
                        _send(sender, batch)
                        batch = []
                _send(sender, batch)
                _send(sender, run.closing)
        except BagError as error:
            _send(sender, error)


def _send(sender: Connection, what: Sequence[tuple[Key, StepResult]] | Closing | BagError) -> None:
    sender.send_bytes(pickle.dumps(what, protocol=pickle.HIGHEST_PROTOCOL))
