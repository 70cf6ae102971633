"""What of a bag is replayed, and images that pass through a detector."""

from __future__ import annotations

from array import array
from pathlib import Path

import cv2
import numpy as np
import pytest

from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.bag_store import store_of
from aisle_bags.bag_writer import BagWriter, absolute, available_ns
from aisle_bags.core_settings import CoreSettings
from aisle_bags.replay import plan_replay, replay, replay_records
from aisle_contract import topics
from aisle_contract.records import (
    Cart,
    CartStatus,
    GateEvent,
    GateEventKind,
    PersonDetections,
    ScaleReading,
    ShelfEvents,
    Tracks,
)

pytest.importorskip("aisle_msgs.msg", reason="aisle_msgs is not built: run the tests by ./aisle test")

SUITE = Path(__file__).resolve().parents[3] / "bags"
STEP = 100_000_000
START = 1_700_000_000_000_000_000


class BrightSpot:
    """Takes the brightest pixel of an image for a person."""

    def detect(self, camera: str, stamp_ns: int, image: np.ndarray) -> PersonDetections:
        y, x = np.unravel_index(image[:, :, 0].argmax(), image.shape[:2])
        box = np.array([[x, y, x, y]], np.float32)
        return PersonDetections(stamp_ns, camera, image.shape[1], image.shape[0], box, np.ones(1, np.float32))


def picture(column: int) -> np.ndarray:
    image = np.zeros((16, 32, 3), np.uint8)
    image[8, column] = 255
    return image


def write_image(writer: BagWriter, camera: str, number: int, raw: bool) -> None:
    from sensor_msgs.msg import CompressedImage

    from aisle_contract.conversions import header_message, image_message

    header = header_message(START + number * STEP, "camera")
    if raw:
        writer.write_message(absolute(topics.image(camera), "/"), image_message(picture(number), "bgr8", header), START + number * STEP)
        return
    data = array("B", cv2.imencode(".png", picture(number))[1].tobytes())
    message = CompressedImage(header=header, format="png", data=data)
    writer.write_message(absolute(topics.compressed_image(camera), "/"), message, START + number * STEP)


def seen(camera: str, number: int) -> PersonDetections:
    return PersonDetections(START + number * STEP, camera, 32, 16, np.full((1, 4), 31, np.float32), np.ones(1, np.float32))


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Camera 1 has images in both forms and detections, camera 2 compressed images, camera 3 only detections."""
    with BagWriter(tmp_path / "bag") as writer:
        for number in range(4):
            stamp = START + number * STEP
            writer.write_record(GateEvent(stamp, "door", GateEventKind.STATUS))
            writer.write_record(Tracks(stamp, ()))
            for camera in ("1", "3"):
                writer.write_record(seen(camera, number))
            write_image(writer, "1", number, raw=True)
            write_image(writer, "1", number + 10, raw=False)
            write_image(writer, "2", number, raw=False)
    return tmp_path / "bag"


def columns(records: list, camera: str) -> list[int]:
    return [int(r.boxes[0, 0]) for r in records if isinstance(r, PersonDetections) and r.camera == camera]


def test_recorded_detections_are_taken_without_a_detector(bag: Path) -> None:
    with BagReader(bag) as reader:
        plan = plan_replay(reader, "/", "detections")
        records = replay_records(reader, plan)
    assert len(records) == plan.messages == 12
    assert columns(records, "1") == columns(records, "3") == [31] * 4
    assert not any(isinstance(record, Tracks) for record in records)


def test_a_detector_takes_the_place_of_recorded_detections(bag: Path) -> None:
    read = []
    with BagReader(bag) as reader:
        plan = plan_replay(reader, "/", "images")
        records = replay_records(reader, plan, BrightSpot(), read.append)
    assert columns(records, "1") == [0, 1, 2, 3]  # The uncompressed ones.
    assert columns(records, "2") == [0, 1, 2, 3]
    assert columns(records, "3") == [31] * 4
    assert len(read) == plan.messages == 16


def test_images_without_a_detector_are_refused(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        write_image(writer, "1", 0, raw=False)
        writer.write_record(GateEvent(START, "door", GateEventKind.STATUS))
    with BagReader(tmp_path / "bag") as reader, pytest.raises(BagError, match=r"images of 1 cameras but no detections: .* --detector"):
        plan_replay(reader, "/", "detections")


def test_a_detector_without_images_is_refused(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_record(GateEvent(START, "door", GateEventKind.STATUS))
    with BagReader(tmp_path / "bag") as reader, pytest.raises(BagError, match="holds no images"):
        plan_replay(reader, "/", "images")


def test_a_bag_of_something_else_is_refused(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_record(Tracks(START, ()))
    with BagReader(tmp_path / "bag") as reader, pytest.raises(BagError, match="no weights, gate events or detections"):
        plan_replay(reader, reader.namespace(), "detections")


def test_an_image_that_is_none_is_named(tmp_path: Path) -> None:
    from sensor_msgs.msg import CompressedImage

    with BagWriter(tmp_path / "bag") as writer:
        broken = CompressedImage(format="jpeg", data=array("B", b"abc"))
        writer.write_message(absolute(topics.compressed_image("1"), "/"), broken, START)
        writer.write_record(GateEvent(START, "door", GateEventKind.STATUS))
    with BagReader(tmp_path / "bag") as reader:
        plan = plan_replay(reader, "/", "images")
        with pytest.raises(BagError, match=r"camera_1/image_raw/compressed' at 17.* no image"):
            replay_records(reader, plan, BrightSpot())


@pytest.fixture
def recorded_graph(tmp_path: Path) -> Path:
    """What a live graph records: inputs and what its nodes made of them."""
    with BagWriter(tmp_path / "graph") as writer:
        for number in range(4):
            stamp = START + number * STEP
            writer.write_record(GateEvent(stamp, "door", GateEventKind.STATUS))
            writer.write_record(seen("1", number))
            writer.write_record(ScaleReading(stamp, "1", "1", STEP, ("1",), np.ones((1, 1), np.float32)))
            writer.write_record(Tracks(stamp, ()))
            writer.write_record(ShelfEvents(stamp, ()))
            writer.write_record(Cart(stamp, "s", "", "", CartStatus.OPEN, 0, 0, ()))
    return tmp_path / "graph"


@pytest.mark.parametrize(
    ("start", "taken"),
    [
        ("detections", {GateEvent, PersonDetections, ScaleReading}),
        ("weights", {GateEvent, Tracks, ScaleReading}),
        ("events", {GateEvent, Tracks, ShelfEvents}),
    ],
)
def test_a_stage_is_taken_as_recorded_and_later_ones_are_ignored(recorded_graph: Path, start: str, taken: set[type]) -> None:
    with BagReader(recorded_graph) as reader:
        records = replay_records(reader, plan_replay(reader, "/", start))
    assert {type(record) for record in records} == taken


@pytest.mark.parametrize(("start", "missing"), [("weights", "weights"), ("events", "shelf events")])
def test_a_stage_that_was_not_recorded_is_refused(bag: Path, start: str, missing: str) -> None:
    with BagReader(bag) as reader, pytest.raises(BagError, match=f"holds no {missing}, which a replay from {start} takes as recorded"):
        plan_replay(reader, "/", start)


def test_every_stage_as_recorded_gives_the_receipts_of_all_computed(tmp_path: Path) -> None:
    """What the cores gave is recorded beside what they were given, and taken from there."""
    with BagReader(SUITE / "several-at-once") as reader:
        inputs, store = list(reader.records()), store_of(reader)
        computed = replay(reader, plan_replay(reader, "/", "detections"), store, CoreSettings())
    with BagWriter(tmp_path / "graph") as writer:
        for record in sorted([*inputs, *computed.records], key=available_ns):
            writer.write_record(record)
    assert computed.receipts
    for start in ("weights", "events"):
        with BagReader(tmp_path / "graph") as reader:
            again = replay(reader, plan_replay(reader, "/", start), store, CoreSettings())
        assert repr(again.receipts) == repr(computed.receipts), start
        assert not again.tracks
        assert bool(again.of(ShelfEvents)) == (start == "weights")


def test_progress_follows_the_stamps_and_ends_with_the_last_one(tmp_path: Path) -> None:
    told: list[int] = []
    with BagReader(SUITE / "several-at-once") as reader:
        plan = plan_replay(reader, "/", "detections")
        result = replay(reader, plan, store_of(reader), CoreSettings(), publish=lambda record: None, taken=told.append)
    assert result.records == []
    assert told == sorted(told)
    assert (told[-1] - told[0]) / 1e9 == pytest.approx(plan.span_ns / 1e9, abs=1.0)
