"""The shipped scale model is what the fit gives; the fit finds what was put into an artificial recording."""

from __future__ import annotations

import numpy as np
import pytest

from aisle_sim.fit_scale_model import NANOSTORE_PICKS, fit, load_recording, main, window_deviations
from aisle_sim.scale_model import load_scale_model


def test_shipped_model_is_the_fit_of_the_real_recording(real_plates):
    assert fit(load_recording(real_plates), NANOSTORE_PICKS) == load_scale_model()


def test_real_plates_have_the_documented_noise(real_plates):
    grams = 1000 * window_deviations(load_recording(real_plates).weights)
    assert np.median(grams) == pytest.approx(0.69, abs=0.03)
    assert np.percentile(grams, 95) == pytest.approx(5.07, abs=0.2)


def test_channels_without_a_plate_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    grams = np.vstack([rng.normal(500, 1, 600), np.full(600, 6067.4)]).astype(np.float32)
    np.savez(
        tmp_path / "p.npz", plate=np.array([[1, 1, 1], [1, 1, 2]], dtype=np.int16), t=np.tile(np.arange(600) / 60, (2, 1)), grams=grams
    )
    recording = load_recording(tmp_path / "p.npz")
    assert recording.plates.tolist() == [[1, 1, 1]]
    assert window_deviations(recording.weights)[0] == pytest.approx(0.001, rel=0.1)


def test_bad_recordings_are_named(tmp_path, capsys):
    np.savez(tmp_path / "p.npz", plate=np.zeros((1, 3)))
    assert main([str(tmp_path / "p.npz")]) == 2
    assert "p.npz: has no array grams, t, expected plate, t and grams" in capsys.readouterr().err
    assert main([str(tmp_path / "none.npz")]) == 2
    assert "none.npz" in capsys.readouterr().err
