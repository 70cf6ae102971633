"""A store seen from above, drawn with matplotlib: a check of a new store's files and the background of pictures of tracks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from aisle_store.camera_model import Camera
from aisle_store.store import Gate, GateKind, Gondola, Store

#: How far a camera's wedge is drawn, m.
WEDGE_LENGTH_M = 0.6
GATE_COLOURS = {GateKind.ENTRANCE: "tab:green", GateKind.EXIT: "tab:red", GateKind.BOTH: "tab:olive"}


def draw_floor_plan(store: Store, axes: Axes, cameras: bool = True, labels: bool = True) -> None:
    """Draws floor, zones, gondolas, plates (a dot marks the edge towards the aisle), gates and cameras' views into ``axes``, in metres."""
    axes.add_patch(Polygon(store.floor, facecolor="0.96", edgecolor="0.3", zorder=0))
    for name, polygon in store.zones.items():
        axes.add_patch(Polygon(polygon, fill=False, edgecolor="tab:blue", linestyle=":", zorder=1))
        if labels:
            axes.annotate(name, polygon.min(axis=0) + 0.03, color="tab:blue", fontsize=7)
    for gondola in store.gondolas.values():
        _draw_gondola(gondola, axes, labels)
    for gate in store.gates.values():
        _draw_gate(gate, axes, labels)
    if cameras:
        for camera in store.cameras.values():
            _draw_camera(camera, axes, labels)
    axes.autoscale_view()
    axes.set_aspect("equal")
    axes.set_xlabel("x (m)")
    axes.set_ylabel("y (m)")


def save_floor_plan(store: Store, path: str | os.PathLike[str]) -> None:
    """Writes the plan as an image file whose kind is told by its suffix."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    axes = figure.add_subplot()
    draw_floor_plan(store, axes)
    axes.set_title(store.name)
    figure.savefig(Path(path), dpi=120)


def _draw_gondola(gondola: Gondola, axes: Axes, labels: bool) -> None:
    box = np.array([[0, 0, 0, 1], [gondola.width, 0, 0, 1], [gondola.width, gondola.depth, 0, 1], [0, gondola.depth, 0, 1]])
    axes.add_patch(Polygon((box @ gondola.pose.T)[:, :2], facecolor="0.4", edgecolor="0.2", zorder=2))
    plates = [plate for shelf in gondola.shelves.values() for plate in shelf.plates.values()]
    for plate in plates:
        axes.add_patch(Polygon(plate.corners[:, :2], facecolor="tab:orange", alpha=0.1, edgecolor="0.4", linewidth=0.4, zorder=2))
    if plates:
        axes.plot(*np.array([plate.front[:2] for plate in plates]).T, ".", color="tab:brown", markersize=2, zorder=3)
    if plates and labels:
        axes.annotate(gondola.gondola, np.mean([plate.centre[:2] for plate in plates], axis=0), ha="center", va="center", fontsize=12)


def _draw_gate(gate: Gate, axes: Axes, labels: bool) -> None:
    colour = GATE_COLOURS[gate.kind]
    axes.plot(*gate.ends.T, color=colour, linewidth=4, solid_capstyle="butt", zorder=3)
    if labels:
        axes.annotate(gate.gate, gate.centre, xytext=(0, -10), textcoords="offset points", color=colour, ha="center", fontsize=8)


def _draw_camera(camera: Camera, axes: Axes, labels: bool) -> None:
    sides = camera.rays(np.array([[0.0, camera.height / 2], [camera.width - 1.0, camera.height / 2]]))[:, :2]
    if np.isfinite(sides).all():
        sides = sides / np.linalg.norm(sides, axis=1, keepdims=True)
        wedge = [camera.position[:2], *(camera.position[:2] + WEDGE_LENGTH_M * sides)]
        axes.add_patch(Polygon(wedge, facecolor="tab:purple", alpha=0.12, edgecolor="tab:purple", linewidth=0.5, zorder=4))
    axes.plot(*camera.position[:2], "^", color="tab:purple", markersize=4, zorder=5)
    if labels:
        axes.annotate(camera.camera, camera.position[:2], xytext=(3, 3), textcoords="offset points", color="tab:purple", fontsize=7)
