"""Progress of long work: a bar with the remaining time on a terminal, a line at every tenth elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Advances by a number of steps and, where given, replaces the text at the right of the bar.
Advance = Callable[..., None]


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """``with progress("reading", 100) as advance: ... advance(1, note="5 x real time")``. Writes to stderr, results go to stdout."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines(what, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, note="")

        def advance(steps: int = 1, note: str | None = None) -> None:
            bar.update(task, advance=steps, **({} if note is None else {"note": note}))

        yield advance


def _plain_lines(what: str, total: int) -> Advance:
    done = told = 0

    def advance(steps: int = 1, note: str | None = None) -> None:
        nonlocal done, told
        done += steps
        tenth = 10 * done // max(total, 1)
        if tenth > told:
            told = tenth
            print(f"{what}: {done} of {total}{f', {note}' if note else ''}", file=sys.stderr, flush=True)

    return advance
