"""``./aisle track`` and ``./aisle bench track`` as a user meets them: files in, files out, refusals in one line."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from aisle_bringup import command
from aisle_bringup.commands import bench_track

REPOSITORY = Path(__file__).resolve().parents[3]
STORE = REPOSITORY / "config" / "stores" / "nanostore-2020-01"


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    file = tmp_path / "det.txt"
    file.write_text("".join(f"{k},-1,{100 + 4 * k},50,40,100,0.95,-1,-1,-1\n" for k in range(1, 41) if k not in range(20, 26)))
    return file


@pytest.fixture
def places(tmp_path: Path) -> Path:
    file = tmp_path / "places.csv"
    file.write_text("frame,x_m,y_m\n" + "".join(f"{k},{0.1 * k:.2f},1.0\n" for k in range(20)))
    return file


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What is said when a command ends with exit code 2, which must be one line."""
    assert command.main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return said


def test_mot_files_in_and_out(detections: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, picture = tmp_path / "res.txt", tmp_path / "res.png"
    assert command.main(["track", "--mot", str(detections), "--out", str(out), "--rate", "25", "--plot", str(picture)]) == 0
    rows = [line.split(",") for line in out.read_text().splitlines()]
    assert [int(row[0]) for row in rows] == list(range(1, 41))
    assert all(row[1] == "1" and row[7:] == ["-1", "-1", "-1"] for row in rows)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "1 tracks, 40 boxes (6 filled in)" in capsys.readouterr().out


def test_online_fills_nothing_in(detections: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["track", "--mot", str(detections), "--out", str(tmp_path / "res.txt"), "--online"]) == 0
    assert "(0 filled in)" in capsys.readouterr().out


def test_floor_files_in_and_out(places: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "tracks.csv", tmp_path / "tracks.svg"
    assert command.main(["track", "--floor", str(places), "--out", str(out), "--rate", "10", "--plot", str(picture)]) == 0
    table = np.genfromtxt(out, delimiter=",", names=True)
    assert table.dtype.names == ("frame", "id", "x_m", "y_m")
    assert set(table["id"]) == {1}
    assert table["x_m"] == pytest.approx(0.1 * table["frame"], abs=0.05)
    assert "<svg" in picture.read_text()


@pytest.mark.parametrize("kind", ["--mot", "--floor"])
def test_bad_files_are_refused_with_their_line(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "bad", tmp_path / "out"
    file.write_text("frame,x_m,y_m\n1,2\n" if kind == "--floor" else "1,-1,2,3\n")
    said = refusal(capsys, "track", kind, file, "--out", out)
    assert str(file) in said
    assert "expected" in said
    assert not out.exists()
    assert "No such file" in refusal(capsys, "track", kind, tmp_path / "none", "--out", out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--mot", "det.txt", "--detector", "motion"), ("--detector", "--video only")),
        (("--video", "1=a.mp4"), ("--calibration", "--store", "--detector")),
        (("--video", "1=a.mp4", "--calibration", "c", "--store", "s", "--detector", "motion", "--rate", "5"), ("--rate", "--video")),
        (("--video", "a.mp4", "--calibration", "c", "--store", "s", "--detector", "motion"), ("'a.mp4'", "CAMERA=FILE")),
        (("--video", "1=a", "1=b", "--calibration", "c", "--store", "s", "--detector", "motion"), ("'1=b'", "already")),
        (("--video", "1=a.mp4", "--calibration", "c", "--store", str(STORE), "--detector", "motion"), ("a.mp4", "no such file")),
        (("--video", "1=a.mp4", "--calibration", "c", "--store", str(STORE), "--detector", "guess"), ("guess", "expected")),
        (("--mot", "det.txt", "--plot", "picture.docx"), ("picture.docx", ".png")),
        (("--mot", "det.txt", "--plot", "nowhere/picture.png"), ("nowhere",)),
    ],
)
def test_refusals(arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "track", *arguments, "--out", tmp_path / "out")
    for word in words:
        assert word in said


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "fast"])
def test_impossible_rates(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["track", "--mot", "det.txt", "--out", "out", "--rate", rate])
    assert "--rate" in capsys.readouterr().err


def test_bench_track_goes_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert "goes alone" in refusal(capsys, "bench", "track", "kalman_filters")
    assert "nowhere" in refusal(capsys, "bench", "track", "--json", "nowhere/figures.json")


def test_bench_track_says_how_to_install_the_others(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "motmetrics", None)
    monkeypatch.delitem(sys.modules, "image_boxes", raising=False)
    said = refusal(capsys, "bench", "track")
    assert "'motmetrics'" in said
    assert "--with bench" in said


def test_bench_track_skips_sequences_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures' form, with stand-ins for what takes a minute."""
    monkeypatch.setattr(bench_track, "repository_root", lambda: tmp_path / "checkout")
    boxes = types.SimpleNamespace(
        TARGETS=(10,), REPEATS=1, trackers=lambda: ["aisle", "other"], milliseconds=lambda targets, advance: {"aisle": 0.1, "other": 0.5}
    )
    cost = {"people": 4, "detections_per_step": 8.0, "step_ms": 2.0, "step_ms_95": 3.0, "core_share": 0.02}
    floor = types.SimpleNamespace(HALLS={4: 4}, SECONDS=1.0, RATE_HZ=10.0, measure=lambda cameras, people, advance: cost)
    monkeypatch.setattr(bench_track, "_part", {"image_boxes": boxes, "floor_cameras": floor}.__getitem__)
    out = tmp_path / "figures.json"
    assert command.main(["bench", "track", "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert figures["targets"] == {"10": {"aisle_ms": 0.1, "peers_ms": {"other": 0.5}}}
    assert figures["sequences"] == {}
    assert figures["floor"] == {"4": cost}
    assert "skipped" in capsys.readouterr().out


def benchmark(name: str) -> types.ModuleType:
    """A module of ``benchmarks/tracking``."""
    specification = importlib.util.spec_from_file_location(name, REPOSITORY / "benchmarks" / "tracking" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


def test_the_plain_sort_follows_two_walkers() -> None:
    sort = benchmark("filterpy_sort").FilterpySort()
    found = [
        sort.update(np.array([[5.0 * k, 0, 5.0 * k + 40, 100], [400 - 5.0 * k, 200, 440 - 5.0 * k, 300]]), np.ones(2)) for k in range(20)
    ]
    assert len(found[-1]) == 2
    assert sorted(found[-1][:, 4]) == sorted(found[5][:, 4])


def test_scenes_are_the_same_for_the_same_seed() -> None:
    scenes = benchmark("scenes")
    one, other = (scenes.crossing_people(8, 12, seed=3) for _ in range(2))
    assert all((a == b).all() for a, b in zip(one.boxes, other.boxes, strict=True))
    perfect = scenes.crossing_people(8, 12, seed=3, disturbance=scenes.Disturbance(0.0, 0.0, 0.0))
    assert all(sorted(map(tuple, a)) == sorted(map(tuple, b)) for a, b in zip(perfect.boxes, perfect.truth, strict=True))


def test_cameras_of_a_hall_see_its_people() -> None:
    floor = benchmark("floor_cameras")
    figures = floor.measure(4, 3, lambda steps: None)
    assert figures["detections_per_step"] > 3
    assert figures["step_ms"] > 0.0
