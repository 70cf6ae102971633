"""./aisle demo: real shopping sessions, re-enacted, through the live graph, with what comes out in the terminal."""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from aisle_bringup.command import CommandError, repository_root
from aisle_bringup.commands.up import node_environment, process_specs
from aisle_bringup.demo_state import DemoState
from aisle_bringup.demo_view import DemoView, comparison
from aisle_bringup.graph import PROFILES, SESSIONS_FILE, GraphError, GraphOptions
from aisle_bringup.graph_arguments import store_and_graph
from aisle_bringup.processes import Processes
from aisle_contract.stop_request import StopRequest
from aisle_sim.labelled_sessions import LabelledSession, SessionFileError, load_sessions, select_sessions

if TYPE_CHECKING:
    from aisle_bringup.demo_picture import DemoPicture

SUMMARY = "Watch re-enacted shopping sessions go through the live graph"
EXAMPLE = "./aisle demo --speed 2"

#: ROS domains that a demo takes one of: it must neither disturb nor hear another graph, nor another demo.
DEMO_DOMAINS = range(70, 100)
#: Without a picture nobody watches. Two cores keep up with this easily.
HEADLESS_SPEED = 4.0
#: The picture is drawn this often.
FRAME_S = 0.15
#: The graph is given up when it has said nothing for so long.
SILENCE_S = 120.0
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Outcome:
    """How a run ended; ``problem`` is empty if every session gave its receipts."""

    problem: str
    seconds: float
    dropped: dict[str, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, help="folder of the store (default: config/stores/nanostore-2019-11)")
    parser.add_argument("--sessions", type=Path, help=f"labelled sessions (default: the store's {SESSIONS_FILE})")
    parser.add_argument("--session-ids", metavar="ID,ID", default="", help="which of them (default: all of the file)")
    parser.add_argument("--speed", type=float, help=f"times real time (default: 1; with --headless {HEADLESS_SPEED:g})")
    parser.add_argument("--profile", choices=PROFILES, default="nominal", help="how good the simulated sensors are (default: nominal)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated sensors (default: 0)")
    parser.add_argument("--domain", type=int, help="ROS_DOMAIN_ID of the demo's graph (default: one of its own)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="also draw paths, picks and receipts into this image file")
    parser.add_argument("--headless", action="store_true", help="plain lines instead of a picture, for continuous integration")


def run(args: argparse.Namespace) -> int:
    """0 if every session gave its receipts, right or wrong; 1 if the graph failed or was interrupted."""
    root = repository_root()
    folder = args.store or root / "config" / "stores" / "nanostore-2019-11"
    sessions_file = args.sessions or folder / SESSIONS_FILE
    sessions = _chosen_sessions(sessions_file, args.session_ids)
    workplace = root / ".aisle" / "demo"
    options = _options(args, folder, sessions_file, sessions, workplace)
    store, nodes = store_and_graph(options)
    os.environ["ROS_DOMAIN_ID"] = str(DEMO_DOMAINS[os.getpid() % len(DEMO_DOMAINS)] if args.domain is None else args.domain)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    state = DemoState(store, sessions, args.seed)
    drawing = _picture_of(state) if args.picture is not None else None
    console = Console(highlight=False, soft_wrap=args.headless)
    picture = not args.headless and console.is_terminal
    shutil.rmtree(workplace, ignore_errors=True)
    workplace.mkdir(parents=True)
    with (workplace / "graph.log").open("w") as log:

        def say(process: str, line: str) -> None:
            log.write(f"[{process}] {line}\n")
            if not picture and not _is_info(line):
                console.print(Text(f"[{process}] {line}"))

        specs = process_specs(nodes, options.composition, options.log_level)
        headline = _headline(len(sessions), len(specs), options.speed)
        if not picture:
            console.print(headline)
        with Processes(specs, say, node_environment()) as processes:
            outcome = _play(processes, state, drawing, console, headline if picture else None)
    if drawing is not None:
        drawing.save(args.picture)
    console.print(comparison(state.scores()))
    _print_end(console, outcome, workplace)
    return 1 if outcome.problem else 0


def _options(args: argparse.Namespace, folder: Path, sessions_file: Path, sessions: list[LabelledSession], workplace: Path) -> GraphOptions:
    default_speed = HEADLESS_SPEED if args.headless else 1.0
    try:
        return GraphOptions(
            store=folder,
            sessions=sessions_file,
            session_ids=tuple(session.session for session in sessions),
            profile=args.profile,
            seed=args.seed,
            speed=default_speed if args.speed is None else args.speed,
            receipts=workplace / "receipts",
            parameters=repository_root() / "config" / "graph.yaml",
        )
    except GraphError as error:
        raise CommandError(str(error)) from error


def _chosen_sessions(path: Path, ids: str) -> list[LabelledSession]:
    try:
        return select_sessions(load_sessions(path), ids, path)
    except (SessionFileError, OSError) as error:
        raise CommandError(str(error)) from error


def _picture_of(state: DemoState) -> DemoPicture:
    # matplotlib takes a second to import; most runs draw nothing.
    from aisle_bringup.demo_picture import DemoPicture

    return DemoPicture(state)


def _headline(sessions: int, processes: int, speed: float) -> str:
    domain = os.environ["ROS_DOMAIN_ID"]
    return (
        f"{sessions} re-enacted sessions, {processes} processes of ROS 2 nodes, {speed:g} x real time.\n"
        f"RViz: ROS_DOMAIN_ID={domain} rviz2 -d rviz/store.rviz    topics: ROS_DOMAIN_ID={domain} ros2 topic list"
    )


def _is_info(line: str) -> bool:
    return line.startswith(("[INFO]", "[DEBUG]"))


def _play(processes: Processes, state: DemoState, drawing: DemoPicture | None, console: Console, headline: str | None) -> Outcome:
    """Runs until all receipts are there, something fails or somebody stops it; with a headline as a picture, else as lines."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from aisle_bringup.demo_node import DemoNode
    from aisle_contract.base_node import make_executor

    start = time.monotonic()

    def tell(line: str) -> None:
        if headline is None:
            console.print(Text(f"{time.monotonic() - start:6.1f} s  {line}"))

    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    stop = StopRequest()
    node = DemoNode(state, tell, drawing.step if drawing is not None else lambda record: None)
    executor = make_executor()
    executor.add_node(node)

    def spin_until(deadline: float) -> None:
        while (left := deadline - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=left)

    try:
        if headline is None:
            problem = _wait(processes, state, stop, spin_until, lambda: None)
        else:
            view = DemoView(state, headline, console.width, console.height)
            with Live(view.render(), console=console, auto_refresh=False, vertical_overflow="crop") as live:
                problem = _wait(processes, state, stop, spin_until, lambda: live.update(view.render(), refresh=True))
        return Outcome(problem, time.monotonic() - start, dict(node.dropped))
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def _wait(processes: Processes, state: DemoState, stop: StopRequest, spin_until: Callable[[float], None], draw: Callable[[], None]) -> str:
    """What went wrong; empty if all receipts came."""
    heard_at, last_heard = time.monotonic(), None
    while not state.finished:
        spin_until(time.monotonic() + FRAME_S)
        processes.poll(0.0)
        draw()
        if state.now_ns != last_heard:
            heard_at, last_heard = time.monotonic(), state.now_ns
        if stop.asked:
            return INTERRUPTED
        if processes.crashed:
            return "; ".join(f"process {name} ended with {code}" for name, code in processes.crashed.items())
        if state.overdue:
            return f"{len(state.receipts)} of {state.shoppers_expected} receipts came, although everybody has left"
        if time.monotonic() - heard_at > SILENCE_S:
            return f"{len(state.receipts)} of {state.shoppers_expected} receipts came, then nothing for {SILENCE_S:g} s"
    return ""


def _print_end(console: Console, outcome: Outcome, workplace: Path) -> None:
    dropped = sum(outcome.dropped.values())
    console.print(f"{outcome.seconds:.0f} s; {dropped} messages dropped; receipts: {workplace / 'receipts'}")
    for name, count in outcome.dropped.items():
        console.print(Text(f"  {name}: {count} dropped", style="yellow"))
    if outcome.problem == INTERRUPTED:
        console.print(Text("Stopped before all receipts were there.", style="yellow"))
    elif outcome.problem:
        console.print(Text(f"The graph failed: {outcome.problem}. What its processes said: {workplace / 'graph.log'}", style="bold red"))
