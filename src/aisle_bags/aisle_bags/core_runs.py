"""Single cores over sequences of records: what they gave at which record, and how they ended."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Protocol

from aisle_bags.event_order import EventOrder
from aisle_contract.records import Diagnostic, Record, StepResult


class Core(Protocol):
    """What every core offers (docs/architecture.md)."""

    def step(self, record: Record) -> StepResult: ...

    def flush(self) -> StepResult: ...

    def diagnostics(self) -> list[Diagnostic]: ...


@dataclass(frozen=True, slots=True)
class Closing:
    """A core's end: what it released, how it was then, and what it had been fed where it ran by itself (by type name)."""

    step: StepResult
    diagnostics: list[Diagnostic]
    fed: Mapping[str, int] = field(default_factory=dict)


def closing(core: Core, fed: Mapping[str, int] | None = None) -> Closing:
    """Ends a core."""
    step = core.flush()
    return Closing(step, core.diagnostics(), fed or {})


#: Of a record with its place.
_RECORD = itemgetter(-1)
#: Stamp (ns) of a record, and the number of the run that took it: of one time, the runs come in this order.
Moment = tuple[int, int]


class CoreRun:
    """Iterates over (moment of a record, what the core gave when it took it), leaving out records at which it gave nothing.

    Without a core it gives the records as they are. ``number``: the run's. ``closing`` is there once the iteration has come to its end.
    """

    def __init__(self, number: int, core: Core | None, records: EventOrder) -> None:
        self.number = number
        self._core = core
        self._records = records
        self.closing: Closing | None = None

    def __iter__(self) -> Iterator[tuple[Moment, StepResult | Record]]:
        number, core, fed = self.number, self._core, Counter[str]()
        for placed in self._records:
            if core is None:
                yield from (((stamp_ns, number), record) for stamp_ns, _, _, _, record in placed)
                continue
            for kind, count in Counter(map(type, map(_RECORD, placed))).items():
                fed[kind.__name__] += count
            for stamp_ns, _, _, _, record in placed:
                step = core.step(record)
                if step.records or step.warnings:
                    yield (stamp_ns, number), step
        self.closing = Closing(StepResult(), []) if core is None else closing(core, fed)
        self.closing.step.warnings.extend(self._records.warnings)


def merged(runs: Iterable[Iterable[tuple[Moment, StepResult | Record]]]) -> Iterator[tuple[Moment, StepResult | Record]]:
    """What several runs give, in order."""
    return heapq.merge(*runs, key=itemgetter(0))
