"""The NanoStore's recording of January 2020, from its files to the receipt. The data are not part of the repository."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
RECORDING = SHARED / "data" / "nanostore" / "2020-01"
CALIBRATION = SHARED / "calibration" / "nanostore_2020-01.json"
STORE = ROOT / "config" / "stores" / "nanostore-2020-01"
DETECTORS = {
    "openvino": SHARED / "models" / "person-detection-retail-0013" / "person-detection-retail-0013.xml",
    "onnx": SHARED / "models" / "yolox_nano.onnx",
}
PATIENCE_S = 900.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RECORDING.is_dir(), reason=f"the recording is not here: {RECORDING}"),
]


def aisle(*arguments: str | Path) -> None:
    line = [sys.executable, "-m", "aisle_bringup.command", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording") / "bag"
    aisle("import", "recording", RECORDING, "--calibration", CALIBRATION, "--store", STORE, "--out", folder)
    return folder


@pytest.mark.parametrize("kind", sorted(DETECTORS))
def test_the_true_receipt(bag: Path, tmp_path: Path, kind: str) -> None:
    model = DETECTORS[kind]
    if not model.is_file():
        pytest.skip(f"the detector's model is not here: {model}")
    aisle("replay", bag, "--detector", f"{kind}:{model}", "--receipts", tmp_path)
    (receipt,) = [json.loads(file.read_text()) for file in tmp_path.glob("*.json")]
    assert {line["name"]: line["quantity"] for line in receipt["lines"]} == {"Taco Bell Fire": 1, "FIJI WATER .5 LTR": 1}
    assert receipt["total"] == "2.00"
