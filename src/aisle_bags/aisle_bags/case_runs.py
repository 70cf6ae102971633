"""Bags as tests: replays them, compares their receipts with the expected ones and with the truth."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aisle_bags.bag_case import BagCase, KnownWrong, load_case
from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_store import store_of
from aisle_bags.core_settings import CoreSettings
from aisle_bags.receipt_differences import Difference, differences
from aisle_bags.replay import plan_replay, replay
from aisle_bags.scoring import WrongLine, score_session
from aisle_checkout.receipt_files import parse_receipt, receipt_json
from aisle_contract.records import NANOSECONDS, Receipt, Record

R = TypeVar("R")


@dataclass(frozen=True)
class CaseResult:
    """What a bag gave. ``receipts``: as their files hold them (rounded); ``published``: all records of the cores, where wanted.

    ``wrong``: lines that differ from the truth and are not known to; ``right_now``: known ones that do not differ any more.
    """

    case: BagCase
    receipts: tuple[Receipt, ...]
    differences: tuple[Difference, ...]
    wrong: tuple[WrongLine, ...]
    right_now: tuple[KnownWrong, ...]
    warnings: tuple[str, ...]
    recorded_s: float
    elapsed_s: float
    published: tuple[Record, ...] = ()

    @property
    def passed(self) -> bool:
        return not (self.differences or self.wrong or self.right_now)

    def of(self, kind: type[R]) -> list[R]:
        """All published records of one type, in order; only of a run that kept them."""
        return [record for record in self.published if isinstance(record, kind)]

    def items(self, shopper: str) -> dict[str, int]:
        """What a shopper was charged: product -> pieces, over all his receipts."""
        charged: Counter[str] = Counter()
        for receipt in self.receipts:
            if receipt.shopper == shopper:
                charged.update({line.product: line.quantity for line in receipt.lines})
        return dict(charged)

    @property
    def report(self) -> str:
        """What is not as expected, one thing a line; empty if nothing."""
        lines = [f"{difference.what}: {difference.why}" for difference in self.differences]
        for line in self.wrong:
            lines.append(wrong_text(line))
        lines += [f"{known.line}: was known to be wrong and is not any more" for known in self.right_now]
        return "\n".join(lines)


def run_case(case: BagCase, settings: CoreSettings, keep: bool = False) -> CaseResult:
    """Replays a case's bag from its detections and weights; ``keep``: all that the cores published comes with the result.

    Raises BagError.
    """
    began = time.monotonic()
    published: list[Record] = []

    def take(record: Record) -> None:
        if keep or isinstance(record, Receipt):
            published.append(record)

    settings = settings if keep else settings.without_open_carts()
    with BagReader(case.folder) as reader:
        plan = plan_replay(reader, reader.namespace(), "detections")
        result = replay(reader, plan, store_of(reader), settings, publish=take, processes=1)
    receipts = sorted((r for r in published if isinstance(r, Receipt)), key=lambda r: (r.stamp_ns, r.session))
    return judged(
        case,
        receipts,
        warnings=tuple(result.warnings),
        recorded_s=plan.span_ns / NANOSECONDS,
        elapsed_s=time.monotonic() - began,
        published=tuple(published) if keep else (),
    )


def judged(
    case: BagCase,
    receipts: Sequence[Receipt],
    warnings: tuple[str, ...] = (),
    recorded_s: float = 0.0,
    elapsed_s: float = 0.0,
    published: tuple[Record, ...] = (),
) -> CaseResult:
    """Compares receipts, wherever they come from, with what the case expects."""
    rounded = tuple(_as_in_file(receipt) for receipt in receipts)
    wrong, right_now = _against_truth(case, rounded)
    found = tuple(differences(case.expected, rounded, case.document.tolerances))
    return CaseResult(case, rounded, found, wrong, right_now, warnings, recorded_s, elapsed_s, published)


def run_cases(folders: Sequence[Path], settings: CoreSettings, jobs: int, done: Callable[[CaseResult], None]) -> list[CaseResult]:
    """All cases, ``jobs`` at a time; results (and calls of ``done``) come in the order of ``folders``."""
    results = []
    for result in _run_each([load_case(folder) for folder in folders], settings, jobs):
        results.append(result)
        done(result)
    return results


def _run_each(cases: Sequence[BagCase], settings: CoreSettings, jobs: int) -> Iterator[CaseResult]:
    if jobs <= 1 or len(cases) <= 1:
        yield from (run_case(case, settings) for case in cases)
        return
    # Fresh processes: a forked one would inherit OpenCV's thread pool without its threads.
    with ProcessPoolExecutor(min(jobs, len(cases)), multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run_case, cases, [settings] * len(cases))


def _as_in_file(receipt: Receipt) -> Receipt:
    """Rounded as its file is: only what a file can hold is compared."""
    return parse_receipt(receipt_json(receipt), receipt.session)


def _against_truth(case: BagCase, receipts: Sequence[Receipt]) -> tuple[tuple[WrongLine, ...], tuple[KnownWrong, ...]]:
    truth = case.document.truth
    if truth is None:
        return (), ()
    score = score_session(case.name, 0, truth, receipts)
    known, found = ({_key(line): line for line in lines} for lines in (case.document.known_wrong, score.wrong_lines))
    wrong = tuple(line for key, line in found.items() if key not in known)
    return wrong, tuple(line for key, line in known.items() if key not in found)


def _key(line: WrongLine | KnownWrong) -> tuple[str, str, int, int]:
    return line.shopper, line.product, line.expected, line.found


def wrong_text(line: WrongLine) -> str:
    """One line for people."""
    return f"{line.shopper or 'anonymous shopper'}: {line.product}: {line.expected} by the truth, {line.found} charged"
