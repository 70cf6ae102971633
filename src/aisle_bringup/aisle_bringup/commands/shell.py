"""``./aisle shell``: the environment that the other commands run in, to work in by hand."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from aisle_bringup.command import CommandError, repository_root

SUMMARY = "Open a shell with the environment activated (rclpy, aisle_msgs, all packages), or run one command in it"
EXAMPLE = "./aisle shell python -c 'import aisle_msgs.msg, rclpy'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs=argparse.REMAINDER, help="run this instead of an interactive shell")


def run(args: argparse.Namespace) -> int:
    if args.command:
        try:
            os.execvp(args.command[0], args.command)
        except OSError as error:
            raise CommandError(f"cannot run '{args.command[0]}': {error.strerror}") from error
    print("Environment of aisle: python, colcon, pytest and ruff are on PATH; 'exit' leaves it.", flush=True)
    # The user's own start-up file first (it may rewrite PATH), then ours.
    with tempfile.NamedTemporaryFile("w", prefix="aisle-shell-", suffix=".bash", delete=False) as start:
        start.write(
            f"""rm -f '{start.name}'
[ -f ~/.bashrc ] && . ~/.bashrc
. '{repository_root() / "install" / "setup.bash"}'
export PATH='{Path(sys.executable).parent}':"$PATH"
PS1="(aisle) ${{PS1:-\\$ }}"
"""
        )
    shell = Path(os.environ.get("BASH", "/bin/bash"))
    os.execvp("bash", [str(shell), "--rcfile", start.name, "-i"])
