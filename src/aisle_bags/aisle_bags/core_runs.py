"""One core over a sequence of records, by itself: what it gave at which record, and how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aisle_bags.event_order import EventOrder, Key
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


class CoreRun:
    """Iterates over (place of a record, what the core gave when it took it), leaving out records at which it gave nothing.

    ``closing`` is there once the iteration has come to its end.
    """

    def __init__(self, core: Core, records: EventOrder) -> None:
        self._core = core
        self._records = records
        self.closing: Closing | None = None

    def __iter__(self) -> Iterator[tuple[Key, StepResult]]:
        fed: Counter[str] = Counter()
        for key, record in self._records:
            fed[type(record).__name__] += 1
            step = self._core.step(record)
            if step.records or step.warnings:
                yield key, step
        self.closing = closing(self._core, fed)
        self.closing.step.warnings.extend(self._records.warnings)
