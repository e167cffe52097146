"""What the README and the pages beside it promise exists: commands, folders, files, the two first lines."""

from __future__ import annotations

import re

import pytest

from edgelnn.cli.app import app
from tests.helpers import ROOT, run_cli

README = (ROOT / "README.md").read_text("utf-8")
PAGES = {page: page.read_text("utf-8") for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
EVERYTHING = "\n".join(PAGES.values())
COMMANDS = {command.name for command in app.registered_commands}


def test_it_opens_with_two_commands_for_a_fresh_machine() -> None:
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv .venv && ")]
    assert len(lines) == 2, "the continuous integration runs these two lines as they stand"
    assert lines[0].endswith(".venv/bin/edgelnn demo")
    assert lines[1].endswith(".venv/bin/python -m pytest")
    assert README.index(lines[0]) < 1000


def test_every_command_it_names_exists_and_every_command_is_named() -> None:
    pattern = re.compile(r"(?:`|^|bin/)edgelnn ([a-z]+)", re.MULTILINE)
    assert set(pattern.findall(EVERYTHING)) <= COMMANDS
    named = set(pattern.findall(README))
    assert COMMANDS <= named


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"(?:^|`)edgelnn ([a-z]+ [^`\n#]*--[^`\n#]*)", EVERYTHING, re.MULTILINE)))
)
def test_every_option_it_shows_exists(line: str) -> None:
    command, *words = line.split()
    help_text = run_cli(command, "--help").out
    for word in words:
        if word.startswith("--"):
            assert word in help_text, line


def test_every_folder_and_file_it_points_to_exists() -> None:
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([A-Za-z./]+)\)", text):
            assert (page.parent / target).exists(), (page, target)
        for script in re.findall(r"`((?:benchmarks|tests|examples)/[a-z0-9_/]+\.py)", text):
            assert (ROOT / script).is_file(), (page, script)
    for folder in ("edgelnn", "export/edgelnn_export", "profiling/edgelnn_profiling", "examples", "benchmarks", "docs"):
        assert f"{folder}/" in README
        assert (ROOT / folder).is_dir()


def test_it_names_the_formats_versions_that_the_code_writes() -> None:
    from edgelnn.bundle import FORMAT_VERSION as BUNDLE
    from edgelnn.run import FORMAT_VERSION as RUN
    from edgelnn_profiling.report import FORMAT_VERSION as REPORT

    formats = PAGES[ROOT / "docs" / "formats.md"]
    assert f"A run folder (`format_version` {RUN})" in formats
    assert f"A bundle (`format_version` {BUNDLE})" in formats
    assert f"A report (`format_version` {REPORT})" in formats
