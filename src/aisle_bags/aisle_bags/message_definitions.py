"""Message definitions as bags carry them, so that a bag can be read where its message packages are not installed.

The form is that of MCAP's ``ros2msg`` schema encoding (https://mcap.dev/spec/registry#ros2msg): the type's own definition, then that of
every type it needs, each after a line of 80 ``=`` and a line ``MSG: <package>/<name>``.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

_SEPARATOR = "=" * 80
_FIELD = re.compile(r"^\s*([A-Za-z][A-Za-z0-9_]*(?:/[A-Za-z][A-Za-z0-9_]*)*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]")
_PRIMITIVE = re.compile(r"^(?:bool|byte|char|w?string|float(?:32|64)|u?int(?:8|16|32|64))$")


class UnknownMessageType(LookupError):
    """No definition of a message type was found."""


@cache
def message_definition(type_name: str) -> str:
    """The full definition of a ROS type such as ``aisle_msgs/msg/Cart``, from the packages on AMENT_PREFIX_PATH.

    Raises UnknownMessageType that names the file looked for and where.
    """
    sections, waiting, seen = [], [type_name], {type_name}
    while waiting:
        name = waiting.pop(0)
        text = _own_definition(name)
        sections.append(text if not sections else f"{_SEPARATOR}\nMSG: {name.replace('/msg/', '/')}\n{text}")
        for needed in _needed_types(text, package=name.split("/")[0]):
            if needed not in seen:
                seen.add(needed)
                waiting.append(needed)
    return "\n".join(sections)


def _own_definition(type_name: str) -> str:
    parts = type_name.split("/")
    if len(parts) != 3 or parts[1] != "msg":
        raise UnknownMessageType(f"'{type_name}' is not a message type, expected <package>/msg/<Name>")
    package, _, name = parts
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    for prefix in prefixes:
        file = Path(prefix) / "share" / package / "msg" / f"{name}.msg"
        if file.is_file():
            return file.read_text()
    raise UnknownMessageType(f"no share/{package}/msg/{name}.msg below {', '.join(prefixes) or 'AMENT_PREFIX_PATH (not set)'}")


def _needed_types(definition: str, package: str) -> list[str]:
    """Types of the fields, in order; constants and comments are no fields."""
    needed = []
    for line in definition.splitlines():
        match = _FIELD.match(line.split("#", 1)[0])
        if match is None or _PRIMITIVE.match(match.group(1)):
            continue
        parts = match.group(1).split("/")
        needed.append(f"{parts[0]}/msg/{parts[-1]}" if len(parts) > 1 else f"{package}/msg/{parts[0]}")
    return needed


@cache
def type_hash(type_name: str) -> str:
    """The RIHS01 hash of an installed type (REP 2016); empty where the definition holds what the hash is not defined for."""
    return definition_hash(type_name, "ros2msg", message_definition(type_name))


@cache
def definition_hash(type_name: str, encoding: str, text: str) -> str:
    """The RIHS01 hash of a definition out of a bag: the same for texts that differ in comments only; empty for what cannot be parsed."""
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(parsed_definition(type_name, encoding, text))
        return store.hash_rihs01(type_name)
    except (UnreadableDefinition, LookupError, TypesysError):
        return ""


class UnreadableDefinition(ValueError):
    """A definition out of a bag is not what its encoding says; the message is one line."""


def parsed_definition(type_name: str, encoding: str, text: str) -> dict[str, Any]:
    """The types in a definition out of a bag, as rosbags' type stores take them. Raises UnreadableDefinition."""
    if encoding not in ("ros2msg", "ros2idl", "omgidl"):
        raise UnreadableDefinition(f"it is written in '{encoding}', expected ros2msg or ros2idl")
    try:
        if encoding == "ros2msg":
            return dict(get_types_from_msg(text, type_name))
        # rosbag2 puts a heading before the definition of each type (its docs/message_definition_encoding.md).
        parts = [part.partition("\n")[2] if part.startswith("IDL: ") else part for part in text.split(f"{_SEPARATOR}\n")]
        return {name: fields for part in parts if part.strip() for name, fields in get_types_from_idl(part).items()}
    except Exception as error:
        # rosbags' parser raises what it stumbles over.
        raise UnreadableDefinition(" ".join(str(error).split())[:200]) from error


def foreign_definition(type_name: str, ros_distro: str = "", metadata_version: int | None = None) -> str:
    """The full definition (ros2msg) of a type for a bag that has none: of the ROS that the bag is from, or of what is installed.

    ``metadata_version`` of the bag, which tells about when it was made, helps out where the distribution is not known. Raises
    UnknownMessageType.
    """
    stores = {store.name.removeprefix("ROS2_").lower(): store for store in Stores if store.name.startswith("ROS2_")}
    store = get_typestore(stores.get(ros_distro.lower()) or _store_by_age(metadata_version))
    if type_name in store.fielddefs:
        return store.generate_msgdef(type_name, ros_version=2)[0]
    return message_definition(type_name)


def _store_by_age(metadata_version: int | None) -> Stores:
    if metadata_version is None or metadata_version < 5:
        return Stores.ROS2_FOXY
    return Stores.ROS2_HUMBLE if metadata_version == 5 else Stores.LATEST
