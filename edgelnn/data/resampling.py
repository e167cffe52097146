"""The same data split otherwise: one fold of several, or drawn anew; stratified, no picture or patient on both sides.

A test split that came with the data is kept as it is, and takes no part: folds and draws are of train and val together.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.checks import dataset_digest
from edgelnn.data.copies import image_digests, joined_groups
from edgelnn.data.dataset import Dataset, Split, SplitName
from edgelnn.data.splitting import hold_out, strata_of, strata_of_groups
from edgelnn.errors import ConfigError, DataError

__all__ = ["draw_again", "take_fold"]

Indices = NDArray[np.int64]


def take_fold(dataset: Dataset, fold: int, folds: int, *, seed: int = 0) -> Dataset:
    """Return a dataset of which one fold of train and val together is val, and the others are train; test is kept.

    Every image is in val once over all folds, each class as evenly as its groups (copies, patients) let it.

    Args:
        dataset: To be split otherwise.
        fold: From 1.
        folds: How many there are, 2 or more.
        seed: Of the draw; the same for all folds that belong together.

    Raises:
        ConfigError: There is no such fold.
        DataError: A class has fewer groups than there are folds.

    >>> from edgelnn.data import load_dataset
    >>> fifth = take_fold(load_dataset("phantoms"), 1, 5)
    >>> {split: len(part) for split, part in fifth.splits.items()}
    {'train': 499, 'val': 125, 'test': 156}
    """
    if folds < 2 or not 1 <= fold <= folds:
        raise ConfigError(
            f"got fold {fold} of {folds}; expected one from 1 to the number of folds, which is 2 or more."
        )
    pool, groups = _pool(dataset, ("train", "val"))
    numbers = _folds(pool.labels, groups, folds, seed)
    _check_folds(dataset, pool.labels, numbers, folds)
    in_fold = numbers == fold - 1
    parts = {"train": np.flatnonzero(~in_fold), "val": np.flatnonzero(in_fold)}
    return _with_parts(dataset, pool, parts, f"fold {fold} of {folds}, drawn with seed {seed}")


def draw_again(dataset: Dataset, repeat: int, *, seed: int = 0) -> Dataset:
    """Return a dataset whose splits are drawn anew in their sizes: train and val, and test where that was drawn too.

    Args:
        dataset: To be split otherwise.
        repeat: Number of the draw, from 1.
        seed: Of all draws that belong together.

    Raises:
        ConfigError: The number is not a whole one from 1.
        DataError: A class has too few groups to be in every split.

    >>> from edgelnn.data import load_dataset
    >>> once, twice = (draw_again(load_dataset("phantoms"), repeat) for repeat in (1, 2))
    >>> len(once["val"]), once.digest == twice.digest
    (78, False)
    """
    if repeat < 1:
        raise ConfigError(f"got repeat {repeat}; expected a whole number from 1.")
    drawn: tuple[SplitName, ...] = ("test", "val") if "test" in dataset.drawn else ("val",)
    pool, groups = _pool(dataset, ("train", *drawn))
    rest, strata = np.arange(len(pool)), strata_of(pool.labels)
    counts = np.bincount(strata)
    parts: dict[str, Indices] = {}
    for number, split in enumerate(drawn):
        wanted = np.rint(counts * len(dataset[split]) / len(pool)).astype(np.int64)
        kept, held = hold_out(strata[rest], [groups[int(i)] for i in rest], wanted=wanted, seed=(seed, repeat, number))
        parts[split], rest = rest[held], rest[kept]
    return _with_parts(dataset, pool, parts | {"train": rest}, f"draw {repeat} with seed {seed}")


def _pool(dataset: Dataset, splits: tuple[SplitName, ...]) -> tuple[Split, list[int]]:
    """Return several splits as one, and a group number for each image: copies and pictures of one patient share it."""
    parts = [dataset[split] for split in splits]
    images = np.concatenate([part.images for part in parts])
    names = [
        name
        for split, part in zip(splits, parts, strict=True)
        for name in dataset.patients.get(split, [""] * len(part))
    ]
    return Split(images, np.concatenate([part.labels for part in parts])), joined_groups(image_digests(images), names)


def _folds(labels: NDArray[np.int64], groups: list[int], folds: int, seed: int) -> Indices:
    """Return the fold of each image, from 0.

    Class by class, the groups go, in random order and the large ones first, to the fold that has the fewest images of
    the class so far, then the fewest of all.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, folds))))
    of_group, stratum_of_group = strata_of_groups(strata_of(labels), groups)
    count = len(stratum_of_group)
    sizes = np.bincount(of_group, minlength=count)
    fold_of_group, totals = np.zeros(count, np.int64), np.zeros(folds, np.int64)
    for stratum in np.unique(stratum_of_group):
        members = rng.permutation(np.flatnonzero(stratum_of_group == stratum))
        held = np.zeros(folds, np.int64)
        for group in members[np.argsort(-sizes[members], kind="stable")]:
            fold = int(np.lexsort((totals, held))[0])
            fold_of_group[group] = fold
            held[fold] += sizes[group]
            totals[fold] += sizes[group]
    return fold_of_group[of_group]


def _check_folds(dataset: Dataset, labels: NDArray[np.int64], numbers: Indices, folds: int) -> None:
    """Refuse folds of which one lacks a class, whichever fold is asked for."""
    for code in np.unique(labels) if labels.ndim == 1 else ():
        found = len(np.unique(numbers[labels == code]))
        if found < folds:
            raise DataError(
                f"{dataset.name}: class {dataset.class_names[code]!r} is in {found} of {folds} folds only; it has too "
                "few images that are neither copies nor of one patient. Take fewer folds, or add images."
            )


def _with_parts(dataset: Dataset, pool: Split, parts: dict[str, Indices], how: str) -> Dataset:
    """Return the dataset with these parts of the pool as splits, and the splits that are not among them as they are."""
    splits: dict[SplitName, Split] = {}
    for split, given in dataset.splits.items():
        chosen = parts.get(split)
        splits[split] = given if chosen is None else Split(pool.images[chosen], pool.labels[chosen])
        missing = set() if chosen is None or pool.labels.ndim > 1 else set(pool.labels) - set(splits[split].labels)
        if missing:
            raise DataError(
                f"{dataset.name}, {how}: no {split} image is of class {dataset.class_names[min(missing)]!r}, which has "
                "too few images that are neither copies nor of one patient. Add some, or leave the class out."
            )
    return replace(
        dataset, splits=splits, digest=dataset_digest(splits), source=f"{dataset.source} ({how})", patients={}
    )
