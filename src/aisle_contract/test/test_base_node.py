"""The base of all nodes, with a real rclpy context and a core that echoes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.exceptions import InvalidParameterValueException
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from aisle_contract import qos, topics
from aisle_contract.base_node import CoreNode, message_class, to_rclpy
from aisle_contract.config import parameter
from aisle_contract.conversions import to_message
from aisle_contract.records import NANOSECONDS, Alert, AlertLevel, Diagnostic, DiagnosticLevel, GateEvent, GateEventKind, StepResult

DOMAIN = "61"


@dataclass(frozen=True)
class EchoConfig:
    gain: float = parameter(1.0, "How loud", 0.0, 2.0)
    word: str = parameter("gate", "What to say")
    times: int = parameter(1, "How often", 1)


class EchoCore:
    """Turns each gate event into an alert and holds one back for the flush."""

    def __init__(self, config: EchoConfig) -> None:
        self.config = config

    def step(self, record: GateEvent) -> StepResult:
        return StepResult([self._alert(record.stamp_ns, self.config.word)] * self.config.times, ["heard"])

    def flush(self) -> StepResult:
        return StepResult([self._alert(0, "flushed")])

    def diagnostics(self) -> list[Diagnostic]:
        return [Diagnostic("echo", DiagnosticLevel.WARN, "quiet", (("gain", str(self.config.gain)),))]

    @staticmethod
    def _alert(stamp_ns: int, text: str) -> Alert:
        return Alert(stamp_ns, AlertLevel.INFO, "echo", "echo", text)


class EchoNode(CoreNode):
    def __init__(self, **options) -> None:
        super().__init__("echo", **options)
        config = self.declare(EchoConfig)
        self.run_core(lambda: EchoCore(config), inputs=[topics.gate_events("a")], outputs=[topics.ALERTS])


@pytest.fixture
def context():
    context = rclpy.Context()
    context.init(domain_id=int(DOMAIN))
    yield context
    context.try_shutdown()


def test_parameters_come_from_the_config_and_are_checked(context):
    node = CoreNode("declares", context=context, parameter_overrides=[Parameter("gain", value=2), Parameter("word", value="x")])
    config = node.declare(EchoConfig)
    assert config == EchoConfig(gain=2.0, word="x", times=1)
    descriptor = node.describe_parameter("gain")
    assert descriptor.description == "How loud"
    assert (descriptor.floating_point_range[0].from_value, descriptor.floating_point_range[0].to_value) == (0.0, 2.0)
    assert node.describe_parameter("times").integer_range[0].from_value == 1
    wrong_type = CoreNode("wrong_type", context=context, parameter_overrides=[Parameter("word", value=3)])
    with pytest.raises(ValueError, match=r"parameter 'word' is 3 \(int\), expected str"):
        wrong_type.declare(EchoConfig)
    out_of_range = CoreNode("out_of_range", context=context, parameter_overrides=[Parameter("gain", value=2.5)])
    with pytest.raises((ValueError, InvalidParameterValueException)):
        out_of_range.declare(EchoConfig)


def test_a_missing_store_is_told(context):
    with pytest.raises(ValueError, match="parameter 'store' is not set"):
        CoreNode("no_store", context=context).store_folder()


def test_quality_of_service_is_the_contracts():
    profile = to_rclpy(qos.STATE)
    assert (profile.depth, profile.reliability.name, profile.durability.name) == (100, "RELIABLE", "TRANSIENT_LOCAL")
    assert to_rclpy(qos.SENSOR).reliability.name == "BEST_EFFORT"


def test_records_go_through_the_core_and_diagnostics_tell(context):
    node = EchoNode(context=context, namespace="/shop", parameter_overrides=[Parameter("times", value=2)])
    probe = rclpy.create_node("probe", context=context, namespace="/shop")
    alerts, states = [], {}
    gate = topics.gate_events("a")
    sender = probe.create_publisher(message_class(gate.type), gate.name, to_rclpy(gate.qos))
    probe.create_subscription(message_class(topics.ALERTS.type), topics.ALERTS.name, lambda m: alerts.append(m.text), to_rclpy(qos.STATE))
    probe.create_subscription(DiagnosticArray, "/diagnostics", lambda m: states.update({s.name: s for s in m.status}), 10)
    flush = probe.create_client(Trigger, "echo/flush")
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executor.add_node(probe)

    def spin_until(condition) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, "nothing came in 30 s"
            executor.spin_once(timeout_sec=0.1)

    spin_until(lambda: sender.get_subscription_count() == 1 and flush.service_is_ready())
    sender.publish(to_message(GateEvent(5, "a", GateEventKind.ENTRY)))
    spin_until(lambda: len(alerts) == 2)
    answer = flush.call_async(Trigger.Request())
    spin_until(lambda: answer.done() and len(alerts) == 3)
    assert alerts == ["gate", "gate", "flushed"]
    assert answer.result().success
    malformed = to_message(GateEvent(6, "a", GateEventKind.ENTRY))
    malformed.kind = 77
    sender.publish(malformed)
    spin_until(lambda: {v.key: v.value for v in states["echo: messages"].values}.get("malformed") == "1" if states else False)
    assert states["echo: messages"].level == b"\x01"
    assert (states["echo: echo"].level, states["echo: echo"].message) == (b"\x01", "quiet")
    assert len(alerts) == 3
    executor.shutdown()


class CountingCore(EchoCore):
    """Tells how many gate events it has seen."""

    seen = 0

    def step(self, record: GateEvent) -> StepResult:
        self.seen += 1
        return StepResult([self._alert(record.stamp_ns, str(self.seen))])


class CountingNode(CoreNode):
    def __init__(self, **options) -> None:
        super().__init__("counting", **options)
        self.run_core(lambda: CountingCore(EchoConfig()), inputs=[topics.gate_events("a")], outputs=[topics.ALERTS])


def test_a_core_begins_anew_when_time_does(context):
    node = CountingNode(context=context, parameter_overrides=[Parameter("use_sim_time", value=True)])
    probe = rclpy.create_node("probe", context=context)
    alerts = []
    gate = topics.gate_events("a")
    sender = probe.create_publisher(message_class(gate.type), gate.name, to_rclpy(gate.qos))
    clock = probe.create_publisher(Clock, topics.CLOCK.name, to_rclpy(qos.STREAM))
    probe.create_subscription(message_class(topics.ALERTS.type), topics.ALERTS.name, lambda m: alerts.append(m.text), to_rclpy(qos.STATE))
    reset = probe.create_client(Trigger, "counting/reset")
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executor.add_node(probe)

    def spin_until(condition) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, "nothing came in 30 s"
            executor.spin_once(timeout_sec=0.1)

    def tell_time(second: int) -> None:
        clock.publish(Clock(clock=Time(sec=second)))
        spin_until(lambda: node.get_clock().now().nanoseconds == second * NANOSECONDS)

    def send(second: int) -> str:
        count = len(alerts)
        sender.publish(to_message(GateEvent(second * NANOSECONDS, "a", GateEventKind.STATUS)))
        spin_until(lambda: len(alerts) > count)
        return alerts[-1]

    spin_until(lambda: sender.get_subscription_count() and clock.get_subscription_count() and reset.service_is_ready())
    tell_time(100)
    assert [send(100), send(101)] == ["1", "2"]
    # Forwards, and back to a time that the node's records have not reached, nothing is forgotten.
    tell_time(200)
    tell_time(150)
    assert send(160) == "3"
    tell_time(100)
    assert send(100) == "1"
    # A player that asks for it first does not have it done twice.
    assert send(130) == "2"
    answer = reset.call_async(Trigger.Request())
    spin_until(answer.done)
    assert answer.result().success
    assert send(50) == "1"
    tell_time(50)
    assert send(51) == "2"
    executor.shutdown()


PROGRAM = """
import sys
from aisle_contract.base_node import CoreNode, run

class Ends(CoreNode):
    def __init__(self):
        super().__init__("ends")
        if "bad" in sys.argv:
            self.store_folder()
        print("ready", flush=True)

    def destroy_node(self):
        print("closed", flush=True)
        super().destroy_node()

sys.exit(run(Ends))
"""


def start(*arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "ROS_DOMAIN_ID": DOMAIN, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], env=environment, **pipes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_cleanly(number):
    process = start()
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "closed\n"), errors


def test_a_wrong_parameter_is_one_line_and_exit_code_2():
    process = start("bad")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.splitlines() == ["error: node '/ends': parameter 'store' is not set, expected a store's folder"]
