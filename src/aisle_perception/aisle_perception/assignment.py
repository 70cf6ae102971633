"""Global assignment in a gated graph: almost everybody has one possible partner, only the rest needs the general method."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

#: Up to this many pairs, finding out who has one possible partner takes longer than solving it all.
_FEW_PAIRS = 4000


def assign(gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, int [K] each, of the one-to-one assignment with the greatest sum of ``gain`` float [N, M].

    Gains of 0 or less are outside the gate and never chosen. Rows and columns whose only possible partners are each other are taken
    directly (they are components of the gated graph of their own, so this changes nothing); what is left over is solved by
    ``scipy.optimize.linear_sum_assignment`` (Crouse, On implementing 2D rectangular assignment algorithms, IEEE TAES 52(4), 2016).
    """
    if gain.size <= _FEW_PAIRS:
        return _solved(np.maximum(gain, 0.0))
    rows, columns = np.nonzero(gain > 0.0)
    alone = (np.bincount(rows, minlength=len(gain))[rows] == 1) & (np.bincount(columns, minlength=gain.shape[1])[columns] == 1)
    if alone.all():
        return rows, columns
    shared = ~alone
    some_rows, some_columns = np.unique(rows[shared]), np.unique(columns[shared])
    chosen_rows, chosen_columns = _solved(np.maximum(gain[some_rows[:, None], some_columns], 0.0))
    return np.concatenate((rows[alone], some_rows[chosen_rows])), np.concatenate((columns[alone], some_columns[chosen_columns]))


def _solved(gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = linear_sum_assignment(gain, maximize=True)
    inside = (gain[rows, columns] > 0.0).nonzero()[0]
    return rows.take(inside), columns.take(inside)
