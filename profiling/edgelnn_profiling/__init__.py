"""edgelnn_profiling: from a bundle or a model file to a report of what it costs on this machine.

What runs on a board lives here and imports neither torch nor onnx. The names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgelnn_profiling.comparing import Comparison as Comparison
    from edgelnn_profiling.comparing import comparison as comparison
    from edgelnn_profiling.instruction_report import InstructionReport as InstructionReport
    from edgelnn_profiling.instruction_report import count_bundle as count_bundle
    from edgelnn_profiling.instructions import InstructionCounts as InstructionCounts
    from edgelnn_profiling.instructions import count_instructions as count_instructions
    from edgelnn_profiling.machine import Machine as Machine
    from edgelnn_profiling.machine import read_machine as read_machine
    from edgelnn_profiling.manager import Progress as Progress
    from edgelnn_profiling.manager import profile as profile
    from edgelnn_profiling.model_files import check_model as check_model
    from edgelnn_profiling.model_files import identify_model as identify_model
    from edgelnn_profiling.plan import Plan as Plan
    from edgelnn_profiling.probe import probe_model as probe_model
    from edgelnn_profiling.report import Report as Report
    from edgelnn_profiling.runtimes import AbstractRuntime as AbstractRuntime
    from edgelnn_profiling.runtimes import load_runtime as load_runtime
    from edgelnn_profiling.state import State as State
    from edgelnn_profiling.state import read_state as read_state

_HOMES = {
    "AbstractRuntime": "edgelnn_profiling.runtimes",
    "Comparison": "edgelnn_profiling.comparing",
    "InstructionReport": "edgelnn_profiling.instruction_report",
    "InstructionCounts": "edgelnn_profiling.instructions",
    "Machine": "edgelnn_profiling.machine",
    "Plan": "edgelnn_profiling.plan",
    "Progress": "edgelnn_profiling.manager",
    "Report": "edgelnn_profiling.report",
    "State": "edgelnn_profiling.state",
    "check_model": "edgelnn_profiling.model_files",
    "comparison": "edgelnn_profiling.comparing",
    "count_bundle": "edgelnn_profiling.instruction_report",
    "count_instructions": "edgelnn_profiling.instructions",
    "identify_model": "edgelnn_profiling.model_files",
    "load_runtime": "edgelnn_profiling.runtimes",
    "probe_model": "edgelnn_profiling.probe",
    "profile": "edgelnn_profiling.manager",
    "read_machine": "edgelnn_profiling.machine",
    "read_state": "edgelnn_profiling.state",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Return a public name, importing the module it lives in on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edgelnn_profiling' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted(__all__)
