"""``edgelnn experiments``: what can be trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelnn.cli.formatting import NOTHING, format_count
from edgelnn.cli.options import Json
from edgelnn.cli.output import Column, build_table, message, next_step, print_json, show
from edgelnn.errors import ConfigError

if TYPE_CHECKING:
    from edgelnn.training import ExperimentInfo

__all__ = ["experiments"]

COLUMNS = (Column("name"), Column("data", spare=2), Column("what it is", fold=True))
KINDS = ("trainable", "stored", "active")


def experiments(
    grep: Annotated[
        str, typer.Option("--grep", "-g", metavar="TEXT", help="Only those that mention this: ltc, slices, a system.")
    ] = "",
    parameters: Annotated[
        bool, typer.Option("--parameters", help="Build each model and count its parameters; --json always does.")
    ] = False,
    json: Json = False,
) -> None:
    """List the experiments known by name."""
    from edgelnn.training import list_experiments

    wanted = grep.lower()
    found = [info for info in list_experiments() if wanted in " ".join(map(str, asdict(info).values())).lower()]
    sizes = _sizes(found) if json or parameters else [{} for _ in found]
    if json:
        print_json([asdict(info) | size for info, size in zip(found, sizes, strict=True)])
        return
    if not found:
        message(f"No experiment mentions {grep!r}. `edgelnn experiments` lists them all.")
        return
    rows = []
    for info, size in zip(found, sizes, strict=True):
        counts = size.get("parameters") or {}
        cells = [format_count(counts[kind]) if counts else NOTHING for kind in KINDS] if parameters else []
        origin = info.system or info.source
        words = f"{info.summary}{f' ({origin})' if origin else ''}"
        rows.append([info.name, info.dataset, *cells, words])
    counted = [Column(kind, number=True) for kind in KINDS] if parameters else []
    show(build_table([*COLUMNS[:2], *counted, COLUMNS[2]], rows))
    for reason in dict.fromkeys(size["not_counted"] for size in sizes if size.get("not_counted")):
        message(f"Not counted: {reason}")
    message("Or the path of a .toml file of yours; --dry-run prints one to start from.")
    next_step("train", found[0].name)


def _sizes(found: Sequence[ExperimentInfo]) -> list[dict[str, Any]]:
    """Return what each model amounts to, by building it, or why that cannot be told."""
    from edgelnn.cli.progress import loading_progress

    sizes = []
    with loading_progress("parameter counts") as progress:
        for done, info in enumerate(found):
            if done:
                progress(done, len(found))
            sizes.append(_size(info.name))
    return sizes


def _size(name: str) -> dict[str, Any]:
    from edgelnn.training import load_experiment
    from edgelnn.training.sizes import model_size

    experiment = load_experiment(name)
    expected = experiment.reference.parameters if experiment.reference is not None else None
    facts: dict[str, Any] = {"published_parameters": expected, "parameters": None, "not_counted": ""}
    try:
        size = model_size(experiment)
    except ConfigError as error:  # a backbone whose package does not work here must not hide the others
        return facts | {"not_counted": str(error)}
    if size is None:
        return facts | {"not_counted": f"the shape of {experiment.data.name} is not known before it is read."}
    built_for = {"image_shape": size.image_shape, "task": size.task, "classes": size.classes}
    return facts | {"architecture": size.architecture, "parameters": asdict(size.parameters), "built_for": built_for}
