"""Each file of a split bag can be used alone: it begins with what latched topics had said. Read as one, the bag says everything once."""

from __future__ import annotations

import random
import resource
from collections import Counter
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

pytest.importorskip("aisle_msgs.msg", reason="aisle_msgs is not built: run the tests by ./aisle test")

from foreign_bags import START, string

from aisle_bags.bag_copies import BagFormat, convert_bag, cut_bag, merge_bags
from aisle_bags.bag_info import bag_info
from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.bag_recovery import recover_bag
from aisle_bags.bag_writer import BagWriter
from aisle_bags.latched_messages import REPEATED
from aisle_bags.stored_topics import stored_topic
from aisle_contract import qos, topics
from aisle_contract.topics import Topic

SECOND = 1_000_000_000
#: As many of its messages are kept for late subscribers.
DEPTH = 3
NOTES = stored_topic(Topic("/notes", "std_msgs/msg/String", qos.Profile("notes", reliable=True, transient_local=True, depth=DEPTH)))
TALK = stored_topic(Topic("/talk", "std_msgs/msg/String", qos.STREAM))
FRAMES = stored_topic(topics.TF_STATIC)

Sent = tuple[str, int, bytes]


def frames(number: int) -> bytes:
    """Stands for what one of several broadcasters says; it is never decoded here."""
    return b"\x00\x01\x00\x00" + bytes([number] * 8)


def said(seed: int, count: int = 400) -> list[Sent]:
    """Topic, log time and data; three broadcasters that repeat themselves now and then."""
    rng = random.Random(seed)
    sent, time_ns = [], START
    for number in range(count):
        time_ns += rng.choice((0, 1, SECOND // 20, SECOND // 3))
        topic = rng.choices((TALK, NOTES, FRAMES), (90, 6, 4))[0].name
        data = frames(rng.randrange(3)) if topic == FRAMES.name else string(f"{number} {'x' * rng.choice((3, 2000))}")
        sent.append((topic, time_ns, data))
    return sent


def write(folder: Path, sent: list[Sent], **options: object) -> Path:
    with BagWriter(folder, chunk_bytes=5000, repeat_latched=True, **options) as writer:
        for topic in (TALK, NOTES, FRAMES):
            writer.add_stored_topic(topic)
        for name, time_ns, data in sent:
            writer.write(name, data, time_ns, time_ns - 5)
    return folder


def read(path: Path) -> list[Sent]:
    with BagReader(path) as reader:
        return [(message.topic, message.log_time_ns, message.data) for message in reader.messages()]


def still_latched(sent: list[Sent]) -> Counter[tuple[str, bytes]]:
    """What somebody who comes after these messages gets, in the plainest words."""
    notes = [data for topic, _, data in sent if topic == NOTES.name][-DEPTH:]
    transforms = {data for topic, _, data in sent if topic == FRAMES.name}
    return Counter([(NOTES.name, data) for data in notes] + [(FRAMES.name, data) for data in transforms])


@pytest.mark.parametrize("seed", range(4))
def test_each_file_begins_with_what_is_latched_and_the_bag_says_all_once(tmp_path: Path, seed: int) -> None:
    sent = said(seed)
    by_size = seed % 2
    bag = write(tmp_path / "bag", sent, split_bytes=20_000 * by_size, split_ns=8 * SECOND * (1 - by_size), compression="none")
    files = sorted(bag.glob("*.mcap"), key=lambda file: int(file.stem.rpartition("_")[2]))
    assert len(files) > 4
    assert read(bag) == sent

    before = 0
    for file in files:
        expected = still_latched(sent[:before])
        alone = read(file)
        begin, rest = alone[: expected.total()], alone[expected.total() :]
        assert Counter((topic, data) for topic, _, data in begin) == expected
        assert {time_ns for _, time_ns, _ in begin} <= {rest[0][1]}
        assert rest == sent[before : before + len(rest)]
        before += len(rest)
    assert before == len(sent)

    counts = Counter(topic for topic, _, _ in sent)
    with BagReader(bag) as reader:
        assert {name: topic.count for name, topic in reader.topics.items()} == counts
        assert {info.topic.name: info.count for info in bag_info(reader).topics} == counts
        times = Counter((name, time_ns) for name, found in reader.log_times() for time_ns in found.tolist())
        assert times == Counter((topic, time_ns) for topic, time_ns, _ in sent)
        middle_ns = sent[len(sent) // 2][1]
        later = [(message.topic, message.log_time_ns, message.data) for message in reader.messages(start_ns=middle_ns)]
        assert later == [item for item in sent if item[1] >= middle_ns]
        publish_times = {message.publish_time_ns - message.log_time_ns for message in reader.messages()}
        assert publish_times == {-5}
    # Others count what lies in the files.
    with AnyReader([bag]) as other:
        assert other.message_count == sum(len(read(file)) for file in files) > len(sent)


def test_what_is_made_of_a_split_bag_says_all_once(tmp_path: Path) -> None:
    sent = said(11)
    bag = write(tmp_path / "bag", sent, split_ns=8 * SECOND)
    with BagReader(bag) as reader:
        convert_bag(reader, tmp_path / "converted", BagFormat())
        cut_bag(reader, tmp_path / "cut", sent[200][1], sent[-1][1], BagFormat())
        with BagReader(bag) as again:
            merge_bags([reader, again], tmp_path / "merged", BagFormat())
    assert read(tmp_path / "converted") == read(tmp_path / "merged") == sent
    latched = still_latched([item for item in sent if item[1] < sent[200][1]])
    assert len(read(tmp_path / "cut")) == latched.total() + len([item for item in sent if item[1] >= sent[200][1]])
    with BagReader(tmp_path / "converted") as reader:
        assert REPEATED not in dict(reader.metadata_records())


def test_a_beginning_larger_than_a_file_makes_no_more_files(tmp_path: Path) -> None:
    large = [(NOTES.name, START + number, string("x" * 50_000)) for number in range(DEPTH)]
    bag = write(tmp_path / "bag", large + [(TALK.name, START + 10 + n, string("y" * 100)) for n in range(100)], split_bytes=10_000)
    # Each of the notes filled a file; what is said later fits into one.
    assert len(list(bag.glob("*.mcap"))) <= DEPTH + 3


@pytest.mark.parametrize("lost", ["nothing", "first file", "first file's beginning", "last file's end", "metadata"])
def test_recovery_says_all_once_and_keeps_what_only_a_repetition_says(tmp_path: Path, lost: str) -> None:
    sent = said(21)
    bag = write(tmp_path / "bag", sent, split_ns=8 * SECOND, compression="none")
    files = sorted(bag.glob("*.mcap"), key=lambda file: int(file.stem.rpartition("_")[2]))
    of_first = len(read(files[0]))
    before = [read(file) for file in files]
    if lost == "metadata":
        (bag / "metadata.yaml").unlink()
    elif lost == "first file":
        files[0].unlink()
    elif lost == "first file's beginning":
        data = bytearray(files[0].read_bytes())
        data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
        files[0].write_bytes(data)
    elif lost == "last file's end":
        files[-1].write_bytes(files[-1].read_bytes()[:-3000])
    recover_bag(bag, tmp_path / "out")
    found = read(tmp_path / "out")
    if lost in ("nothing", "metadata"):
        assert found == sent
    elif lost == "last file's end":
        assert found == sent[: len(found)]
        assert len(found) > 0.9 * len(sent)
    else:
        # Repetitions tell what was latched when the first file ended.
        assert found[-(len(sent) - of_first) :] == sent[of_first:]
        latched = Counter((topic, data) for topic, _, data in found[: -(len(sent) - of_first)] if topic != TALK.name)
        assert latched >= still_latched(sent[:of_first])
    # The new files can be used alone, too.
    new = sorted((tmp_path / "out").glob("*.mcap"), key=lambda file: int(file.stem.rpartition("_")[2]))
    after = [read(file) for file in new]
    if lost != "first file's beginning":
        # What came back out of a repetition counts as newer than what the damaged file still had.
        assert after[1:-1] == before[-len(new) :][1:-1]
    assert after == before or lost not in ("nothing", "metadata")
    recover_bag(tmp_path / "out", tmp_path / "again")
    assert read(tmp_path / "again") == found


def test_what_a_full_disk_did_not_take_is_told_without_what_is_repeated(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag", whole=False, repeat_latched=True, split_ns=SECOND, compression="none", chunk_bytes=5000)
    for topic in (TALK, NOTES):
        writer.add_stored_topic(topic)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    given: Counter[str] = Counter()

    def fill() -> None:
        for number in range(1000):
            writer.write(TALK.name, string("x" * 1000), START + 2 * SECOND + number)
            given[TALK.name] += 1

    try:
        for number in range(3):
            writer.write(NOTES.name, string(f"{number}"), START + number * SECOND)
            given[NOTES.name] += 1
        with pytest.raises(OSError, match="large"):
            fill()
        lost = writer.end()
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with BagReader(tmp_path / "bag") as reader:
        held = Counter(message.topic for message in reader.messages())
    assert held[NOTES.name] == 3
    assert held[TALK.name] > 20
    assert held + lost == given


def test_a_note_about_a_topic_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    sent = [item for item in said(41, 50) if item[0] == TALK.name]
    with BagWriter(tmp_path / "bag", split_ns=2 * SECOND) as writer:
        writer.add_stored_topic(TALK)
        for name, time_ns, data in sent:
            writer.write(name, data, time_ns)
        writer.note(REPEATED, {"/gone": '{"count": 3, "last": 7}'})
    assert read(tmp_path / "bag") == sent


def test_a_note_that_is_none_is_named(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", said(31, 50), split_ns=2 * SECOND)
    broken = sorted(bag.glob("*.mcap"))[1]
    data = broken.read_bytes()
    start = data.index(b'{"count"')
    broken.write_bytes(data[:start] + b'["count"' + data[start + 8 :])
    with pytest.raises(BagError, match=rf"{broken.name}: damaged"):
        BagReader(bag)
