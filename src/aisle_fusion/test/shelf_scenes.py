"""Made-up weighing shelves for tests: what happens on them, and noise of kinds that differ from the simulator's.

Loads are in grams, times in seconds from the beginning. Everything is drawn from the seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from aisle_contract.records import ScaleReading, ShelfEvent, ShelfEvents
from aisle_fusion.shelf_monitor import ShelfMonitor, ShelfMonitorConfig
from aisle_store.store import Gondola, Plate, Shelf, ShelfKey, Store

RATE = 60
PERIOD_NS = 1_000_000_000 // RATE
START_NS = 1_580_000_000_000_000_000
TWELVE = tuple(str(n) for n in range(1, 13))


def make_store(shelves: dict[ShelfKey, tuple[str, ...]]) -> Store:
    gondolas: dict[str, dict[str, Shelf]] = {}
    for (gondola, shelf), names in shelves.items():
        plates = {}
        for number, name in enumerate(names):
            pose = np.eye(4)
            pose[0, 3] = 0.1 * number
            plates[name] = Plate(gondola, shelf, name, pose, 0.1, 0.4, 20.0)
        gondolas.setdefault(gondola, {})[shelf] = Shelf(gondola, shelf, np.eye(4), 1.2, 0.4, 0.05, plates)
    racks = {name: Gondola(name, np.eye(4), 1.2, 0.4, 2.0, shelves) for name, shelves in gondolas.items()}
    return Store("test", "USD", np.zeros((0, 2)), {}, racks, {}, {}, {}, {})


def ramp(t: np.ndarray, start: float, length: float) -> np.ndarray:
    """0 before, 1 after."""
    return np.clip((t - start) / length, 0.0, 1.0)


def smooth(t: np.ndarray, start: float, length: float) -> np.ndarray:
    """Like ``ramp``, without corners: hands do not move at one speed."""
    x = ramp(t, start, length)
    return x * x * (3 - 2 * x)


def coloured(rng: np.random.Generator, samples: int, plates: int, slope: float) -> np.ndarray:
    """Noise of unit deviation whose power falls with frequency ** -slope, down to one period in 20 s [samples, plates]."""
    frequencies = np.fft.rfftfreq(samples, 1 / RATE)
    amplitude = np.maximum(frequencies, 0.05) ** (-slope / 2)
    amplitude[0] = 0.0
    spectrum = amplitude[:, None] * (rng.normal(size=(len(frequencies), plates)) + 1j * rng.normal(size=(len(frequencies), plates)))
    noise = np.fft.irfft(spectrum, samples, axis=0)
    return noise / noise.std(axis=0)


def resonance(rng: np.random.Generator, samples: int, plates: int, hertz: float, quality: float = 6.0) -> np.ndarray:
    """Noise of unit deviation around a frequency, mostly the same on all plates [samples, plates]."""
    frequencies = np.fft.rfftfreq(samples, 1 / RATE)
    response = 1 / np.sqrt((1 - (frequencies / hertz) ** 2) ** 2 + (frequencies / hertz / quality) ** 2)
    drive = rng.normal(size=(samples, 1)) + 0.5 * rng.normal(size=(samples, plates))
    noise = np.fft.irfft(np.fft.rfft(drive, axis=0) * response[:, None], samples, axis=0)
    return noise / noise.std(axis=0)


#: Noise of one shelf [samples, plates] in grams, by name; none is what ``aisle_sim`` makes.
NOISES: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "white": lambda rng, n, p: 0.8 * rng.normal(size=(n, p)),
    "heavy tails": lambda rng, n, p: 0.6 * rng.standard_t(3, size=(n, p)),
    "pink": lambda rng, n, p: 0.5 * rng.normal(size=(n, p)) + 0.5 * coloured(rng, n, p, 1.0),
    "shared": lambda rng, n, p: 0.5 * rng.normal(size=(n, p)) + 1.2 * coloured(rng, n, 1, 0.6),
    "ten times": lambda rng, n, p: 6.0 * rng.normal(size=(n, p)) + 3.0 * np.sin(2 * np.pi * 21.3 * np.arange(n) / RATE)[:, None],
    "coarse": lambda rng, n, p: 0.3 * rng.normal(size=(n, p)),
    "bursts": lambda rng, n, p: 0.7 * rng.normal(size=(n, p)) + _bursts(rng, n, p),
    "drifting": lambda rng, n, p: 0.6 * rng.normal(size=(n, p)) + np.arange(n)[:, None] / RATE * rng.uniform(-10, 10, p) / 60,
}


def _bursts(rng: np.random.Generator, samples: int, plates: int) -> np.ndarray:
    """Shaking at 7 to 13 Hz that starts at once and fades within a second, every few seconds, as steps beside a shelf do."""
    t = np.arange(samples) / RATE
    swing = resonance(rng, samples, plates, rng.uniform(7, 13))
    strength = np.full(samples, 0.3)
    for start in np.cumsum(rng.exponential(3.0, int(t[-1] / 3) + 3)):
        strength += rng.lognormal(1.2, 0.8) * np.where(t > start, np.exp(-np.maximum(t - start, 0) / 0.5), 0.0)
    return strength[:, None] * swing


@dataclass(frozen=True)
class Move:
    """What really happened: ``change`` [plates] g in all, between two times."""

    start: float
    end: float
    change: np.ndarray

    @property
    def total(self) -> float:
        return float(self.change.sum())


@dataclass
class ShelfScene:
    """Loads of the plates of one shelf, to which things happen. ``moves``: the truth."""

    seconds: float
    noise: str = "white"
    seed: int = 0
    plates: int = 12
    moves: list[Move] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, sum(map(ord, self.noise))])
        self.t = np.arange(round(self.seconds * RATE)) / RATE
        self.grams = self.rng.uniform(-5000, 20000, self.plates) + NOISES[self.noise](self.rng, len(self.t), self.plates)

    def move(
        self, plate: float, grams: float, start: float, length: float = 0.3, wide: float = 0.4, pauses: Iterable[float] = ()
    ) -> ShelfScene:
        """Puts ``grams`` (negative: takes) with its centre over ``plate`` (1-based; 5.5 lies over two), ``wide`` plates to each side.

        The load's neighbours feel some of it, what is heavy rings and creeps, and ``pauses`` are times from the start at which a slow
        hand stops for a second.
        """
        edges = np.arange(self.plates + 1) + 0.5
        inside = np.diff(np.clip(edges, plate - wide, plate + wide)) / (2 * wide)
        felt = 0.02 * (np.roll(inside, 1) + np.roll(inside, -1)) * self.rng.normal(0.5, 0.7, self.plates)
        change = grams * (0.97 * inside + felt)
        progress = self._with_pauses(start, length, pauses)
        end = start + length + sum(1.0 for _ in pauses)
        self.grams += progress[:, None] * change
        since = np.maximum(self.t - end, 0)
        after = self.t >= end
        ringing = 0.05 / (1 + 3 * length) * np.exp(-since / 0.2) * np.sin(2 * np.pi * self.rng.uniform(6, 11) * since)
        self.grams += (after * ringing)[:, None] * change
        self.grams += (0.004 * after * (np.exp(-since / 2.0) - 1.0))[:, None] * change
        if length < 1:
            self._touch(change, start, end)
        self.moves.append(Move(start, end, change))
        return self

    def _with_pauses(self, start: float, length: float, pauses: Iterable[float]) -> np.ndarray:
        stops = sorted(pauses)
        if not stops:
            return smooth(self.t, start, length)
        bounds = [0.0, *stops, length]
        whole = np.zeros(len(self.t))
        for number, (low, high) in enumerate(itertools.pairwise(bounds)):
            whole += (high - low) / length * smooth(self.t, start + low + number, high - low)
        return whole

    def _touch(self, change: np.ndarray, start: float, end: float) -> None:
        """Short pushes by fingers while the thing is gripped or set down."""
        share = np.abs(change) / np.abs(change).sum()
        for _ in range(self.rng.integers(3, 8)):
            centre, width = self.rng.uniform(start - 0.1, end), self.rng.uniform(0.01, 0.04)
            force = self.rng.normal(30, 120) * self.rng.uniform(0, 1, self.plates) * np.sqrt(share)
            self.grams += np.exp(-0.5 * ((self.t - centre) / width) ** 2)[:, None] * force

    def hand(self, plate: float, grams: float, start: float, end: float) -> ShelfScene:
        """A hand that lies on plates and is never quite still: its force wanders and trembles."""
        edges = np.arange(self.plates + 1) + 0.5
        inside = np.diff(np.clip(edges, plate - 0.7, plate + 0.7)) / 1.4
        wander = coloured(self.rng, len(self.t), 1, 2.0)[:, 0]
        tremor = resonance(self.rng, len(self.t), 1, self.rng.uniform(8, 11))[:, 0]
        force = grams * np.maximum(1 + 0.25 * wander + 0.015 * tremor, 0.05)
        on = np.minimum(smooth(self.t, start, 0.2), 1 - smooth(self.t, end - 0.2, 0.2))
        self.grams += (force * on)[:, None] * inside
        return self

    def settle(self, grams: float, start: float) -> ShelfScene:
        """The whole shelf comes to rest slowly after ``grams`` have moved: plates are off by a share of it at first."""
        since = self.t - start
        off = 0.012 * grams * self.rng.normal(size=self.plates)
        self.grams += np.where(since >= 0, np.exp(-np.maximum(since, 0) / 1.3), 0.0)[:, None] * off
        return self

    def bump(self, start: float, grams: float) -> ShelfScene:
        """The whole shelf is knocked: it swings and comes back."""
        since = np.maximum(self.t - start, 0)
        swing = np.exp(-since / 0.4) * np.sin(2 * np.pi * self.rng.uniform(6, 12) * since)
        push = np.exp(-0.5 * ((self.t - start) / 0.05) ** 2)
        self.grams += (grams * (swing + push))[:, None] * self.rng.uniform(0.5, 1.5, self.plates)
        return self

    def readings(self, shelf: ShelfKey = ("1", "1"), batch: int = 12, offset_ns: int = 0) -> list[ScaleReading]:
        grams = np.round(self.grams) if self.noise == "coarse" else self.grams
        weights = (grams / 1000).astype(np.float32)
        names = TWELVE[: self.plates]
        firsts = range(0, len(weights), batch)
        return [ScaleReading(START_NS + offset_ns + n * PERIOD_NS, *shelf, PERIOD_NS, names, weights[n : n + batch]) for n in firsts]


def run_monitor(
    readings: Iterable[ScaleReading], store: Store, config: ShelfMonitorConfig | None = None
) -> tuple[list[ShelfEvents], list[str]]:
    """All reports and warnings that a monitor makes of readings."""
    monitor = ShelfMonitor(store, config or ShelfMonitorConfig())
    reports, warnings = [], []
    for result in map(monitor.step, readings):
        reports += result.records
        warnings += result.warnings
    last = monitor.flush()
    return reports + last.records, warnings + last.warnings


def run_scenes(scenes: dict[ShelfKey, ShelfScene], config: ShelfMonitorConfig | None = None) -> tuple[list[ShelfEvents], list[str]]:
    """Runs shelves beside each other; each begins its batches a little later than the one before."""
    store = make_store({key: TWELVE[: scene.plates] for key, scene in scenes.items()})
    readings = [
        reading
        for number, (key, scene) in enumerate(scenes.items())
        for reading in scene.readings(key, offset_ns=number * 7_000_000 % 200_000_000)
    ]
    return run_monitor(sorted(readings, key=lambda reading: (reading.stamp_ns, reading.gondola, reading.shelf)), store, config)


def grams(event: ShelfEvent) -> float:
    return 1000 * float(event.change.sum())


def deviation(event: ShelfEvent) -> float:
    """Standard deviation of an event's sum, g."""
    return 1000 * float(np.sqrt((event.deviation**2).sum()))


def second(stamp_ns: int) -> float:
    return (stamp_ns - START_NS) / 1e9
