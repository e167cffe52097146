"""The page of a reproduction: what was trained, what it came to, how that stands to what was published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgelnn.atomic import write_bytes_atomically, write_text_atomically
from edgelnn.reproducing.blocks import Block, Grid, Heading, Items, Picture, Text, write_html, write_markdown
from edgelnn.reproducing.results import Reproduction, Row
from edgelnn.reproducing.verdicts import FIGURES, Measured
from edgelnn.training.reference import Published

__all__ = ["write_page"]

NOTHING = "–"


def write_page(found: Reproduction) -> tuple[Path, Path]:
    """Write a reproduction as Markdown with figures, as one HTML file and as ``results.json``; return the first two.

    Raises:
        WriteError: They cannot be written.
    """
    folder = found.plan.folder
    blocks = _blocks(found)
    for block in blocks:
        if isinstance(block, Picture):
            write_bytes_atomically(folder / block.file, block.png, durable=False)
    title = f"{found.plan.system.name}: {found.plan.system.title}"
    markdown, html = folder / "page.md", folder / "page.html"
    write_text_atomically(markdown, write_markdown(blocks))
    write_text_atomically(html, write_html(title, blocks))
    text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    write_text_atomically(folder / "results.json", text + "\n")
    return markdown, html


def _blocks(found: Reproduction) -> list[Block]:
    plan, system = found.plan, found.plan.system
    blocks: list[Block] = [Heading(1, f"{system.title}, trained anew"), Text(system.summary)]
    if plan.changes:
        blocks.append(Text(f"Not the published protocol: {'; '.join(plan.changes)}.", warning=True))
    if found.missing:
        blocks.append(Text(_missing_in_words(found), warning=True))
    if not found.rows:
        return [*blocks, Text("No training is finished yet.")]
    if found.data["synthetic"]:
        blocks.append(Text("The images are synthetic: nothing here is about patients.", warning=True))
    blocks += [
        Text(f"Published by {system.authors or 'its author'}, {system.year}{f': {system.url}' if system.url else ''}."),
        Text(_data_in_words(found)),
        Heading(2, "Figures of merit"),
        _metrics_grid(found),
    ]
    from edgelnn.reproducing.charts import draw_metrics, draw_parameters

    blocks += [
        Picture("figures/metrics.png", "AUC, accuracy and F1, measured and published", draw_metrics(found)),
        Heading(2, "Measured and published"),
        *_verdicts(found),
        *_known_differences(found),
        Heading(2, "Parameters and time"),
        _size_grid(found),
        Picture("figures/parameters.png", "trainable, stored and active parameters", draw_parameters(found)),
        *_twins(found),
        *_others(found),
        Heading(2, "How this was made"),
        Items(_how(found)),
    ]
    return blocks


def _missing_in_words(found: Reproduction) -> str:
    """Return which trainings are not finished, model by model."""
    plan, models = found.plan, []
    for experiment in plan.experiments:
        seeds = [seed for seed in plan.seeds if plan.job(experiment, seed).name in found.missing]
        if len(seeds) == len(plan.seeds):
            models.append(f"{experiment.name} (all)" if len(seeds) > 1 else experiment.name)
        elif seeds:
            models.append(f"{experiment.name} ({'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))})")
    return f"Not finished: {len(found.missing)} of {len(plan.jobs)} trainings: {', '.join(models)}."


def _data_in_words(found: Reproduction) -> str:
    data, seeds = found.data, found.plan.seeds
    counts = "/".join(f"{data['images'][split]:,}" for split in ("train", "val", "test"))
    seeded = f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    if found.plan.new_splits and len(seeds) > 1:
        seeded += ", each with a draw of the splits of its own"
    return (
        f"Trained on {data['name']}, {counts} images for training, validation and test; {seeded}. Figures are those of "
        "the test split, which nothing was chosen by."
    )


def _metrics_grid(found: Reproduction) -> Grid:
    """Return the figures of every model; a column of published ones only where any was published."""
    columns = ["model", "trainings"]
    rows = [[row.title, str(len(row.seeds))] for row in found.rows]
    for name, title in FIGURES.items():
        columns.append(f"{title if name != 'f1' else f'F1 ({found.f1_class})'}, 95 %")
        for cells, row in zip(rows, found.rows, strict=True):
            measured = row.measured[name]
            cells.append(f"{_mean(measured)} ({measured.low:.3f}–{measured.high:.3f})")
        published = [_published(row, name) for row in found.rows]
        if any(told != NOTHING for told in published):
            columns.append("published")
            for cells, told in zip(rows, published, strict=True):
                cells.append(told)
    return Grid(columns, rows)


def _size_grid(found: Reproduction) -> Grid:
    columns = ["model", "trainable", "published", "stored", "active", "epochs", "training, s"]
    rows = []
    for row in found.rows:
        counts, expected = row.parameters, row.published_parameters
        told = NOTHING if expected is None else f"{expected:,}"
        differs = "" if expected in (None, counts["trainable"]) else f" ({row.counted_for or 'differs'})"
        seconds = sum(row.training_s) / len(row.training_s)
        epochs = sorted(row.epochs)
        rows.append(
            [
                row.title,
                f"{counts['trainable']:,}",
                f"{told}{differs}",
                f"{counts['stored']:,}",
                f"{counts['active']:,}",
                str(epochs[0]) if epochs[0] == epochs[-1] else f"{epochs[0]} to {epochs[-1]}",
                f"{seconds:,.1f}",
            ]
        )
    return Grid(columns, rows)


def _verdicts(found: Reproduction) -> list[Block]:
    """Return, model by model, how measured figures stand to published ones, and what is known to be different."""
    blocks: list[Block] = []
    compared = [one for row in found.rows for one in row.comparisons]
    if compared:
        inside = sum(one.within for one in compared)
        of_one = all(row.published.runs == 1 for row in found.rows if row.published is not None and row.comparisons)
        blocks.append(
            Text(
                f"{inside} of {len(compared)} published figures lie within our 95 % intervals"
                f"{'; what was published is of one training each' if of_one else ''}."
            )
        )
    if found.plan.system.conclusion:
        blocks.append(Text(f"What was concluded: {found.plan.system.conclusion}"))
    if len(found.rows) > 1:
        order = sorted(found.rows, key=lambda row: -row.measured["auc"].mean)
        ranked = ", ".join(f"{row.title} {row.measured['auc'].mean:.3f}" for row in order)
        blocks.append(Text(f"In the order of our mean AUC: {ranked}."))
    for row in found.rows:
        said = [one.sentence for one in row.comparisons]
        if not said:
            said = [f"On {entry.data}, published: {_figures(entry)}; no comparison." for entry in row.elsewhere]
        if row.published is not None and row.published.note:
            said.append(f"Published figures: {row.published.note}.")
        if row.told_nothing_apart:
            said.append(
                f"Answers the same for every test image{_of_trainings(row)}: its accuracy is that of always naming one "
                "class, and rounding decides its AUC."
            )
        if said:
            blocks += [Heading(3, row.title), Items(said)]
    return blocks


def _of_trainings(row: Row) -> str:
    """Return in how many of its trainings a model tells nothing apart; empty where it has but one."""
    return f", in {len(row.told_nothing_apart)} of {len(row.seeds)} trainings" if len(row.seeds) > 1 else ""


def _known_differences(found: Reproduction) -> list[Block]:
    """Return what is known to be different here, each thing once, with the models where it is not true of all."""
    models: dict[str, list[str]] = {}
    for row in found.rows:
        for note in row.notes:
            models.setdefault(note, []).append(row.title)
    if not models:
        return []
    as_meant = [row.title for row in found.rows if not row.as_published]
    said = [note if {*as_meant} <= {*titles} else f"{', '.join(titles)}: {note}" for note, titles in models.items()]
    return [Heading(2, "Known to be different here"), Items(said)]


def _twins(found: Reproduction) -> list[Block]:
    """Return what repeating a mistake of the published code does, where models were trained both ways."""
    meant = {row.model: row for row in found.rows if not row.as_published}
    pairs = [(row, meant[row.model]) for row in found.rows if row.as_published and row.model in meant]
    if not pairs:
        return []
    rows, said = [], []
    for mistaken, right in pairs:
        ours, theirs = mistaken.measured["auc"], right.measured["auc"]
        rows.append([right.model, _mean(ours), _mean(theirs), f"{theirs.mean - ours.mean:+.4f}"])
        others = [row.measured["auc"].mean for row in meant.values() if row is not right]
        apart = ours.high < theirs.low or theirs.high < ours.low
        said.append(
            f"{right.model}: as meant its AUC is {abs(theirs.mean - ours.mean):.4f} "
            f"{'higher' if theirs.mean > ours.mean else 'lower'} than as published; the intervals "
            f"{'do not overlap' if apart else 'overlap'}. {_ranks(ours.mean, theirs.mean, others)}"
        )
    best = max((row for row in found.rows if not row.as_published), key=lambda row: row.measured["auc"].mean)
    said.append(f"Of all models as they were meant, {best.model} has the best mean AUC: {_mean(best.measured['auc'])}.")
    columns = ["model", "AUC as published", "AUC as meant", "difference"]
    return [Heading(2, "As published and as meant"), Grid(columns, rows), Items(said)]


def _ranks(mistaken: float, right: float, others: Sequence[float]) -> str:
    """Return what repeating a mistake does to a model's place among all as they were meant; empty where it is alone."""
    if not others:
        return ""
    places = [1 + sum(other > mean for other in others) for mean in (right, mistaken)]
    where = "the same" if places[0] == places[1] else str(places[1])
    return f"Among {len(others) + 1} models its place by mean AUC is {places[0]}; with the mistake it would be {where}."


def _others(found: Reproduction) -> list[Block]:
    """Return published models that were not trained here, on the same data."""
    name = found.plan.experiments[0].data.name
    rows = []
    for other in found.plan.system.others:
        for entry in other.published:
            if entry.data == name:
                rows.append([other.model, other.source, *(_figure(getattr(entry, one)) for one in ("auc", "accuracy"))])
    if not rows:
        return []
    return [Heading(2, "Published beside it, not trained here"), Grid(["model", "source", "AUC", "accuracy"], rows, 2)]


def _how(found: Reproduction) -> list[str]:
    plan = found.plan
    protocols = dict.fromkeys(each.reference.protocol for each in plan.experiments if each.reference is not None)
    said = [f"Published protocol: {text}" for text in protocols if text]
    said += [f"Changed: {change}." for change in plan.changes]
    differ = "seed and in the draw of their splits" if plan.new_splits else "seed alone"
    return [
        *said,
        f"mean ± sd: over trainings that differ in their {differ}. 95 %: percentile bootstrap interval of the mean, "
        "over trainings and, within each class, test images; 2,000 resamples. Published models were judged on the same "
        "images, so that lying within it is the least to be expected.",
        "Trainable parameters are what training changes; stored ones include the constant masks of the wiring; active "
        "ones are those that the wiring lets through.",
        f"Trained on {', '.join(found.machines)}; times are of that machine as it was, other work included. "
        f"{_all_together(found)}",
        f"Versions: {', '.join(f'{name} {version}' for name, version in found.versions.items())}.",
        f"Again: {plan.command}",
        "Nothing here is fit for diagnosis.",
    ]


def _all_together(found: Reproduction) -> str:
    """Return how long all trainings took, those added up that ran side by side."""
    seconds = [each for row in found.rows for each in row.training_s]
    hours = sum(seconds) / 3600
    time = f"{hours:.1f} hours" if hours >= 1 else f"{sum(seconds):,.0f} s"
    return f"The {len(seconds)} trainings took {time} in all." if len(seconds) > 1 else ""


def _mean(measured: Measured) -> str:
    return f"{measured.mean:.3f}" + ("" if measured.sd is None else f" ± {measured.sd:.3f}")


def _published(row: Row, name: str) -> str:
    return next((f"{one.published:.4f}" for one in row.comparisons if one.figure == name), NOTHING)


def _figure(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _figures(entry: Published) -> str:
    """Return published figures in words."""
    return ", ".join(
        f"{title} {value:.4f}" for name, title in FIGURES.items() if (value := getattr(entry, name)) is not None
    )
