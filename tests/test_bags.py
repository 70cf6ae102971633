"""The suite of bags through ./aisle: tested, accepted, made anew, and played into the live graph."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from rich.console import Console

from aisle_bags.bag_case import load_case
from aisle_bags.case_runs import run_case
from aisle_bags.core_settings import load_settings
from aisle_bringup.bag_tests import live_problem
from aisle_bringup.command import main

ROOT = Path(__file__).resolve().parents[1]
SUITE = ROOT / "bags"
PARAMETERS = ROOT / "config" / "graph.yaml"


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def aisle(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """./aisle with these arguments, in this process: starting one for each would take longer than what they do."""
    monkeypatch.setenv("AISLE_ROOT", str(ROOT))
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    shutil.copytree(SUITE / "several-at-once", tmp_path / "several")
    return tmp_path / "several"


@pytest.fixture
def deaf(tmp_path: Path) -> Path:
    """Parameters with which the bags of three and two crackers stay, and what weighs less is not heard."""
    file = tmp_path / "deaf.yaml"
    file.write_text("shelf_monitor:\n  ros__parameters: {least_change_kg: 0.2}\n")
    return file


def expected_of(bag: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (bag / "expected").iterdir()}


def test_a_bag_that_gives_what_it_must_passes(aisle: Callable[..., Done], bag: Path) -> None:
    done = aisle("test", "--bags", bag.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as expected" in done.stdout
    assert done.stdout.splitlines()[-1] == "bags: 1 of 1 as expected"


def test_a_difference_shows_the_line_and_the_evidence_of_both_sides(aisle: Callable[..., Done], bag: Path, deaf: Path) -> None:
    done = aisle("test", "--bags", bag, "--parameters", deaf)
    assert done.returncode == 1
    assert "mini-chips-ahoy: this line is missing" in done.stdout
    assert "Mini Chips Ahoy x2, 2.00" in done.stdout
    assert "not true: ann: mini-chips-ahoy: 2 by the truth, 0 charged" in done.stdout
    assert done.stdout.splitlines()[-1] == "bags: 0 of 1 as expected"


def test_accepting_asks_shows_and_never_hides_what_is_not_true(aisle: Callable[..., Done], bag: Path, deaf: Path) -> None:
    before = expected_of(bag)
    assert aisle("bag", "accept", bag).stdout == f"{bag}: as expected, nothing to renew\n"
    refused = aisle("bag", "accept", bag, "--parameters", deaf, "--yes")
    assert refused.returncode == 1
    assert "this line is missing" in refused.stdout
    assert "not renewed: its receipts are not true" in refused.stderr
    unasked = aisle("bag", "accept", bag, "--parameters", deaf, "--known-wrong", "it is deaf")
    assert unasked.returncode == 2
    assert "give --yes" in unasked.stderr
    assert expected_of(bag) == before
    renewed = aisle("bag", "accept", bag, "--parameters", deaf, "--known-wrong", "it is deaf", "--yes")
    assert renewed.returncode == 0, renewed.stderr
    assert expected_of(bag) != before
    (known,) = yaml.safe_load((bag / "case.yaml").read_text())["known_wrong"]
    assert known == {"shopper": "ann", "product": "mini-chips-ahoy", "expected": 2, "found": 0, "reason": "it is deaf"}
    assert aisle("test", "--bags", bag, "--parameters", deaf).returncode == 0
    # With good ears again the known fault is mended: that is told, and accepted without it.
    assert "was known to be wrong and is not any more" in aisle("test", "--bags", bag).stdout
    assert aisle("bag", "accept", bag, "--yes").returncode == 0
    assert expected_of(bag) == before
    assert "known_wrong" not in yaml.safe_load((bag / "case.yaml").read_text())


def test_a_scenario_becomes_a_bag_once(aisle: Callable[..., Done], tmp_path: Path) -> None:
    scenario = SUITE / "scenarios" / "several-at-once.yaml"
    done = aisle("bag", "make", scenario, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    made, shipped = load_case(tmp_path / "several-at-once"), load_case(SUITE / "several-at-once")
    assert made.document.truth == shipped.document.truth == {"ann": {"024100204113": 3, "mini-chips-ahoy": 2}}
    again = aisle("bag", "make", scenario, "--out", tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize("name", ["two-in-one-shelf", "camera-lost"])
def test_live_gives_the_receipts_of_the_replay_offline(name: str) -> None:
    """Some of the suite; ./aisle test --bags --live plays all of it."""
    offline = run_case(load_case(SUITE / name), load_settings(PARAMETERS))
    assert offline.receipts
    assert live_problem(Console(), offline, PARAMETERS) is None
