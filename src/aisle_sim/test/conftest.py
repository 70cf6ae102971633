"""The shipped store and its labelled sessions; the recordings beside the repository where they are present."""

from __future__ import annotations

from pathlib import Path

import pytest

from aisle_sim.labelled_sessions import load_sessions
from aisle_store.store_files import load_store

REPOSITORY = Path(__file__).resolve().parents[3]
SHIPPED_STORE = REPOSITORY / "config" / "stores" / "nanostore-2019-11"
RECORDINGS = REPOSITORY.parent / "shared" / "data" / "nanostore"


@pytest.fixture(scope="session")
def store():
    return load_store(SHIPPED_STORE)


@pytest.fixture(scope="session")
def sessions():
    """Shipped sessions by name."""
    return {session.session: session for session in load_sessions(SHIPPED_STORE / "sessions.json")}


@pytest.fixture(scope="session")
def all_sessions():
    """The sessions of the whole day, which do not come with the project; the shipped ones where they are absent."""
    path = RECORDINGS / "2019-11" / "sessions.json"
    return load_sessions(path if path.is_file() else SHIPPED_STORE / "sessions.json")


@pytest.fixture(scope="session")
def real_plates():
    path = RECORDINGS / "2020-01" / "plates.npz"
    if not path.is_file():
        pytest.skip(f"{path} is absent: the real recording does not come with the project")
    return path
