"""Experiments by name or file, and back to TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgelnn.errors import ConfigError
from edgelnn.training.data_specification import DataSpec, FoldSpec, RepeatSpec
from edgelnn.training.experiment import Experiment
from edgelnn.training.families import experiment_names, extended, named_table
from edgelnn.training.mistakes import did_you_mean, show_value
from edgelnn.training.overrides import parse_overrides, validate_with_overrides

if TYPE_CHECKING:
    from edgelnn.data.dataset import Dataset

__all__ = [
    "DEFAULT_EXPERIMENT",
    "ExperimentInfo",
    "format_experiment",
    "list_experiments",
    "load_experiment",
    "load_experiment_dataset",
]

DEFAULT_EXPERIMENT = "breastmnist"


@dataclass(frozen=True)
class ExperimentInfo:
    """One line of the list of experiments.

    Attributes:
        name: What to type.
        summary: What it is, in a sentence.
        source: The paper or repository it follows, where it follows one.
        dataset: The name of the data it trains on.
        system: The published system it belongs to: what `edgelnn reproduce` takes; empty for none.
        model: What it is called there.
    """

    name: str
    summary: str
    source: str
    dataset: str
    system: str = ""
    model: str = ""


def load_experiment(name_or_path: str | Path | None = None, overrides: Sequence[str] = ()) -> Experiment:
    """Return an experiment by its name, from a TOML file or from the folder of a run.

    A file may begin with one of ours: ``extends = "breastmnist"``, and then say what is different.

    Args:
        name_or_path: A name that `list_experiments` lists, a file, a run's folder, or None for a CfC on BreastMNIST.
        overrides: Changes such as ``"head.units=24"``; values are TOML, texts may go without quotes.

    Raises:
        ConfigError: No such experiment, or one line per field that is wrong.

    >>> load_experiment(None, ["training.epochs=3", "head.kind=lstm"]).head.kind
    'lstm'
    """
    given = DEFAULT_EXPERIMENT if name_or_path is None else str(name_or_path)
    values, where = _read(given)
    return validate_with_overrides(Experiment, values, parse_overrides(overrides), where=where)


@cache
def list_experiments() -> tuple[ExperimentInfo, ...]:
    """Return the experiments known by name, the default first.

    >>> list_experiments()[0].name
    'breastmnist'
    """
    found = []
    for name in experiment_names():
        experiment = load_experiment(name)
        reference = experiment.reference
        source, system, model = experiment.source, "", ""
        if reference is not None:
            source = ", ".join(part for part in (reference.authors, reference.title, str(reference.year)) if part)
            system, model = reference.system, reference.model
        found.append(ExperimentInfo(name, experiment.summary, source, experiment.data.name, system, model))
    return tuple(sorted(found, key=lambda info: (info.name != DEFAULT_EXPERIMENT, info.name)))


def format_experiment(experiment: Experiment) -> str:
    """Return an experiment as TOML with every field written out; `load_experiment` reads it back equal.

    >>> format_experiment(load_experiment("breastmnist")).splitlines()[0]
    'name = "breastmnist"'
    """
    import tomli_w

    return tomli_w.dumps(experiment.model_dump(exclude_none=True))


def load_experiment_dataset(
    data: DataSpec, *, download: bool = True, progress: Callable[[int, int], None] | None = None
) -> Dataset:
    """Return the dataset that an experiment names.

    Args:
        data: The experiment's part about data.
        download: Fetch it where it is not found.
        progress: Called with bytes done and bytes in all.

    Raises:
        DataError: It cannot be found or used.

    >>> load_experiment_dataset(DataSpec(name="phantoms")).synthetic
    True
    """
    from edgelnn.data import load_dataset

    dataset = load_dataset(
        data.name,
        size=data.size,
        root=data.root,
        channels=data.channels,
        positive_class=data.positive_class,
        validation=data.validation,
        test=data.test,
        split_seed=data.split_seed,
        difficulty=data.difficulty,
        crop=data.contour_crop,
        download=download,
        progress=progress,
    )
    return split_otherwise(dataset, data)


def split_otherwise(dataset: Dataset, data: DataSpec) -> Dataset:
    """Return a dataset with the splits that an experiment asks for.

    Args:
        dataset: As `load_experiment_dataset` returns it without `resplit`.
        data: The experiment's part about data.

    Raises:
        DataError: A class has too few images for it.
    """
    from edgelnn.data.resampling import draw_again, take_fold

    wanted = data.resplit
    if isinstance(wanted, FoldSpec):
        return take_fold(dataset, wanted.fold, wanted.folds, seed=data.split_seed)
    if isinstance(wanted, RepeatSpec):
        return draw_again(dataset, wanted.repeat, seed=data.split_seed)
    return dataset


def _read(given: str) -> tuple[dict[str, Any], str]:
    """Return an experiment as a table, and its file's name for messages (empty for one of ours)."""
    names = experiment_names()
    if given in names:
        return named_table(given), ""
    path = Path(given).expanduser()
    if path.is_dir():
        path = path / "experiment.toml"
    if not path.exists():
        hint = did_you_mean(given, names) or "."
        raise ConfigError(
            f"got experiment {show_value(given)}; expected a .toml file that exists or one of our names{hint} "
            "`edgelnn experiments` lists them."
        )
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {str(error).rstrip('.')}.") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: not TOML of an experiment: nested too deeply.") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read {path}: {reason}. Expected an experiment in TOML.") from error
    return extended({"name": path.stem} | values, where=str(path)), str(path)
