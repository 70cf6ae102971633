"""Boxes of one camera followed in the image, for cameras without a floor and for detections in MOTChallenge files.

All tracks are rows of arrays: prediction, gating, association, correction and judgement of a frame take the same few NumPy calls for one
person and for hundreds. Units are seconds and box heights, so that the same parameters fit near and far people and any image size.
The parts can be exchanged (initiator, associator, updater, deleter) and stand on the same ground as the floor tracker's: ``kalman``
(motion), ``assignment`` (who gets what), ``existence`` (who is real, who has gone), ``appearance`` (who looks like whom).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS
from aisle_perception import existence, kalman
from aisle_perception.appearance import cosines, unit_rows
from aisle_perception.assignment import assign
from aisle_perception.existence import LifeConfig, ScoreEvidence


@dataclass(frozen=True)
class ImageTrackerConfig(LifeConfig):
    """Parameters of the image-plane tracker. "h" is the height of the track's box."""

    position_noise: float = parameter(0.05, "Standard deviation of a detected box's centre, h", 0.001, 0.5)
    size_noise: float = parameter(0.07, "Standard deviation of a detected box's width and height, h", 0.001, 0.5)
    acceleration_density: float = parameter(0.3, "Spectral density of the centre's acceleration, h^2/s^3", 0.0, 100.0)
    size_density: float = parameter(0.03, "The same of width and height", 0.0, 100.0)
    velocity_deviation: float = parameter(2.0, "Standard deviation of a new track's velocity, h/s", 0.01, 20.0)
    size_velocity_deviation: float = parameter(0.2, "The same of width and height", 0.01, 20.0)
    velocity_memory_s: float = parameter(1.0, "A person who is not found is thought to slow down with this time constant, s", 0.05, 60.0)
    least_score: float = parameter(0.1, "Detections with a lower score are not used", 0.0, 1.0)
    strong_score: float = parameter(0.7, "Detections from this score on are assigned first, and to all tracks", 0.0, 1.0)
    start_score: float = parameter(0.7, "Detections from this score on may begin a track", 0.0, 1.0)
    gate: float = parameter(
        11.3, "Squared Mahalanobis distance of centre and height within which a detection may belong (99 %)", 1.0, 200.0
    )
    least_overlap: float = parameter(0.2, "Least intersection over union of predicted and detected box", 0.0, 1.0)
    absence_cost: float = parameter(0.25, "Overlap that a second without a detection outweighs, up to one second, 1/s", 0.0, 1.0)
    weak_overlap: float = parameter(0.3, "The same for weak detections", 0.0, 1.0)
    weak_memory_s: float = parameter(0.2, "Tracks unseen for longer get no weak detections, s", 0.0, 10.0)
    embedding_weight: float = parameter(0.5, "Share of the appearance in the comparison, where embeddings are given", 0.0, 1.0)
    embedding_memory: float = parameter(0.9, "Share of the old appearance that a new detection leaves", 0.0, 1.0)
    least_similarity: float = parameter(0.3, "Least cosine of two embeddings of one person", -1.0, 1.0)
    lost_similarity: float = parameter(0.5, "The same for a person who was not found for a second or longer", -1.0, 1.0)
    camera_motion: float = parameter(3.0, "Standard errors from which on a shift that all boxes share is the camera's", 0.0, 1e6)
    greatest_gain: float = parameter(1.5, "Most log-odds that one detection adds", 0.1, 10.0)
    least_gain: float = parameter(0.3, "Least log-odds that one detection adds", 0.0, 10.0)
    fading_per_s: float = parameter(6.0, "Log-odds lost per second by a track that is not found", 0.0, 100.0)
    known_fading_per_s: float = parameter(0.8, "The same by a confirmed track with an embedding, by which it can be told again", 0.0, 100.0)
    confirm_log_odds: float = parameter(0.0, "Log-odds from which on a track is given out", -5.0, 10.0)
    delete_log_odds: float = parameter(-2.0, "Log-odds below which a track ends", -20.0, 0.0)
    shown_s: float = parameter(0.0, "Confirmed tracks are given out at their predicted place while unseen for up to this, s", 0.0, 10.0)


#: What makes centre, width and height of left, top, right, bottom, and the reverse: boxes [N, 4] are multiplied by it from the right.
_TO_CENTRED = np.array([[0.5, 0.0, -1.0, 0.0], [0.0, 0.5, 0.0, -1.0], [0.5, 0.0, 1.0, 0.0], [0.0, 0.5, 0.0, 1.0]])
_TO_CORNERS = np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0], [-0.5, 0.0, 0.5, 0.0], [0.0, -0.5, 0.0, 0.5]])


@dataclass(frozen=True, eq=False)
class BoxDetections:
    """One frame: ``boxes`` float [M, 4] (left, top, right, bottom, px), ``scores`` [M] 0..1, ``embeddings`` [M, E] of unit length.

    Rows of zeros are no embeddings; what has none, or a whole frame without them, is compared by place alone.
    """

    boxes: np.ndarray
    scores: np.ndarray
    embeddings: np.ndarray | None = None
    #: Centre, width and height, float64 [M, 4].
    measured: np.ndarray = field(init=False)
    #: Left and top, right and bottom, float64 [2, M] each, and width times height [M].
    low: np.ndarray = field(init=False)
    high: np.ndarray = field(init=False)
    area: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, dtype=float).reshape(-1, 4)
        measured = boxes @ _TO_CENTRED
        corners = boxes.T.copy()
        # The class is frozen for its users; this is its constructor.
        self.__dict__.update(measured=measured, low=corners[:2], high=corners[2:], area=measured[:, 2] * measured[:, 3])

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class ImageTracks:
    """Tracks given out: ``ids`` int [N], ``births`` int [N] (order in which they began, the same for a track before and after it got its
    id), ``boxes`` float64 [N, 4] (left, top, right, bottom, px), ``existence`` [N] 0..1, ``detections`` int [N] (number of the frame's
    detection that was found to be the track's, -1: none)."""

    ids: np.ndarray
    births: np.ndarray
    boxes: np.ndarray
    log_odds: np.ndarray
    detections: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def existence(self) -> np.ndarray:
        """Probability 0..1, float64 [N], that each track is a real person."""
        return 1.0 / (1.0 + np.exp(-self.log_odds))

    @classmethod
    def none(cls) -> ImageTracks:
        number = np.zeros(0, dtype=int)
        return cls(number, number, np.zeros((0, 4)), np.zeros(0), number)


@dataclass(eq=False)
class BoxTracks:
    """All followed boxes, one row each: ``states`` (centre x, y, width, height), ``log_odds`` [N] of being real, ``unseen_s`` [N],
    ``ids`` int [N] (0: not yet confirmed), ``births`` int [N] (order of beginning), ``embeddings`` [N, E] or None."""

    states: kalman.AxisStates
    log_odds: np.ndarray
    unseen_s: np.ndarray
    ids: np.ndarray
    births: np.ndarray
    embeddings: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.log_odds)

    def subset(self, chosen: np.ndarray) -> BoxTracks:
        embeddings = None if self.embeddings is None else self.embeddings[chosen]
        return BoxTracks(
            self.states.subset(chosen), self.log_odds[chosen], self.unseen_s[chosen], self.ids[chosen], self.births[chosen], embeddings
        )

    def joined(self, others: BoxTracks) -> BoxTracks:
        rows = [(self.log_odds, others.log_odds), (self.unseen_s, others.unseen_s), (self.ids, others.ids), (self.births, others.births)]
        embeddings = _joined_embeddings(self, others)
        return BoxTracks(self.states.joined(others.states), *(np.concatenate(pair) for pair in rows), embeddings)


_NOBODY = np.zeros(0, dtype=int)


def _joined_embeddings(first: BoxTracks, second: BoxTracks) -> np.ndarray | None:
    given = [tracks.embeddings for tracks in (first, second) if tracks.embeddings is not None]
    if not given:
        return None
    missing = (np.zeros((len(tracks), given[0].shape[1])) for tracks in (first, second))
    return np.concatenate([zeros if t.embeddings is None else t.embeddings for t, zeros in zip((first, second), missing, strict=True)])


class BoxAssociator(Protocol):
    """Decides which detection belongs to which track."""

    def assign(self, tracks: BoxTracks, detections: BoxDetections) -> np.ndarray: ...


class BoxInitiator(Protocol):
    """Makes tracks of detections that belong to none: of which ones, int [K], and the tracks."""

    def begin(self, detections: BoxDetections, free: np.ndarray, first_birth: int) -> tuple[np.ndarray, BoxTracks | None]: ...


class BoxUpdater(Protocol):
    """Moves tracks in time and corrects them by their detections."""

    def predict(self, tracks: BoxTracks, dt_s: float) -> None: ...

    def update(self, tracks: BoxTracks, found: np.ndarray, detections: BoxDetections, used: np.ndarray, dt_s: float) -> None: ...


class BoxDeleter(Protocol):
    """Decides which tracks end: bool [N]."""

    def gone(self, tracks: BoxTracks) -> np.ndarray: ...


class OverlapAssociator:
    """Three passes, each a global assignment of what the earlier ones left (after ByteTrack: Zhang et al., ECCV 2022, arXiv:2110.06864).

    1. Strong detections by overlap with the predicted boxes of all tracks (and appearance, where embeddings are given).
    2. Weak ones by overlap with tracks that were found a moment ago: a person half hidden is detected with a low score.
    3. Strong ones by Mahalanobis distance: whoever comes out of an occlusion is where the prediction's covariance allows, though the
       boxes need not overlap.
    """

    def __init__(self, config: ImageTrackerConfig) -> None:
        self._config = config
        self._noise = _noise_shares(config)

    def assign(self, tracks: BoxTracks, detections: BoxDetections) -> np.ndarray:
        """int [N]: the detection of each track, -1 for none."""
        config = self._config
        found = np.full(len(tracks), -1)
        strong = detections.scores >= config.strong_score
        columns = strong.nonzero()[0]
        overlap = _overlap(tracks.states.position, detections)
        possible = overlap if len(columns) == len(detections) else overlap.take(columns, axis=1)
        gain = self._with_appearance(self._overlap_gain(possible, tracks), tracks, detections, columns)
        rows, chosen = assign(gain)
        found[rows] = columns.take(chosen)
        if len(rows) in (len(tracks), len(detections)):
            return found
        if len(columns) < len(detections):
            waiting = ((found < 0) & (tracks.unseen_s <= config.weak_memory_s)).nonzero()[0]
            weak = (~strong & (detections.scores >= config.least_score)).nonzero()[0]
            if len(weak) and len(waiting):
                rows, taken = assign(overlap[waiting[:, None], weak] - config.weak_overlap)
                found[waiting[rows]] = weak[taken]
        if len(chosen) < len(columns):
            strong[columns.take(chosen)] = False
            columns = strong.nonzero()[0]
            lost = (found < 0).nonzero()[0]
            gain = 1.0 - self._distance(tracks, lost, detections, columns) / config.gate
            rows, chosen = assign(self._with_appearance(gain, tracks, detections, columns, lost))
            found[lost[rows]] = columns[chosen]
        return found

    def _overlap_gain(self, overlap: np.ndarray, tracks: BoxTracks) -> np.ndarray:
        """Whoever was found a moment ago has the better claim on a detection than somebody who was lost for long."""
        needed = self._config.absence_cost * np.minimum(tracks.unseen_s, 1.0) + self._config.least_overlap
        return overlap - needed[:, None]

    def _distance(self, tracks: BoxTracks, lost: np.ndarray, detections: BoxDetections, columns: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance [N, M] of centre and height; widths change with every step and turn."""
        position = tracks.states.position[lost]
        spread = tracks.states.position_variance[lost] + self._noise * np.square(position[:, 3:])
        difference = np.square(detections.measured[columns] - position[:, None]) / spread[:, None]
        return difference[..., 0] + difference[..., 1] + difference[..., 3]

    def _with_appearance(
        self, gain: np.ndarray, tracks: BoxTracks, detections: BoxDetections, columns: np.ndarray, rows: np.ndarray | None = None
    ) -> np.ndarray:
        if tracks.embeddings is None or detections.embeddings is None:
            return gain
        known, unseen_s = tracks.embeddings, tracks.unseen_s
        if rows is not None:
            known, unseen_s = known[rows], unseen_s[rows]
        similarity = cosines(known, detections.embeddings[columns])
        config = self._config
        needed = config.least_similarity + (config.lost_similarity - config.least_similarity) * np.minimum(unseen_s, 1.0)
        mixed = (1.0 - config.embedding_weight) * gain + config.embedding_weight * (similarity - config.least_similarity)
        with_look = np.where((gain > 0.0) & (similarity >= needed[:, None]), np.maximum(mixed, 1e-6), 0.0)
        return np.where(np.isnan(similarity), gain, with_look)


class CameraMotion:
    """Takes out of the predictions what all boxes share: a camera that shakes or turns moves them all alike.

    The shift is the median of the differences between detections and predictions; it counts where it is clearly more than its own standard
    error (1.25 times that of a mean for normal errors, the spread from the range between the quartiles; Huber, Robust Statistics, 1981).
    """

    _FEWEST = 3
    #: Shifts below this share of a box height change nothing.
    _LEAST = 0.005
    _DEVIATIONS_PER_RANGE = 0.7413
    _MEDIAN_OVER_MEAN = 1.2533

    def __init__(self, config: ImageTrackerConfig) -> None:
        self._errors = config.camera_motion

    def correct(self, tracks: BoxTracks, detections: BoxDetections, found: np.ndarray, used: np.ndarray) -> bool:
        """Moves the tracks, in place, and tells whether it did; tracks ``found`` (rows) were taken for detections ``used``."""
        count = len(found)
        if count < self._FEWEST:
            return False
        position = tracks.states.position
        difference = (detections.measured.take(used, axis=0) - position.take(found, axis=0))[:, :2]
        difference.sort(axis=0)
        wanted = difference.take([(count - 1) // 2, count // 2, count // 4, (3 * count - 1) // 4], axis=0).T.tolist()
        share = self._errors * self._DEVIATIONS_PER_RANGE * self._MEDIAN_OVER_MEAN / math.sqrt(count)
        shift = [0.5 * (lower + upper) for lower, upper, _, _ in wanted]
        clear = [abs(moved) > share * (quartile[3] - quartile[2]) for moved, quartile in zip(shift, wanted, strict=True)]
        if not any(clear):
            return False
        least = self._errors * self._LEAST * float(position[:, 3].mean())
        moved = [value if sure and abs(value) > least else 0.0 for value, sure in zip(shift, clear, strict=True)]
        position[:, :2] += moved
        return any(moved)


class ScoreInitiator:
    """Every detection of a sufficient score that belongs to nobody begins a track, unconfirmed."""

    def __init__(self, config: ImageTrackerConfig) -> None:
        self._config = config
        self._noise = _noise_shares(config)
        self._evidence = ScoreEvidence(config.least_gain, config.greatest_gain)
        self._velocity_shares = np.square([config.velocity_deviation] * 2 + [config.size_velocity_deviation] * 2)

    def begin(self, detections: BoxDetections, free: np.ndarray, first_birth: int) -> tuple[np.ndarray, BoxTracks | None]:
        chosen = (free & (detections.scores >= self._config.start_score)).nonzero()[0]
        count = len(chosen)
        if not count:
            return chosen, None
        measured = detections.measured[chosen]
        square = np.square(measured[:, 3:])
        states = kalman.AxisStates.at_rest(measured, self._noise * square, self._velocity_shares * square)
        log_odds = self._config.existence_start + self._evidence.of(detections.scores[chosen])
        births = np.arange(first_birth, first_birth + count)
        embeddings = None if detections.embeddings is None else detections.embeddings[chosen]
        return chosen, BoxTracks(states, log_odds, np.zeros(count), np.zeros(count, dtype=int), births, embeddings)


class BoxKalmanUpdater:
    """Constant velocity of centre, width and height; evidence of existence added up."""

    def __init__(self, config: ImageTrackerConfig) -> None:
        self._config = config
        self._noise = _noise_shares(config)
        self._evidence = ScoreEvidence(config.least_gain, config.greatest_gain)
        self._densities = (config.acceleration_density, config.acceleration_density, config.size_density, config.size_density)

    def predict(self, tracks: BoxTracks, dt_s: float) -> None:
        states = tracks.states
        kalman.predict_axes(states, dt_s, self._densities, np.square(states.position[:, 3:]))
        unseen = tracks.unseen_s.nonzero()[0]
        if len(unseen):
            states.velocity[unseen] *= math.exp(-dt_s / self._config.velocity_memory_s)
        # A shrinking box that is not found must not turn inside out.
        np.maximum(states.position[:, 2:], 1.0, out=states.position[:, 2:])

    def update(self, tracks: BoxTracks, found: np.ndarray, detections: BoxDetections, used: np.ndarray, dt_s: float) -> None:
        """Tracks ``found`` (rows) are corrected by detections ``used``; all others fade."""
        config, measured = self._config, detections.measured.take(used, axis=0)
        kalman.update_axes(tracks.states, found, measured, self._noise * np.square(measured[:, 3:]))
        tracks.unseen_s += dt_s
        tracks.unseen_s[found] = 0.0
        change = self._fading(tracks, dt_s)
        change[found] = self._evidence.of(detections.scores.take(used))
        tracks.log_odds = existence.added(config, tracks.log_odds, change)
        if detections.embeddings is not None:
            self._look(tracks, found, detections.embeddings[used])

    def _fading(self, tracks: BoxTracks, dt_s: float) -> np.ndarray:
        """Log-odds [N] that the tracks gain without a detection."""
        fading = np.empty(len(tracks))
        fading.fill(-self._config.fading_per_s * dt_s)
        if tracks.embeddings is not None:
            fading[(tracks.ids > 0) & tracks.embeddings.any(axis=1)] = -self._config.known_fading_per_s * dt_s
        return fading

    def _look(self, tracks: BoxTracks, found: np.ndarray, embeddings: np.ndarray) -> None:
        if tracks.embeddings is None:
            tracks.embeddings = np.zeros((len(tracks), embeddings.shape[1]))
        given = embeddings.any(axis=1)
        rows, new = found[given], embeddings[given]
        old = tracks.embeddings[rows]
        kept = np.where(old.any(axis=1), self._config.embedding_memory, 0.0)[:, None]
        tracks.embeddings[rows] = unit_rows(kept * old + (1.0 - kept) * new)


class FadingDeleter:
    """Ends tracks whose existence has become unlikely."""

    def __init__(self, config: ImageTrackerConfig) -> None:
        self._config = config

    def gone(self, tracks: BoxTracks) -> np.ndarray:
        return existence.ended(self._config, tracks.log_odds)


class ImageTracker:
    """``step`` takes one frame's detections, also none, and gives the confirmed tracks of that frame."""

    def __init__(
        self,
        config: ImageTrackerConfig | None = None,
        *,
        initiator: BoxInitiator | None = None,
        associator: BoxAssociator | None = None,
        updater: BoxUpdater | None = None,
        deleter: BoxDeleter | None = None,
    ) -> None:
        self._config = config = ImageTrackerConfig() if config is None else config
        self._initiator = ScoreInitiator(config) if initiator is None else initiator
        self._associator = OverlapAssociator(config) if associator is None else associator
        self._updater = BoxKalmanUpdater(config) if updater is None else updater
        self._deleter = FadingDeleter(config) if deleter is None else deleter
        self._camera_motion = CameraMotion(config)
        self._tracks: BoxTracks | None = None
        self._stamp_ns: int | None = None
        self._births = self._confirmed = 0

    def step(self, stamp_ns: int, detections: BoxDetections, *, unconfirmed: bool = False) -> ImageTracks:
        """Stamps must increase; a frame that is not later than the one before raises ValueError.

        With ``unconfirmed`` the tracks that have no id yet (0) are given out too.
        """
        dt_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / NANOSECONDS
        if self._stamp_ns is not None and dt_s <= 0.0:
            raise ValueError(f"frame of {stamp_ns} ns follows one of {self._stamp_ns} ns, expected a later one")
        self._stamp_ns = stamp_ns
        tracks = self._tracks
        free = np.ones(len(detections), dtype=bool)
        own = _NOBODY
        if tracks is not None and len(tracks):
            self._updater.predict(tracks, dt_s)
            own, found, used = self._associated(tracks, detections)
            free[used] = False
            self._updater.update(tracks, found, detections, used, dt_s)
            gone = self._deleter.gone(tracks)
            if gone.any():
                tracks, own = tracks.subset(~gone), own[~gone]
        started, begun = self._initiator.begin(detections, free, self._births)
        if begun is not None:
            self._births += len(begun)
            tracks = begun if tracks is None else tracks.joined(begun)
            own = np.concatenate((own, started))
        self._tracks = tracks
        return ImageTracks.none() if tracks is None else self._given_out(tracks, own, unconfirmed)

    def _associated(self, tracks: BoxTracks, detections: BoxDetections) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The detection of each track (-1: none), the rows of those that have one, and theirs."""
        if not len(detections):
            return np.full(len(tracks), -1), _NOBODY, _NOBODY
        own = self._associator.assign(tracks, detections)
        found = (own >= 0).nonzero()[0]
        used = own.take(found)
        if self._camera_motion.correct(tracks, detections, found, used):
            own = self._associator.assign(tracks, detections)
            found = (own >= 0).nonzero()[0]
            used = own.take(found)
        return own, found, used

    def _given_out(self, tracks: BoxTracks, own: np.ndarray, unconfirmed: bool) -> ImageTracks:
        if not tracks.ids.all():
            new = ((tracks.ids == 0) & existence.confirmed(self._config, tracks.log_odds)).nonzero()[0]
            tracks.ids[new] = np.arange(self._confirmed + 1, self._confirmed + 1 + len(new))
            self._confirmed += len(new)
        shown = tracks.unseen_s <= self._config.shown_s
        if not unconfirmed:
            shown &= tracks.ids > 0
        shown = shown.nonzero()[0]
        # take is what indexing by an array does, at a third of the cost for few rows.
        boxes = tracks.states.position.take(shown, axis=0) @ _TO_CORNERS
        return ImageTracks(tracks.ids.take(shown), tracks.births.take(shown), boxes, tracks.log_odds.take(shown), own.take(shown))


def _noise_shares(config: ImageTrackerConfig) -> np.ndarray:
    """Variances of a detection's centre x, y, width and height in squares of its height."""
    return np.square([config.position_noise, config.position_noise, config.size_noise, config.size_noise])


def _overlap(centred: np.ndarray, detections: BoxDetections) -> np.ndarray:
    """Intersection over union, float64 [N, M], of ``centred`` boxes [N, 4] (centre, width, height) with detections."""
    low, high = (centred @ _TO_CORNERS).T.copy().reshape(2, 2, -1, 1)
    shared = np.minimum(high, detections.high[:, None])
    shared -= np.maximum(low, detections.low[:, None])
    np.maximum(shared, 0.0, out=shared)
    overlap = shared[0] * shared[1]
    union = (centred[:, 2] * centred[:, 3])[:, None] + detections.area
    union -= overlap
    overlap /= union
    return overlap
