"""What is reported of each camera, by a clock that the tests turn."""

from __future__ import annotations

import pytest

from aisle_contract.records import NANOSECONDS, Diagnostic, DiagnosticLevel
from aisle_perception.camera_health import SILENCE_S, CameraHealth, latency_s


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> CameraHealth:
    return CameraHealth(["1", "3"], clock)


def _run(health: CameraHealth, clock: Clock, camera: str, frames: int, detections: int = 2) -> None:
    """10 frames per second, each dealt with after 40 ms."""
    for _ in range(frames):
        clock.now_s += 0.1
        health.arrived(camera)
        health.detected(camera, detections, 0.04)


def _by_name(health: CameraHealth) -> dict[str, Diagnostic]:
    return {entry.name: entry for entry in health.diagnostics("detector")}


def test_figures_of_a_camera_that_delivers(health: CameraHealth, clock: Clock) -> None:
    _run(health, clock, "1", 100)
    entry = _by_name(health)["detector/camera_1"]
    assert entry.level == DiagnosticLevel.OK
    values = dict(entry.values)
    assert float(values["rate"].removesuffix(" Hz")) == pytest.approx(10.0, abs=0.3)
    assert values["latency"] == "40 ms"
    assert values["detections per frame"] == "2.00"
    assert values["age of last frame"] == "0.00 s"


def test_a_camera_falls_silent_and_comes_back(health: CameraHealth, clock: Clock) -> None:
    _run(health, clock, "1", 5)
    _run(health, clock, "3", 5)
    assert health.turned() == []
    _run(health, clock, "1", 12)
    assert health.turned() == []
    _run(health, clock, "1", 5)
    assert health.turned() == ["3"]
    entry = _by_name(health)["detector/camera_3"]
    assert (entry.level, entry.message) == (DiagnosticLevel.STALE, "silent for 1.7 s")
    assert _by_name(health)["detector/camera_1"].level == DiagnosticLevel.OK
    assert health.turned() == [], "a change is told once"
    _run(health, clock, "3", 1)
    assert health.turned() == ["3"]


def test_a_camera_that_never_began_is_silent_too(health: CameraHealth, clock: Clock) -> None:
    assert _by_name(health)["detector/camera_1"].message == "waiting for the first frame"
    clock.now_s += SILENCE_S + 0.1
    assert set(health.turned()) == {"1", "3"}
    assert _by_name(health)["detector/camera_1"].message == "no frame since the start 1.6 s ago"


def test_what_a_core_says_of_a_camera_is_completed(health: CameraHealth, clock: Clock) -> None:
    _run(health, clock, "1", 3)
    core = Diagnostic("detector/camera_1", DiagnosticLevel.WARN, "some came too late", (("dropped", "4"),))
    whole = Diagnostic("detector", DiagnosticLevel.OK, "well")
    entries = {entry.name: entry for entry in health.diagnostics("detector", [core, whole])}
    assert list(entries) == ["detector/camera_1", "detector/camera_3", "detector"]
    merged = entries["detector/camera_1"]
    assert (merged.level, merged.message) == (DiagnosticLevel.WARN, "some came too late")
    assert {"rate", "dropped"} <= dict(merged.values).keys()


def test_stamps_of_another_clock_tell_no_latency() -> None:
    assert latency_s(5 * NANOSECONDS, 4 * NANOSECONDS) == 1.0
    assert latency_s(1_700_000_000 * NANOSECONDS, 4 * NANOSECONDS) is None
