"""Publishes what simulated cameras, shelves and gates give while labelled sessions are re-enacted, in real time or faster, and /clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rosgraph_msgs.msg import Clock as ClockMessage

from aisle_contract import topics
from aisle_contract.base_node import CoreNode, run
from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, Diagnostic, DiagnosticLevel
from aisle_sim.labelled_sessions import LabelledSession, load_sessions, select_sessions
from aisle_sim.live_schedule import LiveSchedule
from aisle_sim.profiles import find_profile
from aisle_sim.simulator import simulate_in_sequence
from aisle_store.store_files import load_store


@dataclass(frozen=True)
class SimulatedSensorsConfig:
    """Parameters of the simulated sensors."""

    sessions: str = parameter("", "File of labelled sessions (JSON)")
    session_ids: str = parameter("", "Names of the sessions to play, separated by commas, in this order; empty: all")
    profile: str = parameter("nominal", "How good the sensors are: clean, nominal, harsh or adverse")
    seed: int = parameter(0, "Seed of everything random", 0)
    speed: float = parameter(1.0, "How many times faster than real time", 0.01, 100.0)
    listeners_timeout_s: float = parameter(30.0, "The graph's nodes are waited for at most this long before playing, s", 0.0, 600.0)
    tick_s: float = parameter(0.01, "Records that are due are sent, and /clock with them, this often, s", 0.001, 1.0)


class SimulatedSensorsNode(CoreNode):
    """Waits for listeners, plays the sessions one after the other, and then goes on with an empty store until it is stopped."""

    #: None until the parameters were found good: a node that refuses them is destroyed half-made.
    _schedule: LiveSchedule | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__("simulated_sensors", **options)
        self._config = config = self.declare(SimulatedSensorsConfig)
        store = load_store(self.store_folder())
        if not config.sessions:
            raise ValueError(
                f"node '{self.get_fully_qualified_name()}': parameter 'sessions' is not set, expected a file of labelled sessions"
            )
        sessions = select_sessions(load_sessions(config.sessions), config.session_ids, config.sessions)
        profile = find_profile(config.profile)
        self._sensor_topics = [
            *(topics.detections(camera) for camera in store.cameras),
            *(topics.weights(*shelf.key) for shelf in store.shelves() if shelf.plates),
            *(topics.gate_events(gate) for gate in store.gates),
        ]
        self.advertise(*self._sensor_topics, topics.CLOCK)
        then_empty = chain(sessions, repeat(LabelledSession("empty store", ())))
        self._schedule = LiveSchedule(simulate_in_sequence(store, then_empty, profile, config.seed), config.speed)
        self._made_s = time.monotonic()
        self._playing = self._all_played = False
        self._sent = 0
        self.create_timer(config.tick_s, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def own_diagnostics(self) -> list[Diagnostic]:
        behind_s = self._schedule.behind_s
        level = DiagnosticLevel.WARN if behind_s > 0.5 else DiagnosticLevel.OK
        text = "playing" if self._playing else "waiting for listeners"
        return [Diagnostic("re-enactment", level, text, (("records sent", str(self._sent)), ("behind", f"{behind_s:.2f} s")))]

    def destroy_node(self) -> None:
        if self._schedule is not None:
            self._schedule.close()
        super().destroy_node()

    def _tick(self) -> None:
        if not self._playing:
            self._playing = self._schedule.ready and self._listened_to()
            return
        records = self._schedule.due(time.monotonic())
        self._announce()
        for record in records:
            self.publish(record)
        self._sent += len(records)
        second, nanosecond = divmod(self._schedule.position_ns, NANOSECONDS)
        self.send(topics.CLOCK, ClockMessage(clock=Time(sec=second, nanosec=nanosecond)))

    def _announce(self) -> None:
        for begun in self._schedule.begun:
            if begun.reenactment.shoppers:
                self.get_logger().info(f"session '{begun.session}' begins: {len(begun.reenactment.shoppers)} shoppers")
            elif not self._all_played:
                self._all_played = True
                self.get_logger().info("all sessions are played; the store stays empty")
            for text in begun.warnings:
                self.warn(text)
        self._schedule.begun.clear()

    def _listened_to(self) -> bool:
        """Whether every sensor has a listener, or the time for waiting is over."""
        missing = [topic.name for topic in self._sensor_topics if not self.has_listeners(topic)]
        if missing and time.monotonic() - self._made_s < self._config.listeners_timeout_s:
            return False
        if missing:
            self.get_logger().warning(f"nobody listens to {', '.join(missing)}; playing all the same")
        return True


def main() -> int:
    return run(SimulatedSensorsNode)


if __name__ == "__main__":
    raise SystemExit(main())
