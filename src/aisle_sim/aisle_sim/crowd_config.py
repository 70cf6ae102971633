"""How often shoppers of a simulated crowd do what."""

from __future__ import annotations

from dataclasses import dataclass

from aisle_contract.config import parameter


@dataclass(frozen=True)
class CrowdConfig:
    """Rates are chances per item that somebody takes, if nothing else is said."""

    shoppers: int = parameter(20, "At most so many are in the store at once", 1, 500)
    occupancy: float = parameter(1.3, "People who come, as a multiple of those who just fill the store", 0.05, 5.0)
    visit_s: float = parameter(55.0, "What a visit is taken to last for that, s", 10.0, 3600.0)
    items: float = parameter(5.0, "Mean number of times that somebody takes something", 0.0, 50.0)
    browse: float = parameter(0.25, "Chance of looking at a shelf without taking anything", 0.0, 1.0)
    touch: float = parameter(0.1, "Chance of touching goods without taking them", 0.0, 1.0)
    several: float = parameter(0.15, "Chance of taking two or three pieces at once", 0.0, 1.0)
    put_back: float = parameter(0.08, "Chance of putting a thing back where it belongs, later", 0.0, 1.0)
    misplace: float = parameter(0.04, "Chance of putting a thing back somewhere else, later", 0.0, 1.0)
    misplace_among_equals: float = parameter(0.3, "Share of these that end beside a product of equal weight, if there is one", 0.0, 1.0)
    buy_misplaced: float = parameter(0.3, "Chance that somebody who could takes a misplaced thing", 0.0, 1.0)
    hand_over: float = parameter(0.05, "Chance that somebody with company hands a thing to his companion", 0.0, 1.0)
    leave_on_floor: float = parameter(0.01, "Chance of laying a thing on the floor and leaving it there", 0.0, 1.0)
    in_company: float = parameter(0.25, "Share of shoppers who come with another one and shop close to him", 0.0, 1.0)
    restock_every_s: float = parameter(240.0, "Mean time between visits of staff who refill shelves, s; 0: never", 0.0, 86_400.0)
    restock_facings: int = parameter(6, "Facings that one such visit refills at most", 1, 1000)
    least_pieces: int = parameter(5, "Fewest pieces that a facing holds at first", 1, 1000)
    most_pieces: int = parameter(12, "Most pieces that a facing holds", 1, 1000)
    dwell_min_s: float = parameter(0.8, "Shortest look at a shelf before taking something, s", 0.6, 60.0)
    dwell_max_s: float = parameter(10.0, "Longest look, s", 0.6, 600.0)
