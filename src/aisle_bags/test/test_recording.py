"""What a recorder does, without ROS: bags, rings, drops, masked images, and what a kill -9 leaves."""

from __future__ import annotations

import os
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml
from mcap.records import Metadata
from mcap.stream_reader import StreamReader

pytest.importorskip("aisle_msgs.msg", reason="aisle_msgs is not built: run the tests by ./aisle test")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import CompressedImage, Image

from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_recovery import recover_bag
from aisle_bags.bag_store import store_of
from aisle_bags.bag_writer import absolute
from aisle_bags.masked_images import Message
from aisle_bags.recording import Recording, RecordingConfig
from aisle_contract import topics
from aisle_contract.conversions import header_message, image_message, serialised, to_message
from aisle_contract.images import bgr_image
from aisle_contract.record_topics import topic_of
from aisle_contract.records import (
    Alert,
    AlertLevel,
    DiagnosticLevel,
    GateEvent,
    GateEventKind,
    PersonDetections,
    Record,
    Review,
    Track,
    Tracks,
)
from aisle_store.store_files import load_store

STORE = Path(__file__).resolve().parents[3] / "config" / "stores" / "nanostore-2020-01"
GATE = absolute(topics.gate_events("entrance"), "/")
ALERTS = absolute(topics.ALERTS, "/")
SECOND = 1_000_000_000
PATIENCE_S = 30.0


def recording(folder: Path, **config: object) -> Recording:
    return Recording(RecordingConfig(output=str(folder), free_megabytes=0.0, **config), load_store(STORE), STORE)


def message(record: Record, number: int | None = None, sender: bytes = b"a") -> Message:
    now_ns = time.time_ns()
    return Message(absolute(topic_of(record), "/").name, serialised(to_message(record)), now_ns, now_ns, sender, number)


def gate(number: int, **fields: object) -> Message:
    return message(GateEvent(time.time_ns(), "entrance", GateEventKind.STATUS, **fields), number)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s"
        time.sleep(0.02)


def messages(bag: Path) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    with BagReader(bag) as reader:
        for stored in reader.messages():
            found.setdefault(stored.topic, []).append(stored.data)
    return found


def custom_data(bag: Path) -> dict[str, str]:
    return yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]["custom_data"]


def test_what_is_taken_is_in_the_bag(tmp_path: Path) -> None:
    record = recording(tmp_path / "bag")
    record.declare(GATE)
    given = [gate(number) for number in range(1, 200)]
    for item in given:
        record.take(item)
    record.close()
    assert messages(tmp_path / "bag") == {GATE.name: [item.data for item in given]}
    with BagReader(tmp_path / "bag") as reader:
        assert store_of(reader).name == "nanostore-2020-01"
    assert custom_data(tmp_path / "bag") == {"aisle.images": "all", "aisle.dropped": "0"}


def test_gaps_are_counted_for_each_sender_and_repeated_messages_left_out(tmp_path: Path) -> None:
    record = recording(tmp_path / "bag")
    record.declare(GATE)
    for number, sender in [(5, b"a"), (6, b"a"), (100, b"b"), (9, b"a"), (9, b"a"), (101, b"b"), (8, b"a"), (11, b"a")]:
        record.take(gate(number)._replace(sender=sender))
    (state,) = record.diagnostics()
    assert (state.level, state.message) == (DiagnosticLevel.WARN, "3 messages were dropped")
    record.close()
    assert len(messages(tmp_path / "bag")[GATE.name]) == 6
    expected = {"aisle.dropped": "3", f"aisle.dropped {GATE.name}": "3"}
    assert custom_data(tmp_path / "bag").items() >= expected.items()
    (file,) = (tmp_path / "bag").glob("*.mcap")
    with file.open("rb") as stream:
        (note,) = [item for item in StreamReader(stream).records if isinstance(item, Metadata) and item.name == "rosbag2"]
    assert yaml.safe_load(note.metadata["serialized_metadata"])["custom_data"].items() >= expected.items()


def test_what_arrived_late_but_was_sent_before_is_logged_before(tmp_path: Path) -> None:
    record = recording(tmp_path / "bag")
    record.declare(GATE)
    now_ns = time.time_ns()
    # (number, sender, when it arrived): 1 and 2 had to be sent again, and 3, which had been there before, was held back for them.
    given = [(1, b"a", 50), (2, b"a", 60), (3, b"a", 10), (1, b"b", 20), (4, b"a", 90), (5, b"a", 95 - 60 * SECOND)]
    sent = [gate(number)._replace(sender=sender, log_time_ns=now_ns + after_ns) for number, sender, after_ns in given]
    for item in sent:
        record.take(item)
    record.close()
    with BagReader(tmp_path / "bag") as reader:
        found = [(stored.data, stored.log_time_ns - now_ns) for stored in reader.messages()]
    # A clock that was set back by a minute is not waited for.
    assert found[0] == (sent[5].data, 95 - 60 * SECOND)
    assert found[1:] == [(sent[3].data, 20), (sent[0].data, 50), (sent[1].data, 60), (sent[2].data, 60), (sent[4].data, 90)]


def test_what_does_not_fit_into_the_queue_is_counted(tmp_path: Path) -> None:
    record = recording(tmp_path / "bag", queue_megabytes=1.0)
    record.declare(GATE)
    large = gate(1, reason="x" * 100_000)
    began = time.monotonic()
    for number in range(1, 31):
        record.take(large._replace(number=number))
    assert time.monotonic() - began < 5.0
    record.close()
    held = len(messages(tmp_path / "bag")[GATE.name])
    assert held + record.dropped[GATE.name] == 30
    assert custom_data(tmp_path / "bag")["aisle.dropped"] == str(30 - held)
    # More than one can only have come through if the queue was emptied meanwhile.
    assert record.dropped[GATE.name] > 0


def test_a_full_disk_stops_the_recording_with_a_readable_bag(tmp_path: Path) -> None:
    record = recording(tmp_path / "bag", compression="none")
    record.declare(GATE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, limits[1]))
    try:
        number = 0
        while not record.failure:
            number += 1
            assert number < 10_000
            record.take(gate(number, reason="x" * 5000))
            time.sleep(0.001)
        record.take(gate(number + 1))
        wait_until(lambda: (tmp_path / "bag" / "metadata.yaml").exists())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (state,) = record.diagnostics()
    assert (state.level, state.message) == (DiagnosticLevel.ERROR, "stopped: File too large")
    record.close()
    held = len(messages(tmp_path / "bag")[GATE.name])
    assert held > 100
    assert held + record.dropped[GATE.name] == number + 1
    assert custom_data(tmp_path / "bag")["aisle.stopped"] == "File too large"


def test_a_nearly_full_disk_stops_the_recording(tmp_path: Path) -> None:
    config = RecordingConfig(output=str(tmp_path / "bag"), free_megabytes=1e6)
    record = Recording(config, load_store(STORE), STORE)
    record.declare(GATE)
    record.take(gate(1))
    wait_until(lambda: bool(record.failure))
    assert re.fullmatch(r"only \d+ MB are free, 1e\+06 MB are to stay", record.failure)
    record.close()
    assert len(messages(tmp_path / "bag")[GATE.name]) == 1


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"output": ""}, "parameter 'output' is not set"),
        ({"images": "some"}, "parameter 'images' is 'some', expected one of none, masked, all"),
        ({"compression": "zip"}, "parameter 'compression' is 'zip', expected one of none, lz4, zstd"),
        ({"include": "(("}, r"parameter 'include' is '\(\(', expected a regular expression"),
        ({"ring_triggers": "alert,fire"}, "parameter 'ring_triggers' holds 'fire', expected alert, review, diagnostic"),
    ],
)
def test_wrong_parameters_are_named(tmp_path: Path, values: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Recording(RecordingConfig(**{"output": str(tmp_path / "bag"), **values}), load_store(STORE), STORE)
    assert not (tmp_path / "bag").exists()


# Ring mode.


def saved_bags(folder: Path) -> list[Path]:
    return sorted(bag for bag in folder.glob("*") if (bag / "metadata.yaml").exists() and bag.name != "ring")


def test_the_ring_keeps_the_last_seconds_and_what_is_latched(tmp_path: Path) -> None:
    record = recording(tmp_path / "ring", ring_s=10.0)
    record.declare(GATE)
    record.declare(ALERTS)
    start_ns = time.time_ns()
    info = message(Alert(start_ns, AlertLevel.INFO, "x", "opened", "The shop is open"), 1)._replace(log_time_ns=start_ns)
    record.take(info)
    record.declare(topics.TF_STATIC)
    broadcasts = [bytes([0, 1, 0, 0, number]) for number in (1, 2)]
    for sender in broadcasts:
        record.take(Message("/tf_static", sender, start_ns, start_ns, sender, 1))
    for number in range(600):
        record.take(gate(number)._replace(log_time_ns=start_ns + number * SECOND // 10))
    wait_until(lambda: "603" in dict(record.diagnostics()[0].values)["messages"])
    bag = record.save("Somebody asked: why?")
    wait_until(bag.exists)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_Somebody_asked_why", bag.name)
    assert len(list((tmp_path / "ring" / "ring").glob("*.mcap"))) <= 13
    record.close()
    with BagReader(bag) as reader:
        log_times = [stored.log_time_ns for stored in reader.messages([GATE.name])]
        assert store_of(reader).name == "nanostore-2020-01"
    # The last 10 seconds and at most one of the ring's files more.
    assert log_times[-1] == start_ns + 599 * SECOND // 10
    assert 10 * SECOND <= log_times[-1] - log_times[0] <= 11.1 * SECOND
    assert messages(bag)[ALERTS.name] == [info.data]
    assert messages(bag)["/tf_static"] == broadcasts
    assert custom_data(bag)["aisle.reason"] == "Somebody asked: why?"
    assert sorted(folder.name for folder in (tmp_path / "ring").iterdir()) == [bag.name]


def test_alerts_and_reviews_save_the_ring_a_little_later(tmp_path: Path) -> None:
    record = recording(tmp_path / "ring", ring_s=60.0, ring_after_s=0.5)
    reviews = absolute(topics.REVIEWS, "/")
    for topic in (GATE, ALERTS, reviews):
        record.declare(topic)
    now_ns = time.time_ns()
    record.take(message(Alert(now_ns, AlertLevel.ERROR, "x", "old", "From before"), 1)._replace(publish_time_ns=now_ns - 60 * SECOND))
    record.take(message(Alert(now_ns, AlertLevel.INFO, "x", "fine", "Nothing"), 2))
    record.take(gate(1))
    record.poll()
    assert record.diagnostics()[0].values[-1] == ("bags saved", "0")
    record.take(message(Alert(now_ns, AlertLevel.WARN, "shelf", "scale_lost", "A scale is lost"), 3))
    record.take(message(Review(now_ns, "s1", "ann", ("unsure",)), 1))
    time.sleep(0.2)
    record.poll()
    record.take(gate(2))
    time.sleep(0.4)
    record.poll()
    wait_until(lambda: len(saved_bags(tmp_path / "ring")) == 1)
    record.take(message(Review(now_ns, "s2", "bob", ("unsure",)), 2))
    record.close()
    first, second = saved_bags(tmp_path / "ring")
    assert first.name.endswith("_alert_scale_lost")
    assert second.name.endswith("_review")
    assert len(messages(first)[GATE.name]) == 2


def test_the_ring_stays_where_the_recording_had_to_stop(tmp_path: Path) -> None:
    config = RecordingConfig(output=str(tmp_path / "ring"), free_megabytes=1e6, ring_s=60.0)
    record = Recording(config, load_store(STORE), STORE)
    record.declare(GATE)
    record.take(gate(1))
    wait_until(lambda: bool(record.failure))
    record.close()
    assert len(messages(tmp_path / "ring" / "ring")[GATE.name]) == 1
    assert custom_data(tmp_path / "ring" / "ring")["aisle.stopped"] == record.failure


def test_what_happens_late_in_the_wait_gets_a_bag_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now_s=time.monotonic())
    fake = SimpleNamespace(monotonic=lambda: clock.now_s, time_ns=time.time_ns, strftime=time.strftime)
    monkeypatch.setattr("aisle_bags.recording.time", fake)
    record = recording(tmp_path / "ring", ring_s=60.0, ring_after_s=10.0)
    record.declare(ALERTS)
    begin_s, saved_at = clock.now_s, []
    happens = {0: "first", 4: "soon", 7: "late", 9: "later", 30: "alone"}
    for second in range(50):
        clock.now_s = begin_s + second
        if second in happens:
            record.take(message(Alert(time.time_ns(), AlertLevel.WARN, "x", happens[second], "")))
        before = len(record._names)
        record.poll()
        saved_at += [second] * (len(record._names) - before)
    record.close()
    # Whatever happens is followed by at least five seconds.
    assert saved_at == [10, 19, 40]
    assert sorted(bag.name.rpartition("_")[2] for bag in saved_bags(tmp_path / "ring")) == ["alone", "first", "late"]


def test_what_turns_to_an_error_saves_the_ring_where_that_is_wanted(tmp_path: Path) -> None:
    def state(name: str, level: DiagnosticLevel) -> Message:
        status = DiagnosticStatus(level=bytes([level]), name=name)
        now_ns = time.time_ns()
        return Message("/diagnostics", serialised(DiagnosticArray(status=[status])), now_ns, now_ns)

    error, warning, good = DiagnosticLevel.ERROR, DiagnosticLevel.WARN, DiagnosticLevel.OK
    said = [
        ("camera_1", error),
        ("camera_1", good),
        ("scale", good),
        ("scale", warning),
        ("scale", DiagnosticLevel.STALE),
        ("scale", error),
    ]
    for triggers, expected in (("alert,review", []), ("diagnostic", ["_diagnostic_scale"])):
        record = recording(tmp_path / triggers, ring_s=60.0, ring_after_s=0.0, ring_triggers=triggers)
        record.declare(topics.DIAGNOSTICS)
        for name, level in said:
            record.take(state(name, level))
            record.poll()
        record.close()
        assert [bag.name[19:] for bag in saved_bags(tmp_path / triggers)] == expected


def test_without_a_ring_there_is_nothing_to_save(tmp_path: Path) -> None:
    record = recording(tmp_path / "bag")
    with pytest.raises(ValueError, match="everything is recorded"):
        record.save("now")
    record.close()


# Masked images.


def textured(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.integers(0, 255, (height, width, 3), np.uint8)


def is_mosaic(pixels: np.ndarray) -> bool:
    """Neighbouring pixels hardly differ: cells are 20 px wide."""
    return float(np.abs(np.diff(pixels.astype(int), axis=1)).mean()) < 15.0


def track(position: tuple[float, float]) -> Track:
    return Track("t1", np.array(position), np.zeros(2), np.diag([0.01, 0.01, 0.1, 0.1]), 1.0, 0.0)


def detections(stamp_ns: int, box: tuple[float, float, float, float]) -> PersonDetections:
    return PersonDetections(stamp_ns, "1", 640, 360, np.array([box], np.float32), np.array([0.9], np.float32))


def images(bag: Path, topic: str) -> list[np.ndarray]:
    with BagReader(bag) as reader:
        return [bgr_image(reader.decode(stored)) for stored in reader.messages([topic])]


def in_view() -> tuple[tuple[float, float], tuple[int, int]]:
    """A place on the floor that camera 1 sees, and the pixel of a body there at 1 m height."""
    camera = load_store(STORE).cameras["1"]
    (place,) = camera.on_plane(np.array([[320.0, 250.0]]))
    (pixel,), _ = camera.project(np.array([[*place, 1.0]]))
    assert 0 < pixel[0] < 640
    assert 0 < pixel[1] < 360
    return (float(place[0]), float(place[1])), (int(pixel[0]), int(pixel[1]))


def masked_recording(folder: Path, **config: object) -> Recording:
    record = recording(folder, images="masked", image_form="both", mask_margin_s=0.2, **config)
    for topic in (topics.TRACKS, topics.detections("1"), topics.compressed_image("1"), topics.image("1")):
        record.declare(absolute(topic, "/"))
    return record


def test_people_are_masked_by_tracks_and_detections(tmp_path: Path) -> None:
    place, (x, y) = in_view()
    record = masked_recording(tmp_path / "bag")
    stamp_ns = time.time_ns()
    pixels = textured(360, 640)
    name = "/cameras/camera_1/image_raw"
    header = header_message(stamp_ns, "camera_1")
    jpeg = CompressedImage(header=header, format="jpeg", data=cv2.imencode(".jpg", pixels)[1].tobytes())
    record.take(Message(f"{name}/compressed", serialised(jpeg), stamp_ns, stamp_ns, b"c", 1))
    record.take(Message(name, serialised(image_message(pixels, "bgr8", header)), stamp_ns, stamp_ns, b"i", 1))
    record.take(message(detections(stamp_ns, (20, 300, 60, 340)), 1))
    # The person is confirmed a moment after the image.
    for number, after_ns in enumerate((0, 150_000_000, 300_000_000)):
        record.take(message(Tracks(stamp_ns + after_ns, (track(place),) if after_ns == 150_000_000 else ()), number))
    record.close()
    corner = np.s_[10:50, 590:630]
    original = bgr_image(jpeg)
    for shown, before in ((images(tmp_path / "bag", f"{name}/compressed")[0], original), (images(tmp_path / "bag", name)[0], pixels)):
        assert shown.shape == pixels.shape
        assert is_mosaic(shown[y - 40 : y + 40, x - 40 : x + 40])
        assert is_mosaic(shown[300:340, 20:60])
        assert not is_mosaic(shown[corner])
        # Noise is what JPEG keeps worst.
        assert float(np.abs(shown[corner].astype(int) - before[corner]).mean()) < 12.0


def test_an_image_of_unknown_people_is_masked_wholly(tmp_path: Path) -> None:
    record = masked_recording(tmp_path / "bag", mask_wait_s=0.5)
    stamp_ns = time.time_ns()
    pixels = textured(360, 640)
    name = "/cameras/camera_1/image_raw"
    # Tracks of another time tell nothing about this one.
    record.take(message(Tracks(stamp_ns - 2 * SECOND, ()), 1))
    data = serialised(image_message(pixels, "bgr8", header_message(stamp_ns, "camera_1")))
    record.take(Message(name, data, stamp_ns, stamp_ns, b"i", 1))
    wait_until(lambda: dict(record.diagnostics()[0].values)["images masked"] == "1")
    assert dict(record.diagnostics()[0].values)["images wholly masked"] == "1"
    record.close()
    assert is_mosaic(images(tmp_path / "bag", name)[0])


def test_images_that_cannot_be_masked_are_dropped(tmp_path: Path) -> None:
    record = masked_recording(tmp_path / "bag")
    record.declare(topics.Topic("/odd/depth", "sensor_msgs/msg/Image", topics.image("1").qos))
    stamp_ns = time.time_ns()
    broken = CompressedImage(header=header_message(stamp_ns, "camera_1"), format="jpeg", data=b"no image")
    record.take(Message("/cameras/camera_1/image_raw/compressed", serialised(broken), stamp_ns, stamp_ns))
    odd = Image(header=header_message(stamp_ns, "x"), height=1, width=1, encoding="32FC1", step=4, data=bytes(4))
    record.take(Message("/odd/depth", serialised(odd), stamp_ns, stamp_ns))
    record.take(
        Message("/odd/depth", serialised(image_message(textured(100, 100), "bgr8", header_message(stamp_ns, "x"))), stamp_ns, stamp_ns)
    )
    record.close()
    assert record.dropped == {"/cameras/camera_1/image_raw/compressed": 1, "/odd/depth": 1}
    # Nobody knows where an unknown camera looks.
    assert is_mosaic(images(tmp_path / "bag", "/odd/depth")[0])


# Kill -9.

FEEDER = """
import os, sys, time
from pathlib import Path
from aisle_bags.masked_images import Message
from aisle_bags.recording import Recording, RecordingConfig
from aisle_contract import qos
from aisle_contract.topics import Topic
from aisle_store.store_files import load_store

folder, store, split_s = sys.argv[1:]
config = RecordingConfig(output=folder, split_s=float(split_s), free_megabytes=0.0)
record = Recording(config, load_store(Path(store)), Path(store))
record.declare(Topic("/text", "std_msgs/msg/String", qos.STREAM))
number = 0
while True:
    number += 1
    text = b"x" * (number * 7919 % 3000) + b"\\0"
    now = time.time_ns()
    record.take(Message("/text", b"\\0\\1\\0\\0" + len(text).to_bytes(4, "little") + text, now, now, b"a", number))
    # Eight bytes for each message that was taken.
    os.write(1, now.to_bytes(8, "little"))
    time.sleep(0.005)
"""


def start_feeder(folder: Path, split_s: float) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", FEEDER, str(folder), str(STORE), str(split_s)], stdout=subprocess.PIPE, env=environment)


def last_log_time(folder: Path) -> int:
    """The newest message that recovery saves."""
    recovered = folder.with_name(f"{folder.name}-recovered")
    recover_bag(folder, recovered)
    with BagReader(recovered) as reader:
        return reader.end_ns


def test_a_killed_recorder_loses_at_most_the_last_second(tmp_path: Path) -> None:
    moments = random.Random(5)
    feeders = [start_feeder(tmp_path / str(number), split_s=0.5 * (number % 2)) for number in range(4)]
    taken = [feeder.stdout.read(8) for feeder in feeders]
    kills = sorted((moments.uniform(1.2, 3.0), number) for number in range(len(feeders)))
    began = time.monotonic()
    for moment, number in kills:
        time.sleep(max(0.0, began + moment - time.monotonic()))
        feeders[number].kill()
        taken[number] += feeders[number].communicate()[0]
        last_taken_ns = int.from_bytes(taken[number][-8:], "little")
        lost_ns = last_taken_ns - last_log_time(tmp_path / str(number))
        assert lost_ns < SECOND, f"feeder {number}, killed after {moment:.2f} s"
