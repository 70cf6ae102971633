"""Runs the shelf monitor: weights of all shelves in, shelf events out."""

from __future__ import annotations

from typing import Any

from aisle_contract import topics
from aisle_contract.base_node import CoreNode, run
from aisle_fusion.shelf_monitor import ShelfMonitor
from aisle_fusion.shelf_monitor_config import ShelfMonitorConfig
from aisle_store.store_files import load_store


class ShelfMonitorNode(CoreNode):
    def __init__(self, **options: Any) -> None:
        super().__init__("shelf_monitor", **options)
        config = self.declare(ShelfMonitorConfig)
        store = load_store(self.store_folder())
        self.run_core(
            lambda: ShelfMonitor(store, config),
            inputs=[topics.weights(*shelf.key) for shelf in store.shelves()],
            outputs=[topics.SHELF_EVENTS],
        )


def main() -> int:
    return run(ShelfMonitorNode)
