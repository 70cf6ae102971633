"""What lies where on the shelves while people put and take."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from aisle_sim.profiles import PROFILES
from aisle_sim.reenactment import Reach
from aisle_sim.shelf_contacts import LoadChange, session_contacts


def reach(time_s: float, person: str, action: str, plates: str, product: str) -> Reach:
    return Reach(time_s, 0.0, 0.2, person, action, tuple(("2", "3", plate) for plate in plates), (product,), np.zeros(3), 0.0)


def moves(store, *reaches: Reach) -> list[LoadChange]:
    contacts = session_contacts(store, SimpleNamespace(reaches=reaches), PROFILES["nominal"].scales, 3, "a")
    return [change for contact in contacts for change in contact.changes]


def test_what_was_put_lies_there_until_it_is_taken(store):
    product = min(store.products)
    taken, put, again = moves(store, *(reach(t, "p", action, "34", product) for t, action in ((1, "pick"), (5, "put_back"), (9, "pick"))))
    assert taken.piece is put.piece is again.piece
    assert (put.sign, again.sign) == (1, -1)
    assert np.array_equal(put.shares, again.shares)
    assert not np.array_equal(taken.shares, put.shares)


def test_at_other_plates_another_piece_is_taken(store):
    product = min(store.products)
    reaches = reach(1, "p", "pick", "34", product), reach(5, "p", "put_back", "34", product), reach(9, "q", "pick", "78", product)
    _, put, other = moves(store, *reaches)
    assert other.piece is not put.piece
    assert not np.array_equal(put.shares, other.shares)
