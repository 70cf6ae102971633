"""``./aisle import nanostore|recording``: the parts are ``import_nanostore`` and ``import_recording``."""

from __future__ import annotations

import argparse

from aisle_bringup.command import COMMANDS_FOLDER, CommandError, command_parser, load, summary

SUMMARY = "Make a store, or a bag, from files of another format"
EXAMPLE = "./aisle import nanostore --help"


def _kinds() -> dict[str, str]:
    """Names of kinds and of their modules."""
    return {file.stem.removeprefix("import_"): file.stem for file in sorted(COMMANDS_FOLDER.glob("import_?*.py"))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = _kinds()
    described = "; ".join(f"{kind}: {summary(module)}" for kind, module in kinds.items())
    parser.add_argument("kind", choices=sorted(kinds), help=described)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of that kind; see ./aisle import KIND --help")


def run(args: argparse.Namespace) -> int:
    kinds = _kinds()
    if args.kind not in kinds:
        raise CommandError(f"cannot import '{args.kind}', expected one of {', '.join(kinds)}")
    module = load(kinds[args.kind])
    return module.run(command_parser(f"import {args.kind}", module).parse_args(args.arguments)) or 0
