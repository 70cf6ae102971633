"""Progress of long work: a bar with the remaining time on a terminal, a line at every tenth elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Advances by a number of steps and, where given, replaces the text at the right of the bar.
Advance = Callable[..., None]
#: A bar is drawn anew at most this often, s, by who advances it: a thread for that would forbid forks (``aisle_bags.core_process``).
_REDRAWN_S = 0.1


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
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task(what, total=total, note="")
        drawn_s = time.monotonic()

        def advance(steps: int = 1, note: str | None = None) -> None:
            nonlocal drawn_s
            now_s = time.monotonic()
            due = now_s - drawn_s >= _REDRAWN_S
            drawn_s = now_s if due else drawn_s
            bar.update(task, advance=steps, refresh=due, **({} if note is None else {"note": note}))

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
