"""Where an experiment comes from: a published system, its figures, and what is known to be different here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgelnn.data.dataset import Task
from edgelnn.models.fields import Specification

__all__ = ["Images", "OtherModel", "Published", "Reference", "System"]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Runs = Annotated[int, Field(ge=1)]


class Published(Specification):
    """Figures of one model on one test split, as they were published.

    Attributes:
        data: Which data; as `edgelnn datasets` calls them, where they are there.
        auc, accuracy, f1: The figures; left out where they were not given.
        auc_sd, accuracy_sd, f1_sd: Their standard deviation over several trainings.
        f1_class: The class that F1 speaks of; left out: the mean over classes.
        runs: Of how many trainings they are the mean.
        note: What has to be known about them.
    """

    data: str
    auc: Share | None = None
    accuracy: Share | None = None
    f1: Share | None = None
    auc_sd: Share | None = None
    accuracy_sd: Share | None = None
    f1_sd: Share | None = None
    f1_class: str | None = None
    runs: Runs = 1
    note: str = ""


class Images(Specification):
    """What the published model took and told apart, where the data at hand are others.

    Attributes:
        shape: (h, w, c), or (d, h, w, c) for volumes.
        task: MedMNIST's name of the task.
        classes: How many.
    """

    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=4)]
    task: Task
    classes: Runs


class Reference(Specification):
    """What an experiment reproduces.

    Attributes:
        system: Its published system: what `edgelnn reproduce` takes.
        experiment: Name of the experiment as it comes with edgelnn; what a run was changed in is told against that.
        title, authors, year, url: Of the publication.
        model: What the model is called there.
        parameters: Trainable parameters, as published (or as its published layers come out, where that differs).
        images: What that number is for, where the data at hand are others.
        published: Its figures.
        protocol: How it was trained and how the published figures were chosen, in a sentence.
        notes: What is different here, a sentence each.
        as_published: Whether a mistake of the published code is repeated.
        names: From our names of tensors to those of its published weights.
    """

    system: str
    experiment: str
    title: str
    authors: str = ""
    year: int
    url: str = ""
    model: str
    parameters: Runs | None = None
    images: Images | None = None
    published: list[Published] = Field(default_factory=list)
    protocol: str = ""
    notes: list[str] = Field(default_factory=list)
    as_published: bool = False
    names: dict[str, str] = Field(default_factory=dict)


class OtherModel(Specification):
    """A published model that is here to compare with and is not trained.

    Attributes:
        model: Its name.
        source: Who published it.
        published: Its figures.
    """

    model: str
    source: str
    published: list[Published]


class System(Specification):
    """A published system: several models that were compared.

    Attributes:
        name: Short and telling: what `edgelnn reproduce` takes.
        summary: What it is, in a sentence.
        title, authors, year, url: Of the publication.
        conclusion: What it concluded.
        seeds: Trainings of each model that make its table.
        new_splits: Whether each of them draws the splits anew, and not only the weights.
        others: Published models to compare with.
        experiments: Names of its experiments, in order.
    """

    name: str
    summary: str
    title: str
    authors: str = ""
    year: int
    url: str = ""
    conclusion: str = ""
    seeds: Runs = 3
    new_splits: bool = False
    others: list[OtherModel] = Field(default_factory=list)
    experiments: list[str]
