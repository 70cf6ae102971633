"""Fits the model of weighing shelves to a real recording and writes it: ``python -m aisle_sim.fit_scale_model plates.npz --out FILE``.

The recording is an .npz with ``plate`` [N, 3] (gondola, shelf, plate), ``t`` [N, samples] unix seconds and ``grams`` [N, samples].
What cannot be seen in it (the spread of gains between plates, the forces of a hand) rests on its few labelled picks: ``--picks``
takes their gondola/shelf, time and weight. docs/simulation.md tells what each number means and how good it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from scipy import signal

from aisle_sim.scale_model import ScaleModel, ShelfCharacter, scale_model_to_mapping

_RATE_HZ = 60.0
_BATCH = 12
_WINDOW = 30
#: A channel without a plate repeats one value.
_DEAD_KG = 5e-5


@dataclass(frozen=True, eq=False)
class Recording:
    """``plates`` int [N, 3]; ``times`` float64 [N, T] s from the first sample of all; ``weights`` float64 [N, T] kg."""

    plates: np.ndarray
    times: np.ndarray
    weights: np.ndarray

    def shelf(self, gondola: int, shelf: int) -> np.ndarray:
        """Row numbers of a shelf's live plates, in the order of the plates."""
        return np.flatnonzero((self.plates[:, 0] == gondola) & (self.plates[:, 1] == shelf))

    @property
    def shelves(self) -> list[tuple[int, int]]:
        return sorted({(int(g), int(s)) for g, s, _ in self.plates})


@dataclass(frozen=True)
class Pick:
    """A pick in the recording: seconds from its start, the product's weight, and the plates whose load changed."""

    gondola: int
    shelf: int
    time_s: float
    weight_kg: float
    plates: tuple[int, ...]


#: The two labelled picks of the NanoStore's recording of 2020-01: a bag of crisps and a bottle of water.
NANOSTORE_PICKS = (Pick(2, 5, 10.3, 0.105, (3, 4, 5)), Pick(1, 5, 16.5, 0.538, (10,)))


def load_recording(path: str | Path) -> Recording:
    """Reads an .npz and leaves out the channels without a plate. ValueError names the file and what is missing in it."""
    with np.load(path) as content:
        missing = {"plate", "t", "grams"} - set(content.files)
        if missing:
            raise ValueError(f"{path}: has no array {', '.join(sorted(missing))}, expected plate, t and grams")
        plates, times, weights = content["plate"], content["t"], content["grams"].astype(float) / 1000
    live = np.nanmedian(_window_deviations(weights, _RATE_HZ), axis=1) > _DEAD_KG
    order = np.lexsort(plates[live].T[::-1])
    return Recording(plates[live][order].astype(int), times[live][order] - times.min(), weights[live][order])


def fit(recording: Recording, picks: Sequence[Pick]) -> ScaleModel:
    """All numbers of the model from one recording and its labelled picks."""
    quiet_weights = _without_picks(recording, picks)
    levels = _excitation(recording, quiet_weights)
    bursts = _bursts(levels)
    hum_hz = _hum(quiet_weights, levels)
    changes = [_change(recording, pick) for pick in picks]
    own = [change[mask].sum() / -pick.weight_kg for pick, (change, mask, _) in zip(picks, changes, strict=True)]
    other = np.concatenate(
        [change[~mask][_near(mask)[~mask]] / pick.weight_kg for pick, (change, mask, _) in zip(picks, changes, strict=True)]
    )
    rings = [_ringing(recording, pick) for pick in picks]
    return ScaleModel(
        sample_rate_hz=_RATE_HZ,
        batch_samples=_BATCH,
        quantisation_kg=_rounded(_quantisation(recording.weights)),
        hum_hz=_rounded(hum_hz),
        burst_rate_hz=_rounded(len(bursts) * _RATE_HZ / recording.weights.shape[1]),
        burst_level_median=_rounded(np.median(bursts)),
        burst_level_log_deviation=_rounded(np.std(np.log(bursts))),
        burst_decay_s=_rounded(_burst_decay(levels)),
        drift_kg_per_sqrt_s=_rounded(_drift(quiet_weights)),
        gain_deviation=_rounded(np.sqrt(np.mean((np.array(own) - 1) ** 2))),
        crosstalk_deviation=_rounded(np.sqrt(np.mean(other**2))),
        settling_share=_rounded(np.mean([ring[0] for ring in rings])),
        settling_s=0.5,
        ringing_share=_rounded(np.mean([ring[1] for ring in rings])),
        ringing_s=_rounded(np.mean([ring[2] for ring in rings])),
        touch_force_kg=_rounded(0.02),
        touch_force_per_load=_rounded(np.mean([ring[3] for ring in rings])),
        touch_s=_rounded(0.3),
        shelf_start_spread_s=_rounded(float(np.ptp(recording.times[:, 0]))),
        batch_jitter_s=_rounded(float(np.median(np.diff(recording.times[:, ::_BATCH], axis=1).std(axis=1))) / np.sqrt(2)),
        shelves=tuple(_shelf_character(recording, quiet_weights, shelf, levels, hum_hz) for shelf in recording.shelves),
    )


def window_deviations(weights: np.ndarray) -> np.ndarray:
    """Noise of each plate: the median over windows of one second of the deviation within the window, kg [N]."""
    return np.nanmedian(_window_deviations(weights, _RATE_HZ), axis=1)


def _window_deviations(weights: np.ndarray, length: float) -> np.ndarray:
    length = int(length)
    count = weights.shape[1] // length
    return np.nanstd(weights[:, : count * length].reshape(len(weights), count, length), axis=2)


def _without_picks(recording: Recording, picks: Sequence[Pick]) -> np.ndarray:
    """Weights with the picks' steps taken out and the second around each pick replaced by the plates' level: for noise alone."""
    weights = recording.weights.copy()
    for pick in picks:
        for row in recording.shelf(pick.gondola, pick.shelf):
            start, end = np.searchsorted(recording.times[row], [pick.time_s - 0.5, pick.time_s + 1.5])
            before, after = weights[row, start - 60 : start].mean(), weights[row, end : end + 60].mean()
            weights[row, end:] -= after - before
            weights[row, start:end] = weights[row, start - (end - start) : start]
    return weights


def _excitation(recording: Recording, weights: np.ndarray) -> np.ndarray:
    """The store's vibration over time [windows of half a second]: the median over shelves of their level over their quiet level."""
    levels = []
    for shelf in recording.shelves:
        deviation = np.sqrt((_window_deviations(weights[recording.shelf(*shelf)], _WINDOW) ** 2).mean(axis=0))
        levels.append(deviation / np.percentile(deviation, 20))
    return np.median(levels, axis=0)


def _bursts(levels: np.ndarray) -> np.ndarray:
    """Peaks of the excitation."""
    peaks, _ = signal.find_peaks(levels, height=1.8, prominence=0.5)
    return levels[peaks]


def _burst_decay(levels: np.ndarray) -> float:
    """Time constant of the largest burst, s."""
    top = int(np.argmax(levels))
    tail = levels[top : top + 8] - 1
    tail = tail[: max(2, int(np.argmax(tail < 0.1 * tail[0])) or len(tail))]
    slope = np.polyfit(np.arange(len(tail)), np.log(np.maximum(tail, 1e-3)), 1)[0]
    return -_WINDOW / _RATE_HZ / slope


def _hum(weights: np.ndarray, levels: np.ndarray) -> float:
    """Frequency of the tone that all shelves share while it is quiet, Hz."""
    start = _quietest(levels) * _WINDOW
    part = weights[:, start : start + 300] - weights[:, start : start + 300].mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(part * np.hanning(part.shape[1]), axis=1)) ** 2
    shared = np.median(power / power.sum(axis=1, keepdims=True), axis=0)
    frequencies = np.fft.rfftfreq(part.shape[1], 1 / _RATE_HZ)
    shared[frequencies < 3] = 0
    return float(frequencies[int(np.argmax(shared))])


def _quietest(levels: np.ndarray) -> int:
    """Window number at which five quiet seconds begin."""
    return int(np.argmin(np.convolve(levels, np.ones(10), "valid")))


def _shelf_character(
    recording: Recording, weights: np.ndarray, shelf: tuple[int, int], levels: np.ndarray, hum_hz: float
) -> ShelfCharacter:
    rows = recording.shelf(*shelf)
    start = _quietest(levels) * _WINDOW
    quiet = signal.detrend(weights[rows, start : start + 300], axis=1)
    time = np.arange(300) / _RATE_HZ
    tones = np.abs(quiet @ np.exp(-2j * np.pi * hum_hz * time) * 2 / 300)
    hum = float(np.sqrt((tones**2).mean()))
    plate_noise = np.sqrt(np.maximum(quiet.var(axis=1) - tones**2 / 2, (0.1 * quiet.std(axis=1)) ** 2))
    noise = float(np.exp(np.log(plate_noise).mean()))
    powers = (_window_deviations(weights[rows], _WINDOW) ** 2).mean(axis=0)
    excess = levels**2 - 1
    active = excess > 1
    gain = np.sqrt(max(np.median((powers[active] - (plate_noise**2).mean() - hum**2 / 2) / excess[active]), 0.0))
    ar1, ar2 = _second_order(weights[rows], active)
    chunks = [signal.detrend(weights[rows, w * _WINDOW : (w + 1) * _WINDOW], axis=1) for w in np.flatnonzero(active)]
    correlation = np.mean([np.corrcoef(chunk) for chunk in chunks], axis=0)
    shared = float(np.clip(np.median(correlation[~np.eye(len(rows), dtype=bool)]), 0, 1))
    values = (noise, float(np.log(plate_noise).std()), hum, gain, ar1, ar2, shared)
    return ShelfCharacter(*(_rounded(value) for value in values))


def _second_order(weights: np.ndarray, active: np.ndarray) -> tuple[float, float]:
    """Coefficients of the recursion that has the vibration's autocorrelation at lags 1 and 2 (Yule-Walker)."""
    covariances = np.zeros(3)
    for window in np.flatnonzero(active):
        part = signal.detrend(weights[:, window * _WINDOW : (window + 2) * _WINDOW], axis=1)
        covariances += [(part[:, : part.shape[1] - lag] * part[:, lag:]).sum() / part.shape[1] for lag in range(3)]
    r1, r2 = covariances[1:] / covariances[0]
    ar1, ar2 = r1 * (1 - r2) / (1 - r1**2), (r2 - r1**2) / (1 - r1**2)
    # Kept inside the triangle of stability with a margin.
    ar2 = float(np.clip(ar2, -0.97, 0.97))
    return float(np.clip(ar1, -(0.97 - ar2), 0.97 - ar2)), ar2


def _quantisation(weights: np.ndarray) -> float:
    """The commonest smallest step between readings, kg."""
    steps = [np.diff(np.unique(np.round(row * 1000, 4))).min() for row in weights]
    return float(np.median(steps)) / 1000


def _drift(weights: np.ndarray) -> float:
    """Growth of the zero's wander, kg per square root of a second: from medians of seconds eight seconds apart."""
    count = weights.shape[1] // 60
    seconds = np.median(weights[:, : count * 60].reshape(len(weights), count, 60), axis=2)
    change = seconds[:, 8:] - seconds[:, :-8]
    return float(np.median(np.abs(change)) / 0.6745 / np.sqrt(8))


def _change(recording: Recording, pick: Pick) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Change of each plate of the pick's shelf (kg), which of them carried the product, and their rows."""
    rows = recording.shelf(pick.gondola, pick.shelf)
    changes = []
    for row in rows:
        times, weights = recording.times[row], recording.weights[row]
        before = weights[(times > pick.time_s - 2.0) & (times < pick.time_s - 0.4)]
        after = weights[(times > pick.time_s + 1.5) & (times < pick.time_s + 3.0)]
        changes.append(np.median(after) - np.median(before))
    carried = np.isin(recording.plates[rows, 2], pick.plates)
    return np.array(changes), carried, rows


def _near(carried: np.ndarray) -> np.ndarray:
    """Which plates lie within three of a carrying one."""
    return np.convolve(carried, np.ones(7), "same") > 0


def _ringing(recording: Recording, pick: Pick) -> tuple[float, float, float, float]:
    """(share of the load that settles slowly, first ringing as a share of the load, its time constant s, largest force of the hand
    as a share of the load), from the plate that changed most."""
    changes, _, rows = _change(recording, pick)
    row = rows[int(np.argmin(changes))]
    times, weights = recording.times[row] - pick.time_s, recording.weights[row]
    final = np.median(weights[(times > 1.5) & (times < 3.0)])
    load = float(np.abs(changes.min()))
    levels = [np.std(weights[(times > start) & (times < start + 0.25)]) for start in np.arange(0.25, 1.5, 0.125)]
    floor = np.std(weights[(times > 2.0) & (times < 3.0)])
    ring = np.sqrt(np.maximum(np.array(levels) ** 2 - floor**2, 1e-10))
    slope = np.polyfit(np.arange(len(ring)) * 0.125, np.log(ring), 1)[0]
    settling = abs(np.median(weights[(times > 0.35) & (times < 0.6)]) - final) / load
    force = np.max(np.abs(weights[(times > -0.4) & (times < 0.3)] - np.clip(weights[(times > -0.4) & (times < 0.3)], final, final + load)))
    return float(settling), float(ring[0] * np.sqrt(2) / load), float(np.clip(-1 / slope, 0.1, 2.0)), float(force / load)


def _rounded(value: float) -> float:
    return float(f"{float(value):.4g}")


_HEADER = """# Measured properties of weighing shelves (kg, s, Hz), made by `python -m aisle_sim.fit_scale_model`; do not edit by hand.
# Meaning of the fields: scale_model.py; how each was got and how good it is: docs/simulation.md.
"""


def write_scale_model(model: ScaleModel, path: str | Path) -> None:
    """Writes the model as YAML."""
    Path(path).write_text(_HEADER + yaml.safe_dump(scale_model_to_mapping(model), sort_keys=False), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, help="plates.npz of the NanoStore's recording of 2020-01")
    parser.add_argument("--out", type=Path, help="where to write the fitted model (YAML)")
    options = parser.parse_args(arguments)
    try:
        recording = load_recording(options.recording)
    except (OSError, ValueError) as error:
        print(f"fit_scale_model: {error}", file=sys.stderr)
        return 2
    model = fit(recording, NANOSTORE_PICKS)
    if options.out:
        write_scale_model(model, options.out)
    else:
        print(yaml.safe_dump(scale_model_to_mapping(model), sort_keys=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
