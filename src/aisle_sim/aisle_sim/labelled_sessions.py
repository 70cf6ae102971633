"""Shopping sessions labelled by hand: who took or put back what, where and when.

The file is a JSON list of sessions as published with the NanoStore recordings::

    [{"session": "cps-test-2", "events": [{"t_s": 0.0, "person": "...", "action": "pick", "gondola": 2, "shelf": 6,
                                            "plates": [8, 9], "products": ["084114115881"]}]}]
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aisle_contract.topics import ID_PATTERN

ACTIONS = ("pick", "put_back")


class SessionFileError(ValueError):
    """A file of labelled sessions, or a label in it, cannot be used; says where, what was found and what was expected."""


@dataclass(frozen=True)
class LabelledEvent:
    """One label. ``t_s`` seconds from the session's first event; a product ``None`` = the label says unknown."""

    t_s: float
    person: str
    action: Literal["pick", "put_back"]
    gondola: str
    shelf: str
    plates: tuple[str, ...]
    products: tuple[str | None, ...]


@dataclass(frozen=True)
class LabelledSession:
    """One visit of one or several persons; ``events`` in the file's order (see ``ordered_events``)."""

    session: str
    events: tuple[LabelledEvent, ...]

    @property
    def ordered_events(self) -> tuple[LabelledEvent, ...]:
        """Events by time; those of one time stay in the file's order."""
        return tuple(sorted(self.events, key=lambda event: event.t_s))

    @property
    def persons(self) -> tuple[str, ...]:
        """Persons in the order of their first events."""
        return tuple(dict.fromkeys(event.person for event in self.ordered_events))


def load_sessions(path: str | Path) -> list[LabelledSession]:
    """Reads and checks a file of labelled sessions; ids may be numbers or strings there.

    Raises SessionFileError naming the file, session, event and field, what was found and what was expected.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SessionFileError(f"{path}: cannot be read ({error.strerror or error}), expected a JSON list of sessions") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SessionFileError(f"{path}: is not JSON ({error}), expected a JSON list of sessions") from error
    if not isinstance(content, list):
        raise SessionFileError(f"{path}: the file holds {_kind(content)}, expected a list of sessions")
    sessions = [_session(entry, f"{path}: session number {number}") for number, entry in enumerate(content, 1)]
    seen: set[str] = set()
    for session in sessions:
        if session.session in seen:
            raise SessionFileError(f"{path}: session '{session.session}': the name appears twice, expected different names")
        seen.add(session.session)
    return sessions


def select_sessions(sessions: list[LabelledSession], names: str, where: str) -> list[LabelledSession]:
    """The sessions that ``names`` lists, separated by commas and in that order; all for an empty text or "all".

    Raises SessionFileError naming ``where`` and a session that is not in it.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted or wanted == ["all"]:
        return sessions
    by_name = {session.session: session for session in sessions}
    for name in wanted:
        if name not in by_name:
            raise SessionFileError(f"{where}: has no session '{name}', expected one of {', '.join(by_name)}")
    return [by_name[name] for name in wanted]


def net_items(events: Iterable[tuple[str, str, Iterable[str | None]]]) -> dict[str, dict[str, int]]:
    """Net items per person of (person, action, products): a count below zero counts as zero, zero is left out."""
    counts: dict[str, dict[str, int]] = {}
    for person, action, products in events:
        items = counts.setdefault(person, {})
        for product in products:
            if product is not None:
                items[product] = items.get(product, 0) + (1 if action == "pick" else -1)
    return {person: {product: n for product, n in sorted(items.items()) if n > 0} for person, items in counts.items()}


def true_items(session: LabelledSession) -> dict[str, dict[str, int]]:
    """What each person holds at the end by the labels: person -> product -> items. Unknown products are not in it."""
    return net_items((event.person, event.action, event.products) for event in session.ordered_events)


def _session(entry: Any, where: str) -> LabelledSession:
    if not isinstance(entry, dict):
        raise SessionFileError(f"{where}: found {_kind(entry)}, expected an object with 'session' and 'events'")
    name = entry.get("session")
    if not isinstance(name, str) or not name:
        raise SessionFileError(f"{where}: field 'session' is {name!r}, expected a non-empty text")
    where = f"{where.rsplit(': ', 1)[0]}: session '{name}'"
    events = entry.get("events")
    if not isinstance(events, list):
        raise SessionFileError(f"{where}: field 'events' is {_kind(events)}, expected a list")
    return LabelledSession(name, tuple(_event(event, f"{where}: event {number}") for number, event in enumerate(events, 1)))


def _event(entry: Any, where: str) -> LabelledEvent:
    if not isinstance(entry, dict):
        raise SessionFileError(f"{where}: found {_kind(entry)}, expected an object")
    action = entry.get("action")
    if action not in ACTIONS:
        raise SessionFileError(f"{where}: field 'action' is {action!r}, expected one of {', '.join(ACTIONS)}")
    return LabelledEvent(
        t_s=_time(entry.get("t_s"), where),
        person=_text(entry.get("person"), "person", where),
        action=action,
        gondola=_identifier(entry.get("gondola"), "gondola", where),
        shelf=_identifier(entry.get("shelf"), "shelf", where),
        plates=tuple(_identifier(plate, "plates", where) for plate in _filled_list(entry.get("plates"), "plates", where)),
        products=tuple(
            None if product is None else _text(product, "products", where)
            for product in _filled_list(entry.get("products"), "products", where)
        ),
    )


def _time(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or not 0 <= value <= 86_400:
        raise SessionFileError(f"{where}: field 't_s' is {value!r}, expected seconds from the session's first event, 0 .. 86400")
    return float(value)


def _filled_list(value: Any, field: str, where: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise SessionFileError(f"{where}: field '{field}' is {value!r}, expected a list with at least one entry")
    return value


def _text(value: Any, field: str, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise SessionFileError(f"{where}: field '{field}' is {value!r}, expected a non-empty text")
    return str(value)


def _identifier(value: Any, field: str, where: str) -> str:
    text = _text(value, field, where)
    if not ID_PATTERN.fullmatch(text):
        raise SessionFileError(f"{where}: field '{field}' is {value!r}, expected letters, digits and underscores")
    return text


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{'an' if type(value).__name__ == 'int' else 'a'} {type(value).__name__}"
