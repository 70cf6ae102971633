"""Takes messages as they come over the wire and writes them into a bag or a ring: what a recorder does, without ROS.

One thread takes messages in and never waits for the disk; another one, made here, masks images and writes. Between them stands a queue
of bounded size; what does not fit is dropped and counted, and so is what never came (gaps in the senders' numbers).
"""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from aisle_bags.bag_store import attach_store
from aisle_bags.bag_writer import BagWriter
from aisle_bags.image_privacy import PeopleInView, PrivacyConfig
from aisle_bags.masked_images import COMPRESSED_IMAGE, IMAGE, MaskedImages, Message
from aisle_bags.mcap_file import COMPRESSIONS
from aisle_bags.message_types import MessageTypes
from aisle_bags.ring_bag import RingBag
from aisle_bags.stored_topics import StoredTopic, stored_topic
from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, AlertLevel, Diagnostic, DiagnosticLevel
from aisle_contract.topics import Topic
from aisle_store.store import Store

IMAGES = ("none", "masked", "all")
IMAGE_FORMS = ("compressed", "raw", "both")
#: Topics that tell where people are, and those whose messages save a ring.
_ABOUT_PEOPLE = ("aisle_msgs/msg/TrackArray", "aisle_msgs/msg/PersonDetectionArray")
_TRIGGERS = {
    "aisle_msgs/msg/Alert": "alert",
    "aisle_msgs/msg/Review": "review",
    "diagnostic_msgs/msg/DiagnosticArray": "diagnostic",
}
_LOOKED_INTO = (IMAGE, COMPRESSED_IMAGE, *_ABOUT_PEOPLE, *_TRIGGERS)
#: The writing thread looks into the queue this often; many messages at once cost less than one at a time.
_PERIOD_S = 0.1
#: A chunk is ended after this time even if it is small: a crash loses no more (and what waits in the queue).
_CUT_PERIOD_S = 0.4
#: What was cut is forced onto the disk, and the free space looked at, this often.
_SYNC_PERIOD_S = 1.0
#: No message waits so long for an older one that is sent again: if times go back further, the clock has been set.
_MOST_HELD_BACK_NS = 10 * NANOSECONDS
#: For the bag's end on a full disk: metadata of many topics and the index of some minutes.
_RESERVE_BYTES = 1 << 20


@dataclass(frozen=True)
class RecordingConfig(PrivacyConfig):
    """What is recorded, and how."""

    output: str = parameter("", "Folder of the new bag; in ring mode the folder of the ring and of the bags that are saved")
    include: str = parameter("", "Regular expression: only topics in whose full names it is found; empty: all of the store's namespace")
    exclude: str = parameter("", "Regular expression: topics in whose full names it is found are left out; empty: none")
    images: str = parameter("all", f"Images: {', '.join(IMAGES)}; masked: people are hidden by a mosaic")
    image_form: str = parameter("compressed", f"Which of a camera's image topics: {', '.join(IMAGE_FORMS)}")
    compression: str = parameter("zstd", f"Of the bag's chunks: {', '.join(sorted(COMPRESSIONS, reverse=True))}")
    split_megabytes: float = parameter(0.0, "A new file is begun at this size, MB; 0: never", 0.0, 1e6)
    # The index of a file grows in memory until it is closed: some 60 MB in an hour.
    split_s: float = parameter(3600.0, "A new file is begun after this time, s; 0: never", 0.0, 1e6)
    ring_s: float = parameter(0.0, "Ring mode: so much is kept and saved on a trigger, s; 0: everything is kept", 0.0, 86400.0)
    ring_triggers: str = parameter(
        "alert,review", "What saves the ring besides the service: alert (warnings and errors), review, diagnostic (what turns to an error)"
    )
    ring_after_s: float = parameter(10.0, "An alert or review saves the ring so much later, with what follows, s", 0.0, 600.0)
    queue_megabytes: float = parameter(128.0, "Most that waits for a slow disk or for masking, MB; the rest is dropped", 1.0, 8192.0)
    free_megabytes: float = parameter(200.0, "The recording ends when the disk has no more than this left, MB", 0.0, 1e6)

    def check(self) -> None:
        """Raises ValueError naming the parameter, what was found and what was expected."""
        if not self.output:
            raise ValueError("parameter 'output' is not set, expected the folder of a new bag")
        choices = {"images": IMAGES, "image_form": IMAGE_FORMS, "compression": tuple(COMPRESSIONS)}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"parameter '{name}' is '{getattr(self, name)}', expected one of {', '.join(allowed)}")
        for name in ("include", "exclude"):
            try:
                re.compile(getattr(self, name))
            except re.error as error:
                raise ValueError(f"parameter '{name}' is '{getattr(self, name)}', expected a regular expression: {error}") from None
        unknown = self.triggers - set(_TRIGGERS.values())
        if unknown:
            raise ValueError(f"parameter 'ring_triggers' holds '{sorted(unknown)[0]}', expected {', '.join(_TRIGGERS.values())}")

    @property
    def triggers(self) -> set[str]:
        return {part.strip() for part in self.ring_triggers.split(",") if part.strip()}


class _Save(NamedTuple):
    name: str
    reason: str


class Recording:
    """Records into ``config.output`` from now on. ``take``, ``declare`` and the rest are called by one thread.

    Raises ValueError for a wrong config, FileExistsError where the output exists, OSError where it cannot be made.
    """

    def __init__(self, config: RecordingConfig, store: Store, store_folder: Path) -> None:
        config.check()
        self._config = config
        self._bag = self._new_bag()
        self._bag.custom_data["aisle.images"] = config.images
        attach_store(self._bag, store_folder)
        self._topics: dict[str, str] = {}
        self._types = MessageTypes()
        self._people = PeopleInView(store.cameras, config)
        self._images = MaskedImages(self._people, self._types, config.mask_wait_s)
        self._levels: dict[str, int] = {}
        self._last_numbers: dict[tuple[str, bytes], int] = {}
        self._last_log_ns: dict[tuple[str, bytes], int] = {}
        self._dropped: Counter[str] = Counter()
        self._bytes = 0
        self._failure = ""
        self._started_ns = time.time_ns()
        self._save_at: tuple[float, str] | None = None
        self._save_next: tuple[float, str] | None = None
        self._saved: list[str] = []
        self._names: set[str] = set()
        self._queue: list[StoredTopic | Message | _Save] = []
        self._queued_bytes = 0
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._cut_at = self._sync_at = time.monotonic()
        self._sync: threading.Thread | None = None
        self._sync_error: OSError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def declare(self, topic: Topic) -> None:
        """Makes a topic known before its first message. Raises UnknownMessageType where its definition is not installed."""
        # Now and not in the other thread: parsing definitions takes long enough to hold up messages.
        stored = stored_topic(topic)
        if topic.type in _LOOKED_INTO:
            self._types.learn(topic.name, topic.type, stored.schema.decode())
        self._topics[topic.name] = topic.type
        with self._lock:
            self._queue.append(stored)

    def take(self, message: Message) -> None:
        """Takes one message of a declared topic."""
        if not self._is_new(message):
            return
        message = self._in_order(message)
        size = len(message.data)
        with self._lock:
            if self._failure or self._queued_bytes + size > self._config.queue_megabytes * 1e6:
                self._dropped[message.topic] += 1
                return
            self._queue.append(message)
            self._queued_bytes += size
        if self._config.ring_s and (due := self._triggered(message)):
            self._plan_save(*due)

    def poll(self) -> None:
        """Does what is due; called several times a second."""
        if self._save_at is not None and time.monotonic() >= self._save_at[0] and not self._failure:
            reason, self._save_at, self._save_next = self._save_at[1], self._save_next, None
            self.save(reason)

    def save(self, reason: str) -> Path:
        """Saves the ring as a bag (at once, in the other thread) and tells its folder.

        Raises ValueError where everything is kept or the recording has stopped.
        """
        if not self._config.ring_s:
            raise ValueError("everything is recorded: parameter 'ring_s' is 0")
        if self._failure:
            raise ValueError(f"the recording has stopped: {self._failure}")
        word = re.sub(r"[^A-Za-z0-9]+", "_", reason).strip("_") or "request"
        base = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{word[:60]}"
        name = next(name for name in chain([base], (f"{base}_{number}" for number in count(2))) if name not in self._names)
        self._names.add(name)
        with self._lock:
            self._queue.append(_Save(name, reason or word))
        return Path(self._config.output) / name

    def close(self) -> None:
        """Writes what is still held and closes the bag. OSError where the disk did not take the end; what it took can be read."""
        if self._closed:
            return
        self._closed = True
        if self._save_at is not None and not self._failure:
            self.save(self._save_at[1])
        self._stop.set()
        self._thread.join()
        if not self._failure:
            self._close_bag()

    def diagnostics(self) -> list[Diagnostic]:
        """How the recording goes."""
        # Copied at once: the other thread goes on counting.
        counts = list(self._bag.counts.values())
        values = [
            ("messages", str(sum(counts))),
            ("topics", str(sum(count > 0 for count in counts))),
            ("megabytes", f"{self._bytes / 1e6:.1f}"),
            ("dropped", str(self._dropped.total())),
            *((f"dropped {topic}", str(count)) for topic, count in sorted(self._dropped.items())),
            ("images", self._config.images),
        ]
        if self._config.images == "masked":
            values += [("images masked", str(self._images.masked)), ("images wholly masked", str(self._images.wholly_masked))]
        if self._config.ring_s:
            values += [("kept", f"{self._config.ring_s:g} s"), ("bags saved", str(len(self._saved)))]
        if self._failure:
            return [Diagnostic("recording", DiagnosticLevel.ERROR, f"stopped: {self._failure}", tuple(values))]
        if self._dropped:
            return [Diagnostic("recording", DiagnosticLevel.WARN, f"{self._dropped.total()} messages were dropped", tuple(values))]
        return [Diagnostic("recording", DiagnosticLevel.OK, "recording", tuple(values))]

    @property
    def failure(self) -> str:
        """Why the recording has stopped; empty while it goes on."""
        return self._failure

    @property
    def dropped(self) -> Mapping[str, int]:
        """Messages that are not in the bag, by topic."""
        return dict(self._dropped)

    def summary(self) -> str:
        """One line for the log."""
        counts = list(self._bag.counts.values())
        dropped = f", {self._dropped.total()} dropped" if self._dropped else ""
        saved = f", {len(self._saved)} bags saved" if self._config.ring_s else ""
        recorded = sum(count > 0 for count in counts)
        return f"{sum(counts)} messages of {recorded} topics, {self._bytes / 1e6:.1f} MB{dropped}{saved}"

    def _new_bag(self) -> BagWriter | RingBag:
        config, folder = self._config, Path(self._config.output)
        if config.ring_s:
            return RingBag(folder, round(config.ring_s * NANOSECONDS), config.compression, reserve_bytes=_RESERVE_BYTES)
        split_bytes, split_ns = round(config.split_megabytes * 1e6), round(config.split_s * NANOSECONDS)
        options = {"split_bytes": split_bytes, "split_ns": split_ns, "reserve_bytes": _RESERVE_BYTES, "repeat_latched": True}
        return BagWriter(folder, compression=config.compression, whole=False, **options)

    def _is_new(self, message: Message) -> bool:
        """Counts messages that are missing before this one; False for one that was here before (latched ones can come again)."""
        if message.number is None:
            return True
        sender = (message.topic, message.sender)
        last = self._last_numbers.get(sender)
        if last is not None and message.number <= last:
            return False
        self._last_numbers[sender] = message.number
        if last is not None and message.number > last + 1:
            self._dropped[message.topic] += message.number - last - 1
        return True

    def _in_order(self, message: Message) -> Message:
        """With a log time not before that of what the same publisher sent before.

        What the middleware has to ask for again (a late recorder gets latched messages so) arrives after newer messages; these are
        held back until it is there, but keep the times at which they arrived. A player would turn the order round.
        """
        sender = (message.topic, message.sender)
        behind_ns = self._last_log_ns.get(sender, 0) - message.log_time_ns
        if 0 < behind_ns < _MOST_HELD_BACK_NS:
            return message._replace(log_time_ns=message.log_time_ns + behind_ns)
        self._last_log_ns[sender] = message.log_time_ns
        return message

    def _triggered(self, message: Message) -> tuple[float, str] | None:
        """When and why a message saves the ring. What latched topics said before the start does not."""
        kind = _TRIGGERS.get(self._topics[message.topic])
        if kind not in self._config.triggers or message.publish_time_ns < self._started_ns:
            return None
        try:
            reason = {"alert": self._alert, "diagnostic": self._new_error}.get(kind, lambda _: kind)(message)
        except ValueError:
            # A malformed message is recorded like any other.
            return None
        return (time.monotonic() + self._config.ring_after_s, reason) if reason else None

    def _alert(self, message: Message) -> str:
        alert = self._types.record(message.topic, message.data)
        return f"alert {alert.code}" if alert.level >= AlertLevel.WARN else ""

    def _new_error(self, message: Message) -> str:
        """Something that was in order before, or not as bad: what begins with an error (a camera that is being opened) is no news."""
        found = ""
        for status in self._types.decoded(message.topic, message.data).status:
            before = self._levels.get(status.name)
            self._levels[status.name] = status.level
            if before is not None and before < DiagnosticLevel.ERROR <= status.level:
                found = found or f"diagnostic {status.name}"
        return found

    def _plan_save(self, at_s: float, reason: str) -> None:
        """One bag serves all that happens until half of the wait for it is over; what comes later in the wait gets another one."""
        if self._save_at is None:
            self._save_at = at_s, reason
        elif at_s > self._save_at[0] + self._config.ring_after_s / 2:
            self._save_next = at_s, self._save_next[1] if self._save_next else reason

    # The writing thread's part.

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(_PERIOD_S)
            with self._lock:
                work, self._queue = self._queue, []
            self._do(lambda work=work: self._write_all(work))
            self._do(lambda stopping=stopping: self._write_images(stopping))
            with self._lock:
                self._queued_bytes = sum(len(item.data) for item in self._queue if isinstance(item, Message)) + self._images.size_bytes
            self._do(self._secure)

    def _do(self, work: Callable[[], None]) -> None:
        """Runs one step; the first error of the system ends the recording with a closed file. So does a bug: silence would be worse."""
        if self._failure:
            return
        try:
            work()
        except OSError as error:
            self._fail(error.strerror or str(error))
        except Exception as error:
            traceback.print_exc()
            self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, reason: str) -> None:
        with self._lock:
            self._failure = reason
            lost = [item.topic for item in self._queue if isinstance(item, Message)]
            self._queue.clear()
        self._dropped.update(lost)
        self._images.give_up()
        self._count_unmasked()
        self._bag.custom_data["aisle.stopped"] = reason
        try:
            self._close_bag()
        except OSError as error:
            self._failure = f"{reason}; the bag's end could not be written: {error.strerror or error}"

    def _write_all(self, work: list[StoredTopic | Message | _Save]) -> None:
        for number, item in enumerate(work):
            try:
                self._write(item)
            except OSError:
                self._dropped.update(later.topic for later in work[number + 1 :] if isinstance(later, Message))
                raise

    def _write(self, item: StoredTopic | Message | _Save) -> None:
        if isinstance(item, StoredTopic):
            self._bag.add_stored_topic(item)
        elif isinstance(item, _Save):
            self._save(item)
        elif self._config.images == "masked" and self._topics[item.topic] in (IMAGE, COMPRESSED_IMAGE):
            self._images.add(item)
        else:
            if self._config.images == "masked" and self._topics[item.topic] in _ABOUT_PEOPLE:
                with contextlib.suppress(ValueError):
                    self._people.observe(self._types.record(item.topic, item.data))
            self._store(item)

    def _write_images(self, closing: bool) -> None:
        for message in self._images.ready(closing):
            self._store(message)
        self._count_unmasked()

    def _count_unmasked(self) -> None:
        self._dropped.update(self._images.dropped)
        self._images.dropped.clear()

    def _store(self, message: Message) -> None:
        try:
            self._bag.write(message.topic, message.data, message.log_time_ns, message.publish_time_ns)
        except OSError:
            self._dropped[message.topic] += 1
            raise
        self._bytes += len(message.data)

    def _save(self, request: _Save) -> None:
        self._bag.custom_data["aisle.reason"] = request.reason
        self._tell_drops()
        self._saved.append(str(self._bag.save(request.name)))
        del self._bag.custom_data["aisle.reason"]

    def _secure(self) -> None:
        now = time.monotonic()
        if now - self._cut_at >= _CUT_PERIOD_S:
            self._cut_at = now
            self._bag.cut()
        if self._sync_error is not None:
            raise self._sync_error
        if now - self._sync_at >= _SYNC_PERIOD_S and (self._sync is None or not self._sync.is_alive()):
            self._sync_at = now
            # A slow disk must not keep chunks from being cut: a thread of its own waits for it.
            self._sync = threading.Thread(target=self._wait_for_disk, name="recording_sync", daemon=True)
            self._sync.start()
            free = shutil.disk_usage(self._bag.folder).free
            if free < self._config.free_megabytes * 1e6:
                self._fail(f"only {free / 1e6:.0f} MB are free, {self._config.free_megabytes:g} MB are to stay")

    def _wait_for_disk(self) -> None:
        try:
            self._bag.sync()
        except OSError as error:
            self._sync_error = error

    def _close_bag(self) -> None:
        self._tell_drops()
        self._dropped.update(self._bag.end())
        self._tell_drops()
        if isinstance(self._bag, RingBag):
            # What led to a failure is in the ring.
            self._bag.close(keep=bool(self._failure))
        else:
            self._bag.close()

    def _tell_drops(self) -> None:
        told = {f"aisle.dropped {topic}": str(count) for topic, count in sorted(self._dropped.items())}
        self._bag.custom_data.update({"aisle.dropped": str(self._dropped.total()), **told})
