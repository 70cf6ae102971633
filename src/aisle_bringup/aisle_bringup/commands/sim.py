"""./aisle sim: makes stores and sessions that nobody has, for the simulator, for tests and for trying things out."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from aisle_bringup.command import CommandError
from aisle_sim.labelled_sessions import LabelledSession
from aisle_sim.random_sessions import random_sessions
from aisle_sim.store_generator import StoreConfig, generate_store
from aisle_store.store_files import StoreError, load_store, save_store

SUMMARY = "Make up a store of any size, or shopping sessions for a store"
EXAMPLE = "./aisle sim store stores/large --area 60 --plates 1000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", metavar="{store,sessions}", required=True)
    store = kinds.add_parser("store", help="gondolas, shelves, plates, products, planogram, cameras and gates, as a store folder")
    store.add_argument("folder", type=Path, metavar="OUT", help="new folder")
    store.add_argument("--area", type=float, default=60.0, metavar="M2", help="floor, m^2 (default: 60)")
    store.add_argument("--plates", type=int, default=1_000, metavar="N", help="weighing plates (default: 1000)")
    store.add_argument("--seed", type=int, default=0, metavar="S", help="another seed, another store (default: 0)")
    sessions = kinds.add_parser("sessions", help="sessions of hard cases, as a file for ./aisle score --sessions")
    sessions.add_argument("file", type=Path, metavar="OUT", help="new file (JSON)")
    sessions.add_argument("--store", type=Path, required=True, metavar="DIR", help="folder of the store")
    sessions.add_argument("--count", type=int, default=9, metavar="N", help="how many (default: 9)")
    sessions.add_argument("--seed", type=int, default=0, metavar="S", help="another seed, other sessions (default: 0)")


def run(args: argparse.Namespace) -> int:
    try:
        if args.kind == "store":
            _make_store(args)
        else:
            _make_sessions(args)
    except (StoreError, ValueError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror or error}") from None
    return 0


def _make_store(args: argparse.Namespace) -> None:
    config = StoreConfig(floor_area_m2=args.area, plates=args.plates)
    if not 6.0 <= config.floor_area_m2 <= 10_000.0 or not 1 <= config.plates <= 100_000:
        raise CommandError(f"found {args.area:g} m^2 and {args.plates} plates, expected 6 .. 10000 m^2 and 1 .. 100000 plates")
    store = generate_store(config, args.seed)
    save_store(store, args.folder)
    print(
        f"{args.folder}: {store.name}, {sum(1 for _ in store.plates())} plates of {len(store.gondolas)} gondolas, "
        f"{len(store.products)} products, {len(store.cameras)} cameras"
    )


def _make_sessions(args: argparse.Namespace) -> None:
    if args.count < 1:
        raise CommandError(f"--count: found {args.count}, expected 1 or more")
    if args.file.exists():
        raise CommandError(f"{args.file}: exists, expected a new file")
    sessions = random_sessions(load_store(args.store), args.count, args.seed)
    scratch = args.file.with_name(f".{args.file.name}.{os.getpid()}.part")
    scratch.write_text(json.dumps([_document(session) for session in sessions], indent=1) + "\n")
    scratch.replace(args.file)
    print(f"{args.file}: {len(sessions)} sessions with {sum(len(session.events) for session in sessions)} labels")


def _document(session: LabelledSession) -> dict:
    return {"session": session.session, "events": [asdict(event) for event in session.events]}
