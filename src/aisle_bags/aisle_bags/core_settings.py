"""The cores' settings from the parameter file that the live graph's nodes get, so that offline and live runs use the same values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from aisle_checkout.checkout import CheckoutConfig
from aisle_contract import config
from aisle_fusion.cart_fusion import CartFusionConfig
from aisle_fusion.shelf_monitor import ShelfMonitorConfig
from aisle_perception.tracker import TrackerConfig


@dataclass(frozen=True)
class CoreSettings:
    """One config per core; each field is named as the node that runs the core."""

    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    shelf_monitor: ShelfMonitorConfig = field(default_factory=ShelfMonitorConfig)
    cart_fusion: CartFusionConfig = field(default_factory=CartFusionConfig)
    checkout: CheckoutConfig = field(default_factory=CheckoutConfig)


_CONFIGS = {"tracker": TrackerConfig, "shelf_monitor": ShelfMonitorConfig, "cart_fusion": CartFusionConfig, "checkout": CheckoutConfig}


def load_settings(path: Path) -> CoreSettings:
    """Reads a ROS parameter file: sections named after nodes (a leading namespace is ignored), each with ``ros__parameters``.

    Sections of other nodes and of all nodes (``/**``) hold nothing that a core reads. Raises ValueError that names file, section and
    parameter for anything that is not understood, OSError if the file cannot be read.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(document, Mapping):
        raise ValueError(f"{path}: expected sections named after nodes, found {type(document).__name__}")
    configs: dict[str, Any] = {}
    for section, content in document.items():
        node = str(section).rsplit("/", 1)[-1]
        if node not in _CONFIGS:
            continue
        if not isinstance(content, Mapping) or not isinstance(content.get("ros__parameters"), Mapping):
            raise ValueError(f"{path}: section '{section}': expected a mapping 'ros__parameters'")
        configs[node] = config.from_mapping(_CONFIGS[node], content["ros__parameters"], f"{path}: section '{section}'")
    return CoreSettings(**configs)
