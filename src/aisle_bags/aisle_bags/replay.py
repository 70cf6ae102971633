"""A bag through the offline chain: what was recorded up to some stage, and what the cores make of it from there on.

    images ─► detector ─ detections ─► tracker ─ tracks ───────────────┐
                         weights ────► shelf monitor ─ shelf events ───┼─► cart fusion ─ carts ─► checkout ─► receipts
                         gate events, item observations ───────────────┘

A replay from a stage takes that stage's records and those beside it as they were recorded; all that follows is computed anew and its
recording is ignored (``INPUTS``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from aisle_bags.bag_images import decode_frame, image_topics
from aisle_bags.bag_reader import BagError, BagReader, BagTopic, RawMessage
from aisle_bags.core_process import CoreProcess, CoreTask, PlainTask, ShelfTask, TrackerTask, can_fork, run_here, seldom_collected
from aisle_bags.core_runs import merged
from aisle_bags.core_settings import CoreSettings
from aisle_bags.event_order import Logged
from aisle_bags.offline import OfflineResult, OfflineRunner
from aisle_contract import conversions, qos
from aisle_contract.record_topics import INPUT_RECORDS
from aisle_contract.records import (
    GateEvent,
    ItemObservation,
    PersonDetections,
    Record,
    ScaleReading,
    ShelfEvents,
    StepResult,
    Tracks,
)
from aisle_contract.topics import Topic
from aisle_perception.detector import CameraDetectors
from aisle_store.store import Store

#: Stages to replay from, and what is taken from the bag then. "images": the images too, in place of the same cameras' detections.
INPUTS: dict[str, tuple[type, ...]] = {
    "images": INPUT_RECORDS,
    "detections": INPUT_RECORDS,
    "weights": (Tracks, ScaleReading, GateEvent, ItemObservation),
    "events": (Tracks, ShelfEvents, GateEvent, ItemObservation),
}
#: What a replay from a stage cannot do without, and how people call it.
_NEEDED: dict[str, tuple[tuple[type, str], ...]] = {
    "weights": ((Tracks, "tracks"), (ScaleReading, "weights")),
    "events": ((Tracks, "tracks"), (ShelfEvents, "shelf events")),
}
#: Below this many messages more processes take longer to start than they save: forked ones and fresh ones.
_WORTH_FORKS, _WORTH_FRESH = 2_000, 30_000
_CORE_INPUTS: dict[type, type] = {TrackerTask: PersonDetections, ShelfTask: ScaleReading}
_DETECTIONS = conversions.MESSAGE_TYPES[PersonDetections]


@dataclass(frozen=True)
class ReplayPlan:
    """Which topics of a bag are read: ``records`` as they are, ``images`` (topic name -> camera) through a detector.

    ``inputs``: the types of the records that this gives.
    """

    records: tuple[BagTopic, ...]
    images: dict[str, str]
    messages: int
    span_ns: int
    inputs: tuple[type, ...] = INPUT_RECORDS


def plan_replay(reader: BagReader, namespace: str, start: str) -> ReplayPlan:
    """What a replay from the stage ``start`` (a key of ``INPUTS``) takes.

    Raises BagError for a bag that holds nothing to replay or not what the stage needs, and for images that nobody can look into.
    """
    images = {topic.name: (camera, topic) for camera, topic in image_topics(reader, namespace).items()}
    types = [conversions.MESSAGE_TYPES[kind] for kind in INPUTS[start]]
    records = [topic for topic in reader.topics_of(*types, namespace=namespace) if topic.count]
    where = f"{reader.path}: namespace '{namespace}'"
    if start != "images":
        if start == "detections" and images and not any(topic.type == _DETECTIONS for topic in records):
            raise BagError(f"{where}: holds images of {len(images)} cameras but no detections: name a person detector with --detector")
        images = {}
    elif not images:
        raise BagError(f"{where}: holds no images for the detector")
    for kind, name in _NEEDED.get(start, ()):
        if not any(topic.type == conversions.MESSAGE_TYPES[kind] for topic in records):
            raise BagError(f"{where}: holds no {name}, which a replay from {start} takes as recorded: replay from an earlier stage")
    replaced = {f"/camera_{camera}/detections" for camera, _ in images.values()}
    records = [topic for topic in records if topic.type != _DETECTIONS or not any(topic.name.endswith(end) for end in replaced)]
    if not records:
        raise BagError(f"{where}: holds no weights, gate events or detections, expected a recording of a store")
    return ReplayPlan(
        records=tuple(records),
        images={name: camera for name, (camera, _) in images.items()},
        messages=sum(topic.count for topic in records) + sum(topic.count for _, topic in images.values()),
        span_ns=(reader.end_ns or 0) - (reader.start_ns or 0),
        inputs=INPUTS[start],
    )


def replay(
    reader: BagReader,
    plan: ReplayPlan,
    store: Store,
    settings: CoreSettings,
    detectors: CameraDetectors | None = None,
    publish: Callable[[Record], None] | None = None,
    taken: Callable[[int], None] | None = None,
    processes: int | None = None,
) -> OfflineResult:
    """The planned topics through the cores, the same however often, on however many processes.

    The bag is read from its beginning to its end and never held. ``publish`` is called with each record that a core gives (without it
    the result collects them, all of them); ``taken``, for progress, with the time (ns) up to which the recording has been replayed.
    ``processes``: 1, 2 (the shelf monitor in its own) or 3 (the tracker too, unless there are images to look into); by default 3 where
    there is more than one processor and enough to do. Raises BagError.
    """
    tasks = _tasks(reader, plan, store, settings)
    here, elsewhere = _places(tasks, processes or _processes_for(plan))
    taken_by_tasks = [_CORE_INPUTS[type(task)] for _, task in tasks if type(task) in _CORE_INPUTS]
    with ExitStack() as stack:
        stack.enter_context(seldom_collected())
        # The other processes work from here on.
        others = [stack.enter_context(CoreProcess(group)) for group in elsewhere]
        runner = OfflineRunner(store, settings, plan.inputs, publish, taken_by_tasks)
        reader.read_side_by_side(len(here))
        runs = run_here(here, lambda topics: _logged(reader, plan, topics, detectors))
        for (stamp_ns, _), what in merged([*runs, *others]):
            if isinstance(what, StepResult):
                runner.take(what)
            else:
                runner.feed(what)
            if taken is not None:
                taken(stamp_ns)
        closings = {run.number: run.closing for run in runs}
        for other in others:
            closings |= other.closings
        return runner.finish([closings[number] for number, _ in (*tasks[1:], tasks[0])])


def _tasks(reader: BagReader, plan: ReplayPlan, store: Store, settings: CoreSettings) -> list[tuple[int, CoreTask]]:
    """What is done with which part of the bag before carts are made, numbered: records that are passed on, the tracker, the monitor."""
    topics = {kind: tuple(t.name for t in plan.records if t.type == conversions.MESSAGE_TYPES[kind]) for kind in plan.inputs}
    cores: list[CoreTask] = []
    if PersonDetections in topics and not plan.images:
        cores.append(TrackerTask(reader.path, topics.pop(PersonDetections), store, settings.tracker))
    if ScaleReading in topics:
        cores.append(ShelfTask(reader.path, topics.pop(ScaleReading), store, settings.shelf_monitor))
    rest = PlainTask(reader.path, (*(name for names in topics.values() for name in names), *plan.images))
    return list(enumerate([rest, *cores]))


def _places(tasks: list[tuple[int, CoreTask]], processes: int) -> tuple[list[tuple[int, CoreTask]], list[list[tuple[int, CoreTask]]]]:
    """Which tasks are done in this process, and which in others, by process: the monitor leaves first, the tracker after it."""
    plain, *cores = tasks
    staying = max(len(cores) - processes + 1, 0)
    here, groups = cores[:staying], [[task] for task in cores[staying:]]
    # Beside two cores only gates and items are left, which are few: whoever reads for the monitor reads them too.
    taker = groups[-1] if groups and len(cores) > 1 else here
    return ([plain, *here], groups) if taker is here else (here, [*groups[:-1], [plain, *taker]])


def _processes_for(plan: ReplayPlan) -> int:
    worth = sum(topic.count for topic in plan.records) >= (_WORTH_FORKS if can_fork() else _WORTH_FRESH)
    return 3 if worth and len(os.sched_getaffinity(0)) > 1 else 1


def _logged(reader: BagReader, plan: ReplayPlan, topics: Collection[str], detectors: CameraDetectors | None) -> Iterator[Logged]:
    """Log time, topic and record of the messages of some planned topics, images as the detections that a detector finds."""
    for message in reader.messages(topics):
        yield message.log_time_ns, message.topic, _record(reader, plan, message, detectors)


def _record(reader: BagReader, plan: ReplayPlan, message: RawMessage, detectors: CameraDetectors | None) -> Record:
    camera = plan.images.get(message.topic)
    return reader.record(message) if camera is None else detectors.detect(*decode_frame(reader, camera, message))


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
        records.append(_record(reader, plan, message, detectors))
        if read is not None:
            read(message)
    return records
