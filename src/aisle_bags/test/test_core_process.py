"""Cores in processes of their own against the same ones in this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.bag_store import store_of
from aisle_bags.core_process import CoreProcess, ShelfTask
from aisle_bags.core_settings import CoreSettings
from aisle_bags.offline import OfflineResult
from aisle_bags.replay import plan_replay, replay
from aisle_fusion.shelf_monitor_config import ShelfMonitorConfig

BAG = Path(__file__).resolve().parents[3] / "bags" / "cps-test-4-nominal-0"


def replayed(processes: int) -> OfflineResult:
    with BagReader(BAG) as reader:
        return replay(reader, plan_replay(reader, "/", "detections"), store_of(reader), CoreSettings(), processes=processes)


@pytest.mark.parametrize("processes", [2, 3])
def test_more_processes_give_what_one_gives_to_the_last_bit(processes: int) -> None:
    alone, split = replayed(1), replayed(processes)
    assert alone.receipts
    # repr keeps every bit of a float.
    assert repr(split.records) == repr(alone.records)
    assert split.warnings == alone.warnings
    assert split.diagnostics == alone.diagnostics
    assert split.fed == alone.fed


@pytest.fixture
def task() -> ShelfTask:
    with BagReader(BAG) as reader:
        topics = tuple(topic.name for topic in reader.topics_of("aisle_msgs/msg/ScaleReading"))
        return ShelfTask(BAG, topics, store_of(reader), ShelfMonitorConfig())


def test_a_bag_that_cannot_be_read_is_told_as_in_this_process(task: ShelfTask, tmp_path: Path) -> None:
    broken = ShelfTask(tmp_path / "none", task.topics, task.store, task.config)
    with pytest.raises(BagError, match="none: no such file or folder"), CoreProcess([(1, broken)]) as steps:
        list(steps)


def test_a_process_that_is_killed_is_told(task: ShelfTask) -> None:
    with CoreProcess([(1, task)]) as steps:
        iterator = iter(steps)
        next(iterator)
        os.kill(steps.pid, 9)
        with pytest.raises(RuntimeError, match="ended with exit code -9"):
            list(iterator)


def test_a_process_that_nobody_listens_to_ends(task: ShelfTask) -> None:
    with CoreProcess([(1, task)]) as steps:
        next(iter(steps))
    assert not steps.running
