"""./aisle up: runs a store's graph as processes on this machine, as launch/store.launch.py does where ROS 2 is installed."""

from __future__ import annotations

import argparse
import os
import zlib

from rich.console import Console
from rich.text import Text

from aisle_bringup import container
from aisle_bringup.graph import NodeSpec, process_groups
from aisle_bringup.graph_arguments import add_graph_arguments, graph_options, store_and_graph
from aisle_bringup.processes import Processes, ProcessSpec
from aisle_contract.stop_request import StopRequest

SUMMARY = "Run a store's graph: sensors, tracking, carts, checkout"
EXAMPLE = "./aisle up --store config/stores/nanostore-2019-11 --sensors sim --receipts /tmp/receipts"

POLL_S = 0.25
COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_graph_arguments(parser)
    parser.add_argument("--restart", action="store_true", help="start crashed processes again, with growing delays")


def run(args: argparse.Namespace) -> int:
    """0 after Ctrl-C or when all processes have finished; 1 if one crashed; 2 if one was misconfigured."""
    options = graph_options(args)
    _, nodes = store_and_graph(options)
    stop = StopRequest()
    specs = process_specs(nodes, options.composition, options.log_level)
    with Processes(specs, LinePrinter(), node_environment(), args.restart) as processes:
        while processes.running and not stop.asked and not processes.misconfigured:
            processes.poll(POLL_S)
    if processes.misconfigured:
        return 2
    return 1 if processes.crashed else 0


def process_specs(nodes: list[NodeSpec], composition: str, log_level: str) -> list[ProcessSpec]:
    """The processes of a graph; they end when this process does."""
    groups = process_groups(nodes, composition)
    return [ProcessSpec(name, container.command(group, log_level, os.getpid())) for name, group in groups.items()]


def node_environment() -> dict[str, str]:
    """Environment of node processes: lines as they come, colours left to who shows them."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "RCUTILS_COLORIZED_OUTPUT": "0"}


class LinePrinter:
    """Prints what processes say, each line with the process's name in front (coloured on a terminal)."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def __call__(self, name: str, line: str) -> None:
        # A colour that stays the same from run to run.
        colour = COLOURS[zlib.crc32(name.encode()) % len(COLOURS)]
        self._console.print(Text.assemble((f"[{name}] ", colour), line))
