"""Medians and quantiles against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aisle_fusion.order_statistics import median, quantile, quantile_of


@given(arrays(float, st.tuples(st.integers(1, 3), st.integers(1, 40)), elements=st.floats(0, 5)))
def test_medians_and_quantiles_are_those_of_numpy(values):
    assert np.array_equal(median(values), np.median(values, axis=-1))
    for share in (0.0, 0.1, 0.5, 3 / max(values.shape[-1] - 1, 3), 1.0):
        assert quantile(values, share) == pytest.approx(np.quantile(values, share, axis=-1), rel=1e-12, abs=1e-15)
        assert [quantile_of(sorted(row), share) for row in values.tolist()] == quantile(values, share).tolist()
