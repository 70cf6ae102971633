"""A bag through the offline chain: its sensor messages, with detections made of its images where wanted, to receipts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aisle_bags.bag_images import decode_frame, image_topics
from aisle_bags.bag_reader import BagError, BagReader, BagTopic, RawMessage
from aisle_contract import conversions, qos
from aisle_contract.record_topics import INPUT_RECORDS
from aisle_contract.records import PersonDetections, Record
from aisle_contract.topics import Topic
from aisle_perception.detector import CameraDetectors

_DETECTIONS = conversions.MESSAGE_TYPES[PersonDetections]


@dataclass(frozen=True)
class ReplayPlan:
    """Which topics of a bag are read: ``records`` as they are, ``images`` (topic name -> camera) through a detector."""

    records: tuple[BagTopic, ...]
    images: dict[str, str]
    messages: int
    span_ns: int


def plan_replay(reader: BagReader, namespace: str, with_detector: bool) -> ReplayPlan:
    """With a detector, images take the place of recorded detections of the same cameras.

    Raises BagError for a bag that holds nothing to replay, for images that nobody can look into, and for a detector without images.
    """
    images = {topic.name: (camera, topic) for camera, topic in image_topics(reader, namespace).items()}
    types = [conversions.MESSAGE_TYPES[kind] for kind in INPUT_RECORDS]
    records = [topic for topic in reader.topics_of(*types, namespace=namespace) if topic.count]
    where = f"{reader.path}: namespace '{namespace}'"
    if not with_detector:
        if images and not any(topic.type == _DETECTIONS for topic in records):
            raise BagError(f"{where}: holds images of {len(images)} cameras but no detections: name a person detector with --detector")
        images = {}
    elif not images:
        raise BagError(f"{where}: holds no images for the detector")
    replaced = {f"/camera_{camera}/detections" for camera, _ in images.values()}
    records = [topic for topic in records if topic.type != _DETECTIONS or not any(topic.name.endswith(end) for end in replaced)]
    if not records:
        raise BagError(f"{where}: holds no weights, gate events or detections, expected a recording of a store")
    return ReplayPlan(
        records=tuple(records),
        images={name: camera for name, (camera, _) in images.items()},
        messages=sum(topic.count for topic in records) + sum(topic.count for _, topic in images.values()),
        span_ns=(reader.end_ns or 0) - (reader.start_ns or 0),
    )


def sensor_topics(reader: BagReader, namespace: str) -> list[Topic]:
    """Topics that a live graph computes everything from, with the QoS that its nodes ask for."""
    types = [conversions.MESSAGE_TYPES[kind] for kind in INPUT_RECORDS]
    return [Topic(topic.name, topic.type, qos.STREAM) for topic in reader.topics_of(*types, namespace=namespace) if topic.count]


def listened_topics(reader: BagReader, namespace: str) -> list[Topic]:
    """Topics that are worth sending only to those who ask: images and what belongs to them."""
    types = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo")
    return [Topic(topic.name, topic.type, qos.SENSOR) for topic in reader.topics_of(*types, namespace=namespace) if topic.count]


def replay_records(
    reader: BagReader,
    plan: ReplayPlan,
    detectors: CameraDetectors | None = None,
    read: Callable[[RawMessage], None] | None = None,
) -> list[Record]:
    """The planned topics' records in the order of their log times; ``read`` is called after each message. Raises BagError."""
    records: list[Record] = []
    for message in reader.messages({*(topic.name for topic in plan.records), *plan.images}):
        camera = plan.images.get(message.topic)
        if camera is None:
            records.append(reader.record(message))
        else:
            records.append(detectors.detect(*decode_frame(reader, camera, message)))
        if read is not None:
            read(message)
    return records
