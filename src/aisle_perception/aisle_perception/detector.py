"""Finding people in images: neural networks by OpenVINO, ONNX Runtime or PyTorch, or plain motion where there is no model.

    detector = make_detector("openvino:person-detection-retail-0013.xml")
    [found] = detector.detect([image_bgr])

A model file does not say how its numbers are meant, so its kind is recognised by the shapes of input and outputs (``detector_models``)
or named in the specification. The same images in the same calls give the same bytes on one machine: the number of threads is fixed and
precision is not left to the runtime.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import PersonDetections
from aisle_perception.detector_models import Detections, Model, known_shapes, recognise
from aisle_perception.detector_motion import MotionConfig, MotionDetector
from aisle_perception.detector_runtimes import RUNTIMES, DetectorError, Runtime
from aisle_perception.detector_specification import SPECIFICATIONS, Specification, parse

__all__ = ["SPECIFICATIONS", "CameraDetectors", "CameraFrame", "Detector", "DetectorConfig", "DetectorError", "make_detector"]


@dataclass(frozen=True)
class DetectorConfig(MotionConfig):
    """What counts as a person, and what the detector may use."""

    score_threshold: float = parameter(0.4, "Detections with a lower score are dropped", 0.0, 1.0)
    overlap_threshold: float = parameter(0.5, "Of two boxes that overlap more (intersection over union) the weaker is dropped", 0.0, 1.0)
    threads: int = parameter(1, "Threads of the network's runtime; a fixed number, so that results are the same in every run", 1, 64)


class Detector(Protocol):
    """Finds the people in images. ``stateful``: it learns from the images of one camera and must not be shown another's.
    ``batches``: several images in one call cost less than one by one."""

    stateful: bool
    batches: bool

    def detect(self, images_bgr: Sequence[np.ndarray]) -> list[Detections]:
        """People in each of the images uint8 [H, W, 3], which may differ in size."""
        ...


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """``image`` uint8 [height, width, 3] BGR of a camera; ``stamp_ns`` when it was taken."""

    camera: str
    stamp_ns: int
    image: np.ndarray


class NetworkDetector:
    """A neural network: images in, boxes (and keypoints where the model has them) out."""

    stateful = False

    def __init__(self, runtime: Runtime, model: Model, config: DetectorConfig) -> None:
        self.batches = runtime.batches
        self._runtime = runtime
        self._model = model
        self._config = config

    def detect(self, images_bgr: Sequence[np.ndarray]) -> list[Detections]:
        if self.batches or len(images_bgr) == 1:
            return self._detect_together(images_bgr)
        return [found for image in images_bgr for found in self._detect_together([image])]

    def _detect_together(self, images: Sequence[np.ndarray]) -> list[Detections]:
        tensor, placements = self._model.prepare(images)
        (output,) = self._runtime.infer(tensor)
        found = self._model.decode(output, placements, self._config.score_threshold)
        return [self._finished(one, image) for one, image in zip(found, images, strict=True)]

    def _finished(self, found: Detections, image: np.ndarray) -> Detections:
        height, width = image.shape[:2]
        return _without_overlaps(found, self._config.overlap_threshold).clipped(width, height)


def make_detector(specification: str, config: DetectorConfig | None = None) -> Detector:
    """A detector by its specification (``detector_specification``), for example ``onnx:PATH``.

    Raises DetectorError for an unknown backend, device or option and for a model that is missing, damaged or of an unknown kind.
    """
    config = DetectorConfig() if config is None else config
    wanted = parse(specification)
    return MotionDetector(config) if wanted.path is None else _make_network(wanted, config)


def _make_network(wanted: Specification, config: DetectorConfig) -> NetworkDetector:
    try:
        runtime = RUNTIMES[wanted.backend](wanted.path, config.threads, wanted.size, wanted.device)
    except ImportError as error:
        hint = ": install it by ./aisle --with torch" if wanted.backend == "torch" else ""
        raise DetectorError(f"detector '{wanted.text}': the Python package '{error.name}' is not installed{hint}") from error
    width, height = runtime.size
    layout = recognise(width, height, runtime.output_shapes, wanted.layout)
    if layout is None:
        shapes = [list(shape) for shape in runtime.output_shapes]
        expected = f"layout '{wanted.layout}'" if wanted.layout else f"one output of a known kind: {known_shapes()}"
        raise DetectorError(f"{wanted.path}: with an input of {width} x {height} the outputs are {shapes}, expected {expected}")
    layout = wanted.adapt(layout)
    problem = layout.output.misfit(runtime.output_shapes[0], layout.classes)
    if problem:
        raise DetectorError(f"{wanted.path}: {problem}")
    return NetworkDetector(runtime, Model(layout, width, height), dataclasses.replace(config, **wanted.thresholds))


class CameraDetectors:
    """Detectors of several cameras: one network serves all of them, a detector that learns its background is made for each."""

    def __init__(self, specification: str, config: DetectorConfig | None = None) -> None:
        self._specification = specification
        self._config = config
        self._shared = make_detector(specification, config)
        self._own: dict[str, Detector] = {}

    @property
    def batches(self) -> bool:
        """Whether frames of several cameras in one call cost less than one by one."""
        return self._shared.batches

    def detect(self, camera: str, stamp_ns: int, image_bgr: np.ndarray) -> PersonDetections:
        """The record of one frame. Raises ValueError for an array that is no image."""
        return self.detect_batch([CameraFrame(camera, stamp_ns, image_bgr)])[0]

    def detect_batch(self, frames: Sequence[CameraFrame]) -> list[PersonDetections]:
        """The records of frames of one or several cameras, in their order. Raises ValueError for an array that is no image."""
        for frame in frames:
            _check_image(frame)
        if self._shared.stateful:
            found = [self._of_camera(frame.camera).detect([frame.image])[0] for frame in frames]
        else:
            found = self._shared.detect([frame.image for frame in frames]) if frames else []
        return [_record(frame, one) for frame, one in zip(frames, found, strict=True)]

    def _of_camera(self, camera: str) -> Detector:
        if camera not in self._own:
            self._own[camera] = make_detector(self._specification, self._config)
        return self._own[camera]


def _record(frame: CameraFrame, found: Detections) -> PersonDetections:
    height, width = frame.image.shape[:2]
    return PersonDetections(frame.stamp_ns, frame.camera, width, height, found.boxes, found.scores, found.keypoints)


def _without_overlaps(found: Detections, threshold: float) -> Detections:
    if len(found) < 2:
        return found
    sizes = found.boxes[:, 2:] - found.boxes[:, :2]
    kept = cv2.dnn.NMSBoxes(np.hstack([found.boxes[:, :2], sizes]).tolist(), found.scores.tolist(), 0.0, threshold)
    return found.chosen(np.asarray(kept, dtype=int).ravel())


def _check_image(frame: CameraFrame) -> None:
    image = frame.image
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"camera {frame.camera}: image is {image.dtype} {list(image.shape)}, expected uint8 [height, width, 3]")
