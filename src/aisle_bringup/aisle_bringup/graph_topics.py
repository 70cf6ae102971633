"""Which topics the nodes of a graph take and give, for showing the graph without running it."""

from __future__ import annotations

from dataclasses import dataclass

from aisle_bringup.graph import NodeSpec
from aisle_contract import topics
from aisle_store.store import Store


@dataclass(frozen=True)
class NodeTopics:
    """Topic names relative to the graph's namespace."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def node_topics(store: Store, node: NodeSpec) -> NodeTopics:
    """What a node of ``graph.build_graph`` subscribes and publishes, without /diagnostics, which all publish."""
    detections = [topics.detections(camera) for camera in store.cameras]
    weights = [topics.weights(shelf.gondola, shelf.shelf) for shelf in store.shelves()]
    gates = [topics.gate_events(gate) for gate in store.gates]
    camera, gate = node.parameters.get("camera", ""), node.parameters.get("gate", "")
    cameras = camera.split(",")
    table: dict[str, tuple[list[topics.Topic], list[topics.Topic]]] = {
        "simulated_sensors_node": ([], [*detections, *weights, *gates]),
        "video_camera_node": ([], [topics.image(camera), topics.compressed_image(camera), topics.camera_info(camera)]),
        "detector_node": ([topics.image(c) for c in cameras], [topics.detections(c) for c in cameras]),
        "serial_scale_node": ([], weights),
        "qr_gate_node": ([topics.image(camera)] if camera else [], [topics.gate_events(gate)]),
        "tracker_node": (detections, [topics.TRACKS]),
        "shelf_monitor_node": (weights, [topics.SHELF_EVENTS]),
        "cart_fusion_node": ([topics.TRACKS, topics.SHELF_EVENTS, topics.ITEM_OBSERVATIONS, *gates], [topics.CARTS, topics.ALERTS]),
        "checkout_node": ([topics.CARTS], [topics.RECEIPTS, topics.REVIEWS, topics.ALERTS]),
        "marker_node": ([topics.TRACKS, topics.SHELF_EVENTS, topics.CARTS], [topics.MARKERS, topics.TF_STATIC]),
        "recorder_node": ([*detections, *weights, *gates, topics.TRACKS, topics.SHELF_EVENTS, topics.CARTS, topics.RECEIPTS], []),
    }
    inputs, outputs = table[node.executable]
    return NodeTopics(tuple(topic.name for topic in inputs), tuple(topic.name for topic in outputs))
