"""Keys that control a running player from the terminal, for those who have no ``ros2 service call``."""

from __future__ import annotations

import os
import select
import termios
import tty
from typing import Any, TextIO

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rosbag2_interfaces import srv

from aisle_contract.base_node import make_executor

HELP = "space: pause and go on, right: next message (paused), up and down: rate, Ctrl-C: end"
#: What terminals send.
SPACE, RIGHT, UP, DOWN = b" ", b"\x1b[C", b"\x1b[A", b"\x1b[B"
RATE_STEP = 1.25


class PlayerKeys:
    """Reads keys of ``terminal`` without waiting for them and calls the player's services. Use as a context manager.

    ``player``: the player's full name; ``rate``: what it was started with.
    """

    def __init__(self, player: str, rate: float, terminal: TextIO) -> None:
        self._descriptor, self._rate = terminal.fileno(), rate
        self._context = Context()
        self._context.init()
        self._node = Node("player_keys", context=self._context, enable_rosout=False, start_parameter_services=False)
        self._executor = make_executor(self._context)
        self._executor.add_node(self._node)
        kinds = {"toggle_paused": srv.TogglePaused, "play_next": srv.PlayNext, "set_rate": srv.SetRate}
        self._clients = {name: self._node.create_client(kind, f"{player}/{name}") for name, kind in kinds.items()}
        self._before: list[Any] = []

    def __enter__(self) -> PlayerKeys:
        self._before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        return self

    def __exit__(self, *exception: object) -> None:
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def poll(self) -> None:
        """Does what the keys that were pressed since the last time ask for. They wait until the player is there."""
        if not all(client.service_is_ready() for client in self._clients.values()):
            return
        while select.select([self._descriptor], [], [], 0.0)[0]:
            pressed = os.read(self._descriptor, 64)
            if not pressed:
                break
            self._obey(pressed)
        self._executor.spin_once(timeout_sec=0.0)

    def _obey(self, pressed: bytes) -> None:
        while pressed:
            key = next((key for key in (SPACE, RIGHT, UP, DOWN) if pressed.startswith(key)), pressed[:1])
            pressed = pressed[len(key) :]
            if key == SPACE:
                self._clients["toggle_paused"].call_async(srv.TogglePaused.Request())
            elif key == RIGHT:
                self._clients["play_next"].call_async(srv.PlayNext.Request())
            elif key in (UP, DOWN):
                self._rate *= RATE_STEP if key == UP else 1 / RATE_STEP
                self._clients["set_rate"].call_async(srv.SetRate.Request(rate=self._rate))
