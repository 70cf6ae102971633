"""Files that are being written survive full disks and crashes; bags are split."""

from __future__ import annotations

import errno
import io
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from aisle_bags.bag_metadata import FileSummary
from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_writer import BagWriter
from aisle_bags.mcap_file import McapFile
from aisle_bags.stored_topics import StoredTopic, stored_topic
from aisle_contract import qos
from aisle_contract.topics import Topic

START = 1_577_836_800_000_000_000
SECOND = 1_000_000_000
TEXT = Topic("/text", "std_msgs/msg/String", qos.STREAM)


@pytest.fixture
def topic() -> StoredTopic:
    return stored_topic(TEXT)


def string(size: int) -> bytes:
    """A std_msgs/String of ``size`` characters as CDR, that does not compress."""
    characters = bytes(33 + (i * i * 7919 + i // 7) % 90 for i in range(size))
    return b"\x00\x01\x00\x00" + (size + 1).to_bytes(4, "little") + characters + b"\x00"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing beyond ``size`` fails, as on a full disk (the system says EFBIG instead of ENOSPC)."""
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def filled(path: Path, topic: StoredTopic, limit: int, compression: str) -> tuple[FileSummary, int]:
    """A file of messages until the limit is hit; with the number of messages that were given to it."""
    with largest_file(limit):
        file = McapFile(path, compression, chunk_bytes=4096)
        file.declare(topic)
        given = 0
        full = False
        while not full:
            given += 1
            try:
                file.write("/text", string(100 + given), START + given, START + given, given)
                if given % 7 == 0:
                    file.cut()
            except OSError as error:
                full = error.errno == errno.EFBIG
        return file.close(), given


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("limit", [20_000, 20_001, 20_030, 20_480, 24_000])
def test_a_full_disk_leaves_a_closed_readable_file(tmp_path: Path, topic: StoredTopic, limit: int, compression: str) -> None:
    summary, given = filled(tmp_path / "a.mcap", topic, limit, compression)
    assert (tmp_path / "a.mcap").stat().st_size <= limit
    with (tmp_path / "a.mcap").open("rb") as stream:
        numbers = [message.sequence for _, _, message in make_reader(stream).iter_messages()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == summary.counts["/text"]
    # No more than the open chunk and the few that make room for the end.
    assert given - len(numbers) < 4096 // 100 * 3
    with AnyReader([tmp_path / "a.mcap"]) as reader:
        assert len(list(reader.messages())) == len(numbers)


def test_what_was_cut_is_in_the_file(tmp_path: Path, topic: StoredTopic) -> None:
    file = McapFile(tmp_path / "a.mcap")
    file.declare(topic)
    before = (tmp_path / "a.mcap").stat().st_size
    file.write("/text", string(500), START, START, 0)
    assert (tmp_path / "a.mcap").stat().st_size == before
    file.cut()
    assert (tmp_path / "a.mcap").stat().st_size > before + 100
    file.abandon()


def test_bags_are_split_by_time(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", split_ns=2 * SECOND) as writer:
        writer.attach("store/x", "text/plain", b"hello")
        writer.add_topic(TEXT)
        for second in range(7):
            writer.write("/text", string(10 + second), START + second * SECOND)
    files = sorted((tmp_path / "bag").glob("*.mcap"))
    assert [file.name for file in files] == ["bag_0.mcap", "bag_1.mcap", "bag_2.mcap", "bag_3.mcap"]
    for number, file in enumerate(files):
        # Each can be read alone.
        with BagReader(file) as reader:
            assert next(message.log_time_ns for message in reader.messages()) == START + number * 2 * SECOND
            assert reader.attachments() == {"store/x": b"hello"}
            assert reader.topics["/text"].type == "std_msgs/msg/String"
    with BagReader(tmp_path / "bag") as reader:
        assert [len(message.data) for message in reader.messages()] == [len(string(10 + second)) for second in range(7)]
    with AnyReader([tmp_path / "bag"]) as reader:
        assert reader.message_count == 7
        assert reader.duration == 6 * SECOND + 1


def test_bags_are_split_by_size(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", compression="none", chunk_bytes=1000, split_bytes=20_000) as writer:
        writer.add_topic(TEXT)
        for number in range(100):
            writer.write("/text", string(1000), START + number)
    sizes = [file.stat().st_size for file in (tmp_path / "bag").glob("*.mcap")]
    assert len(sizes) > 4
    # The end of a file comes on top.
    assert max(sizes) < 20_000 + 1100 + 5000
    with AnyReader([tmp_path / "bag"]) as reader:
        assert reader.message_count == 100


class _SmallDisk:
    """A disk of so many bytes: what is written to MCAP files beyond fails."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size

    def free(self) -> int:
        return self._size - sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        disk, open_file = self, Path.open

        class File(io.FileIO):
            def write(self, data: bytes) -> int:
                room = disk.free()
                if room <= 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().write(memoryview(data)[:room])

        def opened(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
            return File(path, "x") if mode == "xb" and path.suffix == ".mcap" else open_file(path, mode, *args, **options)

        monkeypatch.setattr(Path, "open", opened)


@pytest.mark.parametrize("size", range(20_000, 34_000, 397))
def test_all_files_can_be_read_whenever_the_disk_is_full(tmp_path: Path, topic: StoredTopic, size: int, monkeypatch) -> None:
    _SmallDisk(tmp_path, size).install(monkeypatch)
    options = {"compression": "none", "chunk_bytes": 1000, "split_bytes": 5000, "whole": False, "repeat_latched": True}
    writer = BagWriter(tmp_path / "bag", **options)
    writer.attach("store/x", "text/plain", bytes(1500))
    writer.add_stored_topic(topic)
    given, refused = 0, False
    while not refused:
        assert given < 1000
        try:
            writer.write("/text", string(300), START + given)
            given += 1
        except OSError as error:
            refused = error.errno == errno.ENOSPC
    lost = writer.end()["/text"]
    writer.close()
    for file in (tmp_path / "bag").glob("*.mcap"):
        with BagReader(file) as reader:
            list(reader.messages())
    with BagReader(tmp_path / "bag") as reader:
        held = [message.sequence for message in reader.messages()]
    assert held == list(range(given - lost))
    assert given - lost > 10
    with AnyReader([tmp_path / "bag"]) as reader:
        assert reader.message_count == len(held)


@pytest.mark.parametrize("limit", [20, 90_000])
def test_a_disk_that_is_full_at_the_start_is_left_as_it_was(tmp_path: Path, limit: int) -> None:
    with largest_file(limit), pytest.raises(OSError, match="too large"):
        BagWriter(tmp_path / "bag", whole=False, reserve_bytes=100_000 if limit > 20 else 0)
    assert not any(tmp_path.iterdir())


def test_room_for_the_end_is_taken_at_the_start(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag", whole=False, reserve_bytes=100_000)
    (reserve,) = [file for file in (tmp_path / "bag").iterdir() if file.suffix != ".mcap"]
    # Of the disk, not only in name.
    assert reserve.stat().st_blocks * 512 >= 100_000
    with pytest.raises(FileExistsError, match="exists already"):
        BagWriter(tmp_path / "bag", whole=False, reserve_bytes=100_000)
    writer.close()
    assert sorted(file.name for file in (tmp_path / "bag").iterdir()) == ["bag_0.mcap", "metadata.yaml"]
