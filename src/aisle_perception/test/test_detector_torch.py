"""The backend torch, with tiny networks whose outputs are known: TorchScript archives and exported programs of each layout."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from aisle_perception.detector import CameraDetectors, CameraFrame, DetectorError, make_detector

torch = pytest.importorskip("torch", reason="PyTorch is not installed (./aisle --with torch)")

# TorchScript is on its way out of PyTorch, but not out of people's model files.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")

SIZE = 64
#: 8 x 8 + 4 x 4 + 2 x 2 cells.
CELLS = 84
PERSON = np.array([16.0, 8.0, 48.0, 56.0])


class Tiny(torch.nn.Module):
    """Adds the mean of the image's first channel to the score of one fixed prediction: black images show nobody, bright ones one person."""

    def __init__(self, output: np.ndarray, where: tuple[int, ...], scale: float) -> None:
        super().__init__()
        seen = np.zeros_like(output)
        seen[where] = scale
        self.register_buffer("output", torch.from_numpy(output))
        self.register_buffer("seen", torch.from_numpy(seen))
        self.bias = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        brightness = image[:, 0].mean(dim=[1, 2])
        for _ in range(self.output.dim() - 1):
            brightness = brightness.unsqueeze(-1)
        return self.output + self.seen * brightness + self.bias


def _yolox() -> Tiny:
    output = np.zeros((1, CELLS, 6), dtype=np.float32)
    # Cell (4, 4) of stride 8 begins at (32, 32): that is the middle; the size is 32 x 48.
    output[0, 36, :5] = [0, 0, np.log(4.0), np.log(6.0), 1.0]
    return Tiny(output, (0, 36, 5), 1 / 255)


def _ssd() -> Tiny:
    output = np.zeros((1, 1, 2, 7), dtype=np.float32)
    output[0, 0, 0] = [0, 1, 0, *(PERSON / SIZE)]
    return Tiny(output, (0, 0, 0, 2), 1 / 255)


def _pose() -> Tiny:
    output = np.zeros((1, 56, CELLS), dtype=np.float32)
    output[0, :4, 5] = [32, 32, 32, 48]
    output[0, 5:, 5] = np.tile([20.0, 10.0, 0.9], 17)
    return Tiny(output, (0, 4, 5), 1.0)


NETWORKS = {"yolox": _yolox, "ssd": _ssd, "yolo-pose": _pose}
BRIGHT = np.full((128, 128, 3), 230, dtype=np.uint8)
DARK = np.zeros((128, 128, 3), dtype=np.uint8)


def _saved(network: torch.nn.Module, kind: str, folder: Path) -> str:
    """The specification of a detector of this network."""
    if kind == "script":
        path = folder / "network.pt"
        torch.jit.save(torch.jit.script(network), str(path))
        return f"torch:{path}?size={SIZE}x{SIZE}"
    path = folder / "network.pt2"
    batched = kind == "batched program"
    # With one image as example the exporter takes the one for a constant.
    example = torch.zeros(2 if batched else 1, 3, SIZE, SIZE)
    shapes = {"image": {0: torch.export.Dim("images", min=1, max=64)}} if batched else None
    torch.export.save(torch.export.export(network, (example,), dynamic_shapes=shapes), str(path))
    return f"torch:{path}"


@pytest.mark.parametrize("kind", ["script", "program", "batched program"])
@pytest.mark.parametrize("layout", sorted(NETWORKS))
def test_each_layout_in_each_form(layout: str, kind: str, tmp_path: Path) -> None:
    detector = make_detector(_saved(NETWORKS[layout](), kind, tmp_path))
    assert detector.batches == (kind != "program")
    bright, dark, again = detector.detect([BRIGHT, DARK, BRIGHT])
    assert len(dark) == 0
    # The image is twice as large as the input.
    np.testing.assert_allclose(bright.boxes, [2 * PERSON], atol=1e-3)
    assert bright.scores.tolist() == pytest.approx([230 / 255], abs=1e-4)
    assert bright.boxes.tobytes() == again.boxes.tobytes()
    if layout == "yolo-pose":
        np.testing.assert_allclose(bright.keypoints[0], np.tile([40.0, 20.0, 0.9], (17, 1)), atol=1e-3)
    else:
        assert bright.keypoints is None


def test_cameras_share_one_call(tmp_path: Path) -> None:
    detectors = CameraDetectors(_saved(_yolox(), "batched program", tmp_path))
    assert detectors.batches
    found = detectors.detect_batch([CameraFrame("1", 10, DARK), CameraFrame("2", 11, BRIGHT)])
    assert [(f.camera, f.stamp_ns, len(f.boxes)) for f in found] == [("1", 10, 0), ("2", 11, 1)]
    alone = detectors.detect("2", 11, BRIGHT)
    np.testing.assert_allclose(alone.boxes, found[1].boxes, atol=1e-4)


class Packed(torch.nn.Module):
    """Gives its output inside of a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.network = _yolox()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"predictions": self.network(image)}


def test_an_output_may_be_packed(tmp_path: Path) -> None:
    assert len(make_detector(_saved(Packed(), "program", tmp_path)).detect([BRIGHT])[0]) == 1


class Half(torch.nn.Module):
    """Half-precision weights, as exported for graphics cards."""

    def __init__(self) -> None:
        super().__init__()
        self.network = _yolox().half()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image)


def test_half_precision_models_get_what_they_expect(tmp_path: Path) -> None:
    (found,) = make_detector(_saved(Half(), "script", tmp_path)).detect([BRIGHT])
    np.testing.assert_allclose(found.boxes, [2 * PERSON], atol=0.5)


def test_a_script_without_a_size_says_what_to_add(tmp_path: Path) -> None:
    specification = _saved(_yolox(), "script", tmp_path).partition("?")[0]
    with pytest.raises(DetectorError, match=r"does not tell the size of its input, expected it after the path: \?size=WIDTHxHEIGHT"):
        make_detector(specification)


def test_outputs_of_an_unknown_shape_are_told(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"outputs are \[\[1, 84, 6\]\], expected layout 'ssd'"):
        make_detector(_saved(_yolox(), "script", tmp_path) + "&layout=ssd")
    with pytest.raises(DetectorError, match=r"the outputs are \[\[1, 7\]\], expected one output of a known kind"):
        make_detector(_saved(Tiny(np.zeros((1, 7), dtype=np.float32), (0, 0), 1.0), "program", tmp_path))


def test_a_network_that_cannot_run_is_told(tmp_path: Path) -> None:
    path = tmp_path / "linear.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(5, 5)), str(path))
    with pytest.raises(DetectorError, match=r"linear\.pt: PyTorch cannot run this model on an image of 64 x 64"):
        make_detector(f"torch:{path}?size=64x64")


def test_damaged_files_and_bare_weights_are_told(tmp_path: Path) -> None:
    damaged, weights, truncated = tmp_path / "damaged.pt", tmp_path / "weights.pt", tmp_path / "truncated.pt2"
    damaged.write_bytes(b"this is not a network" * 10)
    torch.save(_yolox().state_dict(), weights)
    with pytest.raises(DetectorError, match=r"damaged\.pt: PyTorch cannot read this model: it is no archive"):
        make_detector(f"torch:{damaged}?size=64x64")
    with pytest.raises(DetectorError, match=r"weights\.pt: holds weights without a program"):
        make_detector(f"torch:{weights}?size=64x64")
    with zipfile.ZipFile(truncated, "w") as archive:
        archive.writestr("network/archive_format", "pt2")
    with pytest.raises(DetectorError, match=r"truncated\.pt2: PyTorch cannot read this model"):
        make_detector(f"torch:{truncated}")


@pytest.mark.parametrize(
    ("device", "complaint"),
    [
        ("abacus", "device 'abacus' is unknown to PyTorch, expected cpu, cuda"),
        ("meta", "device 'meta' is not supported"),
        ("cuda:77", r"device 'cuda:77' is not there: PyTorch .* finds \d+ CUDA devices"),
    ],
)
def test_a_device_that_is_not_there_is_told(device: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=complaint):
        make_detector(_saved(_yolox(), "script", tmp_path) + f"&device={device}")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("kind", ["script", "batched program"])
def test_a_gpu_sees_the_same(kind: str, tmp_path: Path) -> None:
    specification = _saved(_yolox(), kind, tmp_path)
    on_gpu = make_detector(specification + ("&" if "?" in specification else "?") + "device=cuda")
    np.testing.assert_allclose(on_gpu.detect([BRIGHT])[0].boxes, make_detector(specification).detect([BRIGHT])[0].boxes, atol=0.01)
