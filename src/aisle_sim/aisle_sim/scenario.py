"""Scenarios: short scenes written down as YAML, each to show one thing, played by the simulator with a fixed seed.

Example::

    format: 1
    title: A slow pick
    shows: A lift over four seconds is one event.
    store: nanostore-2019-11
    shelves: [3/5, 4/6]
    cameras: ["5", "6", "23"]
    hands: {slow_share: 1.0, slow_lift_min_s: 4.0, slow_lift_max_s: 4.5}
    events:
    - {t_s: 0, person: ann, action: pick, gondola: 3, shelf: 5, plates: [4, 5], products: ["835144009066"]}

Who took a thing from a shelf has it, until he puts it on a shelf again: also when it is handed to somebody else or left on the floor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from aisle_contract.config import from_mapping
from aisle_contract.records import NANOSECONDS, STAFF_PREFIX, PersonDetections, ScaleReading
from aisle_sim.camera_sensor import camera_records
from aisle_sim.enacted_events import enact
from aisle_sim.gate_sensor import gate_records
from aisle_sim.labelled_sessions import LabelledEvent, LabelledSession, SessionFileError
from aisle_sim.profiles import PROFILES, SensorProfile, find_profile
from aisle_sim.reenactment import Reach, Reenactment, ShopperMotion, reenact
from aisle_sim.scale_model import load_scale_model
from aisle_sim.scale_sensor import scale_records
from aisle_sim.simulator import DEFAULT_START_NS, SensorRecord
from aisle_store.store import Store
from aisle_store.store_documents import StoreError, read_document

#: Hands reach no farther across from one person to another.
_HAND_OVER_REACH_M = 1.3
_HAND_OVER_HEIGHT_M = 1.05
_FLOOR_HEIGHT_M = 0.08
_FLOOR_AHEAD_M = 0.4
_GESTURE_S = 0.6


class ScenarioError(ValueError):
    """A scenario cannot be used: the message names the file and field, what was found and what was expected."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShelfAction(_Model):
    """Something taken from plates or put on them. ``t_s``: s from the scenario's first event."""

    t_s: float = Field(ge=0, le=86_400)
    person: str = Field(min_length=1)
    action: Literal["pick", "put_back"]
    gondola: str
    shelf: str
    plates: tuple[str, ...] = Field(min_length=1)
    products: tuple[str, ...] = Field(min_length=1)


class HandOver(_Model):
    """One person gives a thing to another who stands near."""

    t_s: float = Field(ge=0, le=86_400)
    person: str = Field(min_length=1)
    action: Literal["hand_over"]
    to: str = Field(min_length=1)
    products: tuple[str, ...] = Field(min_length=1)


class LeaveOnFloor(_Model):
    """A person lays a thing on the floor where he stands."""

    t_s: float = Field(ge=0, le=86_400)
    person: str = Field(min_length=1)
    action: Literal["leave"]
    products: tuple[str, ...] = Field(min_length=1)


class CameraFault(_Model):
    """A camera's detections do not come, from s to s of the simulated time."""

    camera: str
    from_s: float = Field(ge=0)
    until_s: float


class ScaleFault(_Model):
    """A shelf's plates drift, or give nothing, from s to s of the simulated time. ``plates``: all where none is named."""

    gondola: str
    shelf: str
    plates: tuple[str, ...] = ()
    from_s: float = Field(ge=0)
    until_s: float
    drift_kg_per_s: float = 0.0
    silent: bool = False


class Scenario(_Model):
    """One scene. ``shelves`` (``<gondola>/<shelf>``) and ``cameras``: those that there are; all of the store's where none is named.

    ``hands``, ``detections``, ``scales``: what differs from the sensor profile (``aisle_sim.profiles``).
    """

    format: Literal["1"]
    title: str = Field(min_length=1)
    shows: str = Field(min_length=1)
    store: str
    shelves: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    profile: str = "nominal"
    hands: dict[str, str] = {}
    detections: dict[str, str] = {}
    scales: dict[str, str] = {}
    seed: int = Field(default=0, ge=0)
    events: tuple[Annotated[ShelfAction | HandOver | LeaveOnFloor, Field(discriminator="action")], ...] = Field(min_length=1)
    camera_faults: tuple[CameraFault, ...] = ()
    scale_faults: tuple[ScaleFault, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class PlayedScenario:
    """``records``: by kind, each kind by stamp. ``truth``: shopper -> product -> pieces that he leaves with, without the staff."""

    store: Store
    records: list[SensorRecord]
    truth: dict[str, dict[str, int]]
    start_ns: int
    end_ns: int
    warnings: tuple[str, ...]


def load_scenario(path: Path) -> Scenario:
    """Reads and checks a scenario. Raises ScenarioError with every problem of the file."""
    try:
        return read_document(Path(path), Scenario)
    except StoreError as error:
        raise ScenarioError(str(error)) from None


def part_of(store: Store, scenario: Scenario, where: str) -> Store:
    """The store with the scenario's shelves and cameras alone. Raises ScenarioError for one that the store lacks."""
    known = {"/".join(shelf.key): shelf.key for shelf in store.shelves()}
    _check_known(where, "shelves", scenario.shelves, known)
    _check_known(where, "cameras", scenario.cameras, store.cameras)
    wanted = {known[name] for name in scenario.shelves or known}
    gondolas = {}
    for name, gondola in store.gondolas.items():
        shelves = {key: shelf for key, shelf in gondola.shelves.items() if shelf.key in wanted}
        if shelves:
            gondolas[name] = dataclasses.replace(gondola, shelves=shelves)
    return dataclasses.replace(
        store,
        gondolas=gondolas,
        cameras={name: camera for name, camera in store.cameras.items() if name in (scenario.cameras or store.cameras)},
        planogram={key: products for key, products in store.planogram.items() if key[:2] in wanted},
    )


def play(scenario: Scenario, store: Store, where: str, start_ns: int = DEFAULT_START_NS) -> PlayedScenario:
    """What the store's sensors would have recorded; the same for the same arguments. ``where`` names the scenario in errors.

    Raises ScenarioError for what does not fit the store, NoWayError (``aisle_sim.floor_motion``) where people cannot walk.
    """
    store = part_of(store, scenario, where)
    profile = _profile(scenario, where)
    try:
        enactment = enact(store, _session(scenario))
    except SessionFileError as error:
        raise ScenarioError(f"{where}: {error}") from None
    name = scenario.title
    reenactment = reenact(store, name, enactment.events, profile.hands, scenario.seed)
    end_ns = start_ns + round(reenactment.duration_s * NANOSECONDS)
    seen = _with_gestures(scenario, reenactment, where)
    records: list[SensorRecord] = [
        *gate_records(store, reenactment.crossings, start_ns, end_ns),
        *_camera_faults(scenario, camera_records(store, seen, profile.cameras, scenario.seed, name, start_ns), start_ns, where),
        *_scale_faults(scenario, scale_records(store, reenactment, profile, load_scale_model(), scenario.seed, name, start_ns), start_ns),
    ]
    truth = {person: items for person, items in enactment.truth.items() if not person.startswith(STAFF_PREFIX)}
    return PlayedScenario(store, records, truth, start_ns, end_ns, (*enactment.warnings, *reenactment.warnings))


def _check_known(where: str, field: str, names: tuple[str, ...], known: dict[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise ScenarioError(f"{where}: {field}: found '{name}', expected some of {', '.join(known)}")


def _profile(scenario: Scenario, where: str) -> SensorProfile:
    if scenario.profile not in PROFILES:
        raise ScenarioError(f"{where}: profile: found '{scenario.profile}', expected one of {', '.join(PROFILES)}")
    profile = find_profile(scenario.profile)
    parts = {"hands": scenario.hands, "cameras": scenario.detections, "scales": scenario.scales}
    changed = {}
    for part, texts in parts.items():
        config = getattr(profile, part)
        try:
            changed[part] = from_mapping(type(config), {**dataclasses.asdict(config), **_numbers(texts)}, f"{where}: {part}")
        except ValueError as error:
            raise ScenarioError(str(error)) from None
    return dataclasses.replace(profile, **changed)


def _numbers(texts: dict[str, str]) -> dict[str, Any]:
    """YAML is read as text so that ids keep their zeros; here values are wanted."""
    switches = {"true": True, "false": False}
    return {name: switches[text] if text in switches else float(text) for name, text in texts.items()}


def _session(scenario: Scenario) -> LabelledSession:
    events = (event for event in scenario.events if isinstance(event, ShelfAction))
    labelled = (
        LabelledEvent(event.t_s, event.person, event.action, event.gondola, event.shelf, event.plates, event.products) for event in events
    )
    return LabelledSession(scenario.title, tuple(labelled))


# What only cameras see


def _with_gestures(scenario: Scenario, reenactment: Reenactment, where: str) -> Reenactment:
    """The same people with the hands where they hand something over or lay it down; no shelf feels that."""
    shoppers = {shopper.person: shopper for shopper in reenactment.shoppers}
    for event in scenario.events:
        if isinstance(event, ShelfAction):
            continue
        time_s = event.t_s + reenactment.lead_in_s
        for person, target in _targets(event, shoppers, time_s, where):
            towards = target[:2] - _place(shoppers[person], time_s)
            facing = float(np.arctan2(towards[1], towards[0]))
            reach = Reach(time_s, 0.0, _GESTURE_S, person, event.action, (), event.products, target, facing)
            shoppers[person] = shoppers[person].with_gesture(reach)
    return dataclasses.replace(reenactment, shoppers=tuple(shoppers.values()))


def _targets(
    event: HandOver | LeaveOnFloor, shoppers: dict[str, ShopperMotion], time_s: float, where: str
) -> Iterator[tuple[str, np.ndarray]]:
    """Whose wrist is where, [3] m."""
    place = _place_of(event.person, shoppers, time_s, where)
    if isinstance(event, LeaveOnFloor):
        yield event.person, np.append(place + _FLOOR_AHEAD_M * np.array([0.0, -1.0]), _FLOOR_HEIGHT_M)
        return
    other = _place_of(event.to, shoppers, time_s, where)
    apart = float(np.linalg.norm(other - place))
    if apart > _HAND_OVER_REACH_M:
        raise ScenarioError(
            f"{where}: '{event.person}' and '{event.to}' are {apart:.1f} m apart at t_s {event.t_s:g}, "
            f"expected at most {_HAND_OVER_REACH_M} m for handing something over: let them be at neighbouring plates then"
        )
    middle = np.append((place + other) / 2, _HAND_OVER_HEIGHT_M)
    yield event.person, middle
    yield event.to, middle


def _place_of(person: str, shoppers: dict[str, ShopperMotion], time_s: float, where: str) -> np.ndarray:
    if person not in shoppers:
        raise ScenarioError(f"{where}: person '{person}' takes nothing from a shelf, expected one of {', '.join(shoppers)}")
    if not shoppers[person].present(np.array([time_s]))[0]:
        raise ScenarioError(f"{where}: person '{person}' is not in the store at {time_s:.1f} s")
    return _place(shoppers[person], time_s)


def _place(shopper: ShopperMotion, time_s: float) -> np.ndarray:
    return shopper.position(np.array([time_s]))[0]


# What is broken


def _camera_faults(scenario: Scenario, records: list[PersonDetections], start_ns: int, where: str) -> list[PersonDetections]:
    cameras = {record.camera: None for record in records}
    _check_known(where, "camera_faults", tuple(fault.camera for fault in scenario.camera_faults), cameras)

    def comes(record: PersonDetections) -> bool:
        at_s = (record.stamp_ns - start_ns) / NANOSECONDS
        return not any(fault.camera == record.camera and fault.from_s <= at_s < fault.until_s for fault in scenario.camera_faults)

    return [record for record in records if comes(record)]


def _scale_faults(scenario: Scenario, records: list[ScaleReading], start_ns: int) -> list[ScaleReading]:
    for fault in scenario.scale_faults:
        changed: Callable[[ScaleReading], ScaleReading | None] = _silenced(fault, start_ns) if fault.silent else _drifting(fault, start_ns)
        found = (changed(record) if (record.gondola, record.shelf) == (fault.gondola, fault.shelf) else record for record in records)
        records = [record for record in found if record is not None]
    return records


def _silenced(fault: ScaleFault, start_ns: int) -> Callable[[ScaleReading], ScaleReading | None]:
    def change(record: ScaleReading) -> ScaleReading | None:
        at_s = (record.stamp_ns - start_ns) / NANOSECONDS
        return None if fault.from_s <= at_s < fault.until_s else record

    return change


def _drifting(fault: ScaleFault, start_ns: int) -> Callable[[ScaleReading], ScaleReading]:
    def change(record: ScaleReading) -> ScaleReading:
        at_s = (record.stamp_ns - start_ns + np.arange(len(record.weights)) * record.sample_period_ns) / NANOSECONDS
        drift_kg = fault.drift_kg_per_s * (np.clip(at_s, fault.from_s, fault.until_s) - fault.from_s)
        drifts = np.array([not fault.plates or plate in fault.plates for plate in record.plates])
        weights = record.weights + np.outer(drift_kg, drifts).astype(np.float32)
        return dataclasses.replace(record, weights=weights.astype(np.float32))

    return change
