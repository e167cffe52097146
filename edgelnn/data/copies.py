"""The same picture twice: with two labels, or in two given splits; where splits are drawn, copies stay together.

Files with the same bytes are certainly the same picture, easily removed, and refused. Small arrays may be equal by
chance, and published sets hold such pairs (BreastMNIST has one): there it is a warning.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import SplitName
from edgelnn.errors import DataError, DataWarning

__all__ = ["image_digests", "joined_groups", "report_copies"]

Digest = bytes | None
"""What two copies share; None for a picture that is never called a copy."""


def image_digests(images: NDArray[np.uint8]) -> list[Digest]:
    """Return for each image a digest of its pixels; None where all its pixels are equal, as in empty frames.

    Args:
        images: ``(n, …)`` uint8.
    """
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    constant = (flat == flat[:, :1]).all(axis=1)
    return [
        None if empty else hashlib.blake2b(row.data, digest_size=16).digest()
        for row, empty in zip(flat, constant, strict=True)
    ]


def report_copies(
    digests: Mapping[SplitName, Sequence[Digest]],
    labels: Mapping[SplitName, NDArray[np.int64]],
    describe: Callable[[SplitName, int], str],
    *,
    refuse: bool,
) -> None:
    """Speak up where the same picture has two labels, or is in two splits.

    Args:
        digests: By split, one for each picture.
        labels: By split, ``(n,)`` or ``(n, k)``.
        describe: Returns what to call picture number i of a split.
        refuse: Whether that is an error; else a `DataWarning`.

    Raises:
        DataError: There are such pictures, and they are refused; the first pair is named.
    """
    seen: dict[bytes, tuple[SplitName, int]] = {}
    contradictions: list[tuple[str, str]] = []
    leaks: list[tuple[str, str]] = []
    for split, keys in digests.items():
        for number, key in enumerate(keys):
            if key is None or seen.setdefault(key, (split, number)) == (split, number):
                continue
            first_split, first = seen[key]
            pair = describe(first_split, first), describe(split, number)
            if not np.array_equal(labels[first_split][first], labels[split][number]):
                contradictions.append(pair)
            elif first_split != split:
                leaks.append(pair)
    for pairs, what, advice in (
        (contradictions, "twice with different labels", "Remove the wrong one of each pair."),
        (leaks, "in two splits, which makes test figures better than they are", "Remove one of each pair."),
    ):
        if pairs:
            count = f"{len(pairs)} pictures are" if len(pairs) > 1 else "1 picture is"
            text = f"{count} there {what}; the first is {pairs[0][0]} = {pairs[0][1]}. {advice}"
            if refuse:
                raise DataError(text)
            warnings.warn(text, DataWarning, stacklevel=2)


def joined_groups(digests: Sequence[Digest], inner: Sequence[str]) -> list[int]:
    """Return a group number for each picture: copies, and pictures of one patient, get the same.

    Args:
        digests: One for each picture.
        inner: The patient's name for each picture, or an empty text where none is known.

    >>> joined_groups([b"a", b"b", b"a", b"c"], ["", "p", "p", ""])
    [0, 0, 0, 3]
    """
    leader = list(range(len(digests)))

    def find(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    firsts: dict[bytes | str, int] = {}
    for number, (digest, name) in enumerate(zip(digests, inner, strict=True)):
        for key in (digest, name):
            if key:
                one, other = sorted((find(firsts.setdefault(key, number)), find(number)))
                leader[other] = one
    return [find(number) for number in range(len(leader))]
