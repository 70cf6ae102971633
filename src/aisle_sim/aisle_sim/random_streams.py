"""Random numbers by purpose: each sensor draws from a stream of its own, so that adding one changes no other."""

from __future__ import annotations

import hashlib

import numpy as np


def random_stream(seed: int, *purpose: str) -> np.random.Generator:
    """A generator that depends on the seed and the purpose's words alone; the same on every platform and Python version.

    Raises ValueError for a negative seed.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    digest = hashlib.sha256("\x1f".join(purpose).encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))
