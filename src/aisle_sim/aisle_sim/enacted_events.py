"""What of the labels can be played in a store: unknown products, plates and shelves are settled here, and the truth that follows."""

from __future__ import annotations

from dataclasses import dataclass

from aisle_sim.labelled_sessions import LabelledEvent, LabelledSession, SessionFileError, net_items
from aisle_store.store import PlateKey, Store


@dataclass(frozen=True)
class EnactedEvent:
    """One label as it is played. ``products`` may be empty: the person only stands there. ``t_s`` as labelled."""

    t_s: float
    person: str
    action: str
    plates: tuple[PlateKey, ...]
    products: tuple[str, ...]


@dataclass(frozen=True)
class Enactment:
    """``truth``: person -> product -> items, of what is played and of labelled products that the catalogue lacks."""

    events: tuple[EnactedEvent, ...]
    truth: dict[str, dict[str, int]]
    warnings: tuple[str, ...]


def enact(store: Store, session: LabelledSession) -> Enactment:
    """Settles a session's labels against a store, in the order of time.

    Raises SessionFileError for a gondola or shelf that the store lacks, naming session, event and field.
    """
    events, counted, warnings = [], [], []
    for number, event in sorted(enumerate(session.events, 1), key=lambda numbered: numbered[1].t_s):
        where = f"session '{session.session}': event {number}"
        plates = _plates(store, event, where, warnings)
        truth, played = _products(store, event, plates, where, warnings)
        events.append(EnactedEvent(event.t_s, event.person, event.action, plates, played))
        counted.append((event.person, event.action, truth))
    return Enactment(tuple(events), net_items(counted), tuple(warnings))


def _plates(store: Store, event: LabelledEvent, where: str, warnings: list[str]) -> tuple[PlateKey, ...]:
    gondola = store.gondolas.get(event.gondola)
    if gondola is None:
        raise SessionFileError(f"{where}: field 'gondola' is '{event.gondola}', expected one of {', '.join(store.gondolas)}")
    shelf = gondola.shelves.get(event.shelf)
    if shelf is None or not shelf.plates:
        filled = [name for name, shelf in gondola.shelves.items() if shelf.plates]
        raise SessionFileError(f"{where}: field 'shelf' is '{event.shelf}', expected one of gondola {event.gondola}'s: {', '.join(filled)}")
    found: dict[PlateKey, None] = {}
    for plate in event.plates:
        known = plate if plate in shelf.plates else _nearest_plate(plate, list(shelf.plates), where)
        if known != plate:
            warnings.append(f"{where}: shelf {event.gondola}/{event.shelf} has no plate '{plate}', plate '{known}' is used")
        found[event.gondola, event.shelf, known] = None
    return tuple(found)


def _nearest_plate(plate: str, known: list[str], where: str) -> str:
    numbered = [name for name in known if name.isdecimal()]
    if not plate.isdecimal() or not numbered:
        raise SessionFileError(f"{where}: field 'plates' names '{plate}', expected one of {', '.join(known)}")
    return min(numbered, key=lambda name: (abs(int(name) - int(plate)), int(name)))


def _products(
    store: Store, event: LabelledEvent, plates: tuple[PlateKey, ...], where: str, warnings: list[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Products for the truth, and those of them that can be played."""
    truth, played = [], []
    for product in event.products:
        if product is None:
            standing = [product for plate in plates for product in store.planogram.get(plate, ()) if product in store.products]
            if not standing:
                warnings.append(f"{where}: the product is unknown and the planogram leaves the plates empty, nothing is moved")
                continue
            product = standing[0]
            warnings.append(f"{where}: the product is unknown, '{product}' of the planogram is moved")
        truth.append(product)
        if product in store.products:
            played.append(product)
        else:
            warnings.append(f"{where}: product '{product}' is not in the catalogue, it is not moved but stays in the truth")
    return tuple(truth), tuple(played)
