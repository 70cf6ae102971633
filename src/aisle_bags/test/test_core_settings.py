"""The cores' settings out of the live graph's parameter file."""

from __future__ import annotations

from pathlib import Path

import pytest

from aisle_bags.core_settings import CoreSettings, load_settings


def parameters(folder: Path, text: str) -> Path:
    file = folder / "graph.yaml"
    file.write_text(text)
    return file


def test_without_sections_the_defaults_hold(tmp_path: Path) -> None:
    assert load_settings(parameters(tmp_path, "/**:\n  ros__parameters: {}\n")) == CoreSettings()


def test_sections_reach_their_cores(tmp_path: Path) -> None:
    text = """
/**: {ros__parameters: {max_lateness_s: 2.0, use_sim_time: true}}
/shop/tracker: {ros__parameters: {max_lateness_s: 1.5}}
markers: {ros__parameters: {size: 3}}
"""
    settings = load_settings(parameters(tmp_path, text))
    assert settings.tracker.max_lateness_s == 1.5
    assert settings.cart_fusion.max_lateness_s == 2.0
    assert settings.checkout == CoreSettings().checkout


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tracker: {ros__parameters: {haste: 1.0}}", r"graph\.yaml: section 'tracker': unknown parameter 'haste'"),
        ("tracker: {ros__parameters: {max_lateness_s: -1.0}}", r"parameter 'max_lateness_s' is -1\.0, expected"),
        ("tracker: {max_lateness_s: 1.0}", r"graph\.yaml: section 'tracker': expected a mapping 'ros__parameters'"),
        ("- tracker", r"graph\.yaml: expected sections named after nodes, found list"),
        ("tracker: [", r"graph\.yaml: not a YAML file"),
    ],
)
def test_slips_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        load_settings(parameters(tmp_path, text))
