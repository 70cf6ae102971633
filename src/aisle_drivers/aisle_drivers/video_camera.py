"""Frames of a device, a stream or a video file by OpenCV, with acquisition stamps.

A live source (device, URL) is read as fast as it gives and only its newest frame is kept: old pictures are worth nothing, and a driver
that lags must not lag ever more. A lost one is opened again with growing pauses. A file gives every frame, in order, and then ends.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, Diagnostic, DiagnosticLevel
from aisle_drivers.reconnection import Backoff

#: FFmpeg would otherwise wait 30 s for a dead stream.
STREAM_TIMEOUT_MS = 5000
#: Frames of a file that are decoded ahead.
FILE_QUEUE_LENGTH = 8
#: A frame may come this share of the period early and still count as due: cameras jitter.
RATE_TOLERANCE = 0.1
#: Largest difference of aspect ratio of a frame to its calibration that scaling forgives.
ASPECT_TOLERANCE = 0.01
#: A live source that gave no frame for so long is reported.
SILENCE_S = 2.0
#: How often a node looks for new frames. rclpy's events executor has no guard conditions by which the reading thread could wake it.
FRAME_POLL_PERIOD_S = 0.01


@dataclass(frozen=True)
class VideoCameraConfig:
    source: str = parameter("", "Device (0, /dev/video0), stream (rtsp://..., http://...) or video file")
    rate_hz: float = parameter(0.0, "Highest rate of frames, Hz; 0: all that come", 0.0, 1000.0)
    start_stamp_ns: int = parameter(0, "Stamp of a file's first frame, ns since the Unix epoch; 0: when it is opened", 0)
    speed: float = parameter(1.0, "Speed at which a file is played; 0: as fast as frames are taken", 0.0, 1000.0)
    first_retry_s: float = parameter(0.5, "Pause before a lost live source is opened again, s; doubles with each failure", 0.01, 60.0)
    longest_retry_s: float = parameter(10.0, "Longest such pause, s", 0.01, 600.0)


class VideoSourceError(ValueError):
    """A source that cannot give frames: says which, what was found and what is expected."""


@dataclass(frozen=True, eq=False)
class Frame:
    """``image`` uint8 [height, width, 3] BGR; ``stamp_ns`` when it was taken."""

    stamp_ns: int
    image: np.ndarray


class Capture(Protocol):
    """What is used of ``cv2.VideoCapture``."""

    def isOpened(self) -> bool: ...

    def grab(self) -> bool: ...

    def retrieve(self) -> tuple[bool, np.ndarray]: ...

    def get(self, property_id: int) -> float: ...

    def release(self) -> None: ...


@dataclass
class CaptureCounts:
    """``delivered`` frames were handed on; ``overwritten`` ones were replaced by newer ones before anybody took them, ``unfit`` ones had
    another shape than the calibration; ``reconnections`` counts losses of the source.
    """

    delivered: int = 0
    overwritten: int = 0
    unfit: int = 0
    reconnections: int = 0


class RateLimit:
    """Thins frames by their stamps to at most ``rate_hz`` (0: lets all pass)."""

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = round(NANOSECONDS / rate_hz) if rate_hz > 0 else 0
        self._due_ns: int | None = None

    def admits(self, stamp_ns: int) -> bool:
        if self._due_ns is not None and stamp_ns < self._due_ns - round(RATE_TOLERANCE * self._period_ns):
            return False
        on_time = self._due_ns is not None and stamp_ns < self._due_ns + self._period_ns
        self._due_ns = (self._due_ns if on_time else stamp_ns) + self._period_ns
        return True


def is_live(source: str) -> bool:
    """Whether a source is a device or a stream; otherwise it is a file."""
    return source.isdecimal() or "://" in source or source.startswith("/dev/")


def open_capture(source: str) -> Capture:
    """OpenCV's capture of a source; whether it works is told by ``isOpened``."""
    if source.isdecimal():
        return cv2.VideoCapture(int(source))
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, STREAM_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, STREAM_TIMEOUT_MS]
    return cv2.VideoCapture(source, cv2.CAP_FFMPEG, timeouts) if "://" in source else cv2.VideoCapture(source)


@dataclass
class VideoCamera:
    """Reads frames in a thread of its own; ``take`` hands them out.

    ``now_ns`` is the clock that stamps live frames. ``size``: width and height of the calibration; frames of another size but the same
    shape are scaled to it, others are counted as unfit. ``name`` stands in errors and diagnostics.
    """

    config: VideoCameraConfig
    now_ns: Callable[[], int]
    name: str = "camera"
    size: tuple[int, int] | None = None
    opener: Callable[[str], Capture] = open_capture
    counts: CaptureCounts = field(default_factory=CaptureCounts)

    def __post_init__(self) -> None:
        if not self.config.source:
            raise VideoSourceError(f"{self.name}: source is not set, expected a device, a URL or a video file")
        self.live = is_live(self.config.source)
        self._frames: queue.Queue[Frame] = queue.Queue(maxsize=1 if self.live else FILE_QUEUE_LENGTH)
        self._stop = threading.Event()
        self._limit = RateLimit(self.config.rate_hz)
        self._last_stamp_ns = -1
        self._last_frame_at: float | None = None
        self._file: Capture | None = None
        self._problem = "not started"
        self._shortfall = ""
        self._thread: threading.Thread | None = None
        self._ended = False

    def open(self) -> None:
        """Opens a file, so that its errors come now. Raises VideoSourceError for one that is missing or cannot be decoded. A live source
        may come later and is opened by the reading thread.
        """
        if not self.live:
            self._file = self._open_file()

    def start(self) -> None:
        """Begins to capture, after ``open``."""
        target = self._capture_live if self.live else self._play_file
        self._problem = "connecting" if self.live else ""
        self._thread = threading.Thread(target=target, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and releases the source; waits as long as a stream's timeout."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * STREAM_TIMEOUT_MS / 1000)
        elif self._file is not None:
            self._file.release()

    def take(self, timeout_s: float = 0.0) -> Frame | None:
        """The next frame, waiting up to ``timeout_s`` for one; None if there is none."""
        try:
            return self._frames.get(block=timeout_s > 0, timeout=timeout_s or None)
        except queue.Empty:
            return None

    @property
    def ended(self) -> bool:
        """True once a file's last frame was taken."""
        return self._ended and self._frames.empty()

    def diagnostics(self) -> list[Diagnostic]:
        level, message = self._state()
        counts = vars(self.counts)
        return [Diagnostic(self.name, level, message, (("source", self.config.source), *((key, str(n)) for key, n in counts.items())))]

    def _state(self) -> tuple[DiagnosticLevel, str]:
        if self._problem:
            return DiagnosticLevel.ERROR, self._problem
        if self._ended:
            level = DiagnosticLevel.WARN if self._shortfall else DiagnosticLevel.OK
            return level, self._shortfall or "file ended"
        if self.live and self._last_frame_at is not None and time.monotonic() - self._last_frame_at > SILENCE_S:
            return DiagnosticLevel.STALE, f"no frame for {time.monotonic() - self._last_frame_at:.0f} s"
        return DiagnosticLevel.OK, "running"

    def _open_file(self) -> Capture:
        path = Path(self.config.source)
        if not path.is_file():
            raise VideoSourceError(f"{self.name}: {path}: missing, expected a video file (or a device or URL)")
        capture = self.opener(str(path))
        if not capture.isOpened() or capture.get(cv2.CAP_PROP_FPS) <= 0:
            capture.release()
            raise VideoSourceError(f"{self.name}: {path}: cannot be decoded, expected a video file that OpenCV reads")
        return capture

    def _play_file(self) -> None:
        capture = self._file
        period_ns = NANOSECONDS / capture.get(cv2.CAP_PROP_FPS)
        expected = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        start_ns = self.config.start_stamp_ns or self.now_ns()
        begin = time.monotonic()
        index = 0
        while not self._stop.is_set() and capture.grab():
            offset_ns = round(index * period_ns)
            if self.config.speed > 0:
                self._stop.wait(max(0.0, begin + offset_ns / NANOSECONDS / self.config.speed - time.monotonic()))
            if not self._deliver(capture, start_ns + offset_ns):
                break
            index += 1
        capture.release()
        if not self._stop.is_set() and index < expected:
            self._shortfall = f"file ended after {index} of {expected} frames"
        self._ended = True

    def _capture_live(self) -> None:
        backoff = Backoff(self.config.first_retry_s, self.config.longest_retry_s)
        while not self._stop.is_set():
            capture = self.opener(self.config.source)
            if capture.isOpened():
                self._read_live(capture, backoff)
                self.counts.reconnections += 1
            capture.release()
            wait_s = backoff.wait_s()
            self._problem = f"{self.config.source}: no picture, next try in {wait_s:.1f} s"
            self._stop.wait(wait_s)

    def _read_live(self, capture: Capture, backoff: Backoff) -> None:
        """Until the source fails or the camera is stopped."""
        while not self._stop.is_set() and capture.grab():
            stamp_ns = self.now_ns()
            if not self._deliver(capture, stamp_ns):
                return
            self._last_frame_at = time.monotonic()
            backoff.reset()

    def _deliver(self, capture: Capture, stamp_ns: int) -> bool:
        """Hands on the grabbed frame if it is due; False if it cannot be decoded."""
        if stamp_ns <= self._last_stamp_ns or not self._limit.admits(stamp_ns):
            return True
        try:
            decoded, image = capture.retrieve()
        except cv2.error:
            return False
        if not decoded or image is None:
            return False
        self._last_stamp_ns = stamp_ns
        fitting = self._fitted(image)
        if fitting is None:
            self.counts.unfit += 1
            return True
        self._problem = ""
        self._put(Frame(stamp_ns, fitting))
        return True

    def _fitted(self, image: np.ndarray) -> np.ndarray | None:
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        height, width = image.shape[:2]
        if self.size is None or (width, height) == self.size:
            return image
        if abs(width / height * self.size[1] / self.size[0] - 1) > ASPECT_TOLERANCE:
            self._problem = f"frames of {width}x{height} px, expected the shape of the calibration, {self.size[0]}x{self.size[1]}"
            return None
        shrinks = width > self.size[0]
        return cv2.resize(image, self.size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

    def _put(self, frame: Frame) -> None:
        while not self._stop.is_set():
            try:
                self._frames.put(frame, timeout=0.1) if not self.live else self._frames.put_nowait(frame)
            except queue.Full:
                if self.live:
                    self._drop_oldest()
                continue
            self.counts.delivered += 1
            return

    def _drop_oldest(self) -> None:
        try:
            self._frames.get_nowait()
        except queue.Empty:
            return
        self.counts.overwritten += 1
        self.counts.delivered -= 1
