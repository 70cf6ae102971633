"""What all nodes share: parameters from a config, records in and out, diagnostics, and the main loop.

A node that runs a core is this much:

    class TrackerNode(CoreNode):
        def __init__(self, **options: Any) -> None:
            super().__init__("tracker", **options)
            config = self.declare(TrackerConfig)
            store = load_store(self.store_folder())
            self.run_core(
                lambda: Tracker(store, config),
                inputs=[topics.detections(camera) for camera in store.cameras],
                outputs=[topics.TRACKS],
            )

    def main() -> int:
        return run(TrackerNode)

The class is named after its module (``tracker_node`` holds ``TrackerNode``): that is how ``aisle_bringup.container`` finds it.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType, JumpHandle, JumpThreshold, TimeJump
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from aisle_contract import topics
from aisle_contract.config import from_mapping, parameter
from aisle_contract.conversions import from_message, to_message
from aisle_contract.qos import Profile
from aisle_contract.record_topics import topic_of
from aisle_contract.records import NANOSECONDS, Diagnostic, DiagnosticLevel, Record, StepResult
from aisle_contract.stop_request import StopRequest

C = TypeVar("C")

#: A node says what it has to say about itself this often.
DIAGNOSTICS_PERIOD_S = 1.0
#: The same warning is logged again only after this time; until then it is counted.
WARNING_PERIOD_S = 10.0
#: Values of a node's "messages" diagnostic that count what did not get through.
DROPS = ("lost by the middleware", "malformed", "not sent")
#: /clock has begun anew if it goes back by more than this, and behind what a node has seen: a recording is played again.
JUMP_BACK_S = 1.0
#: Longest time until a signal is noticed.
SPIN_TIMEOUT_S = 0.5


class Core(Protocol):
    """What decides (see docs/architecture.md): takes records in, gives records out."""

    def step(self, record: Record) -> StepResult: ...

    def flush(self) -> StepResult: ...

    def diagnostics(self) -> list[Diagnostic]: ...


@dataclasses.dataclass(frozen=True)
class StoreParameter:
    store: str = parameter("", "Folder of the store's configuration (store.yaml, layout.yaml, ...)")


@dataclasses.dataclass
class MessageCounts:
    """What went through a node since its last report."""

    received: int = 0
    published: int = 0
    lost: int = 0
    malformed: int = 0
    unsent: int = 0
    longest_step_s: float = 0.0


class CoreNode(Node):
    """Base of all nodes. ``options`` are those of ``rclpy.node.Node`` (namespace, cli_args, enable_rosout, ...)."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._senders: dict[topics.Topic, Publisher] = {}
        self._counts = MessageCounts()
        self._core: Core | None = None
        self._newest_ns: int | None = None
        self._jumps: JumpHandle | None = None
        self._warned_at: dict[str, float] = {}
        self._warnings_held_back = 0
        self._diagnostics_sender = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS.name, to_rclpy(topics.DIAGNOSTICS.qos))
        # Steady time: a paused or slow /clock must not silence the diagnostics.
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def declare(self, config_class: type[C]) -> C:
        """Declares a config's fields as read-only parameters (cores are built once) and returns the config with their values.

        Raises ValueError for a value of the wrong type or out of range, in the words of ``aisle_contract.config``.
        """
        values = {}
        for field in dataclasses.fields(config_class):
            values[field.name] = self.declare_parameter(field.name, field.default, _descriptor(field)).value
        return from_mapping(config_class, values, f"node '{self.get_fully_qualified_name()}'")

    def store_folder(self) -> Path:
        """Declares and reads the parameter ``store``. Raises ValueError if it is not given."""
        folder = self.declare(StoreParameter).store
        if not folder:
            raise ValueError(f"node '{self.get_fully_qualified_name()}': parameter 'store' is not set, expected a store's folder")
        return Path(folder)

    def run_core(self, make_core: Callable[[], Core], inputs: Iterable[topics.Topic], outputs: Iterable[topics.Topic]) -> None:
        """Makes a core, feeds it with the records of ``inputs`` and publishes what it gives. ``outputs`` are advertised at once, so that
        subscribers are matched before the first record. The service ``~/flush`` ends a recording: the core releases what it holds back.
        When time begins anew (``on_new_time``), a new core takes the place of the old one, which knows what has not happened yet.
        """

        def begin() -> None:
            self._core = make_core()

        begin()
        self.advertise(*outputs)
        for topic in inputs:
            self.subscribe(topic, self._step)
        self.create_service(Trigger, "~/flush", self._flush)
        self.on_new_time(begin)

    def on_new_time(self, begin: Callable[[], None]) -> None:
        """Calls ``begin`` when a recording is played from an earlier time on: a player asks for it by the service ``~/reset``, with any
        other one simulated time (/clock) goes back behind the newest record that the node has got.
        """

        def reset() -> None:
            self._newest_ns = None
            begin()
            self.get_logger().info("time begins anew: the state is reset")

        def on_reset(request: Any, response: Any) -> Any:
            reset()
            response.success = True
            return response

        def on_jump(jump: TimeJump) -> None:
            now_ns = self.get_clock().now().nanoseconds
            if self._newest_ns is not None and self._newest_ns > now_ns + JUMP_BACK_S * NANOSECONDS:
                reset()

        self.create_service(Trigger, "~/reset", on_reset)
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-JUMP_BACK_S), on_clock_change=False)
        self._jumps = self.get_clock().create_jump_callback(threshold, post_callback=on_jump)

    def destroy_node(self) -> None:
        if self._jumps is not None:
            self._jumps.unregister()
            self._jumps = None
        super().destroy_node()

    def subscribe(self, topic: topics.Topic, callback: Callable[[Any], None]) -> None:
        """Calls ``callback(record)`` for each record of a topic. Malformed messages are counted and logged, not passed on."""

        def on_message(message: Any) -> None:
            self._counts.received += 1
            try:
                record = from_message(message)
            except ValueError as error:
                self._counts.malformed += 1
                self.warn(f"{topic.name}: {error}")
                return
            self._newest_ns = record.stamp_ns if self._newest_ns is None else max(self._newest_ns, record.stamp_ns)
            callback(record)

        losses = SubscriptionEventCallbacks(message_lost=self._on_lost)
        self.create_subscription(message_class(topic.type), topic.name, on_message, to_rclpy(topic.qos), event_callbacks=losses)

    def advertise(self, *wanted: topics.Topic) -> None:
        """Makes the publishers of topics that do not have one yet."""
        for topic in wanted:
            if topic not in self._senders:
                self._senders[topic] = self.create_publisher(message_class(topic.type), topic.name, to_rclpy(topic.qos))

    def publish(self, record: Record) -> None:
        """Sends a record on its topic (``record_topics.topic_of``)."""
        self.send(topic_of(record), to_message(record))

    def send(self, topic: topics.Topic, message: Any) -> None:
        """Sends a ready message. What the middleware refuses is counted and logged: sensors do not wait."""
        self.advertise(topic)
        try:
            self._senders[topic].publish(message)
            self._counts.published += 1
        except RCLError as error:
            self._counts.unsent += 1
            self.warn(f"{topic.name}: not sent: {error}")

    def has_listeners(self, topic: topics.Topic) -> bool:
        """Whether anybody subscribes to an advertised topic: images are not worth sending otherwise."""
        self.advertise(topic)
        return self._senders[topic].get_subscription_count() > 0

    def report(self, result: StepResult) -> None:
        """Publishes a step's records in their order and logs its warnings."""
        for record in result.records:
            self.publish(record)
        for text in result.warnings:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Logs a warning, the same text at most once in ``WARNING_PERIOD_S``."""
        now = time.monotonic()
        self._warned_at = {t: at for t, at in self._warned_at.items() if now - at < WARNING_PERIOD_S}
        if text in self._warned_at:
            self._warnings_held_back += 1
            return
        self._warned_at[text] = now
        self.get_logger().warning(text)

    def own_diagnostics(self) -> list[Diagnostic]:
        """What the node says about itself once a second; nodes without a core override it."""
        return self._core.diagnostics() if self._core is not None else []

    def send_diagnostics(self, states: Sequence[Diagnostic]) -> None:
        """Publishes states now, for what cannot wait for the next regular report."""
        message = DiagnosticArray(status=[_status(self.get_name(), state) for state in states])
        message.header.stamp = self.get_clock().now().to_msg()
        try:
            self._diagnostics_sender.publish(message)
        except RCLError:
            self._counts.unsent += 1

    def _step(self, record: Record) -> None:
        start = time.perf_counter()
        result = self._core.step(record)
        self._counts.longest_step_s = max(self._counts.longest_step_s, time.perf_counter() - start)
        self.report(result)

    def _flush(self, request: Any, response: Any) -> Any:
        result = self._core.flush()
        self.report(result)
        response.success = True
        response.message = f"{len(result.records)} records released"
        return response

    def _on_lost(self, event: Any) -> None:
        self._counts.lost += event.total_count_change

    def _publish_diagnostics(self) -> None:
        counts, self._counts = self._counts, MessageCounts()
        held_back, self._warnings_held_back = self._warnings_held_back, 0
        self.send_diagnostics([_traffic(counts, held_back), *self.own_diagnostics()])


def message_class(type_name: str) -> type:
    """The message class of a ROS type name such as ``aisle_msgs/msg/Cart``."""
    package, _, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def to_rclpy(profile: Profile) -> QoSProfile:
    """The rclpy QoS profile of one of ``aisle_contract.qos``."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=profile.depth,
        reliability=ReliabilityPolicy.RELIABLE if profile.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if profile.transient_local else DurabilityPolicy.VOLATILE,
    )


def run(*factories: Callable[[], Node], arguments: Sequence[str] | None = None, stop: StopRequest | None = None) -> int:
    """Main loop of a process: makes the nodes, spins them until SIGINT or SIGTERM, and returns the exit code.

    0 after a signal; 2 if a node could not be made from its parameters or files (told in one line on stderr). An error while spinning
    is a bug and raises. ``arguments`` are the ROS arguments, by default those of the command line; ``stop`` may have been asked before.
    """
    # rclpy's own signal handlers would close the context before nodes can finish their files.
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    stop = stop or StopRequest()
    nodes: list[Node] = []
    try:
        for make_node in factories:
            if stop.asked:
                break
            nodes.append(make_node())
            nodes[-1].get_logger().info("ready")
    except (ValueError, OSError, ParameterException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    else:
        # What is loaded by now stays: looking through it for garbage would hold every record up for a tenth of a second now and then.
        gc.collect()
        gc.freeze()
        _spin(nodes, stop)
        return 0
    finally:
        stop.close()
        for node in reversed(nodes):
            node.destroy_node()
        rclpy.try_shutdown()
        gc.unfreeze()


def _spin(nodes: Sequence[Node], stop: StopRequest) -> None:
    executor = make_executor()
    for node in nodes:
        executor.add_node(node)
    try:
        while rclpy.ok() and not stop.asked:
            executor.spin_once(timeout_sec=SPIN_TIMEOUT_S)
    finally:
        executor.shutdown()


def make_executor(context: Context | None = None) -> Executor:
    """rclpy's events executor where there is one (ROS 2 Kilted and later, Jazzy's 7.1): no other keeps up with hundreds of messages
    per second. Its ``spin()`` ignores signals, so it is driven by ``spin_once``.
    """
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


def _descriptor(field: dataclasses.Field) -> ParameterDescriptor:
    """Describes a config field. Typed dynamically so that ``from_mapping`` checks the type: a whole number will do for a float."""
    descriptor = ParameterDescriptor(description=field.metadata.get("description", ""), read_only=True, dynamic_typing=True)
    low, high = field.metadata.get("minimum"), field.metadata.get("maximum")
    if low is None and high is None:
        return descriptor
    if isinstance(field.default, float):
        limit = sys.float_info.max
        start, end = float(-limit if low is None else low), float(limit if high is None else high)
        descriptor.floating_point_range = [FloatingPointRange(from_value=start, to_value=end)]
    else:
        start, end = int(-(2**63) if low is None else low), int(2**63 - 1 if high is None else high)
        descriptor.integer_range = [IntegerRange(from_value=start, to_value=end)]
    return descriptor


def _traffic(counts: MessageCounts, warnings_held_back: int) -> Diagnostic:
    bad = counts.lost + counts.malformed + counts.unsent
    return Diagnostic(
        name="messages",
        level=DiagnosticLevel.WARN if bad else DiagnosticLevel.OK,
        message=f"{bad} messages dropped in the last second" if bad else "no messages dropped",
        values=(
            ("received per s", f"{counts.received / DIAGNOSTICS_PERIOD_S:.0f}"),
            ("published per s", f"{counts.published / DIAGNOSTICS_PERIOD_S:.0f}"),
            *zip(DROPS, map(str, (counts.lost, counts.malformed, counts.unsent)), strict=True),
            ("longest step", f"{counts.longest_step_s * 1e3:.1f} ms"),
            ("repeated warnings held back", str(warnings_held_back)),
        ),
    )


def _status(node: str, state: Diagnostic) -> DiagnosticStatus:
    values = [KeyValue(key=key, value=value) for key, value in state.values]
    return DiagnosticStatus(level=bytes([state.level]), name=f"{node}: {state.name}", message=state.message, values=values)
