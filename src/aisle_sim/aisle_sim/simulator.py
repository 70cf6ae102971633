"""Labelled sessions in, sensor records out: the re-enactment seen by simulated cameras, shelves and gates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aisle_contract.records import NANOSECONDS, GateEvent, ItemObservation, PersonDetections, ScaleReading
from aisle_sim.camera_sensor import camera_records
from aisle_sim.enacted_events import enact
from aisle_sim.gate_sensor import gate_records
from aisle_sim.item_camera import ItemCamera
from aisle_sim.labelled_sessions import LabelledSession
from aisle_sim.profiles import SensorProfile, find_profile
from aisle_sim.random_streams import random_stream
from aisle_sim.reenactment import Reenactment, reenact
from aisle_sim.scale_model import ScaleModel, load_scale_model
from aisle_sim.scale_sensor import ShelfLoads, scale_records
from aisle_store.store import Store

#: 2020-01-01 00:00:00 UTC.
DEFAULT_START_NS = 1_577_836_800 * NANOSECONDS

SensorRecord = PersonDetections | ScaleReading | GateEvent | ItemObservation


@dataclass(frozen=True, eq=False)
class SimulatedSession:
    """``records`` by stamp; ``truth``: shopper -> product -> items that he leaves with; ``reenactment``: bodies and hands as they
    really were, in seconds from ``start_ns``."""

    session: str
    records: list[SensorRecord]
    truth: dict[str, dict[str, int]]
    start_ns: int
    end_ns: int
    reenactment: Reenactment
    warnings: tuple[str, ...]


def simulate(
    store: Store,
    session: LabelledSession,
    profile: SensorProfile | str = "nominal",
    seed: int = 0,
    start_ns: int = DEFAULT_START_NS,
    loads: ShelfLoads | None = None,
    model: ScaleModel | None = None,
) -> SimulatedSession:
    """Plays one session and gives what the store's sensors would have recorded; the same for the same arguments.

    ``loads`` continues the shelves of a session before (and is updated). Raises SessionFileError for labels that do not fit the
    store, NoWayError where people cannot walk, ValueError for an unknown profile.
    """
    profile = find_profile(profile) if isinstance(profile, str) else profile
    enactment = enact(store, session)
    reenactment = reenact(store, session.session, enactment.events, profile.hands, seed)
    end_ns = start_ns + round(reenactment.duration_s * NANOSECONDS)
    records: list[SensorRecord] = [
        *gate_records(store, reenactment.crossings, start_ns, end_ns),
        *camera_records(store, reenactment, profile.cameras, seed, session.session, start_ns, profile.camera_troubles),
        *scale_records(store, reenactment, profile, model or load_scale_model(), seed, session.session, start_ns, loads),
    ]
    if profile.item_camera.accuracy:
        camera = ItemCamera(store, profile.item_camera, random_stream(seed, "item camera", session.session), start_ns)
        records += camera.records(reenactment.shoppers)
    records.sort(key=record_order)
    warnings = (*enactment.warnings, *(f"session '{session.session}': {warning}" for warning in reenactment.warnings))
    return SimulatedSession(session.session, records, enactment.truth, start_ns, end_ns, reenactment, warnings)


def simulate_in_sequence(
    store: Store,
    sessions: Iterable[LabelledSession],
    profile: SensorProfile | str = "nominal",
    seed: int = 0,
    start_ns: int = DEFAULT_START_NS,
) -> Iterator[SimulatedSession]:
    """Sessions one after the other on the same shelves: each begins where the last ended, and the plates go on from there.

    The store is empty for some seconds between them. Only one session is held at a time.
    """
    loads = ShelfLoads()
    model = load_scale_model()
    for session in sessions:
        simulated = simulate(store, session, profile, seed, start_ns, loads, model)
        start_ns = simulated.end_ns
        yield simulated


def iter_records(
    store: Store,
    sessions: Iterable[LabelledSession],
    profile: SensorProfile | str = "nominal",
    seed: int = 0,
    start_ns: int = DEFAULT_START_NS,
) -> Iterator[SensorRecord]:
    """Records of several sessions in sequence, by stamp."""
    for simulated in simulate_in_sequence(store, sessions, profile, seed, start_ns):
        yield from simulated.records


def record_order(record: SensorRecord) -> tuple[int, int, str, str]:
    """By stamp; what comes at the same time by kind and source."""
    if isinstance(record, GateEvent):
        return (record.stamp_ns, 0, record.gate, "")
    if isinstance(record, PersonDetections):
        return (record.stamp_ns, 1, record.camera, "")
    if isinstance(record, ItemObservation):
        return (record.stamp_ns, 3, record.source, "")
    return (record.stamp_ns, 2, record.gondola, record.shelf)
