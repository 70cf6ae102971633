"""What the parts of the graph agree on: record types and their ROS messages, topics, frames, QoS, event time."""
