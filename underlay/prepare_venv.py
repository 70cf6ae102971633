"""Makes a virtual environment with ROS 2 wheels an underlay that colcon can build on, as on /opt/ros/<distro>.

Run by the environment's own Python. The wheels' exported CMake files carry two paths of the machine that built them (Python's and
NumPy's headers): they are replaced by this environment's. The setup files that a ROS installation has are written once.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy

#: What ROS wheels of the Python index are built from (rclpy 9.1: Kilted Kaiju).
DISTRO = "kilted"

BAKED_NUMPY = re.compile(r"/opt/python/cp\d+-cp\d+/lib/python3\.\d+/site-packages/numpy/(?:_core|core)/include")
BAKED_PYTHON = re.compile(r"/opt/python/cp\d+-cp\d+/include/python3\.\d+")


def replace_baked_paths(prefix: Path) -> int:
    """Replaces the build machine's paths below ``prefix``/share; gives the number of files changed."""
    changed = 0
    for file in sorted((prefix / "share").rglob("*.cmake")):
        text = file.read_text()
        mended = BAKED_NUMPY.sub(numpy.get_include(), text)
        mended = BAKED_PYTHON.sub(sysconfig.get_path("include"), mended)
        if mended != text:
            file.write_text(mended)
            changed += 1
    return changed


def write_setup_files(prefix: Path) -> None:
    """Writes ``setup.*`` and ``local_setup.*``, which prepend this prefix once, however often they are sourced."""
    site_packages = Path(sysconfig.get_path("purelib"))
    libraries = [prefix / "lib", *sorted(site_packages.glob("ros_*.libs"))]
    lines = [
        "# Written by underlay/prepare_venv.py.",
        *(_prepend(name, [prefix]) for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH")),
        _prepend("LD_LIBRARY_PATH", libraries),
        _prepend("PATH", [prefix / "bin"]),
        "# Without this the wheels start every Python process twice to set LD_LIBRARY_PATH.",
        "export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1",
        f"export ROS_DISTRO={DISTRO} ROS_VERSION=2 ROS_PYTHON_VERSION=3",
    ]
    for stem in ("setup", "local_setup"):
        for shell in ("bash", "sh", "zsh"):
            (prefix / f"{stem}.{shell}").write_text("\n".join(lines) + "\n")


def _prepend(name: str, paths: list[Path]) -> str:
    joined = ":".join(str(path) for path in paths)
    return f'case ":${{{name}:-}}:" in *":{joined}:"*) ;; *) export {name}="{joined}${{{name}:+:${name}}}" ;; esac'


def main() -> int:
    prefix = Path(sys.prefix)
    if prefix == Path(sys.base_prefix):
        print(f"prepare_venv.py: {sys.executable} belongs to no virtual environment", file=sys.stderr)
        return 1
    changed = replace_baked_paths(prefix)
    write_setup_files(prefix)
    print(f"underlay {prefix}: {changed} CMake files mended, setup files written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
