"""Reliability diagram: what share of lines is right, against the probability that they were given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter


@dataclass(frozen=True, slots=True)
class CalibrationBar:
    """``lines`` lines of probabilities ``low`` .. ``high``: their ``mean`` probability and the share that is ``right``."""

    low: float
    high: float
    lines: int
    mean: float
    right: float


def plot_calibration(bars: Sequence[CalibrationBar], error: float, path: str | os.PathLike[str], title: str) -> None:
    """Writes the diagram with the number of lines of each group below; its kind by the suffix.

    Whiskers are 95 % intervals of Wilson (J. American Statistical Association 1927), what chance does to a share of so few lines.
    Raises ValueError for a suffix that matplotlib does not know, OSError where the file cannot be written.
    """
    filled = [bar for bar in bars if bar.lines]
    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3, 1))
    places = np.arange(len(filled))
    means, rights = np.array([bar.mean for bar in filled]), np.array([bar.right for bar in filled])
    counts = np.array([bar.lines for bar in filled])
    low, high = _wilson(rights, counts)
    above.bar(places, rights, color="tab:blue", alpha=0.35, width=0.9, label="share of lines that are right")
    above.errorbar(places, rights, [rights - low, high - rights], fmt="none", ecolor="tab:blue", capsize=3)
    above.plot(places, means, "o", color="tab:red", label="mean probability")
    above.set(ylabel="share", ylim=(0, 1.05), title=f"{title}\nexpected calibration error {error:.4f} over {counts.sum()} lines")
    above.grid(axis="y", alpha=0.3)
    above.legend(loc="lower left")
    below.bar(places, counts, color="0.5", width=0.9)
    for place, count in zip(places, counts, strict=True):
        below.annotate(str(count), (place, count), ha="center", va="bottom", fontsize=8)
    below.set_yscale("log")
    below.yaxis.set_major_formatter(ScalarFormatter())
    below.set(ylabel="lines", xlabel="probability of the line", ylim=(0.7, 4 * counts.max(initial=1)))
    for axes in (above, below):
        axes.set_xticks(places, [f"{bar.low:g}-{bar.high:g}" for bar in filled], fontsize=7)
        axes.set_xlim(-0.6, max(len(filled), 1) - 0.4)
    figure.savefig(path, dpi=110)


def _wilson(shares: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends [N] of the interval of a share seen in so many."""
    z2 = 1.96**2
    middle = (shares + z2 / (2 * counts)) / (1 + z2 / counts)
    half = 1.96 / (1 + z2 / counts) * np.sqrt(shares * (1 - shares) / counts + z2 / (4 * counts**2))
    return np.minimum(middle - half, shares), np.maximum(middle + half, shares)
