"""``./aisle test``: lint, format and all tests, in a ROS domain of their own on this machine only."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from aisle_bringup.command import CommandError, repository_root

SUMMARY = "Check lint and format, and run all tests (arguments go to pytest); --bags: bags against their expected receipts"
EXAMPLE = "./aisle test -k tracker -x"
#: Everything else on the command line is pytest's.
REST = "pytest_arguments"

#: Domains 0 to 101 do not collide with the ports that Linux gives out by itself (ROS 2 documentation, "The ROS_DOMAIN_ID").
FIRST_DOMAIN, DOMAINS = 60, 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-lint", action="store_true", help="tests only")
    parser.add_argument(
        "--bags",
        type=Path,
        nargs="?",
        const=Path("bags"),
        metavar="DIR",
        help="replay the bags in this folder (default: bags) and compare their receipts with the expected ones, instead of the tests",
    )
    parser.add_argument("--live", action="store_true", help="with --bags: also play each into the graph; the receipts must be the same")
    parser.add_argument("--parameters", type=Path, metavar="FILE", help="with --bags: ROS parameter file of the cores")


def run(args: argparse.Namespace) -> int:
    root = repository_root()
    if args.live and args.bags is None:
        raise CommandError("--live belongs to --bags")
    if args.bags is not None:
        # Imported here: everything else does without the cores.
        from aisle_bringup.bag_tests import replay_bags

        return replay_bags(args.bags, args.parameters, args.live)
    selected = args.pytest_arguments
    # Who asks for some tests wants those, and at once.
    lint = 0 if args.no_lint or selected else _lint(root)
    tests = subprocess.run([sys.executable, "-m", "pytest", *selected], cwd=root, env=environment(), check=False).returncode
    return lint or tests


def environment() -> dict[str, str]:
    """The tests' own domain, so that neither a running graph nor another test run on this machine is heard."""
    domain = FIRST_DOMAIN + os.getpid() % DOMAINS
    return {**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def _lint(root: Path) -> int:
    results = [
        subprocess.run([sys.executable, "-m", "ruff", *arguments], cwd=root, check=False).returncode
        for arguments in (["check", "--quiet"], ["format", "--check", "--quiet"])
    ]
    print("ruff: clean" if not any(results) else "ruff: not clean, see above (ruff check --fix and ruff format mend most)", flush=True)
    return max(results)
