"""``edgelnn doctor --on``: what a board can do, and the command that mends each lack."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgelnn.cli.findings import Finding, judge_import, judge_machine
from edgelnn.cli.formatting import format_bytes
from edgelnn.cli.reach import machine_of, opened

if TYPE_CHECKING:
    from edgelnn.cli.reach import Reach
    from edgelnn.manifest import ModelFormat
    from edgelnn_profiling.machine import Machine
    from edgelnn_profiling.remote import Board
    from edgelnn_profiling.state import State

__all__ = ["examine_board"]

MODULES = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
FORMATS: tuple[ModelFormat, ...] = ("onnx", "tflite")
ROOM_BYTES = 300_000_000  # What both runtimes take, with some to spare.


def examine_board(reach: Reach) -> tuple[Machine, State, list[Finding]]:
    """Return a board, how it is now, and what is to be known of it; with ``--install``, after installing runtimes."""
    from edgelnn_profiling.remote.installing import install_runtimes

    (host,) = reach.hosts
    with opened(host, reach) as board:
        can_be_had = [one for one in FORMATS if _never(board, one) is None]
        lacking = board.facts.lacking(can_be_had)
        if reach.install and can_be_had and lacking and board.facts.site_for(can_be_had) is None:
            site = install_runtimes(board.session, board.facts, can_be_had, board.say)
            board = board.with_site(site)
        machine, state = machine_of(board)
        findings = [*judge_machine(machine, state), *_room(board), *_runtimes(board)]
    return machine, state, findings


def _never(board: Board, model_format: ModelFormat) -> str | None:
    from edgelnn_profiling.remote.facts import why_never

    return why_never(board.facts, model_format)


def _room(board: Board) -> Iterator[Finding]:
    facts = board.facts
    text = f"{format_bytes(facts.free_bytes)} free where {facts.root} lies"
    if facts.free_bytes < ROOM_BYTES and not facts.sites:
        yield Finding("disk", "note", f"{text}; both runtimes take about {format_bytes(ROOM_BYTES)}")
    else:
        yield Finding("disk", "good", text)


def _runtimes(board: Board) -> Iterator[Finding]:
    """Yield what runs which format, tried in a process of its own; or why nothing does, and what mends that."""
    install = shlex.join(["edgelnn", "doctor", "--on", board.host, "--install"])
    there = board.packages
    for name, module in MODULES.items():
        if name in there:
            code, said = board.try_code(f"import {module}")
            yield judge_import(name, there[name], code, said, install)
    for model_format in FORMATS:
        why = _never(board, model_format)
        lacking = board.facts.lacking([model_format], there)
        if why is not None:
            yield Finding(f".{model_format}", "lack", why)
        elif lacking:
            yield Finding(f".{model_format}", "lack", f"no {' and no '.join(lacking)}", install)
        else:
            yield Finding(f".{model_format}", "good", "can be run")
