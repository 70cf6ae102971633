"""Troubles of weighing plates that were not in the recording that ``scale_model`` was fitted to: other kinds of noise, faults, outages.

They are made from first principles and not fitted to anything; a profile that turns them on tells how the logic copes with sensors that
nobody measured beforehand. All of a shelf's troubles come from one random stream, window by window.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from aisle_sim.episodes import Episode, Episodes, on
from aisle_sim.profiles import ScaleTroubles

#: Heavy tails: Student's t with so many degrees of freedom has a variance, but no fourth moment.
_TAIL_FREEDOM = 3.0
#: Time constants of the sum of first-order noises whose spectrum is nearly 1/f (van der Ziel, Physica 1950), s.
_FLICKER_S = (0.05, 0.2, 0.8, 3.2, 12.8, 51.2, 204.8)
_WARMING_S = 120.0
_CREEP_S = 20.0
#: Deviation of the logarithm of the noise from shelf to shelf.
_SHELF_LOUDNESS = 0.7
_BURST_HZ = (7.0, 13.0)


class ShelfTroubles:
    """One shelf's. Times are seconds at ``rate_hz`` from window to window without gaps."""

    def __init__(self, troubles: ScaleTroubles, plates: int, rate_hz: float, rng: np.random.Generator) -> None:
        self._troubles, self._plates, self._rate_hz, self._rng = troubles, plates, rate_hz, rng
        # Plates differ, shelves more so.
        self._loudness = np.exp(rng.normal(0, _SHELF_LOUDNESS) + rng.normal(0, 0.4, plates))
        self._spreading = self._draw_spreading()
        self._flicker_memory = np.zeros((len(_FLICKER_S), 1, plates))
        self._slope_kg_per_s, self._warmth_kg = np.zeros(plates), np.zeros(plates)
        self._creep_memory: np.ndarray | None = None
        self._bursts = Episodes(rng.spawn(1)[0], troubles.burst_rate_hz, 0.3, 3.0)
        self._gaps = [Episodes(stream, troubles.gap_rate_hz, 0.03, 2.0) for stream in rng.spawn(plates)]
        self._outages = Episodes(rng.spawn(1)[0], troubles.outage_rate_hz, 8.0, 12.0)
        self._stuck = [Episodes(stream, troubles.stuck_rate_hz, 20.0, 120.0) for stream in rng.spawn(plates)]
        self._stuck_at: dict[tuple[int, float], float] = {}
        self._dead = rng.random(plates) < troubles.dead_share
        #: How far this shelf's clock is ahead.
        self.clock_s = float(rng.uniform(0, 1)) * troubles.clock_offset_s
        #: When the last window ended, s.
        self.until_s = 0.0

    def _draw_spreading(self) -> np.ndarray:
        """[plates, plates]: what each plate reads of a load on each, the sum being kept but for a small loss."""
        share, count = self._troubles.spread_share, self._plates
        matrix = np.eye(count)
        for i in range(count):
            for away, part in ((-2, 0.25), (-1, 1.0), (1, 1.0), (2, 0.25)):
                if 0 <= i + away < count:
                    leak = share * part * float(self._rng.uniform(0, 1))
                    matrix[i + away, i] += leak
                    matrix[i, i] -= leak
        return matrix

    def loads(self, loads: np.ndarray) -> np.ndarray:
        """What plates read of ``loads`` [T, plates] kg: spread over neighbours, and creeping after a change."""
        spread = loads @ self._spreading.T
        if not self._troubles.creep_share:
            return spread
        fade = float(np.exp(-1 / (_CREEP_S * self._rate_hz)))
        if self._creep_memory is None:
            self._creep_memory = (fade * spread[0])[None]
        settled, self._creep_memory = signal.lfilter([1 - fade], [1, -fade], spread, axis=0, zi=self._creep_memory)
        return spread + self._troubles.creep_share * (settled - spread)

    def noise(self, times: np.ndarray) -> np.ndarray:
        """[T, plates] kg: heavy-tailed, partly shared by the shelf; flicker; warmth; bursts of vibration."""
        troubles, shape = self._troubles, (len(times), self._plates)
        own = self._rng.standard_t(_TAIL_FREEDOM, shape)
        common = self._rng.standard_t(_TAIL_FREEDOM, (shape[0], 1))
        shared = troubles.shared_share
        noise = troubles.tail_kg / np.sqrt(_TAIL_FREEDOM / (_TAIL_FREEDOM - 2)) * (np.sqrt(1 - shared) * own + np.sqrt(shared) * common)
        noise = noise * self._loudness
        noise += self._flicker(shape) + self._warmth(shape)
        for burst in self._bursts.within(times[0], times[-1]):
            noise += self._burst(times, burst)
        return noise

    def _flicker(self, shape: tuple[int, int]) -> np.ndarray:
        if not self._troubles.flicker_kg:
            return np.zeros(shape)
        total = np.zeros(shape)
        for number, memory_s in enumerate(_FLICKER_S):
            memory = float(np.exp(-1 / (memory_s * self._rate_hz)))
            drive = [np.sqrt(1 - memory**2)]
            part, self._flicker_memory[number] = signal.lfilter(
                drive, [1, -memory], self._rng.standard_normal(shape), axis=0, zi=self._flicker_memory[number]
            )
            total += part
        return self._troubles.flicker_kg / np.sqrt(len(_FLICKER_S)) * self._loudness * total

    def _warmth(self, shape: tuple[int, int]) -> np.ndarray:
        """Drift whose slope wanders slowly, alike over the shelf but for a third."""
        typical = self._troubles.warming_kg_per_min / 60
        if not typical:
            return np.zeros(shape)
        step = shape[0] / self._rate_hz
        memory = float(np.exp(-step / _WARMING_S))
        fresh = 0.8 * self._rng.standard_normal() + 0.6 * self._rng.standard_normal(shape[1])
        slope = memory * self._slope_kg_per_s + np.sqrt(1 - memory**2) * typical * fresh
        ramp = np.linspace(0, 1, shape[0] + 1)[1:, None]
        slopes = self._slope_kg_per_s + ramp * (slope - self._slope_kg_per_s)
        course = self._warmth_kg + np.cumsum(slopes, axis=0) / self._rate_hz
        self._slope_kg_per_s, self._warmth_kg = slope, course[-1]
        return course

    def _burst(self, times: np.ndarray, burst: Episode) -> np.ndarray:
        rng = burst.rng()
        level = self._troubles.burst_kg * rng.lognormal(0, 0.7)
        amplitudes = level * rng.normal(0.7, 0.4, self._plates)
        phases = rng.normal(rng.uniform(0, 2 * np.pi), 0.5, self._plates)
        share = np.clip((times - burst.start_s) / (burst.end_s - burst.start_s), 0, 1)[:, None]
        since = (times - burst.start_s)[:, None]
        return np.sin(np.pi * share) ** 2 * amplitudes * np.sin(2 * np.pi * rng.uniform(*_BURST_HZ) * since + phases)

    def break_down(self, times: np.ndarray, weights: np.ndarray) -> None:
        """Steps of the converter, plates that stick, die or give nothing for a while, in ``weights`` [T, plates]."""
        if self._troubles.step_kg:
            weights[:] = np.round(weights / self._troubles.step_kg) * self._troubles.step_kg
        for plate in range(self._plates):
            for sticking in self._stuck[plate].within(times[0], times[-1]):
                held = (times >= sticking.start_s) & (times <= sticking.end_s)
                if held.any():
                    value = self._stuck_at.setdefault((plate, sticking.start_s), float(weights[int(np.argmax(held)), plate]))
                    weights[held, plate] = value
            weights[on(self._gaps[plate].within(times[0], times[-1]), times), plate] = np.nan
        self._stuck_at = {key: value for key, value in self._stuck_at.items() if key[1] > times[-1] - 200.0}
        weights[:, self._dead] = np.nan
        self.until_s = float(times[-1]) + 1 / self._rate_hz

    def silent(self, times: np.ndarray) -> np.ndarray:
        """bool [T]: whether the whole shelf gives nothing at ``times``."""
        return on(self._outages.within(times[0], times[-1]), times) if len(times) else np.zeros(0, dtype=bool)
