"""A store from above in characters: gondolas, gates, people and where something was just taken."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from rich.text import Text

from aisle_contract.records import ShelfEvent, Track
from aisle_store.store import Store

#: A character cell is about twice as high as wide.
CELL_ASPECT = 2.0
MARGIN_M = 0.12
PEOPLE_STYLES = ("bold black on bright_cyan", "bold black on bright_yellow", "bold black on bright_magenta", "bold black on bright_green")


class FloorSketch:
    """Draws into the largest grid of at most ``columns`` x ``rows`` cells that shows the store undistorted (x to the right, y up)."""

    def __init__(self, store: Store, columns: int, rows: int) -> None:
        self._store = store
        outline = [store.floor, *(plate.corners[:, :2] for plate in store.plates()), *(gate.ends for gate in store.gates.values())]
        points = np.concatenate(outline)
        self._low = points.min(axis=0) - MARGIN_M
        extent = points.max(axis=0) + MARGIN_M - self._low
        columns_per_m = min(columns / extent[0], rows * CELL_ASPECT / extent[1])
        self.columns = max(3, round(columns_per_m * extent[0]))
        self.rows = max(3, round(columns_per_m * extent[1] / CELL_ASPECT))
        self._scale = np.array([self.columns, self.rows]) / extent
        self._furniture = self._draw_furniture()

    def draw(self, tracks: Iterable[Track], events: Iterable[ShelfEvent], people: dict[str, int]) -> Text:
        """The sketch as text. ``people`` numbers the persons by track id; events are marked at the plates that changed."""
        cells = dict(self._furniture)
        for event in events:
            for plate in event.plates:
                column, row = self._cell(self._store.plate(event.gondola, event.shelf, plate).front[:2])
                cells[column, row] = ("▼" if event.change.sum() < 0 else "▲", "bold bright_red")
        for track in tracks:
            style = PEOPLE_STYLES[people[track.track] % len(PEOPLE_STYLES)]
            for wrist in (track.left_wrist, track.right_wrist):
                if wrist is not None:
                    cells[self._cell(wrist.position[:2])] = ("✱", style.rpartition(" ")[2])
            cells[self._cell(track.position)] = (str((people[track.track] + 1) % 10), style)
        return self._text(cells)

    def _draw_furniture(self) -> dict[tuple[int, int], tuple[str, str]]:
        cells: dict[tuple[int, int], tuple[str, str]] = {}
        for plate in self._store.plates():
            low, high = plate.corners[:, :2].min(axis=0), plate.corners[:, :2].max(axis=0)
            for x in np.arange(low[0], high[0], 0.5 / self._scale[0]):
                for y in np.arange(low[1], high[1], 0.5 / self._scale[1]):
                    cells[self._cell(np.array([x, y]))] = ("░", "grey50")
        for gate in self._store.gates.values():
            for share in np.linspace(0, 1, 2 * self.columns):
                cells[self._cell(gate.ends[0] + share * (gate.ends[1] - gate.ends[0]))] = ("═", "green")
        return cells

    def _cell(self, point: np.ndarray) -> tuple[int, int]:
        column, row = ((point - self._low) * self._scale).astype(int)
        return int(np.clip(column, 0, self.columns - 1)), self.rows - 1 - int(np.clip(row, 0, self.rows - 1))

    def _text(self, cells: dict[tuple[int, int], tuple[str, str]]) -> Text:
        text = Text(no_wrap=True)
        for row in range(self.rows):
            for column in range(self.columns):
                text.append(*cells.get((column, row), (" ", "")))
            text.append("\n" if row < self.rows - 1 else "")
        return text
