"""A crowd in a store as its sensors record it: window by window, in bounded memory, with the truth of every visit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aisle_contract.records import NANOSECONDS
from aisle_sim.camera_sensor import CameraSensor
from aisle_sim.crowd_config import CrowdConfig
from aisle_sim.crowd_world import CrowdWorld, Visit
from aisle_sim.gate_sensor import gate_records
from aisle_sim.item_camera import ItemCamera
from aisle_sim.profiles import SensorProfile, find_profile
from aisle_sim.random_streams import random_stream
from aisle_sim.reenactment import GateCrossing
from aisle_sim.scale_model import load_scale_model
from aisle_sim.scale_sensor import Knock, ScaleSensor, footfalls, store_knocks
from aisle_sim.shelf_contacts import ShelfContact
from aisle_sim.simulator import DEFAULT_START_NS, SensorRecord, record_order
from aisle_store.store import Store

_WINDOW_S = 10.0
_EMPTY_AFTER_S = 5.0
_SESSION = "crowd"
#: A batch of weights is stamped with its first sample, and made when its last one is.
_BATCH_S = 0.3


@dataclass(frozen=True, eq=False)
class CrowdWindow:
    """Some seconds of a crowd: all records of ``start_ns`` <= stamp < ``end_ns``, by stamp, and the visits that ended in them."""

    start_ns: int
    end_ns: int
    records: list[SensorRecord]
    visits: tuple[Visit, ...]


def simulate_crowd(
    store: Store,
    minutes: float,
    config: CrowdConfig | None = None,
    profile: SensorProfile | str = "nominal",
    seed: int = 0,
    start_ns: int = DEFAULT_START_NS,
) -> Iterator[CrowdWindow]:
    """Lets people in for ``minutes``, then waits until all have left. The same arguments give the same records.

    People are simulated ahead of their sensors until everybody in the window has left; memory grows with the people in the store and
    not with the time. Raises ValueError for a store without gates or goods.
    """
    profile = find_profile(profile) if isinstance(profile, str) else profile
    return iter(_Crowd(store, 60.0 * minutes, config or CrowdConfig(), profile, seed, start_ns))


class _Crowd:
    def __init__(self, store: Store, open_s: float, config: CrowdConfig, profile: SensorProfile, seed: int, start_ns: int) -> None:
        self._store, self._open_s, self._profile, self._start_ns = store, open_s, profile, start_ns
        self._world = CrowdWorld(store, config, profile, seed)
        self._model = load_scale_model()
        self._cameras = CameraSensor(store, profile.cameras, seed, _SESSION, start_ns, profile.camera_troubles)
        self._scales = ScaleSensor(store, profile, self._model, seed, _SESSION, start_ns, self._world.stock.initial_kg)
        self._items: ItemCamera | None = None
        if profile.item_camera.accuracy:
            self._items = ItemCamera(store, profile.item_camera, random_stream(seed, "item camera", _SESSION), start_ns)
        self._vibration = random_stream(seed, "vibration", _SESSION)
        self._present: list[Visit] = []
        self._contacts: list[ShelfContact] = []
        self._knocks: list[Knock] = []
        self._crossings: list[GateCrossing] = []
        self._late: list[SensorRecord] = []
        self._given_ns = start_ns

    def __iter__(self) -> Iterator[CrowdWindow]:
        at_s = 0.0
        while True:
            self._live_until(at_s + _WINDOW_S)
            empty = self._world.now_s >= self._open_s and not self._world.people
            end_s = max((visit.motion.last_s for visit in self._present), default=at_s) + _EMPTY_AFTER_S
            is_last = empty and end_s <= at_s + _WINDOW_S
            until_s = max(end_s, at_s) if is_last else at_s + _WINDOW_S
            yield self._window(at_s, until_s, is_last)
            if is_last:
                return
            at_s = until_s

    def _live_until(self, until_s: float) -> None:
        """Until all who came before ``until_s`` have left."""
        world = self._world
        while world.now_s < until_s or world.oldest_s < until_s:
            if world.now_s >= self._open_s and not world.people:
                return
            for visit in world.step(open_for_entry=world.now_s < self._open_s):
                self._present.append(visit)
                self._contacts += visit.contacts
                self._knocks += footfalls(visit.motion, self._profile.scales, self._vibration)
                self._crossings += visit.crossings
                if self._items is not None:
                    self._late += self._items.records([visit.motion])

    def _window(self, at_s: float, until_s: float, is_last: bool) -> CrowdWindow:
        knocks = self._knocks + store_knocks(self._model, self._profile.scales, at_s, until_s, self._vibration)
        shoppers = [visit.motion for visit in self._present if visit.motion.first_s < until_s]
        end = self._start_ns + round((until_s if is_last else until_s - _BATCH_S) * NANOSECONDS)
        records = self._late + self._cameras.advance(until_s, shoppers) + self._scales.advance(until_s, self._contacts, knocks)
        records += gate_records(self._store, self._crossings, self._start_ns, end, self._given_ns)
        records.sort(key=record_order)
        self._contacts, self._knocks = [], []
        self._crossings = [crossing for crossing in self._crossings if self._start_ns + round(crossing.time_s * NANOSECONDS) >= end]
        gone = [visit for visit in self._present if visit.motion.last_s < until_s]
        self._present = [visit for visit in self._present if visit.motion.last_s >= until_s]
        self._late = [] if is_last else [record for record in records if record.stamp_ns >= end]
        start, self._given_ns = self._given_ns, end
        return CrowdWindow(start, end, [record for record in records if is_last or record.stamp_ns < end], tuple(gone))
