"""A crowd of one through the whole chain: billed, scored, kept as a bag that gives the same receipts."""

from __future__ import annotations

import pytest

from aisle_bags.bag_reader import BagReader
from aisle_bags.core_settings import CoreSettings
from aisle_bags.crowd_scores import CrowdTask, film_crowd, score_crowd
from aisle_bags.failure_panels import shelf_panel, wrong_moments
from aisle_bags.scoring import WrongLine
from aisle_sim.crowd_config import CrowdConfig
from aisle_sim.profiles import PROFILES
from aisle_sim.store_generator import StoreConfig, generate_store

ALONE = CrowdConfig(shoppers=1, occupancy=4.0, items=2.0, put_back=0.0, misplace=0.0, restock_every_s=0.0, dwell_max_s=2.0)


@pytest.fixture(scope="module")
def store():
    return generate_store(StoreConfig(floor_area_m2=12.0, plates=48), seed=0)


def test_one_shopper_after_the_other_is_billed_right(store, tmp_path) -> None:
    told: list[float] = []
    task = CrowdTask(store, CoreSettings(), ALONE, 0.3, PROFILES["clean"], bag=tmp_path)
    result = score_crowd(task, 1, advanced=told.append)
    assert result.people >= 1
    assert result.score.items.expected >= 1
    assert result.score.items.f1 > 0.8
    assert len(result.score.outcomes) >= 1
    assert sum(told) == pytest.approx(result.simulated_s)
    with BagReader(tmp_path / "crowd-1-clean-1") as reader:
        assert reader.end_ns - reader.start_ns == pytest.approx(result.simulated_s * 1e9, rel=0.05)
        topics = " ".join(map(str, reader.topics))
    assert "detections" in topics
    assert "weights" in topics
    with pytest.raises(FileExistsError):
        score_crowd(task, 1)


def test_what_a_wrong_line_rests_on_is_filmed(store) -> None:
    task = CrowdTask(store, CoreSettings(), ALONE, 0.3, PROFILES["clean"])
    result = score_crowd(task, 1)
    picks = [event for event in result.story.truth if event.action == "pick"]
    assert picks
    line = WrongLine("crowd", 1, picks[0].person, picks[0].products[0], 1, 0, "event missed", "a story")
    moments = wrong_moments(result.story, [line])
    assert any(moment.start_s == picks[0].start_s for moment in moments)
    footage = film_crowd(task, 1, moments)
    panel = shelf_panel(store, result.story, footage, moments[0])
    assert moments[0].first_s - 0.5 <= panel.times[0] < moments[0].start_s < panel.times[-1] <= moments[0].last_s + 0.5
    assert min(change.min() for change in panel.weights.values()) < -5.0
    assert picks[0].person in panel.true_hands
    assert any(picks[0].person in name for name in panel.tracked_hands)
    assert len(footage.readings) < 0.8 * result.simulated_s / 0.2 * len(list(store.shelves()))
