"""What runs a network: OpenVINO, ONNX Runtime or PyTorch, all behind the same few lines.

Every runtime tries the network on an empty image when it is made. So shapes are known even where the file does not tell them, and a
network that cannot run is found out before the first frame comes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import numpy as np


class DetectorError(ValueError):
    """A detector cannot be made as asked: names the model, what was found and what was expected."""


class Runtime(Protocol):
    """``size``: width and height of the input; ``output_shapes`` for one image; ``batches``: whether several images go in at once."""

    size: tuple[int, int]
    output_shapes: tuple[tuple[int, ...], ...]
    batches: bool

    def infer(self, tensor: np.ndarray) -> Sequence[np.ndarray]:
        """Outputs of an input float32 [B, 3, height, width]; B is 1 unless ``batches``. They may be overwritten by the next call."""
        ...


class OpenVinoRuntime:
    """OpenVINO on the CPU: models in its own form (.xml with .bin) or ONNX."""

    def __init__(self, path: Path, threads: int, size: tuple[int, int] | None, device: str) -> None:
        _only_cpu(device, "openvino")
        import openvino

        try:
            network = _read_openvino(openvino, path)
            shapes = {port.get_any_name(): [_length(side) for side in port.partial_shape] for port in network.inputs}
            self.size, dynamic = _input_size(shapes, size, path)
            if network.inputs[0].partial_shape.is_dynamic:
                network.reshape([-1 if dynamic else 1, 3, self.size[1], self.size[0]])
            options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
            self._request = openvino.Core().compile_model(network, "CPU", options).create_infer_request()
            self._outputs = len(network.outputs)
            self.output_shapes, self.batches = _tried(self.infer, self.size, dynamic)
        except DetectorError:
            raise
        # OpenVINO's exceptions are of several unrelated kinds.
        except Exception as error:
            raise DetectorError(f"{path}: OpenVINO cannot read this model: {_last_line(error)}") from error

    def infer(self, tensor: np.ndarray) -> Sequence[np.ndarray]:
        self._request.infer([tensor], share_inputs=True)
        return [self._request.get_output_tensor(number).data for number in range(self._outputs)]


class OnnxRuntime:
    """ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int, size: tuple[int, int] | None, device: str) -> None:
        _only_cpu(device, "onnx")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # ONNX Runtime's exceptions have no common base of their own.
        except Exception as error:
            raise DetectorError(f"{path}: ONNX Runtime cannot read this model: {_last_line(error)}") from error
        inputs = self._session.get_inputs()
        shapes = {port.name: [side if isinstance(side, int) else -1 for side in port.shape] for port in inputs}
        self.size, dynamic = _input_size(shapes, size, path)
        self._input = inputs[0].name
        try:
            self.output_shapes, self.batches = _tried(self.infer, self.size, dynamic)
        except Exception as error:
            raise DetectorError(f"{path}: ONNX Runtime cannot run this model: {_last_line(error)}") from error

    def infer(self, tensor: np.ndarray) -> Sequence[np.ndarray]:
        return self._session.run(None, {self._input: tensor})


class TorchRuntime:
    """PyTorch on the CPU or an NVIDIA GPU: TorchScript archives and programs saved by ``torch.export.save``."""

    def __init__(self, path: Path, threads: int, size: tuple[int, int] | None, device: str) -> None:
        import torch

        self._torch = torch
        self._device = _torch_device(torch, device)
        # Both hold for the whole process: results must not depend on who came first.
        torch.set_num_threads(threads)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32 = True, False
        torch.backends.cuda.matmul.allow_tf32 = False
        kind = _torch_kind(path)
        try:
            shape = self._load_script(path) if kind == "script" else self._load_program(path)
        # What is raised for damaged archives is not documented.
        except Exception as error:
            raise DetectorError(f"{path}: PyTorch cannot read this model: {_last_line(error)}") from error
        self.size, dynamic = _input_size(shape, size, path)
        try:
            self.output_shapes, self.batches = _tried(self.infer, self.size, dynamic)
        except Exception as error:
            raise DetectorError(f"{path}: PyTorch cannot run this model on an image of {_sides(self.size)}: {_last_line(error)}") from error

    def infer(self, tensor: np.ndarray) -> Sequence[np.ndarray]:
        torch = self._torch
        with torch.inference_mode():
            given = torch.from_numpy(tensor).to(self._device, self._type)
            return [part.float().cpu().numpy() for part in _tensors(torch, self._module(given))]

    def _load_script(self, path: Path) -> dict[str, list[int]]:
        self._module = self._torch.jit.load(str(path), map_location=self._device).eval()
        self._type = self._number_type(self._module.parameters())
        # An archive does not tell the shape of its input.
        return {"image": [-1, 3, -1, -1]}

    def _load_program(self, path: Path) -> dict[str, list[int]]:
        program = self._torch.export.load(str(path))
        if self._device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, self._device)
        self._module = program.module()
        self._type = self._number_type(program.parameters())
        given = set(program.graph_signature.user_inputs)
        nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in given]
        return {node.name: [side if isinstance(side, int) else -1 for side in node.meta["val"].shape] for node in nodes}

    def _number_type(self, parameters: Any) -> Any:
        types = [parameter.dtype for parameter in parameters if parameter.dtype.is_floating_point]
        return types[0] if types else self._torch.float32


#: Runtimes by the word before the colon of a specification.
RUNTIMES: dict[str, Callable[[Path, int, tuple[int, int] | None, str], Runtime]] = {
    "openvino": OpenVinoRuntime,
    "onnx": OnnxRuntime,
    "torch": TorchRuntime,
}


def _read_openvino(openvino: Any, path: Path) -> Any:
    """The network of a file. OpenVINO would try all its readers on a damaged one, and some of them write to the terminal."""
    if path.suffix == ".onnx":
        from openvino.frontend import FrontEndManager

        reader = FrontEndManager().load_by_framework("onnx")
        return reader.convert(reader.load(str(path)))
    if path.suffix != ".xml":
        raise DetectorError(f"{path}: found a file '{path.suffix}', expected .xml (OpenVINO IR) or .onnx")
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise DetectorError(f"{weights}: missing, expected the weights of {path.name} beside it")
    if ElementTree.parse(path).getroot().tag != "net":
        raise DetectorError(f"{path}: is no OpenVINO IR, expected <net> as its root")
    return openvino.Core().read_model(str(path))


def _input_size(shapes: dict[str, list[int]], wanted: tuple[int, int] | None, path: Path) -> tuple[tuple[int, int], bool]:
    """Width and height of the only input, and whether it takes any number of images (-1 in ``shapes``: not fixed)."""
    described = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
    shape = next(iter(shapes.values()), [])
    if len(shapes) != 1 or len(shape) != 4 or shape[0] not in (1, -1) or shape[1] not in (3, -1):
        raise DetectorError(f"{path}: the model's inputs are {described}, expected one image [1, 3, height, width]")
    height, width = shape[2:]
    if wanted is None and -1 in (height, width):
        raise DetectorError(f"{path}: the model does not tell the size of its input, expected it after the path: ?size=WIDTHxHEIGHT")
    if wanted is not None and (width not in (-1, wanted[0]) or height not in (-1, wanted[1])):
        raise DetectorError(f"{path}: the model's input is {_sides((width, height))}, but size={wanted[0]}x{wanted[1]} was asked for")
    return wanted or (width, height), shape[0] == -1


def _tried(
    infer: Callable[[np.ndarray], Sequence[np.ndarray]], size: tuple[int, int], dynamic: bool
) -> tuple[tuple[tuple[int, ...], ...], bool]:
    """Shapes of the outputs for one image, and whether two images give twice as much."""
    width, height = size
    shapes = tuple(tuple(part.shape) for part in infer(np.zeros((1, 3, height, width), dtype=np.float32)))
    if not dynamic:
        return shapes, False
    try:
        both = [tuple(part.shape) for part in infer(np.zeros((2, 3, height, width), dtype=np.float32))]
    # Networks that are fixed to one image inside fail in whatever way their runtime has.
    except Exception:
        return shapes, False
    return shapes, [shape[:1] for shape in both] == [(2,)] * len(shapes)


def _torch_device(torch: Any, device: str) -> Any:
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise DetectorError(f"device '{device}' is unknown to PyTorch, expected cpu, cuda or cuda:NUMBER") from error
    if chosen.type not in ("cpu", "cuda"):
        raise DetectorError(f"device '{device}' is not supported, expected cpu, cuda or cuda:NUMBER")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise DetectorError(f"device '{device}' is not there: PyTorch {torch.__version__} finds {torch.cuda.device_count()} CUDA devices")
    return chosen


def _torch_kind(path: Path) -> str:
    """ "script" or "program", by what is in the archive. Raises DetectorError for other files."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise DetectorError(f"{path}: PyTorch cannot read this model: it is no archive of torch.jit.save or torch.export.save") from error
    if any("/code/" in name for name in names):
        return "script"
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) or "/models/" in name for name in names):
        return "program"
    raise DetectorError(f"{path}: holds weights without a program, expected what torch.jit.save or torch.export.save has written")


def _tensors(torch: Any, output: Any) -> list[Any]:
    """All tensors of a network's output in order, however they are packed."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts for tensor in _tensors(torch, part)]


def _only_cpu(device: str, backend: str) -> None:
    if device != "cpu":
        raise DetectorError(f"backend '{backend}' runs on the cpu only, not on '{device}'; torch knows other devices")


def _length(side: Any) -> int:
    return side.get_length() if side.is_static else -1


def _sides(size: tuple[int, int]) -> str:
    return " x ".join("any" if side < 0 else str(side) for side in size)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
