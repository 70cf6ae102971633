"""A camera of the store as a ROS node: images to those who ask, and their calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType

from aisle_contract import frames, topics
from aisle_contract.base_node import CoreNode, run
from aisle_contract.config import parameter
from aisle_contract.conversions import header_message, image_message
from aisle_contract.records import Diagnostic
from aisle_drivers.conversions import camera_info, jpeg
from aisle_drivers.video_camera import FRAME_POLL_PERIOD_S, Frame, VideoCamera, VideoCameraConfig
from aisle_store.store_files import load_store

#: How often a file that waits for its first listener looks for one.
LISTENER_PERIOD_S = 0.1


@dataclass(frozen=True)
class VideoCameraNodeConfig(VideoCameraConfig):
    """Parameters of the camera and of what is published."""

    camera: str = parameter("", "Id of the camera in the store")
    publish_always: bool = parameter(False, "Publish images also when nobody subscribes")
    jpeg_quality: int = parameter(85, "Quality of compressed images", 1, 100)
    wait_for_listener_s: float = parameter(10.0, "A file begins when somebody listens, but not later than this, s", 0.0, 3600.0)


class VideoCameraNode(CoreNode):
    """Publishes each frame in the forms that somebody subscribes to. ``on_frame``: called with each ``Frame``, for nodes of the same
    process that need the picture without its way through DDS.
    """

    #: Stays None in a node that could not be made; rclpy destroys such nodes too.
    _source: VideoCamera | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__("video_camera", **options)
        self.config = self.declare(VideoCameraNodeConfig)
        cameras = load_store(self.store_folder()).cameras
        if self.config.camera not in cameras:
            raise ValueError(f"parameter 'camera' is '{self.config.camera}', expected one of the store's: {', '.join(cameras)}")
        self.camera = cameras[self.config.camera]
        self.on_frame: list[Callable[[Frame], None]] = []
        self._image, self._compressed, self._info = (
            topic(self.camera.camera) for topic in (topics.image, topics.compressed_image, topics.camera_info)
        )
        self.advertise(self._image, self._compressed, self._info)
        self._source = VideoCamera(
            self.config,
            now_ns=lambda: self.get_clock().now().nanoseconds,
            name=f"camera {self.camera.camera}",
            size=(self.camera.width, self.camera.height),
        )
        self._source.open()
        self._waited_s = 0.0
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._start_timer = self.create_timer(LISTENER_PERIOD_S, self._start, clock=self._steady)

    def destroy_node(self) -> None:
        if self._source is not None:
            self._source.stop()
        super().destroy_node()

    def own_diagnostics(self) -> list[Diagnostic]:
        return self._source.diagnostics()

    def _start(self) -> None:
        """A live source starts at once; a file's first frames would be lost on subscribers that are not matched yet."""
        self._waited_s += LISTENER_PERIOD_S
        heard = self._wanted(self._image) or self._wanted(self._compressed) or bool(self.on_frame)
        if self._source.live or heard or self._waited_s >= self.config.wait_for_listener_s:
            self._start_timer.cancel()
            self._source.start()
            self.create_timer(FRAME_POLL_PERIOD_S, self._publish_frames, clock=self._steady)

    def _publish_frames(self) -> None:
        while (frame := self._source.take()) is not None:
            for callback in self.on_frame:
                callback(frame)
            self._publish_frame(frame)

    def _publish_frame(self, frame: Frame) -> None:
        header = header_message(frame.stamp_ns, frames.camera_optical(self.camera.camera))
        if self._wanted(self._info):
            self.send(self._info, camera_info(self.camera, header))
        if self._wanted(self._image):
            self.send(self._image, image_message(frame.image, "bgr8", header))
        if self._wanted(self._compressed):
            self.send(self._compressed, jpeg(frame.image, self.config.jpeg_quality, header))

    def _wanted(self, topic: topics.Topic) -> bool:
        return self.config.publish_always or self.has_listeners(topic)


def main() -> int:
    return run(VideoCameraNode)
