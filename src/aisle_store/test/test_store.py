from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle_store.store import inside_polygon

L_SHAPE = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [1.0, 1.0], [1.0, 2.0], [0.0, 2.0]])


@pytest.mark.parametrize(
    ("point", "margin", "inside"),
    [
        ((0.5, 0.5), 0.0, True),
        ((1.5, 1.5), 0.0, False),
        ((1.5, 1.5), 0.51, True),
        ((1.5, 1.5), 0.49, False),
        ((0.5, 0.5), -0.49, True),
        ((0.5, 0.5), -0.51, False),
        ((-0.1, 1.0), 0.0, False),
        ((-0.1, 1.0), 0.11, True),
        ((2.3, -0.4), 0.501, True),
        ((2.3, -0.4), 0.499, False),
    ],
)
def test_inside_polygon_with_margin(point, margin, inside):
    assert inside_polygon(L_SHAPE, np.array([point]), margin)[0] == inside


@given(x=st.floats(-1, 3), y=st.floats(-1, 3), turn=st.integers(0, 5), reverse=st.booleans())
def test_inside_does_not_depend_on_where_the_polygon_starts_or_its_sense(x, y, turn, reverse):
    polygon = np.roll(L_SHAPE, turn, axis=0)
    point = np.array([[x, y]])
    # A point on an edge may be judged either way.
    if inside_polygon(L_SHAPE, point, 1e-9)[0] != inside_polygon(L_SHAPE, point, -1e-9)[0]:
        return
    assert inside_polygon(polygon[::-1] if reverse else polygon, point, 0.0)[0] == inside_polygon(L_SHAPE, point, 0.0)[0]
