"""When a player sends what."""

from __future__ import annotations

import pytest

from aisle_bags.bag_reader import RawMessage
from aisle_bags.playback import Playback

SECOND = 1_000_000_000


def messages(*seconds: float) -> list[RawMessage]:
    return [RawMessage("/t", "a/msg/B", 100 * SECOND + round(second * SECOND), b"") for second in seconds]


def test_messages_are_due_at_their_pace() -> None:
    playback = Playback(messages(0, 1, 1, 2.5), rate=2.0)
    assert len(playback.due(0.0)) == 1
    assert playback.due(0.49) == []
    assert len(playback.due(0.5)) == 2
    assert not playback.finished
    assert len(playback.due(99.0)) == 1
    assert playback.finished
    assert playback.due(100.0) == []


def test_a_backlog_is_sent_in_portions() -> None:
    playback = Playback(messages(*range(25)), rate=1.0)
    assert [len(playback.due(60.0, most=10)) for _ in range(4)] == [10, 10, 5, 0]


def test_clock_starts_at_the_first_message() -> None:
    assert Playback(messages(3, 4), rate=0.5).time_ns(2.0) == 104 * SECOND
    assert Playback([], rate=1.0).finished


def test_rate_must_be_positive() -> None:
    with pytest.raises(ValueError, match="rate is 0"):
        Playback([], rate=0.0)
