"""What the shelf monitor's parts are set by. Masses in kg, times in s."""

from __future__ import annotations

from dataclasses import dataclass

from aisle_contract.config import parameter

#: Samples are put together into bins of this width on a grid that is fixed in time (multiples since the epoch).
BIN_NS = 50_000_000
#: One ``ShelfEvents`` is given per so many bins.
BINS_PER_REPORT = 4
REPORT_NS = BIN_NS * BINS_PER_REPORT


@dataclass(frozen=True)
class ShelfMonitorConfig:
    """The defaults come from what load cells do: see the description of each field for the reasoning."""

    max_lateness_s: float = parameter(
        1.0, "A shelf whose readings lag more than this behind the newest one is not waited for, s", 0.05, 60.0
    )
    steady_s: float = parameter(0.3, "A plate must keep its load for this long for a change to be over, s", 0.2, 1.0)
    steady_long_s: float = parameter(
        1.0,
        "The same where the load grew and trembles, as under a hand, and for slow changes, which may be lifts that pause, s",
        0.2,
        1.7,
    )
    lighter_s: float = parameter(0.5, "A slow loss of load is told provisionally after it has paused for this long, s", 0.2, 1.7)
    heavier_s: float = parameter(0.65, "A gain that may be a resting hand is told provisionally after this time, s", 0.2, 1.7)
    settle_s: float = parameter(1.0, "The load after a change is averaged over this time where nothing else happens, s", 0.2, 2.5)
    refine_s: float = parameter(
        4.0, "Changes of loud plates are measured again (REFINED) over what they show up to this time after they settled, s", 1.0, 4.0
    )
    trigger_kg: float = parameter(0.004, "A plate is active when its load leaves its level by more than this, kg", 1e-4, 1.0)
    trigger_deviations: float = parameter(6.0, "... and by more than so many standard deviations of its noise", 1.0, 50.0)
    steady_kg: float = parameter(
        0.0012, "Range within which a steady load may wander; 6 g/s is the slowest lift of the lightest item, kg", 1e-5, 0.1
    )
    steady_deviations: float = parameter(6.0, "... or so many standard deviations of its noise", 1.0, 50.0)
    steady_share: float = parameter(0.01, "... or this share of the change so far, for plates that ring after a heavy one", 0.0, 0.2)
    least_change_kg: float = parameter(0.008, "Smaller changes of a shelf's load are no events, kg", 1e-4, 1.0)
    least_change_deviations: float = parameter(5.0, "... nor are those below so many of their standard deviations", 1.0, 50.0)
    neighbour_share: float = parameter(
        0.03, "Changes below this share of the strongest one are cross-talk of the shelf: they make no event of their own", 0.0, 0.5
    )
    prior_noise_kg: float = parameter(0.0005, "Noise of a plate's 0.2 s mean that is assumed until it was seen, kg", 1e-5, 0.1)
    least_noise_kg: float = parameter(0.0001, "Least noise of a plate's 0.2 s mean that is believed (quantisation), kg", 1e-6, 0.1)
    drift_kg_per_s: float = parameter(0.00017, "Drift of a plate's zero over an event that is allowed for (10 g/min), kg/s", 0.0, 0.01)
    creep_share: float = parameter(
        0.005, "Plates still creep after a load has come or gone: by this share of it, one standard deviation", 0.0, 0.1
    )
    separation_plates: int = parameter(3, "Plates this far apart on a shelf change in separate events", 2, 20)
    bridged_gap_s: float = parameter(3.0, "A plate that was silent for longer starts anew when it comes back, s", 0.1, 60.0)
    longest_event_s: float = parameter(90.0, "A plate that has not been steady for longer starts anew, s", 5.0, 3600.0)
