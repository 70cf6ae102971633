"""Bags out of bags: converted, cut, merged; read back by our reader and by others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
import zstandard
from foreign_bags import START, STEP, metadata, string, talk, write_mcap, write_sqlite
from rosbags.highlevel import AnyReader

from aisle_bags.bag_copies import BagFormat, convert_bag, cut_bag, merge_bags
from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.bag_writer import BagWriter, UnknownCompression
from aisle_bags.stored_topics import StoredTopic, qos_text, read_qos
from aisle_contract import qos

mcap_ros2_reader = pytest.importorskip("mcap_ros2.reader", reason="mcap-ros2-support is not installed")

FORMATS = [
    BagFormat("mcap", "zstd"),
    BagFormat("mcap", "lz4"),
    BagFormat("mcap", "none"),
    BagFormat("sqlite3", "none"),
    BagFormat("sqlite3", "file"),
    BagFormat("sqlite3", "message"),
]
SAME = BagFormat()


def contents(path: Path) -> list[tuple[str, int, bytes]]:
    with BagReader(path) as reader:
        return [(message.topic, message.log_time_ns, message.data) for message in reader.messages()]


def by_rosbags(path: Path) -> list[tuple[str, int, str]]:
    with AnyReader([path]) as reader:
        return [(connection.topic, time, reader.deserialize(raw, connection.msgtype).data) for connection, time, raw in reader.messages()]


def write(folder: Path, messages: list[tuple[str, int, bytes]], latched: tuple[str, ...] = (), **options) -> Path:
    with BagWriter(folder, **options) as writer:
        for name in dict.fromkeys(name for name, _, _ in messages):
            profile = qos_text(qos.STATE if name in latched else qos.STREAM)
            writer.add_stored_topic(StoredTopic(name, "std_msgs/msg/String", profile, "ros2msg", b"string data\n"))
        for name, time, data in messages:
            writer.write(name, data, time)
    return folder


@pytest.mark.parametrize("bag_format", FORMATS, ids=str)
def test_convert_keeps_everything(tmp_path: Path, bag_format: BagFormat) -> None:
    write_sqlite(tmp_path / "old.db3", talk(), schema=1, kind="std_msgs/String")
    with BagReader(tmp_path / "old.db3") as reader:
        assert convert_bag(reader, tmp_path / "new", bag_format) == []
    assert contents(tmp_path / "new") == talk()
    # rosbags finds the definition in the bag, under today's name of the type.
    assert by_rosbags(tmp_path / "new") == [("/talk", START + n * STEP, f"hello {n}") for n in range(20)]
    if bag_format.compression == "file":
        # rosbag2 asks for the size before it decompresses.
        assert zstandard.frame_content_size((tmp_path / "new" / "new_0.db3.zstd").read_bytes()) > 0
    if bag_format.storage == "mcap":
        found = [message.ros_msg.data for message in mcap_ros2_reader.read_ros2_messages(tmp_path / "new" / "new_0.mcap")]
        assert found == [f"hello {n}" for n in range(20)]


def test_there_and_back_again_is_the_same(tmp_path: Path) -> None:
    write_mcap(tmp_path / "talk.mcap", talk())
    with BagReader(tmp_path / "talk.mcap") as reader, BagWriter(tmp_path / "first") as writer:
        writer.attach("store/store.yaml", "application/yaml", b"name: corner shop\n")
        writer.custom_data["aisle.dropped"] = "3"
        writer.note("weather", {"sky": "grey"})
        for topic in reader.stored_topics.values():
            writer.add_stored_topic(topic)
        for message in reader.messages():
            writer.write(message.topic, message.data, message.log_time_ns, message.publish_time_ns, message.sequence)
    steps = [("first", "mcap", "second"), ("second", "sqlite3", "third"), ("third", "mcap", "fourth")]
    for source, storage, target in steps:
        with BagReader(tmp_path / source) as reader:
            convert_bag(reader, tmp_path / target, BagFormat(storage))
        with BagReader(tmp_path / target) as reader, BagReader(tmp_path / "first") as first:
            assert reader.attachments() == {"store/store.yaml": b"name: corner shop\n"}
            assert dict(reader.metadata.custom) == {"aisle.dropped": "3"}
            assert reader.stored_topics == first.stored_topics
            # SQLite has no place for publish times and numbers.
            exact = slice(None) if target == "second" else slice(0, 4)
            assert [message[exact] for message in reader.messages()] == [message[exact] for message in first.messages()]
            if target == "second":
                assert ("weather", {"sky": "grey"}) in list(reader.metadata_records())


def test_unknown_types_are_copied_raw(tmp_path: Path) -> None:
    write_sqlite(tmp_path / "talk.db3", talk(), kind="secret_msgs/msg/Thing", definition=None)
    with BagReader(tmp_path / "talk.db3") as reader:
        notes = convert_bag(reader, tmp_path / "new", BagFormat("mcap"))
    assert notes == ["topic '/talk': no definition of secret_msgs/msg/Thing is known, its messages are copied as they are"]
    assert contents(tmp_path / "new") == talk()


def test_a_definition_of_another_version_is_not_added(tmp_path: Path) -> None:
    write_mcap(tmp_path / "talk_0.mcap", talk(), definition=("", ""))
    (tmp_path / "metadata.yaml").write_text(metadata(9, "mcap", ["talk_0.mcap"], 20))
    with BagReader(tmp_path) as reader:
        notes = convert_bag(reader, tmp_path / "new", SAME)
    assert len(notes) == 1
    with BagReader(tmp_path / "new") as reader:
        assert reader.stored_topics["/talk"].schema == b""
        assert reader.stored_topics["/talk"].type_hash == "RIHS01_1"


def test_metadata_is_what_rosbag2_reads(tmp_path: Path) -> None:
    """The fields and types that rosbag2's yaml.hpp decodes for version 9."""
    write(tmp_path / "bag", talk(), latched=("/talk",))
    information = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    topic = information["topics_with_message_count"][0]["topic_metadata"]
    (profile,) = topic.pop("offered_qos_profiles")
    unlimited = {"sec": 9223372036, "nsec": 854775807}
    assert profile == {
        "history": "keep_last",
        "depth": 100,
        "reliability": "reliable",
        "durability": "transient_local",
        "deadline": unlimited,
        "lifespan": unlimited,
        "liveliness": "automatic",
        "liveliness_lease_duration": unlimited,
        "avoid_ros_namespace_conventions": False,
    }
    assert topic == {"name": "/talk", "type": "std_msgs/msg/String", "serialization_format": "cdr", "type_description_hash": ""}
    times = {"starting_time": {"nanoseconds_since_epoch": START}, "duration": {"nanoseconds": 19 * STEP}}
    assert information.pop("topics_with_message_count")[0]["message_count"] == 20
    assert isinstance(information.pop("ros_distro"), str)
    assert information == {
        "version": 9,
        "storage_identifier": "mcap",
        **times,
        "message_count": 20,
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": ["bag_0.mcap"],
        "files": [{"path": "bag_0.mcap", **times, "message_count": 20}],
        "custom_data": None,
    }


def test_unknown_compressions_are_named(tmp_path: Path) -> None:
    write_mcap(tmp_path / "talk.mcap", talk())
    with BagReader(tmp_path / "talk.mcap") as reader:
        with pytest.raises(UnknownCompression, match="compression of mcap is 'file', expected one of lz4, none, zstd"):
            convert_bag(reader, tmp_path / "new", BagFormat("mcap", "file"))
        with pytest.raises(UnknownCompression, match="storage is 'tape'"):
            convert_bag(reader, tmp_path / "new", BagFormat("tape"))
    assert [file.name for file in tmp_path.iterdir()] == ["talk.mcap"]


def test_cut_takes_both_ends_and_chosen_topics(tmp_path: Path) -> None:
    both = sorted(talk() + talk(20, "/other"), key=lambda message: message[1])
    write(tmp_path / "whole", both)
    with BagReader(tmp_path / "whole") as reader:
        cut_bag(reader, tmp_path / "part", START + 5 * STEP, START + 8 * STEP, SAME)
        cut_bag(reader, tmp_path / "other", START, START + 8 * STEP, SAME, topics=["/other"])
        with pytest.raises(BagError, match="nothing was logged from"):
            cut_bag(reader, tmp_path / "nothing", START + 1, START + 2, SAME)
    assert contents(tmp_path / "part") == both[10:18]
    assert contents(tmp_path / "other") == talk(9, "/other")
    assert not (tmp_path / "nothing").exists()


def test_a_cut_begins_with_what_was_latched(tmp_path: Path) -> None:
    early = [("/carts", START - STEP * 500 + n, string(f"cart {n}")) for n in range(150)]
    write(tmp_path / "whole", early + talk(), latched=("/carts",))
    with BagReader(tmp_path / "whole") as reader:
        cut_bag(reader, tmp_path / "part", START + 2 * STEP, START + 3 * STEP, SAME)
    # The publisher's depth is 100: a late subscriber would have got the last hundred.
    expected = [("/carts", START + 2 * STEP, string(f"cart {n}")) for n in range(50, 150)]
    assert contents(tmp_path / "part") == expected + talk()[2:4]


def test_merge_is_in_the_order_of_time_and_repeats_nothing(tmp_path: Path) -> None:
    transforms = [("/latched", START - STEP, string("here"))]
    write(tmp_path / "a", transforms + talk()[:12] + [("/a", START + 30 * STEP, string("a"))], latched=("/latched",))
    again = [("/latched", START + STEP, string("here")), ("/latched", START + 2 * STEP, string("there"))]
    write(tmp_path / "b", sorted(again + talk()[8:], key=lambda message: message[1]), latched=("/latched",), storage="sqlite3")
    with BagReader(tmp_path / "a") as first, BagReader(tmp_path / "b") as second:
        merge_bags([first, second], tmp_path / "both", BagFormat("mcap"))
    expected = [*transforms, *talk(), again[1], ("/a", START + 30 * STEP, string("a"))]
    assert sorted(contents(tmp_path / "both")) == sorted(expected)
    times = [time for _, time, _ in contents(tmp_path / "both")]
    assert times == sorted(times)
    assert len(by_rosbags(tmp_path / "both")) == len(expected)


def test_merge_joins_qos_and_tells_about_other_attachments(tmp_path: Path) -> None:
    for name, profile in (("a", qos.STREAM), ("b", qos.SENSOR)):
        with BagWriter(tmp_path / name) as writer:
            writer.attach("store/store.yaml", "application/yaml", name.encode())
            writer.custom_data.update({"aisle.dropped": "2", "aisle.dropped /talk": "2", "shop": name})
            writer.add_stored_topic(StoredTopic("/talk", "std_msgs/msg/String", qos_text(profile), "ros2msg", b"string data\n"))
            for topic, time, data in talk():
                writer.write(topic, data, time + (name == "b"))
    with BagReader(tmp_path / "a") as first, BagReader(tmp_path / "b") as second:
        notes = merge_bags([first, second], tmp_path / "both", SAME)
    assert [("store/store.yaml" in note, "which is kept" in note) for note in notes] == [(True, True)]
    with BagReader(tmp_path / "both") as reader:
        assert reader.attachments() == {"store/store.yaml": b"a"}
        assert dict(reader.metadata.custom) == {"aisle.dropped": "4", "aisle.dropped /talk": "4", "shop": "a"}
        assert len(read_qos(reader.stored_topics["/talk"].qos)) == 2
    assert len(by_rosbags(tmp_path / "both")) == 40


def test_merge_refuses_topics_that_differ(tmp_path: Path) -> None:
    write_mcap(tmp_path / "a.mcap", talk())
    write_mcap(tmp_path / "b.mcap", talk(), kind="std_msgs/msg/Header")
    write_mcap(tmp_path / "c.mcap", talk(), definition=("ros2msg", "string text\n"))
    write_mcap(tmp_path / "d.mcap", talk(), definition=("ros2msg", "# other words\nstring  data\n"))
    with BagReader(tmp_path / "a.mcap") as first:
        for name, expected in (
            ("b", "'/talk' is std_msgs/msg/Header, expected std_msgs/msg/String"),
            ("c", "is defined otherwise than in"),
        ):
            with BagReader(tmp_path / f"{name}.mcap") as second, pytest.raises(BagError, match=expected):
                merge_bags([first, second], tmp_path / "both", SAME)
        assert not (tmp_path / "both").exists()
        with BagReader(tmp_path / "d.mcap") as second:
            assert merge_bags([first, second], tmp_path / "both", SAME) == []


def test_an_attachment_stays_in_the_bag(tmp_path: Path) -> None:
    def attach() -> None:
        with BagWriter(tmp_path / "new", storage="sqlite3") as writer:
            writer.attach("../outside.txt", "text/plain", b"")

    with pytest.raises(BagError, match="would lie outside of the bag"):
        attach()
    assert list(tmp_path.iterdir()) == []


def test_a_bag_is_never_overwritten_by_a_copy(tmp_path: Path) -> None:
    write(tmp_path / "bag", talk())
    shutil.copytree(tmp_path / "bag", tmp_path / "copy")
    with BagReader(tmp_path / "bag") as reader, pytest.raises(FileExistsError, match="copy exists already"):
        convert_bag(reader, tmp_path / "copy", SAME)
    assert contents(tmp_path / "copy") == talk()
