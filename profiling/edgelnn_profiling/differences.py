"""What speaks against comparing reports: other machines, runtimes, threads, files, models, ways of measuring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgelnn_profiling.report import Report, Result

__all__ = ["differences"]

# Of a plan, what changes how latency is measured; threads are told row by row.
TELLING = (
    "rounds",
    "windows",
    "window_s",
    "min_samples",
    "max_samples",
    "warm_up_min_s",
    "warm_up_max_s",
    "pin",
    "cpus",
)


def differences(names: Sequence[str], reports: Sequence[Report]) -> Iterator[str]:
    """Give a sentence for everything to keep in mind: what is not valid, and how each report differs from the first.

    Args:
        names: Of the reports.
        reports: As many.
    """
    for name, report in zip(names, reports, strict=True):
        if not report.valid:
            reasons = list(report.reasons)
            more = f"; and {len(reasons) - 3} more reasons" if len(reasons) > 3 else ""
            yield f"{name} is not valid: {'; '.join(reasons[:3])}{more}."
    for name, report in zip(names[1:], reports[1:], strict=True):
        yield from _of_machines(names[0], name, reports[0], report)
        yield from _of_plans(names[0], name, reports[0], report)
        yield from _of_results(names[0], name, reports[0], report)


def _of_machines(first: str, name: str, here: Report, there: Report) -> Iterator[str]:
    one, other = here.machine, there.machine
    for what, mine, theirs in (
        ("board", one.board, other.board),
        ("CPU", one.cpu, other.cpu),
        ("CPUs", one.cores, other.cores),
        ("architecture", one.architecture, other.architecture),
        ("bits", one.bits, other.bits),
        ("system", one.system, other.system),
        ("kernel", one.kernel, other.kernel),
        ("Python", one.python, other.python),
        ("governor", here.before.governor, there.before.governor),
        ("model", here.name, there.name),
        ("dataset", here.dataset, there.dataset),
    ):
        if mine != theirs:
            yield f"{first} and {name} differ in {what}: {mine or 'unknown'} and {theirs or 'unknown'}."


def _of_plans(first: str, name: str, here: Report, there: Report) -> Iterator[str]:
    told = []
    for setting in TELLING:
        one, other = getattr(here.plan, setting), getattr(there.plan, setting)
        if one != other:
            told.append(f"{setting} {one} and {other}")
    if told:
        yield f"{first} and {name} were measured by other plans: {'; '.join(told)}."


def _of_results(first: str, name: str, here: Report, there: Report) -> Iterator[str]:
    known = {_key(result): result for result in here.results}
    variants = {result.variant: result.threads for result in here.results}
    runtimes: dict[str, list[str]] = {}
    files: list[str] = []
    threads: list[Result] = []
    missing: list[Result] = []
    for result in there.results:
        same = known.get(_key(result))
        if same is None:
            (threads if result.variant in variants else missing).append(result)
            continue
        if _runtime(same) and _runtime(result) and _runtime(same) != _runtime(result):
            runtimes.setdefault(f"{_runtime(same)} and {_runtime(result)}", []).append(result.variant)
        if same.sha256 != result.sha256:
            files.append(result.variant)
    for words, variants_run in runtimes.items():
        yield f"{first} and {name} ran {_listed(variants_run)} on {words}."
    if files:
        yield f"{first} and {name} measured other files by the same names: {_listed(files)}."
    if threads:
        words = _listed([f"{result.variant} with {result.threads}" for result in threads])
        yield f"{first} has not the threads of {name}: {words}."
    if missing:
        yield f"{first} has no {_listed([result.variant for result in missing])}, which {name} has."


def _key(result: Result) -> tuple[str, int]:
    return result.variant, result.threads


def _runtime(result: Result) -> str:
    return "" if result.runtime is None else f"{result.runtime} {result.runtime_version}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
