"""What plates read while a hand is at them: the load that moves, pushes and pulls, a hand at rest, and the swing afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from aisle_sim.profiles import HandsProfile, ScaleProfile
from aisle_sim.scale_model import ScaleModel
from aisle_sim.shelf_contacts import LoadChange, ShelfContact

#: What swings after a change of load has died away to a thousandth after so many times the settling time.
_SETTLED_AFTER = 7.0
_REST_EDGE_S = 0.15
_REST_HZ = 60.0


@dataclass(frozen=True, eq=False)
class _Pushes:
    """Short forces: ``centres`` and ``widths`` s [N], ``amplitudes`` kg [N, plates]."""

    centres: np.ndarray
    widths: np.ndarray
    amplitudes: np.ndarray

    def add(self, times: np.ndarray, weights: np.ndarray) -> None:
        for centre, width, amplitude in zip(self.centres, self.widths, self.amplitudes, strict=True):
            first, last = np.searchsorted(times, (centre - 5 * width, centre + 5 * width))
            if first < last:
                shape = np.exp(-0.5 * ((times[first:last] - centre) / width) ** 2)
                weights[first:last] += shape[:, None] * amplitude


class ContactForces:
    """One contact with one shelf, as a function of time: everything random is drawn when it is made.

    ``mixing`` [plates, plates]: what the plates read of loads on them; ``neighbours`` [plates, plates]: 1 for plates side by side.
    """

    def __init__(
        self,
        contact: ShelfContact,
        mixing: np.ndarray,
        neighbours: np.ndarray,
        ringing_hz: float,
        model: ScaleModel,
        scales: ScaleProfile,
        hands: HandsProfile,
        rng: np.random.Generator,
    ) -> None:
        self._contact, self._model, self._factor = contact, model, scales.settling_factor
        self._lift_s = contact.reach.lift_s
        self._ringing_hz = ringing_hz
        blurred = 0.6 * contact.shares + 0.2 * neighbours @ contact.shares
        self._steps = [mixing @ (change.sign * change.piece.weight_kg * change.shares) for change in contact.changes]
        self._pull_phases = rng.uniform(0, 2 * np.pi, len(self._steps))
        self._swings = [self._draw_swing(change, step, rng) for change, step in zip(contact.changes, self._steps, strict=True)]
        self._pushes = [self._draw_pushes(change, scales, neighbours, rng) for change in contact.changes]
        if not contact.changes:
            self._pushes = [self._draw_touch(scales, blurred, rng)]
        self._rest = self._draw_rest(blurred, scales, hands, rng) if contact.reach.hold_s > 0 else None

    @property
    def step(self) -> np.ndarray:
        """What the plates read more afterwards, kg [plates]."""
        return np.sum(self._steps, axis=0) if self._steps else np.zeros(len(self._contact.shares))

    @property
    def settled_s(self) -> float:
        """From when on nothing but ``step`` is left of it."""
        return self._contact.reach.end_s + max(_SETTLED_AFTER * self._model.settling_s, 5 * self._model.ringing_s)

    def add(self, times: np.ndarray, weights: np.ndarray) -> None:
        """Adds the contact's part to ``weights`` [T, plates] at ``times`` [T], increasing."""
        for change, step, phase, swing in zip(self._contact.changes, self._steps, self._pull_phases, self._swings, strict=True):
            first = int(np.searchsorted(times, change.start_s))
            weights[first:] += self._moved(times[first:], change, phase)[:, None] * step
            self._add_swing(times, weights, change, swing)
        for pushes in self._pushes:
            pushes.add(times, weights)
        if self._rest is not None:
            self._add_rest(times, weights)

    def _moved(self, times: np.ndarray, change: LoadChange, phase: float) -> np.ndarray:
        """Share [T] of the load that has moved: 0 before, 1 after."""
        share = np.clip((times - change.start_s) / self._lift_s, 0, 1)
        if self._lift_s < 0.6:
            return share * share * (3 - 2 * share)
        # A slow lift is uneven: the hand takes the load over in pulls.
        return np.clip(share + 0.08 * np.sin(5 * np.pi * share + phase) * np.sin(np.pi * share), 0, 1)

    def _draw_swing(self, change: LoadChange, step: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = len(step)
        # A slow lift lets the shelf go gently.
        ringing = self._model.ringing_share * rng.uniform(0.5, 1.2) / (1 + 3 * self._lift_s)
        amplitudes = ringing * (np.abs(step) + 0.05 * change.piece.weight_kg * rng.standard_normal(count))
        phases = rng.normal(0, 0.5, count)
        slow = rng.normal(0, self._model.settling_share, count) * change.piece.weight_kg
        return self._factor * amplitudes, phases, self._factor * slow

    def _add_swing(self, times: np.ndarray, weights: np.ndarray, change: LoadChange, swing) -> None:
        """Ringing and slow settling of all plates of the shelf after the load has moved."""
        amplitudes, phases, slow = swing
        first = int(np.searchsorted(times, change.start_s + self._lift_s, side="right"))
        since = (times[first:] - change.start_s - self._lift_s)[:, None]
        tone = np.sin(2 * np.pi * self._ringing_hz * since + phases)
        weights[first:] += amplitudes * np.exp(-since / self._model.ringing_s) * tone + slow * np.exp(-since / self._model.settling_s)

    def _draw_pushes(self, change: LoadChange, scales: ScaleProfile, neighbours: np.ndarray, rng: np.random.Generator) -> _Pushes:
        """Pushes and pulls of a few tens of milliseconds around the change of load, different on each plate."""
        strength = self._model.touch_force_kg + self._model.touch_force_per_load * change.piece.weight_kg
        shares = 0.6 * change.shares + 0.2 * neighbours @ change.shares
        # Before a pick the hand presses; something put down lands with a thump and is pushed home.
        early, late = (self._model.touch_s, 0.0) if change.sign < 0 else (0.0, self._model.touch_s)
        return _draw_pushes(change.start_s - early, change.start_s + self._lift_s + late, strength, shares, scales, rng)

    def _draw_touch(self, scales: ScaleProfile, shares: np.ndarray, rng: np.random.Generator) -> _Pushes:
        reach = self._contact.reach
        return _draw_pushes(reach.start_s, reach.end_s, self._model.touch_force_kg, shares, scales, rng)

    def _draw_rest(self, shares: np.ndarray, scales: ScaleProfile, hands: HandsProfile, rng: np.random.Generator):
        reach = self._contact.reach
        load = hands.held_force_kg * rng.lognormal(0, 0.5) * scales.hand_force_factor
        count = int(reach.hold_s * _REST_HZ) + 2
        wobble = signal.lfilter([0.02], [1, -0.98], rng.standard_normal(count)) * 2.5
        return load * shares, wobble, float(rng.uniform(0, 6))

    def _add_rest(self, times: np.ndarray, weights: np.ndarray) -> None:
        """A hand that lies on the plates from its arrival until the goods move, never quite still."""
        reach = self._contact.reach
        load, wobble, phase = self._rest
        first, last = np.searchsorted(times, (reach.start_s, reach.time_s))
        if first == last:
            return
        since = times[first:last] - reach.start_s
        edge = np.clip(np.minimum(since, reach.time_s - times[first:last]) / _REST_EDGE_S, 0, 1)
        tremor = 0.02 * np.sin(2 * np.pi * 8.5 * since + phase)
        unsteady = 1 + 0.25 * np.interp(since, np.arange(len(wobble)) / _REST_HZ, wobble) + tremor
        weights[first:last] += (edge * unsteady)[:, None] * load


def _draw_pushes(
    first_s: float, last_s: float, strength: float, shares: np.ndarray, scales: ScaleProfile, rng: np.random.Generator
) -> _Pushes:
    strength *= scales.hand_force_factor * rng.lognormal(-0.3, 0.5)
    count = int(rng.integers(5, 12))
    amplitudes = strength * rng.normal(0.1, 0.55, (count, len(shares))) * np.sqrt(shares / shares.max())
    return _Pushes(rng.uniform(first_s, last_s, count), rng.uniform(0.006, 0.03, count), amplitudes)
