"""The graph's QoS profiles, as data. ``aisle_contract.base_node.to_rclpy`` makes rclpy profiles of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """History is keep-last ``depth``."""

    name: str
    reliable: bool
    transient_local: bool
    depth: int


#: Images: the newest frame matters, a lost one does not.
SENSOR = Profile("sensor", reliable=False, transient_local=False, depth=5)
#: What decisions are made from: nothing may be lost; the depth holds seconds of the fastest topic.
STREAM = Profile("stream", reliable=True, transient_local=False, depth=200)
#: What a late joiner must still get: carts, receipts, alerts, markers.
STATE = Profile("state", reliable=True, transient_local=True, depth=100)
#: As tf2's static broadcaster.
STATIC = Profile("static", reliable=True, transient_local=True, depth=1)
#: As rosbag2's player and rclpy's time source.
CLOCK = Profile("clock", reliable=False, transient_local=False, depth=1)
