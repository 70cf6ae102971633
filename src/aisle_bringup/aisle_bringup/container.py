"""One process for several nodes, on one executor: ``python -m aisle_bringup.container --node JSON --node JSON ...``.

DDS discovery and memory grow with the number of participants, an executor's work does not: a node costs some 68 MB as a process of
its own and a few MB in a container. ``command`` makes the command line for node specs.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aisle_contract.stop_request import StopRequest

if TYPE_CHECKING:
    # What a container imports, every process of a graph pays for.
    from aisle_bringup.graph import NodeSpec

#: prctl(2): the signal to get when the parent dies.
PR_SET_PDEATHSIG = 1


def command(nodes: Sequence[NodeSpec], log_level: str, parent: int | None = None) -> list[str]:
    """The command line of a container for ``nodes``; with ``parent`` it ends when the process of that id does."""
    line = [sys.executable, "-m", "aisle_bringup.container", "--log-level", log_level]
    if parent is not None:
        line += ["--parent", str(parent)]
    for node in nodes:
        line += ["--node", json.dumps({"module": node.module, "arguments": node.ros_arguments()})]
    return line


def node_class(module_name: str) -> type:
    """The node class of a module, named after it: ``aisle_fusion.cart_fusion_node`` holds ``CartFusionNode``."""
    name = "".join(word.capitalize() for word in module_name.rpartition(".")[2].split("_"))
    return getattr(importlib.import_module(module_name), name)


def end_with_parent(parent: int) -> None:
    """Asks Linux for SIGTERM when the parent ends, however it ends, so that no node is left behind. Elsewhere it does nothing."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(f"the process that started this one ({parent}) has ended")


def main() -> int:
    parser = argparse.ArgumentParser(prog="container", description=__doc__)
    parser.add_argument("--node", action="append", required=True, help='{"module": ..., "arguments": [ROS arguments]}')
    parser.add_argument("--log-level", default="info", help="of all nodes: debug, info, warn, error or fatal")
    parser.add_argument("--parent", type=int, help="process id; end when that process ends")
    arguments = parser.parse_args()
    if arguments.parent is not None:
        end_with_parent(arguments.parent)
    # Before the slow imports, so that a graph that is stopped while it starts ends cleanly too.
    stop = StopRequest()
    from aisle_contract.base_node import run

    factories = [functools.partial(_make_node, **json.loads(node)) for node in arguments.node]
    return run(*factories, arguments=["--ros-args", "--log-level", arguments.log_level], stop=stop)


def _make_node(module: str, arguments: list[str]) -> object:
    return node_class(module)(cli_args=arguments, use_global_arguments=False)


if __name__ == "__main__":
    sys.exit(main())
