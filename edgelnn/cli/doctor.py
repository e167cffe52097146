"""``edgelnn doctor``: what this machine can do, and the command that mends each lack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from edgelnn.cli.findings import Finding, Verdict, judge_boards, judge_machine, try_runtime
from edgelnn.cli.options import Install, Json, On, RemoteFolder, RemotePython
from edgelnn.cli.output import Column, build_table, message, print_json, show
from edgelnn.cli.packages import PURPOSES, Standing, look_up

if TYPE_CHECKING:
    from edgelnn.cli.reach import Reach

__all__ = ["doctor"]

MARKS: dict[Verdict, str] = {"good": "✓", "note": "!", "lack": "✗", "unknown": "?"}
RUNTIMES = ("onnxruntime", "ai-edge-litert", "tflite-runtime")


def doctor(
    on: On = None,
    install: Install = False,
    remote_python: RemotePython = None,
    remote_folder: RemoteFolder = None,
    json: Json = False,
) -> None:
    """Show what this machine, or a board, can do, and the command that mends each lack."""
    from edgelnn.cli.reach import reach_of
    from edgelnn_profiling.machine import read_machine
    from edgelnn_profiling.state import read_state

    reach = reach_of(on, install, remote_python, remote_folder)
    if reach is not None:
        _examine(reach, json)
        return
    machine, state, standings = read_machine(), read_state(), look_up()
    findings = [*judge_machine(machine, state), *_runtimes(standings), judge_boards()]
    if json:
        print_json(
            {
                "machine": asdict(machine),
                "state": asdict(state),
                "findings": [asdict(finding) for finding in findings],
                "packages": [_record(standing) for standing in standings],
            }
        )
        return
    _show("this machine", findings)
    message()
    show(build_table((Column(""), Column("packages"), Column("", fold=True)), _packages(standings)))
    _prescribe(findings, standings)


def _examine(reach: Reach, json: bool) -> None:
    """Show what a board can do."""
    from edgelnn.cli.doctor_board import examine_board

    machine, state, findings = examine_board(reach)
    if json:
        print_json(
            {
                "machine": asdict(machine),
                "state": asdict(state),
                "findings": [asdict(finding) for finding in findings],
            }
        )
        return
    _show(reach.hosts[0], findings)
    _prescribe(findings, ())


def _show(name: str, findings: Sequence[Finding]) -> None:
    columns = (Column(""), Column(name), Column("", fold=True))
    show(build_table(columns, [(MARKS[each.verdict], each.topic, each.text) for each in findings]))


def _runtimes(standings: Sequence[Standing]) -> list[Finding]:
    """Return whether the runtimes that are installed can be imported here."""
    return [
        try_runtime(each.package.name, each.package.module, each.version)
        for each in standings
        if each.package.name in RUNTIMES and each.version is not None
    ]


def _packages(standings: Sequence[Standing]) -> list[tuple[str, str, str]]:
    """Return one row for each extra: whether it is complete, what it is for, what is there and what is not."""
    rows = []
    for extra, purpose in PURPOSES.items():
        members = [each for each in standings if each.package.extra == extra]
        there = ", ".join(f"{each.package.name} {each.version}" for each in members if each.well)
        lacking = ", ".join(_lack(each) for each in members if not each.well)
        name = f"edgelnn[{extra}]" if extra else "edgelnn"
        rows.append(("✗" if lacking else "✓", name, purpose))
        rows.extend(("", "", line) for line in (there, lacking) if line)
    return rows


def _lack(standing: Standing) -> str:
    package, version = standing.package, standing.version
    return f"{package.name} missing" if version is None else f"{package.name} {version}, older than {package.minimum}"


def _prescribe(findings: Sequence[Finding], standings: Sequence[Standing]) -> None:
    """End with every command that mends something, and what it is for."""
    steps = {each.mend: f"{each.topic}: {each.text}" for each in findings if each.mend}
    for each in standings:
        if each.mend:
            steps.setdefault(each.mend, f"to {PURPOSES[each.package.extra]}" if each.package.extra else _lack(each))
    message()
    if not steps:
        message("Nothing to mend.", color="green")
        return
    message("To mend or to add:")
    for step, reason in steps.items():
        message(f"  {step}", bold=True, whole=True)
        message(f"      {reason}")


def _record(standing: Standing) -> dict[str, object]:
    return {
        "name": standing.package.name,
        "extra": standing.package.extra,
        "version": standing.version,
        "minimum": standing.package.minimum,
        "mend": standing.mend,
    }
