"""Calibration: a forecaster who knows the odds has no error, one who is too sure has his excess as error."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from aisle_bags.calibration import EDGES, LineOutcome, calibration_summary, expected_calibration_error, groups


def drawn(said: np.ndarray, odds: np.ndarray, seed: int = 0) -> list[LineOutcome]:
    right = np.random.default_rng(seed).random(len(said)) < odds
    return [LineOutcome(float(p), bool(r)) for p, r in zip(said, right, strict=True)]


def test_somebody_who_knows_the_odds_has_no_error() -> None:
    said = np.random.default_rng(1).random(40_000)
    assert expected_calibration_error(drawn(said, said)) < 0.01


def test_somebody_who_is_too_sure_errs_by_his_excess() -> None:
    said = np.full(20_000, 0.97)
    assert expected_calibration_error(drawn(said, said - 0.2)) == pytest.approx(0.2, abs=0.01)


def test_every_probability_falls_into_the_group_that_ends_at_or_above_it() -> None:
    for number, (low, high) in enumerate(pairwise(EDGES)):
        found = groups([LineOutcome(high, True), LineOutcome((low + high) / 2, False)])
        assert [group.lines for group in found] == [2 if i == number else 0 for i in range(len(EDGES) - 1)]
        assert found[number].right == 0.5
    assert groups([LineOutcome(0.0, False)])[0].lines == 1


def test_nothing_has_no_error_and_all_groups() -> None:
    figures = calibration_summary([])
    assert (figures["lines"], figures["expected_calibration_error"]) == (0, 0)
    assert len(figures["groups"]) == len(EDGES) - 1
