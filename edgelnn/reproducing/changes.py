"""What an experiment was changed in against the one that reproduces a published model."""

from __future__ import annotations

from functools import cache
from typing import Any

from edgelnn.errors import ConfigError
from edgelnn.training.data_specification import RepeatSpec
from edgelnn.training.experiment import Experiment
from edgelnn.training.families import list_systems
from edgelnn.training.loading import load_experiment
from edgelnn.training.mistakes import show_value
from edgelnn.training.reference import System
from edgelnn.training.starting import SAID, differences

__all__ = ["changes_from_reference"]

FREE = {"name", *SAID}
"""Fields that change nothing in a training."""


def changes_from_reference(experiment: Experiment) -> tuple[str, ...]:
    """Return a phrase for every field that is not as in the reference experiment; seeds and places are free.

    Raises:
        ConfigError: The experiment reproduces nothing, or what this version of edgelnn does not know.

    >>> changes_from_reference(load_experiment("safipatel-lnn", ["training.epochs=2", "training.seed=7"]))
    ('training.epochs is 50 there and 2 now',)
    """
    if experiment.reference is None:
        raise ConfigError(f"{experiment.name} reproduces no published model: it has no [reference].")
    own = load_experiment(experiment.reference.experiment)
    system = _system(experiment.reference.system)
    fields, expected = _fields(experiment), _fields(own)
    if system.new_splits and isinstance(experiment.data.resplit, RepeatSpec):
        fields["data"]["resplit"] = expected["data"]["resplit"]  # each training of the system's draws another
    found = list(differences(expected, fields))
    if experiment.data.name not in {own.data.name, *_published_data(system.name)}:
        found.append(f"data.name is {own.data.name} there and {experiment.data.name} now")
    return tuple(found)


def _system(name: str) -> System:
    """Return a published system that an experiment says it is of."""
    system = next((one for one in list_systems() if one.name == name), None)
    if system is None:
        raise ConfigError(f"got the published system {show_value(name)}, which this version of edgelnn does not know.")
    return system


@cache
def _published_data(name: str) -> set[str]:
    """Return what data a system has published figures of."""
    system = _system(name)
    references = [load_experiment(each).reference for each in system.experiments]
    entries = [entry for each in references if each is not None for entry in each.published]
    return {entry.data for entry in [*entries, *(entry for other in system.others for entry in other.published)]}


def _fields(experiment: Experiment) -> dict[str, Any]:
    """Return what a training depends on, without seed and place of the data; which data, their figures are told by."""
    values = {name: value for name, value in experiment.model_dump().items() if name not in FREE}
    values["data"] = {name: value for name, value in values["data"].items() if name not in ("name", "root")}
    values["training"] = {name: value for name, value in values["training"].items() if name != "seed"}
    return values
