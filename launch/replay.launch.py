"""A bag into the live graph, with its own time: ros2 launch launch/replay.launch.py bag:=bags/x store:=config/stores/nanostore-2019-11

Starts the graph without sensors on /clock, and the player. All other options are those of store.launch.py.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

STORE_LAUNCH = Path(__file__).resolve().parent / "store.launch.py"


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="bag to play"),
            DeclareLaunchArgument("store", description="folder of the store that the bag was recorded in"),
            DeclareLaunchArgument("rate", default_value="1.0", description="how many times faster than recorded"),
            DeclareLaunchArgument("start", default_value="0.0", description="begin so long after the first message, s"),
            DeclareLaunchArgument(
                "pause", default_value="false", description="begin standing still; the player's services go on", choices=["true", "false"]
            ),
            DeclareLaunchArgument("loop", default_value="false", description="begin anew at the end", choices=["true", "false"]),
            DeclareLaunchArgument("remap", default_value="", description="play topics under other names: /a:=/b,/c:=/d"),
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
