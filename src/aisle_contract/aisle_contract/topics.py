"""Names, types and QoS of the graph's topics, relative to the store's namespace.

A ROS name token must not begin with a digit, so ids are prefixed (camera ``1`` publishes below ``cameras/camera_1``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aisle_contract import qos

#: Ids of cameras, gondolas, shelves, plates and gates: what may stand in a ROS name after a prefix.
ID_PATTERN = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Topic:
    """``type`` is the ROS type name; ``qos`` one of the profiles of ``aisle_contract.qos``."""

    name: str
    type: str
    qos: qos.Profile


def image(camera_id: str) -> Topic:
    return Topic(f"cameras/camera_{camera_id}/image_raw", "sensor_msgs/msg/Image", qos.SENSOR)


def compressed_image(camera_id: str) -> Topic:
    return Topic(f"cameras/camera_{camera_id}/image_raw/compressed", "sensor_msgs/msg/CompressedImage", qos.SENSOR)


def camera_info(camera_id: str) -> Topic:
    return Topic(f"cameras/camera_{camera_id}/camera_info", "sensor_msgs/msg/CameraInfo", qos.SENSOR)


def detections(camera_id: str) -> Topic:
    return Topic(f"cameras/camera_{camera_id}/detections", "aisle_msgs/msg/PersonDetectionArray", qos.STREAM)


def weights(gondola_id: str, shelf_id: str) -> Topic:
    return Topic(f"shelves/gondola_{gondola_id}/shelf_{shelf_id}/weights", "aisle_msgs/msg/ScaleReading", qos.STREAM)


def gate_events(gate_id: str) -> Topic:
    return Topic(f"gates/gate_{gate_id}/events", "aisle_msgs/msg/GateEvent", qos.STREAM)


TRACKS = Topic("tracks", "aisle_msgs/msg/TrackArray", qos.STREAM)
SHELF_EVENTS = Topic("shelf_events", "aisle_msgs/msg/ShelfEventArray", qos.STREAM)
ITEM_OBSERVATIONS = Topic("item_observations", "aisle_msgs/msg/ItemObservation", qos.STREAM)
CARTS = Topic("carts", "aisle_msgs/msg/Cart", qos.STATE)
RECEIPTS = Topic("receipts", "aisle_msgs/msg/Receipt", qos.STATE)
REVIEWS = Topic("reviews", "aisle_msgs/msg/Review", qos.STATE)
ALERTS = Topic("alerts", "aisle_msgs/msg/Alert", qos.STATE)
MARKERS = Topic("markers", "visualization_msgs/msg/MarkerArray", qos.STATE)
DIAGNOSTICS = Topic("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", qos.STREAM)
TF_STATIC = Topic("/tf_static", "tf2_msgs/msg/TFMessage", qos.STATIC)
CLOCK = Topic("/clock", "rosgraph_msgs/msg/Clock", qos.CLOCK)
