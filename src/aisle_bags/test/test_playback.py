"""When a player sends what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aisle_bags.playback import Playback
from aisle_bags.stored_messages import RawMessage

SECOND = 1_000_000_000


def at(second: float) -> int:
    return 100 * SECOND + round(second * SECOND)


def playback(*seconds: float, rate: float = 1.0, begin: float | None = None) -> Playback:
    stored = [RawMessage("/t", "a/msg/B", at(second), b"") for second in seconds]

    def messages(from_ns: int) -> Iterator[RawMessage]:
        return (message for message in stored if message.log_time_ns >= from_ns)

    made = Playback(messages, at(min(seconds)), at(max(seconds)), rate, None if begin is None else at(begin))
    return made


def running(*seconds: float, rate: float = 1.0, begin: float | None = None) -> Playback:
    made = playback(*seconds, rate=rate, begin=begin)
    made.resume(0.0)
    return made


def times(messages: list[RawMessage]) -> list[float]:
    return [(message.log_time_ns - at(0)) / SECOND for message in messages]


def test_messages_are_due_at_their_pace() -> None:
    play = running(0, 1, 1, 2.5, rate=2.0)
    assert times(play.due(0.0)) == [0]
    assert play.due(0.49) == []
    assert times(play.due(0.5)) == [1, 1]
    assert not play.finished
    assert times(play.due(99.0)) == [2.5]
    assert play.finished
    assert play.due(100.0) == []


def test_a_backlog_is_sent_in_portions_and_holds_the_time() -> None:
    play = running(*range(25))
    sent, clock = [], []
    for _ in range(4):
        sent.append(len(play.due(60.0, most=10)))
        clock.append(play.time_ns(60.0))
    assert sent == [10, 10, 5, 0]
    assert clock == [at(10), at(20), at(60), at(60)]


def test_time_runs_from_the_beginning() -> None:
    play = running(3, 4, rate=0.5)
    play.due(2.0)
    assert play.time_ns(2.0) == at(4)
    later = running(3, 4, 9, begin=3.5)
    assert later.time_ns(0.25) == at(3.75)
    assert times(later.due(0.5)) == [4]


def test_it_stands_still_and_goes_on() -> None:
    play = running(0, 1, 2, 3)
    assert times(play.due(1.5)) == [0, 1]
    play.pause(1.5)
    assert play.due(50.0) == []
    assert play.time_ns(50.0) == at(1.5)
    play.resume(50.0)
    assert play.due(50.4) == []
    assert times(play.due(50.5)) == [2]


def test_step_by_step() -> None:
    play = playback(0, 1, 2)
    assert times([play.take_next(), play.take_next()]) == [0, 1]
    assert play.time_ns(9.0) == at(1)
    play.resume(10.0)
    assert play.due(10.9) == []
    assert times(play.due(11.0)) == [2]
    play.pause(11.0)
    assert play.take_next() is None


def test_the_rate_changes_under_way() -> None:
    play = running(0, 10)
    play.due(0.0)
    play.set_rate(2.0, 4.0)
    assert play.rate == 4.0
    assert play.time_ns(3.0) == at(6)
    assert times(play.due(4.0)) == [10]
    with pytest.raises(ValueError, match="rate is 0"):
        play.set_rate(5.0, 0.0)


def test_seeking_back_and_forth() -> None:
    play = running(0, 1, 2, 3, 4)
    play.due(3.5)
    play.seek(3.5, at(1))
    assert play.time_ns(3.5) == at(1)
    assert times(play.due(4.5)) == [1, 2]
    play.seek(4.5, at(4))
    assert times(play.due(4.5)) == [4]
    assert play.finished
    play.seek(5.0, at(0), until_ns=at(1.5))
    assert times(play.due(99.0)) == [0, 1]
    assert play.finished
    with pytest.raises(ValueError, match=r"expected 100000000000 \.\. 104000000000"):
        play.seek(5.0, at(4.1))


def test_rate_must_be_positive() -> None:
    with pytest.raises(ValueError, match="rate is 0"):
        playback(0, rate=0.0)
