"""The work behind ``./aisle replay --live``: the store's graph without sensors, and a player that takes their place."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.bag_store import attach_store, unpack_store
from aisle_bags.bag_writer import BagWriter
from aisle_bags.replay import plan_replay, replay_records
from aisle_bringup.command import CommandError, repository_root
from aisle_bringup.commands.up import POLL_S, LinePrinter, node_environment, process_specs
from aisle_bringup.graph import GraphError, GraphOptions, NodeSpec, build_graph
from aisle_bringup.player_keys import HELP, PlayerKeys
from aisle_bringup.processes import Processes, ProcessSpec
from aisle_bringup.progress import progress
from aisle_contract.records import NANOSECONDS
from aisle_contract.stop_request import StopRequest
from aisle_perception.detector import CameraDetectors, DetectorError
from aisle_store.store_files import StoreError, load_store

PLAYER = "player"
#: Once the player has ended, carts and receipts on their way get this long to be written.
SETTLE_S = 2.0


def replay_live(args: argparse.Namespace) -> int:
    """0 once the bag was played (or a loop was ended); 1 if a process crashed or the run was interrupted.

    Raises CommandError for what cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="aisle-replay-") as scratch:
        try:
            bag, options = _prepared(args, Path(scratch))
            nodes = build_graph(load_store(options.store), options)
        except (BagError, StoreError, DetectorError, GraphError) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{error.filename or args.bag}: {error.strerror or error}") from None
        player = NodeSpec(
            package="aisle_bags",
            executable="player_node",
            name=PLAYER,
            group=PLAYER,
            parameters={"bag": str(bag.resolve()), "rate": args.rate, "start_s": args.start, "paused": args.pause, "loop": args.loop},
            remappings=tuple(args.remap),
            namespace=options.namespace,
        )
        specs = process_specs([*nodes, player], options.composition, options.log_level)
        with ExitStack() as stack:
            keys = stack.enter_context(PlayerKeys(f"{options.namespace}/{PLAYER}", args.rate, sys.stdin)) if sys.stdin.isatty() else None
            if keys is not None:
                print(HELP)
            return _run(specs, endless=args.loop, keys=keys)


def _prepared(args: argparse.Namespace, scratch: Path) -> tuple[Path, GraphOptions]:
    """The bag to play and the graph to play it into; what the graph needs and lies in no folder is written to ``scratch``."""
    with BagReader(args.bag) as reader:
        namespace = args.namespace or reader.namespace()
        lasting_s = ((reader.end_ns or 0) - (reader.start_ns or 0)) / NANOSECONDS
        if args.start > lasting_s:
            raise CommandError(f"--start is {args.start:g} s, expected 0 .. {lasting_s:.1f}: the bag lasts no longer")
        store = args.store
        if store is None:
            store = scratch / "store"
            unpack_store(reader, store)
        options = GraphOptions(
            store=store,
            sensors="none",
            receipts=args.receipts,
            speed=max(args.rate, 1.0),
            use_sim_time=True,
            namespace="" if namespace == "/" else namespace,
            parameters=args.parameters or repository_root() / "config" / "graph.yaml",
        )
        plan_replay(reader, namespace, "detections" if args.detector is None else "images")
        if args.detector is None:
            return args.bag, options
        return _detected(reader, namespace, args.detector, store, scratch / "detected"), options


def _detected(reader: BagReader, namespace: str, detector: str, store: Path, out: Path) -> Path:
    """A bag with detections in place of images: found beforehand, so that no frame is skipped when the machine is slow."""
    detectors = CameraDetectors(detector)
    plan = plan_replay(reader, namespace, "images")
    with progress("detecting", plan.messages) as advance:
        records = replay_records(reader, plan, detectors, read=lambda message: advance(1))
    with BagWriter(out) as writer:
        attach_store(writer, store)
        for record in records:
            writer.write_record(record, namespace)
    return out


def _run(specs: list[ProcessSpec], endless: bool, keys: PlayerKeys | None) -> int:
    """``endless``: only a signal ends it, which is no error then."""
    stop = StopRequest()
    with Processes(specs, LinePrinter(), node_environment()) as processes:
        while PLAYER in processes.running and not stop.asked and not processes.crashed:
            processes.poll(POLL_S)
            if keys is not None:
                keys.poll()
        settled_at = time.monotonic() + SETTLE_S
        while time.monotonic() < settled_at and not stop.asked and not processes.crashed:
            processes.poll(POLL_S)
    if processes.misconfigured:
        return 2
    return 1 if processes.crashed or (stop.asked and not endless) else 0
