"""Inverses written out against numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from aisle_perception.small_matrices import greatest_deviation2, inverse2


@pytest.mark.parametrize("shape", [(), (0,), (40,), (4, 7)])
def test_inverses_of_any_regular_matrices_are_numpys(shape: tuple[int, ...]) -> None:
    matrices = np.random.default_rng(1).normal(size=(*shape, 2, 2)) + 3.0 * np.eye(2)
    np.testing.assert_allclose(inverse2(matrices), np.linalg.inv(matrices), rtol=1e-9, atol=1e-11)


def test_deviations_are_those_of_the_general_method() -> None:
    rng = np.random.default_rng(3)
    roots = rng.normal(size=(30, 2, 2))
    covariances = roots @ np.swapaxes(roots, -1, -2) + 0.01 * np.eye(2)
    np.testing.assert_allclose(greatest_deviation2(covariances), np.sqrt(np.linalg.eigvalsh(covariances)[:, 1]))
