"""MOTChallenge files: read, refused with the line, followed, written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aisle_perception.mot_files import MotFileError, as_probabilities, read_boxes, write_tracks
from aisle_perception.mot_tracks import MotTracksConfig, run_mot

GOOD = "1,-1,10,20,40,100,0.9,-1,-1,-1"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_are_ordered_by_frame_and_boxes_have_corners(tmp_path: Path) -> None:
    boxes = read_boxes(write(tmp_path / "det.txt", "3,-1,1,2,3,4,0.5", "", GOOD, "3 -1 5 6 7 8 1 -1 -1 -1"))
    assert boxes.frames.tolist() == [1, 3, 3]
    assert boxes.boxes.tolist() == [[10, 20, 50, 120], [1, 2, 4, 6], [5, 6, 12, 14]]
    assert [(rows.start, rows.stop) for rows in boxes.by_frame().values()] == [(0, 1), (1, 1), (1, 3)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1,-1,10,20,40", ("5 columns", "expected at least 7")),
        ("1,-1,10,twenty,40,100,0.9", ("top is 'twenty'", "number")),
        ("1,-1,10,nan,40,100,0.9", ("top is nan", "finite")),
        ("0,-1,10,20,40,100,0.9", ("frame is 0", "from 1 on")),
        ("1.5,-1,10,20,40,100,0.9", ("frame is 1.5",)),
        ("1,-1,10,20,0,100,0.9", ("box of 0 x 100 px",)),
    ],
)
def test_bad_rows_are_named_with_their_line(tmp_path: Path, line: str, words: tuple[str, ...]) -> None:
    file = write(tmp_path / "det.txt", GOOD, line)
    with pytest.raises(MotFileError) as refused:
        read_boxes(file)
    for word in (f"{file}:2", *words):
        assert word in str(refused.value)


def test_files_without_boxes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MotFileError, match="no boxes"):
        read_boxes(write(tmp_path / "empty.txt", ""))
    (tmp_path / "image.txt").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(MotFileError, match="not a text file"):
        read_boxes(tmp_path / "image.txt")


def test_confidences_of_any_scale_become_probabilities() -> None:
    assert as_probabilities(np.array([0.2, 0.9])).tolist() == [0.2, 0.9]
    assert as_probabilities(np.array([-1.0, -1.0])).tolist() == [1.0, 1.0]
    assert as_probabilities(np.array([20.0, 95.0])).tolist() == [0.2, 0.95]
    margins = as_probabilities(np.array([-1.0, 0.0, 3.0]))
    assert margins[1] == 0.5
    assert (np.diff(margins) > 0.0).all()
    assert len(as_probabilities(np.zeros(0))) == 0


def walk(path: Path, hidden: range, last: int = 40) -> Path:
    return write(path, *(f"{k},-1,{100 + 4 * k},50,40,100,0.95,-1,-1,-1" for k in range(1, last + 1) if k not in hidden))


def test_hindsight_fills_gaps_and_begins_at_the_first_detection(tmp_path: Path) -> None:
    detections = walk(tmp_path / "det.txt", range(20, 26))
    run = run_mot(detections, tmp_path / "res.txt", 25.0)
    result = read_boxes(tmp_path / "res.txt")
    assert result.frames.tolist() == list(range(1, 41))
    assert set(result.ids.tolist()) == {1}
    assert [row.frame for row in run.rows if not row.seen] == list(range(20, 26))
    assert result.boxes[22] == pytest.approx([100 + 4 * 23, 50, 140 + 4 * 23, 150], abs=2.0)


def test_online_tells_only_what_was_known(tmp_path: Path) -> None:
    detections = walk(tmp_path / "det.txt", range(20, 26))
    run_mot(detections, tmp_path / "res.txt", 25.0, MotTracksConfig(hindsight=False))
    result = read_boxes(tmp_path / "res.txt")
    assert result.frames.tolist() == [k for k in range(2, 41) if k not in range(20, 26)]
    early = walk(tmp_path / "early.txt", range(20, 26), last=30)
    run_mot(early, tmp_path / "early_res.txt", 25.0, MotTracksConfig(hindsight=False))
    whole, part = (tmp_path / "res.txt").read_text().splitlines(), (tmp_path / "early_res.txt").read_text().splitlines()
    assert whole[: len(part)] == part


def test_long_gaps_stay_open(tmp_path: Path) -> None:
    detections = walk(tmp_path / "det.txt", range(20, 26))
    run = run_mot(detections, tmp_path / "res.txt", 25.0, MotTracksConfig(longest_gap_s=0.1))
    assert all(row.seen for row in run.rows)


def test_nothing_half_written(tmp_path: Path) -> None:
    target = tmp_path / "res.txt"
    target.write_text("before")
    with pytest.raises(MotFileError):
        run_mot(write(tmp_path / "det.txt", "x"), target, 25.0)
    with pytest.raises(ValueError, match="rate"):
        run_mot(write(tmp_path / "det.txt", GOOD), target, 0.0)
    assert target.read_text() == "before"
    write_tracks(target, [(1, 2, np.array([1.0, 2.0, 3.0, 5.0]), 0.5)])
    assert target.read_text() == "1,2,1.00,2.00,2.00,3.00,0.500,-1,-1,-1\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["det.txt", "res.txt"]
