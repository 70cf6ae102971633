"""A store's graph: ros2 launch launch/store.launch.py store:=config/stores/nanostore-2019-11 sensors:=sim

The nodes come from aisle_bringup.graph, as for ./aisle up. Nodes that share a process run in aisle_bringup.container.
"""

import os
from dataclasses import fields, replace
from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from aisle_bringup import container
from aisle_bringup.graph import GraphOptions, NodeSpec, build_graph, process_groups
from aisle_store.store_files import load_store

ROOT = Path(__file__).resolve().parents[1]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *_arguments(),
            *_middleware(),
            OpaqueFunction(function=_start),
            Node(
                package="rviz2",
                executable="rviz2",
                # The configuration's topics are relative, as the graph's are.
                namespace=LaunchConfiguration("namespace"),
                arguments=["-d", str(ROOT / "rviz" / "store.rviz")],
                parameters=[{"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)}],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )


def _arguments() -> list[DeclareLaunchArgument]:
    """One argument for each option of the graph; without a default it must be given."""
    arguments = []
    for option in fields(GraphOptions):
        words = {"description": option.metadata["description"]}
        if option.metadata["choices"]:
            words["choices"] = list(option.metadata["choices"])
        if option.name != "store":
            words["default_value"] = _text(option.default)
        arguments.append(DeclareLaunchArgument(option.name, **words))
    arguments.append(DeclareLaunchArgument("rviz", default_value="false", description="also start RViz", choices=["true", "false"]))
    return arguments


def _text(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default in (None, ()) else str(default)


def _middleware() -> list[SetEnvironmentVariable]:
    """The Fast DDS profile of this graph, unless another one is set."""
    names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
    if any(name in os.environ for name in names):
        return []
    return [SetEnvironmentVariable(name, str(ROOT / "config" / "fastdds.xml")) for name in names]


def _start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    texts = {option.name: LaunchConfiguration(option.name).perform(context) for option in fields(GraphOptions)}
    options = GraphOptions.from_texts(texts)
    options = replace(options, parameters=options.parameters or ROOT / "config" / "graph.yaml")
    nodes = build_graph(load_store(options.store), options)
    groups = process_groups(nodes, options.composition)
    return [
        _node(group[0], options.log_level)
        if len(group) == 1
        else ExecuteProcess(name=name, cmd=container.command(group, options.log_level), output="screen")
        for name, group in groups.items()
    ]


def _node(spec: NodeSpec, log_level: str) -> Node:
    # launch_ros reads texts as YAML unless told the type: the id "1" would become a number.
    values = {name: ParameterValue(value, value_type=type(value)) for name, value in spec.parameters.items()}
    return Node(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        namespace=spec.namespace,
        parameters=[*([str(spec.parameter_file)] if spec.parameter_file else []), values],
        remappings=list(spec.remappings),
        ros_arguments=["--log-level", log_level],
        output="screen",
    )
