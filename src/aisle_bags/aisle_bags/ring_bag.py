"""The last minutes of a recording on disk, saved as a bag of its own when something happens."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from aisle_bags.bag_metadata import metadata_text
from aisle_bags.bag_writer import BagWriter, write_metadata
from aisle_bags.stored_topics import StoredTopic
from aisle_contract.records import NANOSECONDS

RING = "ring"
#: The ring is made of so many files; the oldest goes when all of it is older than what is to be kept.
_FILES = 10
_SHORTEST_FILE_NS = NANOSECONDS


class RingBag:
    """Writes into ``folder``/ring as a ``BagWriter`` does and removes there what is older than ``keep_ns`` of log time (at most a tenth
    more is kept). ``save`` makes a bag of what is there. A crash leaves the ring, which can be recovered as any bag; ``close`` removes it
    or keeps it as a bag.
    """

    def __init__(self, folder: Path, keep_ns: int, compression: str = "zstd", chunk_bytes: int = 1 << 20, reserve_bytes: int = 0) -> None:
        if folder.exists():
            raise FileExistsError(f"{folder} exists already: a bag is never overwritten, give another name or remove it")
        self._folder, self._keep_ns = folder, keep_ns
        file_ns = max(_SHORTEST_FILE_NS, keep_ns // _FILES)
        # So the oldest file, whichever it is, begins with what latched topics had said before.
        options = {"whole": False, "split_ns": file_ns, "reserve_bytes": reserve_bytes, "repeat_latched": True}
        self._writer = BagWriter(folder / RING, compression=compression, chunk_bytes=chunk_bytes, **options)
        self._newest_ns = 0

    @property
    def counts(self) -> Mapping[str, int]:
        """Messages written since the start, by topic name."""
        return self._writer.counts

    @property
    def topics(self) -> Mapping[str, StoredTopic]:
        """Topics by name."""
        return self._writer.topics

    @property
    def custom_data(self) -> dict[str, str]:
        """Stands in the metadata of the bags that are saved from now on."""
        return self._writer.custom_data

    @property
    def folder(self) -> Path:
        """Where the ring and the saved bags lie."""
        return self._folder

    def add_stored_topic(self, topic: StoredTopic) -> None:
        """As ``BagWriter.add_stored_topic``."""
        self._writer.add_stored_topic(topic)

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """As ``BagWriter.attach``."""
        self._writer.attach(name, media_type, data)

    def write(self, topic_name: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None) -> None:
        """As ``BagWriter.write``."""
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
            saved = [replace(file, name=f"{name}_{number}.mcap") for number, file in enumerate(held)]
            for old, new in zip(held, saved, strict=True):
                _link(self._writer.folder / old.name, part / new.name)
            write_metadata(part, metadata_text(list(self.topics.values()), saved, self.custom_data))
            part.rename(bag)
        except OSError:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return bag

    def end(self) -> Counter[str]:
        """As ``BagWriter.end``."""
        return self._writer.end()

    def close(self, keep: bool = False) -> None:
        """Removes the ring, or closes it as a bag; saved bags stay."""
        if keep:
            self._writer.close()
            return
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


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # File systems without links (exFAT).
        shutil.copyfile(source, target)
