"""How well a shelf event's weights fit to items: their sum to the mass, their spread over the plates to the place.

The sum of changes is compared with the items' mass under the scale's noise, the spread from piece to piece and the gain error of the
plates; a wide second component keeps one odd reading from excluding the truth. The pattern over the plates, scaled to the measured sum,
is compared with that of a load whose centre lies at a place along the shelf: plates share a load with their neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from aisle_contract.config import parameter
from aisle_contract.records import ShelfEvent
from aisle_store.store import Product

#: Places along a shelf that are tried, per plate width.
PLACES_PER_PLATE = 4
#: Spread of an item's load around its centre, in plate widths: a bottle stands on one plate, a bag lies over two.
_LOAD_SPREADS = (0.35, 0.7)


@dataclass(frozen=True)
class WeightConfig:
    """Parameters of ``ItemLikelihood``."""

    gain_deviation: float = parameter(0.038, "Gain error of the plates, one standard deviation", 0.0, 0.5)
    offset_deviation_kg: float = parameter(
        0.002, "Error of an event's weight beside the scale's noise, one standard deviation (kg)", 0.0, 1.0
    )
    outlier_share: float = parameter(0.1, "Share of events whose weight is off by several times more than that", 0.0, 0.9)
    outlier_scale: float = parameter(3.0, "How many times more", 1.0, 20.0)
    pattern_deviation: float = parameter(0.15, "Error of a plate's share of a load, as a share of the whole load", 0.01, 1.0)
    nothing_share: float = parameter(0.01, "Share of events that are no item at all (a hand pressed, the shelf was pushed)", 0.0, 0.5)
    nothing_scale_kg: float = parameter(0.05, "Mean absolute change of such events (kg)", 0.001, 5.0)


class ItemLikelihood:
    """Log-likelihoods for one shelf event. ``plates``: the shelf's plate ids from left to right.

    ``places`` float64 [L]: where a load's centre may be along the shelf, in plate widths (plate i spans i .. i + 1).
    """

    def __init__(self, event: ShelfEvent, plates: Sequence[str], config: WeightConfig) -> None:
        self._config = config
        columns = {plate: column for column, plate in enumerate(plates)}
        self.change = np.zeros(len(columns))
        self._deviation = np.full(len(columns), float(np.median(event.deviation)) if len(event.deviation) else 0.0)
        for plate, change, deviation in zip(event.plates, event.change, event.deviation, strict=True):
            self.change[columns[plate]] = change
            self._deviation[columns[plate]] = deviation
        self.total = float(np.sum(event.change))
        self.total_deviation = float(np.sqrt(np.sum(np.square(event.deviation))))
        self.size = float(np.abs(self.change).sum())
        count = len(columns)
        self.places = (np.arange(count * PLACES_PER_PLATE) + 0.5) / PLACES_PER_PLATE
        self.patterns = np.stack([_shares(self.places, spread, count) for spread in _LOAD_SPREADS])
        self.share = np.abs(self.change) / self.size if self.size > 0 else np.full(count, 1.0 / count)
        self.single = self._single_pattern()

    def weight(self, items: list[tuple[Product, int]]) -> float:
        """Log density (per kg) of the event's sum, if these items were put on (count > 0) or taken (count < 0) together."""
        config = self._config
        expected = sum(product.weight_kg * count for product, count in items)
        pieces = sum(abs(count) * product.weight_deviation_kg**2 for product, count in items)
        gain = sum((config.gain_deviation * product.weight_kg * count) ** 2 for product, count in items)
        deviation = np.sqrt(self.total_deviation**2 + pieces + gain + config.offset_deviation_kg**2)
        error = self.total - expected
        usual = (1 - config.outlier_share) * _normal(error, deviation)
        odd = config.outlier_share * _normal(error, deviation * config.outlier_scale)
        return float(np.log(usual + odd + 1e-300))

    def nothing(self) -> float:
        """Log density (per kg) of the event's sum, times the share of such events, if no item was moved."""
        scale = self._config.nothing_scale_kg
        # Half of what moved to and fro counts too: large changes that cancel are no accident.
        amount = max(abs(self.total), self.size / 2)
        return float(np.log(self._config.nothing_share / (2 * scale) + 1e-300) - amount / scale)

    def pair(self, masses: tuple[float, float], places: tuple[np.ndarray, np.ndarray]) -> float:
        """Log of the mean pattern likelihood of two loads (kg, signed), each somewhere among its ``places`` (indices into ``self.places``).

        0 is a perfect fit, on the scale of ``single``.
        """
        first, second = (self.patterns[:, index] for index in places)
        expected = masses[0] * first[:, :, None, :] + masses[1] * second[:, None, :, :]
        if masses[0] * masses[1] > 0:
            expected = expected * (self.total / (masses[0] + masses[1]))
        fit = self._pattern_fit(self.change - expected, sum(abs(mass) for mass in masses))
        return float(np.log(np.exp(fit).mean() + 1e-300))

    def _single_pattern(self) -> np.ndarray:
        """Likelihood [L] of the pattern for one load at each place, 1 for a perfect fit."""
        fit = self._pattern_fit(self.change - self.total * self.patterns, max(abs(self.total), 1e-6))
        return np.exp(fit).mean(axis=0) + 1e-12

    def _pattern_fit(self, residual: np.ndarray, mass: float) -> np.ndarray:
        variance = self._deviation**2 + (self._config.pattern_deviation * mass) ** 2
        # Student's t with four degrees of freedom: neighbours of a load now and then do what they like.
        return -2.5 * np.log1p(residual**2 / (4 * variance)).sum(axis=-1)


def _shares(places: np.ndarray, spread: float, plates: int) -> np.ndarray:
    """Shares [L, plates] of a load with a Gaussian footprint around each place (plate widths); the last plates carry what is beyond."""
    edges = np.arange(plates + 1, dtype=float)
    edges[0], edges[-1] = -np.inf, np.inf
    return np.diff(ndtr((edges[None, :] - places[:, None]) / spread), axis=1)


def _normal(error: float, deviation: float) -> float:
    return float(np.exp(-0.5 * (error / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi)))
