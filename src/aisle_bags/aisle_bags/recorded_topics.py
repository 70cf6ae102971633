"""Which topics a recorder takes: those of the store's graph, and what else turns up beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from aisle_contract import qos, topics
from aisle_contract.topics import Topic
from aisle_store.store import Store

#: Not part of a store's story: they tell about processes, or are made anew by whoever replays.
_NEVER = ("/clock", "/rosout", "/parameter_events")
_IMAGE = re.compile(r"/image_raw(/\w+)?$")


def store_topics(store: Store, images: str) -> Iterator[Topic]:
    """The topics of a store's graph, relative to its namespace; ``images``: compressed, raw or none."""
    for camera in store.cameras:
        yield topics.detections(camera)
        if images != "none":
            yield topics.camera_info(camera)
            yield topics.compressed_image(camera) if images == "compressed" else topics.image(camera)
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


def discovered_topics(
    found: Iterable[tuple[str, str]], offered: Mapping[str, Sequence[Any]], namespace: str, images: str
) -> Iterator[Topic]:
    """Topics out of (full name, type) that belong to the namespace and somebody publishes.

    ``offered``: each topic's publishers' rclpy QoS profiles; the weakest decides, so that all are heard. Images that were not asked for
    and what is made anew in a replay are left out.
    """
    prefix = f"{namespace.rstrip('/')}/"
    for name, kind in sorted(found):
        profiles = offered.get(name, ())
        if not name.startswith(prefix) or name in _NEVER or not profiles:
            continue
        image = _IMAGE.search(name)
        if image and (images == "none" or (images == "compressed") != (image[1] is not None)):
            continue
        yield Topic(name, kind, _weakest(profiles))


def _weakest(profiles: Sequence[Any]) -> qos.Profile:
    """What is compatible with all: a subscription may not ask for more than a publisher offers (REP 2003, DDS 1.4 section 2.2.3)."""
    reliable = all(profile.reliability.name == "RELIABLE" for profile in profiles)
    transient_local = all(profile.durability.name == "TRANSIENT_LOCAL" for profile in profiles)
    return qos.Profile("discovered", reliable, transient_local, depth=qos.STREAM.depth)
