"""Bags of other tools: each version of the formats is read, and what cannot be read is named."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from foreign_bags import (
    BARE,
    IDL_DEFINITION,
    START,
    STEP,
    STRING_DEFINITION,
    UNCHUNKED,
    metadata,
    string,
    talk,
    write_mcap,
    write_sqlite,
)
from mcap.writer import CompressionType, IndexType
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as RosbagsWriter
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_typestore

from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.bag_recovery import recover_bag
from aisle_bags.stored_topics import read_qos

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "bags"


def contents(path: Path) -> list[tuple[str, int, bytes]]:
    with BagReader(path) as reader:
        return [(message.topic, message.log_time_ns, message.data) for message in reader.messages()]


def texts(path: Path) -> list[str]:
    with BagReader(path) as reader:
        return [reader.decode(message).data for message in reader.messages()]


@pytest.mark.parametrize("version", range(1, 10))
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_metadata_of_each_version(tmp_path: Path, version: int, storage: str) -> None:
    name = "talk_0.mcap" if storage == "mcap" else "talk_0.db3"
    if storage == "mcap":
        write_mcap(tmp_path / name, talk())
    else:
        write_sqlite(tmp_path / name, talk(), schema=1)
    # Up to version 3 the bag's folder is part of the path.
    (tmp_path / "metadata.yaml").write_text(metadata(version, storage, [f"{tmp_path.name}/{name}" if version < 4 else name], 20))
    with BagReader(tmp_path) as reader:
        assert reader.metadata.version == version
        assert reader.storage == storage
        assert dict(reader.metadata.custom) == ({"shop": "corner"} if version >= 6 else {})
        (profile,) = read_qos(reader.stored_topics["/talk"].qos) if version >= 4 or storage == "mcap" else (None,)
        if profile is not None:
            assert (profile.depth, profile.durability, profile.reliability) == (7, QosDurability.VOLATILE, QosReliability.RELIABLE)
        assert (reader.start_ns, reader.end_ns, reader.message_count) == (START, START + 19 * STEP, 20)
    assert contents(tmp_path) == talk()
    assert texts(tmp_path) == [f"hello {number}" for number in range(20)]


@pytest.mark.parametrize("schema", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["std_msgs/String", "std_msgs/msg/String"])
def test_sqlite_schema_versions_without_metadata(tmp_path: Path, schema: int, kind: str) -> None:
    write_sqlite(tmp_path / "talk.db3", talk(), schema=schema, kind=kind)
    for path in (tmp_path, tmp_path / "talk.db3"):
        with BagReader(path) as reader:
            assert reader.topics["/talk"].type == "std_msgs/msg/String"
            assert reader.metadata is None
        assert contents(path) == talk()
        assert texts(path)[3] == "hello 3"


@pytest.mark.parametrize(
    ("encoding", "definition"),
    [("ros2msg", STRING_DEFINITION), ("ros2idl", IDL_DEFINITION), ("", ""), ("unknown", "")],
)
def test_schema_encodings(tmp_path: Path, encoding: str, definition: str) -> None:
    write_mcap(tmp_path / "talk.mcap", talk(), definition=(encoding, definition))
    write_sqlite(tmp_path / "talk.db3", talk(), definition=(encoding, definition))
    assert texts(tmp_path / "talk.mcap") == texts(tmp_path / "talk.db3") == [f"hello {number}" for number in range(20)]


def test_an_unknown_type_is_read_raw_and_named_when_decoded(tmp_path: Path) -> None:
    write_sqlite(tmp_path / "talk.db3", talk(), kind="secret_msgs/msg/Thing", definition=None)
    write_mcap(tmp_path / "talk.mcap", talk(), kind="secret_msgs/srv/Thing_Event", definition=("ros2msg", "not a definition ]["))
    for name, expected in (("talk.db3", "no definition of message type 'secret_msgs/msg/Thing'"), ("talk.mcap", "Thing_Event' cannot be")):
        assert contents(tmp_path / name) == talk()
        with pytest.raises(BagError, match=expected):
            texts(tmp_path / name)


@pytest.mark.parametrize(
    "options",
    [
        *({"compression": compression} for compression in CompressionType),
        {"index_types": IndexType.CHUNK},
        {"index_types": IndexType.NONE},
        BARE,
        UNCHUNKED,
        {**UNCHUNKED, **BARE},
        {"use_statistics": False},
        {"repeat_schemas": False},
        {"profile": ""},
    ],
    ids=str,
)
def test_mcap_with_and_without_its_parts(tmp_path: Path, options: dict) -> None:
    jumbled = talk(60, "/talk") + talk(60, "/other")
    random.Random(1).shuffle(jumbled)
    write_mcap(tmp_path / "talk.mcap", jumbled, **options)
    expected = sorted(jumbled, key=lambda message: message[1])
    assert sorted(contents(tmp_path)) == sorted(jumbled)
    assert [time for _, time, _ in contents(tmp_path)] == [time for _, time, _ in expected]
    with BagReader(tmp_path) as reader:
        assert {name: topic.count for name, topic in reader.topics.items()} == {"/talk": 60, "/other": 60}
        assert (reader.start_ns, reader.end_ns) == (START, START + 59 * STEP)
        part = list(reader.messages({"/other"}, START + 10 * STEP, START + 20 * STEP))
        assert [(message.topic, message.log_time_ns) for message in part] == [("/other", START + n * STEP) for n in range(10, 20)]
        assert {(message.publish_time_ns - message.log_time_ns) for message in part} == {-5}
        times = {"/talk": [], "/other": []}
        for name, found in reader.log_times():
            times[name] += found.tolist()
        assert sorted(times["/talk"]) == [START + number * STEP for number in range(60)]


@pytest.mark.parametrize("mode", ["FILE", "file"])
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_compressed_files(tmp_path: Path, storage: str, mode: str) -> None:
    suffix = "mcap" if storage == "mcap" else "db3"
    names = []
    for part in range(2):
        plain = tmp_path / f"talk_{part}.{suffix}"
        (write_mcap if storage == "mcap" else write_sqlite)(plain, talk()[part * 10 : part * 10 + 10])
        packed = plain.with_name(f"{plain.name}.zstd")
        packed.write_bytes(zstandard.ZstdCompressor().compress(plain.read_bytes()))
        plain.unlink()
        names.append(packed.name)
    (tmp_path / "metadata.yaml").write_text(metadata(5, storage, names, 20, mode=mode))
    assert contents(tmp_path) == talk()
    (tmp_path / "metadata.yaml").unlink()
    assert contents(tmp_path) == talk()
    assert contents(tmp_path / names[1]) == talk()[10:]


@pytest.mark.parametrize("with_metadata", [True, False])
def test_compressed_messages(tmp_path: Path, with_metadata: bool) -> None:
    write_sqlite(tmp_path / "talk_0.db3", talk(), schema=2, stored=zstandard.ZstdCompressor().compress)
    if with_metadata:
        (tmp_path / "metadata.yaml").write_text(metadata(4, "sqlite3", ["talk_0.db3"], 20, mode="MESSAGE"))
    assert contents(tmp_path) == talk()


#: SQLite does not compress itself.
STORAGES = [
    (plugin, mode)
    for plugin in StoragePlugin
    for mode in CompressionMode
    if plugin is not StoragePlugin.SQLITE3 or mode is not CompressionMode.STORAGE
]


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize(("plugin", "mode"), STORAGES)
def test_bags_of_the_rosbags_library(tmp_path: Path, version: int, plugin: StoragePlugin, mode: CompressionMode) -> None:
    writer = RosbagsWriter(tmp_path / "talk", version=version, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    writer.set_custom_data("shop", "corner")
    with writer:
        connection = writer.add_connection("/talk", "std_msgs/msg/String", typestore=get_typestore(Stores.ROS2_JAZZY))
        for _, time, data in talk():
            writer.write(connection, time, data)
    assert contents(tmp_path / "talk") == talk()
    assert texts(tmp_path / "talk")[0] == "hello 0"
    with BagReader(tmp_path / "talk") as reader:
        assert dict(reader.metadata.custom) == {"shop": "corner"}
        assert reader.stored_topics["/talk"].type_hash.startswith("RIHS01_")


def test_split_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    for part in range(12):
        write_sqlite(tmp_path / f"talk_{part}.db3", talk(120)[part * 10 : part * 10 + 10])
    assert contents(tmp_path) == talk(120)
    (tmp_path / "metadata.yaml").write_text(metadata(5, "sqlite3", [f"talk_{part}.db3" for part in range(12)], 120))
    assert contents(tmp_path) == contents(tmp_path / "metadata.yaml") == talk(120)


def test_a_bag_without_messages(tmp_path: Path) -> None:
    write_sqlite(tmp_path / "talk.db3", [])
    with BagReader(tmp_path) as reader:
        assert (reader.start_ns, reader.end_ns, reader.message_count) == (None, None, 0)
        assert list(reader.messages()) == []


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_sqlite_that_was_killed_is_read_and_not_changed(tmp_path: Path, mode: str) -> None:
    """In WAL mode everything may still lie beside the file; a rollback journal takes back what was not committed."""
    script = f"""
import os, sqlite3, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from foreign_bags import talk, write_sqlite
write_sqlite(__import__("pathlib").Path("talk.db3"), talk(0))
database = sqlite3.connect("talk.db3", isolation_level=None)
database.execute("PRAGMA journal_mode={mode}")
database.execute("PRAGMA wal_autocheckpoint=0")
database.execute("PRAGMA cache_size=5")
def add(messages):
    database.execute("BEGIN")
    database.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)", [(time, data) for _, time, data in messages])
add(talk(2000)[:1000])
database.execute("COMMIT")
add(talk(2000)[1000:])
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
    assert done.returncode == -9
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(before) > 1, "nothing was left beside the file: the test tests nothing"
    assert contents(tmp_path) == talk(1000)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_sample_of_2019() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: sample bags of other tools")
    with BagReader(SHARED / "2019_no_metadata") as reader:
        decoded = {message.topic: reader.decode(message) for message in reader.messages()}
        assert reader.topics["/image"].type == "sensor_msgs/msg/Image"
    assert len(decoded["/image"].data) == decoded["/image"].step * decoded["/image"].height
    assert decoded["/text"].data == "Hello World"
    with BagReader(SHARED / "mcap_v5") as reader:
        assert [reader.decode(message).data for message in reader.messages({"/one_shot/string"})] == ["Hello, World!"]


def test_broken_bags_are_named(tmp_path: Path) -> None:
    def refused(path: Path, expected: str) -> None:
        with pytest.raises(BagError, match=expected) as raised:
            contents(path)
        assert str(path.name) in str(raised.value)
        assert "\n" not in str(raised.value)

    for suffix in ("mcap", "db3"):
        file = tmp_path / f"empty.{suffix}"
        file.write_bytes(b"")
        refused(file, r"is empty \(0 bytes\), expected an MCAP or SQLite file")
        file = tmp_path / f"zero.{suffix}"
        file.write_bytes(bytes(5000))
        refused(file, "begins with zero bytes")
        file = tmp_path / f"text.{suffix}"
        file.write_bytes(b"milk, eggs, bread and butter")
        refused(file, "does not begin with (MCAP|SQLite)'s magic bytes")
        file = tmp_path / f"packed.{suffix}.zstd"
        file.write_bytes(zstandard.ZstdCompressor().compress(os.urandom(50_000))[:20_000])
        refused(file, "the compressed file ends too early")
    file = tmp_path / "other.bin"
    file.write_bytes(b"milk, eggs, bread and butter")
    refused(file, "expected an MCAP or SQLite file, .* found one that begins with b'milk, eg'")

    whole = tmp_path / "whole.mcap"
    write_mcap(whole, talk())
    for length in (8, 9, 30, 200, whole.stat().st_size - 1):
        cut = tmp_path / f"cut_{length}.mcap"
        cut.write_bytes(whole.read_bytes()[:length])
        refused(cut, "its end is missing or damaged .*'./aisle bag recover'")
    write_sqlite(tmp_path / "whole.db3", talk(500))
    cut = tmp_path / "cut.db3"
    cut.write_bytes((tmp_path / "whole.db3").read_bytes()[:9000])
    refused(cut, "damaged: .*'./aisle bag recover'")
    database = sqlite3.connect(tmp_path / "shop.db3")
    database.execute("CREATE TABLE shop(id)")
    database.commit()
    refused(tmp_path / "shop.db3", "not a bag: expected rosbag2's tables 'topics' and 'messages'")


def test_other_serialisations_and_missing_schemas_are_named(tmp_path: Path) -> None:
    write_sqlite(tmp_path / "talk.db3", talk(), encoding="protobuf")
    with pytest.raises(BagError, match=r"talk\.db3: topic '/talk' is serialised as 'protobuf', expected ROS 2's 'cdr'"):
        BagReader(tmp_path / "talk.db3")
    write_mcap(tmp_path / "talk.mcap", talk(), encoding="protobuf")
    with pytest.raises(BagError, match=r"talk\.mcap: topic '/talk' is encoded as 'protobuf', expected ROS 2's 'cdr'"):
        BagReader(tmp_path / "talk.mcap")
    write_mcap(tmp_path / "bare.mcap", talk(), with_schema=False)
    with pytest.raises(BagError, match=r"bare\.mcap: topic '/talk' has no schema"):
        BagReader(tmp_path / "bare.mcap")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: "", "is empty, expected rosbag2 metadata"),
        (lambda text: "\0" * 100, "is empty, expected rosbag2 metadata"),
        (lambda text: "{: ]", "not rosbag2 metadata: while"),
        (lambda text: f"rosbag2_bagfile_information: {'[' * 99_000}{']' * 99_000}", "lists and keys are nested more than 50 times"),
        (lambda text: "- " * 99_000, "lists and keys are nested more than 50 times"),
        (lambda text: "shop: corner", "expected the key 'rosbag2_bagfile_information'"),
        (lambda text: "rosbag2_bagfile_information: 5", "found 5, expected fields"),
        (lambda text: text.replace("version: 9", "version: nine"), "field 'version': found 'nine', expected a number"),
        (lambda text: text.replace("sqlite3", "tape"), "storage_identifier is 'tape', expected mcap or sqlite3"),
        (lambda text: text.replace("talk.db3", "walk.db3"), "relative_file_paths names walk.db3, expected files beside it"),
        (lambda text: text.replace("compression_mode: ''", "compression_mode: topic"), "compression_mode is 'topic', expected none, file"),
        (lambda text: text.replace("compression_mode: ''", "compression_mode: FILE"), "compression_format is '', expected 'zstd'"),
    ],
)
def test_broken_metadata_is_named(tmp_path: Path, change, expected: str) -> None:
    write_sqlite(tmp_path / "talk.db3", talk())
    (tmp_path / "metadata.yaml").write_text(change(metadata(9, "sqlite3", ["talk.db3"], 20)))
    with pytest.raises(BagError, match=expected) as raised:
        BagReader(tmp_path)
    assert "metadata.yaml: " in str(raised.value)


def changed_sqlite(path: Path, *statements: str) -> Path:
    write_sqlite(path, talk())
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()
    return path


_LOOSE_MESSAGES = ("DROP TABLE messages", "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data)")


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (("INSERT INTO messages VALUES (99, 1, 5, 'text')",), "1 rows of the table 'messages' hold no time since 1970 or no bytes"),
        (("INSERT INTO messages VALUES (99, 1, 'noon', x'00')",), "1 rows of the table 'messages'"),
        (("INSERT INTO messages VALUES (99, 1, -1, x'00')", "INSERT INTO messages VALUES (98, 1, 1.5, x'00')"), "2 rows of the table"),
        ((*_LOOSE_MESSAGES, "INSERT INTO messages VALUES (1, 1, NULL, x'00')"), "1 rows of the table 'messages'"),
        ((*_LOOSE_MESSAGES, "INSERT INTO messages VALUES (1, 1, 5, NULL)"), "1 rows of the table 'messages'"),
        (("UPDATE topics SET name = x'ff00'",), "topic 1 has the name .* expected text"),
        (("UPDATE topics SET type = x'ff00'",), "topic 1 has .* the type .* expected text"),
    ],
)
def test_values_that_are_not_what_their_columns_are_for_are_named(tmp_path: Path, statements: tuple[str, ...], expected: str) -> None:
    file = changed_sqlite(tmp_path / "talk.db3", *statements)
    with pytest.raises(BagError, match=rf"talk\.db3: {expected}"):
        BagReader(file)


def test_recovery_leaves_out_rows_that_are_no_messages(tmp_path: Path) -> None:
    rows = ("(98, 1, 5, 'text')", "(99, 1, -1, x'00')")
    changed_sqlite(tmp_path / "talk.db3", *(f"INSERT INTO messages VALUES {row}" for row in rows))
    recovery = recover_bag(tmp_path / "talk.db3", tmp_path / "out")
    assert recovery.notes == ("talk.db3: 2 rows that hold no time since 1970 or no bytes are left out",)
    assert contents(tmp_path / "out") == talk()


def test_a_definition_stored_as_bytes(tmp_path: Path) -> None:
    changed_sqlite(tmp_path / "talk.db3", "UPDATE message_definitions SET encoded_message_definition = CAST('string data' AS BLOB)")
    assert texts(tmp_path / "talk.db3")[3] == "hello 3"


def test_a_table_whose_damage_is_no_text_is_named(tmp_path: Path) -> None:
    write_sqlite(tmp_path / "talk.db3", talk())
    data = (tmp_path / "talk.db3").read_bytes()
    assert data.count(b"CREATE TABLE topics(id INTEGER") == 1
    (tmp_path / "talk.db3").write_bytes(data.replace(b"CREATE TABLE topics(id INTEGER", b"CREATE TABLE topics(id \x84\x85TEGER"))
    with pytest.raises(BagError, match=r"talk\.db3: "):
        contents(tmp_path / "talk.db3")


@pytest.mark.parametrize("cut", [3, 15])
def test_compressed_messages_that_end_too_early_are_named(tmp_path: Path, cut: int) -> None:
    compress = zstandard.ZstdCompressor().compress
    write_sqlite(tmp_path / "talk.db3", talk(), stored=lambda data: compress(data)[:-cut] if data == string("hello 7") else compress(data))
    with pytest.raises(BagError, match=r"talk\.db3: a message that is compressed by Zstandard cannot be read: it ends too early"):
        contents(tmp_path / "talk.db3")
    recovery = recover_bag(tmp_path / "talk.db3", tmp_path / "out")
    assert recovery.notes == ("talk.db3: 1 messages whose compression is damaged are left out",)
    assert contents(tmp_path / "out") == [message for message in talk() if message[2] != string("hello 7")]


@pytest.mark.parametrize("share", [0.2, 0.99])
def test_a_compressed_file_that_ends_too_early_is_named(tmp_path: Path, share: float) -> None:
    write_sqlite(tmp_path / "talk.db3", talk(3000))
    packed = zstandard.ZstdCompressor().compress((tmp_path / "talk.db3").read_bytes())
    (tmp_path / "cut.db3.zstd").write_bytes(packed[: int(share * len(packed))])
    with pytest.raises(BagError, match=r"cut\.db3\.zstd: the compressed file ends too early"):
        contents(tmp_path / "cut.db3.zstd")


def test_metadata_that_name_files_otherwise(tmp_path: Path) -> None:
    write_sqlite(tmp_path / "talk_0.db3", talk())
    plain = tmp_path / "talk_0.db3"
    for names in (["talk_0.db3", "talk_0.db3"], ["./talk_0.db3"], ["/elsewhere/talk_0.db3"], ["bag/talk_0.db3"]):
        (tmp_path / "metadata.yaml").write_text(metadata(5, "sqlite3", names, 20))
        assert contents(tmp_path) == talk()
    # Compressed, but named as before.
    plain.with_name("talk_0.db3.zstd").write_bytes(zstandard.ZstdCompressor().compress(plain.read_bytes()))
    plain.unlink()
    (tmp_path / "metadata.yaml").write_text(metadata(5, "sqlite3", ["talk_0.db3"], 20, mode="FILE"))
    assert contents(tmp_path) == talk()


def test_times_after_those_of_ros_are_named(tmp_path: Path) -> None:
    late = [("/talk", (1 << 63) + number, string("late")) for number in range(3)]
    write_mcap(tmp_path / "talk.mcap", talk() + late)
    with pytest.raises(BagError, match=r"talk\.mcap: a message was logged at 9223372036854775810 ns, expected at most"):
        BagReader(tmp_path / "talk.mcap")
    assert recover_bag(tmp_path / "talk.mcap", tmp_path / "out").notes
    assert contents(tmp_path / "out") == talk()


def test_recovery_without_schemas_in_the_summary(tmp_path: Path) -> None:
    write_mcap(tmp_path / "talk.mcap", talk(), repeat_schemas=False)
    assert recover_bag(tmp_path / "talk.mcap", tmp_path / "out").notes == ()
    assert contents(tmp_path / "out") == talk()


def test_nested_qos_is_no_qos(tmp_path: Path) -> None:
    changed_sqlite(tmp_path / "talk.db3", f"UPDATE topics SET offered_qos_profiles = '{'[' * 600}{']' * 600}'")
    with BagReader(tmp_path / "talk.db3") as reader:
        assert read_qos(reader.stored_topics["/talk"].qos) == []


def test_files_of_both_formats_need_a_choice(tmp_path: Path) -> None:
    write_sqlite(tmp_path / "talk.db3", talk())
    write_mcap(tmp_path / "talk.mcap", talk())
    with pytest.raises(BagError, match=r"both \*\.mcap and \*\.db3"):
        BagReader(tmp_path)
    shutil.copy(tmp_path / "talk.db3", tmp_path / "noise.bin")
    assert contents(tmp_path / "noise.bin") == talk()


@pytest.mark.parametrize("options", [{}, BARE, UNCHUNKED], ids=str)
def test_a_clock_that_begins_at_zero(tmp_path: Path, options: dict) -> None:
    write_mcap(tmp_path / "talk.mcap", [("/talk", 0, string("begin"))], **options)
    write_sqlite(tmp_path / "talk.db3", [("/talk", 0, string("begin"))])
    assert texts(tmp_path / "talk.mcap") == texts(tmp_path / "talk.db3") == ["begin"]


def test_a_message_that_is_none_of_its_type_is_named(tmp_path: Path) -> None:
    write_mcap(tmp_path / "talk.mcap", [("/talk", START, string("hello")[:7])])
    with pytest.raises(BagError, match=r"topic '/talk' at 1600000000000000000 ns: not a std_msgs/msg/String"):
        texts(tmp_path)
