"""./aisle on machines that lack something, and on ones where nothing changed: real script, stand-ins for what it calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

#: What ./aisle may use of a Debian base system, besides Python and compilers.
BASE_TOOLS = (
    *("awk", "basename", "bash", "cat", "chmod", "comm", "cp", "cut", "date", "df", "dirname", "env", "flock", "grep", "ls", "mkdir"),
    *("mv", "readlink", "rm", "sed", "sha256sum", "sleep", "sort", "tail", "touch", "tr", "wc"),
)

#: Answers the script's question about a Python, makes a "virtual environment" of itself, and notes every other call.
FAKE_PYTHON = """#!/bin/bash
if [[ $1 == - ]]; then cat >/dev/null; echo "{description}"; exit; fi
if [[ $1 == -m && $2 == venv ]]; then mkdir -p "${{@: -1}}/bin"; cp "$0" "${{@: -1}}/bin/python"; exit; fi
echo "$*" >>"$AISLE_ROOT/calls"
if [[ $* == *"colcon build"* ]]; then mkdir -p build install; touch install/setup.bash; fi
if [[ $* == *prepare_venv.py ]]; then touch "$AISLE_ROOT/.venv/setup.bash"; fi
{extra}
"""

GOOD = "3.11 x86_64 glibc yes yes"


class Machine:
    """A copy of the script in a small workspace, and a PATH with chosen tools."""

    def __init__(self, folder: Path, name: str = "checkout") -> None:
        self.root = folder / name
        self.tools = folder / "bin"
        self.tools.mkdir()
        for name in BASE_TOOLS:
            (self.tools / name).symlink_to(shutil.which(name))
        for file in (
            "aisle",
            "requirements.txt",
            "requirements-ros.txt",
            "requirements-torch.txt",
            "requirements-bench.txt",
            "requirements-parquet.txt",
            "constraints.txt",
            "config/fastdds.xml",
        ):
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / file, self.root / file)
        shutil.copytree(REPOSITORY / "underlay", self.root / "underlay")
        package = self.root / "src" / "aisle_contract"
        (package / "aisle_contract").mkdir(parents=True)
        shutil.copy(REPOSITORY / "src/aisle_contract/package.xml", package)
        shutil.copy(REPOSITORY / "src/aisle_contract/setup.py", package)
        self.tool("uname", 'if [[ $1 == -m ]]; then echo x86_64; else echo "Linux"; fi')
        for compiler in ("cc", "c++"):
            self.tool(compiler, "true")

    def tool(self, name: str, script: str) -> None:
        (self.tools / name).unlink(missing_ok=True)
        (self.tools / name).write_text(f"#!/bin/bash\n{script}\n")
        (self.tools / name).chmod(0o755)

    def python(self, description: str = GOOD, name: str = "python3", extra: str = "") -> None:
        (self.tools / name).write_text(FAKE_PYTHON.format(description=description, extra=extra))
        (self.tools / name).chmod(0o755)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "aisle", *arguments],
            env={"PATH": str(self.tools), "HOME": str(self.root), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def calls(self) -> list[str]:
        """What was asked of Python since the last look."""
        file = self.root / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """One clear line at the end, and failure."""
    assert result.returncode == 1, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("aisle: "), result.stderr
    for word in words:
        assert word in last


def test_first_run_sets_up_and_later_ones_do_nothing(machine: Machine) -> None:
    machine.python()
    first = machine.run("graph", "--store", "x y")
    assert first.returncode == 0, first.stderr
    assert "[3/3] Building 3 packages" in first.stderr
    calls = machine.calls()
    assert calls[-1] == "-m aisle_bringup.command graph --store x y"
    build = next(call for call in calls if "colcon build" in call)
    assert build.endswith("--packages-select aisle_contract rosbag2_interfaces tf2_msgs")

    began = time.monotonic()
    second = machine.run("graph")
    assert time.monotonic() - began < 2.0
    assert second.stderr == ""
    assert machine.calls() == ["-m aisle_bringup.command graph"]


def test_only_what_changed_is_built(machine: Machine) -> None:
    machine.python()
    machine.run("graph")
    machine.calls()
    module = machine.root / "src/aisle_contract/aisle_contract/logic.py"
    module.write_text("x = 1\n")
    machine.run("graph")
    assert len(machine.calls()) == 1
    module.with_name("clock_node.py").write_text("def main(): ...\n")
    machine.run("graph")
    assert next(call for call in machine.calls() if "colcon" in call).endswith("--packages-select aisle_contract")


def test_changed_requirements_are_installed_into_the_same_environment(machine: Machine) -> None:
    machine.python()
    machine.run("graph")
    machine.calls()
    with (machine.root / "requirements.txt").open("a") as file:
        file.write("# changed\n")
    result = machine.run("graph")
    assert "[1/2]" in result.stderr or "[1/1]" in result.stderr
    calls = machine.calls()
    assert any("uv pip install" in call for call in calls)
    assert not any("colcon" in call for call in calls)


def test_pip_takes_over_where_uv_fails(machine: Machine) -> None:
    machine.python(extra="[[ $* != *'-m uv'* ]]")
    assert machine.run("graph").returncode == 0
    assert any(call.startswith("-m pip install") and "requirements.txt" in call for call in machine.calls())


def test_interrupted_set_up_starts_over(machine: Machine) -> None:
    machine.python(extra="[[ $* != *'pip install'*requirements* ]]")
    refused(machine.run("graph"), "Installing", "setup.log")
    machine.python()
    result = machine.run("graph")
    assert result.returncode == 0, result.stderr
    assert "[1/3] Virtual environment" in result.stderr


def test_failed_build_is_built_again(machine: Machine) -> None:
    machine.python(extra="[[ $* != *'colcon build'* ]]")
    refused(machine.run("graph"), "Building", "exit code 1")
    machine.python()
    shutil.copy(machine.tools / "python3", machine.root / ".venv/bin/python")
    result = machine.run("graph")
    assert result.returncode == 0, result.stderr
    assert "[1/1] Building 3 packages" in result.stderr


def test_no_compiler(machine: Machine) -> None:
    machine.python()
    (machine.tools / "c++").unlink()
    refused(machine.run("graph"), "C++ compiler", "Debian package g++")


def test_no_python(machine: Machine) -> None:
    refused(machine.run("graph"), "Python 3.10 to 3.13", "found none")


@pytest.mark.parametrize("version", ["3.9", "3.14"])
def test_wrong_python(machine: Machine, version: str) -> None:
    machine.python(f"{version} x86_64 glibc yes yes")
    refused(machine.run("graph"), "Python 3.10 to 3.13 is needed", f"found {version}", str(machine.tools / "python3"))


def test_a_suitable_python_beside_a_wrong_one(machine: Machine) -> None:
    machine.python("3.9 x86_64 glibc yes yes")
    machine.python("3.12 x86_64 glibc yes yes", name="python3.12")
    result = machine.run("graph")
    assert result.returncode == 0, result.stderr
    assert "bin/python3.12" in result.stderr


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("3.11 x86_64 glibc no yes", ("no C headers", "python3.11-dev")),
        ("3.11 x86_64 glibc yes no", ("ensurepip", "python3.11-venv")),
        ("3.11 aarch64 glibc yes yes", ("x86_64", "aarch64")),
        ("3.11 x86_64 other-libc yes yes", ("glibc",)),
    ],
)
def test_what_else_may_be_missing(machine: Machine, description: str, words: tuple[str, ...]) -> None:
    machine.python(description)
    refused(machine.run("graph"), *words)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("Temporary failure in name resolution", "no network"),
        ("error sending request for url", "no network"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
    ],
)
def test_failed_installation_says_why(machine: Machine, said: str, cause: str) -> None:
    machine.python(extra=f"if [[ $* == *'pip install'*requirements* ]]; then echo '{said}'; exit 1; fi")
    refused(machine.run("graph"), cause, "setup.log")


def test_little_disk_space(machine: Machine) -> None:
    machine.python()
    machine.tool("df", "echo header; echo disk 9999 9000 999 90% /")
    refused(machine.run("graph"), "999 MB", "2500 MB")


def test_other_system(machine: Machine) -> None:
    machine.python()
    machine.tool("uname", "echo Darwin")
    refused(machine.run("graph"), "Linux only", "Darwin")


def test_space_in_the_path(tmp_path: Path) -> None:
    refused(Machine(tmp_path, "check out").run("graph"), "space in its path", "check out")


def test_help_and_doctor_set_nothing_up(machine: Machine) -> None:
    machine.python()
    for arguments in ([], ["--help"], ["doctor"]):
        assert machine.run(*arguments).returncode == 0
    assert not (machine.root / ".venv").exists()


def test_unknown_extra(machine: Machine) -> None:
    machine.python()
    refused(machine.run("--with", "tensorflow"), "'torch'", "'bench'", "'parquet'", "'tensorflow'")


@pytest.mark.parametrize("extra", ["torch", "parquet"])
def test_an_extra_is_installed_once_asked_for(machine: Machine, extra: str) -> None:
    machine.python()
    machine.run("graph")
    machine.calls()
    assert machine.run("--with", extra).returncode == 0
    assert any(f"requirements-{extra}.txt" in call for call in machine.calls())
    assert machine.run("graph").stderr == ""


@pytest.mark.parametrize("arguments", [("--with", "bench"), ("bench", "track", "--json", "figures.json")])
def test_trackers_of_others_are_installed_once_asked_for(machine: Machine, arguments: tuple[str, ...]) -> None:
    machine.python()
    machine.run("bench")
    assert machine.run("bench", "track", "--help").returncode == 0
    assert not any("requirements-bench.txt" in call for call in machine.calls())
    assert machine.run(*arguments).returncode == 0
    installation = next(call for call in machine.calls() if "requirements-bench.txt" in call)
    assert "--no-deps" in installation
    assert machine.run("graph").stderr == ""


def test_sourced_ros_is_used(machine: Machine) -> None:
    machine.python("3.12 x86_64 glibc yes yes")
    result = machine.run("graph", ROS_DISTRO="jazzy", AMENT_PREFIX_PATH="/opt/ros/jazzy")
    assert result.returncode == 0, result.stderr
    calls = machine.calls()
    assert any("requirements-ros.txt" in call for call in calls)
    assert not any("uv" in call.split() or "underlay" in call for call in calls)
    assert (machine.root / ".venv-ros").is_dir()
    assert not (machine.root / ".venv").exists()


def test_sourced_ros_without_rclpy_is_named(machine: Machine) -> None:
    machine.python(extra="[[ $* != *'import rclpy'* ]]")
    result = machine.run("graph", ROS_DISTRO="jazzy")
    assert result.returncode == 0, result.stderr
    assert "ROS_DISTRO is jazzy" in result.stderr
    assert "cannot import rclpy" in result.stderr
    assert (machine.root / ".venv").is_dir()


def test_two_at_once_set_up_once(machine: Machine) -> None:
    machine.python(extra="[[ $* != *'pip install'* ]] || /bin/sleep 0.5")
    environment = {"PATH": str(machine.tools), "HOME": str(machine.root)}
    runs = [
        subprocess.Popen([machine.root / "aisle", "graph"], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    said = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum("colcon build" in call for call in machine.calls()) == 1
    assert sum("another ./aisle is setting up" in text for text in said) == 1


def test_environment_of_the_graph(machine: Machine) -> None:
    machine.python(extra="echo $RMW_IMPLEMENTATION ${FASTDDS_DEFAULT_PROFILES_FILE##*/} ${PYTHONPATH:-none}")
    result = machine.run("graph", PYTHONPATH="/elsewhere")
    assert result.stdout == "rmw_fastrtps_cpp fastdds.xml none\n" or "fastdds-small.xml" in result.stdout
    own = machine.run("graph", FASTDDS_DEFAULT_PROFILES_FILE="/mine.xml")
    assert "mine.xml" in own.stdout


def test_little_shared_memory_gets_small_segments(machine: Machine) -> None:
    machine.python(extra="echo $FASTDDS_DEFAULT_PROFILES_FILE")
    machine.tool("df", 'free=90000; [[ ${@: -1} != /dev/shm ]] || free=64; echo header; echo "tmpfs 1 1 $free 1% /"')
    result = machine.run("graph")
    profile = Path(result.stdout.strip())
    assert "<segment_size>4194304<" in profile.read_text()


def test_script_is_executable() -> None:
    assert os.access(REPOSITORY / "aisle", os.X_OK)
