"""How long to wait before a lost device is tried again."""

from __future__ import annotations


class Backoff:
    """Waiting times that double from ``first_s`` up to ``longest_s`` until ``reset``."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def wait_s(self) -> float:
        """The time to wait now, s."""
        now_s = self._next_s
        self._next_s = min(2 * now_s, self._longest_s)
        return now_s

    def reset(self) -> None:
        """The device works again."""
        self._next_s = self._first_s
