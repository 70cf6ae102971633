"""./aisle up with real nodes in real processes: clean end, crash report, nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "config" / "stores" / "nanostore-2019-11"
PATIENCE_S = 120.0
ENVIRONMENT = {**os.environ, "ROS_DOMAIN_ID": "62", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


class Up:
    """A running ./aisle up, whose output is read as it comes."""

    def __init__(self, *arguments: str) -> None:
        line = [sys.executable, "-m", "aisle_bringup.command", "up", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(line, env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}, start_new_session=True, **pipes)
        self.output = ""

    def read_until(self, pattern: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        os.set_blocking(self.process.stdout.fileno(), False)
        while not re.search(pattern, self.output):
            assert time.monotonic() < deadline, f"'{pattern}' did not come within {PATIENCE_S} s:\n{self.output}"
            self.output += (self.process.stdout.read() or b"").decode()
            time.sleep(0.05)

    def containers(self) -> list[int]:
        """Process ids of the children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children]

    def end(self) -> int:
        os.set_blocking(self.process.stdout.fileno(), True)
        self.output += self.process.communicate(timeout=PATIENCE_S)[0].decode()
        return self.process.returncode


@pytest.fixture
def up():
    started = []

    def start(*arguments: str) -> Up:
        started.append(Up(*arguments))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait()


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text() for pid in pids):
        assert time.monotonic() < deadline, f"still there: {pids}"
        time.sleep(0.05)


def test_all_nodes_start_and_end_cleanly_on_ctrl_c(up):
    running = up("--store", str(STORE), "--sensors", "none", "--log-level", "info")
    for node in ("checkout", "cart_fusion", "tracker", "shelf_monitor", "markers"):
        running.read_until(rf"\[{node}\]: ready")
    children = running.containers()
    assert len(children) == 4
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 0, running.output
    assert "Traceback" not in running.output
    wait_until_gone(children)


def test_a_crash_is_reported_and_the_rest_goes_on(up):
    running = up("--store", str(STORE), "--sensors", "none", "--no-markers")
    for node in ("checkout", "cart_fusion", "tracker", "shelf_monitor"):
        running.read_until(rf"\[{node}\]: ready")
    children = running.containers()
    os.kill(children[0], signal.SIGKILL)
    running.read_until("has ended by signal SIGKILL")
    assert len(running.containers()) == len(children) - 1
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == 1, running.output


def test_no_node_outlives_a_killed_parent(up):
    running = up("--store", str(STORE), "--sensors", "none", "--composition", "single")
    running.read_until(r"\[checkout\]: ready")
    children = running.containers()
    running.process.kill()
    running.process.wait()
    wait_until_gone(children)


def test_a_wrong_parameter_ends_the_graph_with_a_clear_line(up, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("markers:\n  ros__parameters:\n    trail_s: -1.0\n")
    running = up("--store", str(STORE), "--sensors", "none", "--parameters", str(wrong))
    assert running.end() == 2
    assert "trail_s" in running.output
    assert "Traceback" not in running.output


def test_a_missing_store_is_one_line(up):
    running = up("--store", "/no/such/store")
    assert running.end() == 2
    assert len(running.output.splitlines()) == 1
    assert "/no/such/store" in running.output
