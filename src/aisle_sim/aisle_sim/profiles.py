"""How good the simulated sensors are and how patient the simulated hands: ``clean``, ``nominal`` (as measured), ``harsh`` (the same,
but worse) and ``adverse`` (troubles of other kinds, which nothing was fitted or tuned to).

The numbers of each profile are in ``config/<name>.yaml`` beside this module; every field is described here with its unit.
What was measured on real plates (noise of each shelf, vibration, quantisation, settling) is in ``config/scale_model.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from aisle_contract.config import from_mapping, parameter


@dataclass(frozen=True)
class HandsProfile:
    """How people take things."""

    quick_lift_min_s: float = parameter(0.12, "Shortest time from touching a thing to having taken it or put it down, s", 0.02, 5.0)
    quick_lift_max_s: float = parameter(0.35, "Longest time for the same, s", 0.02, 5.0)
    held_share: float = parameter(0.0, "Share of picks before which a hand rests on the plates", 0.0, 1.0)
    held_min_s: float = parameter(0.5, "Shortest rest of a hand on the plates, s", 0.0, 60.0)
    held_max_s: float = parameter(2.0, "Longest rest of a hand on the plates, s", 0.0, 60.0)
    held_force_kg: float = parameter(0.4, "Median load of a resting hand, kg", 0.0, 10.0)
    slow_share: float = parameter(0.0, "Share of picks that are slow", 0.0, 1.0)
    slow_lift_min_s: float = parameter(0.8, "Shortest slow lift, s", 0.0, 30.0)
    slow_lift_max_s: float = parameter(2.0, "Longest slow lift, s", 0.0, 30.0)


@dataclass(frozen=True)
class CameraProfile:
    """What a person detector with keypoints makes of what a camera sees."""

    pixel_noise_share: float = parameter(
        0.012, "Deviation of box edges and keypoints as a share of the person's height in the image", 0.0, 0.2
    )
    pixel_noise_px: float = parameter(1.0, "Deviation of box edges and keypoints in addition, px", 0.0, 50.0)
    wrist_noise_factor: float = parameter(1.8, "Wrists are this much noisier than other keypoints", 1.0, 10.0)
    box_looseness: float = parameter(0.04, "Boxes are wider than the body by this share on average", 0.0, 0.5)
    noise_memory_s: float = parameter(0.4, "Time after which noise and misses of one person have changed, s", 0.0, 10.0)
    miss_share: float = parameter(0.04, "Share of frames in which a fully visible, large person is missed", 0.0, 0.9)
    swap_share: float = parameter(0.01, "Share of detections whose left and right limbs are confused", 0.0, 0.5)
    least_visible_share: float = parameter(0.20, "Nobody is found of whom less than this share is visible", 0.0, 1.0)
    least_height_px: float = parameter(24.0, "Nobody is found whose visible part is lower than this, px", 1.0, 1000.0)
    false_detections: float = parameter(0.03, "Mean number of false detections per frame", 0.0, 5.0)
    merge_overlap: float = parameter(
        0.65, "Of two boxes that overlap more than this (intersection over union) the farther one is lost", 0.0, 1.0
    )


@dataclass(frozen=True)
class ScaleProfile:
    """What is done to the measured model of the plates; the factors multiply measured values."""

    noise_factor: float = parameter(1.0, "Factor on the plates' noise and hum", 0.0, 20.0)
    vibration_factor: float = parameter(1.0, "Factor on the strength of vibration bursts", 0.0, 20.0)
    drift_factor: float = parameter(1.0, "Factor on slow drift", 0.0, 20.0)
    hand_force_factor: float = parameter(1.0, "Factor on the forces of hands while they take and put", 0.0, 20.0)
    spread_factor: float = parameter(1.0, "Factor on crosstalk to neighbouring plates and on gain errors", 0.0, 20.0)
    settling_factor: float = parameter(1.0, "Factor on overshoot, ringing and slow settling after a change of load", 0.0, 20.0)
    weight_spread_factor: float = parameter(1.0, "Factor on the spread of weight between pieces of one product", 0.0, 20.0)
    quantisation: bool = parameter(True, "Whether readings are in steps of the converter")
    clock_jitter: bool = parameter(True, "Whether the stamps of batches jitter as measured")
    missing_sample_share: float = parameter(0.001, "Share of single values that are NaN", 0.0, 0.5)
    missing_batch_share: float = parameter(0.0002, "Share of batches in which a plate is NaN throughout", 0.0, 0.5)


@dataclass(frozen=True)
class ScaleTroubles:
    """Noise and faults of plates of kinds that were not measured (``scale_disturbances``); all off by default."""

    tail_kg: float = parameter(0.0, "Deviation of heavy-tailed noise of the median plate, kg", 0.0, 0.1)
    shared_share: float = parameter(0.0, "Share of its power that all plates of a shelf have in common", 0.0, 1.0)
    flicker_kg: float = parameter(0.0, "Deviation of noise with a 1/f spectrum from 0.001 to 3 Hz, kg", 0.0, 0.1)
    warming_kg_per_min: float = parameter(0.0, "Typical slope of drift that wanders within minutes, kg/min", 0.0, 0.1)
    burst_rate_hz: float = parameter(0.0, "Bursts of vibration of 7 .. 13 Hz per shelf and second", 0.0, 1.0)
    burst_kg: float = parameter(0.0, "Median amplitude of such a burst, kg", 0.0, 1.0)
    step_kg: float = parameter(0.0, "Step of the converter, kg; 0: no coarser than measured", 0.0, 0.1)
    creep_share: float = parameter(0.0, "Share of a change of load that plates show only over the next minute", 0.0, 0.2)
    spread_share: float = parameter(0.0, "Largest share of a load that a neighbouring plate takes over", 0.0, 0.3)
    gap_rate_hz: float = parameter(0.0, "Times per plate and second that values are missing for 0.03 .. 2 s", 0.0, 1.0)
    outage_rate_hz: float = parameter(0.0, "Times per shelf and second that nothing comes for about 10 s", 0.0, 0.1)
    stuck_rate_hz: float = parameter(0.0, "Times per plate and second that it sticks at a value for 20 .. 120 s", 0.0, 0.1)
    dead_share: float = parameter(0.0, "Share of plates that never give anything", 0.0, 1.0)
    clock_offset_s: float = parameter(0.0, "Clocks of shelves are ahead by up to this, s", 0.0, 0.5)


@dataclass(frozen=True)
class CameraTroubles:
    """What else goes wrong with cameras and detectors (``camera_disturbances``); all off by default."""

    outage_rate_hz: float = parameter(0.0, "Times per camera and second that nothing comes for 20 .. 40 s", 0.0, 0.1)
    blind_rate_hz: float = parameter(0.0, "Times per person, camera and second that he is not found for 0.5 .. 3 s", 0.0, 1.0)
    ghost_rate_hz: float = parameter(
        0.0, "Times per camera and second that something that stands still is taken for a person for 2 .. 10 s", 0.0, 1.0
    )
    exchange_overlap: float = parameter(1.0, "Limbs may be given to the wrong one of two whose boxes overlap more than this", 0.0, 1.0)
    exchange_share: float = parameter(0.0, "Share of such frames in which they are", 0.0, 1.0)
    offset_px: float = parameter(0.0, "Deviation of a camera's image from where its calibration says, px", 0.0, 100.0)
    person_bias_share: float = parameter(
        0.0, "Deviation of a person's lasting offset in a camera as a share of his height in the image", 0.0, 0.3
    )
    clock_offset_s: float = parameter(0.0, "Clocks of cameras are ahead by up to this, s", 0.0, 0.5)


@dataclass(frozen=True)
class ItemCameraProfile:
    """A camera for things in hands (``item_camera``)."""

    accuracy: float = parameter(0.0, "Share of things that it takes for what they are; 0: there is no such camera", 0.0, 1.0)
    unseen_share: float = parameter(0.1, "Share of things that it does not see", 0.0, 1.0)
    position_deviation_m: float = parameter(0.05, "Deviation of the place of a thing, m per axis", 0.001, 1.0)


@dataclass(frozen=True)
class SensorProfile:
    """One named set of sensor properties."""

    name: str
    hands: HandsProfile = HandsProfile()
    cameras: CameraProfile = CameraProfile()
    scales: ScaleProfile = ScaleProfile()
    scale_troubles: ScaleTroubles = ScaleTroubles()
    camera_troubles: CameraTroubles = CameraTroubles()
    item_camera: ItemCameraProfile = ItemCameraProfile()


def profile_from_mapping(name: str, values: Mapping[str, Any], where: str) -> SensorProfile:
    """A profile from sections named like the fields of ``SensorProfile``; with ``like: NAME`` the rest is as in that shipped profile.

    ValueError names ``where``, section and field.
    """
    base = SensorProfile(name) if "like" not in values else _named(values["like"], f"{where}: like: ")
    sections = {field.name: getattr(base, field.name) for field in fields(SensorProfile) if field.name != "name"}
    unknown = sorted(map(str, set(values) - set(sections) - {"like"}))
    if unknown:
        raise ValueError(f"{where}: unknown section '{unknown[0]}', expected one of {', '.join(sections)}")
    parts = {}
    for key, section in sections.items():
        given = values.get(key) or {}
        if not isinstance(given, Mapping):
            raise ValueError(f"{where}: {key} is {given!r}, expected fields with their values")
        parts[key] = from_mapping(type(section), vars(section) | dict(given), f"{where}: {key}")
    for low, high in (("quick_lift_min_s", "quick_lift_max_s"), ("held_min_s", "held_max_s"), ("slow_lift_min_s", "slow_lift_max_s")):
        if getattr(parts["hands"], low) > getattr(parts["hands"], high):
            raise ValueError(
                f"{where}: hands: {low} is {getattr(parts['hands'], low)}, expected at most {high}, {getattr(parts['hands'], high)}"
            )
    return SensorProfile(name, **parts)


def _shipped(name: str) -> SensorProfile:
    text = (resources.files("aisle_sim") / "config" / f"{name}.yaml").read_text(encoding="utf-8")
    return profile_from_mapping(name, yaml.safe_load(text), f"config/{name}.yaml")


PROFILES: dict[str, SensorProfile] = {name: _shipped(name) for name in ("clean", "nominal", "harsh", "adverse")}


def find_profile(name: str) -> SensorProfile:
    """A shipped profile by name. ValueError names the known ones."""
    return _named(name, "")


def _named(name: Any, where: str) -> SensorProfile:
    if not isinstance(name, str) or name not in PROFILES:
        raise ValueError(f"{where}unknown sensor profile '{name}', expected one of {', '.join(PROFILES)}")
    return PROFILES[name]


def load_profile(path: Path) -> SensorProfile:
    """A profile of one's own from a YAML file (``profile_from_mapping``), named like the file.

    ValueError names file, section and field; OSError if it cannot be read.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, Mapping):
        raise ValueError(f"{path}: found {type(values).__name__}, expected sections, such as scales:")
    return profile_from_mapping(path.stem, values, str(path))


def with_item_camera(profile: SensorProfile, accuracy: float) -> SensorProfile:
    """The same sensors and a camera for things in hands; none for ``accuracy`` 0."""
    return replace(profile, item_camera=replace(profile.item_camera, accuracy=accuracy))
