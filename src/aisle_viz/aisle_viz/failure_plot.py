"""A wrong line as a picture: what the plates read, how far hands were, what was made of it, and what really happened."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aisle_viz.markers import person_colour

_FARTHEST_M = 1.6


@dataclass(frozen=True, eq=False)
class FailurePanel:
    """Some seconds at one shelf.

    ``weights``: plate -> change since the panel's start, g, float [T] at ``times`` s [T]; ``true_hands`` and ``tracked_hands``: person or
    track -> (times s [N], distance of the nearer hand from the plates m [N]); ``events``: (start s, end s, text) as the shelf monitor and
    the cart saw them; ``truth``: (time s, text).
    """

    title: str
    times: np.ndarray
    weights: Mapping[str, np.ndarray]
    true_hands: Mapping[str, tuple[np.ndarray, np.ndarray]]
    tracked_hands: Mapping[str, tuple[np.ndarray, np.ndarray]]
    events: Sequence[tuple[float, float, str]]
    truth: Sequence[tuple[float, str]]


def plot_failures(panels: Sequence[FailurePanel], path: str | os.PathLike[str], title: str) -> None:
    """Writes the panels one below the other; the picture's kind by the suffix.

    Raises ValueError for no panels or a suffix that matplotlib does not know, OSError where the file cannot be written.
    """
    if not panels:
        raise ValueError("there is nothing to draw, expected at least one panel")
    figure = Figure(figsize=(13, 5.2 * len(panels)), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(2 * len(panels), 1, height_ratios=(3, 2) * len(panels), squeeze=False)[:, 0]
    for number, panel in enumerate(panels):
        _draw_weights(axes[2 * number], panel)
        _draw_hands(axes[2 * number + 1], panel)
    figure.savefig(path, dpi=100)


def _draw_weights(axes: Axes, panel: FailurePanel) -> None:
    for plate, change in panel.weights.items():
        axes.plot(panel.times, change, linewidth=0.9, label=f"plate {plate}")
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.1 * (high - low), high + 0.45 * (high - low))
    low, high = axes.get_ylim()
    for number, (start, end, text) in enumerate(panel.events):
        axes.axvspan(start, max(end, start + 0.02), color="tab:orange", alpha=0.2)
        axes.annotate(text, (start, high - (0.05 + 0.07 * (number % 4)) * (high - low)), fontsize=7, color="tab:brown")
    for number, (time, text) in enumerate(panel.truth):
        axes.axvline(time, color="tab:green", linewidth=1.2)
        axes.annotate(text, (time, low + (0.03 + 0.06 * (number % 3)) * (high - low)), fontsize=7, color="tab:green")
    axes.set(title=panel.title, ylabel="change (g)", xlim=(panel.times[0], panel.times[-1]))
    axes.title.set_fontsize(9)
    axes.legend(loc="center right", fontsize=7)
    axes.grid(alpha=0.3)


def _draw_hands(axes: Axes, panel: FailurePanel) -> None:
    for number, (person, (times, distances)) in enumerate(panel.true_hands.items()):
        axes.plot(times, distances, color=person_colour(number), linewidth=1.4, label=f"{person}, really")
    for number, (track, (times, distances)) in enumerate(panel.tracked_hands.items(), len(panel.true_hands)):
        axes.plot(times, distances, ":", color=person_colour(number), linewidth=1.4, label=f"track {track}")
    axes.set(ylabel="hand to plates (m)", xlabel="s", xlim=(panel.times[0], panel.times[-1]), ylim=(0, _FARTHEST_M))
    axes.legend(loc="upper right", fontsize=7, ncols=2)
    axes.grid(alpha=0.3)
