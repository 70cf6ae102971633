"""Many matrices of 2 x 2, written out: for so small ones a general solver's call for each costs more than the sums.

Cofactors over the determinant (Golub & Van Loan, Matrix Computations, 1.1 and 2.1). Their error grows with the square of the condition
number, relative to 1e-16: with 1 cm across and 1 m along a ray that is 1e-8. A general solver is for what is known less evenly.
"""

from __future__ import annotations

import numpy as np

import aisle_kernels


def inverse2(matrices: np.ndarray) -> np.ndarray:
    """Inverses of regular ``matrices`` float64 [..., 2, 2]."""
    inverse = np.empty(matrices.shape)
    aisle_kernels.inverses(np.ascontiguousarray(matrices), inverse)
    return inverse


def greatest_deviation2(covariances: np.ndarray) -> np.ndarray:
    """Standard deviations float64 [...] along the longest axes of symmetric ``covariances`` [..., 2, 2]."""
    result = np.empty(covariances.shape[:-2])
    aisle_kernels.deviations(np.ascontiguousarray(covariances), result)
    return result
