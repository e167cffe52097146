"""Published systems trained anew: many runs, one page. Names load when first used: importing this loads no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgelnn.reproducing.changes import changes_from_reference as changes_from_reference
    from edgelnn.reproducing.jobs import Cluster as Cluster
    from edgelnn.reproducing.jobs import Outcome as Outcome
    from edgelnn.reproducing.jobs import run_jobs as run_jobs
    from edgelnn.reproducing.page import write_page as write_page
    from edgelnn.reproducing.plan import Job as Job
    from edgelnn.reproducing.plan import Plan as Plan
    from edgelnn.reproducing.plan import find_system as find_system
    from edgelnn.reproducing.plan import plan_reproduction as plan_reproduction
    from edgelnn.reproducing.results import Reproduction as Reproduction
    from edgelnn.reproducing.results import gather as gather
    from edgelnn.reproducing.verdicts import compare_with_published as compare_with_published

_HOMES = {
    "Cluster": "jobs",
    "Job": "plan",
    "Outcome": "jobs",
    "Plan": "plan",
    "Reproduction": "results",
    "changes_from_reference": "changes",
    "compare_with_published": "verdicts",
    "find_system": "plan",
    "gather": "results",
    "plan_reproduction": "plan",
    "run_jobs": "jobs",
    "write_page": "page",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import the module that holds `name` and return it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
