"""What the weighing shelves give while a session is played: loads that change, hands that press and lift, vibration, noise, drift.

The properties of each shelf are drawn from the measured ones (``scale_model``), so which shelf of a store shakes differs from seed to seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import signal

from aisle_contract.records import NANOSECONDS, ScaleReading
from aisle_sim.profiles import HandsProfile, ScaleProfile, SensorProfile
from aisle_sim.random_streams import random_stream
from aisle_sim.reenactment import PIECE_DELAY_S, Reach, Reenactment
from aisle_sim.scale_model import ScaleModel, ShelfCharacter
from aisle_store.store import PlateKey, Shelf, ShelfKey, Store

_STOCK_PIECES = (3, 8)
_OFFSET_KG = (-0.5, 2.0)
#: What shakes a shelf because somebody reaches into it shakes the others of its gondola by this share.
_FELT_NEXT_DOOR = 0.25
#: Footfalls of shoppers shake the store like small bursts: level of one, and metres between two.
_FOOTFALL_LEVEL = 0.7
_FOOTFALL_M = 0.7
#: How fast and how deeply (deviation of the logarithm) the steady vibration swells and ebbs.
_UNREST_S = 1.5
_UNREST_DEPTH = 0.7


@dataclass(frozen=True)
class Piece:
    """One thing with its own weight."""

    product: str
    weight_kg: float


@dataclass(frozen=True, eq=False)
class LoadChange:
    """One piece leaves or reaches a shelf. ``shares`` float64 [plates] of the shelf, in its order, sums to 1."""

    shelf: ShelfKey
    reach: Reach
    piece: Piece
    sign: int
    start_s: float
    shares: np.ndarray


@dataclass
class ShelfLoads:
    """What is carried over from one session to the next: the plates' readings without noise, kg, by shelf; None before the first."""

    readings: dict[ShelfKey, np.ndarray] = field(default_factory=dict)


def load_changes(store: Store, reenactment: Reenactment, profile: ScaleProfile, seed: int, session: str) -> list[LoadChange]:
    """Who moves which piece when: a piece keeps its weight while it is carried about and when it is taken again where it was put."""
    rng = random_stream(seed, "pieces", session)
    carried: dict[str, list[Piece]] = {}
    put: dict[tuple[ShelfKey, str], list[Piece]] = {}
    changes = []
    for reach in reenactment.reaches:
        shelf = store.shelf(*reach.plates[0][:2])
        for number, product in enumerate(reach.products):
            own, here = carried.setdefault(reach.person, []), put.setdefault((shelf.key, product), [])
            source, target = (here, own) if reach.action == "pick" else (own, here)
            piece = _take(source, product) or _new_piece(store, product, profile, rng)
            target.append(piece)
            start = reach.time_s + number * PIECE_DELAY_S
            shares = plate_shares(shelf, reach.plates, rng)
            changes.append(LoadChange(shelf.key, reach, piece, -1 if reach.action == "pick" else 1, start, shares))
    return changes


def _take(pieces: list[Piece], product: str) -> Piece | None:
    for i in range(len(pieces) - 1, -1, -1):
        if pieces[i].product == product:
            return pieces.pop(i)
    return None


def _new_piece(store: Store, product: str, profile: ScaleProfile, rng: np.random.Generator) -> Piece:
    article = store.products[product]
    weight = article.weight_kg + profile.weight_spread_factor * article.weight_deviation_kg * np.clip(rng.standard_normal(), -3, 3)
    return Piece(product, float(max(weight, 0.3 * article.weight_kg)))


def plate_shares(shelf: Shelf, plates: Sequence[PlateKey], rng: np.random.Generator) -> np.ndarray:
    """Shares [plates of the shelf] in which a thing at ``plates`` loads them: it has a width and does not stand centred."""
    ordered = list(shelf.plates.values())
    centres = _along_shelf(shelf)
    widths = np.array([plate.width for plate in ordered])
    named = [list(shelf.plates).index(plate) for _, _, plate in plates]
    middle, span = centres[named].mean(), np.ptp(centres[named]) + widths[named].mean()
    if span > 1.6 * widths[named].sum():
        # Plates far apart cannot hold one thing: it stands on the first of them.
        named, middle, span = named[:1], centres[named[0]], widths[named[0]]
    several = len(named) > 1
    extent = span * rng.uniform(0.65, 0.95 if several else 0.85)
    middle += widths[named].mean() * (np.clip(rng.normal(0, 0.2), -0.45, 0.45) if several else np.clip(rng.normal(0, 0.05), -0.1, 0.1))
    low, high = np.maximum(centres - widths / 2, middle - extent / 2), np.minimum(centres + widths / 2, middle + extent / 2)
    shares = np.maximum(high - low, 0.0)
    return shares / shares.sum()


def _along_shelf(shelf: Shelf) -> np.ndarray:
    """Where the middles of a shelf's plates are along it, m [plates]."""
    to_shelf = np.linalg.inv(shelf.pose)
    return np.array([(to_shelf @ np.append(plate.centre, 1))[0] for plate in shelf.plates.values()])


def scale_records(
    store: Store,
    reenactment: Reenactment,
    profile: SensorProfile,
    model: ScaleModel,
    seed: int,
    session: str,
    start_ns: int,
    loads: ShelfLoads | None = None,
) -> list[ScaleReading]:
    """Readings of all shelves over the whole session, shelf by shelf in order of time. ``loads`` is continued and updated."""
    changes = load_changes(store, reenactment, profile.scales, seed, session)
    characters = _characters(store, model, seed)
    vibration = random_stream(seed, "vibration", session)
    bursts = _store_bursts(model, profile.scales, reenactment.duration_s, vibration)
    bursts += _footfalls(reenactment, profile.scales, vibration)
    loads = ShelfLoads() if loads is None else loads
    records: list[ScaleReading] = []
    for shelf in store.shelves():
        if shelf.plates:
            simulation = _ShelfSimulation(store, shelf, profile, model, characters[shelf.key], seed, session)
            records.extend(simulation.run(reenactment, changes, bursts, start_ns, loads))
    return records


def _characters(store: Store, model: ScaleModel, seed: int) -> dict[ShelfKey, ShelfCharacter]:
    """A measured character for each shelf: all are used before one is used again."""
    rng = random_stream(seed, "shelf characters")
    keys = [shelf.key for shelf in store.shelves()]
    rounds = -(-len(keys) // len(model.shelves))
    order = np.concatenate([rng.permutation(len(model.shelves)) for _ in range(max(rounds, 1))])
    return {key: model.shelves[int(i)] for key, i in zip(keys, order, strict=False)}


def _store_bursts(model: ScaleModel, profile: ScaleProfile, duration_s: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """(time s, level) of knocks and steps that all shelves feel."""
    count = rng.poisson(model.burst_rate_hz * duration_s)
    times = np.sort(rng.uniform(0, duration_s, count))
    levels = model.burst_level_median * np.exp(rng.normal(0, model.burst_level_log_deviation, count))
    return [(float(t), float(profile.vibration_factor * level)) for t, level in zip(times, levels, strict=True)]


def _footfalls(reenactment: Reenactment, profile: ScaleProfile, rng: np.random.Generator) -> list[tuple[float, float]]:
    """(time s, level) of the steps of all shoppers."""
    bursts = []
    for shopper in reenactment.shoppers:
        times = np.arange(shopper.first_s, shopper.last_s, 0.05)
        walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(shopper.position(times), axis=0), axis=1))])
        for at in np.flatnonzero(np.diff(walked // _FOOTFALL_M) > 0):
            bursts.append((float(times[at]), float(profile.vibration_factor * _FOOTFALL_LEVEL * rng.lognormal(0, 0.5))))
    return bursts


def _correlated(rng: np.random.Generator, samples: int, plates: int, shared: float) -> np.ndarray:
    """Unit noise [samples, plates] with the same correlation between any two plates."""
    return np.sqrt(shared) * rng.standard_normal((samples, 1)) + np.sqrt(1 - shared) * rng.standard_normal((samples, plates))


def _side_by_side(shelf: Shelf) -> np.ndarray:
    """[plates, plates]: 1 where two plates touch, else 0."""
    middles = _along_shelf(shelf)
    widths = np.array([plate.width for plate in shelf.plates.values()])
    apart = np.abs(middles[:, None] - middles)
    touching = apart < 0.75 * (widths[:, None] + widths)
    return (touching & ~np.eye(len(middles), dtype=bool)).astype(float)


class _ShelfSimulation:
    """One shelf through one session."""

    def __init__(
        self, store: Store, shelf: Shelf, profile: SensorProfile, model: ScaleModel, character: ShelfCharacter, seed: int, session: str
    ) -> None:
        self.store, self.shelf, self.profile, self.model, self.character = store, shelf, profile.scales, model, character
        self.hands: HandsProfile = profile.hands
        self.plates = list(shelf.plates)
        # Properties that stay with a shelf come from a stream without the session's name.
        self.fixed = random_stream(seed, "shelf", *shelf.key)
        self.rng = random_stream(seed, "shelf in session", *shelf.key, session)
        self.stream = {name: random_stream(seed, name, *shelf.key, session) for name in ("noise", "missing", "hands", "clock")}
        count = len(self.plates)
        spread = self.profile.spread_factor
        gains = 1 + spread * np.clip(self.fixed.normal(0, model.gain_deviation, count), -0.1, 0.1)
        #: 1 for plates side by side.
        self.neighbours = _side_by_side(shelf)
        crosstalk = self.neighbours * np.clip(self.fixed.normal(0, model.crosstalk_deviation, (count, count)), -0.06, 0.06)
        #: What the plates read of loads on them.
        self.mixing = np.diag(gains) + spread * crosstalk
        self.plate_noise = np.exp(self.fixed.normal(0, character.plate_spread, count))
        self.start_offset_s = float(self.fixed.uniform(0, model.shelf_start_spread_s))
        self.stock_kg = self._stock()

    def run(
        self,
        reenactment: Reenactment,
        changes: Sequence[LoadChange],
        bursts: Sequence[tuple[float, float]],
        start_ns: int,
        loads: ShelfLoads,
    ) -> list[ScaleReading]:
        own = [change for change in changes if change.shelf == self.shelf.key]
        batches = int((reenactment.duration_s - self.start_offset_s) * self.model.sample_rate_hz) // self.model.batch_samples
        times = self.start_offset_s + np.arange(batches * self.model.batch_samples) / self.model.sample_rate_hz
        weights = self._loads(times, own, loads)
        weights += self._hand_forces(times, own)
        weights += self._noise(times, [*bursts, *self._touch_bursts(reenactment)])
        weights = self._quantised(weights)
        self._lose(weights)
        return self._batches(times, weights, start_ns)

    def _touch_bursts(self, reenactment: Reenactment) -> list[tuple[float, float]]:
        """(time s, level) of vibration where hands reach into this shelf or another of its gondola."""
        bursts = []
        for reach in reenactment.reaches:
            gondola, shelf, _ = reach.plates[0]
            if gondola == self.shelf.gondola and reach.products:
                level = self.model.touch_level * self.stream["hands"].lognormal(-0.2, 0.5) * self.profile.vibration_factor
                bursts.append((reach.time_s, level if shelf == self.shelf.shelf else _FELT_NEXT_DOOR * level))
        return bursts

    def _stock(self) -> np.ndarray:
        pieces = self.fixed.integers(_STOCK_PIECES[0], _STOCK_PIECES[1] + 1, len(self.plates))
        stock = np.zeros(len(self.plates))
        for i, plate in enumerate(self.plates):
            standing = [self.store.products[p] for p in self.store.planogram.get((*self.shelf.key, plate), ()) if p in self.store.products]
            if standing:
                stock[i] = pieces[i] * np.mean([product.weight_kg for product in standing])
        return stock + self.fixed.uniform(*_OFFSET_KG, len(self.plates))

    def _loads(self, times: np.ndarray, changes: Sequence[LoadChange], carried: ShelfLoads) -> np.ndarray:
        """Readings [T, plates] from what lies on the plates, with drift; continues where the last session ended."""
        start = carried.readings.get(self.shelf.key, self.stock_kg)
        weights = np.tile(start, (len(times), 1))
        final = start.copy()
        for change in changes:
            step = self.mixing @ (change.sign * change.piece.weight_kg * change.shares)
            weights += self._course(times, change)[:, None] * step + self._after_swing(times, change, step)
            final += step
        steps = (
            self.rng.standard_normal((len(times), len(self.plates))) * self.model.drift_kg_per_sqrt_s / np.sqrt(self.model.sample_rate_hz)
        )
        drift = self.profile.drift_factor * np.cumsum(steps, axis=0)
        if len(drift):
            final += drift[-1]
        carried.readings[self.shelf.key] = final
        return weights + drift

    def _course(self, times: np.ndarray, change: LoadChange) -> np.ndarray:
        """Share [T] of the load that has moved: 0 before, 1 after."""
        lift = change.reach.lift_s
        share = np.clip((times - change.start_s) / lift, 0, 1)
        if lift < 0.6:
            return share * share * (3 - 2 * share)
        # A slow lift is uneven: the hand takes the load over in pulls.
        phase = self.rng.uniform(0, 2 * np.pi)
        return np.clip(share + 0.08 * np.sin(5 * np.pi * share + phase) * np.sin(np.pi * share), 0, 1)

    def _after_swing(self, times: np.ndarray, change: LoadChange, step: np.ndarray) -> np.ndarray:
        """Ringing and slow settling [T, plates] of all plates of the shelf after the load has moved."""
        since = times - change.start_s - change.reach.lift_s
        moved = since > 0
        since = np.maximum(since, 0.0)[:, None]
        count = len(self.plates)
        # A slow lift lets the shelf go gently.
        ringing = self.model.ringing_share * self.rng.uniform(0.5, 1.2) / (1 + 3 * change.reach.lift_s)
        amplitudes = ringing * (np.abs(step) + 0.05 * change.piece.weight_kg * self.rng.standard_normal(count))
        tone = np.sin(2 * np.pi * self._ringing_hz() * since + self.rng.normal(0, 0.5, count))
        slow = self.rng.normal(0, self.model.settling_share, count) * change.piece.weight_kg
        swing = amplitudes * np.exp(-since / self.model.ringing_s) * tone + slow * np.exp(-since / self.model.settling_s)
        return self.profile.settling_factor * swing * moved[:, None]

    def _ringing_hz(self) -> float:
        """The shelf's own frequency from its recursion's poles."""
        roots = np.roots([1, -self.character.ar1, -self.character.ar2])
        angle = float(np.abs(np.angle(roots[0])))
        return float(np.clip(angle / (2 * np.pi) * self.model.sample_rate_hz, 6.0, 25.0))

    def _hand_forces(self, times: np.ndarray, changes: Sequence[LoadChange]) -> np.ndarray:
        """Forces [T, plates] of hands that touch, press and lift while they take or put, or rest on the plates before."""
        rng = self.stream["hands"]
        forces = np.zeros((len(times), len(self.plates)))
        rested: set[int] = set()
        for change in changes:
            reach = change.reach
            blurred = 0.6 * change.shares + 0.2 * self.neighbours @ change.shares
            strength = self.model.touch_force_kg + self.model.touch_force_per_load * change.piece.weight_kg
            strength *= self.profile.hand_force_factor * rng.lognormal(-0.3, 0.5)
            forces += self._touch(times, change.start_s, reach.lift_s, strength, blurred, change.sign, rng)
            if reach.hold_s > 0 and id(reach) not in rested:
                rested.add(id(reach))
                forces += self._rest(times, reach, blurred, rng)
        return forces

    def _touch(self, times, start_s, lift_s, strength, shares, sign, rng) -> np.ndarray:
        """Pushes and pulls of a few tens of milliseconds around the change of load, different on each plate."""
        force = np.zeros((len(times), len(shares)))
        # Before a pick the hand presses; something put down lands with a thump and is pushed home.
        first, last = (start_s - self.model.touch_s, start_s + lift_s) if sign < 0 else (start_s, start_s + lift_s + self.model.touch_s)
        for _ in range(rng.integers(5, 12)):
            centre, width = rng.uniform(first, last), rng.uniform(0.006, 0.03)
            amplitude = strength * rng.normal(0.1, 0.55, len(shares)) * np.sqrt(shares / shares.max())
            near = np.abs(times - centre) < 5 * width
            force[near] += np.exp(-0.5 * ((times[near] - centre) / width) ** 2)[:, None] * amplitude
        return force

    def _rest(self, times, reach: Reach, shares, rng) -> np.ndarray:
        """A hand that lies on the plates from its arrival until the goods move, never quite still."""
        load = self.hands.held_force_kg * rng.lognormal(0, 0.5) * self.profile.hand_force_factor
        on = (times >= reach.start_s) & (times <= reach.time_s)
        count = np.count_nonzero(on)
        force = np.zeros((len(times), len(shares)))
        if count:
            since = times[on] - reach.start_s
            edge = np.clip(np.minimum(since, reach.time_s - times[on]) / 0.15, 0, 1)
            wobble = signal.lfilter([0.02], [1, -0.98], rng.standard_normal(count)) * 2.5
            tremor = 0.02 * np.sin(2 * np.pi * 8.5 * since + rng.uniform(0, 6))
            force[on] = (load * edge * (1 + 0.25 * wobble + tremor))[:, None] * shares
        return force

    def _noise(self, times: np.ndarray, bursts: Sequence[tuple[float, float]]) -> np.ndarray:
        """White noise, the store's hum, and vibration that bursts excite and the shelf colours [T, plates]."""
        rng, character = self.stream["noise"], self.character
        count = len(self.plates)
        white = _correlated(rng, len(times), count, character.noise_shared) * character.noise_kg * self.plate_noise
        phases = self.fixed.uniform(0, 2 * np.pi) + self.fixed.normal(0, 0.6, count)
        hum = character.hum_kg * np.cos(2 * np.pi * self.model.hum_hz * times[:, None] + phases) * self.plate_noise
        excitation = self.model.steady_excitation * self._unrest(len(times), rng)
        for start, level in bursts:
            since = times - start
            excitation += np.where(since >= 0, level**2 * np.exp(-2 * np.maximum(since, 0) / self.model.burst_decay_s), 0.0)
        driven = _correlated(rng, len(times), count, character.shared) * np.sqrt(excitation)[:, None] * self._innovation()
        shaking = signal.lfilter([1.0], [1.0, -character.ar1, -character.ar2], driven, axis=0) * character.vibration_kg * self.plate_noise
        return self.profile.noise_factor * (white + hum) + shaking

    def _unrest(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Power [T] of what always shakes a shop a little, of mean 1, which swells and ebbs within seconds."""
        memory = np.exp(-1 / (_UNREST_S * self.model.sample_rate_hz))
        slow = signal.lfilter([np.sqrt(1 - memory**2)], [1, -memory], rng.standard_normal(count))
        return self.profile.vibration_factor**2 * np.exp(_UNREST_DEPTH * slow - _UNREST_DEPTH**2 / 2)

    def _innovation(self) -> float:
        """Deviation of the recursion's input that gives it unit deviation."""
        a1, a2 = self.character.ar1, self.character.ar2
        return float(np.sqrt((1 + a2) * ((1 - a2) ** 2 - a1**2) / (1 - a2)))

    def _quantised(self, weights: np.ndarray) -> np.ndarray:
        if not self.profile.quantisation:
            return weights
        return np.round(weights / self.model.quantisation_kg) * self.model.quantisation_kg

    def _lose(self, weights: np.ndarray) -> None:
        rng, batch = self.stream["missing"], self.model.batch_samples
        weights[rng.random(weights.shape) < self.profile.missing_sample_share] = np.nan
        lost = rng.random((len(weights) // batch, weights.shape[1])) < self.profile.missing_batch_share
        weights[np.repeat(lost, batch, axis=0)] = np.nan

    def _batches(self, times: np.ndarray, weights: np.ndarray, start_ns: int) -> list[ScaleReading]:
        batch = self.model.batch_samples
        period = round(NANOSECONDS / self.model.sample_rate_hz)
        stamps = start_ns + np.round(times[::batch] * NANOSECONDS).astype(np.int64)
        if self.profile.clock_jitter:
            jitter = np.clip(self.stream["clock"].normal(0, self.model.batch_jitter_s, len(stamps)), -0.006, 0.006)
            stamps = stamps + np.round(np.abs(jitter) * NANOSECONDS).astype(np.int64)
        plates = tuple(self.plates)
        values = weights.astype(np.float32).reshape(-1, batch, len(plates))
        return [ScaleReading(int(s), self.shelf.gondola, self.shelf.shelf, period, plates, v) for s, v in zip(stamps, values, strict=True)]
