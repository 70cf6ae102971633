"""What plates show over a long rest: a mean over as much of it as helps, for measuring what came or went.

The level that changes are detected against looks back 1.5 s only, so that it follows drift. A loud plate is known better by a longer mean,
in which the moments that shook less count for more (weights by variance), and the older less.
"""

from __future__ import annotations

import numpy as np

#: Older reports count less, by this factor each (0.2 s): a memory of six seconds.
FADE = 1.0 - 1.0 / 30.0


class RestMeans:
    """Of all plates of ``width`` columns; kg. One ``add`` per report interval."""

    def __init__(self, width: int, fall: float) -> None:
        """``fall``: the variance of a mean over n short means is n ** -fall of that of one."""
        self._fall = fall
        # Sums over reports of weights, squared weights, squared fades times weights, weights times loads, and weights times ages.
        self._weight, self._squared, self._faded = np.zeros(width), np.zeros(width), np.zeros(width)
        self._load, self._age = np.zeros(width), np.zeros(width)

    def add(self, loads: np.ndarray, unrest: np.ndarray, valid: np.ndarray) -> None:
        """The short means ``loads`` [columns] of a report, and how restless it was [columns], a factor on variances; where ``valid``."""
        self._age += self._weight
        self._age *= FADE
        self._weight *= FADE
        self._load *= FADE
        self._squared *= FADE**2
        self._faded *= FADE**2
        # Shaking is never below rest; a broken value of 1e30 before leaves no digits of it.
        weight = np.where(valid, 1.0 / np.maximum(unrest, 1.0), 0.0)
        self._weight += weight
        self._load += weight * np.where(valid, loads, 0.0)
        self._squared += weight * weight
        self._faded += weight

    def forget(self, plates: np.ndarray) -> None:
        """Plates whose load is another one now."""
        for sums in (self._weight, self._squared, self._faded, self._load, self._age):
            sums[plates] = 0.0

    def of(self, plates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means of ``plates``, NaN where there is none; their variances in units of the noise of a short mean; their ages in reports."""
        weight = self._weight[plates]
        there = weight > 0
        weight = np.where(there, weight, np.nan)
        number = weight**2 / np.where(there, self._squared[plates], 1.0)
        variance = self._faded[plates] / weight**2 * number ** (1.0 - self._fall)
        return self._load[plates] / weight, variance, self._age[plates] / weight
