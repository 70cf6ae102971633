"""How well each camera delivers: rate, latency, age of the last frame, detections per frame; what is silent.

For reports only. The clock is the machine's steady one, so that a camera is found silent although nothing comes any more and whatever
the bag's or the simulation's time does; no decision may depend on it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from aisle_contract.records import NANOSECONDS, Diagnostic, DiagnosticLevel

#: A camera without a frame for so long is reported as silent. With ``CHECK_PERIOD_S`` it stays well below 2 s.
SILENCE_S = 1.5
#: How often nodes look whether a camera has fallen silent or has come back.
CHECK_PERIOD_S = 0.2
#: Rates and means are those of the last seconds.
WINDOW_S = 5.0
#: Stamps that differ more than this from the node's clock are of another clock.
SAME_CLOCK_S = 60.0


@dataclass(frozen=True, slots=True)
class _Result:
    at_s: float
    detections: int
    latency_s: float | None


@dataclass
class _Camera:
    arrivals: deque[float] = field(default_factory=deque)
    results: deque[_Result] = field(default_factory=deque)
    last_s: float | None = None
    silent: bool = False

    def forget(self, before_s: float) -> None:
        while self.arrivals and self.arrivals[0] < before_s:
            self.arrivals.popleft()
        while self.results and self.results[0].at_s < before_s:
            self.results.popleft()


class CameraHealth:
    """Counts the frames of several cameras. ``now_s`` is a steady clock."""

    def __init__(self, cameras: Iterable[str], now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._begin_s = now_s()
        self._cameras = {camera: _Camera() for camera in cameras}

    def knows(self, camera: str) -> bool:
        return camera in self._cameras

    def arrived(self, camera: str) -> None:
        """A frame, or what was found in it elsewhere, has come from the camera."""
        state = self._cameras[camera]
        state.last_s = self._now_s()
        state.arrivals.append(state.last_s)
        state.forget(state.last_s - WINDOW_S)

    def detected(self, camera: str, detections: int, latency_s: float | None) -> None:
        """What was found in a frame is known. ``latency_s``: since its stamp; None where the stamps are of another clock."""
        self._cameras[camera].results.append(_Result(self._now_s(), detections, latency_s))

    def turned(self) -> list[str]:
        """Cameras that have fallen silent or come back since the last call."""
        turned = []
        for camera, state in self._cameras.items():
            silent = self._age_s(state) > SILENCE_S
            if silent != state.silent:
                state.silent = silent
                turned.append(camera)
        return turned

    def diagnostics(self, prefix: str, known: Sequence[Diagnostic] = ()) -> list[Diagnostic]:
        """One entry for each camera, named ``<prefix>/camera_<id>``; an entry of that name in ``known`` is completed, the others follow."""
        others = {entry.name: entry for entry in known}
        cameras = []
        for camera, state in self._cameras.items():
            own = self._diagnostic(f"{prefix}/camera_{camera}", state)
            other = others.pop(own.name, None)
            cameras.append(own if other is None else _together(own, other))
        return [*cameras, *others.values()]

    def _diagnostic(self, name: str, state: _Camera) -> Diagnostic:
        now_s = self._now_s()
        state.forget(now_s - WINDOW_S)
        age_s = self._age_s(state)
        latencies = [result.latency_s for result in state.results if result.latency_s is not None]
        found = [result.detections for result in state.results]
        values = (
            ("rate", f"{len(state.arrivals) / max(min(WINDOW_S, now_s - self._begin_s), 1e-3):.1f} Hz"),
            ("age of last frame", "none" if state.last_s is None else f"{age_s:.2f} s"),
            ("latency", f"{sum(latencies) / len(latencies) * 1e3:.0f} ms" if latencies else "unknown"),
            ("longest latency", f"{max(latencies) * 1e3:.0f} ms" if latencies else "unknown"),
            ("detections per frame", f"{sum(found) / len(found):.2f}" if found else "unknown"),
        )
        if age_s <= SILENCE_S:
            return Diagnostic(name, DiagnosticLevel.OK, "waiting for the first frame" if state.last_s is None else "frames arrive", values)
        message = f"silent for {age_s:.1f} s" if state.last_s is not None else f"no frame since the start {age_s:.1f} s ago"
        return Diagnostic(name, DiagnosticLevel.STALE, message, values)

    def _age_s(self, state: _Camera) -> float:
        """Time since the last frame, or since the beginning where there was none yet."""
        return self._now_s() - (self._begin_s if state.last_s is None else state.last_s)


def latency_s(now_ns: int, stamp_ns: int) -> float | None:
    """Seconds from a stamp until now; None for a stamp of another clock (a recording that is played without /clock)."""
    latency = (now_ns - stamp_ns) / NANOSECONDS
    return latency if abs(latency) <= SAME_CLOCK_S else None


def _together(first: Diagnostic, second: Diagnostic) -> Diagnostic:
    worse = max(first, second, key=lambda entry: entry.level)
    return Diagnostic(first.name, worse.level, worse.message, first.values + second.values)
