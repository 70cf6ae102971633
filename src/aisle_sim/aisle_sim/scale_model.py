"""The measured properties of weighing shelves, as ``config/scale_model.yaml`` holds them (made by ``fit_scale_model``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

FILE_NAME = "scale_model.yaml"


@dataclass(frozen=True)
class ShelfCharacter:
    """One measured shelf. ``vibration_kg``: deviation per unit of the store's excitation, coloured by the recursion
    x[n] = ``ar1`` x[n-1] + ``ar2`` x[n-2] + noise at 60 Hz; ``noise_shared`` and ``shared``: correlation of quiet noise and of
    vibration between its plates; ``plate_spread``: deviation of the logarithm of the plates' noise."""

    noise_kg: float
    plate_spread: float
    noise_shared: float
    hum_kg: float
    vibration_kg: float
    ar1: float
    ar2: float
    shared: float


@dataclass(frozen=True)
class ScaleModel:
    """All measured numbers; kg, s, Hz. See docs/simulation.md for how each was got."""

    sample_rate_hz: float
    batch_samples: int
    quantisation_kg: float
    hum_hz: float
    steady_excitation: float
    burst_rate_hz: float
    burst_level_median: float
    burst_level_log_deviation: float
    burst_decay_s: float
    drift_kg_per_sqrt_s: float
    gain_deviation: float
    crosstalk_deviation: float
    settling_share: float
    settling_s: float
    ringing_share: float
    ringing_s: float
    touch_force_kg: float
    touch_force_per_load: float
    touch_s: float
    touch_level: float
    shelf_start_spread_s: float
    batch_jitter_s: float
    shelves: tuple[ShelfCharacter, ...]


def load_scale_model(path: str | Path | None = None) -> ScaleModel:
    """The shipped model, or one of a file. Raises ValueError naming file and field, OSError for a file that cannot be read."""
    source = resources.files("aisle_sim") / "config" / FILE_NAME if path is None else Path(path)
    values = yaml.safe_load(source.read_text(encoding="utf-8"))
    return scale_model_from_mapping(values, str(path or FILE_NAME))


def scale_model_from_mapping(values: Any, where: str) -> ScaleModel:
    """Checks names and types of all fields."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: found {type(values).__name__}, expected a mapping of fields")
    shelves = values.get("shelves")
    if not isinstance(shelves, list) or not shelves:
        raise ValueError(f"{where}: field 'shelves' is {shelves!r}, expected a list of measured shelves")
    scalars = {name: value for name, value in values.items() if name != "shelves"}
    measured = tuple(ShelfCharacter(**_numbers(shelf, ShelfCharacter, f"{where}: shelves[{i}]")) for i, shelf in enumerate(shelves))
    return ScaleModel(shelves=measured, **_numbers(scalars, ScaleModel, where, {"shelves"}))


def scale_model_to_mapping(model: ScaleModel) -> dict[str, Any]:
    """What ``scale_model_from_mapping`` reads."""
    values = asdict(model)
    values["shelves"] = [dict(shelf) for shelf in values["shelves"]]
    return values


def _numbers(values: Any, kind: type, where: str, without: frozenset[str] | set[str] = frozenset()) -> dict[str, float]:
    names = [name for name in kind.__dataclass_fields__ if name not in without]
    if not isinstance(values, Mapping) or set(values) != set(names):
        found = sorted(values) if isinstance(values, Mapping) else values
        raise ValueError(f"{where}: has {found}, expected exactly {sorted(names)}")
    for name in names:
        if isinstance(values[name], bool) or not isinstance(values[name], (int, float)):
            raise ValueError(f"{where}: field '{name}' is {values[name]!r}, expected a number")
    return {name: values[name] for name in names}
