"""Parameters of cores as data: one frozen dataclass per core, from which nodes declare their ROS parameters and YAML is checked.

Example::

    @dataclass(frozen=True)
    class TrackerConfig:
        gate_probability: float = parameter(0.99, "Share of true detections that fall inside the gate", 0.5, 0.9999)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

C = TypeVar("C")


def parameter(default: Any, description: str, minimum: float | None = None, maximum: float | None = None) -> Any:
    """A dataclass field with a description (with unit) and an inclusive range."""
    return dataclasses.field(default=default, metadata={"description": description, "minimum": minimum, "maximum": maximum})


def from_mapping(config_class: type[C], values: Mapping[str, Any], where: str) -> C:
    """Builds a config from names and values, for example of a YAML file's section.

    ``where`` names the file and section in errors. Raises ValueError for an unknown name, a wrong type or a value out of range.
    """
    fields = {f.name: f for f in dataclasses.fields(config_class)}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise ValueError(f"{where}: unknown parameter '{name}', expected one of {', '.join(sorted(fields))}")
        checked[name] = _checked(fields[name], value, where)
    return config_class(**checked)


def _checked(field: dataclasses.Field, value: Any, where: str) -> Any:
    expected = type(field.default)
    if expected is float and type(value) is int:
        value = float(value)
    if type(value) is not expected:
        raise ValueError(f"{where}: parameter '{field.name}' is {value!r} ({type(value).__name__}), expected {expected.__name__}")
    low, high = field.metadata.get("minimum"), field.metadata.get("maximum")
    # Written so that NaN fails too.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise ValueError(f"{where}: parameter '{field.name}' is {value!r}, expected {low} .. {high}")
    return value
