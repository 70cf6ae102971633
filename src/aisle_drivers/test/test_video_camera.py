from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle_contract.records import NANOSECONDS, DiagnosticLevel
from aisle_drivers.video_camera import Frame, RateLimit, VideoCamera, VideoCameraConfig, VideoSourceError, is_live

START_NS = 1_578_000_000_000_000_000
WIDTH, HEIGHT = 160, 90


def picture(number: int) -> np.ndarray:
    """A grey picture whose brightness tells its number."""
    return np.full((HEIGHT, WIDTH, 3), 20 + 8 * number, dtype=np.uint8)


def number_of(frame: Frame) -> int:
    return round((float(frame.image.mean()) - 20) / 8)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 pictures at 12.5 Hz."""
    path = tmp_path_factory.mktemp("video") / "pictures.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, (WIDTH, HEIGHT))
    for number in range(25):
        writer.write(picture(number))
    writer.release()
    return path


def play(camera: VideoCamera) -> list[Frame]:
    camera.open()
    camera.start()
    frames = []
    while not camera.ended:
        frame = camera.take(timeout_s=0.2)
        if frame is not None:
            frames.append(frame)
    camera.stop()
    return frames


def file_camera(source: Path, size: tuple[int, int] | None = None, **settings) -> VideoCamera:
    config = VideoCameraConfig(source=str(source), start_stamp_ns=START_NS, **{"speed": 0.0, **settings})
    return VideoCamera(config, now_ns=time.time_ns, name="camera 1", size=size)


def test_a_file_gives_every_frame_with_its_stamp(video):
    frames = play(file_camera(video))
    assert [number_of(frame) for frame in frames] == list(range(25))
    assert [frame.stamp_ns for frame in frames] == [START_NS + n * 80_000_000 for n in range(25)]
    assert frames[0].image.shape == (HEIGHT, WIDTH, 3)


def test_a_slow_reader_of_a_file_misses_nothing(video):
    camera = file_camera(video)
    camera.open()
    camera.start()
    time.sleep(0.3)
    frames = []
    while not camera.ended:
        frames += [frame for frame in [camera.take(0.1)] if frame is not None]
    camera.stop()
    assert len(frames) == 25
    assert camera.counts.overwritten == 0


def test_a_file_is_played_at_its_speed(video):
    begin = time.monotonic()
    frames = play(file_camera(video, speed=8.0))
    assert len(frames) == 25
    assert time.monotonic() - begin >= 24 * 0.08 / 8


def test_a_file_without_start_stamp_begins_now(video):
    camera = VideoCamera(VideoCameraConfig(source=str(video), speed=0.0), now_ns=lambda: 42)
    assert play(camera)[0].stamp_ns == 42


def test_the_rate_is_limited(video):
    frames = play(file_camera(video, rate_hz=5.0))
    assert len(frames) in (9, 10)
    assert np.diff([frame.stamp_ns for frame in frames]).mean() == pytest.approx(NANOSECONDS / 5, rel=0.1)


@given(
    rate_hz=st.floats(0.5, 60.0),
    source_hz=st.floats(0.5, 120.0),
    jitter=st.lists(st.floats(-0.3, 0.3), min_size=200, max_size=200),
)
def test_a_rate_limit_keeps_its_mean_rate(rate_hz, source_hz, jitter):
    stamps = [START_NS + round((n + j) * NANOSECONDS / source_hz) for n, j in enumerate(jitter)]
    limit = RateLimit(rate_hz)
    admitted = [stamp for stamp in stamps if limit.admits(stamp)]
    span_s = (stamps[-1] - stamps[0]) / NANOSECONDS
    assert len(admitted) <= span_s * rate_hz * 1.01 + 2
    # Steps of the source are the coarsest that can be lost per admitted frame.
    assert len(admitted) >= span_s / (1 / rate_hz + 1.6 / source_hz) - 1


def test_frames_are_scaled_to_the_calibration(video):
    camera = file_camera(video, size=(320, 180))
    assert {frame.image.shape for frame in play(camera)} == {(180, 320, 3)}
    assert camera.counts.unfit == 0


def test_frames_of_another_shape_are_refused_and_reported(video):
    camera = file_camera(video, size=(320, 240))
    assert play(camera) == []
    assert camera.counts.unfit == 25
    state = camera.diagnostics()[0]
    assert state.level is DiagnosticLevel.ERROR
    assert "160x90" in state.message
    assert "320x240" in state.message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(VideoSourceError, match=r"camera 1: .*nothing\.mp4: missing, expected a video file"):
        file_camera(tmp_path / "nothing.mp4").open()


@pytest.mark.parametrize("content", [b"", b"this is no video\n" * 100])
def test_a_file_that_is_no_video_is_named(tmp_path, content):
    (tmp_path / "text.mp4").write_bytes(content)
    with pytest.raises(VideoSourceError, match=r"text\.mp4: cannot be decoded, expected a video file"):
        file_camera(tmp_path / "text.mp4").open()


def test_a_cut_file_gives_what_it_has_and_is_reported(tmp_path, video):
    (tmp_path / "cut.avi").write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    camera = file_camera(tmp_path / "cut.avi")
    frames = play(camera)
    # What a decoder makes of the damaged end is its own business.
    whole = len(frames) - 2
    assert [number_of(frame) for frame in frames[:whole]] == list(range(whole))
    assert 0 < whole < 20
    state = camera.diagnostics()[0]
    assert state.level is DiagnosticLevel.WARN
    assert state.message == f"file ended after {len(frames)} of 25 frames"


def test_a_source_must_be_named():
    with pytest.raises(VideoSourceError, match="source is not set"):
        VideoCamera(VideoCameraConfig(), now_ns=time.time_ns)


@pytest.mark.parametrize(
    ("source", "live"),
    [
        ("0", True),
        ("12", True),
        ("/dev/video0", True),
        ("rtsp://host/a", True),
        ("http://host:80/a.mjpg", True),
        ("a.mp4", False),
        ("/x/0", False),
    ],
)
def test_kinds_of_sources(source, live):
    assert is_live(source) == live


class FakeCapture:
    """A device that gives ``frames`` pictures per opening, ``period_s`` apart; None for one that does not open."""

    def __init__(self, frames: int | None, period_s: float = 0.0) -> None:
        self._left = frames
        self._period_s = period_s
        self.released = False

    def isOpened(self) -> bool:
        return self._left is not None

    def grab(self) -> bool:
        time.sleep(self._period_s)
        self._left -= 1
        return self._left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, picture(self._left % 20)

    def get(self, property_id: int) -> float:
        return 0.0

    def release(self) -> None:
        self.released = True


def live_camera(captures: list[FakeCapture], **settings) -> VideoCamera:
    """Opens one capture after the other, then none."""
    waiting = iter(captures)
    clock = iter(range(START_NS, START_NS + 1_000_000_000_000, 1_000_000))
    config = VideoCameraConfig(source="0", **{"first_retry_s": 0.01, "longest_retry_s": 0.02, **settings})
    return VideoCamera(config, now_ns=lambda: next(clock), opener=lambda _: next(waiting, FakeCapture(None)))


def wait_for(condition, timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not (done := condition()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return done


def test_only_the_newest_frame_of_a_live_source_is_kept():
    camera = live_camera([FakeCapture(10)])
    camera.start()
    assert wait_for(lambda: camera.counts.reconnections == 1)
    camera.stop()
    assert number_of(camera.take()) == 0
    assert camera.take() is None
    assert camera.counts.overwritten == 9
    assert camera.counts.delivered == 1


def test_a_lost_live_source_is_opened_again():
    captures = [FakeCapture(None), FakeCapture(3), FakeCapture(None), FakeCapture(None), FakeCapture(1000, period_s=0.01)]
    camera = live_camera(captures)
    camera.start()
    frames = []

    def taken() -> bool:
        frames.extend(frame for frame in [camera.take()] if frame is not None)
        return camera.counts.reconnections == 1 and camera.diagnostics()[0].level is DiagnosticLevel.OK and len(frames) > 3

    assert wait_for(taken)
    camera.stop()
    assert all(capture.released for capture in captures)
    assert (np.diff([frame.stamp_ns for frame in frames]) > 0).all()


def test_a_live_source_that_is_not_there_is_reported():
    camera = live_camera([])
    camera.start()
    assert wait_for(lambda: "next try" in camera.diagnostics()[0].message)
    assert camera.diagnostics()[0].level is DiagnosticLevel.ERROR
    camera.stop()


class Stream(BaseHTTPRequestHandler):
    """A network camera: MJPEG over HTTP; ends after 15 pictures."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(15):
            jpeg = cv2.imencode(".jpg", picture(number))[1].tobytes()
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg))
            time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def stream_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/video.mjpg"
    server.shutdown()
    server.server_close()


def test_a_stream_over_http_that_breaks_is_joined_again(stream_url):
    config = VideoCameraConfig(source=stream_url, first_retry_s=0.05, longest_retry_s=0.1)
    camera = VideoCamera(config, now_ns=time.time_ns, size=(WIDTH, HEIGHT))
    camera.start()
    frames = []

    def joined_again() -> bool:
        frames.extend(frame for frame in [camera.take()] if frame is not None)
        return camera.counts.reconnections >= 1 and len({number_of(frame) for frame in frames}) < len(frames)

    assert wait_for(joined_again, timeout_s=20.0)
    camera.stop()
    assert (np.diff([frame.stamp_ns for frame in frames]) > 0).all()
