"""Visits: who is in the shop from when to when, and which tracks were that person.

A visit begins with a gate's ENTRY and the track that appears there, or with a track that appears inside (anonymous). It ends when its track
crosses or vanishes at an exit, or when an exit gate says that somebody left. A track that is lost inside leaves an orphaned visit, which
the next track that could be the same person takes over. Competing matches are solved together (linear assignment). Tracks that exchanged
their persons are exchanged back (``visit_identity``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import numpy as np
from scipy.optimize import linear_sum_assignment

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, STAFF_PREFIX, Alert, AlertLevel, GateEvent, GateEventKind, Track, Tracks
from aisle_fusion.gate_crossing import Doorway, path_crosses, segment_distance
from aisle_fusion.track_history import TrackHistory, TrackLife, in_a_row
from aisle_fusion.visit_identity import Exchange, IdentityConfig, VisitIdentities
from aisle_store.store import Gate, GateKind, Store

SOURCE = "cart_fusion"
_FORBIDDEN = 1e6
#: Who is inside and did not come in by a gate is taken for somebody lost from view even so many times as far away as he could have walked.
_FAR_RELINK = 3.0
#: Visits are numbered within the second of their entry, and opened within seconds of it.
_REMEMBERED_SECONDS = 1000
#: Somebody who is seen inside, or at the door, a moment after an EXIT has so much less likely caused it (as a distance from the gate, m).
_STILL_INSIDE_M, _STILL_AT_DOOR_M = 1.0, 0.4
#: Tracks err: who is seen outside, but nearer to the door than this (m), may stand inside beside it.
_OUTSIDE_M = 0.25


@dataclass(frozen=True)
class SessionConfig(IdentityConfig):
    """Parameters of ``ShopperSessions``."""

    gate_radius_m: float = parameter(1.5, "A gate's event is matched to tracks within this distance of the gate (m)", 0.1, 10.0)
    gate_window_s: float = parameter(2.5, "A gate's event is matched to tracks within this time, and decided after it (s)", 0.1, 30.0)
    exit_radius_m: float = parameter(0.6, "A track that vanishes this near to an exit has left (m)", 0.0, 5.0)
    minimum_age_s: float = parameter(1.5, "Tracks that live shorter never become visits (s)", 0.0, 30.0)
    minimum_age_without_entry_s: float = parameter(
        5.0, "The same for tracks that begin inside while gates report and nobody is missing (s)", 0.0, 60.0
    )
    minimum_existence: float = parameter(0.5, "Tracks less likely to be a person never become visits", 0.0, 1.0)
    duplicate_distance_m: float = parameter(0.45, "A new track that stays this near to a visit's track is the same person (m)", 0.0, 2.0)
    walking_speed_mps: float = parameter(1.5, "Fastest that an unseen person is thought to walk (m/s)", 0.1, 10.0)
    orphan_timeout_s: float = parameter(60.0, "A visit whose person is not seen again for this long is closed (s)", 1.0, 3600.0)
    gate_silence_s: float = parameter(3.0, "A gate that reports nothing for this long is not working (s)", 0.1, 600.0)


@dataclass(slots=True)
class TrackSpan:
    """The person of a visit was this track from ``from_ns`` to ``to_ns`` (None: still is)."""

    track: str
    from_ns: int
    to_ns: int | None = None


@dataclass(slots=True)
class Visit:
    """One person's stay. ``left_ns`` is 0 while inside; ``lost_ns`` is when the track was lost, 0 while there is one.

    ``exit_seen``: a gate's EXIT was matched to it. ``stayed``: the track, its newest stamp and whether it was lost, when the visit was
    last known not to have left.
    """

    session: str
    shopper: str
    entered_ns: int
    last_seen_ns: int
    last_position: np.ndarray
    last_velocity: np.ndarray
    spans: list[TrackSpan] = field(default_factory=list)
    lost_ns: int = 0
    left_ns: int = 0
    exit_seen: bool = False
    stayed: tuple[str, int, bool] | None = None
    doubts: list[str] = field(default_factory=list)

    @property
    def track(self) -> str:
        return self.spans[-1].track if self.spans else ""

    @property
    def is_staff(self) -> bool:
        """Staff refill shelves and have no cart."""
        return self.shopper.startswith(STAFF_PREFIX)

    @property
    def inside(self) -> bool:
        return self.left_ns == 0

    @property
    def orphaned(self) -> bool:
        return self.inside and (not self.spans or self.lost_ns > 0)

    def doubt(self, text: str) -> None:
        if text not in self.doubts:
            self.doubts.append(text)


class ShopperSessions:
    """Keeps the visits. Feed it in order of event time; call ``advance`` with the time of each record after it was taken."""

    def __init__(self, store: Store, config: SessionConfig, history: TrackHistory) -> None:
        self._store = store
        self._config = config
        self._history = history
        self._entrances = [gate for gate in store.gates.values() if gate.kind in (GateKind.ENTRANCE, GateKind.BOTH)]
        self._exits = [gate for gate in store.gates.values() if gate.kind in (GateKind.EXIT, GateKind.BOTH)]
        self._entry_doorways = [Doorway.of(gate.ends) for gate in self._entrances]
        self._exit_doorways = [Doorway.of(gate.ends) for gate in self._exits]
        self._window_ns = int(config.gate_window_s * NANOSECONDS)
        self._visit_of_track: dict[str, Visit] = {}
        self._pending_entries: list[GateEvent] = []
        self._pending_exits: list[GateEvent] = []
        self._gate_heard_ns: dict[str, int] = {}
        self._sessions_in_second: dict[str, int] = {}
        self._alerts: list[Alert] = []
        self._identities = VisitIdentities(config)
        # Whether anybody may have moved, or been lost for long enough, since it was last asked who has left.
        self._may_have_left = False
        # Tracks that may get a visit; None when that may have changed.
        self._unbound: list[TrackLife] | None = None
        #: Visits that are not closed yet, oldest first.
        self.visits: dict[str, Visit] = {}

    def take_gate_event(self, event: GateEvent) -> None:
        self._gate_heard_ns[event.gate] = event.stamp_ns
        if event.kind == GateEventKind.ENTRY:
            self._pending_entries.append(event)
        elif event.kind == GateEventKind.EXIT:
            self._pending_exits.append(event)

    def take_tracks(self, tracks: Tracks) -> None:
        self._may_have_left = True
        self._unbound = None
        vanished = self._history.add(tracks)
        for life in vanished:
            visit = self._current_visit(life)
            if visit is not None and visit.inside:
                visit.lost_ns = life.last_ns
        bound: dict[str, Track] = {}
        for track in tracks.tracks:
            life = self._history.get(track.track)
            visit = self._current_visit(life)
            if visit is not None and visit.inside:
                visit.lost_ns = 0
                visit.last_seen_ns, visit.last_position, visit.last_velocity = life.seen_ns, track.position, track.velocity
                bound[visit.session] = track
        exchange = self._identities.take(tracks.stamp_ns, bound)
        if exchange is not None:
            self._exchange(exchange)
        self._visit_of_track = {track: visit for track, visit in self._visit_of_track.items() if self._history.get(track) is not None}

    def advance(self, now_ns: int) -> list[Alert]:
        """Decides what is due at ``now_ns``; returns what people should know."""
        if self._pending_entries and self._pending_entries[0].stamp_ns + self._window_ns <= now_ns:
            self._match_entries(now_ns)
        if self._pending_exits and self._pending_exits[0].stamp_ns + self._window_ns <= now_ns:
            self._match_exits(now_ns)
        self._link_free_tracks(now_ns)
        self._leave_at_exits(now_ns)
        self._expire_orphans(now_ns)
        alerts, self._alerts = self._alerts, []
        return alerts

    def finish(self, now_ns: int) -> list[Alert]:
        """End of a recording: decides everything that waits, and ends all visits."""
        alerts = self.advance(now_ns + 2 * self._window_ns)
        for visit in self.visits.values():
            if visit.inside:
                reason = "was out of view" if visit.orphaned else "was still inside"
                visit.doubt(f"the recording ended while the shopper {reason}")
                visit.left_ns = max(visit.last_seen_ns, visit.entered_ns)
        return alerts

    def close(self, session: str) -> None:
        """Forgets a visit that has left; its track stays known as one that left."""
        del self.visits[session]

    def _exchange(self, exchange: Exchange) -> None:
        """Gives two visits the tracks that have shown their persons for a while; who gets one that is lost is out of view."""
        visits = [self.visits[session] for session in (exchange.first, exchange.second)]
        lives = [None if visit.orphaned else self._history.get(visit.track) for visit in visits]
        from_ns = max(exchange.from_ns, *(visit.spans[-1].from_ns + 1 for visit in visits))
        for visit, life in zip(visits, reversed(lives), strict=True):
            span = visit.spans[-1]
            span.to_ns = from_ns - 1 if span.to_ns is None else min(span.to_ns, from_ns - 1)
            if life is None:
                visit.lost_ns, visit.last_seen_ns = from_ns, min(visit.last_seen_ns, from_ns)
                continue
            visit.spans.append(TrackSpan(life.track, from_ns))
            visit.lost_ns = 0
            visit.last_seen_ns, visit.last_position, visit.last_velocity = life.seen_ns, life.newest.position, life.newest.velocity
            self._visit_of_track[life.track] = visit

    # Entries and exits

    def _match_entries(self, now_ns: int) -> None:
        due = sum(1 for event in self._pending_entries if event.stamp_ns + self._window_ns <= now_ns)
        lives = [life for life in self._history if self._may_enter(life)]
        cost = np.array([[self._entry_cost(event, life) for life in lives] for event in self._pending_entries])
        matches = _assign(cost.reshape(len(self._pending_entries), len(lives)), self._config.gate_radius_m)
        for row, event in enumerate(self._pending_entries[:due]):
            self._enter(event, lives[matches[row]] if row in matches else None)
        del self._pending_entries[:due]

    def _may_enter(self, life: TrackLife) -> bool:
        visit = self._visit_of_track.get(life.track)
        return visit is None or not visit.inside or not visit.shopper

    def _entry_cost(self, event: GateEvent, life: TrackLife) -> float:
        gate = self._store.gates.get(event.gate)
        if gate is None or life.first_ns > event.stamp_ns + self._window_ns or life.last_ns < event.stamp_ns - self._window_ns:
            return _FORBIDDEN
        visit = self._visit_of_track.get(life.track)
        if visit is not None and not visit.inside and visit.left_ns >= event.stamp_ns:
            return _FORBIDDEN
        cost = self._gate_distance(gate, life, event.stamp_ns)
        # Somebody who has long been inside is less likely than somebody new.
        return cost + 0.5 if visit is not None and visit.inside else cost

    def _gate_distance(self, gate: Gate, life: TrackLife, stamp_ns: int) -> float:
        """Distance (m) at the gate's time; for a track that began later or ended earlier, of where it would have been, and a malus."""
        sample_ns, sample = life.nearest(stamp_ns)
        gap_s = (stamp_ns - sample_ns) / NANOSECONDS
        position = sample.position + sample.velocity * gap_s if abs(gap_s) > 0.2 else sample.position
        here = segment_distance(np.array([position, sample.position]), gate.ends)
        return float(here.min()) + 0.3 * abs(gap_s)

    def _enter(self, event: GateEvent, life: TrackLife | None) -> None:
        gate = self._store.gates.get(event.gate)
        visit = self._visit_of_track.get(life.track) if life is not None else None
        if visit is not None and visit.inside:
            visit.shopper = event.shopper
            visit.doubts.clear()
            return
        centre = gate.centre if gate is not None else self._store.floor.mean(axis=0)
        opened = self._open(event.shopper, event.stamp_ns, event.stamp_ns, centre)
        if life is not None:
            from_ns = life.first_ns if visit is None else max(life.first_ns, visit.left_ns)
            self._bind(opened, life, from_ns)

    def _match_exits(self, now_ns: int) -> None:
        due = sum(1 for event in self._pending_exits if event.stamp_ns + self._window_ns <= now_ns)
        # Those whose track has left already take their EXIT too, lest it be given to somebody who stays.
        visits = [visit for visit in self.visits.values() if not visit.exit_seen]
        cost = np.array([[self._exit_cost(event, visit) for visit in visits] for event in self._pending_exits])
        matches = _assign(cost.reshape(len(self._pending_exits), len(visits)), self._config.gate_radius_m)
        for row, event in enumerate(self._pending_exits[:due]):
            if row in matches:
                self._confirm_exit(visits[matches[row]], event.stamp_ns)
            else:
                text = f"somebody left at gate '{event.gate}' and no visit is known that could be the one"
                self._alerts.append(Alert(event.stamp_ns, AlertLevel.WARN, SOURCE, "exit_without_visit", text))
        del self._pending_exits[:due]

    def _exit_cost(self, event: GateEvent, visit: Visit) -> float:
        gate = self._store.gates.get(event.gate)
        left_before = not visit.inside and abs(visit.left_ns - event.stamp_ns) > 2 * self._window_ns
        another = bool(event.shopper and visit.shopper and event.shopper != visit.shopper)
        if gate is None or left_before or another or visit.entered_ns >= event.stamp_ns:
            return _FORBIDDEN
        bonus = -1.0 if event.shopper and event.shopper == visit.shopper else 0.0
        life = self._history.get(visit.track) if visit.track else None
        # Who vanished after the gate's time was seen then: at the door, or not.
        if life is None or (visit.orphaned and visit.last_seen_ns < event.stamp_ns):
            unseen_s = max(0.0, (event.stamp_ns - visit.last_seen_ns) / NANOSECONDS)
            distance = float(segment_distance(visit.last_position, gate.ends)[0])
            return max(0.0, distance - self._config.walking_speed_mps * unseen_s) + 0.5 + bonus
        distance = self._gate_distance(gate, life, event.stamp_ns)
        if self._store.on_floor(life.newest.position)[0]:
            # Who went is seen outside by now, or not at all. At the door a track may lag behind its person.
            came_back = float(segment_distance(life.newest.position, gate.ends)[0]) > self._config.exit_radius_m
            distance += _STILL_INSIDE_M if came_back else _STILL_AT_DOOR_M if visit.inside and life.present else 0.0
        return distance + bonus

    def _confirm_exit(self, visit: Visit, stamp_ns: int) -> None:
        visit.exit_seen = True
        if visit.inside:
            self._leave(visit, stamp_ns)

    def _leave_at_exits(self, now_ns: int) -> None:
        if not self._may_have_left:
            return
        self._may_have_left = False
        moved: list[tuple[Visit, TrackLife]] = []
        for visit in self.visits.values():
            if visit.left_ns or not visit.spans:
                continue
            life, lost_ns = self._history.get(visit.track), visit.lost_ns
            if lost_ns and lost_ns + self._window_ns > now_ns:
                self._may_have_left = True
                continue
            looked_at = visit.track, life.last_ns if life is not None else 0, lost_ns > 0
            # Most records bring nothing new about most people.
            if life is not None and visit.stayed != looked_at:
                visit.stayed = looked_at
                moved.append((visit, life))
        if not moved:
            return
        on_floor = self._store.on_floor(in_a_row([life.newest.position for _, life in moved]).reshape(-1, 2)).tolist()
        for (visit, life), is_on_floor in zip(moved, on_floor, strict=True):
            if visit.lost_ns and self._ended_at_exit(life, is_on_floor):
                self._leave(visit, life.seen_ns)
            elif not visit.lost_ns and not is_on_floor and self._walked_out(life):
                self._leave(visit, life.last_ns)

    def _ended_at_exit(self, life: TrackLife, on_floor: bool) -> bool:
        path = _path(life, life.last_ns - self._window_ns)
        near = _near(self._exit_doorways, life.newest.position, self._config.exit_radius_m)
        return near or (not on_floor and any(path_crosses(path, gate.ends) for gate in self._exits))

    def _walked_out(self, life: TrackLife) -> bool:
        """Whether somebody who is not on the floor crossed an exit, has been outside for a second at least, and is beyond the door."""
        position = life.newest.position
        if not _near(self._exit_doorways, position, self._config.gate_radius_m) or _near(self._exit_doorways, position, _OUTSIDE_M):
            return False
        if life.last_ns - life.first_ns < NANOSECONDS:
            return False
        path = _path(life, life.last_ns - 2 * self._window_ns)
        if not any(path_crosses(path, gate.ends) for gate in self._exits):
            return False
        return not self._store.on_floor(_path(life, life.last_ns - NANOSECONDS)).any()

    def _leave(self, visit: Visit, left_ns: int) -> None:
        visit.left_ns = max(left_ns, visit.entered_ns + 1)
        self._unbound = None
        self._identities.close(visit.session)

    def _expire_orphans(self, now_ns: int) -> None:
        timeout_ns = self._config.orphan_timeout_s * NANOSECONDS
        for visit in self.visits.values():
            if now_ns - visit.last_seen_ns >= timeout_ns and visit.orphaned:
                visit.doubt("the shopper was lost from view inside and never seen again")
                self._leave(visit, visit.last_seen_ns)

    # Tracks inside without a visit

    def _link_free_tracks(self, now_ns: int) -> None:
        if self._unbound is None:
            self._unbound = [life for life in self._history if life.present and self._is_unbound(life)]
        # Most tracks are those of visits that go on, and this is asked with each record.
        if not self._unbound:
            return
        lives = [life for life in self._unbound if self._is_due(life, now_ns)]
        lives = [life for life in lives if not self._is_duplicate(life)]
        if not lives:
            return
        orphans = [visit for visit in self.visits.values() if visit.orphaned]
        cost = np.array([[self._relink_cost(life, visit) for visit in orphans] for life in lives]).reshape(len(lives), len(orphans))
        # Where gates tell of everybody who comes in, somebody of whom they did not tell was in before.
        known = [self._came_without_entry(life, now_ns) for life in lives]
        stretch = [
            [_FAR_RELINK if is_known and self._may_be_far(visit, life) else 1.0 for visit in orphans]
            for is_known, life in zip(known, lives, strict=True)
        ]
        matches = _assign(cost / np.array(stretch).reshape(cost.shape), 1.0)
        for row, life in enumerate(lives):
            if row in matches:
                self._relink(orphans[matches[row]], life, cost[row], orphans)
            elif known[row] or not self._gates_work(now_ns):
                self._open_anonymous(life, now_ns)

    def _may_be_far(self, visit: Visit, life: TrackLife) -> bool:
        """Whether the person of a lost visit may have walked unseen to where a track began: not who was seen elsewhere then, and hardly who
        vanished at an exit."""
        old = self._history.get(visit.track) if visit.track else None
        at_exit = old is not None and self._ended_at_exit(old, bool(self._store.on_floor(old.newest.position)[0]))
        return visit.last_seen_ns <= life.first_ns and not at_exit

    def _came_without_entry(self, life: TrackLife, now_ns: int) -> bool:
        """While gates reported; old enough to be somebody."""
        return self._gates_work(now_ns) and now_ns - life.first_ns >= self._config.minimum_age_without_entry_s * NANOSECONDS

    def _is_unbound(self, life: TrackLife) -> bool:
        """Whether a track is that of a person on the floor, and of no visit or far from any exit though its visit has ended: by mistake, or
        the person came back."""
        visit, track = self._visit_of_track.get(life.track), life.newest
        if visit is not None and (visit.inside or _near(self._exit_doorways, track.position, self._config.gate_radius_m)):
            return False
        likely = track.existence >= self._config.minimum_existence and track.unseen_s < 0.5
        return likely and bool(self._store.on_floor(track.position)[0])

    def _is_due(self, life: TrackLife, now_ns: int) -> bool:
        """Whether a track is old enough, and its visit's end long ago."""
        visit = self._visit_of_track.get(life.track)
        if visit is not None and now_ns - visit.left_ns <= 2 * self._window_ns:
            return False
        least_ns = self._config.minimum_age_s * NANOSECONDS
        old_enough = now_ns - life.first_ns >= least_ns and life.last_ns - life.first_ns >= NANOSECONDS // 2
        return old_enough and not self._may_be_entering(life, now_ns)

    def _may_be_entering(self, life: TrackLife, now_ns: int) -> bool:
        """Began at an entrance a short while ago: the gate's ENTRY, which names the shopper, is waited for."""
        if now_ns - life.first_ns > 2 * self._window_ns:
            return False
        return _near(self._entry_doorways, life.oldest_position, self._config.gate_radius_m)

    def _is_duplicate(self, life: TrackLife) -> bool:
        """Stays with a visit's track, or began while a visit's track near it is not supported by any detection."""
        since_ns = life.last_ns - NANOSECONDS
        path = _path(life, since_ns)
        for other in self._history:
            visit = self._visit_of_track.get(other.track)
            if not other.present or other is life or visit is None or not visit.inside:
                continue
            if _mean_distance(path, _path(other, since_ns)) < self._config.duplicate_distance_m:
                return True
            reach = self._config.duplicate_distance_m + self._config.walking_speed_mps * other.newest.unseen_s
            if other.newest.unseen_s > 0.5 and float(np.linalg.norm(other.newest.position - life.newest.position)) < reach:
                return True
        return False

    def _least_distance(self, life: TrackLife, visit: Visit) -> float:
        """Least distance (m) of a new track from a visit's old one over their common time, until the person was last seen."""
        old = self._history.get(visit.track)
        ours = life.between(life.first_ns, visit.last_seen_ns).positions
        theirs = old.between(life.first_ns, visit.last_seen_ns).positions if old is not None else ours[:0]
        common = min(len(ours), len(theirs))
        if not common:
            _, sample = life.nearest(visit.last_seen_ns)
            return float(np.linalg.norm(sample.position - visit.last_position))
        return float(np.linalg.norm(ours[-common:] - theirs[-common:], axis=1).min())

    def _relink_cost(self, life: TrackLife, visit: Visit) -> float:
        """Share of what the person could have walked while unseen; above 1: impossible."""
        unseen_s = (life.first_ns - visit.last_seen_ns) / NANOSECONDS
        if unseen_s < 0.0:
            # The new track began before the old one was lost: they must have been at one place then, at the end or, where the old one
            # was drawn to others before it ended, a little earlier.
            return self._least_distance(life, visit) / (2 * self._config.duplicate_distance_m)
        expected = visit.last_position + visit.last_velocity * min(unseen_s, 1.0)
        distance = min(np.linalg.norm(life.oldest_position - place) for place in (expected, visit.last_position))
        return float(distance) / (0.7 + self._config.walking_speed_mps * unseen_s) + 0.002 * unseen_s

    def _relink(self, visit: Visit, life: TrackLife, costs: np.ndarray, orphans: Sequence[Visit]) -> None:
        own = costs[orphans.index(visit)]
        for other, cost in zip(orphans, costs, strict=True):
            if other is not visit and cost < min(1.0, own + 0.25):
                visit.doubt("after being lost from view the shopper may have been exchanged with another one")
                other.doubt("after being lost from view the shopper may have been exchanged with another one")
        previous = self._visit_of_track.get(life.track)
        from_ns = life.first_ns if previous is None else max(life.first_ns, previous.left_ns)
        self._bind(visit, life, from_ns)

    def _open_anonymous(self, life: TrackLife, now_ns: int) -> None:
        previous = self._visit_of_track.get(life.track)
        from_ns = life.first_ns if previous is None else now_ns
        visit = self._open("", from_ns, life.seen_ns, life.newest.position)
        self._bind(visit, life, from_ns)
        if self._gates_work(now_ns) and self._entrances:
            visit.doubt("no entry was seen for this shopper")
            place = ", ".join(f"{value:.1f}" for value in life.newest.position)
            text = f"somebody at ({place}) m is inside and no entry was seen: visit {visit.session}"
            self._alerts.append(Alert(now_ns, AlertLevel.INFO, SOURCE, "visit_without_entry", text))

    def _open(self, shopper: str, entered_ns: int, seen_ns: int, position: np.ndarray) -> Visit:
        visit = Visit(self._next_session(entered_ns), shopper, entered_ns, seen_ns, np.asarray(position, dtype=float), np.zeros(2))
        self.visits[visit.session] = visit
        return visit

    def _bind(self, visit: Visit, life: TrackLife, from_ns: int) -> None:
        if visit.spans and visit.spans[-1].to_ns is None:
            visit.spans[-1].to_ns = max(visit.lost_ns, visit.last_seen_ns)
        visit.spans.append(TrackSpan(life.track, from_ns))
        visit.lost_ns = 0 if life.present else life.last_ns
        self._may_have_left = True
        self._unbound = None
        visit.last_seen_ns, visit.last_position, visit.last_velocity = life.seen_ns, life.newest.position, life.newest.velocity
        self._visit_of_track[life.track] = visit

    def _current_visit(self, life: TrackLife) -> Visit | None:
        visit = self._visit_of_track.get(life.track)
        return visit if visit is not None and visit.track == life.track else None

    def _next_session(self, entered_ns: int) -> str:
        """Named after the second of the entry (UTC) and numbered within it."""
        # Not datetime.fromtimestamp: floats do not hold nanoseconds.
        second = (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=entered_ns // NANOSECONDS)).strftime("%Y%m%dT%H%M%S")
        number = self._sessions_in_second.pop(second, 0) + 1
        self._sessions_in_second[second] = number
        while len(self._sessions_in_second) > _REMEMBERED_SECONDS:
            del self._sessions_in_second[next(iter(self._sessions_in_second))]
        return f"{second}-{number}"

    def _gates_work(self, now_ns: int) -> bool:
        silence_ns = self._config.gate_silence_s * NANOSECONDS
        return any(now_ns - heard_ns <= silence_ns for heard_ns in self._gate_heard_ns.values())


def _near(doorways: Sequence[Doorway], position: np.ndarray, radius: float) -> bool:
    return any(doorway.is_within(radius, position) for doorway in doorways)


def _assign(cost: np.ndarray, limit: float) -> dict[int, int]:
    """Row -> column of the cheapest assignment in ``cost`` [R, C]; pairs that cost more than ``limit`` stay apart."""
    if not cost.size:
        return {}
    # One private dummy column per row makes staying alone as good as a pair at the limit.
    padded = np.hstack([np.minimum(cost, _FORBIDDEN), np.full((len(cost), len(cost)), limit)])
    rows, columns = linear_sum_assignment(padded)
    return {
        int(row): int(column) for row, column in zip(rows, columns, strict=True) if column < cost.shape[1] and cost[row, column] <= limit
    }


def _mean_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mean distance (m) of two paths, [N, 2] and [M, 2], over what they have in common at their ends."""
    common = min(len(ours), len(theirs))
    if not common:
        return np.inf
    apart = ours[-common:] - theirs[-common:]
    # A third of what NumPy's norm takes.
    return float(np.sqrt(np.add.reduce(apart * apart, axis=1)).mean())


def _path(life: TrackLife, since_ns: int) -> np.ndarray:
    """Positions [N, 2] m since a time."""
    return life.between(since_ns, life.last_ns).positions
