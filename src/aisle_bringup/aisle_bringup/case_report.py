"""Bags as tests on the terminal: a table of results, and each difference with the evidence of both sides."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aisle_bags.case_runs import CaseResult, wrong_text
from aisle_bags.receipt_differences import Difference
from aisle_contract.records import Evidence, ReceiptLine


def print_results(console: Console, results: Sequence[CaseResult]) -> None:
    """One row for each bag."""
    table = Table(title="bags", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("bag", no_wrap=True, min_width=max(len(result.case.name) for result in results))
    table.add_column("shows", no_wrap=True, overflow="ellipsis")
    for heading in ("receipts", "known wrong", "speed"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    table.add_column("result", no_wrap=True, min_width=max(len(verdict(result)) for result in results))
    for result in results:
        speed = result.recorded_s / max(result.elapsed_s, 1e-3)
        table.add_row(
            result.case.name,
            escape(result.case.document.title),
            str(len(result.receipts)),
            str(len(result.case.document.known_wrong) or ""),
            f"{speed:.0f}x",
            "[green]as expected[/]" if result.passed else f"[red]{verdict(result)}[/]",
        )
    console.print(table)


def verdict(result: CaseResult) -> str:
    """What is not as expected, in a few words."""
    parts = (
        (len(result.differences), "changed"),
        (len(result.wrong), "wrong"),
        (len(result.right_now), "right now"),
    )
    return ", ".join(f"{count} {what}" for count, what in parts if count) or "as expected"


def print_details(console: Console, result: CaseResult) -> None:
    """Why a bag is not as expected; nothing for one that is."""
    case = result.case
    if result.passed:
        return
    console.print(f"[bold]{escape(case.name)}[/]: {escape(case.document.shows)}", highlight=False, soft_wrap=True)
    for difference in result.differences:
        console.print(f"  [red]{escape(difference.what)}[/]: {escape(difference.why)}", highlight=False, soft_wrap=True)
        if difference.expected is not None or difference.found is not None:
            console.print(_sides(difference))
    for line in result.wrong:
        console.print(f"  [red]not true[/]: {escape(wrong_text(line))}", highlight=False, soft_wrap=True)
    for known in result.right_now:
        what = f"{known.line}: was known to be wrong and is not any more"
        console.print(f"  [yellow]right now[/]: {escape(what)}", highlight=False, soft_wrap=True)
    console.print(f"  to renew what is expected: ./aisle bag accept {case.folder}", highlight=False, soft_wrap=True)


def _sides(difference: Difference) -> Table:
    table = Table("", "expected", "found", box=box.SIMPLE, padding=(0, 1, 0, 0))
    old, new = _cells(difference.expected), _cells(difference.found)
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name, ""), new.get(name, "")
        style = "" if before == after else "bold"
        table.add_row(name, escape(before), escape(after), style=style)
    return table


def _cells(line: ReceiptLine | None) -> dict[str, str]:
    if line is None:
        return {"line": "none"}
    cells = {"line": f"{line.name} x{line.quantity}, {line.total}", "probability": f"{line.probability:.4f}"}
    for number, evidence in enumerate(line.evidence, 1):
        cells |= {f"event {number} {name}": text for name, text in _evidence_cells(evidence).items()}
    return cells


def _evidence_cells(evidence: Evidence) -> dict[str, str]:
    return {
        "": evidence.event,
        "plates": f"{evidence.gondola}/{evidence.shelf}: {', '.join(evidence.plates)}",
        "weight": f"{1e3 * evidence.change:+.1f} +- {1e3 * evidence.deviation:.1f} g, expected {1e3 * evidence.expected:+.1f} g",
        "hand": "unknown" if math.isnan(evidence.distance) else f"{evidence.distance:.2f} m away",
        "probability": f"{evidence.probability:.4f}",
        "else": f"{evidence.alternative} ({evidence.alternative_probability:.4f})" if evidence.alternative else "nothing likely",
    }
