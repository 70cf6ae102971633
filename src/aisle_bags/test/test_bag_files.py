"""Bags written, then read back: by our reader, by rosbags and by mcap-ros2-support."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.bag_writer import BagWriter, absolute
from aisle_contract import topics
from aisle_contract.records import GateEvent, GateEventKind, PersonDetections, Record, ScaleReading, Tracks

mcap_ros2_reader = pytest.importorskip("mcap_ros2.reader", reason="mcap-ros2-support is not installed")
pytest.importorskip("aisle_msgs.msg", reason="aisle_msgs is not built: run the tests by ./aisle test")

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def weights(stamp_ns: int, shelf: str = "1") -> ScaleReading:
    grid = np.arange(24, dtype=np.float32).reshape(12, 2)
    grid[3, 1] = np.nan
    return ScaleReading(stamp_ns, "1", shelf, 16_666_667, ("1", "2"), grid)


def detections(stamp_ns: int, camera: str = "5") -> PersonDetections:
    keypoints = np.linspace(0, 100, 51, dtype=np.float32).reshape(1, 17, 3)
    return PersonDetections(stamp_ns, camera, 640, 360, np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32), keypoints)


def gate(stamp_ns: int) -> GateEvent:
    return GateEvent(stamp_ns, "entrance", GateEventKind.ENTRY, "token", "alice")


def recording() -> list[Record]:
    records: list[Record] = []
    for step in range(20):
        stamp = START + step * SECOND // 5
        records += [weights(stamp), weights(stamp, "2"), detections(stamp), gate(stamp + 7)]
    return records


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    folder = tmp_path / "visit"
    with BagWriter(folder, chunk_bytes=2000) as writer:
        writer.attach("store/store.yaml", "application/yaml", b"name: corner shop\n")
        for record in recording():
            writer.write_record(record, "/corner_shop")
    return folder


def test_records_come_back_unchanged(bag: Path) -> None:
    with BagReader(bag) as reader:
        assert reader.namespace() == "/corner_shop"
        found = list(reader.records())
        assert reader.attachments() == {"store/store.yaml": b"name: corner shop\n"}
    assert len(found) == 80
    first = next(record for record in found if isinstance(record, ScaleReading))
    np.testing.assert_array_equal(first.weights, weights(START).weights)
    assert (first.stamp_ns, first.sample_period_ns, first.plates) == (START, 16_666_667, ("1", "2"))
    person = next(record for record in found if isinstance(record, PersonDetections))
    np.testing.assert_array_equal(person.keypoints, detections(START).keypoints)
    assert [record for record in found if isinstance(record, GateEvent)] == [r for r in recording() if isinstance(r, GateEvent)]


def test_log_times_are_in_order_and_weights_are_logged_when_complete(bag: Path) -> None:
    with BagReader(bag) as reader:
        times = [message.log_time_ns for message in reader.messages()]
        first_weights = next(message for message in reader.messages() if message.topic.endswith("weights"))
    assert times == sorted(times)
    assert first_weights.log_time_ns == START + 11 * 16_666_667


def test_rosbags_reads_every_message(bag: Path) -> None:
    with AnyReader([bag]) as reader:
        messages = [(connection.topic, reader.deserialize(raw, connection.msgtype)) for connection, _, raw in reader.messages()]
    assert len(messages) == 80
    assert {topic for topic, _ in messages} == {
        "/corner_shop/cameras/camera_5/detections",
        "/corner_shop/gates/gate_entrance/events",
        "/corner_shop/shelves/gondola_1/shelf_1/weights",
        "/corner_shop/shelves/gondola_1/shelf_2/weights",
    }
    plates = [message.plates for topic, message in messages if topic.endswith("shelf_2/weights")]
    assert plates == [["1", "2"]] * 20


def test_mcap_ros2_support_reads_every_message(bag: Path) -> None:
    messages = list(mcap_ros2_reader.read_ros2_messages(next(bag.glob("*.mcap"))))
    assert len(messages) == 80
    shoppers = {message.ros_msg.shopper for message in messages if message.channel.topic.endswith("events")}
    assert shoppers == {"alice"}


def test_the_same_records_give_the_same_bytes(bag: Path, tmp_path: Path) -> None:
    with BagWriter(tmp_path / "again" / "visit", chunk_bytes=2000) as writer:
        writer.attach("store/store.yaml", "application/yaml", b"name: corner shop\n")
        for record in recording():
            writer.write_record(record, "/corner_shop")
    for name in ("visit_0.mcap", "metadata.yaml"):
        assert (tmp_path / "again" / "visit" / name).read_bytes() == (bag / name).read_bytes()


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_compressions(tmp_path: Path, compression: str) -> None:
    with BagWriter(tmp_path / "bag", compression=compression) as writer:
        writer.write_record(gate(START))
    with BagReader(tmp_path / "bag") as reader:
        assert [record.shopper for record in reader.records()] == ["alice"]


def test_reads_without_metadata_and_single_files(bag: Path) -> None:
    (bag / "metadata.yaml").unlink()
    for path in (bag, bag / "visit_0.mcap"):
        with BagReader(path) as reader:
            assert sum(topic.count for topic in reader.topics.values()) == 80
            assert len(list(reader.records())) == 80


def test_split_files_are_merged_by_time(tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    for part in range(11):
        with BagWriter(tmp_path / f"part_{part}") as writer:
            writer.write_record(gate(START + part))
        (tmp_path / f"part_{part}" / f"part_{part}_0.mcap").rename(folder / f"split_{part}.mcap")
    with BagReader(folder) as reader:
        assert [record.stamp_ns for record in reader.records()] == [START + part for part in range(11)]
        assert reader.topics["/gates/gate_entrance/events"].count == 11
        assert (reader.start_ns, reader.end_ns) == (START, START + 10)


def test_computed_records_are_not_inputs(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_record(Tracks(START, ()))
        writer.write_record(gate(START))
    with BagReader(tmp_path / "bag") as reader:
        assert [type(record) for record in reader.records()] == [GateEvent]
        assert [type(record) for record in reader.records(types=[Tracks])] == [Tracks]


def test_several_stores_need_a_choice(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_record(gate(START), "/north")
        writer.write_record(gate(START + 1), "/south")
    with BagReader(tmp_path / "bag") as reader:
        with pytest.raises(BagError, match=r"several stores .*/north, /south"):
            list(reader.records())
        assert [record.stamp_ns for record in reader.records(namespace="/south")] == [START + 1]


def test_a_failed_bag_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with BagWriter(tmp_path / "bag") as writer:
            writer.write_record(gate(START))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert list(tmp_path.iterdir()) == []


def test_a_bag_is_never_overwritten(bag: Path) -> None:
    with pytest.raises(FileExistsError, match="visit exists already"):
        BagWriter(bag)


def test_a_topic_has_one_type(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.add_topic(absolute(topics.CARTS, "/"))
        with pytest.raises(ValueError, match="'/carts' is aisle_msgs/msg/Cart in this bag already"):
            writer.add_topic(topics.Topic("/carts", topics.RECEIPTS.type, topics.RECEIPTS.qos))


def test_what_is_not_a_bag_is_named(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="nowhere: no such file or folder"):
        BagReader(tmp_path / "nowhere")
    with pytest.raises(BagError, match=r"found neither metadata\.yaml nor"):
        BagReader(tmp_path)
    text = tmp_path / "notes.mcap"
    text.write_text("milk, eggs")
    with pytest.raises(BagError, match="not an MCAP file"):
        BagReader(text)
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: 5}")
    with pytest.raises(BagError, match=r"metadata\.yaml: not rosbag2 metadata: field 'relative_file_paths': found nothing"):
        BagReader(tmp_path)


def test_missing_files_are_named(bag: Path) -> None:
    (bag / "visit_0.mcap").unlink()
    with pytest.raises(BagError, match=r"metadata.yaml: relative_file_paths names visit_0.mcap"):
        BagReader(bag)


def test_a_truncated_file_is_named(bag: Path) -> None:
    file = bag / "visit_0.mcap"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BagError, match=r"visit_0\.mcap: its end is missing or damaged"):
        BagReader(bag)


def test_a_damaged_chunk_is_named(bag: Path) -> None:
    file = bag / "visit_0.mcap"
    content = bytearray(file.read_bytes())
    middle = content.index(b"zstd") + 60
    content[middle : middle + 40] = bytes(40)
    file.write_bytes(content)
    with BagReader(bag) as reader, pytest.raises(BagError, match=r"visit_0\.mcap: damaged"):
        list(reader.records())
