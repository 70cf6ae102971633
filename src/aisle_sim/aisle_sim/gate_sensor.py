"""What gates report: a heartbeat, and who crosses."""

from __future__ import annotations

from collections.abc import Sequence

from aisle_contract.records import NANOSECONDS, GateEvent, GateEventKind
from aisle_sim.reenactment import GateCrossing
from aisle_store.store import Store

HEARTBEAT_NS = NANOSECONDS // 5


def gate_records(
    store: Store, crossings: Sequence[GateCrossing], start_ns: int, end_ns: int, from_ns: int | None = None
) -> list[GateEvent]:
    """Events of all gates in ``from_ns`` (if not given, ``start_ns``, to which the crossings' times refer) .. ``end_ns``, by stamp,
    strictly increasing per gate.

    An ENTRY carries the person as credential and shopper; an EXIT tells no identity.
    """
    from_ns = start_ns if from_ns is None else from_ns
    first_beat = start_ns - (start_ns - from_ns) // HEARTBEAT_NS * HEARTBEAT_NS
    records: list[GateEvent] = []
    for gate in store.gates:
        taken: dict[int, GateEvent] = {}
        for crossing in crossings:
            if crossing.gate != gate:
                continue
            stamp = start_ns + round(crossing.time_s * NANOSECONDS)
            if not from_ns <= stamp < end_ns:
                continue
            while stamp in taken:
                stamp += 1
            who = crossing.person if crossing.kind == GateEventKind.ENTRY else ""
            taken[stamp] = GateEvent(stamp, gate, crossing.kind, credential=who, shopper=who)
        for stamp in range(first_beat, end_ns, HEARTBEAT_NS):
            taken.setdefault(stamp, GateEvent(stamp, gate, GateEventKind.STATUS))
        records.extend(taken.values())
    return sorted(records, key=lambda record: (record.stamp_ns, record.gate))
