"""Finding what moves in front of a still background: a detector for fixed cameras that needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from aisle_contract.config import parameter
from aisle_perception.detector_models import Detections


@dataclass(frozen=True)
class MotionConfig:
    """What counts as a moving person. Used by the backend ``motion`` only."""

    motion_least_share: float = parameter(0.01, "Motion: least area of a person as a share of the image", 0.0001, 0.5)
    motion_history: int = parameter(300, "Motion: frames after which what stands still is background", 2, 100000)
    motion_variance: float = parameter(25.0, "Motion: squared Mahalanobis distance of a pixel's colour from the background", 1.0, 1000.0)


class MotionDetector:
    """Whatever moves in front of a still background (MOG2; Zivkovic & van der Heijden, Pattern Recognition Letters 27, 2006).

    For trying a shop out without a model: it takes anything that moves for a person, and people who stand still fade.
    """

    stateful = True
    batches = False
    _OPENING = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    _CLOSING = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (21, 21))
    #: How well its box is filled is the only hint of how sure a finding is; an outline that is hardly filled is still something.
    _LEAST_SCORE = 0.4

    def __init__(self, config: MotionConfig) -> None:
        self._config = config
        self._background = cv2.createBackgroundSubtractorMOG2(config.motion_history, config.motion_variance, detectShadows=True)
        self._begun = False

    def detect(self, images_bgr: Sequence[np.ndarray]) -> list[Detections]:
        """What moves in consecutive images of the camera."""
        return [self._detect_one(image) for image in images_bgr]

    def _detect_one(self, image: np.ndarray) -> Detections:
        mask = self._background.apply(image)
        if not self._begun:
            # The first image is all foreground to MOG2: there is nothing yet that it could be compared with.
            self._begun = True
            return Detections(np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.float32))
        # MOG2 marks shadows with 127.
        mask = cv2.threshold(mask, 200, 255, cv2.THRESH_BINARY)[1]
        mask = cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_OPEN, self._OPENING), cv2.MORPH_CLOSE, self._CLOSING)
        count, _, areas, _ = cv2.connectedComponentsWithStats(mask)
        areas = areas[1:count]
        areas = areas[areas[:, cv2.CC_STAT_AREA] >= self._config.motion_least_share * mask.size]
        left, top, width, height, area = areas.T.astype(np.float32)
        boxes = np.column_stack([left, top, left + width - 1, top + height - 1]).astype(np.float32)
        return Detections(boxes, np.clip(area / (width * height), self._LEAST_SCORE, 1.0).astype(np.float32))
