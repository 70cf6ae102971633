"""Detectors: decoding of each kind of network's output, errors of models, the same bytes twice, the real models where they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from aisle_perception.detector import CameraDetectors, DetectorConfig, DetectorError, NetworkDetector, make_detector
from aisle_perception.detector_models import Model, recognise
from aisle_perception.detector_specification import parse
from aisle_perception.newest_frames import NewestFrames

SHARED = Path(__file__).resolve().parents[4] / "shared"
RETAIL = SHARED / "models/person-detection-retail-0013/person-detection-retail-0013.xml"
YOLOX = SHARED / "models/yolox_nano.onnx"
VIDEO = SHARED / "data/nanostore/2020-01/camera_5.mp4"
IMAGE = np.zeros((360, 640, 3), dtype=np.uint8)


class FixedRuntime:
    """Gives back the same outputs whatever goes in: one row of ``output`` for each image."""

    def __init__(self, size: tuple[int, int], output: np.ndarray) -> None:
        self.size = size
        self.output_shapes = ((1, *output.shape[1:]),)
        self.batches = len(output) > 1
        self.output = output
        self.given: np.ndarray | None = None

    def infer(self, tensor: np.ndarray) -> list[np.ndarray]:
        self.given = tensor
        return [self.output[: len(tensor)]]


def _detector(size: tuple[int, int], output: np.ndarray, **changes: Any) -> tuple[NetworkDetector, FixedRuntime]:
    runtime = FixedRuntime(size, output)
    layout = recognise(*size, runtime.output_shapes)
    assert layout is not None
    return NetworkDetector(runtime, Model(dataclasses.replace(layout, **changes), *size), DetectorConfig()), runtime


def test_ssd_rows_become_boxes() -> None:
    output = np.zeros((1, 1, 5, 7), dtype=np.float32)
    output[0, 0, 0] = [0, 1, 0.9, 0.25, 0.5, 0.5, 1.0]
    output[0, 0, 1] = [0, 2, 0.9, 0.0, 0.0, 0.2, 0.2]  # not a person
    output[0, 0, 2] = [0, 1, 0.1, 0.6, 0.5, 0.7, 1.0]  # too weak
    output[0, 0, 3] = [-1, 0, 0, 0, 0, 0, 0]
    output[0, 0, 4] = [0, 1, 0.9, 0.7, 0.5, 0.9, 1.0]  # after the end of the list
    detector, runtime = _detector((544, 320), output)
    (found,) = detector.detect([IMAGE])
    assert runtime.given.shape == (1, 3, 320, 544)
    np.testing.assert_allclose(found.boxes, [[160, 180, 320, 359]], atol=1e-3)
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.keypoints is None


def test_the_class_filter_is_data() -> None:
    output = np.zeros((1, 1, 3, 7), dtype=np.float32)
    output[0, 0, :, 1] = [1, 2, 3]
    output[0, 0, :, 2:] = [[0.9, 0, 0, 0.1, 0.1], [0.8, 0.4, 0, 0.5, 0.1], [0.7, 0.8, 0, 0.9, 0.1]]
    detector, _ = _detector((64, 64), output, classes=(2, 3))
    assert detector.detect([IMAGE])[0].scores.tolist() == pytest.approx([0.8, 0.7])


def _yolox_output(images: int = 1) -> np.ndarray:
    output = np.zeros((images, 3549, 85), dtype=np.float32)
    # Cell (x 10, y 5) of stride 8: centre (84, 44) in the input, size 32 x 64 in the input.
    first = 5 * 52 + 10
    output[:, first, :6] = [0.5, 0.5, np.log(4.0), np.log(8.0), 0.9, 0.9]
    output[:, first + 1, :6] = [-0.4, 0.5, np.log(4.0), np.log(8.0), 0.8, 0.9]
    output[:, 52 * 52 + 26 * 26 + 3, :6] = [0.0, 3.0, 0.0, 0.0, 0.9, 0.0]  # another class
    return output


YOLOX_BOX = np.array([68, 12, 100, 76]) / (416 / 640)


def test_yolox_cells_become_boxes_and_overlaps_vanish() -> None:
    detector, runtime = _detector((416, 416), _yolox_output())
    (found,) = detector.detect([IMAGE])
    assert runtime.given[0, 0, 300, 0] == 114.0  # below the letterboxed image
    np.testing.assert_allclose(found.boxes, [YOLOX_BOX], atol=1e-3)


def test_images_of_different_sizes_go_into_one_call() -> None:
    detector, runtime = _detector((416, 416), _yolox_output(images=3))
    assert detector.batches
    large, small = detector.detect([IMAGE, np.zeros((180, 320, 3), dtype=np.uint8)])
    assert runtime.given.shape == (2, 3, 416, 416)
    np.testing.assert_allclose(large.boxes, 2 * small.boxes, atol=1e-3)
    np.testing.assert_allclose(large.boxes, [YOLOX_BOX], atol=1e-3)


def test_a_network_of_one_image_is_asked_image_by_image() -> None:
    detector, runtime = _detector((416, 416), _yolox_output())
    assert len(detector.detect([IMAGE, IMAGE, IMAGE])) == 3
    assert len(runtime.given) == 1


def test_what_is_not_finite_or_outside_is_no_detection() -> None:
    output = _yolox_output()
    output[0, 5 * 52 + 10, :2] = np.nan
    output[0, 5 * 52 + 11, :2] = -500.0
    detector, _ = _detector((416, 416), output)
    assert len(detector.detect([IMAGE])[0]) == 0


def _pose_output() -> np.ndarray:
    output = np.zeros((1, 56, 8400), dtype=np.float32)
    output[0, :5, 7] = [320, 320, 100, 200, 0.8]
    output[0, 5:, 7] = np.tile([330.0, 250.0, 0.7], 17)
    return output


def test_yolo_pose_columns_become_keypoints() -> None:
    detector, runtime = _detector((640, 640), _pose_output())
    (found,) = detector.detect([np.full((360, 640, 3), (255, 0, 0), dtype=np.uint8)])
    # Letterboxed in the middle, 140 px above; red-green-blue from 0 to 1.
    assert runtime.given[0, :, 320, 320].tolist() == [0.0, 0.0, 1.0]
    np.testing.assert_allclose(found.boxes, [[270, 80, 370, 280]], atol=1e-3)
    np.testing.assert_allclose(found.keypoints[0, 4], [330, 110, 0.7], atol=1e-3)


def test_yolo_columns_and_yolov5_rows() -> None:
    columns = np.zeros((1, 84, 8400), dtype=np.float32)
    columns[0, [0, 1, 2, 3, 4], 9] = [320, 320, 100, 200, 0.8]
    rows = np.zeros((1, 25200, 85), dtype=np.float32)
    rows[0, 9, :6] = [320, 320, 100, 200, 0.9, 0.8]
    (first,), (second,) = (_detector((640, 640), output)[0].detect([IMAGE]) for output in (columns, rows))
    np.testing.assert_allclose(first.boxes, second.boxes, atol=1e-3)
    np.testing.assert_allclose(first.boxes, [[270, 80, 370, 280]], atol=1e-3)
    assert second.scores.tolist() == pytest.approx([0.72])


def test_pixels_are_normalised_as_the_layout_says() -> None:
    changes = dict(rgb=True, factor=1 / 255, mean=(0.5, 0.25, 0.0), deviation=(0.5, 1.0, 2.0), fit="stretch")
    detector, runtime = _detector((416, 416), _yolox_output(), **changes)
    detector.detect([np.full((360, 640, 3), (255, 51, 0), dtype=np.uint8)])
    assert runtime.given[0, :, 0, 0].tolist() == pytest.approx([-1.0, -0.05, 0.5])


@pytest.mark.parametrize(
    ("size", "outputs"),
    [
        ((224, 224), [(1, 1000)]),
        ((416, 416), [(1, 3000, 85)]),
        ((416, 416), [(1, 3549, 5)]),
        ((544, 320), [(1, 1, 10, 7), (1, 5)]),
        ((544, 320), []),
    ],
)
def test_unknown_shapes_are_not_guessed(size: tuple[int, int], outputs: list[tuple[int, ...]]) -> None:
    assert recognise(*size, outputs) is None


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


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"model.xml": "<net/>"}, r"model\.bin: missing, expected the weights of model\.xml beside it"),
        ({"model.xml": "no xml", "model.bin": ""}, r"model\.xml: OpenVINO cannot read this model: syntax error"),
        ({"model.xml": "<html/>", "model.bin": ""}, r"model\.xml: is no OpenVINO IR, expected <net> as its root"),
        ({"model.xml": "<net name='x' version='11'><layers/></net>", "model.bin": ""}, r"model\.xml: the model's inputs are none"),
        ({"model.pb": ""}, r"model\.pb: found a file '\.pb', expected \.xml \(OpenVINO IR\) or \.onnx"),
    ],
)
def test_what_is_wrong_with_an_openvino_model_is_told(files: dict[str, str], complaint: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DetectorError, match=complaint):
        make_detector(f"openvino:{tmp_path / next(iter(files))}")


def test_a_model_of_an_unknown_kind_tells_its_shapes(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="openvino is not installed (requirements.txt)")
    image = openvino.opset13.parameter([1, 3, 8, 8], np.float32, name="image")
    path = tmp_path / "other.xml"
    openvino.save_model(openvino.Model([openvino.opset13.relu(image)], [image]), str(path))
    with pytest.raises(
        DetectorError,
        match=r"input of 8 x 8 the outputs are \[\[1, 3, 8, 8\]\], expected one output of a known kind: ssd \[1, 1, N, 7\], yolox",
    ):
        make_detector(f"openvino:{path}")


def _saved_openvino(folder: Path, input_shape: list[int]) -> str:
    """The specification of a model that gives YOLOX predictions for 64 x 64: the brighter the image, the surer it is of one person."""
    openvino = pytest.importorskip("openvino", reason="openvino is not installed (requirements.txt)")
    ops = openvino.opset13
    fixed, seen = np.zeros((2, 1, 84, 6), dtype=np.float32)
    # Cell (4, 4) of stride 8 begins at (32, 32); the size is 32 x 48.
    fixed[0, 36, :5] = [0, 0, np.log(4.0), np.log(6.0), 1.0]
    seen[0, 36, 5] = 1 / 255
    image = ops.parameter(input_shape, np.float32, name="image")
    brightness = ops.reduce_mean(image, np.array([1, 2, 3]), keep_dims=False)
    brightness = ops.unsqueeze(brightness, np.array([1, 2]))
    output = ops.add(ops.multiply(brightness, ops.constant(seen)), ops.constant(fixed))
    openvino.save_model(openvino.Model([output], [image]), str(folder / "model.xml"), compress_to_fp16=False)
    return f"openvino:{folder / 'model.xml'}"


@pytest.mark.parametrize(
    ("input_shape", "option", "batches"), [([1, 3, 64, 64], "", False), ([-1, 3, 64, 64], "", True), ([-1, 3, -1, -1], "?size=64x64", True)]
)
def test_open_dimensions_of_an_openvino_model(input_shape: list[int], option: str, batches: bool, tmp_path: Path) -> None:
    detector = make_detector(_saved_openvino(tmp_path, input_shape) + option)
    assert detector.batches == batches
    bright, dark, half = detector.detect([np.full((128, 128, 3), value, dtype=np.uint8) for value in (255, 0, 128)])
    assert (len(bright), len(dark), len(half)) == (1, 0, 1)
    np.testing.assert_allclose(bright.boxes, [[32, 16, 96, 112]], atol=1e-3)
    assert [bright.scores[0], half.scores[0]] == pytest.approx([1.0, 128 / 255], abs=1e-3)


def test_an_open_size_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"model\.xml: the model does not tell the size of its input"):
        make_detector(_saved_openvino(tmp_path, [-1, 3, -1, -1]))


@pytest.mark.parametrize("specification", ["", "openvino", "tensorflow:model.pb", "motion:fast"])
def test_an_unknown_specification_names_what_there_is(specification: str) -> None:
    with pytest.raises(DetectorError, match=r"expected openvino:PATH, onnx:PATH, torch:PATH or motion"):
        make_detector(specification)


@pytest.mark.parametrize("image", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.float32), np.zeros((0, 10, 3), np.uint8)])
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[height, width, 3\]"):
        CameraDetectors("motion").detect("1", 0, image)


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("colour=blue", "colour is 'blue', expected rgb or bgr"),
        ("size=416", "size is '416', expected WIDTHxHEIGHT"),
        ("score=2", "score is '2', expected a number from 0 to 1"),
        ("classes=-1", "classes is '-1', expected class numbers"),
        ("deviation=1,0,1", "deviation is '1,0,1', expected three positive numbers"),
        ("layout=detr", "layout is 'detr', expected one of ssd, yolox"),
        ("speed=9", "unknown option 'speed', expected one of layout, size, device"),
        ("device=cuda", "backend 'onnx' runs on the cpu only"),
    ],
)
def test_a_wrong_option_is_named(option: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    with pytest.raises(DetectorError, match=complaint):
        make_detector(f"onnx:{path}?{option}")


def test_options_say_how_a_model_is_meant(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    wanted = parse(f"onnx:{tmp_path / 'model.onnx'}?fit=centre&colour=rgb&classes=0,2&score=0.25&overlap=0.6&size=416x320&layout=yolox")
    layout = wanted.adapt(recognise(416, 416, [(1, 3549, 85)]))
    assert (layout.fit, layout.rgb, layout.classes) == ("centre", True, (0, 2))
    assert (wanted.size, wanted.layout, wanted.thresholds) == ((416, 320), "yolox", {"score_threshold": 0.25, "overlap_threshold": 0.6})


def test_motion_finds_what_moves_and_keeps_cameras_apart() -> None:
    detectors = CameraDetectors("motion")
    rng = np.random.default_rng(4)
    room = rng.integers(90, 110, (240, 320, 3), dtype=np.uint8)
    assert len(detectors.detect("1", 0, room).boxes) == 0
    for step in range(1, 40):
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
    assert [frames.take(), frames.take()] == [[("a", 3)], [("b", 2)]]
    assert frames.take() == []


def test_several_cameras_frames_are_taken_together() -> None:
    frames: NewestFrames[int] = NewestFrames(["a", "b", "c"])
    for camera in "cab":
        frames.put(camera, 1)
    assert frames.take(2) == [("c", 1), ("a", 1)]
    assert frames.take(2) == [("b", 1)]
    assert not frames


needs_models = pytest.mark.skipif(
    not (RETAIL.exists() and YOLOX.exists() and VIDEO.exists()), reason=f"needs models and videos in {SHARED}"
)


def _first_image() -> np.ndarray:
    capture = cv2.VideoCapture(str(VIDEO))
    image = capture.read()[1]
    capture.release()
    return image


@needs_models
@pytest.mark.parametrize("specification", [f"openvino:{RETAIL}", f"openvino:{YOLOX}", f"onnx:{YOLOX}"])
def test_real_frame_shows_one_person_and_the_same_bytes_twice(specification: str) -> None:
    image = _first_image()
    first, second = (make_detector(specification).detect([image])[0] for _ in range(2))
    assert first.boxes.tobytes() == second.boxes.tobytes()
    assert first.scores.tobytes() == second.scores.tobytes()
    # The shopper stands at the left, head to toe in view (looked up in the image).
    boxes = first.boxes[first.scores > 0.5]
    assert len(boxes) == 1
    np.testing.assert_allclose(boxes[0], [220, 68, 328, 312], atol=15)


@needs_models
def test_both_runtimes_see_the_same_in_the_same_model() -> None:
    detectors = [make_detector(f"{backend}:{YOLOX}?score=0.3") for backend in ("openvino", "onnx")]
    compared = 0
    for camera in "1357":
        capture = cv2.VideoCapture(str(VIDEO.with_name(f"camera_{camera}.mp4")))
        for number in (5, 40, 80, 120, 160, 200):
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            image = capture.read()[1]
            (first,), (second,) = (detector.detect([image]) for detector in detectors)
            assert len(first) == len(second)
            np.testing.assert_allclose(first.boxes, second.boxes, atol=1.0)
            np.testing.assert_allclose(first.scores, second.scores, atol=1e-3)
            compared += len(first) > 0
        capture.release()
    assert compared >= 6


@needs_models
def test_classes_that_a_model_does_not_have_are_told() -> None:
    with pytest.raises(DetectorError, match=r"class 80 is asked for, the model has classes 0 \.\. 79"):
        make_detector(f"onnx:{YOLOX}?classes=0,80")


@needs_models
def test_a_wrong_layout_or_size_is_told_at_once() -> None:
    with pytest.raises(DetectorError, match=r"outputs are \[\[1, 3549, 85\]\], expected layout 'yolo-pose'"):
        make_detector(f"openvino:{YOLOX}?layout=yolo-pose")
    with pytest.raises(DetectorError, match=r"the model's input is 416 x 416, but size=640x640 was asked for"):
        make_detector(f"onnx:{YOLOX}?size=640x640")
