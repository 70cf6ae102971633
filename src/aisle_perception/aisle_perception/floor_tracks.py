"""Tracks of people from floor detections in a file: the store's floor tracker on detections that somebody else has made.

The file has a header and one row per detection: ``frame,x_m,y_m`` and, if known, ``sigma_m`` (standard deviation along each axis) and
``camera``. Rows of one frame and camera are different persons; rows of different cameras may be the same person. Without a camera column
all are taken for one camera's. Frames without rows are frames in which nobody was found.

A recording can be judged with hindsight: what is said of a frame waits ``lookback_s`` for the frames after it (``deferred_association``).
A person then has a row from his first detection on and not from the one that confirmed him, none after his last, also in frames between
where nobody found him, and his places are smoothed. With ``lookback_s`` 0 each frame is judged by those up to it, by the live graph's
``FloorTracker``, and only who is found in a frame has a row in it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS
from aisle_perception.association import ClusterInitiator, FloorDetections
from aisle_perception.deferred_association import Decided, DeferredConfig, DeferredTracker
from aisle_perception.floor_tracker import FloorTracker, FloorTrackerConfig

REQUIRED, OPTIONAL = ("frame", "x_m", "y_m"), ("sigma_m", "camera")
RESULT = ("frame", "id", "x_m", "y_m")


class FloorFileError(Exception):
    """A detections file that cannot be used; the message names file, line and field."""


@dataclass(frozen=True)
class FloorTracksConfig(DeferredConfig, FloorTrackerConfig):
    """Parameters for detections that are already on the floor: few, good, and of cameras whose views are not known."""

    velocity_memory_s: float = parameter(60.0, "A person whom nobody sees is thought to slow down with this time constant, s", 0.1, 60.0)
    shadow_gate: float = parameter(0.0, "Within this of a person a detection of a camera that misses him begins no other", 0.0, 400.0)
    duplicate_m: float = parameter(0.0, "Two tracks nearer than this may be one person, m", 0.0, 2.0)
    existence_start: float = parameter(-1.5, "Log-odds of a new track before its first detections count", -10.0, 2.0)
    hit_gain: float = parameter(2.0, "Log-odds that one camera's detection adds", 0.0, 5.0)
    greatest_slot_gain: float = parameter(2.0, "Most log-odds gained in one slot", 0.1, 10.0)
    fading_per_s: float = parameter(5.0, "Log-odds lost per second by a person whom no camera finds, wherever he is", 0.0, 20.0)
    confirm_log_odds: float = parameter(2.2, "Log-odds from which on a track is given out", -5.0, 10.0)
    greatest_log_odds: float = parameter(4.0, "Upper bound of the log-odds", 1.0, 20.0)
    sigma_m: float = parameter(0.14, "Standard deviation of detections that do not tell theirs, along each axis, m", 0.005, 5.0)
    lookback_s: float = parameter(2.5, "What is said of a frame waits this long for later ones, s; 0: not at all", 0.0, 60.0)
    lookback_frames: int = parameter(6, "And at most this many of them", 1, 50)


@dataclass(frozen=True)
class FloorDetection:
    """One row of a detections file; ``sigma_m`` None: not told."""

    frame: int
    x_m: float
    y_m: float
    sigma_m: float | None = None
    camera: str = ""


@dataclass(frozen=True)
class FloorPosition:
    """One row of a tracks file. ``seen``: a detection of this very frame belongs to it, else the place follows from those around it."""

    frame: int
    track: int
    x_m: float
    y_m: float
    seen: bool = True


@dataclass(frozen=True)
class FloorRun:
    """What ``run_floor`` has done: frames stepped through (with the empty ones), detections read, tracks and rows written, how many of
    the rows are of frames in which the person was not seen, and by how much the numbers of successive frames differ."""

    frames: int
    detections: int
    tracks: int
    positions: int
    unseen: int
    frame_step: int


def run_floor(detections: Path, tracks: Path, rate_hz: float, config: FloorTracksConfig | None = None) -> FloorRun:
    """Reads a detections file, follows everybody and writes the tracks file, whole or not at all.

    Successive frames are 1 / ``rate_hz`` seconds apart; their numbers may go in equal steps of any size (0, 5, 10 ...).
    Raises FloorFileError for a file that cannot be read or used, ValueError for an impossible rate, OSError if writing fails.
    """
    rows = read_detections(detections)
    positions, frames, step = track_floor(rows, rate_hz, config)
    write_positions(tracks, positions)
    unseen = sum(1 for p in positions if not p.seen)
    return FloorRun(frames, len(rows), len({p.track for p in positions}), len(positions), unseen, step)


def read_detections(path: Path) -> list[FloorDetection]:
    """The rows of a detections file in the file's order. Raises FloorFileError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _rows(path, csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise FloorFileError(f"{path}: cannot be read: {reason}") from error
    except csv.Error as error:
        raise FloorFileError(f"{path}: is no CSV file: {error}") from error


def _rows(path: Path, lines: Iterable[list[str]]) -> list[FloorDetection]:
    reader = iter(lines)
    header = [name.strip() for name in next(reader, [])]
    wanted = f"expected the columns {','.join(REQUIRED)} and, if known, {','.join(OPTIONAL)}"
    if missing := [name for name in REQUIRED if name not in header]:
        raise FloorFileError(f"{path}, line 1: no column {', '.join(missing)} in '{','.join(header)}', {wanted}")
    if unknown := [name for name in header if name not in REQUIRED + OPTIONAL]:
        raise FloorFileError(f"{path}, line 1: unknown column '{unknown[0]}', {wanted}")
    if len(set(header)) != len(header):
        raise FloorFileError(f"{path}, line 1: a column occurs twice in '{','.join(header)}', {wanted}")
    rows = []
    for line in reader:
        if not line:
            continue
        where = f"{path}, line {reader.line_num}"
        if len(line) != len(header):
            raise FloorFileError(f"{where}: {len(line)} fields, expected {len(header)} ({','.join(header)})")
        rows.append(_row(where, dict(zip(header, (text.strip() for text in line), strict=True))))
    return rows


def _row(where: str, texts: dict[str, str]) -> FloorDetection:
    try:
        frame = int(texts["frame"])
    except ValueError:
        raise FloorFileError(f"{where}: frame is '{texts['frame']}', expected an integer") from None
    x_m, y_m = (_number(where, name, texts[name]) for name in ("x_m", "y_m"))
    sigma_m = _number(where, "sigma_m", texts["sigma_m"]) if texts.get("sigma_m") else None
    if sigma_m is not None and sigma_m <= 0.0:
        raise FloorFileError(f"{where}: sigma_m is '{texts['sigma_m']}', expected metres > 0, or nothing")
    return FloorDetection(frame, x_m, y_m, sigma_m, texts.get("camera", ""))


def _number(where: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FloorFileError(f"{where}: {name} is '{text}', expected a number")
    return value


def write_positions(path: Path, positions: Sequence[FloorPosition]) -> None:
    """Writes a tracks file, whole or not at all (OSError)."""
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(RESULT)
            writer.writerows((p.frame, p.track, f"{p.x_m:.3f}", f"{p.y_m:.3f}") for p in positions)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def track_floor(
    rows: Sequence[FloorDetection], rate_hz: float, config: FloorTracksConfig | None = None
) -> tuple[list[FloorPosition], int, int]:
    """Positions by frame and track, the number of frames and the step between their numbers. The order of ``rows`` does not matter."""
    if not (math.isfinite(rate_hz) and rate_hz > 0.0):
        raise ValueError(f"the rate is {rate_hz} Hz, expected more than 0")
    if not rows:
        return [], 0, 1
    frames = sorted({row.frame for row in rows})
    step = math.gcd(*(later - frames[0] for later in frames)) or 1
    by_frame: dict[int, list[FloorDetection]] = {}
    for row in sorted(rows, key=lambda r: (r.frame, r.camera, r.x_m, r.y_m, r.sigma_m or 0.0)):
        by_frame.setdefault(row.frame, []).append(row)
    tracks = FloorTracks(sorted({row.camera for row in rows}), rate_hz, config)
    positions = []
    for frame in range(frames[0], frames[-1] + step, step):
        positions += tracks.step(frame, by_frame.get(frame, []))
    positions += tracks.flush()
    return positions, (frames[-1] - frames[0]) // step + 1, step


class OpenFloor:
    """A place of which nothing is known: one can be anywhere, leave anywhere, and no camera has to see anything."""

    def __init__(self, cameras: int) -> None:
        self._cameras = cameras

    def on_floor(self, positions: np.ndarray, margin: float = 0.0) -> np.ndarray:
        return np.ones(len(np.atleast_2d(positions)), dtype=bool)

    def at_exit(self, positions: np.ndarray) -> np.ndarray:
        return np.zeros(len(positions), dtype=bool)

    def at_entrance(self, positions: np.ndarray) -> np.ndarray:
        return np.zeros(len(positions), dtype=bool)

    def silence(self, positions: np.ndarray) -> np.ndarray:
        return np.zeros((self._cameras, len(positions)))


class FloorTracks:
    """Floor detections frame by frame in, positions out: those of a frame once the frames that may change them have been taken too."""

    def __init__(self, cameras: Sequence[str], rate_hz: float, config: FloorTracksConfig | None = None) -> None:
        self._config = config = FloorTracksConfig() if config is None else config
        self._camera_number = {camera: number for number, camera in enumerate(cameras)}
        self._frames: list[int] = []
        lookback = round(config.lookback_s * rate_hz)
        self._follower: _AtOnce | _Deferred
        if config.lookback_s <= 0.0:
            self._follower = _AtOnce(config, 1.0 / rate_hz, len(cameras))
        else:
            self._follower = _Deferred(config, 1.0 / rate_hz, min(max(lookback, 1), config.lookback_frames))

    def step(self, frame: int, rows: Sequence[FloorDetection]) -> list[FloorPosition]:
        """Takes the detections of the next frame, possibly none; gives the positions of the frame that is now decided, if any."""
        self._frames.append(frame)
        decided = self._follower.step(self._detections(rows))
        delay = self._follower.delay
        return self._positions(self._frames[-1 - delay], decided) if len(self._frames) > delay else []

    def flush(self) -> list[FloorPosition]:
        """The end of the recording: positions of the frames that still waited."""
        waiting = self._follower.flush()
        frames = self._frames[len(self._frames) - len(waiting) :]
        return [p for frame, decided in zip(frames, waiting, strict=True) for p in self._positions(frame, decided)]

    def _detections(self, rows: Sequence[FloorDetection]) -> FloorDetections:
        deviation = np.array([self._config.sigma_m if row.sigma_m is None else row.sigma_m for row in rows])
        return _on_floor(
            np.array([(row.x_m, row.y_m) for row in rows]).reshape(-1, 2),
            deviation[:, None, None] ** 2 * np.eye(2),
            np.array([self._camera_number[row.camera] for row in rows], dtype=int),
        )

    @staticmethod
    def _positions(frame: int, decided: Sequence[Decided]) -> list[FloorPosition]:
        return [FloorPosition(frame, d.track, float(d.state[0]), float(d.state[1]), d.seen) for d in decided]


class _AtOnce:
    """The floor tracker of the live graph: each frame by itself."""

    delay = 0

    def __init__(self, config: FloorTracksConfig, period_s: float, cameras: int) -> None:
        self._floor = FloorTracker(OpenFloor(cameras), config)
        self._cameras = np.arange(cameras)
        self._period_s = period_s
        self._steps = 0
        self._tracks: dict[str, int] = {}

    def step(self, detections: FloorDetections) -> list[Decided]:
        stamp_ns = round(self._steps * self._period_s * NANOSECONDS)
        self._steps += 1
        self._floor.step(detections, self._cameras, stamp_ns)
        people = self._floor.people
        found = (people.confirmed & (people.seen_ns == stamp_ns)).nonzero()[0].tolist()
        return [
            Decided(self._tracks.setdefault(people.tracks[row], len(self._tracks) + 1), people.means[row].copy(), True) for row in found
        ]

    def flush(self) -> list[list[Decided]]:
        return []


class _Deferred:
    """Detections of several cameras made one per person, then decided with hindsight."""

    def __init__(self, config: FloorTracksConfig, period_s: float, delay: int) -> None:
        self.delay = delay
        self._tracker = DeferredTracker(config, period_s, delay)
        self._initiator = ClusterInitiator(config.cluster_gate)

    def step(self, detections: FloorDetections) -> list[Decided]:
        fused = [detections.fused(group) for group in self._initiator.clusters(detections)]
        positions = np.array([position for position, _ in fused]).reshape(-1, 2)
        covariances = np.array([covariance for _, covariance in fused]).reshape(-1, 2, 2)
        return self._tracker.step(_on_floor(positions, covariances, np.zeros(len(fused), dtype=int)))

    def flush(self) -> list[list[Decided]]:
        return self._tracker.flush()


def _on_floor(positions: np.ndarray, covariances: np.ndarray, cameras: np.ndarray) -> FloorDetections:
    return FloorDetections(positions, covariances, np.zeros(len(positions)), cameras, np.zeros((len(positions), 0, 3)))
