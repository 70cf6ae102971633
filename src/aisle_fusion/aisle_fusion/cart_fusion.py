"""Who took what: fuses tracks, shelf events and gates into a cart for each visit.

Records are put in order of event time; visits follow from gates and tracks (``shopper_sessions``); each shelf event, once it is old enough
for its people to be known, is judged (``event_judgement``) under several hypotheses about the whole store (``store_hypotheses``). A cart's
lines are the likeliest quantities over all hypotheses. It is final once the shelves have been judged up to the time the shopper left.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

from aisle_contract.config import parameter
from aisle_contract.event_time import EventTimeBuffer
from aisle_contract.records import (
    NANOSECONDS,
    Alert,
    AlertLevel,
    Cart,
    CartLine,
    CartStatus,
    Diagnostic,
    DiagnosticLevel,
    Evidence,
    GateEvent,
    ItemObservation,
    ShelfEvent,
    ShelfEvents,
    ShelfEventStatus,
    StepResult,
    Tracks,
)
from aisle_fusion.dynamic_planogram import Planogram
from aisle_fusion.event_judgement import EventJudge, JudgementConfig, Scene
from aisle_fusion.event_parts import PartsConfig, join_gain, joined, may_belong_together, opposite_parts, separate_gain
from aisle_fusion.hand_proximity import HandProximity, ProximityConfig
from aisle_fusion.shopper_sessions import SOURCE, SessionConfig, ShopperSessions, Visit
from aisle_fusion.store_hypotheses import Judgement, Move, StoreHypotheses
from aisle_fusion.track_history import TrackHistory
from aisle_store.store import Store

#: A change of less than this share of the lightest thing on the shelf is not goods, if nothing else explains it.
_GOODS_SHARE = 0.6

FusionInput = Tracks | ShelfEvents | GateEvent | ItemObservation


@dataclass(frozen=True)
class CartFusionConfig(SessionConfig, ProximityConfig, JudgementConfig, PartsConfig):
    """All parameters of ``CartFusion``."""

    max_lateness_s: float = parameter(6.0, "A source this far behind the newest record is not waited for any more (s)", 0.1, 120.0)
    decision_delay_s: float = parameter(4.0, "A shelf event is judged this long after its end: later parts may follow (s)", 0.0, 60.0)
    settle_s: float = parameter(3.0, "A cart is closed at the earliest this long after the shopper left (s)", 0.0, 60.0)
    history_s: float = parameter(90.0, "Tracks are remembered for this long (s)", 10.0, 3600.0)
    hypotheses: int = parameter(60, "Hypotheses about the whole store that are kept", 1, 10000)
    doubtful_probability: float = parameter(0.6, "Cart lines less likely than this are doubted", 0.0, 1.0)
    possible_probability: float = parameter(0.35, "Products that are left out of a cart but are as likely as this are doubted", 0.0, 1.0)
    bystander_m: float = parameter(1.2, "An event that nobody explains is held against visits this near to it (m)", 0.0, 10.0)


@dataclass(frozen=True, slots=True, eq=False)
class JudgedEvent:
    """A shelf event that carts rest on: its sum (kg), and by visit the distance (m) and the name for people."""

    event: ShelfEvent
    change: float
    deviation: float
    distances: dict[str, float]
    names: dict[str, str]


class CartFusion:
    def __init__(self, store: Store, config: CartFusionConfig) -> None:
        self._store = store
        self._config = config
        self._gate_sources = {gate: f"gates/{gate}" for gate in store.gates}
        sources = ["tracks", "shelf_events", *self._gate_sources.values()]
        self._buffer: EventTimeBuffer[FusionInput] = EventTimeBuffer(sources, int(config.max_lateness_s * NANOSECONDS))
        self._history = TrackHistory(int(config.history_s * NANOSECONDS))
        self._sessions = ShopperSessions(store, config, self._history)
        self._proximity = HandProximity(store, config, self._history)
        self._planogram = Planogram(store)
        self._hypotheses = StoreHypotheses(config.hypotheses)
        self._lightest_kg = {
            shelf.key: min((store.products[product].weight_kg for product in self._planogram.homes(shelf.key)), default=0.0)
            for shelf in store.shelves()
        }
        self._observations: deque[ItemObservation] = deque()
        self._pending: list[tuple[int, int, str, int, ShelfEvent]] = []
        self._parts_taken = 0
        self._judged: dict[int, JudgedEvent] = {}
        self._events_judged = 0
        self._events_unattributed = 0
        self._shelves_known_ns = 0
        self._shown: dict[str, tuple] = {}
        self._now_ns = 0

    def step(self, record: FusionInput) -> StepResult:
        """Takes one record in any order; gives what follows from all that can be put in order by now."""
        result = StepResult()
        problem = self._take(record)
        if problem:
            result.warnings.append(problem)
        for ready in self._buffer.pop_ready():
            self._process(ready, result)
        return result

    def flush(self) -> StepResult:
        """End of a recording: judges all that is held back and closes every visit."""
        result = StepResult()
        for ready in self._buffer.flush():
            self._process(ready, result)
        result.records += self._sessions.finish(self._now_ns)
        self._judge_until(None, result)
        for visit in list(self._sessions.visits.values()):
            self._close(visit, result)
        return result

    def diagnostics(self) -> list[Diagnostic]:
        lost = self._buffer.lost
        dropped = sum(self._buffer.dropped.values())
        level = DiagnosticLevel.WARN if lost or dropped else DiagnosticLevel.OK
        message = f"no data from {', '.join(lost)}" if lost else f"{dropped} records came too late" if dropped else "all sources report"
        visits = self._sessions.visits.values()
        values = (
            ("open visits", str(len(visits))),
            ("visits out of view", str(sum(visit.orphaned for visit in visits))),
            ("events judged", str(self._events_judged)),
            ("events that nobody explains", str(self._events_unattributed)),
            ("events waiting", str(len(self._pending))),
            ("hypotheses", str(len(self._hypotheses))),
            ("records too late", str(dropped)),
        )
        return [Diagnostic("cart fusion", level, message, values)]

    # Taking records in

    def _take(self, record: FusionInput) -> str | None:
        """Puts a record in order; returns what is wrong with it, if anything."""
        if isinstance(record, GateEvent) and record.gate not in self._gate_sources:
            return f"gate event of gate '{record.gate}', expected one of {', '.join(sorted(self._gate_sources)) or 'none'}"
        source = self._source(record)
        if not self._buffer.push(source, record.stamp_ns, record):
            return f"{source}: a record came more than {self._config.max_lateness_s:g} s late and was dropped"
        return None

    def _source(self, record: FusionInput) -> str:
        if isinstance(record, Tracks):
            return "tracks"
        if isinstance(record, ShelfEvents):
            return "shelf_events"
        return self._gate_sources[record.gate] if isinstance(record, GateEvent) else "item_observations"

    def _process(self, record: FusionInput, result: StepResult) -> None:
        """Everything that is decided depends on the ordered sequence of these calls alone."""
        self._now_ns = record.stamp_ns
        if isinstance(record, Tracks):
            self._sessions.take_tracks(record)
        elif isinstance(record, GateEvent):
            self._sessions.take_gate_event(record)
        elif isinstance(record, ShelfEvents):
            self._take_shelf_events(record, result)
        else:
            self._observations.append(record)
        result.records += self._sessions.advance(self._now_ns)
        self._judge_until(self._now_ns, result)
        self._show_changes(result)
        self._close_settled(result)
        while self._observations and self._observations[0].stamp_ns < self._now_ns - self._config.history_s * NANOSECONDS:
            self._observations.popleft()

    def _take_shelf_events(self, record: ShelfEvents, result: StepResult) -> None:
        self._shelves_known_ns = max(self._shelves_known_ns, record.stamp_ns)
        for event in record.events:
            problem = self._problem_of(event)
            if problem:
                result.warnings.append(f"shelf event '{event.event}': {problem}")
            elif event.status == ShelfEventStatus.FINAL:
                self._wait_with(event)

    def _wait_with(self, event: ShelfEvent) -> None:
        self._parts_taken += 1
        heapq.heappush(self._pending, (event.end_ns, event.start_ns, event.event, self._parts_taken, event))

    def _problem_of(self, event: ShelfEvent) -> str | None:
        gondola = self._store.gondolas.get(event.gondola)
        shelf = gondola.shelves.get(event.shelf) if gondola is not None else None
        if shelf is None:
            return f"gondola '{event.gondola}' shelf '{event.shelf}' is not in the store '{self._store.name}'"
        unknown = [plate for plate in event.plates if plate not in shelf.plates]
        return f"plate '{unknown[0]}' is not on gondola '{event.gondola}' shelf '{event.shelf}'" if unknown else None

    # Judging

    def _judge_until(self, now_ns: int | None, result: StepResult) -> None:
        """Judges the events that are due, oldest first; all of them if ``now_ns`` is None."""
        delay_ns = int(self._config.decision_delay_s * NANOSECONDS)
        while self._pending and (now_ns is None or self._pending[0][0] + delay_ns <= now_ns):
            event = heapq.heappop(self._pending)[-1]
            judge = self._judge_of(event)
            # What comes of joining is due anew, by its later end: there may be a third part.
            instead = self._separated(event, judge) or self._joined_with_next(event, judge)
            for other in instead:
                self._wait_with(other)
            if not instead:
                self._judge(event, judge, result)

    def _judge_of(self, event: ShelfEvent) -> EventJudge:
        visits = list(self._sessions.visits.values())
        plates = self._planogram.plates((event.gondola, event.shelf))
        proximities = self._proximity.measure(event, plates, visits)
        strays = self._hypotheses.strays((event.gondola, event.shelf))
        scene = Scene(proximities, self._hypotheses.holdings(), strays, tuple(self._observations))
        return EventJudge(self._store, self._planogram, self._config, event, scene)

    def _separated(self, event: ShelfEvent, judge: EventJudge) -> list[ShelfEvent]:
        """The parts in which goods were taken and put, if the event is likelier that than one move of goods that slid; else none."""
        order = [plate.plate for plate in self._planogram.plates((event.gondola, event.shelf))]
        parts = opposite_parts(event, order, self._config.least_part_kg)
        if len(parts) < 2:
            return []
        apart = sum(self._judge_of(part).log_evidence for part in parts)
        return parts if separate_gain(judge.log_evidence, apart, event, len(parts)) > 0 else []

    def _joined_with_next(self, event: ShelfEvent, judge: EventJudge) -> list[ShelfEvent]:
        """The event together with the next one on its shelf, which is then taken from those that wait, if both are likelier one move."""
        config = self._config
        nexts = [other for *_, other in self._pending if may_belong_together(event, other, config.split_gap_s)]
        if not nexts:
            return []
        other = min(nexts, key=lambda waiting: (waiting.start_ns, waiting.event))
        whole = joined(event, other)
        evidence = self._judge_of(whole).log_evidence, (judge.log_evidence, self._judge_of(other).log_evidence)
        if join_gain(*evidence, float(whole.change.sum()), config.split_share) <= 0:
            return []
        self._pending = [entry for entry in self._pending if entry[-1] is not other]
        heapq.heapify(self._pending)
        return [whole]

    def _judge(self, event: ShelfEvent, judge: EventJudge, result: StepResult) -> None:
        visits = list(self._sessions.visits.values())
        number = self._events_judged
        self._events_judged += 1
        self._hypotheses.update(number, [(c.judgement, c.log_likelihood) for c in judge.candidates], judge.outcome)
        distances = {visit.session: judge.distance(visit.session) for visit in visits}
        names = {visit.session: _name(visit) for visit in visits}
        self._judged[number] = JudgedEvent(event, judge.total, judge.total_deviation, distances, names)
        self._report_unexplained(number, visits, result)
        self._forget_history("")

    def _report_unexplained(self, number: int, visits: list[Visit], result: StepResult) -> None:
        """Tells of an event that is probably goods moved by nobody who is known, and doubts the carts of those who stood near."""
        judged = self._judged[number]
        posterior = self._hypotheses.posterior(number)
        event = judged.event
        if sum(p for judgement, p in posterior.items() if any(move.visit for move in judgement)) >= 0.5:
            return
        nothing = posterior.get((), 0.0) >= 0.5
        if nothing and abs(judged.change) < _GOODS_SHARE * self._lightest_kg[event.gondola, event.shelf]:
            return
        self._events_unattributed += 1
        taken = judged.change < 0
        what = f"{abs(judged.change) * 1e3:.0f} g {'taken from' if taken else 'put on'} gondola {event.gondola} shelf {event.shelf}"
        text = f"{what}, plates {', '.join(event.plates)}: no visit explains it"
        level, code = (AlertLevel.WARN, "unattributed_pick") if taken else (AlertLevel.INFO, "unattributed_put")
        result.records.append(Alert(event.end_ns, level, SOURCE, code, text))
        for visit in visits:
            if taken and judged.distances.get(visit.session, float("inf")) <= self._config.bystander_m:
                visit.doubt(f"{what} near the shopper, and it is not known by whom")

    def _forget_history(self, visit: str) -> None:
        """Keeps what open visits rest on."""
        open_visits = self._sessions.visits
        self._hypotheses.forget(visit, lambda judgement: any(move.visit in open_visits for move in judgement))
        needed = self._hypotheses.events()
        self._judged = {number: judged for number, judged in self._judged.items() if number in needed}

    # Carts

    def _show_changes(self, result: StepResult) -> None:
        for visit in self._sessions.visits.values():
            state = (visit.shopper, visit.track, tuple(visit.doubts), visit.inside, self._events_judged)
            if self._shown.get(visit.session, ((), ()))[0] == state:
                continue
            cart = self._cart(visit, CartStatus.OPEN)
            content = (cart.shopper, cart.track, cart.doubts, tuple((x.product, x.quantity, round(x.probability, 2)) for x in cart.lines))
            if visit.inside and self._shown.get(visit.session, ((), ()))[1] != content:
                result.records.append(cart)
            self._shown[visit.session] = (state, content)

    def _close_settled(self, result: StepResult) -> None:
        for visit in [visit for visit in self._sessions.visits.values() if not visit.inside]:
            waited_s = (self._now_ns - visit.left_ns) / NANOSECONDS
            if waited_s < self._config.settle_s or any(start_ns <= visit.left_ns for _, start_ns, *_ in self._pending):
                continue
            if self._shelves_known_ns >= visit.left_ns or waited_s >= self._config.settle_s + self._config.max_lateness_s:
                self._close(visit, result)

    def _close(self, visit: Visit, result: StepResult) -> None:
        if self._shelves_known_ns <= visit.entered_ns:
            visit.doubt("the shelves did not report while the shopper was inside")
        result.records.append(self._cart(visit, CartStatus.CLOSED))
        self._sessions.close(visit.session)
        self._shown.pop(visit.session, None)
        self._forget_history(visit.session)

    def _cart(self, visit: Visit, status: CartStatus) -> Cart:
        lines, doubts = [], list(visit.doubts)
        for product, probabilities in self._hypotheses.quantities(visit.session).items():
            quantity, probability = max(probabilities.items(), key=lambda entry: (entry[1], -entry[0]))
            name = self._store.products[product].name
            if quantity:
                lines.append(CartLine(product, quantity, min(probability, 1.0), self._evidence(visit, product, quantity)))
                if probability < self._config.doubtful_probability:
                    doubts.append(f"{name} x{quantity} is only {probability:.0%} likely")
            elif 1.0 - probability >= self._config.possible_probability:
                doubts.append(f"{name} may be missing ({1.0 - probability:.0%} likely)")
        closed = status == CartStatus.CLOSED
        stamp_ns = visit.left_ns if closed else self._now_ns
        left_ns = visit.left_ns if closed else 0
        return Cart(
            stamp_ns,
            visit.session,
            visit.shopper,
            visit.track,
            status,
            visit.entered_ns,
            left_ns,
            tuple(lines),
            tuple(dict.fromkeys(doubts)),
        )

    def _evidence(self, visit: Visit, product: str, quantity: int) -> tuple[Evidence, ...]:
        moves = self._hypotheses.explanation(visit.session, product, quantity)
        return tuple(self._evidence_of(number, move) for number, move in moves)

    def _evidence_of(self, number: int, move: Move) -> Evidence:
        judged = self._judged[number]
        event = judged.event
        posterior = self._hypotheses.posterior(number)
        probability = sum(p for judgement, p in posterior.items() if move in judgement)
        other, other_probability = next(((j, p) for j, p in posterior.items() if move not in j), (None, 0.0))
        return Evidence(
            event.event,
            event.gondola,
            event.shelf,
            event.plates,
            event.start_ns,
            event.end_ns,
            change=judged.change,
            deviation=judged.deviation,
            expected=-move.quantity * self._store.products[move.product].weight_kg,
            quantity=move.quantity,
            distance=judged.distances.get(move.visit, float("nan")),
            probability=min(probability, 1.0),
            alternative="" if other is None else _in_words(other, judged.names),
            alternative_probability=other_probability,
        )


def _name(visit: Visit) -> str:
    return visit.shopper or visit.session


def _in_words(judgement: Judgement, names: dict[str, str]) -> str:
    """ "shopper / product xN" for each move."""
    if not judgement:
        return "nothing was moved"
    return ", ".join(f"{names.get(m.visit, m.visit) if m.visit else 'nobody known'} / {m.product} x{m.quantity}" for m in judgement)
