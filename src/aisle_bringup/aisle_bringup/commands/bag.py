"""``./aisle bag NAME``: the parts are the modules ``bag_<name>``."""

from __future__ import annotations

import argparse

from aisle_bringup.command import COMMANDS_FOLDER, CommandError, command_parser, load, summary

SUMMARY = "Look into bags, mend, cut, merge, convert and export them"
EXAMPLE = "./aisle bag info bags/cps-test-4-nominal-0"


def _parts() -> dict[str, str]:
    """Names of what can be done with a bag, and of the modules."""
    return {file.stem.removeprefix("bag_"): file.stem for file in sorted(COMMANDS_FOLDER.glob("bag_?*.py"))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parts = _parts()
    described = "; ".join(f"{name}: {summary(module)}" for name, module in parts.items())
    parser.add_argument("action", choices=list(parts), metavar="ACTION", help=described)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of that action; see ./aisle bag ACTION --help")


def run(args: argparse.Namespace) -> int:
    parts = _parts()
    if args.action not in parts:
        raise CommandError(f"cannot '{args.action}' a bag, expected one of {', '.join(parts)}")
    module = load(parts[args.action])
    return module.run(command_parser(f"bag {args.action}", module).parse_args(args.arguments)) or 0
