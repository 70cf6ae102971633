"""./aisle demo as continuous integration runs it, and how it ends when things go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PATIENCE_S = 300.0


def demo(*arguments: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "aisle_bringup.command", "demo", "--headless", "--domain", "64", *arguments]
    return subprocess.run(line, env={**os.environ, "COLUMNS": "100"}, capture_output=True, text=True, timeout=PATIENCE_S)


def test_a_session_ends_with_its_receipt_and_the_comparison(tmp_path: Path):
    picture = tmp_path / "run.png"
    done = demo("--session-ids", "cps-test-4", "--speed", "4", "--picture", str(picture))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "receipt  shopper_1" in done.stdout
    assert "re-enacted sessions: receipts against labels" in done.stdout
    assert "0 messages dropped" in done.stdout
    assert picture.stat().st_size > 10_000


def test_a_graph_that_fails_is_told_and_is_not_a_success(tmp_path: Path):
    """Sessions that fit no plate of the store: the sensors' process refuses them."""
    wrong = tmp_path / "sessions.json"
    event = '{"t_s": 0, "person": "a", "action": "pick", "gondola": 99, "shelf": 1, "plates": [1], "products": ["x"]}'
    wrong.write_text(f'[{{"session": "wrong", "events": [{event}]}}]')
    done = demo("--sessions", str(wrong))
    assert done.returncode == 1, done.stdout
    assert "The graph failed: process sensors" in done.stdout


def test_unknown_sessions_are_one_line():
    done = demo("--session-ids", "nobody")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "no session 'nobody'" in done.stderr


def test_a_wrong_speed_is_one_line():
    done = demo("--speed", "-1")
    assert (done.returncode, done.stderr) == (2, "aisle: speed is -1, expected 0.01 .. 100\n")
