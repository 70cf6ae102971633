"""./aisle bag: tables, errors as one line, exit codes; cutting by time and by visit; tables out of records."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aisle_msgs.msg", reason="aisle_msgs is not built: run the tests by ./aisle test")

from aisle_bags import table_files
from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_writer import BagWriter, absolute
from aisle_bringup.command import main
from aisle_contract import qos
from aisle_contract.conversions import to_message
from aisle_contract.record_topics import topic_of
from aisle_contract.records import (
    Cart,
    CartLine,
    CartStatus,
    GateEvent,
    GateEventKind,
    Receipt,
    ReceiptLine,
    ReceiptStatus,
    Record,
    ScaleReading,
    Track,
    Tracks,
)
from aisle_contract.topics import Topic

SECOND = 1_000_000_000
START = 1_577_836_800 * SECOND
BAG = Path(__file__).resolve().parents[3] / "bags" / "cps-test-4-nominal-0"


def cart(stamp_ns: int, session: str, shopper: str, entered_s: int, left_s: int = 0) -> Cart:
    lines = (CartLine("milk", 2, 0.9, ()),) if left_s else ()
    status = CartStatus.CLOSED if left_s else CartStatus.OPEN
    return Cart(stamp_ns, session, shopper, "7", status, START + entered_s * SECOND, START + left_s * SECOND if left_s else 0, lines)


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Two minutes of a shop, recorded by a clock that is an hour late: two visits of alice, one of bob who stays."""
    folder = tmp_path / "day"
    carts = {
        12: cart(START + 12 * SECOND, "v1", "alice", 10),
        40: cart(START + 40 * SECOND, "v1", "alice", 10, 30),
        55: cart(START + 55 * SECOND, "v2", "bob", 50),
        100: cart(START + 100 * SECOND, "v3", "alice", 70, 90),
    }
    with BagWriter(folder) as writer:
        writer.attach("store/store.yaml", "application/yaml", b"name: corner shop\n")
        writer.custom_data.update({"aisle.dropped": "5", "aisle.dropped /shop/tracks": "5", "note": "rain"})
        for second in range(120):
            # Nothing comes for ten seconds.
            if not 60 <= second < 70:
                late = GateEvent(START + second * SECOND, "entrance", GateEventKind.STATUS)
                writer.write_message(*_message(late), (START + second * SECOND) + 3600 * SECOND)
            if second in carts:
                writer.write_message(*_message(carts[second]), START + (3600 + second) * SECOND)
    return folder


def _message(record: Record) -> tuple[Topic, object]:
    return absolute(topic_of(record), "/shop"), to_message(record)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["bag", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


def test_each_action_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("info", "recover", "cut", "merge", "convert", "export"):
        with pytest.raises(SystemExit) as ended:
            main(["bag", action, "--help"])
        assert ended.value.code == 0
        assert f"./aisle bag {action}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["bag", "wash"])
    assert ended.value.code == 2


def test_info_shows_names_as_they_are_and_leaves_the_terminal_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.custom_data["note"] = "a[bold]b\x1b[31m"
        writer.add_topic(Topic("/odd[bold]\x1b[31m", "std_msgs/msg/String", qos.STREAM))
    assert main(["bag", "info", str(tmp_path / "bag")]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "/odd[bold]\\x1b[31m" in shown
    assert "note: a[bold]b\\x1b[31m" in shown


def test_info(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bag", "info", str(day)]) == 0
    said = capsys.readouterr().out
    assert "note: rain" in said
    assert "5 messages were dropped" in said
    assert main(["bag", "info", "--json", str(day)]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["messages"], info["dropped"], info["storage"], info["metadata_version"]) == (114, 5, "mcap", 9)
    assert info["duration_s"] == 119.0
    topics = {topic["name"]: topic for topic in info["topics"]}
    gate = topics["/shop/gates/gate_entrance/events"]
    assert gate["messages"] == 110
    assert gate["rate_hz"] == pytest.approx(109 / 119)
    assert (gate["gaps"], gate["longest_interval_s"]) == (1, 11.0)
    assert gate["longest_interval_start_ns"] == START + (3600 + 59) * SECOND
    assert topics["/shop/carts"]["latched"]
    assert topics["/shop/carts"]["gaps"] is None
    assert topics["/shop/tracks"] == topics["/shop/tracks"] | {"messages": 0, "dropped": 5}


def spans(folder: Path) -> tuple[float, float]:
    """First and last log time in seconds after the day's first."""
    with BagReader(folder) as reader:
        assert reader.attachments() == {"store/store.yaml": b"name: corner shop\n"}
        return tuple((time - START) / SECOND - 3600 for time in (reader.start_ns, reader.end_ns))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--from", "20", "--to", "30"], (20, 30)),
        (["--from", "-10"], (109, 119)),
        (["--to", "5.5"], (0, 5)),
        (["--from", str(START + 3700 * SECOND), "--to", str(START + 3710 * SECOND)], (100, 110)),
        (["--from", "2020-01-01T01:01:40", "--to", "2020-01-01T02:01:45+01:00"], (100, 105)),
        (["--from", "2020-01-01T01:01:40Z"], (100, 119)),
        (["--session", "v1", "--margin", "5"], (5, 35)),
        (["--session", "v3", "--margin", "0"], (70, 90)),
        (["--session", "bob", "--margin", "2"], (48, 119)),
    ],
)
def test_cut(day: Path, tmp_path: Path, arguments: list[str], expected: tuple[float, float]) -> None:
    """A visit is found by the stamps although the recorder's clock is an hour late."""
    assert main(["bag", "cut", str(day), *arguments, "--out", str(tmp_path / "part")]) == 0
    assert spans(tmp_path / "part") == expected


def test_what_cannot_be_cut_is_told(day: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(*arguments: str) -> str:
        return refused(capsys, "cut", day, "--out", tmp_path / "part", *arguments)

    assert "'alice' came 2 times, expected one of the sessions v1 (alice), v3 (alice)" in refusal("--session", "alice")
    assert "no session or shopper 'carol', expected one of v1 (alice), v2 (bob), v3 (alice)" in refusal("--session", "carol")
    assert "--from is 'noon', expected seconds" in refusal("--from", "noon")
    assert "is after --to" in refusal("--from", "10", "--to", "5")
    assert "leave out --from and --to" in refusal("--session", "v1", "--from", "1")
    assert "no topic matches /walls/*" in refusal("--topics", "/walls/*")
    assert "nothing was logged from" in refusal("--from", "60.1", "--to", "60.2")
    assert not (tmp_path / "part").exists()


def test_a_visit_of_a_bag_without_carts_is_found_by_a_replay(tmp_path: Path) -> None:
    assert main(["bag", "cut", str(BAG), "--session", "shopper_1", "--margin", "1", "--out", str(tmp_path / "visit")]) == 0
    with BagReader(tmp_path / "visit") as reader, BagReader(BAG) as whole:
        assert reader.attachments() == whole.attachments()
        assert whole.start_ns < reader.start_ns < reader.end_ns < whole.end_ns


def test_convert_merge_recover(day: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bag", "convert", str(day), "--storage", "sqlite3", "--compression", "file", "--out", str(tmp_path / "sqlite")]) == 0
    assert main(["bag", "merge", str(day), str(tmp_path / "sqlite"), "--out", str(tmp_path / "both")]) == 0
    assert "114 messages" in capsys.readouterr().out.splitlines()[-1]
    file = day / "day_0.mcap"
    file.write_bytes(file.read_bytes()[:-100])
    assert "'./aisle bag recover' saves what is readable" in refused(capsys, "info", day)
    assert main(["bag", "recover", str(day)]) == 0
    said = capsys.readouterr()
    assert "was not closed" in said.err
    assert f"{day}-recovered: 114 messages" in said.out


def test_errors_are_one_line(day: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such file or folder" in refused(capsys, "info", tmp_path / "nowhere")
    assert "exists already" in refused(capsys, "convert", day, "--out", day)
    assert "compression of mcap is 'message'" in refused(capsys, "convert", day, "--compression", "message", "--out", tmp_path / "new")
    assert "expected two or more" in refused(capsys, "merge", day, "--out", tmp_path / "new")
    assert "nothing to recover" in refused(capsys, "recover", tmp_path, "--out", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["day"]


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def records(tmp_path: Path) -> Path:
    with BagWriter(tmp_path / "bag") as writer:
        weights = np.array([[1.5, np.nan], [1.25, 2.0]], np.float32)
        writer.write_record(ScaleReading(START, "1", "2", SECOND // 60, ("a", "b"), weights))
        writer.write_record(cart(START + 1, "v1", "", 0))
        writer.write_record(cart(START + 2, "v1", "alice", 0, 5))
        line = ReceiptLine("milk", "Milk, fresh", 2, "1.10", "2.20", 0.9, ())
        writer.write_record(Receipt(START + 3, "v1", "alice", ReceiptStatus.CHARGED, "EUR", "2.20", (line,)))
        track = Track("7", np.array([1.0, 2.0]), np.zeros(2), np.eye(4), 0.9, 0.0)
        writer.write_record(Tracks(START + 4, (track, track)))
    return tmp_path / "bag"


def test_export_as_csv(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bag", "export", str(records), "--out", str(tmp_path / "tables")]) == 0
    out = tmp_path / "tables"
    assert sorted(file.name for file in out.iterdir()) == ["carts.csv", "receipts.csv", "tracks.csv", "weights.csv"]
    weights = rows(out / "weights.csv")
    assert [row["weight_kg"] for row in weights] == ["1.5", "", "1.25", "2.0"]
    assert [int(row["stamp_ns"]) - START for row in weights] == [0, 0, SECOND // 60, SECOND // 60]
    assert [(row["status"], row["product"], row["quantity"], row["left_ns"]) for row in rows(out / "carts.csv")] == [
        ("open", "", "", ""),
        ("closed", "milk", "2", str(START + 5 * SECOND)),
    ]
    assert [(row["name"], row["line_total"], row["currency"]) for row in rows(out / "receipts.csv")] == [("Milk, fresh", "2.20", "EUR")]
    tracks = rows(out / "tracks.csv")
    assert [(row["x_m"], row["y_variance_m2"], row["head_x_m"]) for row in tracks] == [("1.0", "1.0", "")] * 2
    capsys.readouterr()
    assert "exists already" in refused(capsys, "export", records, "--out", out)
    assert "holds no detections, but" in refused(capsys, "export", records, "--out", tmp_path / "new", "--tables", "detections")
    assert not (tmp_path / "new").exists()


def test_export_as_parquet(records: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: ./aisle --with parquet")
    assert main(["bag", "export", str(records), "--out", str(tmp_path / "tables"), "--format", "parquet"]) == 0
    found = parquet.read_table(tmp_path / "tables" / "weights.parquet").to_pylist()
    assert [row["weight_kg"] for row in found] == [1.5, None, 1.25, 2.0]
    assert found[0]["stamp_ns"] == START


def test_parquet_without_pyarrow_is_told(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    expected = "aisle: Parquet needs the Python package pyarrow: ./aisle --with parquet installs it"
    assert refused(capsys, "export", records, "--out", tmp_path / "tables", "--format", "parquet") == expected
    assert not (tmp_path / "tables").exists()


def test_a_failed_export_leaves_no_file(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: table_files.TableFile, row: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table_files.TableFile, "add", full)
    assert main(["bag", "export", str(records), "--out", str(tmp_path / "tables")]) == 2
    assert list((tmp_path / "tables").iterdir()) == []


def test_topics_of_others_stay_out_of_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.add_topic(Topic("/talk", "std_msgs/msg/String", qos.STREAM))
        writer.write("/talk", b"\x00\x01\x00\x00\x01\x00\x00\x00\x00", START)
    assert "holds no tracks, weights" in refused(capsys, "export", tmp_path / "bag", "--out", tmp_path / "tables")
    assert "holds no store" in refused(capsys, "cut", tmp_path / "bag", "--session", "v1", "--out", tmp_path / "part")
