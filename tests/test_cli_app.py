"""The command line as a whole: help, versions, mistakes, pipes, interruptions."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
import typer

import edgelnn
from edgelnn.cli import packages
from edgelnn.cli.app import app
from edgelnn.cli.errors import run_guarded
from edgelnn.cli.output import print_json, tidy
from edgelnn.errors import DataError
from tests.helpers import HEAVY, ROOT, assert_one_clear_line, modules_loaded_by, run_cli

COMMANDS = [command.name for command in app.registered_commands]


def test_version_is_the_one_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert run_cli("--version").out == f"edgelnn {project['version']}\n"
    assert edgelnn.__version__ == project["version"]


def test_without_arguments_the_help_names_every_command() -> None:
    bare, asked = run_cli(), run_cli("--help")
    assert bare.code == asked.code == 0
    assert bare.out == asked.out
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", asked.out), command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    outcome = run_cli(command, "--help")
    assert outcome.code == 0
    assert f"edgelnn {command}" in outcome.out
    assert not outcome.err


def test_help_loads_nothing_heavy() -> None:
    loaded = modules_loaded_by("from edgelnn.cli.app import main; main(['train', '--help'])")
    # typer itself reads options with pydantic in newer versions.
    assert loaded.isdisjoint({*HEAVY, "numpy", "onnxruntime", "ai_edge_litert", "PIL"} - {"pydantic"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tran"], "did you mean 'train'"),
        (["--vers"], "--version"),
        (["doctor", "--jsn"], "--json"),
        (["doctor", "extra"], "unexpected"),
    ],
)
def test_a_mistyped_command_line_gets_one_line_and_code_2(arguments: list[str], words: str) -> None:
    outcome = run_cli(*arguments)
    assert_one_clear_line(outcome, words, "--help", code=[2])


def test_expected_errors_are_one_line_even_with_hostile_text(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise DataError("the file\n\x1b[31mevil\x1b[0m cannot be read")

    assert run_guarded(fail) == 1
    assert capsys.readouterr().err == "error: the file \\x1b[31mevil\\x1b[0m cannot be read\n"


def test_unexpected_errors_say_how_to_see_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise KeyError("surprise")

    assert run_guarded(fail) == 1
    quiet = capsys.readouterr().err
    assert quiet.startswith("error: KeyError: 'surprise'\n")
    assert "EDGELNN_DEBUG=1" in quiet
    assert "Traceback" not in quiet
    monkeypatch.setenv("EDGELNN_DEBUG", "1")
    assert run_guarded(fail) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_systems_errors_name_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_guarded(lambda: open("/nowhere/at/all")) == 1
    assert capsys.readouterr().err == "error: /nowhere/at/all: No such file or directory.\n"


def test_a_missing_package_is_told_with_the_command_that_installs_it(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    assert run_guarded(fail) == 1
    assert 'needs torch: pip install "edgelnn[train]"' in capsys.readouterr().err


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, typer.Abort])
def test_an_interruption_is_one_line_and_code_130(
    interruption: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise interruption

    assert run_guarded(stop) == 130
    assert capsys.readouterr().err == "error: interrupted.\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m edgelnn doctor --json | head -c 1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in ("{0", "{141", "0", "141")


def test_json_never_holds_what_json_has_no_word_for(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], 3: None})
    assert capsys.readouterr().out.split() == '{ "a": null, "b": [ null, 1.5 ], "3": null }'.split()


def test_tidy_keeps_ordinary_text() -> None:
    assert tidy("malignant 0.93 ± 0.02 µs") == "malignant 0.93 ± 0.02 µs"


def test_the_packages_that_doctor_looks_for_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {"": project["dependencies"], **project["optional-dependencies"]}
    written = set()
    for extra in packages.PURPOSES:
        for requirement in wanted[extra]:
            name, minimum = re.match(r"([\w-]+)(?:\[.*\])?(?:.*?>=([\d.]+))?", requirement).groups()  # type: ignore[union-attr]
            if name != "edgelnn" and not (extra == "train" and name == "pillow"):
                written.add((name, minimum, extra))
    assert written == {(package.name, package.minimum, package.extra) for package in packages.PACKAGES}


def test_doctor_as_data_lists_every_package() -> None:
    listed = {each["name"]: each for each in run_cli("doctor", "--json").json["packages"]}
    assert listed["numpy"]["version"]
    assert listed["torch"]["mend"] == ""


def test_doctor_names_the_command_that_mends(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "onnxruntime":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "torch" else "99.0"

    monkeypatch.setattr(metadata, "version", version)
    outcome = run_cli("doctor")
    assert 'pip install "edgelnn[onnx]"' in outcome.err
    assert 'pip install "edgelnn[train]"' in outcome.err
    assert outcome.code == 0
