"""The shipped bag through ./aisle replay: the same receipts every time, offline and live."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_store import store_of
from aisle_bags.core_settings import load_settings
from aisle_bags.offline import OfflineRunner
from aisle_checkout.receipt_files import read_receipt, receipt_json
from aisle_contract.records import ReceiptStatus

ROOT = Path(__file__).resolve().parents[1]
BAG = ROOT / "bags" / "cps-test-4-nominal-0"
EXPECTED = BAG / "expected"
PATIENCE_S = 300.0
#: ./aisle test gives each run a domain of its own.
ENVIRONMENT = {"ROS_DOMAIN_ID": "64", **os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def replay(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "aisle_bringup.command", "replay", *map(str, arguments)]
    return subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def test_offline_replay_gives_the_expected_receipts_byte_for_byte_twice(tmp_path: Path) -> None:
    for number in ("first", "second"):
        done = replay(BAG, "--receipts", tmp_path / number)
        assert done.returncode == 0, done.stderr
        assert files(tmp_path / number) == files(EXPECTED)


def test_carts_and_tracks_are_the_same_with_one_process_and_with_two(tmp_path: Path) -> None:
    for jobs in ("1", "2"):
        receipts = tmp_path / "receipts" / jobs
        files_wanted = "--carts", tmp_path / f"carts-{jobs}", "--tracks", tmp_path / f"tracks-{jobs}", "--receipts", receipts
        done = replay(BAG, *files_wanted, "--jobs", jobs)
        assert done.returncode == 0, done.stderr
        # Open carts are worked out for --carts alone; the receipts are those without.
        assert files(receipts) == files(EXPECTED)
    found = files(tmp_path)
    assert found["carts-1"] == found["carts-2"]
    assert found["tracks-1"] == found["tracks-2"]
    carts = [json.loads(line) for line in found["carts-1"].splitlines()]
    assert [cart["status"] for cart in carts].count("closed") == 1
    assert [cart["status"] for cart in carts].count("open") > 3
    assert {line["product"] for line in carts[-1]["lines"]} == {"835144009066", "078907916342", "044000006808"}
    assert len(found["tracks-1"].splitlines()) > 100


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--from", "images"), "--from images needs a person detector"),
        (("--from", "events", "--detector", "openvino:x.xml"), "takes what is recorded: leave out --detector"),
        (("--live", "--tracks", "x.csv"), "belong to a replay offline"),
        (("--carts", "."), "is a folder, expected a file to write"),
        (("--from", "weights"), "holds no tracks, which a replay from weights takes as recorded"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(arguments: tuple[str, ...], told: str) -> None:
    done = replay(BAG, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_live_replay_gives_the_expected_receipts(tmp_path: Path) -> None:
    done = replay("--live", BAG, "--rate", "2", "--receipts", tmp_path / "live")
    assert done.returncode == 0, done.stdout + done.stderr
    assert files(tmp_path / "live") == files(EXPECTED), done.stdout


def test_the_order_in_which_topics_were_stored_does_not_matter() -> None:
    with BagReader(BAG) as reader:
        store, records = store_of(reader), list(reader.records())
    by_topic = sorted(records, key=lambda record: type(record).__name__)
    assert by_topic != records
    result = OfflineRunner(store, load_settings(ROOT / "config" / "graph.yaml")).run(by_topic)
    assert {f"{receipt.session}.json": receipt_json(receipt).encode() for receipt in result.receipts} == files(EXPECTED)


def test_the_expected_receipt_is_what_the_labels_say() -> None:
    (receipt,) = [read_receipt(file) for file in EXPECTED.iterdir()]
    bought = {line.product: line.quantity for line in receipt.lines}
    assert bought == {"835144009066": 1, "078907916342": 1, "044000006808": 1}
    assert receipt.status == ReceiptStatus.CHARGED
    assert receipt.total == "3.00"


def test_other_programs_read_the_bag() -> None:
    with BagReader(BAG) as reader:
        count = sum(topic.count for topic in reader.topics.values())
    assert count > 1000
    with AnyReader([BAG]) as reader:
        assert sum(1 for connection, _, raw in reader.messages() if reader.deserialize(raw, connection.msgtype)) == count
    mcap_ros2 = pytest.importorskip("mcap_ros2.reader", reason="mcap-ros2-support is not installed")
    assert sum(1 for _ in mcap_ros2.read_ros2_messages(BAG / f"{BAG.name}_0.mcap")) == count


def test_a_shipped_bag_is_small() -> None:
    assert sum(file.stat().st_size for file in BAG.rglob("*") if file.is_file()) < 3_000_000


def test_what_cannot_be_replayed_ends_with_one_line(tmp_path: Path) -> None:
    done = replay(tmp_path, "--receipts", tmp_path / "receipts")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"aisle: {tmp_path}: not a bag: found neither metadata.yaml nor *.mcap or *.db3 files"]
    assert not (tmp_path / "receipts").exists()
