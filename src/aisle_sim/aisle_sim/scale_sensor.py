"""What the weighing shelves give over time: loads that change, hands that press and lift, vibration, noise, drift.

The properties of each shelf are drawn from the measured ones (``scale_model``), so which shelf of a store shakes differs from seed to seed.
Time goes on window by window, in bounded memory; a labelled session is one window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import signal

from aisle_contract.records import NANOSECONDS, ScaleReading
from aisle_sim.contact_forces import ContactForces
from aisle_sim.profiles import ScaleProfile, ScaleTroubles, SensorProfile
from aisle_sim.random_streams import random_stream
from aisle_sim.reenactment import Reenactment, ShopperMotion
from aisle_sim.scale_disturbances import ShelfTroubles
from aisle_sim.scale_model import ScaleModel, ShelfCharacter
from aisle_sim.shelf_contacts import ShelfContact, session_contacts, side_by_side
from aisle_store.store import Shelf, ShelfKey, Store

_STOCK_PIECES = (3, 8)
_OFFSET_KG = (-0.5, 2.0)
#: What shakes a shelf because somebody reaches into it shakes the others of its gondola by this share.
_FELT_NEXT_DOOR = 0.25
#: Footfalls of shoppers shake the store like small bursts: level of one, and metres between two.
_FOOTFALL_LEVEL = 0.7
_FOOTFALL_M = 0.7
#: Steps are felt alike up to this far, and beyond it less, as waves on a floor do that spread in a plane.
_FELT_ALIKE_M = 5.0
#: How fast and how deeply (deviation of the logarithm) the steady vibration swells and ebbs.
_UNREST_S = 1.5
_UNREST_DEPTH = 0.7


@dataclass(frozen=True, slots=True)
class Knock:
    """Something shakes the floor: ``level`` in units of the store's steady excitation; ``place`` [2] m, None = everywhere alike."""

    time_s: float
    level: float
    place: tuple[float, float] | None = None


@dataclass
class ShelfLoads:
    """What is carried over from one session to the next, by shelf: the plates' readings without noise, kg, and their troubles, which go
    on: a shelf does not spread its loads in another way, nor is it warm at once, because somebody new comes. Empty before the first."""

    readings: dict[ShelfKey, np.ndarray] = field(default_factory=dict)
    troubles: dict[ShelfKey, ShelfTroubles] = field(default_factory=dict)


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
    """Readings of all shelves over a whole session, shelf by shelf in order of time. ``loads`` is continued and updated."""
    loads = ShelfLoads() if loads is None else loads
    vibration = random_stream(seed, "vibration", session)
    knocks = store_knocks(model, profile.scales, 0.0, reenactment.duration_s, vibration)
    for shopper in reenactment.shoppers:
        knocks += footfalls(shopper, profile.scales, vibration)
    sensor = ScaleSensor(store, profile, model, seed, session, start_ns, loads.readings, loads.troubles)
    records = sensor.advance(reenactment.duration_s, session_contacts(store, reenactment, profile.scales, seed, session), knocks)
    loads.readings.update(sensor.readings())
    loads.troubles.update(sensor.troubles())
    return records


def store_knocks(model: ScaleModel, profile: ScaleProfile, from_s: float, until_s: float, rng: np.random.Generator) -> list[Knock]:
    """Knocks and steps that all shelves feel."""
    count = rng.poisson(model.burst_rate_hz * (until_s - from_s))
    times = np.sort(rng.uniform(from_s, until_s, count))
    levels = model.burst_level_median * np.exp(rng.normal(0, model.burst_level_log_deviation, count))
    return [Knock(float(t), float(profile.vibration_factor * level)) for t, level in zip(times, levels, strict=True)]


def footfalls(shopper: ShopperMotion, profile: ScaleProfile, rng: np.random.Generator) -> list[Knock]:
    """The steps of one person."""
    times = np.arange(shopper.first_s, shopper.last_s, 0.05)
    places = shopper.position(times)
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1))])
    at = np.flatnonzero(np.diff(walked // _FOOTFALL_M) > 0)
    levels = profile.vibration_factor * _FOOTFALL_LEVEL * rng.lognormal(0, 0.5, len(at))
    return [Knock(float(times[i]), float(level), (float(places[i, 0]), float(places[i, 1]))) for i, level in zip(at, levels, strict=True)]


def _characters(store: Store, model: ScaleModel, seed: int) -> dict[ShelfKey, ShelfCharacter]:
    """A measured character for each shelf: all are used before one is used again."""
    rng = random_stream(seed, "shelf characters")
    keys = [shelf.key for shelf in store.shelves()]
    rounds = -(-len(keys) // len(model.shelves))
    order = np.concatenate([rng.permutation(len(model.shelves)) for _ in range(max(rounds, 1))])
    return {key: model.shelves[int(i)] for key, i in zip(keys, order, strict=False)}


class ScaleSensor:
    """All shelves of a store from ``start_ns`` on. ``stock_kg`` by shelf: what the plates read then; drawn for shelves not in it.
    ``troubles`` by shelf: those that go on from before; those of other shelves begin."""

    def __init__(
        self,
        store: Store,
        profile: SensorProfile,
        model: ScaleModel,
        seed: int,
        session: str,
        start_ns: int,
        stock_kg: Mapping[ShelfKey, np.ndarray] | None = None,
        troubles: Mapping[ShelfKey, ShelfTroubles] | None = None,
    ) -> None:
        characters, stock_kg, troubles = _characters(store, model, seed), stock_kg or {}, troubles or {}
        self._shelves = []
        for shelf in store.shelves():
            if shelf.plates:
                before = stock_kg.get(shelf.key), troubles.get(shelf.key)
                self._shelves.append(_SimulatedShelf(store, shelf, profile, model, characters[shelf.key], seed, session, start_ns, *before))

    def advance(self, until_s: float, contacts: Sequence[ShelfContact], knocks: Sequence[Knock]) -> list[ScaleReading]:
        """Whole batches up to ``until_s``, shelf by shelf in order of time. ``contacts`` and ``knocks`` are those since the last call.

        What begins after ``until_s`` may be given too; it is kept.
        """
        ordered = sorted(contacts, key=lambda contact: (contact.begin_s, contact.reach.person))
        records: list[ScaleReading] = []
        for shelf in self._shelves:
            records.extend(shelf.advance(until_s, ordered, knocks))
        return records

    def readings(self) -> dict[ShelfKey, np.ndarray]:
        """What the plates read without noise once all that was begun has settled, kg [plates] by shelf."""
        return {shelf.key: shelf.reading() for shelf in self._shelves}

    def troubles(self) -> dict[ShelfKey, ShelfTroubles]:
        """Those of shelves that have any."""
        return {shelf.key: shelf.troubles for shelf in self._shelves if shelf.troubles is not None}


class _SimulatedShelf:
    """One shelf."""

    def __init__(
        self,
        store: Store,
        shelf: Shelf,
        profile: SensorProfile,
        model: ScaleModel,
        character: ShelfCharacter,
        seed: int,
        session: str,
        start_ns: int,
        stock_kg: np.ndarray | None,
        troubles: ShelfTroubles | None,
    ) -> None:
        self.key = shelf.key
        self._shelf, self._profile, self._model, self._character, self._start_ns = shelf, profile.scales, model, character, start_ns
        self._hands = profile.hands
        count = len(shelf.plates)
        # Properties that stay with a shelf come from a stream without the session's name.
        fixed = random_stream(seed, "shelf", *shelf.key)
        self._streams = {
            name: random_stream(seed, name, *shelf.key, session) for name in ("noise", "drift", "contacts", "touches", "missing", "clock")
        }
        spread = self._profile.spread_factor
        gains = 1 + spread * np.clip(fixed.normal(0, model.gain_deviation, count), -0.1, 0.1)
        self._neighbours = side_by_side(shelf)
        crosstalk = self._neighbours * np.clip(fixed.normal(0, model.crosstalk_deviation, (count, count)), -0.06, 0.06)
        self._mixing = np.diag(gains) + spread * crosstalk
        self._plate_noise = np.exp(fixed.normal(0, character.plate_spread, count))
        self._start_offset_s = float(fixed.uniform(0, model.shelf_start_spread_s))
        stock = _stock(store, shelf, fixed)
        self._base_kg = stock if stock_kg is None else np.asarray(stock_kg, dtype=float).copy()
        self._hum_phases = fixed.uniform(0, 2 * np.pi) + fixed.normal(0, 0.6, count)
        self._centre = np.mean([plate.centre[:2] for plate in shelf.plates.values()], axis=0)
        self.troubles = troubles
        if troubles is None and profile.scale_troubles != ScaleTroubles():
            stream = random_stream(seed, "troubles", *shelf.key, session)
            self.troubles = ShelfTroubles(profile.scale_troubles, count, model.sample_rate_hz, stream)
        #: For how long they have gone on.
        self._troubled_s = 0.0 if self.troubles is None else self.troubles.until_s
        self._samples = 0
        self._drift_kg = np.zeros(count)
        self._forces: list[ContactForces] = []
        self._impulses: list[tuple[float, float]] = []
        self._excited = np.zeros(1)
        self._unrest_memory = np.zeros(1)
        self._shaking_memory = np.zeros((2, count))

    def advance(self, until_s: float, contacts: Iterable[ShelfContact], knocks: Sequence[Knock]) -> list[ScaleReading]:
        self._feel(contacts, knocks)
        batch, rate = self._model.batch_samples, self._model.sample_rate_hz
        until = max(int((until_s - self._start_offset_s) * rate) // batch * batch, self._samples)
        times = self._start_offset_s + np.arange(self._samples, until) / rate
        self._samples = until
        if not len(times):
            return []
        loads = self._loads(times)
        if self.troubles is None:
            weights = self._quantised(loads + self._noise(times))
        else:
            troubled = self._troubled_s + times
            weights = self._quantised(self.troubles.loads(loads) + self._noise(times) + self.troubles.noise(troubled))
            self.troubles.break_down(troubled, weights)
        self._lose(weights)
        return self._batches(times, weights)

    def reading(self) -> np.ndarray:
        return self._base_kg + self._drift_kg + sum((forces.step for forces in self._forces), np.zeros(len(self._base_kg)))

    def _feel(self, contacts: Iterable[ShelfContact], knocks: Sequence[Knock]) -> None:
        """Takes what happens at this shelf, and what shakes it."""
        rng = self._streams["touches"]
        for contact in contacts:
            if contact.shelf[0] != self.key[0]:
                continue
            level = self._model.touch_level * rng.lognormal(-0.2, 0.5) * self._profile.vibration_factor
            own = contact.shelf == self.key
            self._impulses.append((contact.reach.time_s, (level if own else _FELT_NEXT_DOOR * level) ** 2))
            if own:
                forces = ContactForces(
                    contact,
                    self._mixing,
                    self._neighbours,
                    self._ringing_hz(),
                    self._model,
                    self._profile,
                    self._hands,
                    self._streams["contacts"],
                )
                self._forces.append(forces)
        for knock in knocks:
            power = knock.level**2
            if knock.place is not None:
                away = float(np.hypot(knock.place[0] - self._centre[0], knock.place[1] - self._centre[1]))
                power *= _FELT_ALIKE_M / max(away, _FELT_ALIKE_M)
            self._impulses.append((knock.time_s, power))

    def _loads(self, times: np.ndarray) -> np.ndarray:
        """Readings [T, plates] from what lies on the plates and from hands, with drift."""
        weights = np.tile(self._base_kg, (len(times), 1))
        for forces in self._forces:
            forces.add(times, weights)
        for forces in [forces for forces in self._forces if forces.settled_s < times[-1]]:
            self._base_kg = self._base_kg + forces.step
            self._forces.remove(forces)
        scale = self._profile.drift_factor * self._model.drift_kg_per_sqrt_s / np.sqrt(self._model.sample_rate_hz)
        drift = self._drift_kg + scale * np.cumsum(self._streams["drift"].standard_normal(weights.shape), axis=0)
        self._drift_kg = drift[-1]
        return weights + drift

    def _ringing_hz(self) -> float:
        """The shelf's own frequency from its recursion's poles."""
        roots = np.roots([1, -self._character.ar1, -self._character.ar2])
        angle = float(np.abs(np.angle(roots[0])))
        return float(np.clip(angle / (2 * np.pi) * self._model.sample_rate_hz, 6.0, 25.0))

    def _noise(self, times: np.ndarray) -> np.ndarray:
        """White noise, the store's hum, and vibration that knocks excite and the shelf colours [T, plates]."""
        rng, character = self._streams["noise"], self._character
        count = len(self._plate_noise)
        white = _correlated(rng, len(times), count, character.noise_shared) * (character.noise_kg * self._plate_noise)
        tone = np.cos(2 * np.pi * self._model.hum_hz * times[:, None] + self._hum_phases)
        hum = character.hum_kg * tone * self._plate_noise
        excitation = self._model.steady_excitation * self._unrest(len(times), rng) + self._knocked(times)
        driven = _correlated(rng, len(times), count, character.shared) * np.sqrt(excitation)[:, None] * self._innovation()
        coefficients = [1.0, -character.ar1, -character.ar2]
        shaking, self._shaking_memory = signal.lfilter([1.0], coefficients, driven, axis=0, zi=self._shaking_memory)
        return self._profile.noise_factor * (white + hum) + shaking * (character.vibration_kg * self._plate_noise)

    def _knocked(self, times: np.ndarray) -> np.ndarray:
        """Power [T] of the knocks felt, each dying away exponentially."""
        decay, step = self._model.burst_decay_s / 2, 1 / self._model.sample_rate_hz
        power = np.zeros(len(times))
        due = [(time_s, strength) for time_s, strength in self._impulses if time_s <= times[-1]]
        self._impulses = [(time_s, strength) for time_s, strength in self._impulses if time_s > times[-1]]
        if due:
            at, strengths = np.array(due).T
            first = np.searchsorted(times, at)
            np.add.at(power, first, strengths * np.exp(-np.minimum((times[first] - at) / decay, 700.0)))
        fade = float(np.exp(-step / decay))
        power, self._excited = signal.lfilter([1.0], [1.0, -fade], power, zi=self._excited)
        return np.maximum(power, 0.0)

    def _unrest(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Power [T] of what always shakes a shop a little, of mean 1, which swells and ebbs within seconds."""
        memory = np.exp(-1 / (_UNREST_S * self._model.sample_rate_hz))
        drive = [np.sqrt(1 - memory**2)]
        slow, self._unrest_memory = signal.lfilter(drive, [1, -memory], rng.standard_normal(count), zi=self._unrest_memory)
        return self._profile.vibration_factor**2 * np.exp(_UNREST_DEPTH * slow - _UNREST_DEPTH**2 / 2)

    def _innovation(self) -> float:
        """Deviation of the recursion's input that gives it unit deviation."""
        a1, a2 = self._character.ar1, self._character.ar2
        return float(np.sqrt((1 + a2) * ((1 - a2) ** 2 - a1**2) / (1 - a2)))

    def _quantised(self, weights: np.ndarray) -> np.ndarray:
        if not self._profile.quantisation:
            return weights
        return np.round(weights / self._model.quantisation_kg) * self._model.quantisation_kg

    def _lose(self, weights: np.ndarray) -> None:
        rng, batch = self._streams["missing"], self._model.batch_samples
        weights[rng.random(weights.shape) < self._profile.missing_sample_share] = np.nan
        lost = rng.random((len(weights) // batch, weights.shape[1])) < self._profile.missing_batch_share
        weights[np.repeat(lost, batch, axis=0)] = np.nan

    def _batches(self, times: np.ndarray, weights: np.ndarray) -> list[ScaleReading]:
        batch = self._model.batch_samples
        period = round(NANOSECONDS / self._model.sample_rate_hz)
        stamps = self._start_ns + np.round(times[::batch] * NANOSECONDS).astype(np.int64)
        if self._profile.clock_jitter:
            jitter = np.clip(self._streams["clock"].normal(0, self._model.batch_jitter_s, len(stamps)), -0.006, 0.006)
            stamps = stamps + np.round(np.abs(jitter) * NANOSECONDS).astype(np.int64)
        given = np.ones(len(stamps), dtype=bool)
        if self.troubles is not None:
            stamps = stamps + round(self.troubles.clock_s * NANOSECONDS)
            given = ~self.troubles.silent(self._troubled_s + times[::batch])
        plates = tuple(self._shelf.plates)
        values = weights.astype(np.float32).reshape(-1, batch, len(plates))
        return [ScaleReading(int(stamps[i]), *self.key, period, plates, values[i]) for i in np.flatnonzero(given)]


def _correlated(rng: np.random.Generator, samples: int, plates: int, shared: float) -> np.ndarray:
    """Unit noise [samples, plates] with the same correlation between any two plates."""
    return np.sqrt(shared) * rng.standard_normal((samples, 1)) + np.sqrt(1 - shared) * rng.standard_normal((samples, plates))


def _stock(store: Store, shelf: Shelf, rng: np.random.Generator) -> np.ndarray:
    """What stands on the plates at the start, kg [plates], with the offset that nobody zeroed."""
    pieces = rng.integers(_STOCK_PIECES[0], _STOCK_PIECES[1] + 1, len(shelf.plates))
    stock = np.zeros(len(shelf.plates))
    for i, plate in enumerate(shelf.plates):
        standing = [store.products[p] for p in store.planogram.get((*shelf.key, plate), ()) if p in store.products]
        if standing:
            stock[i] = pieces[i] * np.mean([product.weight_kg for product in standing])
    return stock + rng.uniform(*_OFFSET_KG, len(shelf.plates))
