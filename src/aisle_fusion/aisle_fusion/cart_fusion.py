"""Who took what: fuses tracks, shelf events and gates into a cart for each visit.

Records are put in order of event time; visits follow from gates and tracks (``shopper_sessions``); each shelf event, once it is old enough
for its people to be known, is judged (``event_judgement``) under several hypotheses about the whole store (``store_hypotheses``). A cart's
lines are the likeliest quantities over all hypotheses. It is final once the shelves have been judged up to the time the shopper left.

Open carts do not wait for that: events that are not judged yet, provisional ones among them, are judged at once with the tracks that have
arrived (``_foresee``), and laid over the hypotheses as they are (``_outlook``). Final carts do not depend on it, and where nobody looks at
open carts it is left out.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.event_time import EventTimeBuffer
from aisle_contract.records import (
    NANOSECONDS,
    Alert,
    AlertLevel,
    CartStatus,
    Diagnostic,
    DiagnosticLevel,
    GateEvent,
    ItemObservation,
    ShelfEvent,
    ShelfEvents,
    ShelfEventStatus,
    StepResult,
    Tracks,
)
from aisle_fusion.cart_lines import CartLines, CartLinesConfig, JudgedEvent, name_of
from aisle_fusion.dynamic_planogram import Planogram, Stray
from aisle_fusion.event_judgement import EventJudge, JudgementConfig, Scene
from aisle_fusion.event_parts import PartsConfig, join_gain, joined, may_belong_together, opposite_parts, separate_gain
from aisle_fusion.hand_proximity import HandProximity, ProximityConfig
from aisle_fusion.item_likelihood import ProductWeights
from aisle_fusion.item_sightings import ItemSightings, SightingConfig
from aisle_fusion.shopper_sessions import SOURCE, SessionConfig, ShopperSessions, Visit
from aisle_fusion.store_hypotheses import KeptUpdate, StoreHypotheses
from aisle_fusion.track_history import TrackHistory, TrackLife
from aisle_store.store import Store

#: A change of less than this share of the lightest thing on the shelf is not goods, if nothing else explains it.
_GOODS_SHARE = 0.6
#: Numbers of events that are judged ahead of time begin here.
_FORESEEN = 1 << 62
#: No more than so much is put off while shelf events come in.
_BACKLOG_NS = NANOSECONDS // 2
#: Open carts are shown at once rather than to the last digit: so many hypotheses will do.
_FORESEEN_HYPOTHESES = 10
#: A slow lift is reported in so many parts at most.
_MOST_PARTS = 3
#: A shelf that came to rest a little otherwise moved no goods: from this probability on nobody is doubted for it.
_SURELY_NOTHING = 0.95
#: Events at one time and this near to each other (m) may be one hand's, if both took or both put.
_ONE_HAND_M = 0.25
#: Taking one thing and putting another takes one hand at least so long; so long must an event last that may be both, if it does not tell.
_TAKE_AND_PUT_NS = NANOSECONDS // 2
_TAKE_AND_PUT_EVENT_NS = NANOSECONDS
#: From one place to another that is farther away than that a hand takes at least so long.
_ELSEWHERE_NS = NANOSECONDS // 2
#: Events that do not tell and overlap by less than this were one after the other: loads take a while to be steady.
_SETTLING_NS = NANOSECONDS // 4

FusionInput = Tracks | ShelfEvents | GateEvent | ItemObservation


@dataclass(frozen=True)
class CartFusionConfig(SessionConfig, ProximityConfig, JudgementConfig, SightingConfig, PartsConfig, CartLinesConfig):
    """All parameters of ``CartFusion``."""

    max_lateness_s: float = parameter(6.0, "A source this far behind the newest record is not waited for any more (s)", 0.1, 120.0)
    decision_delay_s: float = parameter(4.0, "A shelf event is judged this long after its end: later parts may follow (s)", 0.0, 60.0)
    unsettled_s: float = parameter(6.0, "So much later if a change that may be a part of it is not final yet (s)", 0.0, 60.0)
    settle_s: float = parameter(3.0, "A cart is closed at the earliest this long after the shopper left (s)", 0.0, 60.0)
    history_s: float = parameter(90.0, "Tracks are remembered for this long (s)", 10.0, 3600.0)
    hypotheses: int = parameter(60, "Hypotheses about things that depend on each other that are kept", 1, 10000)
    bystander_m: float = parameter(1.2, "An event that nobody explains is held against visits this near to it (m)", 0.0, 10.0)
    provisional_s: float = parameter(
        30.0, "A provisional event that is not confirmed within this time is not believed any more (s)", 1.0, 600.0
    )
    stray_hours: float = parameter(24.0, "A piece that was put elsewhere is remembered for this long (hours)", 0.01, 1000.0)
    strays: int = parameter(300, "Pieces put elsewhere that are remembered, the newest", 0, 100_000)
    open_carts: bool = parameter(
        True, "Show carts while people shop, as they will likely be; final carts are the same without, at less than half the cost"
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Foreseen:
    """An event that is judged ahead of time; ``number`` by which the hypotheses know it.

    ``kept``: what it made of them when it was last laid over them.
    """

    number: int
    event: ShelfEvent
    judge: EventJudge
    judged: JudgedEvent
    kept: KeptUpdate = field(default_factory=KeptUpdate)


class CartFusion:
    def __init__(self, store: Store, config: CartFusionConfig) -> None:
        self._store = store
        self._config = config
        self._gate_sources = {gate: f"gates/{gate}" for gate in store.gates}
        sources = ["tracks", "shelf_events", *self._gate_sources.values()]
        self._buffer: EventTimeBuffer[FusionInput] = EventTimeBuffer(sources, int(config.max_lateness_s * NANOSECONDS))
        self._ready: deque[FusionInput] = deque()
        self._history = TrackHistory(int(config.history_s * NANOSECONDS))
        self._sessions = ShopperSessions(store, config, self._history)
        self._proximity = HandProximity(store, config, self._history)
        self._sightings = ItemSightings(config, self._history, len(store.products), int(config.history_s * NANOSECONDS))
        self._planogram = Planogram(store, config)
        self._weights = ProductWeights(store, config)
        self._lines = CartLines(store, config, self._weights)
        self._hypotheses = StoreHypotheses(config.hypotheses)
        self._lightest_kg = {
            shelf.key: min((store.products[product].weight_kg for product in self._planogram.homes(shelf.key)), default=0.0)
            for shelf in store.shelves()
        }
        self._pending: list[tuple[int, int, str, int, ShelfEvent]] = []
        self._open: dict[str, ShelfEvent] = {}
        self._parts_taken = 0
        self._judged: dict[int, JudgedEvent] = {}
        self._recent: deque[_Recent] = deque(maxlen=200)
        self._foreseen: dict[str, list[_Foreseen]] = {}
        self._events_foreseen = 0
        self._events_judged = 0
        self._events_unattributed = 0
        self._shelves_known_ns = 0
        self._shown: dict[str, _Shown] = {}
        self._expected: StoreHypotheses | None = None
        self._ahead: _Ahead | None = None
        self._now_ns = 0

    def step(self, record: FusionInput) -> StepResult:
        """Takes one record in any order; gives what follows from all that can be put in order by now, and carts as they will likely be."""
        result = StepResult()
        problem = self._take(record)
        if problem:
            result.warnings.append(problem)
        elif self._config.open_carts and isinstance(record, ShelfEvents):
            self._foresee(record)
        self._ready.extend(self._buffer.pop_ready())
        if not self._may_wait(record):
            self._process_ready(result)
        if self._config.open_carts:
            self._show_changes(max(self._now_ns, record.stamp_ns), result)
        return result

    def flush(self) -> StepResult:
        """End of a recording: judges all that is held back and closes every visit."""
        result = StepResult()
        self._ready.extend(self._buffer.flush())
        self._process_ready(result)
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
            ("hypotheses that depend on each other", str(self._hypotheses.largest_group)),
            ("stray pieces", str(len(self._hypotheses.all_strays()))),
            ("records too late", str(dropped)),
        )
        return [Diagnostic("cart fusion", level, message, values)]

    # Taking records in

    def _take(self, record: FusionInput) -> str | None:
        """Puts a record in order; returns what is wrong with it, if anything."""
        if isinstance(record, GateEvent) and record.gate not in self._gate_sources:
            return f"gate event of gate '{record.gate}', expected one of {', '.join(sorted(self._gate_sources)) or 'none'}"
        source = self._source(record)
        if isinstance(record, (Tracks, ItemObservation)):
            self._ahead = None
        if not self._buffer.push(source, record.stamp_ns, record):
            return f"{source}: a record came more than {self._config.max_lateness_s:g} s late and was dropped"
        return None

    def _source(self, record: FusionInput) -> str:
        if isinstance(record, Tracks):
            return "tracks"
        if isinstance(record, ShelfEvents):
            return "shelf_events"
        return self._gate_sources[record.gate] if isinstance(record, GateEvent) else "item_observations"

    def _may_wait(self, record: FusionInput) -> bool:
        """Whether what is in order by now is processed with a later record: shelf events come in bursts, and people wait for open carts,
        not for what is decided seconds afterwards anyway. What is decided does not depend on it."""
        if not (self._config.open_carts and isinstance(record, ShelfEvents) and self._ready):
            return False
        return self._ready[-1].stamp_ns - self._ready[0].stamp_ns < _BACKLOG_NS

    def _process_ready(self, result: StepResult) -> None:
        while self._ready:
            self._ahead = None
            self._process(self._ready.popleft(), result)

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
            self._sightings.add(record)
        result.records += self._sessions.advance(self._now_ns)
        self._judge_until(self._now_ns, result)
        self._close_settled(result)
        self._sightings.forget(self._now_ns)

    def _take_shelf_events(self, record: ShelfEvents, result: StepResult) -> None:
        self._shelves_known_ns = max(self._shelves_known_ns, record.stamp_ns)
        for event in record.events:
            problem = self._problem_of(event)
            if problem:
                result.warnings.append(f"shelf event '{event.event}': {problem}")
            else:
                self._note(event)

    def _note(self, event: ShelfEvent) -> None:
        """Puts a final event among those that wait, or a better measurement of it in its place, and remembers a provisional one as long as
        it may become one."""
        self._open.pop(event.event, None)
        if event.plates and event.status == ShelfEventStatus.FINAL:
            self._wait_with(event)
        elif event.plates and event.status == ShelfEventStatus.REFINED:
            self._replace(event)
        elif event.plates and event.status == ShelfEventStatus.PROVISIONAL:
            self._open[event.event] = event

    def _replace(self, event: ShelfEvent) -> None:
        """Takes the better measurement of an event that still waits; what was put together with another, or judged, stays as it is."""
        for place, (*due, waiting) in enumerate(self._pending):
            if waiting.event == event.event and waiting.plates == event.plates:
                self._pending[place] = (*due, event)

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
            if now_ns is not None and self._may_go_on(self._pending[0][-1], now_ns):
                return
            event = heapq.heappop(self._pending)[-1]
            judge = self._judge_of(event)
            # What comes of joining is due anew, by its later end: there may be a third part.
            instead = self._separated(event, judge) or self._joined_with_next(event, judge)
            for other in instead:
                self._wait_with(other)
            if not instead:
                self._judge(event, judge, result)

    def _judge_of(self, event: ShelfEvent, ahead: _Ahead | None = None) -> EventJudge:
        """``ahead``: records that are not in order yet, for a judgement that is thrown away."""
        ahead = ahead or _Ahead()
        visits = list(self._sessions.visits.values())
        shelf = (event.gondola, event.shelf)
        scene = Scene(
            proximities=self._proximity.measure(event, self._planogram.plates(shelf), visits, ahead.tracks),
            holdings=self._hypotheses.holdings(),
            chances=self._hypotheses.chances(),
            strays=self._hypotheses.strays(shelf),
            rivals=self._rivals(event),
            staff={visit.session for visit in visits if visit.is_staff},
            recency=self._hypotheses.recency,
            sights=self._sightings.at(event, visits, ahead.tracks, ahead.observations),
        )
        return EventJudge(self._planogram, self._weights, self._config, event, scene)

    def _rivals(self, event: ShelfEvent) -> dict[int, Mapping[str, float]]:
        """The judged events elsewhere at the same time, by number, with how near everybody was there: one person hardly did both."""
        found, here = {}, None
        for recent in self._recent:
            other = recent.event
            if other.event == event.event:
                # One hand takes and puts one after the other.
                unknown_ns = _TAKE_AND_PUT_NS * (event.end_ns - event.start_ns) // _TAKE_AND_PUT_EVENT_NS
                rival = _apart_ns(event, other, unknown_ns) < _TAKE_AND_PUT_NS
            else:
                overlap_ns = min(event.end_ns, other.end_ns) - max(event.start_ns, other.start_ns)
                rival = _apart_ns(event, other, 0 if overlap_ns > _SETTLING_NS else _ELSEWHERE_NS) < _ELSEWHERE_NS
                if rival:
                    here = self._place_of(event) if here is None else here
                    opposite = event.change.sum() * other.change.sum() < 0.0
                    rival = opposite or np.linalg.norm(here - recent.place) > _ONE_HAND_M
            if rival:
                found[recent.number] = recent.ratios
        return found

    def _place_of(self, event: ShelfEvent) -> np.ndarray:
        """Where on the shelves it was, float64 [3] m."""
        weight = (np.abs(event.change) + 1e-9)[:, None]
        fronts = np.array([self._store.plate(event.gondola, event.shelf, plate).front for plate in event.plates])
        return (fronts * weight).sum(axis=0) / weight.sum(axis=0)

    def _separated(self, event: ShelfEvent, judge: EventJudge, ahead: _Ahead | None = None) -> list[ShelfEvent]:
        """The parts in which goods were taken and put, if the event is likelier that than one move of goods that slid; else none."""
        order = [plate.plate for plate in self._planogram.plates((event.gondola, event.shelf))]
        parts = opposite_parts(event, order, self._config.least_part_kg)
        if len(parts) < 2:
            return []
        apart = math.fsum(self._judge_of(part, ahead).log_evidence for part in parts)
        return parts if separate_gain(judge.log_evidence, apart, event, len(parts)) > 0 else []

    def _joined_with_next(self, event: ShelfEvent, judge: EventJudge) -> list[ShelfEvent]:
        """The event together with the next one or two on its shelf, which are then taken from those that wait, if they are likelier one
        move."""
        whole, parts, evidence, taken_again = event, [event], [], -np.inf
        while len(parts) < _MOST_PARTS and (other := self._next_part(whole, parts)) is not None:
            whole = joined(whole, other, self._config)
            parts.append(other)
            later = self._judge_of(other)
            if self._separated(other, later):
                return []
            evidence = [*(evidence or [judge.log_evidence]), later.log_evidence]
            if len(parts) == 2 and judge.total > 0 > later.total:
                taken_again = judge.log_evidence_put_back + later.log_evidence_taken_again(judge.total)
            if join_gain(self._judge_of(whole).log_evidence, evidence, parts, self._config, taken_again) > 0:
                self._pending = [entry for entry in self._pending if not any(entry[-1] is part for part in parts)]
                heapq.heapify(self._pending)
                return [whole]
        return []

    def _may_go_on(self, event: ShelfEvent, now_ns: int) -> bool:
        """Whether a change that the shelf has not settled yet may be a further part of an event, which then is waited for a while."""
        limit_ns = int((self._config.decision_delay_s + self._config.unsettled_s) * NANOSECONDS)
        self._open = {name: other for name, other in self._open.items() if other.end_ns + limit_ns > now_ns}
        shelf = (event.gondola, event.shelf)
        unsettled = [other for other in self._open.values() if (other.gondola, other.shelf) == shelf]
        if not unsettled or event.end_ns + limit_ns <= now_ns:
            return False
        whole, parts = event, [event]
        while not any(may_belong_together(whole, other, self._config) for other in unsettled):
            if len(parts) + 1 >= _MOST_PARTS or (other := self._next_part(whole, parts)) is None:
                return False
            whole = joined(whole, other, self._config)
            parts.append(other)
        return True

    def _next_part(self, whole: ShelfEvent, parts: list[ShelfEvent]) -> ShelfEvent | None:
        """The first of the waiting events that may go on with what some parts make."""
        nexts = [other for *_, other in self._pending if not any(other is part for part in parts)]
        nexts = [other for other in nexts if may_belong_together(whole, other, self._config)]
        return min(nexts, key=lambda waiting: (waiting.start_ns, waiting.event), default=None)

    def _judge(self, event: ShelfEvent, judge: EventJudge, result: StepResult) -> None:
        visits = list(self._sessions.visits.values())
        number = self._events_judged
        self._events_judged += 1
        self._hypotheses.update(number, judge.judgements, judge.outcome, judge.dependence, judge.bounds)
        judge.learn(self._hypotheses.posterior(number))
        self._judged[number] = self._judged_event(event, judge)
        self._recent.append(_Recent(number, event, self._place_of(event), judge.ratios))
        for name in event.event.split("+"):
            self._forget_foreseen(name)
        self._report_unexplained(number, visits, result)
        self._forget_history()

    def _judged_event(self, event: ShelfEvent, judge: EventJudge) -> JudgedEvent:
        visits = self._sessions.visits.values()
        distances = {visit.session: judge.distance(visit.session) for visit in visits}
        names = {visit.session: name_of(visit) for visit in visits}
        return JudgedEvent(event, judge.total, judge.total_deviation, distances, names)

    def _report_unexplained(self, number: int, visits: list[Visit], result: StepResult) -> None:
        """Tells of an event that is probably goods moved by nobody who is known, and doubts the carts of those who stood near."""
        judged = self._judged[number]
        posterior = self._hypotheses.posterior(number)
        event = judged.event
        if math.fsum(p for judgement, p in posterior.items() if any(move.visit for move in judgement)) >= 0.5:
            return
        nothing = posterior.get((), 0.0)
        too_light = abs(judged.change) < _GOODS_SHARE * self._lightest_kg[event.gondola, event.shelf]
        taken = judged.change < 0
        if (taken and nothing >= _SURELY_NOTHING) or (nothing >= 0.5 and too_light):
            return
        self._events_unattributed += 1
        what = f"{abs(judged.change) * 1e3:.0f} g {'taken from' if taken else 'put on'} gondola {event.gondola} shelf {event.shelf}"
        text = f"{what}, plates {', '.join(event.plates)}: no visit explains it"
        level, code = (AlertLevel.WARN, "unattributed_pick") if taken else (AlertLevel.INFO, "unattributed_put")
        result.records.append(Alert(event.end_ns, level, SOURCE, code, text))
        for visit in visits:
            if taken and judged.distances.get(visit.session, float("inf")) <= self._config.bystander_m:
                visit.doubt(f"{what} near the shopper, and it is not known by whom")

    def _forget_history(self) -> None:
        """Keeps what open visits rest on, and the newest stray pieces."""
        open_visits = self._sessions.visits
        newest = sorted((stray.since_ns for stray in self._hypotheses.all_strays()), reverse=True)[: self._config.strays]
        oldest_ns = max(self._now_ns - int(self._config.stray_hours * 3600 * NANOSECONDS), newest[-1] if newest else 0)

        def is_standing(stray: Stray) -> bool:
            return stray.since_ns >= oldest_ns

        self._expected = None
        self._hypotheses.forget(open_visits.keys(), is_standing)
        needed = self._hypotheses.events()
        self._judged = {number: judged for number, judged in self._judged.items() if number in needed}

    # Open carts

    def _foresee(self, record: ShelfEvents) -> None:
        """Judges what the shelves report at once, provisional or not, with all that has arrived: only open carts rest on that."""
        for event in record.events:
            if self._problem_of(event):
                continue
            if event.status == ShelfEventStatus.REFINED and event.event not in self._foreseen:
                # It has been judged by now.
                continue
            if self._ahead is None:
                self._ahead = _Ahead.of([*self._ready, *self._buffer.held()])
            self._forget_foreseen(event.event)
            # In older recordings a provisional event without plates is one that is taken back.
            if event.plates and event.status != ShelfEventStatus.RETRACTED:
                self._foreseen[event.event] = self._foreseen_parts(event, self._ahead)
                self._expected = None
        oldest_ns = record.stamp_ns - int(self._config.provisional_s * NANOSECONDS)
        for name in [name for name, parts in self._foreseen.items() if parts[0].event.end_ns < oldest_ns]:
            self._forget_foreseen(name)

    def _forget_foreseen(self, name: str) -> None:
        if self._foreseen.pop(name, None) is not None:
            self._expected = None

    def _foreseen_parts(self, event: ShelfEvent, ahead: _Ahead) -> list[_Foreseen]:
        judge = self._judge_of(event, ahead)
        parts = self._separated(event, judge, ahead)
        judges = [(part, self._judge_of(part, ahead)) for part in parts] or [(event, judge)]
        found = []
        for part, its_judge in judges:
            self._events_foreseen += 1
            found.append(_Foreseen(_FORESEEN + self._events_foreseen, part, its_judge, self._judged_event(part, its_judge)))
        return found

    def _show_changes(self, now_ns: int, result: StepResult) -> None:
        """Gives the open carts that are not as they were shown last."""
        if self._expected is None:
            self._expected = self._outlook()
        judged = None
        for visit in self._sessions.visits.values():
            state = (visit.shopper, visit.track, tuple(visit.doubts), visit.inside, self._expected.about(visit.session))
            shown = self._shown.get(visit.session)
            if shown is not None and shown.state == state:
                continue
            if judged is None:
                judged = {**self._judged, **{f.number: f.judged for parts in self._foreseen.values() for f in parts}}
            cart = self._lines.cart(visit, CartStatus.OPEN, now_ns, self._expected, judged)
            content = (cart.shopper, cart.track, cart.doubts, tuple((x.product, x.quantity, round(x.probability, 2)) for x in cart.lines))
            if visit.inside and not visit.is_staff and (shown is None or shown.content != content):
                result.records.append(cart)
            self._shown[visit.session] = _Shown(state, content)

    def _outlook(self) -> StoreHypotheses:
        """The hypotheses as they will likely be once everything that waits has been judged.

        Each event that waits is laid over them in the order in which it will be judged. What it makes of the groups that it touches is
        kept: it is worked out anew only where a change before it changed those.
        """
        waiting = sorted((f for parts in self._foreseen.values() for f in parts), key=lambda f: (f.event.end_ns, f.event.event, f.number))
        hypotheses = self._hypotheses.copy(min(self._config.hypotheses, _FORESEEN_HYPOTHESES) if waiting else None)
        for foreseen in waiting:
            judge = foreseen.judge
            hypotheses.update(foreseen.number, judge.judgements, judge.outcome, judge.dependence, judge.bounds, foreseen.kept)
        return hypotheses

    # Final carts

    def _close_settled(self, result: StepResult) -> None:
        for visit in [visit for visit in self._sessions.visits.values() if visit.left_ns]:
            waited_s = (self._now_ns - visit.left_ns) / NANOSECONDS
            if waited_s < self._config.settle_s or any(start_ns <= visit.left_ns for _, start_ns, *_ in self._pending):
                continue
            if self._shelves_known_ns >= visit.left_ns or waited_s >= self._config.settle_s + self._config.max_lateness_s:
                self._close(visit, result)

    def _close(self, visit: Visit, result: StepResult) -> None:
        if self._shelves_known_ns <= visit.entered_ns:
            visit.doubt("the shelves did not report while the shopper was inside")
        if not visit.is_staff:
            result.records.append(self._lines.cart(visit, CartStatus.CLOSED, self._now_ns, self._hypotheses, self._judged))
        self._sessions.close(visit.session)
        self._shown.pop(visit.session, None)
        self._forget_history()


@dataclass(frozen=True, slots=True, eq=False)
class _Recent:
    """A judged event, its ``place`` float64 [3] m on the shelves, and the likelihood ratio of each visit to have moved something there."""

    number: int
    event: ShelfEvent
    place: np.ndarray
    ratios: Mapping[str, float]


def _apart_ns(first: ShelfEvent, second: ShelfEvent, unknown_ns: int) -> int:
    """How far apart in time the loads changed; ``unknown_ns`` if one of the events does not say when."""
    if not len(first.changed_ns) or not len(second.changed_ns):
        return unknown_ns
    times = [int(event.changed_ns[np.argmax(np.abs(event.change))]) for event in (first, second)]
    return abs(times[0] - times[1])


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """What an open cart rested on when it was last looked at (with the groups of hypotheses about it), and what was in it."""

    state: tuple
    content: tuple


@dataclass(frozen=True)
class _Ahead:
    """Records that have arrived but are not in order yet: tracks by name, and observations of items."""

    tracks: dict[str, TrackLife] = field(default_factory=dict)
    observations: tuple[ItemObservation, ...] = ()

    @classmethod
    def of(cls, records: list[FusionInput]) -> _Ahead:
        history = TrackHistory(NANOSECONDS * 3600)
        for record in records:
            if isinstance(record, Tracks):
                history.add(record)
        observations = tuple(record for record in records if isinstance(record, ItemObservation))
        return cls({life.track: life for life in history}, observations)
