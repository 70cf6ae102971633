"""The last minutes of a recording on disk, saved as a bag of its own when something happens."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from aisle_bags.bag_metadata import FileSummary, metadata_text
from aisle_bags.bag_writer import BagWriter, write_metadata
from aisle_bags.mcap_file import McapFile
from aisle_bags.stored_topics import StoredTopic
from aisle_contract.records import NANOSECONDS

RING = "ring"
#: The ring is made of so many files; the oldest goes when all of it is older than what is to be kept.
_FILES = 10
_SHORTEST_FILE_NS = NANOSECONDS
#: Latched messages of a topic that are carried along where its publishers' depth is not known.
_LATCHED_DEPTH = 100


class _Latched(NamedTuple):
    log_time_ns: int
    data: bytes
    sequence: int


class RingBag:
    """Writes into ``folder``/ring as a ``BagWriter`` does and removes there what is older than ``keep_ns`` of log time (at most a tenth
    more is kept). ``save`` makes a bag of what is there. A crash leaves the ring, which can be recovered as any bag; ``close`` removes it.
    """

    def __init__(self, folder: Path, keep_ns: int, compression: str = "zstd", chunk_bytes: int = 1 << 20) -> None:
        if folder.exists():
            raise FileExistsError(f"{folder} exists already: a bag is never overwritten, give another name or remove it")
        self._folder, self._keep_ns, self._compression = folder, keep_ns, compression
        file_ns = max(_SHORTEST_FILE_NS, keep_ns // _FILES)
        self._writer = BagWriter(folder / RING, compression=compression, chunk_bytes=chunk_bytes, whole=False, split_ns=file_ns)
        self._latched: dict[str, deque[_Latched]] = {}
        self._attachments: list[tuple[str, str, bytes]] = []
        self._newest_ns = 0
        #: Stands in the metadata of saved bags.
        self.custom_data: dict[str, str] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """Messages written since the start, by topic name."""
        return self._writer.counts

    @property
    def topics(self) -> Mapping[str, StoredTopic]:
        """Topics by name."""
        return self._writer.topics

    @property
    def folder(self) -> Path:
        """Where the ring and the saved bags lie."""
        return self._folder

    def add_stored_topic(self, topic: StoredTopic) -> None:
        """As ``BagWriter.add_stored_topic``."""
        self._writer.add_stored_topic(topic)
        if topic.latched:
            self._latched.setdefault(topic.name, deque(maxlen=topic.depth or _LATCHED_DEPTH))

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """As ``BagWriter.attach``."""
        self._attachments.append((name, media_type, data))
        self._writer.attach(name, media_type, data)

    def write(self, topic_name: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """As ``BagWriter.write``."""
        if topic_name in self._latched:
            self._latched[topic_name].append(_Latched(log_time_ns, data, self._writer.counts[topic_name]))
        self._writer.write(topic_name, data, log_time_ns, publish_time_ns)
        self._newest_ns = max(self._newest_ns, log_time_ns)
        self._drop_old()

    def cut(self) -> None:
        """As ``BagWriter.cut``."""
        self._writer.cut()

    def sync(self) -> None:
        """As ``BagWriter.sync``."""
        self._writer.sync()

    def save(self, name: str) -> Path:
        """Makes the bag ``folder``/``name`` (FileExistsError if there is one) of what the ring holds, with what latched topics said before.

        It shares its files with the ring: that costs no space and no time. The bag appears when it is complete.
        """
        bag, part = self._folder / name, self._folder / f".{name}.part"
        if bag.exists():
            raise FileExistsError(f"{bag} exists already: a bag is never overwritten")
        self._writer.split()
        files = self._writer.files
        held = [file for file in files if file.end_ns is not None and file.end_ns >= self._newest_ns - self._keep_ns] or [files[-1]]
        part.mkdir()
        try:
            saved = self._earlier_latched(part, name, held)
            for file in held:
                new = f"{name}_{len(saved)}.mcap"
                _link(self._writer.folder / file.name, part / new)
                saved.append(replace(file, name=new))
            write_metadata(part, metadata_text(list(self.topics.values()), saved, self.custom_data))
            part.rename(bag)
        except OSError:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return bag

    def close(self) -> None:
        """Removes the ring; saved bags stay."""
        try:
            self._writer.close()
        finally:
            shutil.rmtree(self._folder / RING, ignore_errors=True)
            with contextlib.suppress(OSError):
                # Not empty where bags were saved.
                self._folder.rmdir()

    def _drop_old(self) -> None:
        while len(self._writer.files) > 1:
            oldest = self._writer.files[0]
            if oldest.end_ns is not None and oldest.end_ns >= self._newest_ns - self._keep_ns:
                return
            self._writer.drop_oldest()

    def _earlier_latched(self, folder: Path, name: str, held: list[FileSummary]) -> list[FileSummary]:
        """A file of what a late subscriber would still have got when the ring's time begins, logged then."""
        start_ns = min(file.start_ns or self._newest_ns for file in held)
        earlier = [(topic, message) for topic, kept in self._latched.items() for message in kept if message.log_time_ns < start_ns]
        if not earlier:
            return []
        file = McapFile(folder / f"{name}_0.mcap", self._compression)
        try:
            for attachment in self._attachments:
                file.attach(*attachment)
            for topic in self.topics.values():
                file.declare(topic)
            for topic, message in sorted(earlier, key=lambda item: item[1].log_time_ns):
                file.write(topic, message.data, start_ns, message.log_time_ns, message.sequence)
        finally:
            summary = file.close()
        return [summary]


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # File systems without links (exFAT).
        shutil.copyfile(source, target)
