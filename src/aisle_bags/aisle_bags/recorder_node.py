"""Records a store's topics into a bag as they come over the wire, without decoding them (``recording`` does the work)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.subscription import Subscription
from rosbag2_interfaces.srv import Snapshot

from aisle_bags.bag_writer import absolute
from aisle_bags.masked_images import Message
from aisle_bags.message_definitions import UnknownMessageType
from aisle_bags.recorded_topics import Selection, compatible_profile, discovered_topics, store_topics
from aisle_bags.recording import Recording, RecordingConfig
from aisle_contract import qos
from aisle_contract.base_node import CoreNode, message_class, run, to_rclpy
from aisle_contract.config import parameter
from aisle_contract.qos import Profile
from aisle_contract.records import Diagnostic
from aisle_contract.topics import Topic
from aisle_msgs.srv import SaveRecording
from aisle_store.store_files import load_store

#: Messages are fetched from the middleware this often; it keeps them meanwhile.
POLL_PERIOD_S = 0.02


@dataclass(frozen=True)
class RecorderConfig(RecordingConfig):
    """Parameters of the recorder."""

    discovery_period_s: float = parameter(0.5, "New topics and publishers are looked for this often, s", 0.1, 60.0)
    report_period_s: float = parameter(10.0, "The log tells this often how much has been recorded, s", 1.0, 3600.0)


@dataclass
class _Ear:
    """A subscription, and what is heard by it."""

    topic: Topic
    profile: Profile
    subscription: Subscription


class RecorderNode(CoreNode):
    """Messages are logged with the time of their arrival, as rosbag2 does; replay sorts by their own stamps.

    They are fetched many at once and with the senders' numbers, which an executor would not hand out: a second node, which no executor
    spins, has the subscriptions.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("recorder", **options)
        self._recording: Recording | None = None
        config = self.declare(RecorderConfig)
        folder = self.store_folder()
        store = load_store(folder)
        self._wanted = Selection(self.get_namespace(), config.include, config.exclude, config.images, config.image_form)
        try:
            self._recording = Recording(config, store, folder)
        except ValueError as error:
            raise ValueError(f"node 'recorder': {error}") from error
        self._ears: dict[str, _Ear] = {}
        self._unknown: set[str] = set()
        self._told_failure = False
        self._listener = Node(
            f"{self.get_name()}_input",
            context=self.context,
            namespace=self.get_namespace(),
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        expected = (absolute(topic, self.get_namespace()) for topic in store_topics(store))
        self._record(topic for topic in expected if self._wanted.takes(topic.name, topic.type))
        self.create_service(Snapshot, "~/snapshot", self._on_snapshot)
        self.create_service(SaveRecording, "~/save", self._on_save)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(POLL_PERIOD_S, self._fetch, clock=steady)
        self.create_timer(config.discovery_period_s, self._discover, clock=steady)
        self.create_timer(config.report_period_s, self._report_progress, clock=steady)

    def own_diagnostics(self) -> list[Diagnostic]:
        return self._recording.diagnostics()

    def destroy_node(self) -> None:
        """Closes the bag: a recording that ends by a signal is whole."""
        if self._recording is not None:
            recording, self._recording = self._recording, None
            self._close(recording)
            self._listener.destroy_node()
        super().destroy_node()

    def _close(self, recording: Recording) -> None:
        self._fetch_into(recording)
        try:
            recording.close()
            self.get_logger().info(recording.summary())
        except OSError as error:
            self.get_logger().error(f"the bag's end could not be written: {error}")

    def _record(self, topics: Iterable[Topic]) -> None:
        for topic in topics:
            if topic.name in self._ears or topic.type in self._unknown:
                continue
            try:
                message_class(topic.type)
                self._recording.declare(topic)
            except (ImportError, AttributeError, UnknownMessageType) as error:
                self._unknown.add(topic.type)
                self.warn(f"{topic.name} is not recorded: messages of type {topic.type} are not known here: {error}")
                continue
            self._ears[topic.name] = _Ear(topic, topic.qos, self._subscription(topic, topic.qos))

    def _subscription(self, topic: Topic, profile: Profile) -> Subscription:
        # Deep enough for what comes between two fetches, whatever the topic's own depth is.
        deep = Profile(profile.name, profile.reliable, profile.transient_local, max(profile.depth, qos.STREAM.depth))
        return self._listener.create_subscription(message_class(topic.type), topic.name, _never_called, to_rclpy(deep), raw=True)

    def _fetch(self) -> None:
        self._fetch_into(self._recording)
        self._recording.poll()
        if self._recording.failure and not self._told_failure:
            self._told_failure = True
            self.get_logger().error(f"the recording stops: {self._recording.failure}")
            self.send_diagnostics(self.own_diagnostics())

    def _fetch_into(self, recording: Recording) -> None:
        for name, ear in self._ears.items():
            for message in _fetched(name, ear.subscription):
                recording.take(message)

    def _discover(self) -> None:
        if self._recording.failure:
            return
        for ear in self._ears.values():
            self._adapt(ear)
        found = [(name, types[0]) for name, types in self.get_topic_names_and_types() if len(types) == 1 and name not in self._ears]
        offered = {name: [info.qos_profile for info in self.get_publishers_info_by_topic(name)] for name, _ in found}
        self._record(discovered_topics(found, offered, self._wanted))

    def _adapt(self, ear: _Ear) -> None:
        """A publisher that offers less than was asked for is heard only by a subscription that asks for less."""
        offered = [info.qos_profile for info in self.get_publishers_info_by_topic(ear.topic.name)]
        profile = compatible_profile(offered, ear.topic.qos) if offered else ear.profile
        if profile != ear.profile:
            old, ear.profile = ear.subscription, profile
            ear.subscription = self._subscription(ear.topic, profile)
            for message in _fetched(ear.topic.name, old):
                self._recording.take(message)
            self._listener.destroy_subscription(old)

    def _on_snapshot(self, request: Snapshot.Request, response: Snapshot.Response) -> Snapshot.Response:
        try:
            self._recording.save("snapshot")
            response.success = True
        except ValueError as error:
            self.warn(f"nothing was saved: {error}")
            response.success = False
        return response

    def _on_save(self, request: SaveRecording.Request, response: SaveRecording.Response) -> SaveRecording.Response:
        try:
            self._fetch_into(self._recording)
            response.bag = str(self._recording.save(request.reason))
            response.success = True
        except ValueError as error:
            response.message = str(error)
        return response

    def _report_progress(self) -> None:
        self.get_logger().info(self._recording.summary())


def _never_called(message: bytes) -> None:
    """Subscriptions need a callback; messages are fetched instead."""


def _fetched(topic: str, subscription: Subscription) -> Iterator[Message]:
    """What has come since the last time."""
    handle = subscription.handle
    with handle:
        while (taken := handle.take_message(subscription.msg_type, True)) is not None:
            yield _message(topic, *taken)


def _message(topic: str, data: bytes, info: dict[str, Any]) -> Message:
    received_ns = info["received_timestamp"] or time.time_ns()
    sender = info.get("publisher_gid") or {}
    number = info.get("publication_sequence_number") or None
    return Message(topic, data, received_ns, info["source_timestamp"] or received_ns, bytes(sender.get("data", b"")), number)


def main() -> int:
    return run(RecorderNode)
