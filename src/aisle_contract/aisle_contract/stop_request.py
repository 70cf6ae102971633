"""SIGINT and SIGTERM as a question that a loop asks, so that files and children are closed in order."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """``asked`` becomes true once the process was asked to end. Made in the main thread, as Python's signal handlers demand."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def close(self) -> None:
        """For the very end: Ctrl-C on a terminal reaches a process twice, from the terminal and from who started it, and the second one
        must not kill what is just ending well.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
