"""Finding people in images: neural networks by OpenVINO or ONNX Runtime, or plain motion where there is no model.

    detector = make_detector("openvino:person-detection-retail-0013.xml")
    found = detector.detect(image_bgr)

A model file does not say how its numbers are meant, so its kind is recognised by the shapes of input and outputs (``detector_models``).
The same image gives the same bytes on one machine: the number of threads is fixed and precision is not left to the runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import PersonDetections
from aisle_perception.detector_models import Detections, Model, recognise


class DetectorError(ValueError):
    """A detector cannot be made as asked: names the model, what was found and what was expected."""


@dataclass(frozen=True)
class DetectorConfig:
    """What counts as a person, and what the detector may use."""

    score_threshold: float = parameter(0.4, "Detections with a lower score are dropped", 0.0, 1.0)
    overlap_threshold: float = parameter(0.5, "Of two boxes that overlap more (intersection over union) the weaker is dropped", 0.0, 1.0)
    threads: int = parameter(1, "Threads of the network's runtime; a fixed number, so that results are the same in every run", 1, 64)
    motion_least_share: float = parameter(0.01, "Motion: least area of a person as a share of the image", 0.0001, 0.5)
    motion_history: int = parameter(300, "Motion: frames after which what stands still is background", 2, 100000)
    motion_variance: float = parameter(25.0, "Motion: squared Mahalanobis distance of a pixel's colour from the background", 1.0, 1000.0)


class Detector(Protocol):
    """Finds the people in an image. ``stateful``: it learns from the images of one camera and must not be shown another's."""

    stateful: bool

    def detect(self, image_bgr: np.ndarray) -> Detections:
        """People in ``image_bgr`` uint8 [H, W, 3]. Raises ValueError for another kind of array."""
        ...


class Runtime(Protocol):
    """Runs a network: its shapes, and outputs from an input."""

    input_shape: tuple[int, ...]
    output_shapes: tuple[tuple[int, ...], ...]

    def infer(self, tensor: np.ndarray) -> Sequence[np.ndarray]: ...


class OpenVinoRuntime:
    """OpenVINO on the CPU: models in its own form (.xml with .bin) or ONNX."""

    def __init__(self, path: Path, threads: int) -> None:
        import openvino

        try:
            network = openvino.Core().read_model(str(path))
            _check_static([(port.get_any_name(), port.partial_shape.is_static, port.partial_shape) for port in network.inputs], path)
            options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
            self._compiled = openvino.Core().compile_model(network, "CPU", options)
            self.input_shape = tuple(self._compiled.inputs[0].shape)
            self.output_shapes = tuple(_fixed_shape(port.partial_shape) for port in self._compiled.outputs)
        except RuntimeError as error:
            raise DetectorError(f"{path}: OpenVINO cannot read this model: {_first_line(error)}") from error
        self._request = self._compiled.create_infer_request()

    def infer(self, tensor: np.ndarray) -> Sequence[np.ndarray]:
        self._request.infer([tensor], share_inputs=True)
        return [self._request.get_output_tensor(i).data for i in range(len(self.output_shapes))]


class OnnxRuntime:
    """ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # ONNX Runtime's exceptions have no common base of their own.
        except Exception as error:
            raise DetectorError(f"{path}: ONNX Runtime cannot read this model: {_first_line(error)}") from error
        inputs = self._session.get_inputs()
        _check_static([(port.name, all(isinstance(size, int) for size in port.shape), port.shape) for port in inputs], path)
        self._input = inputs[0].name
        self.input_shape = tuple(inputs[0].shape)
        self.output_shapes = tuple(
            tuple(size if isinstance(size, int) else -1 for size in port.shape) for port in self._session.get_outputs()
        )

    def infer(self, tensor: np.ndarray) -> Sequence[np.ndarray]:
        return self._session.run(None, {self._input: tensor})


class NetworkDetector:
    """A neural network: image in, boxes (and keypoints where the model has them) out."""

    stateful = False

    def __init__(self, runtime: Runtime, model: Model, config: DetectorConfig) -> None:
        self._runtime = runtime
        self._model = model
        self._config = config

    def detect(self, image_bgr: np.ndarray) -> Detections:
        _check_image(image_bgr)
        tensor, placement = self._model.prepare(image_bgr)
        found = self._model.decode(self._runtime.infer(tensor), placement)
        found = found.chosen(found.scores >= self._config.score_threshold)
        height, width = image_bgr.shape[:2]
        found = _without_overlaps(found, self._config.overlap_threshold)
        return found.clipped(width, height)


class MotionDetector:
    """Whatever moves in front of a still background (MOG2; Zivkovic & van der Heijden, Pattern Recognition Letters 27, 2006).

    For trying a shop out without a model: it takes anything that moves for a person, and people who stand still fade.
    """

    stateful = True
    _OPENING = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    _CLOSING = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (21, 21))

    def __init__(self, config: DetectorConfig) -> None:
        self._config = config
        self._background = cv2.createBackgroundSubtractorMOG2(config.motion_history, config.motion_variance, detectShadows=True)

    def detect(self, image_bgr: np.ndarray) -> Detections:
        _check_image(image_bgr)
        mask = self._background.apply(image_bgr)
        # MOG2 marks shadows with 127.
        mask = cv2.threshold(mask, 200, 255, cv2.THRESH_BINARY)[1]
        mask = cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_OPEN, self._OPENING), cv2.MORPH_CLOSE, self._CLOSING)
        count, _, areas, _ = cv2.connectedComponentsWithStats(mask)
        areas = areas[1:count]
        areas = areas[areas[:, cv2.CC_STAT_AREA] >= self._config.motion_least_share * mask.size]
        left, top, width, height, area = areas.T.astype(np.float32)
        boxes = np.column_stack([left, top, left + width - 1, top + height - 1]).astype(np.float32)
        # How well the box is filled is the only hint of how sure the finding is.
        return Detections(boxes, np.clip(area / (width * height), self._config.score_threshold, 1.0).astype(np.float32))


#: Backends by the word before the colon of a specification.
_RUNTIMES = {"openvino": OpenVinoRuntime, "onnx": OnnxRuntime}
SPECIFICATIONS = "openvino:PATH, onnx:PATH or motion"


def make_detector(specification: str, config: DetectorConfig | None = None) -> Detector:
    """A detector by its specification: ``openvino:PATH`` (.xml or .onnx), ``onnx:PATH`` or ``motion``.

    Raises DetectorError for an unknown backend and for a model that is missing, damaged or of an unknown kind.
    """
    config = DetectorConfig() if config is None else config
    backend, _, place = specification.partition(":")
    if backend == "motion" and not place:
        return MotionDetector(config)
    if backend not in _RUNTIMES or not place:
        raise DetectorError(f"detector '{specification}' is unknown, expected {SPECIFICATIONS}")
    path = Path(place)
    if not path.is_file():
        raise DetectorError(f"{path}: no such model file")
    try:
        runtime = _RUNTIMES[backend](path, config.threads)
    except ImportError as error:
        raise DetectorError(f"detector '{specification}': the Python package '{error.name}' is not installed") from error
    model = recognise(runtime.input_shape, runtime.output_shapes)
    if model is None:
        raise DetectorError(
            f"{path}: a model with input {list(runtime.input_shape)} and outputs {[list(s) for s in runtime.output_shapes]} is of no known "
            "kind, expected SSD [1, 1, N, 7], YOLOX [1, N, 5 + classes] or YOLO pose [1, 56, N] with an image input [1, 3, H, W]"
        )
    return NetworkDetector(runtime, model, config)


class CameraDetectors:
    """Detectors of several cameras: one network serves all of them, a detector that learns its background is made for each."""

    def __init__(self, specification: str, config: DetectorConfig | None = None) -> None:
        self._specification = specification
        self._config = config
        self._shared = make_detector(specification, config)
        self._own: dict[str, Detector] = {}

    def detect(self, camera: str, stamp_ns: int, image_bgr: np.ndarray) -> PersonDetections:
        """The record of one frame."""
        found = self._detector(camera).detect(image_bgr)
        height, width = image_bgr.shape[:2]
        return PersonDetections(stamp_ns, camera, width, height, found.boxes, found.scores, found.keypoints)

    def _detector(self, camera: str) -> Detector:
        if not self._shared.stateful:
            return self._shared
        if camera not in self._own:
            self._own[camera] = make_detector(self._specification, self._config)
        return self._own[camera]


def _without_overlaps(found: Detections, threshold: float) -> Detections:
    if len(found.scores) < 2:
        return found
    sizes = found.boxes[:, 2:] - found.boxes[:, :2]
    kept = cv2.dnn.NMSBoxes(np.hstack([found.boxes[:, :2], sizes]).tolist(), found.scores.tolist(), 0.0, threshold)
    return found.chosen(np.asarray(kept, dtype=int).ravel())


def _check_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image is {image.dtype} {list(image.shape)}, expected uint8 [height, width, 3]")


def _check_static(inputs: Sequence[tuple[str, bool, object]], path: Path) -> None:
    if len(inputs) != 1 or not inputs[0][1]:
        described = ", ".join(f"{name} {shape}" for name, _, shape in inputs)
        raise DetectorError(f"{path}: the model's inputs are {described}, expected one image of a fixed size [1, 3, H, W]")


def _fixed_shape(shape: object) -> tuple[int, ...]:
    return tuple(size.get_length() if size.is_static else -1 for size in shape)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
