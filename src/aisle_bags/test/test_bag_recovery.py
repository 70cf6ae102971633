"""Recovery: whatever is damaged, what comes out was in the bag, and what lies before the damage comes out."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest
import zstandard
from foreign_bags import BARE, START, STEP, UNCHUNKED, metadata, string, talk, write_mcap, write_sqlite
from mcap.writer import CompressionType
from rosbags.highlevel import AnyReader

from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.bag_recovery import RECOVERED, recover_bag
from aisle_bags.bag_writer import BagWriter

COUNT = 1000


def messages() -> list[tuple[str, int, bytes]]:
    """Of two topics, long ones too, which lie in several pages of an SQLite file."""
    rng = random.Random(3)
    return [("/talk" if n % 3 else "/rare", START + n * STEP, string(f"{n} {'x' * rng.choice((5, 200, 9000))}")) for n in range(COUNT)]


def recovered(source: Path, out: Path) -> list[tuple[str, int, bytes]]:
    before = {file: file.read_bytes() for file in source.iterdir()}
    recovery = recover_bag(source, out)
    assert {file: file.read_bytes() for file in source.iterdir()} == before, "the source was changed"
    with BagReader(out) as reader:
        found = [(message.topic, message.log_time_ns, message.data) for message in reader.messages()]
        assert reader.metadata.custom.get(RECOVERED, "") == "; ".join(recovery.notes)
    assert len(found) == recovery.messages
    # Others read it too.
    with AnyReader([out]) as reader:
        assert reader.message_count == len(found)
    return found


@pytest.fixture(params=list(CompressionType), ids=str)
def bag(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "bag"
    folder.mkdir()
    write_mcap(folder / "bag_0.mcap", messages(), compression=request.param, chunk_size=100_000)
    return folder


def test_a_whole_bag_comes_back_with_new_metadata(bag: Path, tmp_path: Path) -> None:
    assert recovered(bag, tmp_path / "out") == messages()
    assert recover_bag(bag, tmp_path / "again").notes == ()
    with BagReader(bag) as before, BagReader(tmp_path / "out") as after:
        assert [message for message in before.messages()] == [message for message in after.messages()]
        assert before.stored_topics == after.stored_topics


def test_a_file_cut_anywhere_gives_its_beginning(bag: Path, tmp_path: Path) -> None:
    file = bag / "bag_0.mcap"
    whole = file.read_bytes()
    rng = random.Random(5)
    saved = []
    for number, length in enumerate(sorted(rng.randrange(len(whole) // 20, len(whole)) for _ in range(6))):
        file.write_bytes(whole[:length])
        found = recovered(bag, tmp_path / f"out_{number}")
        assert found == messages()[: len(found)]
        saved.append(len(found))
    assert saved == sorted(saved)
    # All but what is in the last chunk at most; nearly everything where the messages' part is whole.
    assert saved[-1] > 0.9 * COUNT


def test_zero_bytes_at_the_end_after_a_power_failure(bag: Path, tmp_path: Path) -> None:
    file = bag / "bag_0.mcap"
    whole = file.read_bytes()
    half = len(whole) // 2
    file.write_bytes(whole[:half])
    cut = recovered(bag, tmp_path / "cut")
    file.write_bytes(whole[:half] + bytes(len(whole) - half))
    found = recovered(bag, tmp_path / "out")
    assert found == messages()[: len(found)]
    # An uncompressed message may end in zero bytes of its own: the one that was cut is not saved, those before it are.
    assert len(found) >= len(cut) - 1


def test_damage_in_the_middle_costs_its_chunk_only(tmp_path: Path) -> None:
    for compression in (CompressionType.ZSTD, CompressionType.LZ4):
        folder = tmp_path / compression.name
        folder.mkdir()
        file = folder / "bag_0.mcap"
        write_mcap(file, messages(), compression=compression, chunk_size=20_000)
        whole = file.read_bytes()
        for name, damaged in (
            ("flipped", whole[: len(whole) // 2] + b"\xff\xff\xff" + whole[len(whole) // 2 + 3 :]),
            ("hole", whole[: len(whole) // 2] + bytes(1000) + whole[len(whole) // 2 + 1000 :]),
            ("missing", whole[: len(whole) // 2] + whole[len(whole) // 2 + 1000 :]),
        ):
            file.write_bytes(damaged)
            found = recovered(folder, tmp_path / f"{compression.name}_{name}")
            assert set(found) <= set(messages())
            assert len(found) > 0.8 * COUNT
            assert messages()[0] in found
            assert messages()[-1] in found


@pytest.mark.parametrize("options", [BARE, UNCHUNKED, {**UNCHUNKED, **BARE}], ids=str)
def test_files_without_chunks_or_summary(tmp_path: Path, options: dict) -> None:
    (tmp_path / "bag").mkdir()
    file = tmp_path / "bag" / "bag_0.mcap"
    write_mcap(file, messages(), chunk_size=20_000, **options)
    assert recovered(tmp_path / "bag", tmp_path / "out") == messages()
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    found = recovered(tmp_path / "bag", tmp_path / "half")
    assert found == messages()[: len(found)]
    assert len(found) > 0.3 * COUNT


def test_split_files_stay_split_and_one_bad_file_costs_itself_only(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", split_ns=250 * STEP) as writer, BagWriter(tmp_path / "template") as template:
        template.attach("store/store.yaml", "application/yaml", b"name: corner shop\n")
        writer.attach("store/store.yaml", "application/yaml", b"name: corner shop\n")
        write_mcap(tmp_path / "talk.mcap", messages())
        with BagReader(tmp_path / "talk.mcap") as reader:
            for topic in reader.stored_topics.values():
                writer.add_stored_topic(topic)
        for topic, time, data in messages():
            writer.write(topic, data, time)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    (tmp_path / "bag" / "bag_1.mcap").write_bytes(bytes(1000))
    found = recovered(tmp_path / "bag", tmp_path / "out")
    assert found == messages()[:250] + messages()[500:]
    with BagReader(tmp_path / "out") as reader:
        assert len(reader.files) == 4
        assert reader.attachments() == {"store/store.yaml": b"name: corner shop\n"}


def test_metadata_that_is_broken_or_names_missing_files(bag: Path, tmp_path: Path) -> None:
    (bag / "metadata.yaml").write_bytes(b"rosbag2_bagfile_information:\n  version")
    assert recovered(bag, tmp_path / "broken") == messages()
    (bag / "metadata.yaml").write_text(metadata(6, "mcap", ["other.mcap"], 20))
    assert recovered(bag, tmp_path / "missing") == messages()
    with BagReader(tmp_path / "missing") as reader:
        assert reader.metadata.custom["shop"] == "corner"


@pytest.mark.parametrize("schema", [1, 4])
def test_sqlite_cut_anywhere(tmp_path: Path, schema: int) -> None:
    (tmp_path / "bag").mkdir()
    file = tmp_path / "bag" / "bag_0.db3"
    write_sqlite(file, messages(), schema=schema)
    whole = file.read_bytes()
    assert recovered(tmp_path / "bag", tmp_path / "whole") == messages()
    for percent in (15, 50, 95):
        file.write_bytes(whole[: len(whole) * percent // 100])
        found = recovered(tmp_path / "bag", tmp_path / f"out_{percent}")
        assert set(found) <= set(messages())
        assert len(found) > 0.8 * percent / 100 * COUNT


def test_sqlite_with_lost_pages(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    file = tmp_path / "bag" / "bag_0.db3"
    short = talk(2 * COUNT)
    write_sqlite(file, short)
    content = bytearray(file.read_bytes())
    size = 4096
    for page in (20, 21, 30):
        content[page * size : (page + 1) * size] = bytes(size)
    file.write_bytes(content)
    found = recovered(tmp_path / "bag", tmp_path / "out")
    assert set(found) <= set(short)
    assert 1.4 * COUNT < len(found) < 2 * COUNT
    assert {short[0], short[-1]} <= set(found)


def test_sqlite_with_a_hot_journal(tmp_path: Path) -> None:
    """A copy of the files in the middle of a transaction is what a power failure leaves."""
    (tmp_path / "bag").mkdir()
    live = tmp_path / "live.db3"
    write_sqlite(live, talk(500))
    database = sqlite3.connect(live, isolation_level=None)
    database.execute("PRAGMA cache_size = 5")
    database.execute("BEGIN")
    rows = [(time, data) for _, time, data in talk(COUNT)[500:]]
    database.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)", rows)
    for ending in ("", "-journal"):
        (tmp_path / "bag" / f"bag_0.db3{ending}").write_bytes(live.with_name(f"live.db3{ending}").read_bytes())
    database.close()
    assert recovered(tmp_path / "bag", tmp_path / "out") == talk(500)


def test_a_compressed_file_that_ends_too_early(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    write_mcap(tmp_path / "bag_0.mcap", messages(), compression=CompressionType.NONE, chunk_size=20_000)
    packed = zstandard.ZstdCompressor().compress((tmp_path / "bag_0.mcap").read_bytes())
    (tmp_path / "bag" / "bag_0.mcap.zstd").write_bytes(packed[: len(packed) // 2])
    found = recovered(tmp_path / "bag", tmp_path / "out")
    assert 0.2 * COUNT < len(found) < COUNT
    assert found == messages()[: len(found)]


@pytest.mark.parametrize(
    "content", [b"", bytes(5000), b"milk, eggs, bread", b"\x89MCAP0\r\n", b"SQLite format 3\x00", b"\x89MCAP0\r\n" + b"\x06" * 500]
)
@pytest.mark.parametrize("suffix", ["mcap", "db3"])
def test_where_nothing_can_be_saved_nothing_is_made(tmp_path: Path, content: bytes, suffix: str) -> None:
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / f"bag_0.{suffix}").write_bytes(content)
    with pytest.raises(BagError, match="bag: nothing in it could be read"):
        recover_bag(tmp_path / "bag", tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["bag"]
    with pytest.raises(BagError, match=r"nothing to recover: found no \*\.mcap or \*\.db3 files"):
        recover_bag(tmp_path, tmp_path / "out")


def test_a_recording_that_was_killed_at_once_is_an_empty_bag(tmp_path: Path) -> None:
    """Its first chunk is not there yet, but what it attached is."""
    with BagWriter(tmp_path / "bag") as writer:
        writer.attach("store/store.yaml", "application/yaml", b"name: corner shop\n")
    file = tmp_path / "bag" / "bag_0.mcap"
    whole = file.read_bytes()
    # The attachment ends in a checksum of four bytes.
    file.write_bytes(whole[: whole.index(b"corner shop\n") + len(b"corner shop\n") + 4])
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert recover_bag(tmp_path / "bag", tmp_path / "out").messages == 0
    with BagReader(tmp_path / "out") as reader:
        assert reader.attachments() == {"store/store.yaml": b"name: corner shop\n"}
        assert (reader.message_count, reader.start_ns) == (0, None)
