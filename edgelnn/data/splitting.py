"""Train, val and test out of one heap: stratified by class, seeded, no patient or picture on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import SPLITS, SplitName
from edgelnn.errors import ConfigError, DataError

__all__ = ["SplitPlan", "hold_out", "strata_of", "strata_of_groups"]

Labels = NDArray[np.int64]
Indices = NDArray[np.int64]


class SplitPlan:
    """How data that come without all their splits are to be divided.

    Args:
        validation: Share for val: of everything, or of train where test is given.
        test: Share for test.
        seed: Of the draw.

    Raises:
        ConfigError: A share is not between 0 and 1, nothing would be left to train on, or the seed is negative.

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
        if seed < 0:
            raise ConfigError(f"got split_seed={seed}; expected a whole number from 0.")
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
        rest, strata = np.arange(len(given)), strata_of(given)
        shares: dict[SplitName, float] = {"test": self.test, "val": self.validation}
        for number, (split, share) in enumerate(shares.items()):
            if split in labels:
                continue
            wanted = np.rint(share * np.bincount(strata)).astype(np.int64)
            of_rest = [groups[int(i)] for i in rest]
            kept, held = hold_out(strata[rest], of_rest, wanted=wanted, seed=(self.seed, number))
            parts[split] = ("train", rest[held])
            rest = rest[kept]
        if len(labels) < len(SPLITS):
            parts["train"] = ("train", rest)
            _check_presence(given, parts, where, class_names)
        return {split: parts[split] for split in SPLITS}


def hold_out(
    strata: Indices, groups: Sequence[int], *, wanted: Indices, seed: int | tuple[int, ...]
) -> tuple[Indices, Indices]:
    """Return the indices of what is kept and of what is held out, each ascending.

    Groups are drawn in random order, class by class, and taken where they still fit. A group counts for the rarest
    class in it. Where a class has two groups or more, one at least is held out and one at least is kept.

    Args:
        strata: ``(n,)`` classes, from `strata_of` of all that is divided: of a part, another label may be the rarest.
        groups: ``n`` numbers; equal ones stay together.
        wanted: How many examples to hold out of each stratum.
        seed: Of the draw.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    of_group, stratum_of_group = strata_of_groups(strata, groups)
    count = len(stratum_of_group)
    held = np.zeros(count, np.bool_)
    for stratum in np.unique(strata):
        candidates = rng.permutation(np.flatnonzero(stratum_of_group == stratum))
        if len(candidates) >= 2:
            sizes = np.bincount(of_group[strata == stratum], minlength=count)
            held[_taken(candidates, sizes, max(1, int(wanted[stratum])))] = True
    chosen = held[of_group]
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _check_presence(
    labels: Labels,
    parts: Mapping[SplitName, tuple[SplitName, Indices]],
    where: str,
    class_names: Sequence[str] | None,
) -> None:
    """Refuse a draw that leaves a class out of a split."""
    if labels.ndim != 1:
        return
    for code in np.unique(labels):
        if any(origin == "train" and code not in labels[indices] for origin, indices in parts.values()):
            name = class_names[code] if class_names else str(code)
            raise DataError(
                f"{where}: class {name!r} has too few examples to be in train, val and test; expected at least three "
                "that are neither copies nor of one patient (one inner folder). Add some, or leave the class out."
            )


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


def strata_of_groups(strata: Indices, groups: Sequence[int]) -> tuple[Indices, Indices]:
    """Return the group of each example, numbered from 0, and the stratum of each group: the rarest in it.

    Args:
        strata: Of the examples, from `strata_of`.
        groups: A number for each example; equal ones are one group.
    """
    _, of_group = np.unique(np.asarray(groups, np.int64), return_inverse=True)
    stratum_of_group = np.zeros(int(of_group.max()) + 1, np.int64)
    for stratum in np.argsort(-np.bincount(strata), kind="stable"):  # the rarest comes last, and stays
        stratum_of_group[of_group[strata == stratum]] = stratum
    return of_group, stratum_of_group


def strata_of(labels: Labels) -> Indices:
    """Return one number an example: its class, or (multi-label) its rarest label plus one, 0 where it has none."""
    if labels.ndim == 1:
        return labels
    by_rarity = np.argsort(labels.sum(axis=0), kind="stable")
    positive = labels[:, by_rarity] > 0
    return np.where(positive.any(axis=1), by_rarity[positive.argmax(axis=1)] + 1, 0).astype(np.int64)
