"""Which topics a recorder takes, and with which QoS: those of the store's graph, and what else turns up beside them; QoS of a player."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rosbags.interfaces import QosReliability

from aisle_bags.masked_images import COMPRESSED_IMAGE, IMAGE
from aisle_bags.stored_topics import StoredTopic, read_qos
from aisle_contract import qos, topics
from aisle_contract.topics import Topic
from aisle_store.store import Store

#: Not part of a store's story: they tell about processes, or are made anew by whoever replays. Taken only if they are asked for.
_NEVER = ("/clock", "/rosout", "/parameter_events")
#: Other forms of an image (theora, ffmpeg ...), which nobody here could mask.
_TRANSPORT = re.compile(r"/image_raw/(?!compressed$)\w+$")


@dataclass(frozen=True)
class Selection:
    """Which topics are wanted. ``include``, ``exclude``: regular expressions, searched in full names, empty for none; ``images``: none,
    masked or all; ``image_form``: compressed, raw or both.
    """

    namespace: str = "/"
    include: str = ""
    exclude: str = ""
    images: str = "all"
    image_form: str = "compressed"

    def takes(self, name: str, kind: str) -> bool:
        """Whether a topic of the graph (full name, type) is wanted."""
        if self.exclude and re.search(self.exclude, name):
            return False
        if self.include and not re.search(self.include, name):
            return False
        return self._takes_image(name, kind)

    def finds(self, name: str, kind: str) -> bool:
        """As ``takes``, for a topic that was not expected: without ``include`` only those of the namespace."""
        in_namespace = name.startswith(f"{self.namespace.rstrip('/')}/") and name not in _NEVER
        return (bool(self.include) or in_namespace) and self.takes(name, kind)

    def _takes_image(self, name: str, kind: str) -> bool:
        if _TRANSPORT.search(name):
            return self.images == "all" and self.image_form == "both"
        if kind not in (IMAGE, COMPRESSED_IMAGE):
            return self.images != "none" or not name.endswith("/camera_info")
        return self.images != "none" and self.image_form in ("both", "raw" if kind == IMAGE else "compressed")


def store_topics(store: Store) -> Iterator[Topic]:
    """The topics of a store's graph, relative to its namespace."""
    for camera in store.cameras:
        yield topics.detections(camera)
        yield topics.camera_info(camera)
        yield topics.compressed_image(camera)
        yield topics.image(camera)
    for shelf in store.shelves():
        yield topics.weights(shelf.gondola, shelf.shelf)
    for gate in store.gates:
        yield topics.gate_events(gate)
    yield topics.TRACKS
    yield topics.SHELF_EVENTS
    yield topics.ITEM_OBSERVATIONS
    yield topics.CARTS
    yield topics.RECEIPTS
    yield topics.REVIEWS
    yield topics.ALERTS
    yield topics.DIAGNOSTICS
    yield topics.TF_STATIC


def discovered_topics(found: Iterable[tuple[str, str]], offered: Mapping[str, Sequence[Any]], wanted: Selection) -> Iterator[Topic]:
    """Topics out of (full name, type) that are wanted and that somebody publishes.

    ``offered``: each topic's publishers' rclpy QoS profiles; the weakest decides, so that all are heard.
    """
    for name, kind in sorted(found):
        profiles = offered.get(name, ())
        if profiles and wanted.finds(name, kind):
            yield Topic(name, kind, compatible_profile(profiles))


def compatible_profile(profiles: Sequence[Any], base: qos.Profile | None = None) -> qos.Profile:
    """What hears all publishers: a subscription may not ask for more than one offers (DDS 1.4, section 2.2.3).

    ``profiles``: rclpy's of the publishers; ``base``: what is asked for if they allow it, by default as much as they offer.
    """
    reliable = all(profile.reliability.name == "RELIABLE" for profile in profiles)
    transient_local = all(profile.durability.name == "TRANSIENT_LOCAL" for profile in profiles)
    if base is not None:
        if reliable >= base.reliable and transient_local >= base.transient_local:
            return base
        return qos.Profile("adapted", reliable and base.reliable, transient_local and base.transient_local, base.depth)
    depth = max((profile.depth for profile in profiles), default=0)
    return qos.Profile("discovered", reliable, transient_local, depth=depth or qos.STREAM.depth)


def played_profile(stored: StoredTopic, base: qos.Profile | None = None) -> qos.Profile:
    """What a player offers: as much as any of the recorded publishers did, and no less than ``base``; so all that heard them will hear it.

    Without QoS in the bag: ``base``, or the weakest.
    """
    recorded = read_qos(stored.qos)
    least = base or qos.SENSOR
    return qos.Profile(
        "played",
        reliable=least.reliable or any(profile.reliability is QosReliability.RELIABLE for profile in recorded),
        transient_local=least.transient_local or stored.latched,
        depth=max(least.depth, stored.depth),
    )
