"""The recorder hears byte for byte what the player plays; both are real nodes."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("aisle_msgs.msg", reason="aisle_msgs is not built: run the tests by ./aisle test")

from rclpy.parameter import Parameter  # noqa: E402
from rosbag2_interfaces.srv import Snapshot  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from aisle_bags import player_node  # noqa: E402
from aisle_bags.bag_reader import BagReader  # noqa: E402
from aisle_bags.bag_store import store_of  # noqa: E402
from aisle_bags.bag_writer import BagWriter  # noqa: E402
from aisle_bags.player_node import PlayerNode  # noqa: E402
from aisle_bags.recorder_node import RecorderNode  # noqa: E402
from aisle_contract import qos, topics  # noqa: E402
from aisle_contract.base_node import make_executor, message_class, to_rclpy  # noqa: E402
from aisle_contract.conversions import to_message  # noqa: E402
from aisle_contract.records import GateEvent, GateEventKind, ScaleReading, Tracks  # noqa: E402
from aisle_msgs.srv import SaveRecording  # noqa: E402

STORE = Path(__file__).resolve().parents[3] / "config" / "stores" / "nanostore-2020-01"
#: ./aisle test gives each run a domain of its own.
DOMAIN = int(os.environ.get("ROS_DOMAIN_ID", "63"))
START = 1_577_836_800_000_000_000
PATIENCE_S = 60.0


@pytest.fixture
def context() -> Iterator[None]:
    rclpy.init(domain_id=DOMAIN)
    yield
    rclpy.try_shutdown()


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """One second of two gates and a shelf, with a computed topic that is not to be played."""
    with BagWriter(tmp_path / "played") as writer:
        for number in range(50):
            stamp = START + number * 20_000_000
            writer.write_record(GateEvent(stamp, "entrance", GateEventKind.STATUS))
            writer.write_record(GateEvent(stamp, "exit", GateEventKind.STATUS))
            writer.write_record(Tracks(stamp, ()))
            if number % 10 == 0:
                grid = np.full((12, 2), number, np.float32)
                writer.write_record(ScaleReading(stamp, "1", "1", 16_666_667, ("1", "2"), grid))
    return tmp_path / "played"


def parameters(**values: object) -> list[Parameter]:
    return [Parameter(name, value=value) for name, value in values.items()]


def contents(path: Path) -> dict[str, list[bytes]]:
    found = defaultdict(list)
    with BagReader(path) as reader:
        for message in reader.messages():
            found[message.topic].append(message.data)
    return found


def test_what_is_played_is_recorded(context: None, bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    # The player ends its process with a signal; here it shares the test's.
    monkeypatch.setattr(player_node.signal, "raise_signal", ended.append)
    options = parameters(store=str(STORE), output=str(tmp_path / "recorded"), discovery_period_s=0.2)
    recorder = RecorderNode(parameter_overrides=options)
    player = PlayerNode(parameter_overrides=parameters(bag=str(bag), rate=2.0, drain_s=0.5))
    flushed: list[str] = []
    clock: list[int] = []
    other = rclpy.create_node("other")
    for core in ("tracker", "shelf_monitor", "cart_fusion", "checkout"):
        other.create_service(Trigger, f"{core}/flush", lambda request, response, core=core: flushed.append(core) or response)
    on_clock = lambda message: clock.append(message.clock.sec * 10**9 + message.clock.nanosec)  # noqa: E731
    other.create_subscription(Clock, topics.CLOCK.name, on_clock, to_rclpy(topics.CLOCK.qos))
    executor = make_executor()
    for node in (recorder, player, other):
        executor.add_node(node)
    deadline = time.monotonic() + PATIENCE_S
    while not ended:
        assert time.monotonic() < deadline, "the player has not ended"
        executor.spin_once(timeout_sec=0.1)
    for node in (player, other, recorder):
        node.destroy_node()
    executor.shutdown()

    played, recorded = contents(bag), contents(tmp_path / "recorded")
    inputs = {name: data for name, data in played.items() if name != "/tracks"}
    assert {name: recorded[name] for name in inputs} == inputs
    assert not recorded["/tracks"]
    assert sorted(flushed[:2]) == ["shelf_monitor", "tracker"]
    assert flushed[2:] == ["cart_fusion", "checkout"]
    assert clock == sorted(clock)
    assert START <= clock[0] < clock[-1]
    with BagReader(tmp_path / "recorded") as reader:
        assert store_of(reader).name == "nanostore-2020-01"
        assert "/diagnostics" in reader.topics


def test_what_cannot_be_played_or_recorded_is_named(context: None, bag: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        PlayerNode(parameter_overrides=parameters(bag=str(tmp_path / "nowhere")))
    with pytest.raises(FileExistsError, match="played exists already"):
        RecorderNode(parameter_overrides=parameters(store=str(STORE), output=str(bag)))
    with pytest.raises(ValueError, match="parameter 'images' is 'some', expected one of none, masked, all"):
        RecorderNode(parameter_overrides=parameters(store=str(STORE), output=str(tmp_path / "new"), images="some"))


def test_late_latched_and_weaker_publishers_are_recorded(context: None, tmp_path: Path) -> None:
    other = rclpy.create_node("other")
    latched = other.create_publisher(String, "notes", to_rclpy(qos.STATE))
    latched.publish(String(data="said before anybody listened"))
    options = parameters(store=str(STORE), output=str(tmp_path / "bag"), discovery_period_s=0.1, exclude="secret")
    recorder = RecorderNode(parameter_overrides=options)
    executor = make_executor()
    executor.add_node(recorder)
    gate = topics.gate_events("entrance")
    strong = other.create_publisher(message_class(gate.type), gate.name, to_rclpy(gate.qos))
    secret = other.create_publisher(String, "secret", to_rclpy(qos.STREAM))

    def spin(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            executor.spin_once(timeout_sec=0.05)

    def recorded(count: int) -> Callable[[], bool]:
        return lambda: int(dict(recorder.own_diagnostics()[0].values)["messages"]) >= count + diagnostics()

    def diagnostics() -> int:
        return recorder._recording._bag.counts["/diagnostics"]

    spin(lambda: strong.get_subscription_count() == 1)
    strong.publish(to_message(GateEvent(START, "entrance", GateEventKind.STATUS)))
    spin(recorded(2))
    weak = other.create_publisher(message_class(gate.type), gate.name, to_rclpy(qos.SENSOR))
    spin(lambda: weak.get_subscription_count() == 1)
    for number in range(3):
        weak.publish(to_message(GateEvent(START + number, "entrance", GateEventKind.ENTRY)))
        strong.publish(to_message(GateEvent(START + 10 + number, "entrance", GateEventKind.EXIT)))
        time.sleep(0.05)
    secret.publish(String(data="x"))
    spin(recorded(8))
    recorder.destroy_node()
    other.destroy_node()
    executor.shutdown()
    found = contents(tmp_path / "bag")
    assert len(found["/notes"]) == 1
    assert len(found["/gates/gate_entrance/events"]) == 7
    assert "/secret" not in found
    with BagReader(tmp_path / "bag") as reader:
        assert reader.stored_topics["/notes"].latched
        assert reader.metadata.custom["aisle.dropped"] == "0"


def test_the_ring_is_saved_on_request(context: None, tmp_path: Path) -> None:
    options = parameters(store=str(STORE), output=str(tmp_path / "ring"), ring_s=30.0, images="none")
    recorder = RecorderNode(parameter_overrides=options)
    other = rclpy.create_node("other")
    save = other.create_client(SaveRecording, "recorder/save")
    snapshot = other.create_client(Snapshot, "recorder/snapshot")
    executor = make_executor()
    for node in (recorder, other):
        executor.add_node(node)
    answers = []
    deadline = time.monotonic() + PATIENCE_S
    while not (answers and all(answer.done() for answer in answers)):
        assert time.monotonic() < deadline
        executor.spin_once(timeout_sec=0.05)
        if not answers and save.service_is_ready() and snapshot.service_is_ready():
            answers = [save.call_async(SaveRecording.Request(reason="why not")), snapshot.call_async(Snapshot.Request())]
    for node in (recorder, other):
        node.destroy_node()
    executor.shutdown()
    assert [answer.result().success for answer in answers] == [True, True]
    bag = Path(answers[0].result().bag)
    assert bag.name.endswith("_why_not")
    with BagReader(bag) as reader:
        assert store_of(reader).name == "nanostore-2020-01"
    assert len(list((tmp_path / "ring").iterdir())) == 2


def test_topics_are_played_under_other_names_with_the_qos_of_the_recording(context: None, tmp_path: Path) -> None:
    compressed = topics.Topic("/cameras/camera_1/image_raw/compressed", "sensor_msgs/msg/CompressedImage", qos.STREAM)
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_record(GateEvent(START, "entrance", GateEventKind.STATUS))
        writer.add_topic(compressed)
        writer.write(compressed.name, bytes(16), START)
    remap = ["--ros-args", "-r", "/gates/gate_entrance/events:=/old/events"]
    player = PlayerNode(cli_args=remap, parameter_overrides=parameters(bag=str(tmp_path / "bag")))
    names = {name for name, _ in player.get_publisher_names_and_types_by_node("player", "/")}
    assert "/old/events" in names
    assert "/gates/gate_entrance/events" not in names
    # A camera's images usually are best effort; these were not.
    (images,) = player.get_publishers_info_by_topic(compressed.name)
    assert images.qos_profile.reliability.name == "RELIABLE"
    player.destroy_node()
