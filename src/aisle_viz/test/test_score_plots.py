"""Pictures of scores hold what they were given, and are written whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aisle_viz.calibration_plot import CalibrationBar, plot_calibration
from aisle_viz.failure_plot import FailurePanel, plot_failures


def drawn(path) -> np.ndarray:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture


def test_a_reliability_diagram(tmp_path) -> None:
    bars = [CalibrationBar(0.9, 0.95, 12, 0.93, 0.9), CalibrationBar(0.995, 1.0, 400, 0.998, 1.0), CalibrationBar(0.0, 0.1, 0, 0.0, 0.0)]
    plot_calibration(bars, 0.004, tmp_path / "c.png", "re-enacted: a store")
    plot_calibration([], 0.0, tmp_path / "empty.png", "re-enacted: nothing")
    blue = (drawn(tmp_path / "c.png") != 255).mean()
    assert blue > (drawn(tmp_path / "empty.png") != 255).mean() + 0.1


def test_a_failure(tmp_path) -> None:
    times = np.linspace(0, 8, 480)
    change = np.where(times > 4, -100.0, 0.0)
    hand = (times, np.abs(times - 4) / 4)
    panel = FailurePanel("shelf 1", times, {"3": change}, {"ann": hand}, {"t1": hand}, [(3.8, 4.2, "-100 g")], [(4.0, "ann pick tea")])
    plot_failures([panel, panel], tmp_path / "f.png", "re-enacted: a session")
    height, width, _ = drawn(tmp_path / "f.png").shape
    assert height > 900
    assert width > 1000
    with pytest.raises(ValueError, match="at least one panel"):
        plot_failures([], tmp_path / "g.png", "")
    assert not (tmp_path / "g.png").exists()
