"""The graph as data: which nodes run for a store, with what parameters, in which processes.

``./aisle up`` (``processes``), ``launch/store.launch.py`` and ``./aisle graph`` all start from ``build_graph``; a larger store is a
longer list, not another launch file.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from aisle_contract import topics
from aisle_store.store import Store

SENSORS = ("sim", "files", "hardware", "none")
COMPOSITIONS = ("groups", "processes", "single")
PROFILES = ("clean", "nominal", "harsh")
RECORDED_IMAGES = ("none", "masked", "all")
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
#: Name of the file in a store's folder that names its devices, if none is given.
SENSORS_FILE = "sensors.yaml"
#: Name of the file in a store's folder with sessions to re-enact.
SESSIONS_FILE = "sessions.json"
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


def _about(description: str, choices: Sequence[str] = ()) -> dict[str, Any]:
    """What people read about an option; ``choices`` are the values it may have."""
    return {"description": description, "choices": tuple(choices)}


@dataclass(frozen=True)
class GraphOptions:
    """What can be chosen about a graph. The fields become arguments of ``./aisle up`` and of ``launch/store.launch.py``.

    Paths are absolute or relative to the working directory. Raises GraphError for options that do not fit together.
    """

    store: Path = field(
        default=None, metadata=_about("folder of the store (store.yaml, layout.yaml, cameras.yaml, products.csv, planogram.csv)")
    )
    sensors: str = field(
        default="sim", metadata=_about("where sensor data come from; none: a bag is replayed, or drivers run elsewhere", SENSORS)
    )
    sensors_file: Path | None = field(
        default=None, metadata=_about("devices for sensors files or hardware (default: the store's sensors.yaml)")
    )
    sessions: Path | None = field(
        default=None, metadata=_about("labelled sessions that simulated sensors re-enact (default: the store's sessions.json)")
    )
    session_ids: tuple[str, ...] = field(
        default=(), metadata=_about("sessions of the file to re-enact, one after the other, separated by commas (default: all)")
    )
    profile: str = field(default="nominal", metadata=_about("how good the simulated sensors are", PROFILES))
    seed: int = field(default=0, metadata=_about("seed of the simulated sensors"))
    speed: float = field(default=1.0, metadata=_about("how many times faster than real time simulated sensors run, or a bag is played"))
    record: Path | None = field(default=None, metadata=_about("bag to write (a new folder); true: one named after the time"))
    record_images: str = field(default="all", metadata=_about("images in the bag; masked: people are hidden by a mosaic", RECORDED_IMAGES))
    record_ring: float = field(
        default=0.0,
        metadata=_about("keep only the last so many seconds, saved on an alert, a review or recorder/save; 0: keep all"),
    )
    receipts: Path | None = field(default=None, metadata=_about("folder for receipts as JSON files"))
    markers: bool = field(default=True, metadata=_about("publish markers and frames for RViz"))
    use_sim_time: bool = field(default=False, metadata=_about("take the time from /clock"))
    composition: str = field(
        default="groups", metadata=_about("processes: shared by groups of nodes, one for each node, or a single one", COMPOSITIONS)
    )
    namespace: str = field(default="", metadata=_about("ROS namespace of the graph, for example /shop"))
    parameters: Path | None = field(default=None, metadata=_about("ROS parameter file for all nodes (default: config/graph.yaml)"))
    log_level: str = field(default="info", metadata=_about("lowest level of log messages", LOG_LEVELS))

    def __post_init__(self) -> None:
        for option in fields(self):
            value, choices = getattr(self, option.name), option.metadata["choices"]
            if choices and value not in choices:
                raise GraphError(f"{option.name} is '{value}', expected one of {', '.join(choices)}")
        if self.store is None:
            raise GraphError("no store is given, expected the folder of one")
        # Written so that NaN fails too.
        if not 0.01 <= self.speed <= 100.0:
            raise GraphError(f"speed is {self.speed:g}, expected 0.01 .. 100")
        if self.sensors not in ("sim", "none") and self.speed != 1.0:
            raise GraphError(f"speed is {self.speed:g} with sensors '{self.sensors}', expected 1: only simulations and bags can hurry")
        if not 0 <= self.record_ring <= 86400:
            raise GraphError(f"record_ring is {self.record_ring:g}, expected 0 .. 86400 s")
        if self.namespace and not re.fullmatch(r"(/[A-Za-z_][A-Za-z0-9_]*)+", self.namespace):
            raise GraphError(f"namespace is '{self.namespace}', expected a ROS namespace such as /shop")

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> GraphOptions:
        """Options from texts, as a launch file has them; an empty text means the default. Raises GraphError naming the option."""
        values = {}
        for option in fields(cls):
            text = texts.get(option.name, "")
            if text:
                values[option.name] = _parsed(option.name, text, option.type)
        return cls(**values)


def _parsed(name: str, text: str, kind: str) -> Any:
    if name == "record" and text.lower() in ("true", "false"):
        return Path(time.strftime("aisle_%Y-%m-%d_%H-%M-%S")) if text.lower() == "true" else None
    try:
        return _PARSERS[kind](text)
    except (KeyError, ValueError):
        raise GraphError(f"{name} is '{text}', expected {_EXPECTED[kind]}") from None


#: By a field's annotation: how its text is read, and what is expected of it.
_PARSERS: dict[str, Any] = {
    "Path": Path,
    "Path | None": Path,
    "str": str,
    "int": int,
    "float": float,
    "bool": {"true": True, "false": False, "True": True, "False": False}.__getitem__,
    "tuple[str, ...]": lambda text: tuple(part.strip() for part in text.split(",") if part.strip()),
}
_EXPECTED = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def build_graph(store: Store, options: GraphOptions) -> list[NodeSpec]:
    """The nodes of ``store`` in the order in which they are started: consumers first, so that no source speaks to nobody.

    Raises GraphError for options that do not fit, OSError for files that cannot be read.
    """
    nodes = [*_decisions(options), *_observers(options), *_sources(store, options)]
    if options.parameters is not None:
        _check_parameter_file(options.parameters, nodes)
    return [_patient(node, options) for node in nodes] if options.speed > 1 else nodes


def process_groups(nodes: Sequence[NodeSpec], composition: str) -> dict[str, list[NodeSpec]]:
    """Nodes by process, in starting order: by ``group``, one process per node (``processes``), or one for all (``single``)."""
    groups: dict[str, list[NodeSpec]] = {}
    for node in nodes:
        process = {"groups": node.group, "processes": node.name, "single": "aisle"}[composition]
        groups.setdefault(process, []).append(node)
    return groups


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
    receipts = {"receipts_folder": str(options.receipts.resolve())} if options.receipts is not None else {}
    yield _node(options, "aisle_checkout", "checkout_node", "checkout", "checkout", store=store, **receipts)
    yield _node(options, "aisle_fusion", "cart_fusion_node", "cart_fusion", "fusion", store=store)
    yield _node(options, "aisle_perception", "tracker_node", "tracker", "fusion", store=store)
    yield _node(options, "aisle_fusion", "shelf_monitor_node", "shelf_monitor", "shelves", store=store)


def _patient(node: NodeSpec, options: GraphOptions) -> NodeSpec:
    """At a multiple of real time a process that gets no processor for a moment falls behind by so much more event time: the cores wait
    for one another correspondingly longer. Where nothing comes late, that changes no decision.
    """
    # Imported here because it imports all cores: the graph itself is data.
    from aisle_bags.core_settings import CoreSettings, load_settings

    settings = load_settings(options.parameters) if options.parameters is not None else CoreSettings()
    core = getattr(settings, node.name, None)
    lateness = next((f for f in fields(core) if f.name == "max_lateness_s"), None) if core is not None else None
    if lateness is None:
        return node
    patience_s = min(core.max_lateness_s * options.speed, lateness.metadata["maximum"])
    return replace(node, parameters={**node.parameters, lateness.name: float(patience_s)})


def _observers(options: GraphOptions) -> Iterator[NodeSpec]:
    store = str(options.store.resolve())
    if options.markers:
        yield _node(options, "aisle_viz", "marker_node", "markers", "viz", store=store)
    if options.record is not None:
        recording = {"output": str(options.record.resolve()), "images": options.record_images, "ring_s": options.record_ring}
        yield _node(options, "aisle_bags", "recorder_node", "recorder", "record", store=store, **recording)


def _sources(store: Store, options: GraphOptions) -> Iterator[NodeSpec]:
    if options.sensors == "sim":
        sessions = options.sessions or options.store / SESSIONS_FILE
        if not sessions.is_file():
            raise GraphError(f"{sessions}: missing, expected labelled sessions that simulated sensors can re-enact")
        yield _node(
            options,
            "aisle_sim",
            "simulated_sensors_node",
            "simulated_sensors",
            "sensors",
            store=str(options.store.resolve()),
            sessions=str(sessions.resolve()),
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
    cameras = list(devices["cameras"].items())
    for number, start in enumerate(range(0, len(cameras), CAMERAS_PER_PROCESS), start=1):
        together = cameras[start : start + CAMERAS_PER_PROCESS]
        group, ids = f"cameras_{number}", ",".join(camera for camera, _ in together)
        detector = {"store": folder, "camera": ids, **devices["detector"]}
        yield _node(options, "aisle_perception", "detector_node", f"detector_{number}", group, **detector)
        for camera, parameters in together:
            yield _node(options, "aisle_drivers", "video_camera_node", f"camera_{camera}", group, store=folder, camera=camera, **parameters)
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
    # Imported here because it imports all cores: the graph itself is data.
    from aisle_bags.core_settings import load_settings

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
    try:
        load_settings(path)
    except ValueError as error:
        raise GraphError(str(error)) from error


#: Nodes that a parameter file may speak of although the graph at hand does not run them.
KNOWN_NODES = frozenset({"checkout", "cart_fusion", "tracker", "shelf_monitor", "markers", "recorder", "player", "simulated_sensors"})


def _keys(document: Any) -> str:
    return ", ".join(map(str, document)) if isinstance(document, Mapping) else type(document).__name__
