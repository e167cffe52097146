"""``edgelnn reproduce``: a published system trained anew, and one page about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelnn.cli.formatting import format_figure, format_seconds
from edgelnn.cli.options import DataRoot, Json
from edgelnn.cli.output import Column, build_table, error, is_terminal, message, print_json, show, warning

if TYPE_CHECKING:
    from edgelnn.reproducing import Cluster, Outcome, Plan, Reproduction

__all__ = ["reproduce"]

PLACE = Path("reproductions")


def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A published system; left out: lists them.", show_default=False),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, max=1000, metavar="N", help="Trainings of each.", show_default="by system"),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="PATTERN", help="Models whose name fits, such as lstm or *n2. Repeatable."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="FIELD=VALUE", help="Change a field of every model; the page says so."),
    ] = None,
    data_root: DataRoot = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Where runs and page go.", show_default="reproductions/NAME"
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, metavar="N", help="Trainings at a time.", show_default="as many as cores"),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, metavar="N", help="Threads of each.", show_default="the cores shared out"),
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", metavar="NAME", help="Of joblib: loky (this machine), dask, ray.")
    ] = "loky",
    address: Annotated[
        str, typer.Option("--address", metavar="URL", help="Of the cluster's scheduler: tcp://HOST:8786 for dask.")
    ] = "",
    json: Json = False,
) -> None:
    """Train a published system anew, several seeds of each model, and write a page: measured beside published.

    A reproduction that was stopped goes on when the same command is given again. On a cluster, workers must see the
    same file system.
    """
    from edgelnn.reproducing import Cluster, find_system, gather, plan_reproduction, write_page

    if name is None:
        _list(json=json)
        return
    system = find_system(name)
    root = [] if data_root is None else [f"data.root={data_root}"]
    folder = out or PLACE / system.name
    plan = plan_reproduction(system, folder, seeds=seeds, only=only or (), overrides=[*root, *(changes or [])])
    for change in plan.changes:
        warning(f"not the published protocol: {change}")
    _get_data(plan)
    failures = _work(plan, Cluster(backend, address, jobs, threads))
    found = gather(plan)
    markdown, html = write_page(found)
    if json:
        print_json({**found.to_dict(), "failures": {one.name: one.error for one in failures}, "page": str(html)})
    else:
        _report(found)
    message(f"page: {html} and {markdown}", bold=True)
    for one in failures:
        error(f"{one.name}: {one.error}")
    if failures:
        raise typer.Exit(1)


def _list(*, json: bool) -> None:
    """List the systems that can be reproduced."""
    from edgelnn.training.families import list_systems

    systems = list_systems()
    if json:
        print_json([system.model_dump() for system in systems])
        return
    columns = (Column("name"), Column("models", number=True), Column("what it is", fold=True))
    show(build_table(columns, [(one.name, len(one.experiments), one.summary) for one in systems]))


def _get_data(plan: Plan) -> None:
    """Download data and weights that are needed, once, before jobs look for them."""
    from edgelnn.cli.progress import loading_progress
    from edgelnn.models.pretrained import find_pretrained
    from edgelnn.training import load_experiment_dataset

    specs = {(data.name, data.size, data.root): data for data in (each.data for each in plan.experiments)}
    for data in specs.values():
        with loading_progress(data.name) as progress:
            load_experiment_dataset(data, progress=progress)
    for each in plan.experiments:
        with loading_progress(f"weights of {each.name}") as progress:
            find_pretrained(each.model, progress=progress)


def _work(plan: Plan, cluster: Cluster) -> list[Outcome]:
    """Do what is left to do, and say how it goes; return what failed."""
    from edgelnn.cli.errors import Interrupted
    from edgelnn.reproducing import run_jobs

    total, failures = len(plan.jobs), []
    message(f"{plan.system.name}: {len(plan.experiments)} models × {len(plan.seeds)} seeds → {plan.folder}", bold=True)
    try:
        with _watch(plan) as say:
            for done, outcome in enumerate(run_jobs(plan, cluster), 1):
                failures += [outcome] if outcome.error else []
                say(f"{done} of {total}: {outcome.name} {'failed' if outcome.error else 'is done'}")
    except KeyboardInterrupt as interruption:
        raise Interrupted("interrupted; what is trained is kept. The same command goes on.") from interruption
    return failures


@contextmanager
def _watch(plan: Plan) -> Iterator[Callable[[str], None]]:
    """Give a function that says a line; meanwhile, on a terminal, a bar shows how many epochs are done."""
    if not is_terminal(sys.stderr):
        yield message
        return
    import threading

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from edgelnn.cli.output import console
    from edgelnn.reproducing.progress import share_done

    columns = (TextColumn("training"), BarColumn(24), TextColumn("{task.percentage:3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console(err=True)) as bar:
        task, stopped = bar.add_task("training", total=1.0), threading.Event()

        def look() -> None:
            while not stopped.wait(1.0):
                bar.update(task, completed=share_done(plan))

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield bar.console.print
            bar.update(task, completed=share_done(plan))
        finally:
            stopped.set()
            watcher.join()


def _report(found: Reproduction) -> None:
    """Print measured beside published."""
    rows = []
    for row in found.rows:
        published = {one.figure: one for one in row.comparisons}
        cells = [row.title, f"{row.parameters['trainable']:,}"]
        for figure in ("auc", "accuracy", "f1"):
            measured = row.measured[figure]
            spread = "" if measured.sd is None else f" ± {measured.sd:.4f}"
            told = published[figure].published if figure in published else None
            cells += [f"{format_figure(measured.mean)}{spread}", format_figure(told)]
        rows.append([*cells, format_seconds(sum(row.training_s) / len(row.training_s))])
    columns = [Column("model"), Column("parameters", number=True, spare=5)]
    for title in ("AUC", "accuracy", f"F1 ({found.f1_class})"):
        columns += [Column(title, number=True), Column("published", number=True)]
    several = len(found.plan.seeds)
    of = f", mean ± sd of {several} trainings" if several > 1 else ", one training"
    title = f"test split of {found.data.get('name', 'nothing yet')}{of}"
    show(build_table([*columns, Column("training", number=True, spare=4)], rows, title=title))
    for row in found.rows:
        for one in row.comparisons:
            message(f"{row.title}: {one.sentence}")
