"""Train, val and test out of one heap: stratified by class, seeded, no patient or picture on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import SPLITS, SplitName
from edgelnn.errors import ConfigError, DataError

__all__ = ["SplitPlan", "hold_out"]

Labels = NDArray[np.int64]
Indices = NDArray[np.int64]


class SplitPlan:
    """How data that come without all their splits are to be divided.

    Args:
        validation: Share for val: of everything, or of train where test is given.
        test: Share for test.
        seed: Of the draw.

    Raises:
        ConfigError: A share is not between 0 and 1, or nothing would be left to train on.

    >>> labels = np.repeat([0, 1], 10)
    >>> parts = SplitPlan(0.2, 0.1, seed=0).complete({"train": labels}, range(20), where="x")
    >>> {split: labels[indices].tolist() for split, (_, indices) in parts.items() if split != "train"}
    {'val': [0, 0, 1, 1], 'test': [0, 1]}
    """

    def __init__(self, validation: float, test: float, seed: int) -> None:
        for name, share in (("validation", validation), ("test", test)):
            if not 0 < share < 1:
                raise ConfigError(f"got {name}={share}; expected a share between 0 and 1, such as 0.15.")
        if validation + test >= 1:
            raise ConfigError(
                f"got validation={validation} and test={test}; nothing is left to train on. Make them smaller."
            )
        self.validation, self.test, self.seed = validation, test, seed

    def complete(
        self,
        labels: Mapping[SplitName, Labels],
        groups: Sequence[int],
        *,
        where: str,
        class_names: Sequence[str] | None = None,
    ) -> dict[SplitName, tuple[SplitName, Indices]]:
        """Return for each split where its examples are: the given split they come from and their indices, ascending.

        Args:
            labels: Of the given splits: ``train`` alone (everything), ``train`` and ``test``, or all three.
            groups: One number for each training example; equal ones (one patient, one picture) stay together.
            where: What to call the data in an error.
            class_names: For errors.

        Raises:
            DataError: A class has too few examples or groups to be in every split.
        """
        given = labels["train"]
        parts: dict[SplitName, tuple[SplitName, Indices]] = {
            split: (split, np.arange(len(part))) for split, part in labels.items()
        }
        rest = np.arange(len(given))
        share = self.validation
        if "test" not in labels:
            rest, tested = hold_out(
                given, groups, share=self.test, seed=(self.seed, 0), where=where, class_names=class_names
            )
            parts["test"] = ("train", tested)
            share = self.validation / (1 - self.test)
        if "val" not in labels:
            of_rest = [groups[int(i)] for i in rest]
            kept, held = hold_out(
                given[rest], of_rest, share=share, seed=(self.seed, 1), where=where, class_names=class_names
            )
            parts |= {"train": ("train", rest[kept]), "val": ("train", rest[held])}
        return {split: parts[split] for split in SPLITS}


def hold_out(
    labels: Labels,
    groups: Sequence[int],
    *,
    share: float,
    seed: int | tuple[int, ...],
    where: str,
    class_names: Sequence[str] | None = None,
) -> tuple[Indices, Indices]:
    """Return the indices of what is kept and of what is held out, each ascending.

    Each class gives its share, rounded, and at least one. A group counts for the class that most of it has; groups are
    drawn in random order and taken where they still fit.

    Raises:
        DataError: A class has fewer than two groups, so that it cannot be on both sides.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    strata = _strata(labels)
    _, of_group = np.unique(np.asarray(groups, np.int64), return_inverse=True)
    sizes = np.bincount(of_group)
    counts = np.zeros((len(sizes), int(strata.max()) + 1), np.int64)
    np.add.at(counts, (of_group, strata), 1)
    stratum_of_group = counts.argmax(axis=1)
    held = np.zeros(len(sizes), np.bool_)
    for stratum in np.unique(strata):
        candidates = rng.permutation(np.flatnonzero(stratum_of_group == stratum))
        if len(candidates) >= 2:
            held[_taken(candidates, sizes, max(1, round(share * int(sizes[candidates].sum()))))] = True
        elif labels.ndim == 1:
            name = class_names[stratum] if class_names else str(stratum)
            raise DataError(
                f"{where}: class {name!r} has too few examples to be in train, val and test; expected at least three "
                "that are neither copies nor of one patient (one inner folder). Add some, or leave the class out."
            )
    chosen = held[of_group]
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _taken(candidates: Indices, sizes: Indices, wanted: int) -> list[int]:
    """Return groups, in the order drawn, with `wanted` examples in all or nearly; never none and never all of them."""
    taken: list[int] = []
    held = 0
    for group in candidates:
        if held + sizes[group] <= wanted:
            taken.append(int(group))
            held += int(sizes[group])
    if not taken:
        return [int(candidates[np.argmin(sizes[candidates])])]
    return taken[: len(candidates) - 1]


def _strata(labels: Labels) -> Indices:
    """Return one number an example: its class, or (multi-label) its rarest label plus one, 0 where it has none."""
    if labels.ndim == 1:
        return labels
    by_rarity = np.argsort(labels.sum(axis=0), kind="stable")
    positive = labels[:, by_rarity] > 0
    return np.where(positive.any(axis=1), by_rarity[positive.argmax(axis=1)] + 1, 0).astype(np.int64)
