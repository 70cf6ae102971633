"""Plain-Python mirror of ``aisle_msgs``: what cores take and give.

Every record is one message of one topic. Cores work on records only; ``conversions`` turns records into ROS messages and back,
so that the live graph and the offline runner feed the cores the same things. Times are integer nanoseconds since the Unix epoch,
lengths metres, masses kilograms, ids strings; positions are in the frame ``store`` unless a field says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

NANOSECONDS = 1_000_000_000

#: Shopper ids of gate events that begin so are staff: they refill shelves and are charged nothing.
STAFF_PREFIX = "staff:"

#: COCO-17 keypoint names in the order of ``PersonDetections.keypoints``.
COCO_KEYPOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)


@dataclass(frozen=True, slots=True, eq=False)
class PersonDetections:
    """Persons found by one camera in one frame (``PersonDetectionArray``), possibly none.

    ``boxes`` float32 [N, 4] (x_min, y_min, x_max, y_max) px; ``scores`` float32 [N]; ``keypoints`` float32 [N, 17, 3]
    (x px, y px, confidence; 0 = not seen) or None; ``embeddings`` float32 [N, D] or None.
    """

    stamp_ns: int
    camera: str
    image_width: int
    image_height: int
    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray | None = None
    embeddings: np.ndarray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BodyPoint:
    """Head or wrist: ``position`` float64 [3] m, ``covariance`` float64 [3, 3] m^2."""

    position: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Person on the floor: ``position`` float64 [2] m, ``velocity`` float64 [2] m/s, ``covariance`` float64 [4, 4] of (x, y, vx, vy)."""

    track: str
    position: np.ndarray
    velocity: np.ndarray
    covariance: np.ndarray
    existence: float
    unseen_s: float
    head: BodyPoint | None = None
    left_wrist: BodyPoint | None = None
    right_wrist: BodyPoint | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """All confirmed tracks at one time (``TrackArray``), possibly none."""

    stamp_ns: int
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ScaleReading:
    """Consecutive samples of one shelf. ``stamp_ns`` is the FIRST sample's; ``weights`` float32 [samples, plates] kg, NaN = missing."""

    stamp_ns: int
    gondola: str
    shelf: str
    sample_period_ns: int
    plates: tuple[str, ...]
    weights: np.ndarray

    @property
    def end_ns(self) -> int:
        """Stamp of the last sample."""
        return self.stamp_ns + (len(self.weights) - 1) * self.sample_period_ns


class ShelfEventStatus(IntEnum):
    PROVISIONAL = 0
    FINAL = 1
    RETRACTED = 2
    REFINED = 3


@dataclass(frozen=True, slots=True, eq=False)
class ShelfEvent:
    """One change of load on one shelf. A PROVISIONAL one may be told again and ends FINAL or RETRACTED, with the same id. A REFINED one is
    a FINAL one of that id measured again: its ``change`` and ``deviation`` are the better ones.

    ``change`` and ``deviation`` float64 [plates] kg; negative change = something was taken. ``changed_ns`` int64 [plates]: when each plate
    came to its new load; empty: not known (older recordings)."""

    event: str
    status: ShelfEventStatus
    gondola: str
    shelf: str
    start_ns: int
    end_ns: int
    plates: tuple[str, ...]
    change: np.ndarray
    deviation: np.ndarray
    changed_ns: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class ShelfEvents:
    """News of shelf events since the last one (``ShelfEventArray``). No FINAL event that ended before ``stamp_ns`` will still follow
    (a REFINED one may, for one that was told); provisional ones may have ended after it."""

    stamp_ns: int
    events: tuple[ShelfEvent, ...]

    @property
    def final(self) -> tuple[ShelfEvent, ...]:
        """The events that are settled."""
        return tuple(event for event in self.events if event.status == ShelfEventStatus.FINAL)


@dataclass(frozen=True, slots=True, eq=False)
class ItemObservation:
    """What a sensor thinks an item in somebody's hand is. ``position`` float64 [3] m; ``likelihoods`` float64 [products]."""

    stamp_ns: int
    source: str
    position: np.ndarray
    position_deviation: float
    products: tuple[str, ...]
    likelihoods: np.ndarray


class GateEventKind(IntEnum):
    STATUS = 0
    ENTRY = 1
    EXIT = 2
    DENIED = 3


@dataclass(frozen=True, slots=True)
class GateEvent:
    """What a gate reports; STATUS is the heartbeat. Stamps of one gate increase strictly."""

    stamp_ns: int
    gate: str
    kind: GateEventKind
    credential: str = ""
    shopper: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a cart line says what it says: one shelf event as it was judged. Weights kg, distance m (NaN = unknown)."""

    event: str
    gondola: str
    shelf: str
    plates: tuple[str, ...]
    start_ns: int
    end_ns: int
    change: float
    deviation: float
    expected: float
    quantity: int
    distance: float
    probability: float
    alternative: str = ""
    alternative_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class CartLine:
    product: str
    quantity: int
    probability: float
    evidence: tuple[Evidence, ...]


class CartStatus(IntEnum):
    OPEN = 0
    CLOSED = 1


@dataclass(frozen=True, slots=True)
class Cart:
    """What one shopper is believed to hold; a CLOSED one is final and given once per session."""

    stamp_ns: int
    session: str
    shopper: str
    track: str
    status: CartStatus
    entered_ns: int
    left_ns: int
    lines: tuple[CartLine, ...]
    doubts: tuple[str, ...] = ()


class ReceiptStatus(IntEnum):
    CHARGED = 0
    REVIEW = 1


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """``unit_price`` and ``total`` are decimal numbers as text in the receipt's currency."""

    product: str
    name: str
    quantity: int
    unit_price: str
    total: str
    probability: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The bill of one visit; ``total`` is a decimal number as text."""

    stamp_ns: int
    session: str
    shopper: str
    status: ReceiptStatus
    currency: str
    total: str
    lines: tuple[ReceiptLine, ...]


@dataclass(frozen=True, slots=True)
class Review:
    stamp_ns: int
    session: str
    shopper: str
    reasons: tuple[str, ...]


class AlertLevel(IntEnum):
    INFO = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Alert:
    """Something people in the shop should know about now; ``code`` is stable lower_snake for programs."""

    stamp_ns: int
    level: AlertLevel
    source: str
    code: str
    text: str


Record = PersonDetections | Tracks | ScaleReading | ShelfEvents | ItemObservation | GateEvent | Cart | Receipt | Review | Alert


class DiagnosticLevel(IntEnum):
    """As diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """State of one part (a camera, a shelf, a buffer), published by the node as diagnostic_msgs/DiagnosticStatus."""

    name: str
    level: DiagnosticLevel
    message: str
    values: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class StepResult:
    """What a core gives back from one call: records to publish in this order, and warnings for the log."""

    records: list[Record] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def extend(self, other: StepResult) -> None:
        self.records.extend(other.records)
        self.warnings.extend(other.warnings)
