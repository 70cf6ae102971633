"""./aisle graph: what would run for a store, without running it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from aisle_bringup.graph import NodeSpec, process_groups
from aisle_bringup.graph_arguments import add_graph_arguments, graph_options, store_and_graph
from aisle_bringup.graph_topics import NodeTopics, node_topics

SUMMARY = "Print the graph of a store: nodes, processes, topics"
EXAMPLE = "./aisle graph --store config/stores/nanostore-2019-11 --sensors sim --dot | dot -Tsvg > graph.svg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_graph_arguments(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--dot", action="store_true", help="print it for Graphviz")
    form.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    options = graph_options(args)
    store, nodes = store_and_graph(options)
    topics = {node.name: node_topics(store, node) for node in nodes}
    groups = process_groups(nodes, options.composition)
    if args.json:
        print(json.dumps(as_documents(groups, topics), indent=2))
    elif args.dot:
        print(as_dot(groups, topics))
    else:
        Console(highlight=False).print(as_table(groups, topics))
    return 0


def as_documents(groups: dict[str, list[NodeSpec]], topics: dict[str, NodeTopics]) -> list[dict]:
    """One JSON object per node."""
    return [
        {
            "process": process,
            "name": node.name,
            "namespace": node.namespace,
            "package": node.package,
            "executable": node.executable,
            "parameters": dict(node.parameters),
            "subscribes": list(topics[node.name].inputs),
            "publishes": list(topics[node.name].outputs),
        }
        for process, nodes in groups.items()
        for node in nodes
    ]


def as_table(groups: dict[str, list[NodeSpec]], topics: dict[str, NodeTopics]) -> Table:
    """Rows of nodes by process; families of topics (one per camera, shelf or gate) are counted."""
    table = Table("process", "node", "executable", "subscribes", "publishes")
    for process, nodes in groups.items():
        for node in nodes:
            inputs, outputs = (_counted(names) for names in (topics[node.name].inputs, topics[node.name].outputs))
            table.add_row(process, node.name, f"{node.package} {node.executable}", inputs, outputs)
        table.add_section()
    return table


def as_dot(groups: dict[str, list[NodeSpec]], topics: dict[str, NodeTopics]) -> str:
    """Graphviz source: processes as boxes around nodes, an edge for each family of topics that two nodes share."""
    lines = ["digraph aisle {", "  rankdir=LR;", "  node [shape=box, style=rounded, fontname=Helvetica];"]
    lines.append("  edge [fontname=Helvetica, fontsize=10];")
    for process, nodes in groups.items():
        lines += [f'  subgraph "cluster_{process}" {{', f'    label="{process}"; style=dashed; fontname=Helvetica;']
        lines += [f'    "{node.name}";' for node in nodes]
        lines.append("  }")
    names = [node.name for nodes in groups.values() for node in nodes]
    for source in names:
        for target in names:
            shared = [name for name in topics[source].outputs if name in topics[target].inputs]
            if shared and source != target:
                lines.append(f'  "{source}" -> "{target}" [label="{_counted(shared, separator=chr(92) + "n")}"];')
    return "\n".join([*lines, "}"])


def _counted(names: Sequence[str], separator: str = "\n") -> str:
    """Topic names, those that differ only in ids as one with their number: ``cameras/*/detections (17)``."""
    families: dict[str, int] = {}
    for name in names:
        parts = name.split("/")
        family = "/".join("*" if 0 < i < len(parts) - 1 else part for i, part in enumerate(parts))
        families[family] = families.get(family, 0) + 1
    return separator.join(f"{family} ({count})" if count > 1 else family for family, count in families.items())
