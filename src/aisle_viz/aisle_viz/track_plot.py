"""Trajectories as a picture: on a store's floor plan, on plain ground axes, or in the image plane."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aisle_store.floor_plan import draw_floor_plan
from aisle_store.store import Store
from aisle_viz.markers import person_colour

#: More identities than this are told apart by their colours alone: a longer legend hides the picture.
MOST_NAMED = 20


def plot_floor_paths(paths: Mapping[str, np.ndarray], path: str | os.PathLike[str], store: Store | None = None, title: str = "") -> None:
    """Writes a picture (its kind by the suffix) of ``paths``, by identity float64 [N, 2] (x, y) m, on the store's plan if one is given.

    Raises ValueError for a suffix that matplotlib does not know, OSError where the file cannot be written.
    """
    figure, axes = _empty()
    if store is not None:
        draw_floor_plan(store, axes, labels=False)
    _draw(axes, paths)
    axes.set(aspect="equal", xlabel="x (m)", ylabel="y (m)")
    _save(figure, axes, path, title)


def plot_image_paths(boxes: Mapping[str, np.ndarray], path: str | os.PathLike[str], title: str = "") -> None:
    """As ``plot_floor_paths`` for the image plane: ``boxes`` by identity float64 [N, 4] (left, top, width, height) px, as in MOTChallenge
    files. What is drawn is the way of the box's lower edge, where the feet are; y points down, as in the image.
    """
    figure, axes = _empty()
    _draw(axes, {name: np.column_stack([box[:, 0] + box[:, 2] / 2, box[:, 1] + box[:, 3]]) for name, box in boxes.items()})
    axes.set(aspect="equal", xlabel="x (px)", ylabel="y (px)")
    axes.invert_yaxis()
    _save(figure, axes, path, title)


def _empty() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(12, 6), layout="constrained")
    return figure, figure.add_subplot()


def _draw(axes: Axes, paths: Mapping[str, np.ndarray]) -> None:
    """Each way as a line, a circle where it begins and a square where it ends."""
    for number, (name, way) in enumerate(paths.items()):
        if not len(way):
            continue
        colour = person_colour(number)
        axes.plot(*way.T, color=colour, linewidth=1.4, zorder=6, label=name)
        axes.plot(*way[0], "o", color=colour, markersize=5, markerfacecolor="white", zorder=7)
        axes.plot(*way[-1], "s", color=colour, markersize=4, zorder=7)


def _save(figure: Figure, axes: Axes, path: str | os.PathLike[str], title: str) -> None:
    named = axes.get_legend_handles_labels()[1]
    if 0 < len(named) <= MOST_NAMED:
        axes.legend(title="identity", loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    axes.set_title(title or f"{len(named)} {'track' if len(named) == 1 else 'tracks'}", loc="left")
    figure.savefig(Path(path), dpi=120)
