"""Assignment in a gated graph: the same as solving the whole matrix, whatever its shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from aisle_perception import assignment


@given(rows=st.integers(0, 12), columns=st.integers(0, 12), share=st.floats(0.0, 1.0), seed=st.integers(0, 10_000), decompose=st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_sum_of_gains_is_the_greatest(rows: int, columns: int, share: float, seed: int, decompose: bool) -> None:
    rng = np.random.default_rng(seed)
    gain = np.where(rng.random((rows, columns)) < share, rng.uniform(0.01, 1.0, (rows, columns)), -rng.random((rows, columns)))
    few, assignment._FEW_PAIRS = assignment._FEW_PAIRS, -1 if decompose else 10**6
    try:
        chosen_rows, chosen_columns = assignment.assign(gain)
    finally:
        assignment._FEW_PAIRS = few
    assert len(set(chosen_rows.tolist())) == len(chosen_rows)
    assert len(set(chosen_columns.tolist())) == len(chosen_columns)
    assert (gain[chosen_rows, chosen_columns] > 0.0).all()
    open_gates = np.maximum(gain, 0.0)
    best = open_gates[linear_sum_assignment(open_gates, maximize=True)].sum()
    assert gain[chosen_rows, chosen_columns].sum() == pytest.approx(best)
