"""A bag into the live graph, with its own time: ros2 launch launch/replay.launch.py bag:=bags/x store:=config/stores/nanostore-2019-11

Starts the graph without sensors on /clock, and the player. All other options are those of store.launch.py.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
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
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(STORE_LAUNCH)),
                launch_arguments={"store": LaunchConfiguration("store"), "sensors": "none", "use_sim_time": "true"}.items(),
            ),
            Node(
                package="aisle_bags",
                executable="player_node",
                name="player",
                parameters=[
                    {
                        "bag": ParameterValue(LaunchConfiguration("bag"), value_type=str),
                        "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                    }
                ],
                output="screen",
            ),
        ]
    )
