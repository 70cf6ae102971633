"""What gates report: a heartbeat, and who crosses."""

from __future__ import annotations

from collections.abc import Sequence

from aisle_contract.records import NANOSECONDS, GateEvent, GateEventKind
from aisle_sim.reenactment import GateCrossing
from aisle_store.store import Store

HEARTBEAT_NS = NANOSECONDS // 5


def gate_records(store: Store, crossings: Sequence[GateCrossing], start_ns: int, end_ns: int) -> list[GateEvent]:
    """Events of all gates in ``start_ns`` .. ``end_ns``, by stamp, strictly increasing per gate.

    An ENTRY carries the person as credential and shopper; an EXIT tells no identity.
    """
    records: list[GateEvent] = []
    for gate in store.gates:
        taken: dict[int, GateEvent] = {}
        for crossing in crossings:
            if crossing.gate != gate:
                continue
            stamp = start_ns + round(crossing.time_s * NANOSECONDS)
            while stamp in taken:
                stamp += 1
            who = crossing.person if crossing.kind == GateEventKind.ENTRY else ""
            taken[stamp] = GateEvent(stamp, gate, crossing.kind, credential=who, shopper=who)
        for stamp in range(start_ns, end_ns, HEARTBEAT_NS):
            taken.setdefault(stamp, GateEvent(stamp, gate, GateEventKind.STATUS))
        records.extend(taken.values())
    return sorted(records, key=lambda record: (record.stamp_ns, record.gate))
