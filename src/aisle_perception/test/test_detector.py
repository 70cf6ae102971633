"""Detectors: decoding of each kind of network's output, errors of models, the same bytes twice, the real models where they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from aisle_perception.detector import CameraDetectors, DetectorConfig, DetectorError, NetworkDetector, make_detector
from aisle_perception.detector_models import recognise
from aisle_perception.newest_frames import NewestFrames

SHARED = Path(__file__).resolve().parents[4] / "shared"
RETAIL = SHARED / "models/person-detection-retail-0013/person-detection-retail-0013.xml"
YOLOX = SHARED / "models/yolox_nano.onnx"
VIDEO = SHARED / "data/nanostore/2020-01/camera_5.mp4"
IMAGE = np.zeros((360, 640, 3), dtype=np.uint8)


class FixedRuntime:
    """Gives back the same output whatever goes in."""

    def __init__(self, input_shape: tuple[int, ...], output: np.ndarray) -> None:
        self.input_shape = input_shape
        self.output_shapes = (output.shape,)
        self.output = output
        self.given: np.ndarray | None = None

    def infer(self, tensor: np.ndarray) -> list[np.ndarray]:
        self.given = tensor
        return [self.output]


def _detector(input_shape: tuple[int, ...], output: np.ndarray) -> tuple[NetworkDetector, FixedRuntime]:
    runtime = FixedRuntime(input_shape, output)
    return NetworkDetector(runtime, recognise(input_shape, runtime.output_shapes), DetectorConfig()), runtime


def test_ssd_rows_become_boxes() -> None:
    output = np.zeros((1, 1, 5, 7), dtype=np.float32)
    output[0, 0, 0] = [0, 1, 0.9, 0.25, 0.5, 0.5, 1.0]
    output[0, 0, 1] = [0, 2, 0.9, 0.0, 0.0, 0.2, 0.2]  # not a person
    output[0, 0, 2] = [0, 1, 0.1, 0.6, 0.5, 0.7, 1.0]  # too weak
    output[0, 0, 3] = [-1, 0, 0, 0, 0, 0, 0]
    output[0, 0, 4] = [0, 1, 0.9, 0.7, 0.5, 0.9, 1.0]  # after the end of the list
    detector, runtime = _detector((1, 3, 320, 544), output)
    found = detector.detect(IMAGE)
    assert runtime.given.shape == (1, 3, 320, 544)
    np.testing.assert_allclose(found.boxes, [[160, 180, 320, 359]], atol=1e-3)
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.keypoints is None


def test_yolox_cells_become_boxes_and_overlaps_vanish() -> None:
    output = np.zeros((1, 3549, 85), dtype=np.float32)
    # Cell (x 10, y 5) of stride 8: centre (84, 44) in the input, size 32 x 64 in the input.
    first = 5 * 52 + 10
    output[0, first, :6] = [0.5, 0.5, np.log(4.0), np.log(8.0), 0.9, 0.9]
    output[0, first + 1, :6] = [-0.4, 0.5, np.log(4.0), np.log(8.0), 0.8, 0.9]
    output[0, 52 * 52 + 26 * 26 + 3, :6] = [0.0, 3.0, 0.0, 0.0, 0.9, 0.0]  # another class
    detector, runtime = _detector((1, 3, 416, 416), output)
    found = detector.detect(IMAGE)
    assert runtime.given[0, 0, 300, 0] == 114.0  # below the letterboxed image
    scale = 416 / 640
    np.testing.assert_allclose(found.boxes, [np.array([68, 12, 100, 76]) / scale], atol=1e-3)


def test_yolo_pose_columns_become_keypoints() -> None:
    output = np.zeros((1, 56, 8400), dtype=np.float32)
    output[0, :5, 7] = [320, 320, 100, 200, 0.8]
    output[0, 5:, 7] = np.tile([330.0, 250.0, 0.7], 17)
    detector, runtime = _detector((1, 3, 640, 640), output)
    found = detector.detect(np.full((360, 640, 3), (255, 0, 0), dtype=np.uint8))
    # Letterboxed in the middle, 140 px above; red-green-blue from 0 to 1.
    assert runtime.given[0, :, 320, 320].tolist() == [0.0, 0.0, 1.0]
    np.testing.assert_allclose(found.boxes, [[270, 80, 370, 280]], atol=1e-3)
    np.testing.assert_allclose(found.keypoints[0, 4], [330, 110, 0.7], atol=1e-3)


@pytest.mark.parametrize(
    ("input_shape", "outputs"),
    [
        ((1, 3, 224, 224), [(1, 1000)]),
        ((1, 3, 416, 416), [(1, 3000, 85)]),
        ((3, 224, 224), [(1, 1, 10, 7)]),
        ((1, 1, 28, 28), [(1, 1, 10, 7)]),
        ((1, 3, 320, 544), [(1, 1, 10, 7), (1, 5)]),
    ],
)
def test_unknown_shapes_are_not_guessed(input_shape: tuple[int, ...], outputs: list[tuple[int, ...]]) -> None:
    assert recognise(input_shape, outputs) is None


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_a_missing_model_is_named(backend: str, tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"gone\.onnx: no such model file"):
        make_detector(f"{backend}:{tmp_path / 'gone.onnx'}")


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_a_damaged_model_is_named(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(b"this is not a network" * 10)
    with pytest.raises(DetectorError, match=r"damaged\.onnx: .* cannot read this model"):
        make_detector(f"{backend}:{path}")


def test_a_model_of_an_unknown_kind_tells_its_shapes(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    image = openvino.opset13.parameter([1, 3, 8, 8], np.float32, name="image")
    path = tmp_path / "other.xml"
    openvino.save_model(openvino.Model([openvino.opset13.relu(image)], [image]), str(path))
    with pytest.raises(DetectorError, match=r"input \[1, 3, 8, 8\] and outputs \[\[1, 3, 8, 8\]\] is of no known kind"):
        make_detector(f"openvino:{path}")


@pytest.mark.parametrize("specification", ["", "openvino", "tensorflow:model.pb", "motion:fast"])
def test_an_unknown_specification_names_what_there_is(specification: str) -> None:
    with pytest.raises(DetectorError, match=r"expected openvino:PATH, onnx:PATH or motion"):
        make_detector(specification)


@pytest.mark.parametrize("image", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.float32), np.zeros((0, 10, 3), np.uint8)])
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[height, width, 3\]"):
        make_detector("motion").detect(image)


def test_motion_finds_what_moves_and_keeps_cameras_apart() -> None:
    detectors = CameraDetectors("motion")
    rng = np.random.default_rng(4)
    room = rng.integers(90, 110, (240, 320, 3), dtype=np.uint8)
    for step in range(40):
        detectors.detect("1", step, room)
    visitor = room.copy()
    visitor[60:200, 100:150] = 230
    found = detectors.detect("1", 40, visitor)
    assert (found.camera, found.stamp_ns, found.image_width, found.image_height) == ("1", 40, 320, 240)
    np.testing.assert_allclose(found.boxes, [[100, 60, 149, 199]], atol=4)
    for step in range(40):
        detectors.detect("2", step, visitor)
    assert len(detectors.detect("2", 41, visitor).boxes) == 0
    assert len(detectors.detect("1", 41, visitor).boxes) == 1


def test_the_newest_frame_replaces_older_ones() -> None:
    frames: NewestFrames[int] = NewestFrames(["a", "b"])
    frames.put("a", 1)
    frames.put("b", 2)
    frames.put("a", 3)
    assert frames.replaced == {"a": 1, "b": 0}
    assert [frames.take(), frames.take()] == [("a", 3), ("b", 2)]
    with pytest.raises(KeyError):
        frames.take()


needs_models = pytest.mark.skipif(
    not (RETAIL.exists() and YOLOX.exists() and VIDEO.exists()), reason=f"needs models and videos in {SHARED}"
)


@needs_models
@pytest.mark.parametrize("specification", [f"openvino:{RETAIL}", f"openvino:{YOLOX}", f"onnx:{YOLOX}"])
def test_real_frame_shows_one_person_and_the_same_bytes_twice(specification: str) -> None:
    capture = cv2.VideoCapture(str(VIDEO))
    image = capture.read()[1]
    capture.release()
    first, second = make_detector(specification).detect(image), make_detector(specification).detect(image)
    assert first.boxes.tobytes() == second.boxes.tobytes()
    assert first.scores.tobytes() == second.scores.tobytes()
    # The shopper stands at the left, head to toe in view (looked up in the image).
    boxes = first.boxes[first.scores > 0.5]
    assert len(boxes) == 1
    np.testing.assert_allclose(boxes[0], [220, 68, 328, 312], atol=15)
