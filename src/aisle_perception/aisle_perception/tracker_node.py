"""The tracker as a ROS node: detections of all cameras in, tracks out."""

from __future__ import annotations

from typing import Any

from aisle_contract import topics
from aisle_contract.base_node import CoreNode, run
from aisle_perception.tracker import PersonTracker, TrackerConfig
from aisle_store.store_files import load_store


class TrackerNode(CoreNode):
    """Runs ``PersonTracker`` on the detections of the store's cameras."""

    def __init__(self, **options: Any) -> None:
        super().__init__("tracker", **options)
        config = self.declare(TrackerConfig)
        store = load_store(self.store_folder())
        self.run_core(
            PersonTracker(store, config),
            inputs=[topics.detections(camera) for camera in store.cameras],
            outputs=[topics.TRACKS],
        )


def main() -> int:
    return run(TrackerNode)
