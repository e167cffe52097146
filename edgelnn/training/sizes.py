"""How large the model of an experiment is, found by building it; no data are needed where their name tells enough."""

from __future__ import annotations

from dataclasses import dataclass

from edgelnn.data.dataset import Task
from edgelnn.data.facts import DataFacts, known_facts
from edgelnn.models import ParameterCounts, build_classifier, count_parameters, describe
from edgelnn.training.experiment import Experiment

__all__ = ["ModelSize", "model_size"]


@dataclass(frozen=True)
class ModelSize:
    """What a model amounts to.

    Attributes:
        architecture: Stem, scan and head in one line.
        parameters: Trainable, stored and active.
        image_shape: (h, w, c), or (d, h, w, c), that it was built for.
        task: MedMNIST's name of the task that it was built for.
        classes: Number of classes that it was built for.
    """

    architecture: str
    parameters: ParameterCounts
    image_shape: tuple[int, ...]
    task: Task
    classes: int


def model_size(experiment: Experiment) -> ModelSize | None:
    """Return the size of an experiment's model, None where its data have no name that tells their shape.

    A model that reproduces a published one is built for the images and classes that one was for.

    Raises:
        ConfigError: The model does not fit its data.

    >>> from edgelnn.training import load_experiment
    >>> model_size(load_experiment("safipatel-lnn")).parameters
    ParameterCounts(trainable=263048, stored=263463, active=262780)
    """
    facts = _facts(experiment)
    if facts is None:
        return None
    shape, task, classes = facts.image_shape, facts.task, facts.classes
    classifier = build_classifier(experiment.model, image_shape=shape, task=task, classes=classes)
    words = describe(experiment.model, image_shape=shape, task=task, classes=classes)
    return ModelSize(words, count_parameters(classifier), shape, task, classes)


def _facts(experiment: Experiment) -> DataFacts | None:
    """Return the images and classes to build for."""
    images = experiment.reference.images if experiment.reference is not None else None
    if images is not None:
        return DataFacts(tuple(images.shape), images.task, images.classes)
    return known_facts(experiment.data.name, experiment.data.size)
