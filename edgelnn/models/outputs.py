"""What a classifier says: how many numbers, and what turns them into probabilities."""

from __future__ import annotations

from typing import Literal

from edgelnn.data.dataset import Task
from edgelnn.errors import ConfigError
from edgelnn.models.specification import HeadSpec

__all__ = ["OutputActivation", "choose_output"]

OutputActivation = Literal["softmax", "sigmoid"]


def choose_output(head: HeadSpec, task: Task, classes: int) -> tuple[OutputActivation, int]:
    """Return what follows the class scores, and how many scores there are.

    Args:
        head: Whose `output` says what is wanted.
        task: MedMNIST's name of the task.
        classes: Classes, or labels where the task is multi-label.

    Raises:
        ConfigError: The output asked for does not go with the task.

    >>> from edgelnn.models.specification import DenseHead
    >>> choose_output(DenseHead(kind="dense", output="sigmoid"), "binary-class", 2)
    ('sigmoid', 1)
    """
    least = 1 if task == "multi-label" else 2
    if classes < least or (task == "binary-class" and classes != 2):
        expected = "exactly 2" if task == "binary-class" else f"{least} or more"
        raise ConfigError(f"got {classes} classes for a {task} task; expected {expected}.")
    if task == "multi-label":
        if head.output == "softmax":
            raise ConfigError(
                "got head.output='softmax' for a multi-label task; its labels are independent. Use 'sigmoid'."
            )
        return "sigmoid", classes
    if head.output == "sigmoid":
        if task != "binary-class":
            raise ConfigError(
                f"got head.output='sigmoid' for a {task} task of {classes} classes; sigmoid goes with binary-class and "
                "multi-label tasks. Use 'softmax'."
            )
        return "sigmoid", 1
    return "softmax", classes
