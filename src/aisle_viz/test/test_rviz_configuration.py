from __future__ import annotations

from pathlib import Path

import yaml

from aisle_contract import frames, topics
from aisle_store.store_files import load_store

ROOT = Path(__file__).resolve().parents[3]


def test_rviz_shows_what_the_graph_publishes():
    manager = yaml.safe_load((ROOT / "rviz" / "store.rviz").read_text())["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == frames.STORE
    shown = {display["Topic"]["Value"]: display for display in manager["Displays"] if "Topic" in display}
    markers = shown.pop(topics.MARKERS.name)["Topic"]
    assert (markers["Reliability Policy"], markers["Durability Policy"]) == ("Reliable", "Transient Local")
    images = {topics.image(camera).name for camera in load_store(ROOT / "config" / "stores" / "nanostore-2019-11").cameras}
    assert shown.keys() <= images
    assert not any(display["Enabled"] for display in shown.values()), "images cost bandwidth: off until asked for"
