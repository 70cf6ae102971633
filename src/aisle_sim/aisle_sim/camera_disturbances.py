"""Troubles of cameras and person detectors beyond noise: outages, people who are overlooked for long, things taken for people, limbs given
to the wrong one of two, a calibration that is a little off, clocks that are not the same. Made up, fitted to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from aisle_sim.episodes import Episode, Episodes, on
from aisle_sim.profiles import CameraTroubles

_WRISTS_AND_ELBOWS = [7, 8, 9, 10]


class FrameTroubles:
    """One camera's, as time goes on."""

    def __init__(self, troubles: CameraTroubles, rng: np.random.Generator) -> None:
        self._troubles, self._rng = troubles, rng
        outages, ghosts, self._blind_stream = rng.spawn(3)
        self._outages = Episodes(outages, troubles.outage_rate_hz, 20.0, 40.0)
        self._ghosts = Episodes(ghosts, troubles.ghost_rate_hz, 2.0, 10.0)
        self._blind: dict[str, Episodes] = {}
        self._bias: dict[str, np.ndarray] = {}
        #: Where the image is against the calibration, px [2].
        self.offset_px = troubles.offset_px * rng.standard_normal(2)
        #: How far the camera's clock is ahead.
        self.clock_s = float(rng.uniform(0, 1)) * troubles.clock_offset_s

    def silent(self, times: np.ndarray) -> np.ndarray:
        """bool [T]: whether the camera gives nothing."""
        return on(self._outages.within(times[0], times[-1]), times)

    def overlooked(self, person: str, times: np.ndarray) -> np.ndarray:
        """bool [T]: whether the detector does not find a person who is in view."""
        if person not in self._blind:
            self._blind[person] = Episodes(self._blind_stream.spawn(1)[0], self._troubles.blind_rate_hz, 0.5, 3.0)
            self._bias[person] = self._blind_stream.standard_normal(2) * self._troubles.person_bias_share
        return on(self._blind[person].within(times[0], times[-1]), times)

    def bias(self, person: str) -> np.ndarray:
        """Lasting offset [2] of a person in the image, as a share of his height there; ask ``overlooked`` first."""
        return self._bias[person]

    def ghosts(self, times: np.ndarray) -> list[Episode]:
        """Things that are taken for people some time within ``times``."""
        return self._ghosts.within(times[0], times[-1])

    def forget(self, persons: Sequence[str]) -> None:
        """Keeps what belongs to ``persons`` alone."""
        self._blind = {person: self._blind[person] for person in persons if person in self._blind}
        self._bias = {person: self._bias[person] for person in persons if person in self._bias}

    def exchange_limbs(
        self, boxes: Sequence[np.ndarray], keypoints: Sequence[np.ndarray], overlap: Callable[[np.ndarray, np.ndarray], float]
    ) -> None:
        """Gives forearms [17, 3] of one person to another, both ways, where boxes overlap; changes ``keypoints``."""
        for i in range(len(boxes)):
            for j in range(i):
                if overlap(boxes[i], boxes[j]) > self._troubles.exchange_overlap and self._rng.random() < self._troubles.exchange_share:
                    kept = keypoints[i][_WRISTS_AND_ELBOWS].copy()
                    keypoints[i][_WRISTS_AND_ELBOWS] = keypoints[j][_WRISTS_AND_ELBOWS]
                    keypoints[j][_WRISTS_AND_ELBOWS] = kept
