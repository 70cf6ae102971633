"""The cores' settings from the parameter file that the live graph's nodes get, so that offline and live runs use the same values."""

from __future__ import annotations

import dataclasses
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


class SettingsError(ValueError):
    """A parameter file cannot be used: the message names file, section and parameter, what was found and what was expected."""


@dataclass(frozen=True)
class CoreSettings:
    """One config per core; each field is named as the node that runs the core."""

    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    shelf_monitor: ShelfMonitorConfig = field(default_factory=ShelfMonitorConfig)
    cart_fusion: CartFusionConfig = field(default_factory=CartFusionConfig)
    checkout: CheckoutConfig = field(default_factory=CheckoutConfig)

    def without_open_carts(self) -> CoreSettings:
        """The same for a run of which nobody sees carts before they are final: receipts are those that this gives, and cost less."""
        return dataclasses.replace(self, cart_fusion=dataclasses.replace(self.cart_fusion, open_carts=False))


_CONFIGS = {"tracker": TrackerConfig, "shelf_monitor": ShelfMonitorConfig, "cart_fusion": CartFusionConfig, "checkout": CheckoutConfig}


def load_settings(path: Path) -> CoreSettings:
    """Reads a ROS parameter file: sections named after nodes (a leading namespace is ignored), each with ``ros__parameters``.

    A section for all nodes (``/**``) counts for the cores that have its parameters, and less than a node's own section. Sections of
    other nodes hold nothing that a core reads. Raises SettingsError for anything that is not understood, OSError if the file cannot
    be read.
    """
    sections = _sections(path)
    return CoreSettings(**{node: _config(path, node, sections) for node in _CONFIGS})


def _sections(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        document = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(document, Mapping):
        raise SettingsError(f"{path}: expected sections named after nodes, found {type(document).__name__}")
    sections: dict[str, Mapping[str, Any]] = {}
    for name, content in document.items():
        parameters = content.get("ros__parameters") if isinstance(content, Mapping) else None
        if not isinstance(parameters, Mapping):
            raise SettingsError(f"{path}: section '{name}': expected a mapping 'ros__parameters'")
        sections[str(name).rsplit("/", 1)[-1]] = parameters
    return sections


def _config(path: Path, node: str, sections: Mapping[str, Mapping[str, Any]]) -> Any:
    config_class = _CONFIGS[node]
    names = {field.name for field in dataclasses.fields(config_class)}
    common = {name: value for name, value in sections.get("**", {}).items() if name in names}
    try:
        return config.from_mapping(config_class, {**common, **sections.get(node, {})}, f"{path}: section '{node}'")
    except ValueError as error:
        raise SettingsError(str(error)) from error
