"""What a recorder takes."""

from __future__ import annotations

from types import SimpleNamespace

from aisle_bags.recorded_topics import Selection, compatible_profile, discovered_topics, played_profile
from aisle_bags.stored_topics import StoredTopic, qos_text
from aisle_contract import qos

IMAGE = ("/cameras/camera_1/image_raw", "sensor_msgs/msg/Image")
COMPRESSED = ("/cameras/camera_1/image_raw/compressed", "sensor_msgs/msg/CompressedImage")
THEORA = ("/cameras/camera_1/image_raw/theora", "theora_image_transport/msg/Packet")
INFO = ("/cameras/camera_1/camera_info", "sensor_msgs/msg/CameraInfo")
DEPTH = ("/odd/depth", "sensor_msgs/msg/Image")


def offer(reliability: str = "RELIABLE", durability: str = "VOLATILE", depth: int = 0) -> SimpleNamespace:
    return SimpleNamespace(reliability=SimpleNamespace(name=reliability), durability=SimpleNamespace(name=durability), depth=depth)


def names(found: list[str], offered: dict | None = None, **selection: str) -> list[str]:
    pairs = [(name, "a/msg/B") for name in found]
    offers = {name: [offer()] for name in found} if offered is None else offered
    return [topic.name for topic in discovered_topics(pairs, offers, Selection(**selection))]


def test_what_tells_about_processes_is_left_out_unless_asked_for() -> None:
    found = ["/clock", "/rosout", "/parameter_events", "/music"]
    assert names(found) == ["/music"]
    assert names(found, include="rosout|music") == ["/music", "/rosout"]


def test_only_the_namespace_unless_chosen() -> None:
    found = ["/shop/music", "/shopping/music", "/music"]
    assert names(found, namespace="/shop") == ["/shop/music"]
    assert names(found, namespace="/shop", include="shop.*/music") == ["/shop/music", "/shopping/music"]


def test_excluded_topics_win() -> None:
    assert names(["/music", "/musical"], include="music", exclude="al$") == ["/music"]


def taken(images: str, form: str) -> list[str]:
    wanted = Selection(images=images, image_form=form)
    return [name for name, kind in (IMAGE, COMPRESSED, THEORA, INFO, DEPTH) if wanted.takes(name, kind)]


def test_images_as_wanted() -> None:
    assert taken("all", "compressed") == [COMPRESSED[0], INFO[0]]
    assert taken("all", "raw") == [IMAGE[0], INFO[0], DEPTH[0]]
    assert taken("all", "both") == [IMAGE[0], COMPRESSED[0], THEORA[0], INFO[0], DEPTH[0]]
    assert taken("none", "both") == []


def test_what_cannot_be_masked_is_not_taken_masked() -> None:
    assert taken("masked", "both") == [IMAGE[0], COMPRESSED[0], INFO[0], DEPTH[0]]


def test_topics_that_nobody_publishes_wait() -> None:
    assert names(["/music"], offered={"/music": []}) == []


def test_the_weakest_publisher_decides() -> None:
    offers = {"/music": [offer("RELIABLE", "TRANSIENT_LOCAL"), offer("BEST_EFFORT", "TRANSIENT_LOCAL", depth=7)]}
    (topic,) = discovered_topics([("/music", "a/msg/B")], offers, Selection())
    assert (topic.qos.reliable, topic.qos.transient_local, topic.qos.depth) == (False, True, 7)


def test_an_expected_topic_keeps_its_qos_where_all_publishers_offer_it() -> None:
    assert compatible_profile([offer()], qos.STREAM) == qos.STREAM
    adapted = compatible_profile([offer(), offer("BEST_EFFORT", "TRANSIENT_LOCAL")], qos.STATE)
    assert (adapted.reliable, adapted.transient_local, adapted.depth) == (False, False, qos.STATE.depth)


def test_a_player_offers_what_was_recorded_and_what_the_graph_asks_for() -> None:
    def played(profile: qos.Profile, base: qos.Profile | None = None) -> tuple[bool, bool, int]:
        offered = played_profile(StoredTopic("/t", "a/msg/B", qos_text(profile), "", b""), base)
        return offered.reliable, offered.transient_local, offered.depth

    assert played(qos.SENSOR) == (False, False, 5)
    assert played(qos.STATE) == (True, True, 100)
    assert played(qos.SENSOR, qos.STREAM) == (True, False, 200)
    assert played_profile(StoredTopic("/t", "a/msg/B", "", "", b"")).reliable is False
