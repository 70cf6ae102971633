"""Messages of declared topics, from CDR and back, by their definitions alone: needs no ROS."""

from __future__ import annotations

import threading
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from aisle_contract.conversions import from_message
from aisle_contract.records import Record


class MessageTypes:
    """The types of some topics; may be used by several threads."""

    def __init__(self) -> None:
        self._store = get_typestore(Stores.EMPTY)
        self._types: dict[str, str] = {}
        self._lock = threading.Lock()

    def learn(self, topic: str, type_name: str, definition: str) -> None:
        """Makes a topic's type known; ``definition`` as MCAP's ros2msg."""
        found = get_types_from_msg(definition, type_name)
        with self._lock:
            self._store.register({name: fields for name, fields in found.items() if name not in self._store.fielddefs})
            self._types[topic] = type_name

    def decoded(self, topic: str, data: bytes) -> Any:
        """The message as an object. Raises ValueError for bytes that are none, KeyError for an unknown topic."""
        with self._lock:
            try:
                return self._store.deserialize_cdr(data, self._types[topic])
            except (SerdeError, IndexError, UnicodeError) as error:
                raise ValueError(f"not a {self._types[topic]}: {error}") from error

    def encoded(self, topic: str, message: Any) -> bytes:
        """The CDR form of an object that ``decoded`` gave."""
        with self._lock:
            return bytes(self._store.serialize_cdr(message, self._types[topic]))

    def record(self, topic: str, data: bytes) -> Record:
        """The record in a message of aisle_msgs. Raises ValueError for one that is malformed."""
        try:
            return from_message(self.decoded(topic, data))
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error
