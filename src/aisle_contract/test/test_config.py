from __future__ import annotations

from dataclasses import dataclass

import pytest

from aisle_contract.config import from_mapping, parameter


@dataclass(frozen=True)
class DoorConfig:
    width_m: float = parameter(0.9, "Clear width (m)", 0.1, 5.0)
    leaves: int = parameter(1, "Number of leaves", 1, 4)
    label: str = parameter("", "Text on the door")


def test_values_are_taken_and_whole_numbers_serve_as_floats():
    assert from_mapping(DoorConfig, {"width_m": 2, "leaves": 2}, "doors.yaml") == DoorConfig(2.0, 2, "")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 1.0}, "doors.yaml: unknown parameter 'widht', expected one of label, leaves, width_m"),
        ({"leaves": 2.5}, r"doors.yaml: parameter 'leaves' is 2.5 \(float\), expected int"),
        ({"leaves": True}, r"doors.yaml: parameter 'leaves' is True \(bool\), expected int"),
        ({"width_m": 7.0}, r"doors.yaml: parameter 'width_m' is 7.0, expected 0.1 .. 5.0"),
        ({"width_m": float("nan")}, "doors.yaml: parameter 'width_m' is nan"),
    ],
)
def test_errors_name_place_parameter_found_and_expected(values, message):
    with pytest.raises(ValueError, match=message):
        from_mapping(DoorConfig, values, "doors.yaml")
