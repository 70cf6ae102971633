"""Topics as bags store them: name, type, QoS of their publishers and the definition of the type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import yaml
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import dump_qos_v9, parse_qos

from aisle_bags.message_definitions import message_definition, type_hash
from aisle_contract.qos import Profile
from aisle_contract.topics import Topic

#: RMW_DURATION_INFINITE: 2^63 - 1 ns.
_UNLIMITED = QosTime(9223372036, 854775807)


@dataclass(frozen=True, slots=True)
class StoredTopic:
    """A topic as a bag holds it: full name, full type name, ``offered_qos_profiles`` as text, and the type's definition
    (``schema_encoding``: ros2msg, ros2idl, another one, or empty with no definition).

    ``encoding`` is that of the messages; ``type_hash`` the type's RIHS01 hash (REP 2016) or empty.
    """

    name: str
    type: str
    qos: str
    schema_encoding: str
    schema: bytes
    encoding: str = "cdr"
    type_hash: str = ""

    @property
    def latched(self) -> bool:
        """Late subscribers get its last messages."""
        return any(profile.durability is QosDurability.TRANSIENT_LOCAL for profile in read_qos(self.qos))

    @property
    def depth(self) -> int:
        """How many messages of a publisher a late subscriber gets at most; 0: no limit is known."""
        profiles = read_qos(self.qos)
        return max((profile.depth if profile.history is QosHistory.KEEP_LAST else 0 for profile in profiles), default=0)


def stored_topic(topic: Topic) -> StoredTopic:
    """A topic of the graph with its type's definition. Raises UnknownMessageType where that is not installed."""
    definition = message_definition(topic.type).encode()
    return StoredTopic(topic.name, topic.type, qos_text(topic.qos), "ros2msg", definition, type_hash=type_hash(topic.type))


@cache
def qos_text(profile: Profile) -> str:
    """A profile of the graph as a bag's ``offered_qos_profiles``."""
    entry = Qos(
        history=QosHistory.KEEP_LAST,
        depth=profile.depth,
        reliability=QosReliability.RELIABLE if profile.reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if profile.transient_local else QosDurability.VOLATILE,
        deadline=_UNLIMITED,
        lifespan=_UNLIMITED,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_UNLIMITED,
        avoid_ros_namespace_conventions=False,
    )
    return _text((entry,))


def read_qos(stored: object) -> list[Qos]:
    """QoS profiles out of a bag: YAML text or a list (metadata version 9), with rmw's numbers or names.

    Where they cannot be understood there are none: a player then falls back on its own choice, as for bags without QoS.
    """
    try:
        if isinstance(stored, str):
            return list(_parsed_text(stored))
        return parse_qos(stored) if isinstance(stored, list) else []
    except (ReaderError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return []


def normal_qos(stored: object) -> str:
    """QoS profiles out of a bag of any version as the text of today's: rmw's names instead of numbers; empty for none."""
    profiles = read_qos(stored)
    return _text(tuple(profiles)) if profiles else ""


def merged_qos(first: str, second: str) -> str:
    """What the publishers of either offered, each profile once."""
    profiles = dict.fromkeys([*read_qos(first), *read_qos(second)])
    return _text(tuple(profiles)) if profiles else ""


def qos_entries(text: str) -> list[dict[str, object]]:
    """``StoredTopic.qos`` as metadata.yaml of version 9 holds it."""
    return [dict(entry) for entry in dump_qos_v9(read_qos(text))]


def full_type_name(name: str) -> str:
    """``sensor_msgs/Image``, as ROS 2 bags of 2018 and 2019 have it, is ``sensor_msgs/msg/Image`` since."""
    package, separator, rest = name.partition("/")
    return f"{package}/msg/{rest}" if separator and rest and "/" not in rest else name


def plain_yaml(document: object) -> str:
    """YAML without anchors: rosbag2's reader need not know them."""
    return yaml.dump(document, Dumper=_NoAliases, sort_keys=False, width=10_000)


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@cache
def _parsed_text(text: str) -> tuple[Qos, ...]:
    """Few different profiles are on many topics, and YAML takes milliseconds."""
    return tuple(parse_qos(text))


@cache
def _text(profiles: tuple[Qos, ...]) -> str:
    return plain_yaml([dict(entry) for entry in dump_qos_v9(list(profiles))])
