"""Publishes the store's frames on /tf_static and everything to see as markers for RViz (``rviz/store.rviz``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Quaternion, TransformStamped, Vector3
from rclpy.clock import Clock, ClockType
from std_msgs.msg import ColorRGBA
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from aisle_contract import frames, topics
from aisle_contract.base_node import CoreNode, run
from aisle_contract.conversions import header_message
from aisle_contract.records import Record
from aisle_store.store_files import load_store
from aisle_viz.frame_tree import FixedTransform, fixed_transforms
from aisle_viz.markers import Kind, MarkerScene, MarkersConfig, Shape, furniture

MARKER_TYPES = {
    Kind.ARROW: Marker.ARROW,
    Kind.SPHERE: Marker.SPHERE,
    Kind.CYLINDER: Marker.CYLINDER,
    Kind.LINE_STRIP: Marker.LINE_STRIP,
    Kind.LINE_LIST: Marker.LINE_LIST,
    Kind.TRIANGLE_LIST: Marker.TRIANGLE_LIST,
    Kind.TEXT: Marker.TEXT_VIEW_FACING,
    Kind.DELETE: Marker.ARROW,
}


class MarkerNode(CoreNode):
    def __init__(self, **options: Any) -> None:
        super().__init__("markers", **options)
        config = self.declare(MarkersConfig)
        store = load_store(self.store_folder())
        self._scene = MarkerScene(store, config)
        self.advertise(topics.MARKERS, topics.TF_STATIC)
        self.send(topics.TF_STATIC, TFMessage(transforms=[_transform_message(transform) for transform in fixed_transforms(store)]))
        for topic in (topics.TRACKS, topics.SHELF_EVENTS, topics.CARTS):
            self.subscribe(topic, self._show)
        # The history that late joiners get holds only the newest markers, so the furniture comes again and again.
        still = MarkerArray(markers=[_marker(shape) for shape in furniture(store)])
        self.send(topics.MARKERS, still)
        self.on_new_time(lambda: self._begin(MarkerScene(store, config), still))
        self.create_timer(config.refresh_s, lambda: self.send(topics.MARKERS, still), clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _begin(self, scene: MarkerScene, still: MarkerArray) -> None:
        self._scene = scene
        self.send(topics.MARKERS, MarkerArray(markers=[Marker(action=Marker.DELETEALL)]))
        self.send(topics.MARKERS, still)

    def _show(self, record: Record) -> None:
        shapes = self._scene.step(record)
        if shapes:
            self.send(topics.MARKERS, MarkerArray(markers=[_marker(shape) for shape in shapes]))


def _marker(shape: Shape) -> Marker:
    """Stamp zero: shown as soon as it comes, in the fixed frame, whatever the time is."""
    marker = Marker(ns=shape.namespace, id=shape.number, type=MARKER_TYPES[shape.kind])
    marker.header.frame_id = frames.STORE
    marker.action = Marker.DELETE if shape.kind == Kind.DELETE else Marker.ADD
    marker.pose.position = _point(shape.position)
    marker.scale = Vector3(x=float(shape.size[0]), y=float(shape.size[1]), z=float(shape.size[2]))
    red, green, blue, alpha = map(float, shape.colour)
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
    marker.points = [_point(point) for point in shape.points]
    marker.text = shape.text
    return marker


def _point(values: np.ndarray) -> Point:
    x, y, z = map(float, values)
    return Point(x=x, y=y, z=z)


def _transform_message(transform: FixedTransform) -> TransformStamped:
    message = TransformStamped(header=header_message(0, transform.parent), child_frame_id=transform.child)
    x, y, z = map(float, transform.translation)
    message.transform.translation = Vector3(x=x, y=y, z=z)
    x, y, z, w = map(float, transform.rotation)
    message.transform.rotation = Quaternion(x=x, y=y, z=z, w=w)
    return message


def main() -> int:
    return run(MarkerNode)
