"""The graph as data: which nodes run for a store, with what parameters, in which processes.

``./aisle up`` (``processes``), ``launch/store.launch.py`` and ``./aisle graph`` all start from ``build_graph``; a larger store is a
longer list, not another launch file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from aisle_contract import topics
from aisle_store.store import Store

SENSORS = ("sim", "files", "hardware", "none")
COMPOSITIONS = ("groups", "processes", "single")
PROFILES = ("clean", "nominal", "harsh")
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
#: Name of the file in a store's folder that names its devices, if none is given.
SENSORS_FILE = "sensors.yaml"
#: Cameras that share a process, capture and detection together, so that raw images need not cross DDS.
CAMERAS_PER_PROCESS = 4

Value = bool | int | float | str


class GraphError(ValueError):
    """Options, a sensors file or a parameter file that do not fit together; the message says what was found and what was expected."""


@dataclass(frozen=True)
class NodeSpec:
    """One node. ``group``: nodes of one group share a process (as ``composition`` says). Names are relative to ``namespace``."""

    package: str
    executable: str
    name: str
    group: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    namespace: str = ""
    parameter_file: Path | None = None

    @property
    def module(self) -> str:
        """Python module of the executable."""
        return f"{self.package}.{self.executable}"

    def ros_arguments(self) -> list[str]:
        """The node's part of a command line, as ``ros2 run`` takes it. Parameters given here win over the file's."""
        arguments = ["--ros-args", "-r", f"__node:={self.name}"]
        if self.namespace:
            arguments += ["-r", f"__ns:={self.namespace}"]
        for source, target in self.remappings:
            arguments += ["-r", f"{source}:={target}"]
        if self.parameter_file is not None:
            arguments += ["--params-file", str(self.parameter_file)]
        for name, value in self.parameters.items():
            # JSON is YAML, and quotes ids such as "1" that would otherwise become numbers.
            arguments += ["-p", f"{name}:={json.dumps(value)}"]
        return arguments


@dataclass(frozen=True)
class GraphOptions:
    """What can be chosen about a graph. Paths are absolute or relative to the working directory.

    ``sensors``: ``sim`` re-enacts ``sessions``; ``files`` and ``hardware`` read devices from ``sensors_file`` (by default the store's
    ``sensors.yaml``); ``none`` starts no sources (a bag is replayed, or drivers run elsewhere). ``record`` is a bag to write,
    ``receipts`` a folder for receipt files; ``parameters`` a ROS parameter file for all nodes.
    """

    store: Path
    sensors: str = "sim"
    sensors_file: Path | None = None
    sessions: Path | None = None
    session_ids: tuple[str, ...] = ()
    profile: str = "nominal"
    seed: int = 0
    speed: float = 1.0
    record: Path | None = None
    receipts: Path | None = None
    markers: bool = True
    use_sim_time: bool = False
    composition: str = "groups"
    namespace: str = ""
    parameters: Path | None = None
    log_level: str = "info"


def build_graph(store: Store, options: GraphOptions) -> list[NodeSpec]:
    """The nodes of ``store`` in the order in which they are started: consumers first, so that no source speaks to nobody.

    Raises GraphError for options that do not fit, OSError for files that cannot be read.
    """
    _check(options)
    nodes = [*_decisions(options), *_observers(options), *_sources(store, options)]
    if options.parameters is not None:
        _check_parameter_file(options.parameters, nodes)
    return nodes


def process_groups(nodes: Sequence[NodeSpec], composition: str) -> dict[str, list[NodeSpec]]:
    """Nodes by process, in starting order: by ``group``, one process per node (``processes``), or one for all (``single``)."""
    groups: dict[str, list[NodeSpec]] = {}
    for node in nodes:
        process = {"groups": node.group, "processes": node.name, "single": "aisle"}[composition]
        groups.setdefault(process, []).append(node)
    return groups


def _check(options: GraphOptions) -> None:
    _check_choice("sensors", options.sensors, SENSORS)
    _check_choice("composition", options.composition, COMPOSITIONS)
    _check_choice("profile", options.profile, PROFILES)
    _check_choice("log_level", options.log_level, LOG_LEVELS)
    if not 0.01 <= options.speed <= 100.0:
        raise GraphError(f"speed is {options.speed:g}, expected 0.01 .. 100")
    if options.namespace and not re.fullmatch(r"(/[A-Za-z_][A-Za-z0-9_]*)+", options.namespace):
        raise GraphError(f"namespace is '{options.namespace}', expected a ROS namespace such as /shop")
    if options.sensors == "sim" and options.sessions is None:
        raise GraphError("sensors are 'sim' but no sessions are given, expected a sessions.json to re-enact")
    if options.sensors != "sim" and options.speed != 1.0:
        raise GraphError(f"speed is {options.speed:g} with sensors '{options.sensors}', expected 1: only simulated sensors can hurry")


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise GraphError(f"{name} is '{value}', expected one of {', '.join(choices)}")


def _node(options: GraphOptions, package: str, executable: str, name: str, group: str, **parameters: Value) -> NodeSpec:
    if options.use_sim_time:
        parameters["use_sim_time"] = True
    parameter_file = options.parameters.resolve() if options.parameters is not None else None
    return NodeSpec(
        package=package,
        executable=executable,
        name=name,
        group=group,
        parameters=parameters,
        namespace=options.namespace,
        parameter_file=parameter_file,
    )


def _decisions(options: GraphOptions) -> Iterator[NodeSpec]:
    store = str(options.store.resolve())
    receipts = {"receipts": str(options.receipts.resolve())} if options.receipts is not None else {}
    yield _node(options, "aisle_checkout", "checkout_node", "checkout", "checkout", store=store, **receipts)
    yield _node(options, "aisle_fusion", "cart_fusion_node", "cart_fusion", "fusion", store=store)
    yield _node(options, "aisle_perception", "tracker_node", "tracker", "fusion", store=store)
    yield _node(options, "aisle_fusion", "shelf_monitor_node", "shelf_monitor", "shelves", store=store)


def _observers(options: GraphOptions) -> Iterator[NodeSpec]:
    store = str(options.store.resolve())
    if options.markers:
        yield _node(options, "aisle_viz", "marker_node", "markers", "viz", store=store)
    if options.record is not None:
        yield _node(options, "aisle_bags", "recorder_node", "recorder", "record", store=store, output=str(options.record.resolve()))


def _sources(store: Store, options: GraphOptions) -> Iterator[NodeSpec]:
    if options.sensors == "sim":
        yield _node(
            options,
            "aisle_sim",
            "simulated_sensors_node",
            "simulated_sensors",
            "sensors",
            store=str(options.store.resolve()),
            sessions=str(options.sessions.resolve()),
            session_ids=",".join(options.session_ids),
            profile=options.profile,
            seed=options.seed,
            speed=options.speed,
        )
    elif options.sensors in ("files", "hardware"):
        yield from _devices(store, options, options.sensors_file or options.store / SENSORS_FILE)


def _devices(store: Store, options: GraphOptions, path: Path) -> Iterator[NodeSpec]:
    """The drivers that a sensors file names; its entries are the driver nodes' parameters (docs/graph.md)."""
    folder = str(options.store.resolve())
    devices = _read_sensors_file(path, store)
    for number, (camera, parameters) in enumerate(devices["cameras"].items()):
        group = f"cameras_{number // CAMERAS_PER_PROCESS + 1}"
        common = {"store": folder, "camera": camera}
        yield _node(options, "aisle_perception", "detector_node", f"detector_{camera}", group, **common, **devices["detector"])
        yield _node(options, "aisle_drivers", "video_camera_node", f"camera_{camera}", group, **common, **parameters)
    for scale, parameters in devices["scales"].items():
        yield _node(options, "aisle_drivers", "serial_scale_node", f"scale_{scale}", "scales", store=folder, **parameters)
    for gate, parameters in devices["gates"].items():
        yield _node(options, "aisle_drivers", "qr_gate_node", f"gate_{gate}", "gates", store=folder, gate=gate, **parameters)


def _read_sensors_file(path: Path, store: Store) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise GraphError(f"{path}: missing, expected a file that names the store's devices (docs/graph.md)") from None
    except yaml.YAMLError as error:
        raise GraphError(f"{path}: not a YAML file: {error}") from error
    sections = {"cameras": {}, "detector": {}, "scales": {}, "gates": {}}
    if not isinstance(document, Mapping) or not set(document) <= set(sections):
        raise GraphError(f"{path}: expected sections out of {', '.join(sections)}, found {_keys(document)}")
    known = {"cameras": store.cameras, "gates": store.gates}
    for section, content in document.items():
        if not isinstance(content, Mapping):
            raise GraphError(f"{path}: section '{section}' is {content!r}, expected a mapping")
        if section == "detector":
            sections[section] = _checked_parameters(path, section, content)
            continue
        for name, parameters in content.items():
            if section in known and str(name) not in known[section]:
                raise GraphError(f"{path}: {section}: '{name}' is not in the store, expected one of {', '.join(known[section])}")
            if not topics.ID_PATTERN.fullmatch(str(name)):
                raise GraphError(f"{path}: {section}: '{name}' is no id, expected letters, digits and underscores")
            sections[section][str(name)] = _checked_parameters(path, f"{section}: {name}", parameters)
    return sections


def _checked_parameters(path: Path, where: str, parameters: Any) -> dict[str, Value]:
    if not isinstance(parameters, Mapping):
        raise GraphError(f"{path}: {where} is {parameters!r}, expected a mapping of node parameters")
    for name, value in parameters.items():
        if not isinstance(value, bool | int | float | str):
            raise GraphError(f"{path}: {where}: '{name}' is {value!r}, expected a number, a text, true or false")
    return dict(parameters)


def _check_parameter_file(path: Path, nodes: Sequence[NodeSpec]) -> None:
    """ROS ignores sections and parameters that nobody declares; a slip of the pen would go unseen."""
    try:
        document = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise GraphError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(document, Mapping):
        raise GraphError(f"{path}: expected sections named after nodes, found {_keys(document)}")
    names = {node.name for node in nodes} | KNOWN_NODES
    for section in document:
        if str(section).rsplit("/", 1)[-1] not in names and "*" not in str(section):
            raise GraphError(f"{path}: section '{section}' names no node of the graph, expected one of {', '.join(sorted(names))}")


#: Nodes that a parameter file may speak of although the graph at hand does not run them.
KNOWN_NODES = frozenset({"checkout", "cart_fusion", "tracker", "shelf_monitor", "markers", "recorder", "simulated_sensors"})


def _keys(document: Any) -> str:
    return ", ".join(map(str, document)) if isinstance(document, Mapping) else type(document).__name__
