"""./aisle score on a shipped session: the JSON's form, and the same figures for every number of processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aisle_bags.core_settings import load_settings
from aisle_bags.reenacted_scores import ScoreTask, score_sessions
from aisle_bags.scoring import summary
from aisle_sim.labelled_sessions import load_sessions
from aisle_sim.profiles import PROFILES
from aisle_store.store_files import load_store

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "config" / "stores" / "nanostore-2019-11"
SESSION = "cps-test-4"
PATIENCE_S = 600.0


def score(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "aisle_bringup.command", "score", "--store", STORE, *arguments]
    return subprocess.run([str(part) for part in line], capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_figures_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    out = tmp_path / "score.json"
    done = score("--sessions", STORE / "sessions.json", "--session", SESSION, "--seeds", "2", "--jobs", "2", "--json", out)
    assert done.returncode == 0, done.stderr
    written = json.loads(out.read_text())

    sessions = [session for session in load_sessions(STORE / "sessions.json") if session.session == SESSION]
    task = ScoreTask(load_store(STORE), load_settings(ROOT / "config" / "graph.yaml"), PROFILES["nominal"])
    figures = {"profile": "nominal", "seeds": 2, "sessions_apart": False, **summary(score_sessions(task, sessions, range(2), jobs=1))}
    assert written == json.loads(json.dumps(figures))
    assert [(entry["session"], entry["seed"]) for entry in written["sessions"]] == [(SESSION, 0), (SESSION, 1)]
    assert written["source"] == "re-enacted"
    assert written["f1"] >= 0.9
    headings = [line for line in done.stdout.splitlines() if "nominal" in line]
    assert headings
    assert all("re-enacted" in line for line in headings)


def test_sessions_of_a_seed_are_one_day_unless_they_are_played_apart() -> None:
    sessions = load_sessions(STORE / "sessions.json")[:2]
    task = ScoreTask(load_store(STORE), load_settings(ROOT / "config" / "graph.yaml"), PROFILES["nominal"])
    names: list[str] = []
    first, second = task.enact(sessions, seed=3, played=names.append)
    assert names == [session.session for session in sessions]
    assert second.simulated.start_ns == first.simulated.end_ns
    for enacted in (first, second):
        assert enacted.simulated.records
        assert enacted.score.receipts == len(enacted.simulated.truth) == enacted.score.issued_receipts
        carts = enacted.result.carts
        assert {cart.shopper for cart in carts} == set(enacted.simulated.truth)
        assert all(enacted.simulated.start_ns < cart.entered_ns < enacted.simulated.end_ns for cart in carts)
    apart = score_sessions(task, sessions, [3], apart=True)
    assert apart[0] == first.score
    assert [score.session for score in apart] == names
    assert apart[1].items.expected == second.score.items.expected


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--sessions", "nowhere.json"), "nowhere.json: cannot be read"),
        (("--random", "2", "--crowd", "2"), "expected one of --sessions FILE, --random N and --crowd N"),
        (("--random", "2", "--calibration", "picture.bmp"), "found the suffix '.bmp', expected one of .png, .svg, .pdf"),
        (("--sessions", STORE / "sessions.json", "--session", "cps-test-99"), "no session 'cps-test-99', expected one of cps-test-4, "),
    ],
)
def test_what_cannot_be_scored_ends_with_one_line(tmp_path: Path, arguments: tuple, complaint: str) -> None:
    done = score(*arguments, "--json", tmp_path / "score.json")
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
