"""``./aisle doctor``: what is installed, which underlay is used, what is missing and how to mend it.

Builds nothing and runs on the standard library alone: it must also work where nothing else does.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from aisle_bringup.command import repository_root

SUMMARY = "Show what is installed, which underlay is used, what is missing and how to mend it"
EXAMPLE = "./aisle doctor --json"

OK, OPTIONAL, PENDING, MISSING = "ok", "optional", "pending", "missing"
SIGNS = {OK: "ok", OPTIONAL: "--", PENDING: "..", MISSING: "!!"}

PYTHON_OF_WHEELS = ((3, 10), (3, 13))
#: Every process maps 64 MiB (config/fastdds.xml); the whole graph has about eight.
SHARED_MEMORY_MB = 512
DISK_MB = 2500
FIRST_RUN = "any command sets it up, for example ./aisle demo"


@dataclass(frozen=True)
class Finding:
    """One line of the table. ``state``: ok, optional (absent, not needed), pending (the first run makes it) or missing."""

    part: str
    state: str
    found: str
    mend: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    found = list(findings())
    missing = [finding for finding in found if finding.state == MISSING]
    if args.json:
        print(json.dumps({"complete": not missing, "findings": [asdict(finding) for finding in found]}, indent=2))
    else:
        print(table(found))
    return 1 if missing else 0


def findings() -> Iterator[Finding]:
    """All lines, from the machine up to the optional extras."""
    wheels = os.environ.get("AISLE_UNDERLAY", "wheels") == "wheels"
    yield underlay(wheels)
    yield processor(wheels)
    yield python(wheels)
    yield python_headers()
    yield compiler()
    yield disk()
    yield shared_memory()
    yield importable("rclpy", _rclpy)
    yield importable("aisle_msgs", _aisle_msgs)
    yield python_packages(wheels)
    yield Finding("ROS domain", OK, _domain())
    yield from optional_parts(wheels)


def underlay(wheels: bool) -> Finding:
    prefix = repository_root() / (".venv" if wheels else ".venv-ros")
    distro = os.environ.get("ROS_DISTRO", "")
    name = "ROS 2 wheels" if wheels else f"sourced ROS 2 {distro}"
    if not (prefix / ".aisle-stamp").is_file():
        return Finding("underlay", PENDING, f"{name}, {prefix} not made yet", FIRST_RUN)
    return Finding("underlay", OK, f"{name} in {prefix}{f' ({distro})' if wheels and distro else ''}")


def processor(wheels: bool) -> Finding:
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    if wheels and platform.machine() != "x86_64":
        return Finding("processor", MISSING, machine, "the wheels exist for x86_64 only: source a ROS 2 installation")
    return Finding("processor", OK, machine)


def python(wheels: bool) -> Finding:
    found = f"{platform.python_version()} ({sys.executable})"
    low, high = PYTHON_OF_WHEELS
    version = sys.version_info[:2]
    if version < low or (wheels and version > high):
        return Finding("Python", MISSING, found, "install Python 3.10 to 3.13, for example Debian's python3.11 and python3.11-venv")
    if importlib.util.find_spec("ensurepip") is None and sys.prefix == sys.base_prefix:
        return Finding("Python", MISSING, f"{found} without ensurepip", f"sudo apt install python{version[0]}.{version[1]}-venv")
    return Finding("Python", OK, found)


def python_headers() -> Finding:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if header.is_file():
        return Finding("Python headers", OK, str(header.parent))
    major, minor = sys.version_info[:2]
    return Finding("Python headers", MISSING, f"no {header}", f"sudo apt install python{major}.{minor}-dev")


def compiler() -> Finding:
    for name in (os.environ.get("CXX", "c++"), "g++", "clang++"):
        if path := shutil.which(name):
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.splitlines()
            return Finding("C++ compiler", OK, f"{said[0] if said else path} ({path})")
    return Finding("C++ compiler", MISSING, "none (c++, g++, clang++)", "sudo apt install g++")


def disk() -> Finding:
    free_mb = shutil.disk_usage(repository_root()).free // 2**20
    if free_mb < DISK_MB:
        return Finding("disk", MISSING, f"{free_mb} MB free, {DISK_MB} MB needed", "free some space")
    return Finding("disk", OK, f"{free_mb} MB free")


def shared_memory() -> Finding:
    """Too little costs only large images: ./aisle then makes the segments smaller, and what does not fit goes by UDP."""
    folder = Path("/dev/shm")
    free_mb = shutil.disk_usage(folder).free // 2**20 if folder.is_dir() else 0
    if free_mb < SHARED_MEMORY_MB:
        mend = "only images need more; for a container: docker run --shm-size 1g"
        return Finding("/dev/shm", OPTIONAL, f"{free_mb} MB free, {SHARED_MEMORY_MB} MB are better", mend)
    return Finding("/dev/shm", OK, f"{free_mb} MB free")


def importable(part: str, describe: Callable[[], str]) -> Finding:
    """Tries a package for real: half-made environments have files that do not import."""
    if importlib.util.find_spec(part) is None:
        return Finding(part, PENDING, "not there yet", FIRST_RUN)
    try:
        return Finding(part, OK, describe())
    except Exception as error:  # Whatever a broken native module raises belongs into the table.
        return Finding(part, MISSING, f"does not import: {error}", "remove .venv, .venv-ros, build and install, and run ./aisle demo")


def _rclpy() -> str:
    import rclpy

    try:
        version = importlib.metadata.version("rclpy")
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    return f"{version} on {rclpy.get_rmw_implementation_identifier()}"


def _aisle_msgs() -> str:
    import aisle_msgs.msg

    names = [name for name in dir(aisle_msgs.msg) if name[0].isupper()]
    return f"{len(names)} message types"


def python_packages(wheels: bool) -> Finding:
    """Compares installed packages with the requirement files' pins (lines whose marker does not apply to this Python left out)."""
    file = repository_root() / ("requirements.txt" if wheels else "requirements-ros.txt")
    wrong = []
    count = 0
    for name, version in pins(file.read_text()):
        count += 1
        installed = _installed(name)
        if installed is None or (version and installed != version):
            wrong.append(f"{name} {installed or 'absent'}{f' instead of {version}' if version else ''}")
    if not wrong:
        return Finding("Python packages", OK, f"{count} as in {file.name}")
    state = MISSING if (repository_root() / ".aisle").is_dir() and len(wrong) < count else PENDING
    return Finding("Python packages", state, "; ".join(wrong[:4]) + (" …" if len(wrong) > 4 else ""), FIRST_RUN)


def pins(text: str) -> Iterator[tuple[str, str]]:
    """Names and pinned versions ("" without a pin) of a requirement file's lines that apply to the running Python."""
    for line in text.splitlines():
        requirement, _, marker = line.partition("#")[0].partition(";")
        match = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:==\s*([^\s,]+))?", requirement)
        if match and _applies(marker):
            yield match.group(1), match.group(2) or ""


def _applies(marker: str) -> bool:
    match = re.fullmatch(r'\s*python_version\s*(<|>=)\s*"3\.(\d+)"\s*', marker)
    if not match:
        return True
    below = sys.version_info[1] < int(match.group(2))
    return below if match.group(1) == "<" else not below


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def optional_parts(wheels: bool) -> Iterator[Finding]:
    ros_only = "comes with a ROS 2 installation" if wheels else "sudo apt install ros-$ROS_DISTRO-{}"
    for module, purpose, mend in (
        ("openvino", "person detector on Intel processors", FIRST_RUN),
        ("onnxruntime", "person detector from ONNX models", FIRST_RUN),
        ("torch", "person detector from PyTorch models", "./aisle --with torch"),
        ("pyarrow", "bag export as Parquet; CSV needs nothing", "./aisle --with parquet"),
        ("cv_bridge", "rare image encodings; common ones need nothing", ros_only.format("cv-bridge")),
        ("launch_ros", "ros2 launch; ./aisle up needs nothing", ros_only.format("launch-ros")),
    ):
        if importlib.util.find_spec(module) is None:
            yield Finding(module, OPTIONAL, f"absent ({purpose})", mend)
        else:
            yield Finding(module, OK, _installed(module) or "there")
    rviz = shutil.which("rviz2")
    yield Finding("rviz2", OK, rviz) if rviz else Finding("rviz2", OPTIONAL, "absent (3-D view)", ros_only.format("rviz2"))


def _domain() -> str:
    reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    profile = os.environ.get("FASTDDS_DEFAULT_PROFILES_FILE") or os.environ.get("FASTRTPS_DEFAULT_PROFILES_FILE") or "none"
    return f"{os.environ.get('ROS_DOMAIN_ID', '0')}, discovery {reach}, Fast DDS profile {profile}"


def table(found: list[Finding]) -> str:
    """Plain text: part, state, what was found, and below it what mends it."""
    width = max(len(finding.part) for finding in found)
    lines = []
    for finding in found:
        lines.append(f"{SIGNS[finding.state]}  {finding.part:{width}}  {finding.found}")
        if finding.mend and finding.state != OK:
            lines.append(f"    {'':{width}}  -> {finding.mend}")
    missing = [finding.part for finding in found if finding.state == MISSING]
    lines += ["", f"Missing: {', '.join(missing)}." if missing else "Nothing that aisle needs is missing."]
    return "\n".join(lines)
