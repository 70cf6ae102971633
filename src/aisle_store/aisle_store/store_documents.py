"""Reading YAML and CSV so that every complaint names file, line, field, what was found and what was expected."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

#: More complaints than this help nobody.
MAX_PROBLEMS_SHOWN = 20


class StoreError(ValueError):
    """Store data that cannot be used. ``problems``: one line each; ``str()`` joins them."""

    def __init__(self, problems: list[str] | str) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        shown = list(self.problems[:MAX_PROBLEMS_SHOWN])
        if len(self.problems) > len(shown):
            shown.append(f"... and {len(self.problems) - len(shown)} more problems")
        super().__init__("\n".join(shown))


@dataclass
class Problems:
    """Collects complaints so that one run reports all of them."""

    found: list[str] = field(default_factory=list)

    def add(self, where: str, what: str) -> None:
        self.found.append(f"{where}: {what}")

    def raise_if_any(self) -> None:
        """StoreError with all that was collected."""
        if self.found:
            raise StoreError(self.found)


def read_text(path: Path) -> str:
    """The file as UTF-8 text; StoreError for a missing, unreadable, empty or binary one."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise StoreError(f"{path}: missing, expected a file") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: byte {error.start} is not UTF-8, expected text") from None
    if not text.strip():
        raise StoreError(f"{path}: empty, expected content")
    return text


class _TextLoader(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
    """Scalars stay text, so that an id 010 stays 010 and 1e-3 becomes a number where a number is wanted; keys must be unique."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            seen = set()
            for key_node, _ in node.value:
                if key_node.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"key '{key_node.value}' stands twice", problem_mark=key_node.start_mark)
                seen.add(key_node.value)
        return mapping


def read_document(path: Path, model: type[M]) -> M:
    """A YAML or JSON file (JSON is YAML) as ``model``. Raises StoreError with every problem of the file."""
    text = read_text(path)
    try:
        document = yaml.load(text, Loader=_TextLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise StoreError(f"{path}{line}: {error.problem or error.context}, expected {_kind(path)}") from None
    except yaml.YAMLError as error:
        raise StoreError(f"{path}: {' '.join(str(error).split())}, expected {_kind(path)}") from None
    if not isinstance(document, dict):
        raise StoreError(f"{path}: found {_shown(document)}, expected keys {', '.join(model.model_fields)}")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        root = yaml.compose(text, Loader=_TextLoader)
        raise StoreError([_complaint(path, root, details) for details in error.errors()]) from None


def _kind(path: Path) -> str:
    return "JSON" if path.suffix == ".json" else "YAML"


def _complaint(path: Path, root: yaml.Node, details: Mapping[str, Any]) -> str:
    location = tuple(details["loc"])
    found = f"found {_shown(details['input'])}, "
    if details["type"] == "missing":
        found, expected = "", "missing"
    elif details["type"] == "extra_forbidden":
        found, expected = "", "unknown key"
    elif details["type"] == "value_error":
        expected = f"expected {details['ctx']['error']}"
    else:
        expected = details["msg"].replace("Input should be ", "expected ", 1)
    return f"{path}:{_line(root, location)}: {_dotted(location)}: {found}{expected}"


def _dotted(location: tuple[str | int, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).lstrip(".")


def _line(node: yaml.Node, location: tuple[str | int, ...]) -> int:
    """Line of the innermost node of ``location`` that is in the file."""
    for part in location:
        child = _child(node, part)
        if child is None:
            break
        node = child
    return node.start_mark.line + 1


def _child(node: yaml.Node, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@dataclass(frozen=True)
class Row:
    """One record of a CSV file: where it stands and its checked values by column."""

    where: str
    values: dict[str, Any]


def read_csv(path: Path, columns: Mapping[str, Callable[[str], Any]], problems: Problems, extra_columns: bool = False) -> list[Row]:
    """Records of a CSV file (RFC 4180, UTF-8, a header line) whose values all pass; what does not pass goes to ``problems``.

    ``columns``: converter per expected column, which raises ValueError(what was expected). Raises StoreError if the file is missing
    or empty or its header lacks a column; unknown columns are refused unless ``extra_columns``.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[Row] = []
    records = 0
    try:
        header = [name.strip() for name in next(reader)]
        _check_header(path, header, columns, extra_columns)
        for cells in reader:
            if not cells:
                continue
            records += 1
            where = f"{path}:{reader.line_num}"
            if len(cells) != len(header):
                problems.add(where, f"found {len(cells)} fields, expected {len(header)} ({','.join(header)})")
                continue
            values = _converted(where, dict(zip(header, cells, strict=True)), columns, problems)
            if values is not None:
                rows.append(Row(where, values))
    except csv.Error as error:
        raise StoreError(f"{path}:{reader.line_num}: {error}, expected CSV") from None
    if not records:
        problems.add(str(path), "no rows, expected at least one below the header")
    return rows


def _check_header(path: Path, header: list[str], columns: Mapping[str, Any], extra_columns: bool) -> None:
    missing = [name for name in columns if name not in header]
    unknown = [] if extra_columns else [name for name in header if name not in columns]
    twice = sorted({name for name in header if header.count(name) > 1})
    complaints = [f"missing column '{name}'" for name in missing]
    complaints += [f"unknown column '{name}'" for name in unknown]
    complaints += [f"column '{name}' stands twice" for name in twice]
    if complaints:
        raise StoreError(f"{path}:1: {', '.join(complaints)}; found '{','.join(header)}', expected '{','.join(columns)}'")


def _converted(
    where: str, cells: Mapping[str, str], columns: Mapping[str, Callable[[str], Any]], problems: Problems
) -> dict[str, Any] | None:
    values: dict[str, Any] = {}
    for name, convert in columns.items():
        try:
            values[name] = convert(cells[name].strip())
        except ValueError as error:
            problems.add(where, f"{name}: found {_shown(cells[name])}, expected {error}")
    return values if len(values) == len(columns) else None
