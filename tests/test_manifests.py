"""package.xml files say what the code imports, so that rosdep and colcon work in a ROS installation; imports run one way."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = sorted(folder.parent.name for folder in REPOSITORY.glob("src/*/setup.py"))

#: rosdep keys of modules whose key is not the module's name.
KEYS = {
    "cv2": "python3-opencv",
    "matplotlib": "python3-matplotlib",
    "numpy": "python3-numpy",
    "pytest": "python3-pytest",
    "rich": "python3-rich",
    "scipy": "python3-scipy",
    "serial": "python3-serial",
    "yaml": "python3-yaml",
}
#: No Debian package or one that is too old: requirements-ros.txt, or that of an extra.
ONLY_FROM_PIP = {"filterpy", "lz4", "mcap", "mcap_ros2", "onnxruntime", "openvino", "pyarrow", "pydantic", "rosbags", "torch", "zstandard"}
#: What the core packages may import of ours; a domain package knows no other domain package.
CORE = {"aisle_contract", "aisle_store", "aisle_kernels", "aisle_msgs"}
DOMAINS = {"aisle_drivers", "aisle_perception", "aisle_fusion", "aisle_checkout", "aisle_sim"}


def imports(file: Path) -> set[str]:
    """Top-level names of what a module imports, also inside functions."""
    found: set[str] = set()
    for statement in ast.walk(ast.parse(file.read_text())):
        if isinstance(statement, ast.Import):
            found.update(alias.name.split(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            found.add(statement.module.split(".")[0])
    return found - set(sys.stdlib_module_names)


def modules(package: str) -> list[Path]:
    return sorted((REPOSITORY / "src" / package / package).rglob("*.py"))


def imports_of_package(package: str) -> set[str]:
    return set().union(*map(imports, modules(package))) - {package}


def declared(package: str) -> set[str]:
    manifest = ElementTree.parse(REPOSITORY / "src" / package / "package.xml").getroot()
    return {element.text or "" for tag in ("depend", "exec_depend") for element in manifest.iter(tag)}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_is_declared(package: str) -> None:
    needed = {KEYS.get(name, name) for name in imports_of_package(package) - ONLY_FROM_PIP}
    assert needed - declared(package) == set()


@pytest.mark.parametrize("package", sorted(DOMAINS | {"aisle_contract", "aisle_store"}))
def test_imports_run_one_way(package: str) -> None:
    allowed = {"aisle_contract": {"aisle_msgs"}, "aisle_store": {"aisle_contract", "aisle_kernels"}}.get(package, CORE)
    ours = {name for name in imports_of_package(package) if name.startswith("aisle_")}
    assert ours - allowed == set()


@pytest.mark.parametrize("package", sorted(DOMAINS))
def test_cores_know_no_ros(package: str) -> None:
    """Only nodes, and the conversions to messages for them, do: cores take and give records."""
    cores = [file for file in modules(package) if not file.stem.endswith(("_node", "conversions"))]
    with_ros = {file.name for file in cores if any(name == "rclpy" or name.endswith("_msgs") for name in imports(file))}
    assert with_ros == set()


def test_all_packages_are_set_up_alike() -> None:
    assert len({(REPOSITORY / "src" / package / "setup.py").read_text() for package in PACKAGES}) == 1


def test_pip_only_packages_are_in_the_requirements_of_a_ros_installation() -> None:
    files = ("requirements-ros.txt", "requirements-torch.txt", "requirements-parquet.txt")
    named = "".join((REPOSITORY / name).read_text() for name in files).lower().replace("-", "_")
    used = set().union(*map(imports_of_package, PACKAGES)) & ONLY_FROM_PIP
    assert {name for name in used if name not in named} == set()
