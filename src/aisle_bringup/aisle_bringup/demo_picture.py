"""A demo run as a picture: where people walked, what they took from which plates, and their receipts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aisle_bringup.demo_state import DemoState
from aisle_contract.records import Cart, CartStatus, Evidence, Record, Tracks
from aisle_store.floor_plan import draw_floor_plan

#: Product names are cut to this length beside their plates.
NAME_LENGTH = 22


class DemoPicture:
    """``step`` takes the records of a run, ``save`` draws them. One colour for each visit."""

    def __init__(self, state: DemoState) -> None:
        self._state = state
        self._trails: dict[str, list[np.ndarray]] = {}
        self._visit_of_track: dict[str, str] = {}
        self._shoppers: dict[str, str] = {}
        self._closed: dict[str, Cart] = {}

    def step(self, record: Record) -> None:
        if isinstance(record, Tracks):
            for track in record.tracks:
                self._trails.setdefault(track.track, []).append(track.position)
        elif isinstance(record, Cart):
            self._shoppers[record.session] = record.shopper or record.session
            if record.track:
                self._visit_of_track[record.track] = record.session
            if record.status == CartStatus.CLOSED:
                self._closed[record.session] = record

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an image file whose kind is told by its suffix."""
        figure = Figure(figsize=(12, 4.6), layout="constrained")
        plan, receipts = figure.subplots(1, 2, width_ratios=[2.4, 1])
        draw_floor_plan(self._state.store, plan, cameras=False, labels=False)
        colours = {visit: f"C{number}" for number, visit in enumerate(self._shoppers)}
        for track, visit in self._visit_of_track.items():
            trail = np.array(self._trails.get(track, np.zeros((0, 2))))
            plan.plot(*trail.T, color=colours[visit], linewidth=1.5, alpha=0.8, zorder=6)
        for visit, cart in self._closed.items():
            for line in cart.lines:
                for evidence in line.evidence:
                    self._mark(plan, evidence, self._state.product_name(line.product), colours[visit])
        names = ", ".join(session.session for session in self._state.sessions)
        plan.set_title(f"re-enacted: {names}", loc="left")
        self._write_receipts(receipts, colours)
        figure.savefig(Path(path), dpi=110)

    def _mark(self, axes: Axes, evidence: Evidence, product: str, colour: str) -> None:
        """Filled where something was taken, hollow where it was put back."""
        plates = [self._state.store.plate(evidence.gondola, evidence.shelf, plate) for plate in evidence.plates]
        place = np.mean([plate.front[:2] for plate in plates], axis=0)
        fill = colour if evidence.quantity > 0 else "white"
        axes.plot(*place, "o", markersize=8, markeredgecolor=colour, markerfacecolor=fill, zorder=8)
        label = f"{evidence.quantity:+d} {product[:NAME_LENGTH]}"
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.85, "edgecolor": colour}
        axes.annotate(label, place, xytext=(4, 8), textcoords="offset points", rotation=30, fontsize=7, bbox=box, zorder=9)

    def _write_receipts(self, axes: Axes, colours: dict[str, str]) -> None:
        axes.set_axis_off()
        height = 0.98
        for receipt in self._state.receipts:
            head = f"{receipt.shopper or receipt.session}   {receipt.total} {receipt.currency}   {receipt.status.name.lower()}"
            axes.text(0, height, head, fontsize=11, weight="bold", color=colours.get(receipt.session, "black"), va="top")
            for line in receipt.lines:
                height -= 0.055
                axes.text(0.02, height, f"{line.quantity} x {line.name[:34]}", fontsize=8, va="top")
                axes.text(1, height, f"{line.total}   {line.probability:.0%}", fontsize=8, va="top", ha="right")
            height -= 0.1
