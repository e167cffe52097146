"""``edgelnn demo``: the whole path on built-in data in about a minute."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgelnn.cli.options import Force, Json, Out
from edgelnn.cli.output import Column, Table, message, next_step, print_json, show
from edgelnn.errors import WriteError

if TYPE_CHECKING:
    from edgelnn.run import Run
    from edgelnn_profiling import Report

__all__ = ["demo"]

FOLDER = Path("edgelnn-demo")
PICTURE, PAGE = "picture.png", "report.html"
SYNTHETIC = "The images are synthetic: what you see is the path, not a result about medicine."


def demo(out: Out = None, force: Force = False, json: Json = False) -> None:
    """Train, export, quantize and profile a liquid network on built-in synthetic images, in about a minute."""
    from edgelnn.atomic import write_bytes_atomically, write_text_atomically
    from edgelnn.cli.checks import CheckLines
    from edgelnn.cli.demo_picture import draw_picture
    from edgelnn.cli.profile import shown_progress
    from edgelnn.cli.progress import watch_training
    from edgelnn.training import load_experiment, train
    from edgelnn_export import build_bundle
    from edgelnn_profiling import profile
    from edgelnn_profiling.writers import write_html

    start = time.perf_counter()
    folder = _choose_folder(out, force)
    message(f"1. Train a liquid network on built-in phantoms → {folder / 'run'}", bold=True)
    message(SYNTHETIC, color="yellow")
    with watch_training() as training:
        # One thread: for a network this small a second gains little, and loses much where another program needs a core.
        run = train(load_experiment("phantoms"), folder=folder / "run", force=force, threads=1, listener=training)
    message(f"\n2. Export and quantize it → {folder / 'bundle'}", bold=True)
    bundle = build_bundle(run, folder / "bundle", quantize=True, force=force, listener=CheckLines())
    message("\n3. Profile every variant, each in a process of its own without torch and onnx", bold=True)
    with shown_progress() as listener:
        report = profile(bundle.folder, listener=listener)
    write_text_atomically(folder / "report.json", report.to_json())
    write_text_atomically(folder / PAGE, write_html(report))
    write_bytes_atomically(folder / PICTURE, draw_picture(report))
    if json:
        print_json({"folder": str(folder), "synthetic": True, "variants": _records(report)})
    else:
        show("", _table(report, run))
    message(f"\n{SYNTHETIC}", color="yellow")
    message(f"Accuracy against latency and size, as a picture: {folder / PICTURE}")
    message(f"All that was measured, as a page: {folder / PAGE}")
    message(f"Done in {time.perf_counter() - start:.0f} s. On real images (0.5 MB are downloaded):")
    next_step("train")


def _choose_folder(out: Path | None, force: bool) -> Path:
    """Return where the demo goes; one that finds its own default name taken adds the time."""
    folder = out or FOLDER
    if force or not folder.exists():
        return folder
    if out is not None:
        raise WriteError(f"{out} exists. Pass --force to replace what a demo left there, or choose another name.")
    return folder.with_name(f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}")


def _records(report: Report) -> list[dict[str, Any]]:
    """Return the figures of every variant."""
    return [
        {
            "variant": each.variant,
            "recommended": each.recommended,
            "size_bytes": each.size_bytes,
            "test_auc": (each.test or {}).get("auc"),
            "test_accuracy": (each.test or {}).get("accuracy"),
            "p50_s": None if each.timing is None else each.timing.inference.p50_s,
            "peak_rss_bytes": None if each.memory is None else each.memory.peak_rss_bytes,
        }
        for each in report.results
    ]


def _table(report: Report, run: Run) -> Table:
    from edgelnn.cli.formatting import format_bytes, format_count, format_figure, format_seconds

    rows = tuple(
        (
            f"{each['variant']}{' *' if each['recommended'] else ''}",
            format_bytes(each["size_bytes"]),
            format_figure(each["test_auc"]),
            format_figure(each["test_accuracy"]),
            format_seconds(each["p50_s"]),
            format_bytes(each["peak_rss_bytes"]),
        )
        for each in _records(report)
    )
    parameters = format_count(run.environment["model"]["parameters"]["trainable"])
    names = ("file", "test AUC", "accuracy", "p50", "peak RSS")
    title = f"{run.experiment.name}, {parameters} parameters, synthetic images"
    return Table((Column("variant (* recommended)"), *(Column(name, number=True) for name in names)), rows, title)
