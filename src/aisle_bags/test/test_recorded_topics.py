"""What a recorder takes."""

from __future__ import annotations

from types import SimpleNamespace

from aisle_bags.recorded_topics import discovered_topics


def offer(reliability: str = "RELIABLE", durability: str = "VOLATILE") -> SimpleNamespace:
    return SimpleNamespace(reliability=SimpleNamespace(name=reliability), durability=SimpleNamespace(name=durability))


def names(found: list[str], images: str = "compressed", namespace: str = "/", offered: dict | None = None) -> list[str]:
    pairs = [(name, "a/msg/B") for name in found]
    offers = {name: [offer()] for name in found} if offered is None else offered
    return [topic.name for topic in discovered_topics(pairs, offers, namespace, images)]


def test_what_tells_about_processes_is_left_out() -> None:
    assert names(["/clock", "/rosout", "/parameter_events", "/music"]) == ["/music"]


def test_only_the_namespace() -> None:
    assert names(["/shop/music", "/shopping/music", "/music"], namespace="/shop") == ["/shop/music"]


def test_images_as_wanted() -> None:
    found = ["/cameras/camera_1/image_raw", "/cameras/camera_1/image_raw/compressed"]
    assert names(found, "compressed") == found[1:]
    assert names(found, "raw") == found[:1]
    assert names(found, "none") == []


def test_topics_that_nobody_publishes_wait() -> None:
    assert names(["/music"], offered={"/music": []}) == []


def test_the_weakest_publisher_decides() -> None:
    offers = {"/music": [offer("RELIABLE", "TRANSIENT_LOCAL"), offer("BEST_EFFORT", "TRANSIENT_LOCAL")]}
    (topic,) = discovered_topics([("/music", "a/msg/B")], offers, "/", "none")
    assert (topic.qos.reliable, topic.qos.transient_local) == (False, True)
