"""``python -m aisle_bringup.command NAME ...``: what ./aisle calls. One module of ``aisle_bringup.commands`` for each command.

Only the called command's module is imported: others may need what is missing on this machine, and importing all costs seconds.
Everything here runs on the standard library alone, so that ``--help`` and ``doctor`` work before anything is installed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

COMMANDS_FOLDER = Path(__file__).parent / "commands"

#: As people meet them; commands that are not named here follow alphabetically.
ORDER = ("demo", "test", "up", "graph", "import", "record", "bag", "replay", "score", "track", "bench", "doctor", "shell")


class CommandError(Exception):
    """What the user can mend: printed as one line; the command then ends with exit code 2."""


def repository_root() -> Path:
    """The checkout's root: ``AISLE_ROOT`` as set by ./aisle, else found from this file (colcon links it into build/).

    Raises CommandError where this is an installed copy without a checkout.
    """
    if root := os.environ.get("AISLE_ROOT"):
        return Path(root)
    for folder in Path(__file__).resolve().parents:
        if (folder / "aisle").is_file() and (folder / "src").is_dir():
            return folder
    raise CommandError("the folder of aisle's checkout is not known: run ./aisle in it, or set AISLE_ROOT to it")


def command_modules() -> dict[str, str]:
    """Names of commands and of their modules' files: ``import_.py`` is ``import``; ``import_recording.py`` is a part of that."""
    names = {file.stem.rstrip("_"): file.stem for file in COMMANDS_FOLDER.glob("*.py") if "_" not in file.stem.rstrip("_")}
    known = [name for name in ORDER if name in names]
    return {name: names[name] for name in [*known, *sorted(names.keys() - set(known))]}


def summary(module: str) -> str:
    """The module's ``SUMMARY``, read without importing the module."""
    for statement in ast.parse((COMMANDS_FOLDER / f"{module}.py").read_text()).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "SUMMARY":
            return ast.literal_eval(statement.value)
        if isinstance(statement, ast.AnnAssign) and getattr(statement.target, "id", "") == "SUMMARY" and statement.value:
            return ast.literal_eval(statement.value)
    return ""


def load(module: str) -> ModuleType:
    """Imports a command's module. Raises CommandError, with what to do, where a third-party package is missing."""
    try:
        return importlib.import_module(f"aisle_bringup.commands.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0].startswith("aisle_"):
            raise
        raise CommandError(f"the Python package '{error.name}' is missing: see ./aisle doctor") from error


def command_parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """The parser of one command, with its example below the options."""
    parser = argparse.ArgumentParser(
        prog=f"aisle {name}",
        description=module.SUMMARY,
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def parse(parser: argparse.ArgumentParser, module: ModuleType, arguments: Sequence[str]) -> argparse.Namespace:
    """Parses a command's arguments. What it does not know goes to the attribute that the module's ``REST`` names, if it has one."""
    known, rest = parser.parse_known_args(arguments)
    if rest and not hasattr(module, "REST"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if hasattr(module, "REST"):
        setattr(known, module.REST, rest)
    return known


def overview() -> str:
    """What ./aisle prints without a command."""
    modules = command_modules()
    width = max(map(len, modules))
    lines = [
        "usage: ./aisle [--with torch|bench|parquet[,...]] COMMAND [ARGUMENT ...]",
        "",
        "aisle: checkout without a till, as a ROS 2 graph.",
        "",
        "commands:",
        *(f"  {name:{width}}  {summary(module)}" for name, module in modules.items()),
        "",
        "./aisle COMMAND --help explains a command and gives an example.",
        "--with torch also installs PyTorch's CPU build, once; --with bench the trackers that `bench track` compares ours with;",
        "--with parquet what `bag export --format parquet` needs. Several at once: --with torch,bench",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    name, rest = arguments[0], arguments[1:]
    modules = command_modules()
    try:
        if name not in modules:
            similar = difflib.get_close_matches(name, modules, n=3)
            hint = f"did you mean {' or '.join(similar)}?" if similar else f"expected one of {', '.join(modules)}"
            raise CommandError(f"unknown command '{name}', {hint}")
        module = load(modules[name])
        return module.run(parse(command_parser(name, module), module, rest)) or 0
    except CommandError as error:
        print(f"aisle: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head, less) went away; without this Python complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    # Under `-m` this module is called __main__; commands raise aisle_bringup.command.CommandError, which must be the same class.
    from aisle_bringup.command import main as run

    sys.exit(run())
