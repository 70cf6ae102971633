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

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
