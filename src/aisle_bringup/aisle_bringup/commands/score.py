"""./aisle score: labelled or made-up sessions re-enacted, or a crowd simulated, and billed offline; receipts against the truth."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from aisle_bags.core_settings import CoreSettings, SettingsError, load_settings
from aisle_bags.crowd_scores import CrowdResult, CrowdTask, film_crowd, score_crowd
from aisle_bags.failure_panels import Footage, Moment, Story, shelf_panel, wrong_moments
from aisle_bags.reenacted_scores import ScoreTask, score_sessions
from aisle_bags.scoring import SessionScore, summary
from aisle_bringup.command import CommandError, repository_root
from aisle_bringup.progress import Advance, progress
from aisle_sim.crowd_config import CrowdConfig
from aisle_sim.floor_motion import NoWayError
from aisle_sim.labelled_sessions import LabelledSession, SessionFileError, load_sessions
from aisle_sim.profiles import PROFILES, SensorProfile, load_profile
from aisle_sim.random_sessions import random_sessions, shuffled_planogram
from aisle_sim.store_generator import StoreConfig, generate_store
from aisle_store.store import Store
from aisle_store.store_files import StoreError, load_store
from aisle_viz.calibration_plot import CalibrationBar, plot_calibration
from aisle_viz.failure_plot import FailurePanel, plot_failures

SUMMARY = "Re-enact labelled sessions or simulate a crowd, bill them offline and compare the receipts with the truth"
EXAMPLE = "./aisle score --store config/stores/nanostore-2019-11 --sessions config/stores/nanostore-2019-11/sessions.json --seeds 3"

_PICTURES = (".png", ".svg", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, metavar="DIR", help="folder of the store; a crowd also comes to a made-up one")
    parser.add_argument("--sessions", type=Path, metavar="FILE", help="labelled sessions (JSON) to re-enact")
    parser.add_argument(
        "--random", type=_count, metavar="N", help="instead of labelled ones: N sessions of hard cases, made up for the store"
    )
    parser.add_argument("--shuffle", type=_seed, metavar="S", help="with --random: the store's products in one another's places, by seed S")
    parser.add_argument("--session", action="append", metavar="NAME", help="only this session; may be given several times")
    parser.add_argument(
        "--profile",
        type=_profile,
        default="nominal",
        metavar="NAME|FILE",
        help=f"how good the sensors are: {', '.join(PROFILES)}, or a YAML file of your own (default: nominal)",
    )
    parser.add_argument("--seeds", type=_count, default=1, metavar="N", help="play each session with seeds 0 .. N-1 (default: 1)")
    parser.add_argument(
        "--apart",
        action="store_true",
        help="play each session by itself, through a chain that has learnt nothing: as many opening days; without it the sessions of "
        "a seed are one day of the store, one after another",
    )
    parser.add_argument("--crowd", type=_count, metavar="N", help="instead of sessions: a simulated crowd, at most N inside at once")
    parser.add_argument("--minutes", type=_positive, default=10.0, metavar="M", help="let the crowd in for so long (default: 10)")
    parser.add_argument(
        "--item-camera", type=_share, default=0.0, metavar="P", help="add a camera for things in hands that is right so often"
    )
    parser.add_argument(
        "--seed", type=_seed, metavar="S", help="play with this seed only; random sessions and made-up stores are drawn with it too"
    )
    parser.add_argument("--area", type=_positive, default=60.0, metavar="M2", help="floor of the made-up store, m^2 (default: 60)")
    parser.add_argument("--plates", type=_count, default=1_000, metavar="N", help="plates of the made-up store (default: 1000)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument(
        "--save-bag",
        "--bags",
        dest="bags",
        type=Path,
        metavar="DIR",
        help="also write the simulated sensor records as bags into this folder, one per session (or crowd) and seed",
    )
    parser.add_argument("--calibration", type=Path, metavar="PNG", help="draw how often lines are right, by their probability")
    parser.add_argument(
        "--failure",
        type=Path,
        metavar="DIR",
        help="draw the weights, hands and events behind the wrong lines, a picture per session (or shopper of a crowd) and seed",
    )
    parser.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, metavar="N", help="processes (default: one per processor)")
    parser.add_argument("--parameters", type=Path, metavar="FILE", help="ROS parameter file of the cores (default: config/graph.yaml)")


def run(args: argparse.Namespace) -> int:
    # Found out now and not after minutes of work.
    for path in (args.json, args.calibration):
        if path is not None and not path.parent.is_dir():
            raise CommandError(f"{path}: there is no folder {path.parent}, expected one to write into")
    if args.calibration is not None and args.calibration.suffix.lower() not in _PICTURES:
        raise CommandError(f"{args.calibration}: found the suffix '{args.calibration.suffix}', expected one of {', '.join(_PICTURES)}")
    if sum(kind is not None for kind in (args.sessions, args.random, args.crowd)) != 1:
        raise CommandError("expected one of --sessions FILE, --random N and --crowd N")
    if args.crowd is None and args.store is None:
        raise CommandError("--store is missing: sessions need the store that they are played in")
    if args.crowd is not None and args.session:
        raise CommandError("--session is for sessions, a crowd is one whole")
    try:
        settings = load_settings(args.parameters or repository_root() / "config" / "graph.yaml")
        return _score_crowd(args, settings) if args.crowd is not None else _score_sessions(args, settings)
    except (StoreError, SessionFileError, NoWayError, SettingsError, FileExistsError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror or error}") from None


def _score_sessions(args: argparse.Namespace, settings: CoreSettings) -> int:
    store, seeds = load_store(args.store), _seeds(args)
    if args.random is not None:
        store = store if args.shuffle is None else shuffled_planogram(store, args.shuffle)
        sessions = _chosen(random_sessions(store, args.random, args.seed or 0), args)
    else:
        sessions = _chosen(load_sessions(args.sessions), args)
    with progress("re-enacting", len(sessions) * len(seeds)) as advance:
        task = ScoreTask(store, settings, args.profile, args.bags, args.item_camera)
        scores = score_sessions(task, sessions, seeds, args.jobs, lambda name: advance(1, note=name), args.apart)
    figures = {"profile": args.profile.name, "seeds": len(seeds), "sessions_apart": args.apart, **summary(scores)}
    _report(args, scores, figures, store)
    if args.failure is not None:
        failed = {(score.session, score.seed) for score in scores if score.wrong_lines}
        _draw_failures(args.failure, task, sessions, failed, args.apart)
    return 0


def _draw_failures(folder: Path, task: ScoreTask, sessions: list[LabelledSession], failed: set[tuple[str, int]], apart: bool) -> None:
    """Plays the sessions with wrong lines again, and what went before them: the scores do not keep what was recorded."""
    folder.mkdir(parents=True, exist_ok=True)
    task = replace(task, bags=None)
    with progress("drawing failures", len(failed)) as advance:
        for seed in sorted({seed for _, seed in failed}):
            last = max(place for place, session in enumerate(sessions) if (session.session, seed) in failed)
            days = [[session] for session in sessions if (session.session, seed) in failed] if apart else [sessions[: last + 1]]
            for enacted in (enacted for day in days for enacted in task.enact(day, seed) if (enacted.score.session, seed) in failed):
                path = folder / f"{enacted.score.session}-{task.profile.name}-{seed}.png"
                title = f"re-enacted: {enacted.score.session}, profile {task.profile.name}, seed {seed}"
                _draw(path, title, enacted.story, enacted.footage, wrong_moments(enacted.story, enacted.score.wrong_lines), task.store)
                advance(1, note=path.name)


def _draw_crowd_failures(folder: Path, task: CrowdTask, result: CrowdResult, seed: int) -> None:
    """A picture for everybody whose lines are wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = sorted(result.score.wrong_lines, key=lambda line: line.shopper)
    moments = {shopper: wrong_moments(result.story, list(own)) for shopper, own in groupby(lines, key=lambda line: line.shopper)}
    if not moments:
        return
    with progress("filming the crowd, s", round(60 * task.minutes)) as advance:
        everywhere = [moment for own in moments.values() for moment in own]
        footage = film_crowd(task, seed, everywhere, advanced=_seconds_of(round(60 * task.minutes), advance))
    crowd = f"crowd-{task.crowd.shoppers}-{task.profile.name}-{seed}"
    for shopper, own in moments.items():
        title = f"simulated: {shopper or 'nobody known'} of {crowd}"
        _draw(folder / f"{crowd}-{shopper or 'nobody'}.png", title, result.story, footage, own, task.store)


def _draw(path: Path, title: str, story: Story, footage: Footage, moments: list[Moment], store: Store) -> None:
    panels = [FailurePanel(**vars(shelf_panel(store, story, footage, moment))) for moment in moments]
    if panels:
        plot_failures(panels, path, title)


def _draw_calibration(path: Path, figures: dict[str, Any], store: Store) -> None:
    calibration = figures["calibration"]
    bars = [CalibrationBar(g["low"], g["high"], g["lines"], g["mean_probability"], g["right"]) for g in calibration["groups"]]
    title = f"{figures['source']}: {store.name}, profile {figures['profile']}"
    plot_calibration(bars, calibration["expected_calibration_error"], path, title)


def _score_crowd(args: argparse.Namespace, settings: CoreSettings) -> int:
    seeds = _seeds(args)
    results, stores, tasks = [], [], []
    with progress("simulating a crowd, s", round(60 * args.minutes) * len(seeds)) as advance:
        for seed in seeds:
            stores.append(load_store(args.store) if args.store is not None else _made_up_store(args, seed))
            task = CrowdTask(
                stores[-1], settings, CrowdConfig(shoppers=args.crowd), args.minutes, args.profile, args.bags, args.item_camera
            )
            tasks.append(task)
            results.append(score_crowd(task, seed, advanced=_seconds_of(round(60 * args.minutes), advance)))
    scores = [result.score for result in results]
    played = {"shoppers": sum(result.people for result in results), "simulated_s": sum(result.simulated_s for result in results)}
    figures = {"profile": args.profile.name, "seeds": len(seeds), "crowd": args.crowd, **played, **summary(scores, source="simulated")}
    _report(args, scores, figures, stores[0])
    print(f"simulated: {played['shoppers']} shoppers, {played['simulated_s']:.0f} s in {sum(result.wall_s for result in results):.0f} s")
    if args.failure is not None:
        for task, result, seed in zip(tasks, results, seeds, strict=True):
            _draw_crowd_failures(args.failure, replace(task, bag=None), result, seed)
    return 0


def _seconds_of(total: int, advance: Advance) -> Callable[[float], None]:
    """Tells of seconds of a crowd; not of those after the last one was let in, until all have left."""
    left = total

    def passed(seconds: float) -> None:
        nonlocal left
        told = min(round(seconds), left)
        left -= told
        if told:
            advance(told)

    return passed


def _made_up_store(args: argparse.Namespace, seed: int) -> Store:
    try:
        return generate_store(StoreConfig(floor_area_m2=args.area, plates=args.plates), seed)
    except ValueError as error:
        raise CommandError(str(error)) from None


def _seeds(args: argparse.Namespace) -> range:
    return range(args.seeds) if args.seed is None else range(args.seed, args.seed + 1)


def _report(args: argparse.Namespace, scores: list[SessionScore], figures: dict[str, Any], store: Store) -> None:
    for warning in dict.fromkeys(f"session {score.session}: {warning}" for score in scores for warning in score.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    _print_report(scores, figures, store)
    if args.calibration is not None:
        _draw_calibration(args.calibration, figures, store)
    if args.json is not None:
        _write(args.json, figures)


def _chosen(sessions: list[LabelledSession], args: argparse.Namespace) -> list[LabelledSession]:
    if not args.session:
        return sessions
    known = {session.session: session for session in sessions}
    for name in args.session:
        if name not in known:
            raise CommandError(f"{args.sessions or 'random sessions'}: no session '{name}', expected one of {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(args.session)]


def _print_report(scores: list[SessionScore], figures: dict[str, Any], store: Store) -> None:
    # Where there is no terminal, rich would cut tables at 80 columns.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    title = f"{figures['source']}: {store.name}, profile {figures['profile']}, {figures['seeds']} seed{'s' if figures['seeds'] > 1 else ''}"
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("session", no_wrap=True)
    for heading in ("items", "precision", "recall", "F1", "receipts", "review", "over/under"):
        table.add_column(heading, justify="right", min_width=len(heading))
    for session, group in groupby(scores, key=lambda score: score.session):
        table.add_row(session, *_cells(list(group)))
    table.add_section()
    table.add_row("all", *_cells(scores), style="bold")
    console.print(table)
    _print_shares(figures)
    wrong = [line for score in scores for line in score.wrong_lines]
    if not wrong:
        return
    # Not a table: whoever has much to look at searches it, and a table would cut what went wrong to pieces.
    print(f"{figures['source']}: lines that differ from the truth")
    for line in wrong:
        name = store.products[line.product].name if line.product in store.products else "not in the catalogue"
        print(
            f"  {line.session}, seed {line.seed}, {line.shopper or 'nobody known'}: {line.product} {name}, "
            f"expected {line.expected}, charged {line.found}: {line.cause}{f', {line.detail}' if line.detail else ''}"
        )


def _print_shares(figures: dict[str, Any]) -> None:
    calibration = figures["calibration"]
    print(
        f"{figures['source']}: least F1 of a session {figures['least_session_f1']:.3f}, charged too much without review "
        f"{figures['overcharge_share']:.2%} of lines, expected calibration error {calibration['expected_calibration_error']:.4f} "
        f"over {calibration['lines']} lines"
    )
    for cause, count in sorted(figures["causes"].items(), key=lambda entry: -entry[1]):
        print(f"  {count:4d} {cause}")


def _cells(scores: list[SessionScore]) -> list[str]:
    figures = summary(scores)
    items = sum(score.items.expected for score in scores)
    receipts = sum(score.receipts for score in scores)
    right = sum(score.right_receipts for score in scores)
    shares = [f"{figures[name]:.3f}" for name in ("precision", "recall", "f1")]
    counts = f"{figures['overcharged_lines']}/{figures['undercharged_lines']}"
    return [str(items), *shares, f"{right}/{receipts}", f"{figures['review_share']:.0%}", counts]


def _write(path: Path, figures: dict[str, Any]) -> None:
    """Whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        scratch.write_text(json.dumps(figures, indent=1) + "\n")
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise CommandError(f"{path}: cannot be written: {error.strerror}") from None


def _profile(text: str) -> SensorProfile:
    if text in PROFILES:
        return PROFILES[text]
    path = Path(text)
    if not path.suffix:
        raise argparse.ArgumentTypeError(f"found '{text}', expected one of {', '.join(PROFILES)}, or a YAML file")
    try:
        return load_profile(path)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) > 2**31:
        raise argparse.ArgumentTypeError(f"found '{text}', expected a whole number from 0")
    return int(text)


def _share(text: str) -> float:
    value = _positive(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"found '{text}', expected a share above 0 and at most 1")
    return value


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value <= 100_000:
        raise argparse.ArgumentTypeError(f"found '{text}', expected a number above 0")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"found '{text}', expected a whole number from 1")
    return int(text)
