"""Carts and tracks as files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from aisle_bags.replay_files import TRACK_COLUMNS, CartsFile, TracksFile
from aisle_contract.records import BodyPoint, Cart, CartLine, CartStatus, Evidence, Track, Tracks

NAN = float("nan")
EVIDENCE = Evidence("e1", "1", "2", ("3",), 5, 6, -0.10004999, 0.001, -0.1, 1, NAN, 0.98765, "nobody", 0.01)
CART = Cart(7, "s-1", "alice", "t1", CartStatus.OPEN, 3, 0, (CartLine("salt", 2, 0.99996, (EVIDENCE,)),), ("dark",))
TRACK = Track(
    "t1",
    np.array([1.00004, -1e-9]),
    np.array([0.5, 0.0]),
    np.diag([0.04, 0.01, 1.0, 1.0]),
    0.9,
    0.1,
    head=BodyPoint(np.array([1.0, 2.0, 1.7]), np.eye(3)),
)


def test_a_cart_is_one_line_with_its_evidence(tmp_path: Path) -> None:
    with CartsFile(tmp_path / "carts.jsonl") as file:
        file.add(CART)
        file.add(CART)
    first, second = (tmp_path / "carts.jsonl").read_text().splitlines()
    assert first == second
    cart = json.loads(first)
    assert (cart["stamp_ns"], cart["status"], cart["doubts"]) == (7, "open", ["dark"])
    (line,) = cart["lines"]
    assert (line["product"], line["quantity"], line["probability"]) == ("salt", 2, 1.0)
    (evidence,) = line["evidence"]
    assert (evidence["event"], evidence["change_kg"], evidence["distance_m"]) == ("e1", -0.1, None)


def test_a_track_is_one_row(tmp_path: Path) -> None:
    with TracksFile(tmp_path / "tracks.csv") as file:
        file.add(Tracks(5, ()))
        file.add(Tracks(6, (TRACK, TRACK)))
    with (tmp_path / "tracks.csv").open() as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == 2
    assert tuple(rows[0]) == TRACK_COLUMNS
    assert (rows[0]["stamp_ns"], rows[0]["track"], rows[0]["x_m"], rows[0]["y_m"]) == ("6", "t1", "1.0000", "0.0000")
    assert (rows[0]["x_deviation_m"], rows[0]["y_deviation_m"]) == ("0.2000", "0.1000")
    assert (rows[0]["head_z_m"], rows[0]["left_wrist_x_m"]) == ("1.7000", "")


def test_nothing_half_written_stays_and_what_was_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "tracks.csv").write_text("before")

    def interrupted() -> None:
        with TracksFile(tmp_path / "tracks.csv") as file:
            file.add(Tracks(6, (TRACK,)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("tracks.csv", "before")]
