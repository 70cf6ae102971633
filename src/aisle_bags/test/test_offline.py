"""How the offline runner passes records from core to core; the cores themselves are stood in for."""

from __future__ import annotations

import numpy as np
import pytest

from aisle_bags import offline
from aisle_bags.core_runs import Closing
from aisle_bags.core_settings import CoreSettings
from aisle_bags.offline import OfflineRunner, in_event_order
from aisle_contract.records import (
    Cart,
    CartStatus,
    Diagnostic,
    DiagnosticLevel,
    GateEvent,
    GateEventKind,
    PersonDetections,
    Receipt,
    ReceiptStatus,
    Record,
    ScaleReading,
    ShelfEvents,
    StepResult,
    Tracks,
)


class StandIn:
    """Writes down what it gets; ``answers`` says what it gives to a record, ``held`` what it gives at the end."""

    def __init__(self, name: str, log: list[tuple[str, object]]) -> None:
        self.name, self.log = name, log
        self.held: list[Record] = []

    def answer(self, record: Record) -> list[Record]:
        return []

    def step(self, record: Record) -> StepResult:
        self.log.append((self.name, record))
        return StepResult(self.answer(record), [f"{self.name} saw {type(record).__name__}"])

    def flush(self) -> StepResult:
        self.log.append((self.name, "flush"))
        return StepResult(list(self.held))

    def diagnostics(self) -> list[Diagnostic]:
        return [Diagnostic(self.name, DiagnosticLevel.OK, "")]


class TrackerStandIn(StandIn):
    def answer(self, record: Record) -> list[Record]:
        return [Tracks(record.stamp_ns, ())]


class FusionStandIn(StandIn):
    def answer(self, record: Record) -> list[Record]:
        return [cart(record.stamp_ns, "a", CartStatus.OPEN)] if isinstance(record, GateEvent) else []


class CheckoutStandIn(StandIn):
    def answer(self, record: Record) -> list[Record]:
        closed = record.status == CartStatus.CLOSED
        return [Receipt(record.stamp_ns, record.session, "", ReceiptStatus.CHARGED, "USD", "0.00", ())] if closed else []


def cart(stamp_ns: int, session: str, status: CartStatus) -> Cart:
    return Cart(stamp_ns, session, "", "", status, 0, 0, ())


def people(stamp_ns: int, camera: str = "1") -> PersonDetections:
    return PersonDetections(stamp_ns, camera, 640, 360, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def weights(stamp_ns: int, shelf: str = "1") -> ScaleReading:
    return ScaleReading(stamp_ns, "1", shelf, 1, ("1",), np.zeros((1, 1), np.float32))


def gate(stamp_ns: int) -> GateEvent:
    return GateEvent(stamp_ns, "door", GateEventKind.STATUS)


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> tuple[OfflineRunner, list, dict[str, StandIn]]:
    log: list[tuple[str, object]] = []
    cores = {
        "PersonTracker": TrackerStandIn("tracker", log),
        "ShelfMonitor": StandIn("monitor", log),
        "CartFusion": FusionStandIn("fusion", log),
        "Checkout": CheckoutStandIn("checkout", log),
    }
    for name, core in cores.items():
        monkeypatch.setattr(offline, name, lambda store, config, core=core: core)
    return OfflineRunner(None, CoreSettings()), log, cores


def test_records_go_to_their_cores_and_on_from_there(chain: tuple) -> None:
    runner, log, _ = chain
    runner.feed(people(1))
    runner.feed(weights(2))
    runner.feed(gate(3))
    assert [(name, type(record)) for name, record in log] == [
        ("tracker", PersonDetections),
        ("fusion", Tracks),
        ("monitor", ScaleReading),
        ("fusion", GateEvent),
        ("checkout", Cart),
    ]


def test_the_end_releases_in_order_and_makes_up_no_time(chain: tuple) -> None:
    runner, log, cores = chain
    cores["PersonTracker"].held = [Tracks(10, ()), Tracks(30, ())]
    cores["ShelfMonitor"].held = [ShelfEvents(20, ())]
    cores["CartFusion"].held = [cart(25, "a", CartStatus.CLOSED)]
    runner.feed(gate(5))
    log.clear()
    result = runner.finish()
    told = [(name, record if record == "flush" else record.stamp_ns) for name, record in log]
    assert told == [
        ("tracker", "flush"),
        ("monitor", "flush"),
        ("fusion", 10),
        ("fusion", 20),
        ("fusion", 30),
        ("fusion", "flush"),
        ("checkout", 25),
        ("checkout", "flush"),
    ]
    assert [receipt.session for receipt in result.receipts] == ["a"]
    assert max(record.stamp_ns for record in result.records) == 30
    assert [diagnostic.name for diagnostic in result.diagnostics] == ["tracker", "monitor", "fusion", "checkout"]


def test_only_closed_carts_give_receipts(chain: tuple) -> None:
    runner, _, cores = chain
    cores["CartFusion"].held = [cart(7, "b", CartStatus.OPEN), cart(8, "a", CartStatus.CLOSED), cart(9, "b", CartStatus.OPEN)]
    result = runner.run([gate(1)])
    assert [receipt.session for receipt in result.receipts] == ["a"]


def test_order_is_by_stamp_topic_and_place(chain: tuple) -> None:
    first, second = weights(5), weights(5)
    ordered = in_event_order([people(9), first, people(5, "2"), people(5, "10"), second, gate(1)])
    assert [record.stamp_ns for record in ordered] == [1, 5, 5, 5, 5, 9]
    assert [record.camera for record in ordered if isinstance(record, PersonDetections)] == ["10", "2", "1"]
    assert [record for record in ordered if isinstance(record, ScaleReading)] == [first, second]


def test_computed_records_are_left_out_of_a_run_and_refused_alone(chain: tuple) -> None:
    runner, _, _ = chain
    with pytest.raises(ValueError, match="found Tracks, expected one of this run's inputs: PersonDetections"):
        runner.feed(Tracks(1, ()))
    result = runner.run([Tracks(1, ()), cart(2, "x", CartStatus.CLOSED), gate(3)])
    assert dict(result.fed) == {"GateEvent": 1}
    assert result.receipts == []


def test_older_records_are_refused(chain: tuple) -> None:
    runner, _, _ = chain
    runner.feed(gate(5))
    with pytest.raises(ValueError, match="order of their stamps: 4 after 5"):
        runner.feed(gate(4))


def test_warnings_are_collected(chain: tuple) -> None:
    runner, _, _ = chain
    assert runner.run([gate(1)]).warnings == ["fusion saw GateEvent", "checkout saw Cart"]


def test_with_tracks_as_input_there_is_no_tracker(chain: tuple) -> None:
    _, log, _ = chain
    runner = OfflineRunner(None, CoreSettings(), (Tracks, ScaleReading, GateEvent))
    result = runner.run([Tracks(1, ()), weights(2), people(3), gate(4)])
    assert [name for name, record in log if record != "flush"] == ["fusion", "monitor", "fusion", "checkout"]
    assert [diagnostic.name for diagnostic in result.diagnostics] == ["monitor", "fusion", "checkout"]
    assert dict(result.fed) == {"Tracks": 1, "ScaleReading": 1, "GateEvent": 1}


def test_what_is_published_is_told_and_not_kept_where_somebody_listens(chain: tuple) -> None:
    told: list[Record] = []
    result = OfflineRunner(None, CoreSettings(), publish=told.append).run([people(1), gate(2)])
    assert [type(record) for record in told] == [Tracks, Cart]
    assert result.records == []


def test_a_monitor_elsewhere_takes_part_as_if_it_were_here(chain: tuple) -> None:
    _, log, cores = chain
    cores["PersonTracker"].held = [Tracks(10, ())]
    runner = OfflineRunner(None, CoreSettings(), elsewhere=[ScaleReading])
    runner.feed(gate(1))
    runner.take(StepResult([ShelfEvents(2, ())], ["a plate is silent"]))
    log.clear()
    end = Closing(StepResult([ShelfEvents(9, ())]), [Diagnostic("elsewhere", DiagnosticLevel.OK, "")], {"ScaleReading": 3})
    result = runner.finish([end])
    assert [(name, record if record == "flush" else record.stamp_ns) for name, record in log] == [
        ("tracker", "flush"),
        ("fusion", 9),
        ("fusion", 10),
        ("fusion", "flush"),
        ("checkout", "flush"),
    ]
    assert "a plate is silent" in result.warnings
    assert result.fed == {"GateEvent": 1, "ScaleReading": 3}
    assert [diagnostic.name for diagnostic in result.diagnostics] == ["tracker", "elsewhere", "fusion", "checkout"]
