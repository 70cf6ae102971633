"""What followed persons look like: running means of their detections' embeddings, compared by the cosine.

Embeddings of one network are vectors of which only the direction counts. A row of zeros stands for "no embedding": a camera without such
a network, or a crop too small to say anything. What is not known compares as NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

#: So many embeddings are averaged with equal weights; from then on older ones are slowly forgotten, as light and pose change.
_MEMORY = 50


@dataclass(eq=False)
class Appearance:
    """Running mean of one person's embeddings: ``mean`` float64 [E] (empty: none yet), ``seen`` how many have been added."""

    mean: np.ndarray = field(default_factory=lambda: np.zeros(0))
    seen: int = 0

    def add(self, embeddings: np.ndarray) -> None:
        """Takes embeddings [K, E] of this person, of unit length or zero (then ignored). Another length E than before is ignored too."""
        for row in embeddings[embeddings.any(axis=1)]:
            if self.seen and len(row) != len(self.mean):
                continue
            self.seen += 1
            share = 1.0 / min(self.seen, _MEMORY)
            self.mean = row.astype(float) if self.seen == 1 else self.mean + share * (row - self.mean)


def unit_rows(embeddings: np.ndarray) -> np.ndarray:
    """``embeddings`` [K, E] as float64 rows of unit length; zero or not finite rows become zero."""
    rows = np.where(np.isfinite(embeddings).all(axis=1, keepdims=True), embeddings, 0.0).astype(float)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(length > 0.0, rows / np.maximum(length, 1e-12), 0.0)


def similarities(known: Sequence[Appearance], embeddings: np.ndarray) -> np.ndarray:
    """Cosines float64 [N, M] of persons' appearances and ``embeddings`` [M, E] (unit or zero rows), NaN where either is unknown."""
    means = np.zeros((len(known), embeddings.shape[1]))
    for number, appearance in enumerate(known):
        if len(appearance.mean) == embeddings.shape[1]:
            means[number] = appearance.mean
    return cosines(unit_rows(means), embeddings)


def cosines(known: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    """float64 [N, M] of rows ``known`` [N, E] and ``embeddings`` [M, E], all of unit length or zero; NaN where either is zero."""
    return np.where(known.any(axis=1)[:, None] & embeddings.any(axis=1), known @ embeddings.T, np.nan)
