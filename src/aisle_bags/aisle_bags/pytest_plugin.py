"""The fixture ``bag_run`` for tests of one's own (docs/bags.md). In the topmost conftest.py::

pytest_plugins = ["aisle_bags.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aisle_bags.bag_case import load_case
from aisle_bags.case_runs import CaseResult, run_case
from aisle_bags.core_settings import CoreSettings

BagRun = Callable[..., CaseResult]


@pytest.fixture
def bag_run() -> BagRun:
    """``bag_run(folder)`` or ``bag_run(folder, settings)``: the bag through the cores, with everything that they published.

    ``settings``: a ``CoreSettings`` (``aisle_bags.core_settings``), by default every core's defaults. Raises BagCaseError for a folder
    without a case.yaml, BagError for a bag that cannot be read.
    """

    def run(folder: str | Path, settings: CoreSettings | None = None) -> CaseResult:
        return run_case(load_case(Path(folder)), settings or CoreSettings(), keep=True)

    return run
