"""Makes a bag of what is readable of one that was not closed or is damaged. The source stays as it is."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mcap.records import Attachment, Channel, Message, Metadata, Schema

from aisle_bags import sqlite_source
from aisle_bags.bag_copies import media_type, with_definition
from aisle_bags.bag_errors import BagError
from aisle_bags.bag_files import storage_files
from aisle_bags.bag_metadata import METADATA_FILE, STORED_METADATA, BagMetadata, read_metadata
from aisle_bags.bag_writer import BagWriter
from aisle_bags.latched_messages import REPEATED, Repeated, read_repeated
from aisle_bags.mcap_salvage import McapSalvage
from aisle_bags.mcap_source import LAST_TIME_NS, topic_of_channel
from aisle_bags.message_compression import ZSTD_MAGIC, decompress_beginning, decompressed
from aisle_bags.sqlite_file import ATTACHMENTS_FOLDER
from aisle_bags.sqlite_salvage import SqliteSalvage
from aisle_bags.stored_topics import StoredTopic

#: Under this key a recovered bag's ``custom_data`` tells what was damaged.
RECOVERED = "aisle.recovered"


@dataclass(frozen=True, slots=True)
class Recovery:
    """``messages`` that were saved; ``notes`` name each file and what was wrong with it, none for a bag that was whole."""

    messages: int
    notes: tuple[str, ...]


def recover_bag(path: Path, out: Path, read: Callable[[int], None] = lambda size: None) -> Recovery:
    """Writes what is readable of a bag (folder or one file) to a new one, file by file, with metadata.yaml made anew.

    ``read`` is called with numbers of bytes of the source, for progress. Raises BagError where nothing can be saved, FileExistsError.
    A recording that was killed at its very beginning gives a bag without messages.
    """
    notes: list[str] = []
    metadata = _old_metadata(path, notes)
    files = damaged_files(path, metadata)
    with ExitStack() as stack:
        plain = [_decompressed(file, stack, notes) for file in files]
        storage, compression = _format(plain[0], metadata)
        distro = metadata.ros_distro if metadata else ""
        writer = stack.enter_context(BagWriter(out, storage=storage, compression=compression, ros_distro=distro))
        writer.custom_data.update(metadata.custom if metadata else {})
        salvage = _Salvage(writer, metadata, read)
        _copy_attachments(path, salvage)
        for number, file in enumerate(plain):
            if number:
                writer.split()
            notes += [f"{files[number].name}: {note}" for note in salvage.file(file, storage)]
        if not writer.topics and not salvage.attached:
            raise BagError(f"{path}: nothing in it could be read ({'; '.join(notes) or 'it is empty'})")
        if notes:
            writer.custom_data[RECOVERED] = "; ".join(notes)
    return Recovery(writer.counts.total(), tuple(notes))


def damaged_files(path: Path, metadata: BagMetadata | None) -> list[Path]:
    """The storage files that are there, whatever the metadata say. Raises BagError where there are none."""
    if path.is_file() and path.name != METADATA_FILE:
        return [path]
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        raise BagError(f"{path}: no such file or folder")
    named = [folder / Path(name).name for name in dict.fromkeys(metadata.files)] if metadata else []
    files = [file for file in named if file.is_file() and file.name != METADATA_FILE] or storage_files(folder)
    others = [file for file in storage_files(folder) if file not in files] if not named else []
    if not files:
        raise BagError(f"{folder}: nothing to recover: found no *.mcap or *.db3 files")
    return files + others


class _Salvage:
    """Copies what is readable of one file after the other."""

    def __init__(self, writer: BagWriter, metadata: BagMetadata | None, read: Callable[[int], None]) -> None:
        self._writer = writer
        self._read = read
        self._metadata = metadata
        #: Names of the files that travel in the bag.
        self.attached: set[str] = set()
        self._noted: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        #: What the file that is being read repeats of those before it, and what of latched topics has been saved: topic, sequence number.
        self._repeated: dict[str, Repeated] = {}
        self._latched: set[tuple[str, int]] = set()

    def file(self, file: Path, storage: str) -> list[str]:
        """Copies one file and tells what was wrong with it."""
        if not file.stat().st_size and not sqlite_source.has_journal(file):
            return ["is empty (0 bytes)"]
        try:
            return self._mcap(file) if storage == "mcap" else self._sqlite(file)
        except BagError as error:
            # The other files of the bag may be better.
            return [str(error).removeprefix(f"{file}: ")]

    def _mcap(self, file: Path) -> list[str]:
        salvage = McapSalvage(file)
        self._repeated = {}
        schemas: dict[int, Schema] = {}
        names: dict[int, str | None] = {}
        lost: Counter[str] = Counter()
        for record in salvage.records(self._read):
            if isinstance(record, Message):
                name = names.get(record.channel_id)
                if name is None:
                    lost[f"channel {record.channel_id}, which is not declared or not ROS 2's"] += 1
                elif record.log_time > LAST_TIME_NS:
                    lost[f"topic '{name}' after the year 2262"] += 1
                elif not self._is_repeated(name, record.sequence):
                    self._writer.write(name, record.data, record.log_time, record.publish_time, record.sequence)
            elif isinstance(record, Schema):
                # The first that is found: it comes from the file's end, if that is whole.
                schemas.setdefault(record.id, record)
            elif isinstance(record, Channel) and record.id not in names:
                names[record.id] = self._declared(file, record, schemas.get(record.schema_id), salvage.notes)
            elif isinstance(record, Attachment):
                self.attach(record.name, record.media_type, record.data)
            elif isinstance(record, Metadata):
                self._note(record.name, record.metadata)
        return salvage.notes + [f"{count} messages of {what}, are left out" for what, count in lost.items()]

    def _sqlite(self, file: Path) -> list[str]:
        compressed = self._metadata is None or self._metadata.compression_mode == "message"
        with SqliteSalvage(file) as salvage:
            names = {number: self._add(topic, salvage.notes) for number, topic in salvage.topics.items()}
            lost = unreadable = 0
            for number, log_time_ns, data in salvage.rows():
                self._read(len(data))
                name = names.get(number)
                if name is None:
                    lost += 1
                    continue
                try:
                    self._writer.write(name, decompressed(file, data) if compressed else data, log_time_ns)
                except BagError:
                    unreadable += 1
            left_out = {"of topics that are not declared": lost, "whose compression is damaged": unreadable}
            return salvage.notes + [f"{count} messages {what} are left out" for what, count in left_out.items() if count]

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """Each file of a split bag has the same attachments."""
        if name not in self.attached:
            self.attached.add(name)
            self._writer.attach(name, media_type, data)

    def _declared(self, file: Path, channel: Channel, schema: Schema | None, notes: list[str]) -> str | None:
        try:
            return self._add(topic_of_channel(file, channel, schema), notes)
        except BagError as error:
            note = str(error).removeprefix(f"{file}: ")
            if note not in notes:
                notes.append(note)
            return None

    def _add(self, topic: StoredTopic, notes: list[str]) -> str | None:
        """The name under which the new bag has the topic; None where it has another one of that name."""
        known = self._writer.topics.get(topic.name)
        if known is None:
            # What is missing was never there: no damage, so nobody is told.
            self._writer.add_stored_topic(with_definition(topic, self._metadata, []))
        elif known.type != topic.type:
            notes.append(f"topic '{topic.name}' has two types, the messages of type {topic.type} are left out")
            return None
        return topic.name

    def _is_repeated(self, name: str, number: int) -> bool:
        """Whether a message is one that an earlier file had, too; the new bag's writer repeats by itself."""
        if not self._writer.repeat_latched or not self._writer.topics[name].latched:
            return False
        known = name in self._repeated and number <= self._repeated[name].last and (name, number) in self._latched
        self._latched.add((name, number))
        return known

    def _note(self, name: str, values: dict[str, str]) -> None:
        if name == REPEATED:
            with contextlib.suppress(ValueError):
                self._repeated, self._writer.repeat_latched = read_repeated(values), True
            return
        key = (name, tuple(sorted(values.items())))
        if name != STORED_METADATA and key not in self._noted:
            self._noted.add(key)
            self._writer.note(name, values)


def _old_metadata(path: Path, notes: list[str]) -> BagMetadata | None:
    folder = path if path.is_dir() else path.parent
    if path.is_file() and path.name != METADATA_FILE:
        return None
    try:
        return read_metadata(folder / METADATA_FILE) if (folder / METADATA_FILE).exists() else None
    except BagError as error:
        notes.append(f"{METADATA_FILE}: {str(error).removeprefix(f'{folder / METADATA_FILE}: ')}")
        return None


def _format(file: Path, metadata: BagMetadata | None) -> tuple[str, str | None]:
    with file.open("rb") as stream:
        is_sqlite = stream.read(len(sqlite_source.MAGIC)) == sqlite_source.MAGIC
    if is_sqlite or file.suffix == ".db3":
        modes = ("file", "message")
        return "sqlite3", metadata.compression_mode if metadata and metadata.compression_mode in modes else None
    compression = McapSalvage(file).compression()
    return "mcap", compression if compression in ("none", "lz4", "zstd") else None


def _decompressed(file: Path, stack: ExitStack, notes: list[str]) -> Path:
    with file.open("rb") as stream:
        if stream.read(len(ZSTD_MAGIC)) != ZSTD_MAGIC:
            return file
    target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aisle-bag-"))) / file.name.removesuffix(".zstd")
    if not decompress_beginning(file, target):
        notes.append(f"{file.name}: the compressed file is damaged or ends too early")
    return target


def _copy_attachments(path: Path, salvage: _Salvage) -> None:
    folder = path / ATTACHMENTS_FOLDER
    for file in sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else ():
        name = file.relative_to(folder).as_posix()
        salvage.attach(name, media_type(name), file.read_bytes())
