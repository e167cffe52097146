"""IDX files, as MNIST and Fashion-MNIST are published: big-endian header, then bytes; gzipped or not.

Format: http://yann.lecun.com/exdb/mnist/ — two zero bytes, a type (8: unsigned byte), the number of axes, each side as
four bytes, then the values.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from edgelnn.array_files import check_memory
from edgelnn.data.arrays import dataset_from_arrays
from edgelnn.data.catalogue import DatasetInfo
from edgelnn.data.dataset import Dataset, SplitName
from edgelnn.data.splitting import SplitPlan
from edgelnn.errors import DataError

__all__ = ["is_idx_folder", "load_idx", "read_idx"]

FILE_NAME = re.compile(r"(?:.+-)?(train|t10k|test)-(images|labels)[-.]idx([13])-ubyte(?:\.gz)?")
LARGEST_BYTES = 2**33


def is_idx_folder(folder: Path) -> bool:
    """Return whether a folder holds IDX files."""
    return any(FILE_NAME.fullmatch(path.name) for path in folder.iterdir())


def load_idx(
    folder: Path,
    *,
    size: int,
    positive_class: str | None,
    plan: SplitPlan,
    info: DatasetInfo | None = None,
) -> Dataset:
    """Return a folder of IDX files as a dataset.

    Args:
        folder: Holds ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, the same with ``t10k``, or both.
        size: Side of the images; they are not resized.
        positive_class: Name of the class that sensitivity speaks of.
        plan: How to draw what is not given: val from train, or all three where there is one set only.
        info: What is known about the set, where it has a name; else classes are named by their codes.

    Raises:
        DataError: Files are missing, damaged or not IDX.
    """
    given: dict[SplitName, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
    for split, prefix in (("train", "train"), ("test", "t10k|test")):
        images, labels = (_find(folder, prefix, part) for part in ("images", "labels"))
        if (images is None) != (labels is None):
            raise DataError(f"{folder} has {images or labels} alone; expected the images and the labels of it.")
        if images is not None and labels is not None:
            given[cast(SplitName, split)] = read_idx(images, 3), read_idx(labels, 1)
    if "train" not in given:
        given = {"train": given["test"]}
    return dataset_from_arrays(
        given,
        name=info.name if info else folder.resolve().name,
        where=str(folder),
        size=size,
        class_names=info.class_names if info else None,
        positive_class=positive_class,
        plan=plan,
        licence=info.licence if info else "unknown",
        source=f"IDX files in {folder.resolve().name}",
    )


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Return the bytes of an IDX file, shaped.

    Args:
        path: The file; gzipped where its name ends so.
        axes: How many axes it must have: 3 for images, 1 for labels.

    Raises:
        DataError: It is damaged, not IDX, or not of unsigned bytes.
    """
    try:
        with path.open("rb") as raw, cast(IO[bytes], gzip.open(raw) if path.suffix == ".gz" else raw) as file:
            head = file.read(4)
            if head != bytes((0, 0, 8, axes)):
                raise DataError(
                    f"{path} begins with {head.hex(' ') or 'nothing'}; expected an IDX file of bytes with {axes} axes "
                    f"(00 00 08 {axes:02x}). Download it again."
                )
            shape = tuple(int.from_bytes(file.read(4), "big") for _ in range(axes))
            count = math.prod(shape)
            if count > LARGEST_BYTES:
                raise DataError(
                    f"{path} declares {count} bytes; at most {LARGEST_BYTES} are read. It is damaged, or no IDX file."
                )
            check_memory(count, path)
            content = file.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}). Download it again.") from error
    if len(content) != count:
        held = f"only {len(content)}" if len(content) < count else "more"
        raise DataError(f"{path} declares {count} bytes and holds {held}: it is damaged. Download it again.")
    return np.frombuffer(bytearray(content), np.uint8).reshape(shape)


def _find(folder: Path, prefixes: str, part: str) -> Path | None:
    """Return the one file of a set and part; the unpacked one where both are there."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), reverse=True):  # NAME.gz before NAME, which then takes its place
        match = FILE_NAME.fullmatch(path.name)
        if match and match[1] in prefixes.split("|") and match[2] == part:
            found[path.name.removesuffix(".gz")] = path
    if len(found) > 1:
        raise DataError(
            f"{folder} has several files of {part}: {', '.join(sorted(found))}. Give each set a folder of its own."
        )
    return next(iter(found.values()), None)
