from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from aisle_bags.core_settings import load_settings
from aisle_bringup.commands.graph import as_documents, as_dot
from aisle_bringup.container import command, node_class
from aisle_bringup.graph import GraphError, GraphOptions, build_graph, process_groups
from aisle_bringup.graph_topics import node_topics
from aisle_store.store_files import load_store

ROOT = Path(__file__).resolve().parents[3]
STORE = ROOT / "config" / "stores" / "nanostore-2019-11"


@pytest.fixture(scope="module")
def store():
    return load_store(STORE)


def graph(store, **options):
    return build_graph(store, GraphOptions(store=STORE, **options))


def write(path: Path, document: object) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path


def test_every_input_has_a_source_when_sensors_are_simulated(store):
    topics = [node_topics(store, node) for node in graph(store)]
    published = {name for node in topics for name in node.outputs}
    wanted = {name for node in topics for name in node.inputs}
    assert wanted - published == {"item_observations"}, "only the optional observations have no source"


def test_consumers_start_before_the_sources(store):
    nodes = graph(store, record=Path("bag"))
    assert nodes[-1].executable == "simulated_sensors_node"
    assert [node.name for node in graph(store, sensors="none", markers=False)] == ["checkout", "cart_fusion", "tracker", "shelf_monitor"]


def test_options_reach_the_nodes(store):
    nodes = {
        n.name: n for n in graph(store, speed=4.0, seed=7, profile="harsh", session_ids=("a", "b"), use_sim_time=True, namespace="/shop")
    }
    simulated = nodes["simulated_sensors"]
    assert simulated.parameters["speed"] == 4.0
    assert simulated.parameters["seed"] == 7
    assert simulated.parameters["profile"] == "harsh"
    assert all(node.parameters["use_sim_time"] is True and node.namespace == "/shop" for node in nodes.values())
    assert all(Path(node.parameters["store"]).is_absolute() for node in nodes.values())


def test_the_recorder_gets_its_options(store):
    options = GraphOptions.from_texts({"store": str(STORE), "record": "bag", "record_images": "masked", "record_ring": "300"})
    (recorder,) = [node for node in build_graph(store, options) if node.name == "recorder"]
    expected = {"output": str(Path("bag").resolve()), "images": "masked", "ring_s": 300.0}
    assert recorder.parameters.items() >= expected.items()
    with pytest.raises(GraphError, match="record_ring is -1, expected 0"):
        GraphOptions(store=STORE, record_ring=-1.0)


def test_cores_wait_longer_for_one_another_when_time_runs_faster(store):
    parameters = ROOT / "config" / "graph.yaml"
    settings = load_settings(parameters)
    hurried = {node.name: node.parameters for node in graph(store, speed=4.0, parameters=parameters)}
    assert hurried["cart_fusion"]["max_lateness_s"] == 4 * settings.cart_fusion.max_lateness_s
    assert hurried["tracker"]["max_lateness_s"] == 4 * settings.tracker.max_lateness_s
    assert "max_lateness_s" not in hurried["checkout"]
    assert all("max_lateness_s" not in node.parameters for node in graph(store, parameters=parameters))


def test_ros_arguments_keep_the_types_of_parameters(store, tmp_path):
    sensors = write(tmp_path / "sensors.yaml", {"cameras": {"1": {"source": "0"}}})
    camera = next(node for node in graph(store, sensors="hardware", sensors_file=sensors) if node.name == "camera_1")
    arguments = camera.ros_arguments()
    values = {a.partition(":=")[0]: yaml.safe_load(a.partition(":=")[2]) for a in arguments if ":=" in a and not a.startswith("__")}
    assert values["camera"] == "1"
    assert values["source"] == "0"


@pytest.mark.parametrize(
    ("composition", "processes"),
    [("groups", ["checkout", "fusion", "shelves", "viz", "sensors"]), ("single", ["aisle"])],
)
def test_nodes_share_processes(store, composition, processes):
    assert list(process_groups(graph(store), composition)) == processes


def test_each_node_can_have_its_own_process(store):
    groups = process_groups(graph(store), "processes")
    assert all([node.name for node in nodes] == [process] for process, nodes in groups.items())


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"sensors": "lidar"}, "sensors is 'lidar', expected one of sim, files, hardware, none"),
        ({"composition": "x"}, "composition is 'x', expected one of"),
        ({"speed": "fast"}, "speed is 'fast', expected a number"),
        ({"speed": "0"}, "speed is 0, expected 0.01 .. 100"),
        ({"speed": "nan"}, "speed is nan, expected 0.01 .. 100"),
        ({"seed": "1.5"}, "seed is '1.5', expected a whole number"),
        ({"markers": "maybe"}, "markers is 'maybe', expected true or false"),
        ({"namespace": "shop 1"}, "namespace is 'shop 1', expected a ROS namespace"),
        ({"sensors": "files", "speed": "2"}, "only simulations and bags can hurry"),
        ({"store": ""}, "no store is given"),
    ],
)
def test_options_that_do_not_fit_are_refused(texts, said):
    with pytest.raises(GraphError, match=said.replace(".", r"\.")):
        GraphOptions.from_texts({"store": "shop", **texts})


def test_options_come_from_texts_as_a_launch_file_has_them():
    texts = {"store": "shop", "speed": "2.5", "session_ids": "a, b", "markers": "false", "record": "", "profile": "clean"}
    expected = GraphOptions(store=Path("shop"), speed=2.5, session_ids=("a", "b"), markers=False, profile="clean")
    assert GraphOptions.from_texts(texts) == expected


def test_record_true_names_a_bag_after_the_time():
    options = GraphOptions.from_texts({"store": "shop", "record": "true"})
    assert options.record.name.startswith("aisle_20")
    assert GraphOptions.from_texts({"store": "shop", "record": "false"}).record is None


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"cameras": {"99": {}}}, "cameras: '99' is not in the store, expected one of 1, 2, 3"),
        ({"gates": {"back": {}}}, "gates: 'back' is not in the store, expected one of entrance, exit"),
        ({"lasers": {}}, "expected sections out of cameras, detector, scales, gates, found lasers"),
        ({"cameras": ["1"]}, "section 'cameras' is ['1'], expected a mapping"),
        ({"cameras": {"1": "video.mp4"}}, "cameras: 1 is 'video.mp4', expected a mapping of node parameters"),
        ({"scales": {"left side": {}}}, "scales: 'left side' is no id"),
        ({"detector": {"model": ["x"]}}, "detector: 'model' is ['x'], expected a number"),
        ("nothing", "found str"),
    ],
)
def test_a_wrong_sensors_file_is_refused(store, tmp_path, document, said):
    path = write(tmp_path / "sensors.yaml", document)
    with pytest.raises(GraphError) as refused:
        graph(store, sensors="files", sensors_file=path)
    assert str(refused.value).startswith(f"{path}: ")
    assert said in str(refused.value)


def test_a_missing_sensors_file_is_told(store, tmp_path):
    with pytest.raises(GraphError, match=r"nowhere\.yaml: missing"):
        graph(store, sensors="hardware", sensors_file=tmp_path / "nowhere.yaml")


def test_devices_become_drivers_with_their_detectors_in_the_same_process(store, tmp_path):
    document = {
        "detector": {"detector": "openvino:person.xml"},
        "cameras": {camera: {"source": f"{camera}.mp4"} for camera in ("1", "2", "3", "4", "5")},
        "gates": {"entrance": {"camera": "1"}},
    }
    nodes = graph(store, sensors="files", sensors_file=write(tmp_path / "sensors.yaml", document))
    groups = {name: [node.name for node in group] for name, group in process_groups(nodes, "groups").items()}
    assert groups["cameras_1"] == ["detector_1", "camera_1", "camera_2", "camera_3", "camera_4"]
    assert groups["cameras_2"] == ["detector_2", "camera_5"]
    assert groups["gates"] == ["gate_entrance"]
    detector = next(node for node in nodes if node.name == "detector_1")
    assert detector.parameters["detector"] == "openvino:person.xml"
    assert detector.parameters["camera"] == "1,2,3,4"


def test_sections_of_a_parameter_file_must_name_nodes(store, tmp_path):
    path = write(tmp_path / "p.yaml", {"/shop/tracker": {"ros__parameters": {}}, "trakcer": {"ros__parameters": {}}})
    with pytest.raises(GraphError, match="section 'trakcer' names no node"):
        graph(store, parameters=path)
    assert graph(store, parameters=write(path, {"/**": {"ros__parameters": {}}}))


def test_parameters_of_cores_are_checked_before_anything_starts(store, tmp_path):
    path = write(tmp_path / "p.yaml", {"tracker": {"ros__parameters": {"max_latenes_s": 1.0}}})
    with pytest.raises(GraphError, match="unknown parameter 'max_latenes_s'"):
        graph(store, parameters=path)


def test_the_shipped_parameter_file_fits(store):
    assert graph(store, parameters=ROOT / "config" / "graph.yaml")


def test_missing_sessions_are_told(store, tmp_path):
    with pytest.raises(GraphError, match=r"none\.json: missing, expected labelled sessions"):
        graph(store, sessions=tmp_path / "none.json")


def test_the_graph_as_json_and_dot(store):
    groups = process_groups(graph(store), "groups")
    topics = {node.name: node_topics(store, node) for nodes in groups.values() for node in nodes}
    documents = json.loads(json.dumps(as_documents(groups, topics)))
    assert {document["name"] for document in documents} == set(topics)
    dot = as_dot(groups, topics)
    assert '"tracker" -> "cart_fusion" [label="tracks"];' in dot
    assert dot.count("{") == dot.count("}")


def test_every_node_of_the_graph_has_its_class(store, tmp_path):
    document = {"cameras": {"1": {}}, "scales": {"left": {}}, "gates": {"entrance": {}}}
    devices = graph(store, sensors="hardware", sensors_file=write(tmp_path / "sensors.yaml", document))
    for node in [*graph(store, record=Path("bag")), *devices]:
        assert node_class(node.module).__module__ == node.module


def test_a_containers_command_line_names_its_nodes(store):
    line = command(graph(store), "warn", parent=12)
    assert line.count("--node") == len(graph(store))
    assert line[line.index("--parent") + 1] == "12"
    assert line[line.index("--log-level") + 1] == "warn"
