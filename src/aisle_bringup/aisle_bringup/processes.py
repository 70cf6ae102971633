"""Starts, watches and ends the processes of a graph, without launch_ros.

One thread: whoever owns a ``Processes`` calls ``poll`` again and again. Children end with their parent, however that one ends.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: How long a process may take to end after SIGINT, and again after SIGTERM, before it is killed.
GRACE_S = 10.0
#: A crashed process is started again after this time, doubled at each crash up to the maximum.
FIRST_RESTART_S = 1.0
LONGEST_RESTART_S = 30.0
#: A process that ran this long before it crashed starts again with the first delay.
STEADY_S = 60.0
#: A node could not be made from its parameters or files (``base_node.run``): trying again would not help.
EXIT_MISCONFIGURED = 2


@dataclass(frozen=True)
class ProcessSpec:
    """``command`` is the argument list of the process called ``name``."""

    name: str
    command: Sequence[str]


@dataclass
class _Child:
    spec: ProcessSpec
    process: subprocess.Popen | None = None
    started_at: float = 0.0
    crashes: int = 0
    restart_at: float | None = None
    unfinished: bytes = b""
    exit_code: int | None = None


class Processes:
    """``say(name, line)`` gets every line that a process writes, and what happens to it. Use as a context manager.

    ``restart``: start crashed processes again, except those that are misconfigured.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        say: Callable[[str, str], None],
        environment: Mapping[str, str] | None = None,
        restart: bool = False,
        grace_s: float = GRACE_S,
    ) -> None:
        self._children = [_Child(spec) for spec in specs]
        self._say = say
        self._environment = dict(environment if environment is not None else os.environ)
        self._restart = restart
        self._grace_s = grace_s
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Processes:
        try:
            for child in self._children:
                self._start(child)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def running(self) -> list[str]:
        """Names of the processes that run or wait for their restart."""
        return [c.spec.name for c in self._children if c.process is not None or c.restart_at is not None]

    @property
    def crashed(self) -> dict[str, int]:
        """Exit code of each process that ended with an error and was not started again; negative: killed by that signal."""
        return {c.spec.name: c.exit_code for c in self._children if c.exit_code}

    @property
    def misconfigured(self) -> list[str]:
        """Processes that refused their parameters or files."""
        return [name for name, code in self.crashed.items() if code == EXIT_MISCONFIGURED]

    def pid(self, name: str) -> int | None:
        """Process id of a running process."""
        for child in self._children:
            if child.spec.name == name and child.process is not None:
                return child.process.pid
        return None

    def poll(self, timeout_s: float) -> None:
        """Passes on output, notices processes that ended and starts those whose restart is due; returns after at most ``timeout_s``."""
        self._drain(timeout_s)
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._ended(child)
            elif child.restart_at is not None and time.monotonic() >= child.restart_at:
                self._start(child)

    def stop(self) -> None:
        """Ends all processes: SIGINT, after the grace time SIGTERM, then SIGKILL. Sources stop first, in reverse starting order."""
        for child in self._children:
            child.restart_at = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            for child in reversed(self._children):
                self._send(child, number)
            deadline = time.monotonic() + self._grace_s
            while self._alive() and time.monotonic() < deadline:
                self._drain(0.05)
            if not self._alive():
                break
            if number != signal.SIGKILL:
                for child in self._alive():
                    self._say(child.spec.name, f"has not ended {self._grace_s:g} s after {number.name}")
        for child in self._children:
            self._close(child)
        self._selector.close()

    def _start(self, child: _Child) -> None:
        child.restart_at = child.exit_code = None
        child.started_at = time.monotonic()
        # A session of its own: Ctrl-C on the terminal reaches only the parent, which ends its children in order.
        child.process = subprocess.Popen(
            list(child.spec.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
        )
        os.set_blocking(child.process.stdout.fileno(), False)
        self._selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def _alive(self) -> list[_Child]:
        return [c for c in self._children if c.process is not None and c.process.poll() is None]

    def _drain(self, timeout_s: float) -> None:
        """Waits for output and passes it on. When all streams are at their end, it only waits."""
        if not self._selector.get_map():
            time.sleep(timeout_s)
            return
        for key, _ in self._selector.select(timeout_s):
            self._read(key.data)

    def _read(self, child: _Child) -> None:
        """Passes on what has been written. A stream that does not block gives None for "nothing yet" and b"" at its end."""
        stream = child.process.stdout
        while chunk := stream.read(65536):
            *lines, child.unfinished = (child.unfinished + chunk).split(b"\n")
            for line in lines:
                self._say(child.spec.name, line.decode(errors="replace").rstrip("\r"))
        if chunk == b"":
            self._selector.unregister(stream)

    def _ended(self, child: _Child) -> None:
        code = child.process.returncode
        ran_s = time.monotonic() - child.started_at
        self._close(child)
        if code == 0:
            self._say(child.spec.name, "has finished")
            return
        child.crashes = 1 if ran_s > STEADY_S else child.crashes + 1
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        if not self._restart or code == EXIT_MISCONFIGURED:
            self._say(child.spec.name, f"has ended {how}")
            return
        delay_s = min(LONGEST_RESTART_S, FIRST_RESTART_S * 2 ** (child.crashes - 1))
        child.restart_at = time.monotonic() + delay_s
        self._say(child.spec.name, f"has ended {how}; starts again in {delay_s:g} s")

    def _send(self, child: _Child, number: signal.Signals) -> None:
        if child.process is not None and child.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                # A killed process cannot end its own children: the whole group gets it.
                os.killpg(child.process.pid, number) if number == signal.SIGKILL else child.process.send_signal(number)

    def _close(self, child: _Child) -> None:
        """Passes on the last output of an ended process and forgets it."""
        if child.process is None:
            return
        stream = child.process.stdout
        with contextlib.suppress(KeyError):
            # KeyError: its end has been read before, so it is no longer registered.
            self._read(child)
            self._selector.unregister(stream)
        if child.unfinished:
            self._say(child.spec.name, child.unfinished.decode(errors="replace"))
            child.unfinished = b""
        stream.close()
        child.exit_code = child.process.wait()
        child.process = None
