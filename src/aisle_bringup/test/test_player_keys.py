"""Keys on a terminal become calls of the player's services."""

from __future__ import annotations

import os
import pty
import termios
import time

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rosbag2_interfaces import srv

from aisle_bringup.player_keys import DOWN, RIGHT, SPACE, UP, PlayerKeys

DOMAIN = "65"


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", DOMAIN)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


def test_keys_call_services_and_the_terminal_is_as_before(ros_domain: None) -> None:
    context = rclpy.Context()
    context.init(domain_id=int(DOMAIN))
    player = rclpy.create_node("player", context=context)
    called: list[str] = []
    player.create_service(srv.TogglePaused, "~/toggle_paused", lambda request, response: called.append("toggle") or response)
    player.create_service(srv.PlayNext, "~/play_next", lambda request, response: called.append("next") or response)
    player.create_service(srv.SetRate, "~/set_rate", lambda request, response: called.append(f"{request.rate:.2f}") or response)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(player)
    keyboard, terminal = pty.openpty()
    settings = termios.tcgetattr(terminal)
    deadline = time.monotonic() + 30
    with os.fdopen(terminal, "r") as stream:
        with PlayerKeys("/player", 2.0, stream) as keys:
            assert termios.tcgetattr(terminal) != settings
            for pressed in (SPACE, b"x" + RIGHT, UP + UP, DOWN):
                os.write(keyboard, pressed)
            while len(called) < 5:
                assert time.monotonic() < deadline, called
                keys.poll()
                executor.spin_once(timeout_sec=0.05)
        assert termios.tcgetattr(terminal) == settings
    os.close(keyboard)
    executor.shutdown()
    player.destroy_node()
    context.try_shutdown()
    assert sorted(called) == ["2.50", "2.50", "3.12", "next", "toggle"]
