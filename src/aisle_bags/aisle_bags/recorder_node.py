"""Records a store's topics into a bag as they come over the wire, without decoding them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks

from aisle_bags.bag_store import attach_store
from aisle_bags.bag_writer import BagWriter, absolute
from aisle_bags.message_definitions import UnknownMessageType
from aisle_bags.recorded_topics import discovered_topics, store_topics
from aisle_contract.base_node import CoreNode, message_class, run, to_rclpy
from aisle_contract.config import parameter
from aisle_contract.records import Diagnostic, DiagnosticLevel
from aisle_contract.topics import Topic
from aisle_store.store_files import load_store


@dataclass(frozen=True)
class RecorderConfig:
    """Parameters of the recorder."""

    output: str = parameter("", "Folder of the new bag")
    images: str = parameter("compressed", "Which images to record: compressed, raw or none")
    compression: str = parameter("zstd", "Of the bag's chunks: zstd, lz4 or none")
    discovery_period_s: float = parameter(1.0, "New topics are looked for this often, s", 0.1, 60.0)
    report_period_s: float = parameter(10.0, "The log tells this often how much has been recorded, s", 1.0, 3600.0)


class RecorderNode(CoreNode):
    """Messages are logged with the wall clock's time of their arrival, as rosbag2 does; replay sorts by their own stamps."""

    def __init__(self, **options: Any) -> None:
        super().__init__("recorder", **options)
        self._open = False
        config = self.declare(RecorderConfig)
        _check(config)
        folder = self.store_folder()
        store = load_store(folder)
        self._images = config.images
        self._writer = BagWriter(Path(config.output), compression=config.compression, whole=False)
        self._open = True
        self._lost_messages = 0
        self._failure = ""
        self._bytes = 0
        self._unknown: set[str] = set()
        attach_store(self._writer, folder)
        self._record(absolute(topic, self.get_namespace()) for topic in store_topics(store, config.images))
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(config.discovery_period_s, self._discover, clock=steady)
        self.create_timer(config.report_period_s, self._report_progress, clock=steady)

    def own_diagnostics(self) -> list[Diagnostic]:
        counts = self._writer.counts
        values = (
            ("messages", str(sum(counts.values()))),
            ("topics", str(sum(count > 0 for count in counts.values()))),
            ("megabytes", f"{self._bytes / 1e6:.1f}"),
            ("lost", str(self._lost_messages)),
        )
        if self._failure:
            return [Diagnostic("recording", DiagnosticLevel.ERROR, f"stopped: {self._failure}", values)]
        if self._lost_messages:
            return [Diagnostic("recording", DiagnosticLevel.WARN, "the middleware lost messages", values)]
        return [Diagnostic("recording", DiagnosticLevel.OK, "recording", values)]

    def destroy_node(self) -> None:
        """Closes the bag: a recording that ends by a signal is whole."""
        if self._open:
            self._open = False
            self._close()
        super().destroy_node()

    def _close(self) -> None:
        try:
            self._writer.close()
            self._report_progress()
        except OSError as error:
            self.get_logger().error(f"the bag's end could not be written: {error}")

    def _record(self, topics: Iterable[Topic]) -> None:
        for topic in topics:
            if topic.name in self._writer.topics or topic.type in self._unknown:
                continue
            try:
                kind = message_class(topic.type)
                self._writer.add_topic(topic)
            except (ImportError, AttributeError, UnknownMessageType) as error:
                self._unknown.add(topic.type)
                self.warn(f"{topic.name} is not recorded: messages of type {topic.type} are not known here: {error}")
                continue
            losses = SubscriptionEventCallbacks(message_lost=self._count_lost)
            self.create_subscription(
                kind,
                topic.name,
                lambda data, name=topic.name: self._write(name, data),
                to_rclpy(topic.qos),
                event_callbacks=losses,
                raw=True,
            )

    def _write(self, name: str, data: bytes) -> None:
        if self._failure:
            self._lost_messages += 1
            return
        try:
            self._writer.write(name, data, time.time_ns())
            self._bytes += len(data)
        except OSError as error:
            self._failure = error.strerror or str(error)
            self._lost_messages += 1
            self.get_logger().error(f"the recording stops: {self._failure}")

    def _count_lost(self, event: Any) -> None:
        self._lost_messages += event.total_count_change

    def _discover(self) -> None:
        found = [(name, types[0]) for name, types in self.get_topic_names_and_types() if len(types) == 1]
        new = [(name, kind) for name, kind in found if name not in self._writer.topics]
        offered = {name: [info.qos_profile for info in self.get_publishers_info_by_topic(name)] for name, _ in new}
        self._record(discovered_topics(new, offered, self.get_namespace(), self._images))

    def _report_progress(self) -> None:
        counts = self._writer.counts
        recorded = sum(count > 0 for count in counts.values())
        lost = f", {self._lost_messages} lost" if self._lost_messages else ""
        self.get_logger().info(f"{sum(counts.values())} messages of {recorded} topics, {self._bytes / 1e6:.1f} MB{lost}")


def _check(config: RecorderConfig) -> None:
    if not config.output:
        raise ValueError("node 'recorder': parameter 'output' is not set, expected the folder of a new bag")
    for name, choices in (("images", ("compressed", "raw", "none")), ("compression", ("zstd", "lz4", "none"))):
        if getattr(config, name) not in choices:
            raise ValueError(f"node 'recorder': parameter '{name}' is '{getattr(config, name)}', expected one of {', '.join(choices)}")


def main() -> int:
    return run(RecorderNode)
