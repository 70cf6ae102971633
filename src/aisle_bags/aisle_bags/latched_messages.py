"""What latched topics have said: the messages that a late subscriber still gets."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aisle_bags.stored_messages import RawMessage
from aisle_bags.stored_topics import StoredTopic

#: MCAP's metadata record that tells which of a file's messages are repeated from the files before it; each file that was written with
#: repetition has one, the first an empty one.
REPEATED = "aisle.repeated"
#: Messages of a topic that are kept where its publishers' depth is not known.
_DEPTH = 100
#: Every broadcaster has its own transforms on the one topic, so its depth says nothing about how many there are.
_STATIC_TRANSFORMS = "tf2_msgs/msg/TFMessage"
_MOST_TRANSFORMS = 1000


class LatchedMessages:
    """Keeps of each latched topic as many of the newest messages as its publishers do; of static transforms all that differ."""

    def __init__(self) -> None:
        self._newest: dict[str, deque[RawMessage]] = {}
        self._transforms: dict[tuple[str, bytes], RawMessage] = {}

    def add(self, topic: StoredTopic, message: RawMessage) -> None:
        """Takes a message of a latched topic."""
        if message.type == _STATIC_TRANSFORMS:
            key = (message.topic, message.data)
            # Said again it is the newest one.
            self._transforms.pop(key, None)
            self._transforms[key] = message
            if len(self._transforms) > _MOST_TRANSFORMS:
                del self._transforms[next(iter(self._transforms))]
        else:
            if message.topic not in self._newest:
                self._newest[message.topic] = deque(maxlen=topic.depth or _DEPTH)
            self._newest[message.topic].append(message)

    def messages(self) -> list[RawMessage]:
        """What is kept, in the order in which it was sent."""
        kept = [*self._transforms.values(), *(message for messages in self._newest.values() for message in messages)]
        return sorted(kept, key=lambda message: message.log_time_ns)


class Repeated(NamedTuple):
    """Of a topic's messages in a file, the first ``count`` are repeated: those whose sequence numbers are at most ``last``."""

    count: int
    last: int


def repeated_note(messages: Iterable[RawMessage]) -> dict[str, str]:
    """The values of the record ``REPEATED`` of a file that begins with these messages."""
    found: dict[str, Repeated] = {}
    for message in messages:
        known = found.get(message.topic, Repeated(0, 0))
        found[message.topic] = Repeated(known.count + 1, max(known.last, message.sequence))
    return {topic: json.dumps(repeated._asdict()) for topic, repeated in found.items()}


def read_repeated(values: Mapping[str, str]) -> dict[str, Repeated]:
    """The topics of a record ``REPEATED``. Raises ValueError for what is none."""
    try:
        return {topic: Repeated(**{name: int(number) for name, number in json.loads(text).items()}) for topic, text in values.items()}
    except (TypeError, AttributeError) as error:
        raise ValueError(f"metadata record '{REPEATED}' holds {dict(values)!r}") from error
