"""The store that a bag was recorded in travels in the bag: its files as attachments named ``store/<file>``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from aisle_bags.bag_copies import media_type
from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.bag_writer import BagWriter
from aisle_store.store import Store
from aisle_store.store_files import STORE_FILES, StoreError, load_store, save_store

_PREFIX = "store/"


def attach_store(writer: BagWriter, folder: Path) -> None:
    """Puts a store's files into a bag. Raises OSError where one cannot be read."""
    for name in STORE_FILES:
        writer.attach(_PREFIX + name, media_type(name), (folder / name).read_bytes())


def attach_changed_store(writer: BagWriter, store: Store) -> None:
    """As ``attach_store`` for a store that lies in no folder. Raises StoreError where it would not load."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / store.name
        save_store(store, folder)
        attach_store(writer, folder)


def store_of(reader: BagReader) -> Store:
    """The store that travels in a bag. Raises BagError where there is none or it cannot be used."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "store"
        unpack_store(reader, folder)
        try:
            return load_store(folder)
        except StoreError as error:
            wrong = "; ".join(str(error).replace(str(folder), "store").splitlines())
            raise BagError(f"{reader.path}: the store in it cannot be used: {wrong}") from error


def unpack_store(reader: BagReader, folder: Path) -> None:
    """Writes the bag's store files into ``folder``. Raises BagError where the bag holds no store."""
    attachments = reader.attachments()
    if _PREFIX + STORE_FILES[0] not in attachments:
        raise BagError(f"{reader.path}: holds no store, expected attachments {_PREFIX}*: name the store with --store")
    folder.mkdir(parents=True, exist_ok=True)
    for name in STORE_FILES:
        if _PREFIX + name in attachments:
            (folder / name).write_bytes(attachments[_PREFIX + name])
