"""ROS node of ``cart_fusion``: tracks, shelf events, gate events and item observations in, carts and alerts out."""

from __future__ import annotations

from typing import Any

from aisle_contract import topics
from aisle_contract.base_node import CoreNode, run
from aisle_fusion.cart_fusion import CartFusion, CartFusionConfig
from aisle_store.store_files import load_store


class CartFusionNode(CoreNode):
    def __init__(self, **options: Any) -> None:
        super().__init__("cart_fusion", **options)
        config = self.declare(CartFusionConfig)
        store = load_store(self.store_folder())
        gates = [topics.gate_events(gate) for gate in store.gates]
        self.run_core(
            lambda: CartFusion(store, config),
            inputs=[topics.TRACKS, topics.SHELF_EVENTS, topics.ITEM_OBSERVATIONS, *gates],
            outputs=[topics.CARTS, topics.ALERTS],
        )


def main() -> int:
    return run(CartFusionNode)
