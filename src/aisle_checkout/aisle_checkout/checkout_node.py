"""Runs the checkout: carts in; receipts, reviews and alerts out; receipt files and a ledger where they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisle_checkout.checkout import Checkout, CheckoutConfig
from aisle_checkout.ledger import LedgerPayments
from aisle_checkout.receipt_files import write_receipt
from aisle_contract import topics
from aisle_contract.base_node import CoreNode, run
from aisle_contract.config import parameter
from aisle_contract.records import Receipt, StepResult
from aisle_store.store_files import load_store


@dataclass(frozen=True)
class CheckoutFiles:
    receipts_folder: str = parameter("", "Folder for one JSON file per receipt; empty: none are written")
    ledger: str = parameter("", "File that charges are appended to; empty: receipts are given but no account is charged")


class CheckoutNode(CoreNode):
    def __init__(self, **options: Any) -> None:
        super().__init__("checkout", **options)
        config = self.declare(CheckoutConfig)
        files = self.declare(CheckoutFiles)
        store = load_store(self.store_folder())
        self._receipts_folder = Path(files.receipts_folder) if files.receipts_folder else None
        self._ledger = LedgerPayments(Path(files.ledger)) if files.ledger else None
        self.run_core(
            lambda: Checkout(store, config, self._ledger),
            inputs=[topics.CARTS],
            outputs=[topics.RECEIPTS, topics.REVIEWS, topics.ALERTS],
        )

    def report(self, result: StepResult) -> None:
        super().report(result)
        if self._receipts_folder is None:
            return
        for record in result.records:
            if isinstance(record, Receipt):
                try:
                    write_receipt(record, self._receipts_folder)
                except OSError as error:
                    self.get_logger().error(f"receipt of session '{record.session}' was not written: {error}")

    def destroy_node(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        super().destroy_node()


def main() -> int:
    return run(CheckoutNode)
