"""Whether probabilities mean what they say: lines grouped by their probability, against the share of them that is right.

Reliability diagrams and the expected calibration error as in Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Edges of the groups: narrow where almost all lines are.
EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)


@dataclass(frozen=True, slots=True)
class LineOutcome:
    """One line of a closed cart: how probable it said it was, and whether shopper, product and quantity were right."""

    probability: float
    right: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Lines with ``low`` < probability <= ``high``: their ``mean`` probability, and the share that is right (0 if there are none)."""

    low: float
    high: float
    lines: int
    mean: float
    right: float


def groups(outcomes: Sequence[LineOutcome]) -> list[Group]:
    """All groups of EDGES, also empty ones."""
    probabilities = np.array([outcome.probability for outcome in outcomes])
    right = np.array([outcome.right for outcome in outcomes], dtype=float)
    found = np.clip(np.searchsorted(EDGES, probabilities, side="left") - 1, 0, len(EDGES) - 2)
    made = []
    for number in range(len(EDGES) - 1):
        inside = found == number
        lines = int(np.count_nonzero(inside))
        mean, share = (float(values[inside].mean()) if lines else 0.0 for values in (probabilities, right))
        made.append(Group(EDGES[number], EDGES[number + 1], lines, mean, share))
    return made


def expected_calibration_error(outcomes: Sequence[LineOutcome]) -> float:
    """Mean distance between probability and share of right ones over the groups, weighted by their lines; 0 without lines."""
    return sum(group.lines * abs(group.mean - group.right) for group in groups(outcomes)) / max(len(outcomes), 1)


def calibration_summary(outcomes: Sequence[LineOutcome]) -> dict[str, Any]:
    """For ``./aisle score --json``."""
    return {
        "lines": len(outcomes),
        "expected_calibration_error": expected_calibration_error(outcomes),
        "groups": [
            {"low": g.low, "high": g.high, "lines": g.lines, "mean_probability": g.mean, "right": g.right} for g in groups(outcomes)
        ],
    }
