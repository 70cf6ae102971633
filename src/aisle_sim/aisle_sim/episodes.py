"""Things that happen now and then and last for a while (bursts, outages), drawn as time goes on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Episode:
    """``seed`` draws what is particular to it."""

    start_s: float
    end_s: float
    seed: int

    def rng(self) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(self.seed))


class Episodes:
    """Begin by chance, ``rate_hz`` per second, and last ``shortest_s`` .. ``longest_s``, which is drawn evenly on a log scale."""

    def __init__(self, rng: np.random.Generator, rate_hz: float, shortest_s: float, longest_s: float) -> None:
        self._rng, self._rate_hz, self._lasting = rng, rate_hz, (np.log(shortest_s), np.log(longest_s))
        self._going: list[Episode] = []
        self._next_s = self._draw_next(0.0)

    def within(self, from_s: float, until_s: float) -> list[Episode]:
        """Those that are on at any time of ``from_s`` .. ``until_s``; both must not go back from call to call."""
        while self._next_s <= until_s:
            lasts = float(np.exp(self._rng.uniform(*self._lasting)))
            self._going.append(Episode(self._next_s, self._next_s + lasts, int(self._rng.integers(2**62))))
            self._next_s = self._draw_next(self._next_s)
        self._going = [episode for episode in self._going if episode.end_s >= from_s]
        return [episode for episode in self._going if episode.start_s <= until_s]

    def _draw_next(self, after_s: float) -> float:
        return after_s + float(self._rng.exponential(1 / self._rate_hz)) if self._rate_hz > 0 else np.inf


def on(episodes: list[Episode], times: np.ndarray) -> np.ndarray:
    """bool [T]: whether any is on at ``times`` [T]."""
    there = np.zeros(len(times), dtype=bool)
    for episode in episodes:
        there |= (times >= episode.start_s) & (times <= episode.end_s)
    return there
