"""Who was in the shop when, as a bag tells: for cutting one visit out of a day."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from aisle_bags.bag_errors import BagError
from aisle_bags.bag_reader import BagReader
from aisle_bags.core_settings import CoreSettings
from aisle_bags.replay import plan_replay, replay
from aisle_contract.conversions import MESSAGE_TYPES
from aisle_contract.records import Cart, CartStatus, GateEvent, Record
from aisle_store.store import Store

#: Records that every bag of a store has, that are few, and whose stamps increase steadily: they tell how stamps and log times relate.
_CLOCKS = (GateEvent, Cart)


@dataclass(frozen=True, slots=True)
class Visit:
    """``entered_ns`` and ``left_ns`` are stamps; the latter is None for somebody who has not left."""

    session: str
    shopper: str
    entered_ns: int
    left_ns: int | None


def recorded_visits(reader: BagReader, namespace: str) -> list[Visit]:
    """Visits of which carts were recorded, in the order of entry."""
    return _visits(reader.records([Cart], namespace))


def computed_visits(
    reader: BagReader, namespace: str, store: Store, settings: CoreSettings, taken: Callable[[int], None] | None = None
) -> list[Visit]:
    """Visits that a replay finds, for a bag without carts. ``taken`` as of ``replay``. Raises BagError."""
    carts: list[Cart] = []

    def keep(record: Record) -> None:
        if isinstance(record, Cart):
            carts.append(record)

    replay(reader, plan_replay(reader, namespace, "detections"), store, settings.without_open_carts(), publish=keep, taken=taken)
    return _visits(carts)


def find_visit(visits: Iterable[Visit], wanted: str, bag: str) -> Visit:
    """The visit of a session, or of a shopper who came once. Raises BagError that names those that there are."""
    visits = list(visits)
    found = [visit for visit in visits if wanted == visit.session] or [visit for visit in visits if wanted == visit.shopper]
    if len(found) == 1:
        return found[0]
    if found:
        raise BagError(f"{bag}: '{wanted}' came {len(found)} times, expected one of the sessions {_names(found)}")
    known = f"expected one of {_names(visits)}" if visits else "nobody came"
    raise BagError(f"{bag}: no session or shopper '{wanted}', {known}")


def logged_span(reader: BagReader, namespace: str, start_ns: int, end_ns: int) -> tuple[int, int]:
    """Log times between which what was stamped from ``start_ns`` to ``end_ns`` was logged.

    They differ where a recorder's clock is not that of the stamps, as when a recording was played at another speed.
    """
    wanted = [topic.name for topic in reader.topics_of(*(MESSAGE_TYPES[kind] for kind in _CLOCKS), namespace=namespace)]
    pairs = [(reader.record(message).stamp_ns, message.log_time_ns) for message in reader.messages(wanted)]
    if not pairs:
        return start_ns, end_ns
    # Relative to the first, because float64 does not hold nanoseconds since the epoch.
    stamp_0, logged_0 = pairs[0]
    stamps, logged = (np.array(sorted(pairs), np.int64) - pairs[0]).T.astype(np.float64)
    first, last = (_logged(stamp_ns - stamp_0, stamps, logged) + logged_0 for stamp_ns in (start_ns, end_ns))
    return first, last


def _logged(stamp_ns: int, stamps: np.ndarray, logged: np.ndarray) -> int:
    """Between the records by proportion, before and after them at the same speed as real time."""
    beyond = min(stamp_ns - stamps[0], 0.0) + max(stamp_ns - stamps[-1], 0.0)
    return round(float(np.interp(stamp_ns, stamps, logged)) + beyond)


def _visits(carts: Iterable[Cart]) -> list[Visit]:
    found: dict[str, Visit] = {}
    for cart in carts:
        left_ns = cart.left_ns if cart.status == CartStatus.CLOSED else None
        found[cart.session] = Visit(cart.session, cart.shopper, cart.entered_ns, left_ns)
    return sorted(found.values(), key=lambda visit: (visit.entered_ns, visit.session))


def _names(visits: Iterable[Visit]) -> str:
    return ", ".join(f"{visit.session} ({visit.shopper})" if visit.shopper else visit.session for visit in visits)
