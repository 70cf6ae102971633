"""Processes with small Python programs in place of nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aisle_bringup.processes import Processes, ProcessSpec

PATIENCE_S = 60.0
ENDS_WELL = """
import os, signal, sys, time
def end(*_):
    os.write(1, b"closing\\n")  # print may not be called while it is at work on "ready"
    sys.exit(0)
signal.signal(signal.SIGINT, end)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


class Said(list):
    def __call__(self, name: str, line: str) -> None:
        self.append((name, line))


def python(name: str, program: str) -> ProcessSpec:
    return ProcessSpec(name, [sys.executable, "-c", program])


def poll_until(processes: Processes, condition) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE_S} s"
        processes.poll(0.05)


def test_output_is_prefixed_and_all_end_cleanly_on_stop():
    said = Said()
    with Processes([python("a", ENDS_WELL), python("b", ENDS_WELL)], said) as processes:
        poll_until(processes, lambda: said.count(("a", "ready")) + said.count(("b", "ready")) == 2)
        assert processes.running == ["a", "b"]
    assert processes.running == []
    assert processes.crashed == {}
    assert said.count(("a", "closing")) == said.count(("b", "closing")) == 1


def test_a_crash_is_reported_and_the_others_go_on():
    said = Said()
    with Processes([python("good", ENDS_WELL), python("bad", "import sys; print('no newline', end=''); sys.exit(3)")], said) as processes:
        poll_until(processes, lambda: processes.crashed and ("good", "ready") in said)
        assert processes.crashed == {"bad": 3}
        assert processes.running == ["good"]
    assert ("bad", "no newline") in said
    assert ("bad", "has ended with exit code 3") in said


def test_a_process_killed_by_a_signal_is_named():
    said = Said()
    with Processes([python("a", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")], said) as processes:
        poll_until(processes, lambda: processes.crashed)
    assert processes.crashed == {"a": -signal.SIGKILL}
    assert ("a", "has ended by signal SIGKILL") in said


def test_a_crashed_process_starts_again_if_asked(tmp_path: Path):
    said = Said()
    marker = tmp_path / "was_here"
    program = f"import pathlib, sys\np = pathlib.Path({str(marker)!r})\nif not p.exists():\n    p.touch(); sys.exit(1)\n{ENDS_WELL}"
    with Processes([python("a", program)], said, restart=True) as processes:
        poll_until(processes, lambda: ("a", "ready") in said)
        assert ("a", "has ended with exit code 1; starts again in 1 s") in said
    assert processes.crashed == {}


def test_a_misconfigured_process_is_not_started_again():
    said = Said()
    with Processes([python("a", "import sys; sys.exit(2)")], said, restart=True) as processes:
        poll_until(processes, lambda: processes.misconfigured)
    assert processes.misconfigured == ["a"]
    assert processes.running == []


def test_who_does_not_listen_is_killed():
    said = Said()
    with Processes([python("deaf", DEAF)], said, grace_s=0.3) as processes:
        poll_until(processes, lambda: ("deaf", "ready") in said)
        pid = processes.pid("deaf")
    assert processes.crashed == {"deaf": -signal.SIGKILL}
    assert ("deaf", "has not ended 0.3 s after SIGINT") in said
    assert ("deaf", "has not ended 0.3 s after SIGTERM") in said
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_that_cannot_start_leaves_nothing_behind():
    said = Said()
    with pytest.raises(FileNotFoundError), Processes([python("a", ENDS_WELL), ProcessSpec("b", ["/no/such/program"])], said):
        pytest.fail("must not get here")


def test_children_end_when_the_parent_is_killed():
    child = "from aisle_bringup.container import end_with_parent; import os, sys, time; end_with_parent(int(sys.argv[1]))\n"
    child += "print(os.getpid(), flush=True)\nwhile True: time.sleep(0.05)"
    program = f"import os, subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {child!r}, str(os.getpid())])\ntime.sleep(600)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    end = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < end, "the child lives on"
        time.sleep(0.05)
    parent.stdout.close()


def test_a_child_whose_parent_has_gone_before_does_not_start():
    program = "from aisle_bringup.container import end_with_parent; end_with_parent(1); print('started')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, text=True)
    assert (child.returncode, child.stdout) == (1, "")
    assert "has ended" in child.stderr
