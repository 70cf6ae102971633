"""The options of a graph as command-line arguments; ``launch/store.launch.py`` has the same ones."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace

from aisle_bringup.command import CommandError, repository_root
from aisle_bringup.graph import GraphError, GraphOptions, NodeSpec, build_graph
from aisle_store.store import Store
from aisle_store.store_documents import StoreError
from aisle_store.store_files import load_store


def add_graph_arguments(parser: argparse.ArgumentParser) -> None:
    """One argument for each field of ``GraphOptions``."""
    for option in fields(GraphOptions):
        flag = "--" + option.name.replace("_", "-")
        description, choices = option.metadata["description"], option.metadata["choices"]
        if option.type == "bool":
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.default, help=description)
            continue
        shown = f"{description} (default: {option.default})" if option.default not in (None, "", ()) else description
        parser.add_argument(flag, choices=choices or None, metavar=None if choices else _metavar(option.type), help=shown)


def graph_options(args: argparse.Namespace) -> GraphOptions:
    """The options that the command line names. Raises CommandError for what does not fit."""
    texts = {option.name: getattr(args, option.name) for option in fields(GraphOptions)}
    try:
        options = GraphOptions.from_texts({name: "" if value is None else str(value) for name, value in texts.items()})
    except GraphError as error:
        raise CommandError(str(error)) from error
    return replace(options, parameters=options.parameters or repository_root() / "config" / "graph.yaml")


def store_and_graph(options: GraphOptions) -> tuple[Store, list[NodeSpec]]:
    """The store and its nodes. Raises CommandError for what cannot be read or does not fit."""
    try:
        store = load_store(options.store)
        return store, build_graph(store, options)
    except (StoreError, GraphError, OSError) as error:
        raise CommandError(str(error)) from error


def _metavar(kind: str) -> str:
    return {"Path": "PATH", "Path | None": "PATH", "int": "N", "float": "X", "tuple[str, ...]": "ID,ID"}.get(kind, "TEXT")
