"""The newest frame of each camera: a detector that cannot keep up skips old frames instead of falling behind."""

from __future__ import annotations

from typing import Generic, TypeVar

F = TypeVar("F")


class NewestFrames(Generic[F]):
    """Keeps one frame per camera. ``replaced`` counts, by camera, the frames that a newer one took the place of before they were used."""

    def __init__(self, cameras: list[str]) -> None:
        self.replaced = dict.fromkeys(cameras, 0)
        self._waiting: dict[str, F] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, camera: str, frame: F) -> None:
        """Takes a camera's newest frame. A camera keeps its turn when its frame is replaced."""
        if camera in self._waiting:
            self.replaced[camera] += 1
        self._waiting[camera] = frame

    def take(self, most: int = 1) -> list[tuple[str, F]]:
        """Camera and frame of the up to ``most`` cameras that have waited longest; none if no frame waits."""
        cameras = list(self._waiting)[:most]
        return [(camera, self._waiting.pop(camera)) for camera in cameras]
