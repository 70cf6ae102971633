"""Fits the model of weighing shelves to a real recording and writes it: ``python -m aisle_sim.fit_scale_model plates.npz --out FILE``.

The recording is an .npz with ``plate`` [N, 3] (gondola, shelf, plate), ``t`` [N, samples] unix seconds and ``grams`` [N, samples].
What cannot be seen in it (the spread of gains between plates, the forces of a hand) rests on its few labelled picks: ``--picks``
takes their gondola/shelf, time and weight. docs/simulation.md tells what each number means and how good it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from scipy import signal

from aisle_contract.records import ScaleReading
from aisle_sim.labelled_sessions import LabelledEvent, LabelledSession
from aisle_sim.scale_model import ScaleModel, ShelfCharacter, scale_model_to_mapping
from aisle_sim.simulator import simulate
from aisle_store.store import Shelf, Store
from aisle_store.store_files import StoreError, load_store

_RATE_HZ = 60
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
    product: str


#: The two labelled picks of the NanoStore's recording of 2020-01: a bag of crisps and a bottle of water.
NANOSTORE_PICKS = (Pick(2, 5, 10.3, 0.105, (3, 4, 5), "071063437089"), Pick(1, 5, 16.5, 0.538, (10,), "632565000012"))


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
    bursts = levels[_burst_windows(levels)]
    hum_hz = _hum(quiet_weights, levels)
    changes = [_change(recording, pick) for pick in picks]
    own = [change[mask].sum() / -pick.weight_kg for pick, (change, mask, _) in zip(picks, changes, strict=True)]
    other = np.concatenate(
        [change[~mask][_near(mask)[~mask]] / pick.weight_kg for pick, (change, mask, _) in zip(picks, changes, strict=True)]
    )
    courses = [_course(recording, pick) for pick in picks]
    loads = [pick.weight_kg for pick in picks]
    force_per_load, force = np.polyfit(loads, [course.force_kg for course in courses], 1) if len(picks) > 1 else (0.0, courses[0].force_kg)
    return ScaleModel(
        sample_rate_hz=float(_RATE_HZ),
        batch_samples=_BATCH,
        quantisation_kg=_rounded(_quantisation(recording.weights)),
        hum_hz=_rounded(hum_hz),
        steady_excitation=_rounded(_steady(levels)),
        burst_rate_hz=_rounded(len(bursts) * _RATE_HZ / recording.weights.shape[1]),
        burst_level_median=_rounded(np.median(bursts)),
        burst_level_log_deviation=_rounded(np.std(np.log(bursts))),
        burst_decay_s=_rounded(_burst_decay(levels)),
        drift_kg_per_sqrt_s=_rounded(_drift(quiet_weights)),
        gain_deviation=_rounded(np.sqrt(np.mean((np.array(own) - 1) ** 2))),
        crosstalk_deviation=_rounded(np.sqrt(np.mean(other**2))),
        settling_share=_rounded(np.mean([course.settling_share for course in courses])),
        settling_s=_rounded(np.mean([course.settling_s for course in courses])),
        ringing_share=_rounded(np.mean([course.ringing_share for course in courses])),
        ringing_s=_rounded(np.mean([course.ringing_s for course in courses])),
        touch_force_kg=_rounded(force),
        touch_force_per_load=_rounded(force_per_load),
        touch_s=_rounded(np.mean([course.touch_s for course in courses])),
        touch_level=_rounded(_touch_level(recording, quiet_weights, picks, _burst_decay(levels))),
        shelf_start_spread_s=_rounded(float(np.ptp(recording.times[:, 0]))),
        batch_jitter_s=_rounded(float(np.median(np.diff(recording.times[:, ::_BATCH], axis=1).std(axis=1))) / np.sqrt(2)),
        shelves=tuple(_shelf_character(recording, quiet_weights, shelf, levels, hum_hz) for shelf in recording.shelves),
    )


def window_deviations(weights: np.ndarray) -> np.ndarray:
    """Noise of each plate: the median over windows of one second of the deviation within the window, kg [N]."""
    return np.nanmedian(_window_deviations(weights, _RATE_HZ), axis=1)


def _window_deviations(weights: np.ndarray, length: int) -> np.ndarray:
    """Deviations kg [N, windows] within windows of ``length`` samples."""
    count = weights.shape[1] // length
    return np.nanstd(weights[:, : count * length].reshape(len(weights), count, length), axis=2)


def _without_picks(recording: Recording, picks: Sequence[Pick]) -> np.ndarray:
    """Weights with the picks' steps taken out and the two seconds around each pick replaced by those before: for noise alone."""
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


def _burst_windows(levels: np.ndarray) -> np.ndarray:
    """Numbers of the windows in which the excitation peaks."""
    return signal.find_peaks(levels, height=1.3, prominence=0.15)[0]


def _steady(levels: np.ndarray) -> float:
    """Mean excitation power, over the quiet one, of windows that are not within two seconds after a burst."""
    numbers = np.arange(len(levels))
    apart = np.all([(numbers < peak - 1) | (numbers > peak + 3) for peak in _burst_windows(levels)], axis=0)
    return float(np.mean(np.maximum(levels[apart] ** 2 - 1, 0)))


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
    wave = np.exp(2j * np.pi * hum_hz * time)
    complex_tones = quiet @ wave.conj() * 2 / 300
    tones = np.abs(complex_tones)
    hum = float(np.sqrt((tones**2).mean()))
    plate_noise = np.sqrt(np.maximum(quiet.var(axis=1) - tones**2 / 2, (0.1 * quiet.std(axis=1)) ** 2))
    noise = float(np.exp(np.log(plate_noise).mean()))
    between_plates = ~np.eye(len(rows), dtype=bool)
    noise_shared = np.median(np.corrcoef(quiet - np.real(complex_tones[:, None] * wave))[between_plates])
    powers = (_window_deviations(weights[rows], _WINDOW) ** 2).mean(axis=0)
    excess = levels**2 - 1
    active = excess > 1
    above = powers - (plate_noise**2).mean() - hum**2 / 2
    gain = np.sqrt(max(above @ excess / (excess @ excess), 0.0))
    ar1, ar2 = _second_order(weights[rows], active)
    chunks = [signal.detrend(weights[rows, w * _WINDOW : (w + 1) * _WINDOW], axis=1) for w in np.flatnonzero(active)]
    correlation = np.mean([np.corrcoef(chunk) for chunk in chunks], axis=0)
    shared = float(np.clip(np.median(correlation[between_plates]), 0, 1))
    values = (noise, float(np.log(plate_noise).std()), float(np.clip(noise_shared, 0, 1)), hum, gain, ar1, ar2, shared)
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


def _touch_level(recording: Recording, weights: np.ndarray, picks: Sequence[Pick], decay_s: float) -> float:
    """How strongly a pick shakes its own shelf, in units of the store's excitation: the shelf's level between half a
    second and a second after a pick, carried back to the pick by the decay of bursts."""
    levels = []
    for pick in picks:
        rows = recording.shelf(pick.gondola, pick.shelf)
        times = recording.times[rows[0]] - pick.time_s
        after = signal.detrend(recording.weights[rows][:, (times > 0.5) & (times < 1.0)], axis=1).std(axis=1)
        usual = np.percentile(_window_deviations(weights[rows], _WINDOW), 20, axis=1)
        levels.append(np.sqrt(np.mean((after / usual) ** 2)))
    return float(np.mean(levels) * np.exp(0.75 / decay_s))


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


@dataclass(frozen=True)
class _PickCourse:
    """How the readings got from one level to the other: shares of the load, kg, s."""

    ringing_share: float
    ringing_s: float
    settling_share: float
    settling_s: float
    force_kg: float
    touch_s: float


def _course(recording: Recording, pick: Pick) -> _PickCourse:
    """The course of one pick on all plates of its shelf."""
    changes, _, rows = _change(recording, pick)
    load = -float(changes.sum())
    times = recording.times[rows[0]] - pick.time_s
    weights = recording.weights[rows]
    before = np.median(weights[:, (times > -2.0) & (times < -0.8)], axis=1, keepdims=True)
    weights = weights - before
    final = np.median(weights[:, (times > 2.0) & (times < 3.0)], axis=1, keepdims=True)
    main = int(np.argmin(changes))
    starts = np.arange(0.4, 1.6, 0.125)
    levels = np.array([signal.detrend(weights[main, (times > start) & (times < start + 0.25)]).std() for start in starts])
    ring = np.sqrt(np.maximum(levels**2 - weights[main, (times > 2.0) & (times < 3.0)].var(), 1e-10))
    slope, at_start = np.polyfit(starts, np.log(ring), 1)
    shares, settling_s = _settling((weights - final) / load, times)
    quiet = weights[:, (times > -2.0) & (times < -0.8)].std(axis=1, keepdims=True)
    touched = np.flatnonzero((np.abs(weights) > np.maximum(8 * quiet, 0.008)).any(axis=0) & (np.abs(times) < 0.5))
    moving = weights[:, (times > -0.5) & (times < 0.35)]
    beyond = moving - np.clip(moving, np.minimum(final, 0), np.maximum(final, 0))
    return _PickCourse(
        ringing_share=float(np.exp(at_start) * np.sqrt(2) / load),
        ringing_s=float(np.clip(-1 / slope, 0.1, 2.0)) if slope < 0 else 2.0,
        settling_share=shares,
        settling_s=settling_s,
        force_kg=float(np.abs(beyond).max()),
        touch_s=float(max(-times[touched[0]], 0.02)),
    )


def _settling(relative: np.ndarray, times: np.ndarray) -> tuple[float, float]:
    """Slow settling as (deviation over plates of its first share of the load, common time constant s), by least squares."""
    edges = np.arange(0.5, 3.0, 0.125)
    bins = np.array([relative[:, (times >= edge) & (times < edge + 0.125)].mean(axis=1) for edge in edges]).T
    best = (np.inf, 0.0, 0.5)
    for time_constant in np.arange(0.2, 2.01, 0.1):
        decay = np.exp(-edges / time_constant)
        starts = bins @ decay / (decay @ decay)
        left = ((bins - starts[:, None] * decay) ** 2).sum()
        if left < best[0]:
            best = (left, float(np.sqrt(np.mean(starts**2))), float(time_constant))
    return best[1], best[2]


def _rounded(value: float) -> float:
    return float(f"{float(value):.4g}")


_HEADER = """# Measured properties of weighing shelves (kg, s, Hz), made by `python -m aisle_sim.fit_scale_model`; do not edit by hand.
# Meaning of the fields: scale_model.py; how each was got and how good it is: docs/simulation.md.
"""


def write_scale_model(model: ScaleModel, path: str | Path) -> None:
    """Writes the model as YAML."""
    Path(path).write_text(_HEADER + yaml.safe_dump(scale_model_to_mapping(model), sort_keys=False), encoding="utf-8")


def draw_comparison(recording: Recording, store: Store, model: ScaleModel, path: str | Path, seed: int = 0) -> None:
    """Draws the recording's picks beside simulated ones of the same products at the same plates, on the same axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.5), layout="constrained")
    axes = figure.subplots(len(NANOSTORE_PICKS), 2, sharex="row", sharey="row", squeeze=False)
    for row, pick in zip(axes, NANOSTORE_PICKS, strict=True):
        shown = [plate for plate in range(min(pick.plates) - 2, max(pick.plates) + 3) if str(plate) in _shelf(store, pick).plates]
        _draw_weights(row[0], *_real_pick(recording, pick, shown), shown)
        _draw_weights(row[1], *_simulated_pick(recording, store, model, pick, shown, seed), shown)
        row[0].set_title(f"real: {1000 * pick.weight_kg:.0f} g from shelf {pick.gondola}/{pick.shelf}")
        row[1].set_title(f"simulated (nominal, seed {seed})")
        row[0].set_ylabel("change of reading, g")
        row[0].legend(fontsize="small", loc="lower left")
    for axis in axes[-1]:
        axis.set_xlabel("time from the pick, s")
    figure.savefig(path, dpi=80)


def _shelf(store: Store, pick: Pick) -> Shelf:
    return store.shelf(str(pick.gondola), str(pick.shelf))


def _draw_weights(axis, times: np.ndarray, weights: np.ndarray, plates: Sequence[int]) -> None:
    quiet = times < -0.8
    for plate, values in zip(plates, weights, strict=True):
        axis.plot(times, 1000 * (values - np.nanmedian(values[quiet])), linewidth=0.9, label=f"plate {plate}")
    axis.grid(alpha=0.3)


def _real_pick(recording: Recording, pick: Pick, plates: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    rows = recording.shelf(pick.gondola, pick.shelf)
    rows = [row for row in rows if recording.plates[row, 2] in plates]
    times = recording.times[rows[0]] - pick.time_s
    near = np.abs(times) < 3
    return times[near], recording.weights[rows][:, near]


def _simulated_pick(
    recording: Recording, store: Store, model: ScaleModel, pick: Pick, plates: Sequence[int], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The same pick played in a store whose shelves all have the character that was measured on the pick's shelf."""
    character = model.shelves[recording.shelves.index((pick.gondola, pick.shelf))]
    labelled = tuple(str(plate) for plate in pick.plates[-2:])
    event = LabelledEvent(0.0, "shopper", "pick", str(pick.gondola), str(pick.shelf), labelled, (pick.product,))
    simulated = simulate(store, LabelledSession("comparison", (event,)), "nominal", seed, model=replace(model, shelves=(character,)))
    reach = simulated.reenactment.reaches[0]
    readings = [r for r in simulated.records if isinstance(r, ScaleReading) and r.gondola == event.gondola and r.shelf == event.shelf]
    weights = np.concatenate([r.weights for r in readings]).T
    starts = np.array([(r.stamp_ns - simulated.start_ns) / 1e9 for r in readings])
    times = (starts[:, None] + np.arange(_BATCH) / _RATE_HZ).ravel() - reach.time_s
    near = np.abs(times) < 3
    columns = [readings[0].plates.index(str(plate)) for plate in plates]
    return times[near], weights[columns][:, near]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path, help="plates.npz of the NanoStore's recording of 2020-01")
    parser.add_argument("--out", type=Path, help="where to write the fitted model (YAML)")
    parser.add_argument("--compare", type=Path, metavar="PNG", help="where to draw the real picks beside simulated ones; needs --store")
    parser.add_argument("--store", type=Path, help="the store of the recording, for --compare")
    options = parser.parse_args(arguments)
    if options.compare and not options.store:
        parser.error("--compare needs --store")
    try:
        recording = load_recording(options.recording)
        store = load_store(options.store) if options.store else None
    except (OSError, ValueError, StoreError) as error:
        print(f"fit_scale_model: {error}", file=sys.stderr)
        return 2
    model = fit(recording, NANOSTORE_PICKS)
    if options.out:
        write_scale_model(model, options.out)
    if options.compare:
        draw_comparison(recording, store, model, options.compare)
    if not options.out and not options.compare:
        print(yaml.safe_dump(scale_model_to_mapping(model), sort_keys=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
