"""A bag into the live graph, with its own time: ros2 launch launch/replay.launch.py bag:=bags/slow-pick

Starts the graph without sensors on /clock, and the player. All other options are those of store.launch.py.
"""

import atexit
import tempfile
from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, SetLaunchConfiguration
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_store import unpack_store

STORE_LAUNCH = Path(__file__).resolve().parent / "store.launch.py"


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="bag to play"),
            DeclareLaunchArgument("store", default_value="", description="folder of the store (default: the one that travels in the bag)"),
            DeclareLaunchArgument("rate", default_value="1.0", description="how many times faster than recorded"),
            DeclareLaunchArgument("start", default_value="0.0", description="begin so long after the first message, s"),
            DeclareLaunchArgument(
                "pause", default_value="false", description="begin standing still; the player's services go on", choices=["true", "false"]
            ),
            DeclareLaunchArgument("loop", default_value="false", description="begin anew at the end", choices=["true", "false"]),
            DeclareLaunchArgument("remap", default_value="", description="play topics under other names: /a:=/b,/c:=/d"),
            OpaqueFunction(function=_store),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(STORE_LAUNCH)),
                launch_arguments={
                    "store": LaunchConfiguration("store"),
                    "sensors": "none",
                    "speed": LaunchConfiguration("rate"),
                    "use_sim_time": "true",
                }.items(),
            ),
            OpaqueFunction(function=_player),
        ]
    )


def _store(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    if LaunchConfiguration("store").perform(context):
        return []
    folder = tempfile.TemporaryDirectory(prefix="aisle-store-")
    atexit.register(folder.cleanup)
    with BagReader(Path(LaunchConfiguration("bag").perform(context))) as reader:
        unpack_store(reader, Path(folder.name))
    return [SetLaunchConfiguration("store", folder.name)]


def _player(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    pairs = [pair.strip().partition(":=") for pair in LaunchConfiguration("remap").perform(context).split(",") if pair.strip()]
    return [
        Node(
            package="aisle_bags",
            executable="player_node",
            name="player",
            parameters=[
                {
                    "bag": ParameterValue(LaunchConfiguration("bag"), value_type=str),
                    "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                    "start_s": ParameterValue(LaunchConfiguration("start"), value_type=float),
                    "paused": ParameterValue(LaunchConfiguration("pause"), value_type=bool),
                    "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                }
            ],
            remappings=[(source, target) for source, _, target in pairs],
            output="screen",
        )
    ]
