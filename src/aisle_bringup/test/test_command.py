"""The dispatcher of ./aisle: what people meet first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from aisle_bringup import command
from aisle_bringup.commands import doctor, test

REPOSITORY = Path(__file__).resolve().parents[3]


def test_overview_lists_every_command_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, module in command.command_modules().items():
        assert any(line.split()[:1] == [name] and command.summary(module) in line for line in lines), name
        assert command.summary(module), f"{module}.py has no SUMMARY"


def test_the_documented_commands_are_there() -> None:
    assert {
        "demo",
        "test",
        "up",
        "graph",
        "import",
        "record",
        "replay",
        "score",
        "bench",
        "doctor",
        "shell",
    } <= command.command_modules().keys()


@pytest.mark.parametrize("name", command.command_modules())
def test_help_of_each_command_gives_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: aisle {name}")
    assert "example:\n  ./aisle" in said


@pytest.mark.parametrize("kind", ["nanostore", "recording"])
def test_help_of_each_import(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["import", kind, "--help"])
    assert f"./aisle import {kind}" in capsys.readouterr().out


def test_unknown_command_suggests_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["dcotor"]) == 2
    assert capsys.readouterr().err == "aisle: unknown command 'dcotor', did you mean doctor?\n"


def test_unknown_command_that_resembles_none_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["xyzzy"]) == 2
    assert "expected one of demo, " in capsys.readouterr().err


def test_user_errors_are_one_line_and_exit_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def complain(args: object) -> int:
        raise command.CommandError("shelf 3 is upside down")

    module = types.SimpleNamespace(SUMMARY="s", EXAMPLE="e", add_arguments=lambda parser: None, run=complain)
    monkeypatch.setattr(command, "load", lambda name: module)
    assert command.main(["graph"]) == 2
    assert capsys.readouterr().err == "aisle: shelf 3 is upside down\n"


def test_unknown_arguments_are_refused_unless_the_command_passes_them_on() -> None:
    module = types.SimpleNamespace(SUMMARY="s", EXAMPLE="e", add_arguments=lambda parser: None)
    parser = command.command_parser("x", module)
    with pytest.raises(SystemExit):
        command.parse(parser, module, ["--speed"])
    module.REST = "rest"
    assert command.parse(parser, module, ["-k", "a", "--speed"]).rest == ["-k", "a", "--speed"]


def test_a_missing_package_points_to_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> types.ModuleType:
        raise ModuleNotFoundError("No module named 'rich'", name="rich")

    monkeypatch.setattr(command.importlib, "import_module", absent)
    with pytest.raises(command.CommandError, match=r"'rich' is missing: see \./aisle doctor"):
        command.load("score")


def test_dispatcher_and_doctor_need_nothing_but_the_standard_library() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY / "src" / "aisle_bringup"), "AISLE_ROOT": str(REPOSITORY)}
    real = getattr(sys, "_base_executable", sys.executable)
    for arguments in (["--help"], ["doctor", "--json"]):
        result = subprocess.run(
            [real, "-S", "-m", "aisle_bringup.command", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode in (0, 1), result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("extras", [["nope"], ["torch,nope"], ["torch", "--with", "nope"]])
def test_unknown_extras_are_refused_before_anything_is_installed(extras: list[str], tmp_path: Path) -> None:
    script = tmp_path / "aisle"
    shutil.copy(REPOSITORY / "aisle", script)
    result = subprocess.run([script, "--with", *extras, "doctor"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == ("aisle: --with knows 'torch', 'bench' and 'parquet' only (several: --with bench,torch), got 'nope'\n")
    assert [file.name for file in tmp_path.iterdir()] == ["aisle"]


def test_doctor_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    parts = {finding["part"]: finding for finding in report["findings"]}
    assert {"underlay", "Python", "C++ compiler", "rclpy", "aisle_msgs", "/dev/shm", "torch", "rviz2"} <= parts.keys()
    assert report["complete"] == all(finding["state"] != "missing" for finding in report["findings"])


def test_doctor_names_what_mends_a_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    finding = doctor.compiler()
    assert (finding.state, finding.mend) == (doctor.MISSING, "sudo apt install g++")
    assert "Missing: C++ compiler." in doctor.table([finding])
    assert "-> sudo apt install g++" in doctor.table([finding])


def test_pins_of_this_python_only() -> None:
    text = '# comment\nnumpy==1.0; python_version < "3.2"\nnumpy==2.0; python_version >= "3.2"\nscipy\nmcap-ros2-support==0.6.0  # why\n'
    assert list(doctor.pins(text)) == [("numpy", "2.0"), ("scipy", ""), ("mcap-ros2-support", "0.6.0")]


def test_tests_have_a_domain_of_their_own() -> None:
    environment = test.environment()
    assert test.FIRST_DOMAIN <= int(environment["ROS_DOMAIN_ID"]) < 102
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
