"""What really happened, as the scores compare it with what the chain made of it."""

from __future__ import annotations

from dataclasses import dataclass

from aisle_sim.reenactment import Reach, Reenactment
from aisle_store.store import PlateKey


@dataclass(frozen=True)
class TrueEvent:
    """Somebody's hand at a shelf (or on the floor, or at another's hand: no plates). ``action``: pick, put_back, touch, hand_over, leave,
    take_up. The hand came at ``start_s``, goods began to move at ``time_s``, all was done at ``end_s`` (s of simulated time)."""

    start_s: float
    time_s: float
    end_s: float
    person: str
    action: str
    plates: tuple[PlateKey, ...]
    products: tuple[str, ...]


def true_event(reach: Reach) -> TrueEvent:
    return TrueEvent(reach.start_s, reach.time_s, reach.end_s, reach.person, reach.action, reach.plates, reach.products)


def session_events(reenactment: Reenactment) -> tuple[TrueEvent, ...]:
    """All of a session in which a hand came to shelves, by time."""
    return tuple(true_event(reach) for reach in reenactment.reaches if reach.moves_hand)
