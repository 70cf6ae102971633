"""How well a shelf event's weights fit to items: their sum to the mass, their spread over the plates to the place.

The sum of changes is compared with the items' mass under the scale's noise, the spread from piece to piece, the doubt about the product's
weight and the gain errors of the plates, which average out over the plates that share the load and become known with sales; a wide second
component keeps one odd reading from excluding the truth. The pattern over the plates, scaled to the measured sum, is compared with that
of a load whose centre lies at a place along the shelf: plates share a load with their neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.special import ndtr

import aisle_kernels
from aisle_contract.config import parameter
from aisle_contract.records import ShelfEvent
from aisle_store.store import ShelfKey, Store

#: Places along a shelf that are tried, per plate width.
PLACES_PER_PLATE = 4
#: Spread of an item's load around its centre, in plate widths: a bottle stands on one plate, a bag lies over two.
_LOAD_SPREADS = (0.35, 0.7)
#: Means of products and gains of plates are never thought better known than this: what errors they have in common stays unknown.
_LEAST_DOUBT, _LEAST_GAIN_DOUBT = 0.004, 0.008
#: Beside a plate that carries this share of a load patterns may be off by their whole deviation; far from it by this share of that.
_MUCH_OF_A_LOAD, _LEAST_REACH = 0.25, 0.1
#: A plate with less than the first of these shares of a load carries none of it: the shelf bends, and the plate errs. With the second it
#: carries all that it shows. The same for one that changes the other way, which is a move of its own if it is much.
_CARRIES, _OPPOSES = (0.02, 0.1), (0.06, 0.14)
#: Judgements less probable than this teach nothing: learning from a wrong guess would make it come true.
_SURE = 0.9
#: Nor do readings that are off by more standard deviations than this.
_ODD = 3.0
#: Share of strays that are taken from other plates than was thought.
_MOVED_SHARE = 0.2
#: What lies as it lay before is felt by each plate as before, but for this share of the load.
_SAME_PATTERN_DEVIATION = 0.02
#: A spread from piece to piece beyond this share of the weight is taken for doubt about the weight itself.
_LARGEST_PIECE_SPREAD = 0.06


@dataclass(frozen=True)
class WeightConfig:
    """Parameters of ``ItemLikelihood`` and ``ProductWeights``."""

    gain_deviation: float = parameter(0.035, "Gain error of one plate, one standard deviation, before sales tell of it", 0.0, 0.5)
    gain_sales: float = parameter(10.0, "That is as sure as so many sales make it", 0.1, 1e6)
    offset_deviation_kg: float = parameter(
        0.001, "Error of an event's weight beside the scale's noise, one standard deviation (kg)", 0.0, 1.0
    )
    catalogue_deviation: float = parameter(0.01, "Error of the catalogue's weights, as a share of them", 0.0, 1.0)
    outlier_share: float = parameter(0.005, "Share of events whose weight is off by several times more than that", 0.0, 0.9)
    outlier_scale: float = parameter(3.0, "How many times more", 1.0, 20.0)
    pattern_deviation: float = parameter(
        0.12, "Error of a plate's share of a load on it or beside it, as a share of the whole load", 0.01, 1.0
    )
    nothing_share: float = parameter(0.01, "Share of events that are no item at all (a hand pressed, the shelf was pushed)", 0.0, 0.5)
    nothing_scale_kg: float = parameter(0.02, "Mean absolute change of such events (kg)", 0.001, 5.0)


class ProductWeights:
    """What is known of each product's mean weight: the catalogue as a prior, made better by picks that are beyond doubt; and the ``gains``
    of the plates that weigh them.

    ``kg`` float64 [N] mean, ``variance`` float64 [N] kg^2 of that mean, ``piece_variance`` float64 [N] kg^2 from piece to piece, by
    ``index``. A product whose weight is not known has a large deviation in the catalogue: what exceeds 6 % is doubt about the mean.
    """

    def __init__(self, store: Store, config: WeightConfig) -> None:
        self.products = tuple(store.products)
        self.index = {product: number for number, product in enumerate(self.products)}
        self.kg = np.array([product.weight_kg for product in store.products.values()], dtype=float)
        deviation = np.array([product.weight_deviation_kg for product in store.products.values()], dtype=float)
        self.piece_variance = np.minimum(deviation, _LARGEST_PIECE_SPREAD * self.kg) ** 2
        self.variance = (config.catalogue_deviation * self.kg) ** 2 + deviation**2 - self.piece_variance
        self.gains = PlateGains(config.gain_deviation, config.gain_sales)

    def rows(self, products: Sequence[str]) -> np.ndarray:
        return np.array([self.index[product] for product in products], dtype=int)

    def expected(self, product: str) -> float:
        """Mean weight (kg) of one piece."""
        return float(self.kg[self.index[product]])

    def observe(self, product: str, kg: float, variance: float, probability: float) -> None:
        """Takes the weight of one piece as measured, with its error's variance (a Kalman update, less the less probable it is)."""
        row = self.index[product]
        error = variance + self.piece_variance[row]
        certainty = max(0.0, (probability - _SURE) / (1.0 - _SURE))
        if (kg - self.kg[row]) ** 2 > _ODD**2 * (error + self.variance[row]) or certainty == 0.0:
            return
        gain = certainty * self.variance[row] / (self.variance[row] + error)
        self.kg[row] += gain * (kg - self.kg[row])
        self.variance[row] = max((1.0 - gain) * self.variance[row], min(self.variance[row], (_LEAST_DOUBT * self.kg[row]) ** 2))


class PlateGains:
    """What is known of each plate's gain error: nothing but its spread at first; sales of goods of known weight tell it, and how far the
    plates of this store err at all.

    A load that several plates share tells of their gains together; what that leaves in common between two plates is not kept.
    """

    def __init__(self, deviation: float, sales: float) -> None:
        """``deviation``: of the gain errors, for all that is known before the first sale, which is as sure as so many ``sales`` make it."""
        self._variance = deviation**2
        self._sales = sales
        #: Means, and the share of the store's variance that is left of each plate's.
        self._known: dict[ShelfKey, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def deviation(self) -> float:
        """Spread of the gain errors of plates of which nothing is known."""
        return float(np.sqrt(self._variance))

    def of(self, shelf: ShelfKey, plates: int) -> tuple[np.ndarray, np.ndarray]:
        """Gain errors [plates] of a shelf's plates from left to right, as shares of a load, and their variances [plates]."""
        mean, share = self._known.get(shelf) or (np.zeros(plates), np.ones(plates))
        return mean, share * self._variance

    def observe(self, shelf: ShelfKey, share: np.ndarray, error: float, variance: float, probability: float) -> None:
        """Takes a load that lay on the plates by ``share`` [plates] and was weighed with the relative ``error``.

        ``variance``: of that error, what the gains have to do with it left out (a Kalman update, less the less ``probability`` it has).
        """
        mean, spread = self.of(shelf, len(share))
        innovation = error - float(share @ mean)
        by_gains = float(np.square(share) @ spread)
        total = variance + by_gains
        certainty = max(0.0, (probability - _SURE) / (1.0 - _SURE))
        if innovation**2 <= _ODD**2 * total and certainty > 0.0:
            step = certainty * spread * share / total
            least = np.minimum(spread, _LEAST_GAIN_DOUBT**2)
            self._known[shelf] = (mean + step * innovation, np.maximum(spread * (1.0 - step * share), least) / self._variance)
        # All that it may have been counts here, by its probability: what is beyond doubt errs less than the rest.
        self._learn_spread(min(innovation**2, _ODD**2 * total), variance, by_gains, probability)

    def _learn_spread(self, squared: float, variance: float, by_gains: float, probability: float) -> None:
        """A ``squared`` error of which ``variance`` was expected for other reasons and ``by_gains`` for the gains tells whether these err
        more or less than was thought (a mean of ratios, each weighted by the inverse of its variance)."""
        if by_gains <= 0.0:
            return
        weight = probability * (by_gains / (variance + by_gains)) ** 2
        ratio = (squared - variance) / by_gains
        self._sales += weight
        self._variance = max(self._variance * (1.0 + weight / self._sales * (ratio - 1.0)), _LEAST_GAIN_DOUBT**2)


class ItemLikelihood:
    """Log-likelihoods for one shelf event. ``plates``: the shelf's plate ids from left to right.

    ``places`` float64 [L]: where a load's centre may be along the shelf, in plate widths (plate i spans i .. i + 1).
    """

    def __init__(self, event: ShelfEvent, plates: Sequence[str], config: WeightConfig, weights: ProductWeights) -> None:
        self._config = config
        self._weights = weights
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
        self.patterns = load_patterns(count)
        self.share = np.abs(self.change) / self.size if self.size > 0 else np.full(count, 1.0 / count)
        counted = _counted(self.change, self.share)
        self._one_total = float(counted @ self.change)
        self._one_variance = float(np.square(counted) @ np.where(self.change != 0.0, np.square(self._deviation), 0.0))
        # Gain errors of plates are independent: the more of them share a load, the less its sum is off.
        self._shelf: ShelfKey = (event.gondola, event.shelf)
        gain, variance = weights.gains.of(self._shelf, count)
        self._gain = 1.0 + float(self.share @ gain)
        self._gain_variance = float(np.square(self.share) @ variance)
        self.single = self._single_pattern()

    def learn(self, product: str, pieces: int, probability: float) -> None:
        """Tells the weights that these pieces were moved, with that probability: from one residual the product's mean and the plates' gains
        each take their part."""
        weights = self._weights
        row = weights.index[product]
        expected, doubt, spread = weights.kg[row], weights.variance[row], weights.piece_variance[row]
        measured = abs(self._one_total) / pieces
        noise = (self._one_variance + self._config.offset_deviation_kg**2) / pieces**2
        weights.observe(product, measured / self._gain, noise + self._gain_variance * measured**2, probability)
        rest = (noise + spread / pieces + doubt) / expected**2
        weights.gains.observe(self._shelf, self.share, measured / expected - 1.0, rest, probability)

    def weight(self, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Log density (per kg) [...] of the event's sum, if items were put on (count > 0) or taken (count < 0) together.

        ``rows``, ``counts`` int [..., items]: rows of ``ProductWeights`` and the pieces of each.
        """
        masses, variances = self._loads(rows, counts)
        sums = masses.sum(axis=-1), np.square(masses).sum(axis=-1), variances.sum(axis=-1)
        return self._weight(*sums, self._one_total, self._one_variance)

    def pair_weights(self, rows: np.ndarray, counts: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """As ``weight`` [N], of pairs of moves: ``rows``, ``counts`` int [M] of the moves, ``first``, ``second`` int [N]: their numbers."""
        masses, variances = self._loads(rows, counts)
        sums = (values[first] + values[second] for values in (masses, np.square(masses), variances))
        return self._weight(*sums, self.total, self.total_deviation**2)

    def _loads(self, rows: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Signed masses (kg) of some pieces each, and what is not known of them as a variance (kg^2)."""
        weights = self._weights
        return weights.kg[rows] * counts, np.abs(counts) * weights.piece_variance[rows] + counts**2 * weights.variance[rows]

    def _weight(self, mass: np.ndarray, square: np.ndarray, variance: np.ndarray, total: float, scale_variance: float) -> np.ndarray:
        """As ``weight``, from the sums over all items of their masses (kg), of these squared, and of their variances (kg^2), against the
        ``total`` (kg) that was measured with the scale's ``scale_variance`` (kg^2)."""
        config = self._config
        noise = scale_variance + config.offset_deviation_kg**2
        deviation = np.sqrt(noise + variance + self._gain_variance * square)
        error = total - self._gain * mass
        usual = (1 - config.outlier_share) * _normal(error, deviation)
        odd = config.outlier_share * _normal(error, deviation * config.outlier_scale)
        return np.log(usual + odd + 1e-300)

    def again(self, kg: float) -> float:
        """Log density (per kg) of the event's sum, if a thing is taken that the same plates felt as ``kg`` when it was put there.

        It errs by the noise of both, but for one that was not quite where it was thought to be by the plates' gains.
        """
        there, moved = self._again(kg)
        return math.log((1 - _MOVED_SHARE) * there + _MOVED_SHARE * moved + 1e-300)

    def felt_again(self, kg: np.ndarray, near: float) -> float:
        """As ``again``, and times the likelihood of the pattern, if a thing is taken that each plate felt as ``kg`` [plates]: it lies as it
        lay then. If it was moved its pattern is as likely as ``near``, on the scale of ``single``."""
        there, moved = self._again(float(kg.sum()))
        return math.log((1 - _MOVED_SHARE) * there * self._same_pattern(kg) + _MOVED_SHARE * moved * near + 1e-300)

    def _again(self, kg: float) -> tuple[float, float]:
        """Densities (per kg) of the sum for a thing that the plates felt as ``kg``, where it lay then and somewhere beside it."""
        error = abs(self.total) - kg
        deviation = float(np.sqrt(2.0 * (self.total_deviation**2 + self._config.offset_deviation_kg**2)))
        elsewhere = float(np.hypot(deviation, np.sqrt(2.0) * self._weights.gains.deviation * kg))
        return float(_normal(np.array(error), deviation)), float(_normal(np.array(error), elsewhere))

    def _same_pattern(self, kg: np.ndarray) -> float:
        """Likelihood of the pattern on the scale of ``single``, if the plates feel again what they felt as ``kg`` [plates].

        A pattern that is known so exactly is the likelier for that, by the ratio of the deviations, where it is met; of as many plates as
        share the load one follows from their sum.
        """
        mass = abs(self.total)
        residual = self.change - self.total * kg / kg.sum()
        variance = 2.0 * self._deviation**2 + (_SAME_PATTERN_DEVIATION * mass) ** 2
        share = np.abs(kg) / np.abs(kg).sum()
        usual = self._deviation**2 + (self._config.pattern_deviation * mass * np.clip(share / _MUCH_OF_A_LOAD, _LEAST_REACH, 1.0)) ** 2
        sharper = np.maximum(0.5 * np.log(usual / variance), 0.0)
        known = float(sharper.sum() - sharper.max())
        return math.exp(float(_student(residual**2 / (4 * variance))) + known)

    def clear(self, deviations: float, least_kg: float) -> np.ndarray:
        """bool [plates]: which of them changed by so many of their deviations and by so much."""
        return np.abs(self.change) > np.maximum(deviations * self._deviation, least_kg)

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
        return float(self.pairs(np.array([masses], dtype=float), [places])[0])

    def pairs(self, masses: np.ndarray, places: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """As ``pair``, of each of N pairs: ``masses`` float64 [N, 2], ``places`` of the two loads of each; float64 [N]."""
        counts = np.array([(len(first), len(second)) for first, second in places])
        patterns, reach = _by_place(len(self.change))
        rows = counts[:, 0] * counts[:, 1]
        misfit = np.empty((int(rows.sum()), *patterns.shape[1:]))
        where = np.concatenate([place for both in places for place in both])
        aisle_kernels.pair_misfits(
            self.total,
            self._config.pattern_deviation,
            patterns.shape[1],
            self.change,
            self._deviation**2,
            patterns,
            reach,
            masses,
            counts,
            where,
            misfit,
        )
        fit = np.exp(_student(misfit)).reshape(-1)
        ends = np.cumsum(rows * patterns.shape[1]).tolist()
        sums = np.array([np.add.reduce(fit[start:end]) for start, end in pairwise([0, *ends])])
        return np.log(sums / (rows * patterns.shape[1]) + 1e-300)

    def _single_pattern(self) -> np.ndarray:
        """Likelihood [L] of the pattern for one load at each place, 1 for a perfect fit."""
        mass = max(abs(self.total), 1e-6)
        fit = self._pattern_fit(self.change - self.total * self.patterns, mass * load_reach(len(self.change)))
        return np.exp(fit).mean(axis=0) + 1e-12

    def _pattern_fit(self, residual: np.ndarray, near: np.ndarray) -> np.ndarray:
        """``residual`` kg [..., plates]; ``near`` kg [..., plates]: the loads on each plate and beside it."""
        variance = self._deviation**2 + (self._config.pattern_deviation * near) ** 2
        return _student(residual**2 / (4 * variance))


def _counted(change: np.ndarray, share: np.ndarray) -> np.ndarray:
    """By how much [plates] each plate's change counts in the weight of one load that lies on the plates by ``share`` [plates]."""
    with_the_load = change * change.sum() >= 0.0
    return np.where(with_the_load, np.interp(share, _CARRIES, (0.0, 1.0)), np.interp(share, _OPPOSES, (0.0, 1.0)))


@lru_cache(maxsize=64)
def load_patterns(plates: int) -> np.ndarray:
    """Shares [spreads, L, plates] of a load at each place of a shelf with so many plates."""
    places = (np.arange(plates * PLACES_PER_PLATE) + 0.5) / PLACES_PER_PLATE
    return np.stack([_shares(places, spread, plates) for spread in _LOAD_SPREADS])


@lru_cache(maxsize=64)
def load_reach(plates: int) -> np.ndarray:
    """How far [spreads, L, plates] each plate may be off for a load at each place, as a share of ``pattern_deviation``: all where it or a
    plate beside it carries much of the load, little elsewhere."""
    shares = np.pad(load_patterns(plates), ((0, 0), (0, 0), (1, 1)))
    near = np.maximum(np.maximum(shares[..., :-2], shares[..., 2:]), shares[..., 1:-1])
    return np.clip(near / _MUCH_OF_A_LOAD, _LEAST_REACH, 1.0)


@lru_cache(maxsize=64)
def _by_place(plates: int) -> tuple[np.ndarray, np.ndarray]:
    """Patterns and reach, [L, spreads, plates]."""
    return tuple(np.ascontiguousarray(array.transpose(1, 0, 2)) for array in (load_patterns(plates), load_reach(plates)))


def _shares(places: np.ndarray, spread: float, plates: int) -> np.ndarray:
    """Shares [L, plates] of a load with a Gaussian footprint around each place (plate widths); the last plates carry what is beyond."""
    edges = np.arange(plates + 1, dtype=float)
    edges[0], edges[-1] = -np.inf, np.inf
    return np.diff(ndtr((edges[None, :] - places[:, None]) / spread), axis=1)


def _student(misfit: np.ndarray) -> np.ndarray:
    """Log-likelihoods [...] of patterns by their squared residuals over four variances [..., plates]; changes those."""
    # Student's t with four degrees of freedom: neighbours of a load now and then do what they like.
    return -2.5 * np.log1p(misfit, out=misfit).sum(axis=-1)


def _normal(error: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * (error / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
