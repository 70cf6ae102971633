"""Running means of embeddings tell persons apart, and say so where they know nothing."""

from __future__ import annotations

import numpy as np

from aisle_perception.appearance import Appearance, similarities, unit_rows


def _looks(seed: int, count: int, noise: float = 0.6) -> np.ndarray:
    """Embeddings of one person: a direction of his own with noise of ``noise`` times its length."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=64)
    return unit_rows(own + noise * np.linalg.norm(own) / 8.0 * rng.normal(size=(count, 64)))


def test_a_mean_is_nearer_to_its_person_than_single_views_are() -> None:
    first, second = Appearance(), Appearance()
    first.add(_looks(1, 40)[:30])
    second.add(_looks(2, 40)[:30])
    new = np.vstack([_looks(1, 40)[30:], _looks(2, 40)[30:]])
    cosines = similarities([first, second], new)
    assert (cosines[0, :10] > cosines[1, :10] + 0.3).all()
    assert (cosines[1, 10:] > cosines[0, 10:] + 0.3).all()
    assert cosines[0, :10].mean() > (new[:10] @ _looks(1, 40)[0]).mean()


def test_old_looks_fade() -> None:
    changed = Appearance()
    changed.add(_looks(1, 100))
    changed.add(_looks(2, 200))
    assert similarities([changed], _looks(2, 1))[0, 0] > similarities([changed], _looks(1, 1))[0, 0] + 0.5


def test_what_is_unknown_is_nan() -> None:
    known, unknown = Appearance(), Appearance()
    known.add(np.vstack([np.zeros((2, 64)), _looks(1, 1)]))
    assert known.seen == 1
    cosines = similarities([known, unknown], np.vstack([np.zeros((1, 64)), _looks(1, 1)]))
    assert np.isnan(cosines[:, 0]).all()
    assert np.isnan(cosines[1]).all()
    assert cosines[0, 1] > 0.999


def test_another_networks_embeddings_are_not_compared() -> None:
    known = Appearance()
    known.add(_looks(1, 3))
    known.add(np.ones((1, 8)))
    assert known.seen == 3
    assert np.isnan(similarities([known], np.ones((1, 8)))).all()


def test_rows_that_say_nothing_become_zero() -> None:
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0]], dtype=np.float32))
    assert np.allclose(rows, [[0.6, 0.8], [0.0, 0.0], [0.0, 0.0]])
