"""A crowd of one through the whole chain: billed, scored, kept as a bag that gives the same receipts."""

from __future__ import annotations

import pytest

from aisle_bags.bag_reader import BagReader
from aisle_bags.core_settings import CoreSettings
from aisle_bags.crowd_scores import CrowdTask, score_crowd
from aisle_sim.crowd_config import CrowdConfig
from aisle_sim.store_generator import StoreConfig, generate_store

ALONE = CrowdConfig(shoppers=1, occupancy=4.0, items=2.0, put_back=0.0, misplace=0.0, restock_every_s=0.0, dwell_max_s=2.0)


@pytest.fixture(scope="module")
def store():
    return generate_store(StoreConfig(floor_area_m2=12.0, plates=48), seed=0)


def test_one_shopper_after_the_other_is_billed_right(store, tmp_path) -> None:
    told: list[float] = []
    task = CrowdTask(store, CoreSettings(), ALONE, 0.3, "clean", bag=tmp_path)
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
