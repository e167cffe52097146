"""Arrays from ``.npy`` and ``.npz`` files that may come from anywhere: checked before anything is inflated.

Imports numpy alone, so that a board can use it. Nothing is ever unpickled.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from edgelnn.errors import DataError

__all__ = ["as_pixels", "check_memory", "read_npy", "read_npz"]

MAX_RATIO = 400
RATIO_MATTERS_BYTES = 64 * 2**20
MAX_MEMBERS = 1000
MAX_HEADER_BYTES = 10_000  # numpy refuses longer ones as well, after it has read them

Array = NDArray[Any]


def read_npz(path: Path, names: Iterable[str] | None = None, *, trusted: bool = False) -> dict[str, Array]:
    """Return the arrays of an npz file.

    The headers of all members are read first: their declared shapes must agree with the sizes that the archive
    declares, fit into memory, and not be compressed beyond belief.

    Args:
        path: The file.
        names: Which arrays; all where left out. Names that the file lacks are left out.
        trusted: The file's checksum is known to be good: no bound on how well it is compressed.

    Raises:
        DataError: The file is unreadable, truncated, no npz, holds pickled objects, or declares more than it stores.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "a.npz", x=np.arange(3))
    ...     read_npz(Path(folder) / "a.npz")["x"].tolist()
    [0, 1, 2]
    """
    asked = None if names is None else set(names)
    with _reading(path), zipfile.ZipFile(_regular(path)) as archive:
        members = _members(archive, path)
        wanted = [name for name in members if asked is None or name in asked]
        total = sum(_check_member(archive, members[name], path, trusted) for name in wanted)
        check_memory(total, path)
        return {name: _read_member(archive, members[name]) for name in wanted}


def read_npy(path: Path) -> Array:
    """Return the array of an npy file.

    Args:
        path: The file.

    Raises:
        DataError: The file is unreadable, truncated, not an npy, or holds pickled objects.
    """
    with _reading(path), _regular(path).open("rb") as file:
        declared = _declared_bytes(file, path.name)
        stored = path.stat().st_size
        if declared != stored:
            raise DataError(f"{path} declares {declared} bytes and stores {stored}: it is damaged. Write it again.")
        check_memory(declared, path)
        file.seek(0)
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
        return array


def as_pixels(array: Array, where: str) -> NDArray[np.uint8]:
    """Return images as uint8 pixels, exactly.

    uint8 is taken as it is, booleans become 0 and 255, other numbers are taken where they are whole and in 0..255, and
    fractions where they are all in [0, 1] (times 255, rounded).

    Args:
        array: Any shape, any numeric type.
        where: What to call it in an error.

    Raises:
        DataError: The values are not pixels: NaN, infinite, negative, above 255, or not numbers.

    >>> as_pixels(np.array([0.0, 0.5, 1.0]), "x").tolist()
    [0, 128, 255]
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise DataError(
            f"{where} holds {array.dtype}; expected pixels: uint8 in 0..255. Convert with .astype('uint8')."
        )
    if array.size == 0:
        return array.astype(np.uint8)
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(
            f"{where} holds NaN or infinite pixels; expected uint8 in 0..255. Replace them, or leave those images out."
        )
    if low < 0 or high > 255:
        raise DataError(
            f"{where} holds pixels from {low:g} to {high:g} ({array.dtype}); expected uint8 in 0..255, "
            "or fractions in [0, 1]. Scale all images alike (CT, 16 bits: choose a window) and save them as uint8."
        )
    if array.dtype.kind in "iu":
        return array.astype(np.uint8)
    if bool((array == np.rint(array)).all()) and high > 1:
        return array.astype(np.uint8)
    if high > 1:
        raise DataError(
            f"{where} holds fractions up to {high:g} ({array.dtype}); expected uint8 in 0..255, or fractions in [0, 1]."
        )
    return cast(NDArray[np.uint8], np.rint(array.astype(np.float64) * 255).astype(np.uint8))


def check_memory(needed_bytes: int, where: object) -> None:
    """Raise a `DataError` where an array of so many bytes does not fit into the memory that is free.

    Args:
        needed_bytes: Size of what is about to be read.
        where: What to name in the error.
    """
    free = _free_memory_bytes()
    if free is not None and needed_bytes > free:
        raise DataError(
            f"{where} needs {needed_bytes / 1e9:.1f} GB of memory once unpacked; {free / 1e9:.1f} GB are free. "
            "Use a smaller size or fewer images."
        )


def _free_memory_bytes() -> int | None:
    """Return the memory that Linux calls available; None where it cannot be told."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _regular(path: Path) -> Path:
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a file; expected an array file (.npy or .npz).")
    return path


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while an array file is read into one line that names it."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Check the path.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory. Use a smaller size or fewer images.") from error
    except Exception as error:  # zipfile, zlib and numpy each have their own for a damaged file
        raise DataError(
            f"{path} is damaged or not an array file (.npy or .npz): {error}. Download or write it again."
        ) from error


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    found = archive.infolist()
    if len(found) > MAX_MEMBERS:
        raise DataError(f"{path} holds {len(found)} arrays; expected at most {MAX_MEMBERS}.")
    members = {info.filename.removesuffix(".npy"): info for info in found if info.filename.endswith(".npy")}
    if len(members) != len(found):
        raise DataError(
            f"{path} holds something else than arrays, or two of one name; expected an npz written by numpy.savez."
        )
    return members


def _check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, trusted: bool) -> int:
    """Return the bytes of one array, checked without inflating more than its header."""
    where = f"{path}, array {info.filename.removesuffix('.npy')}"
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{where}, is encrypted or packed in a way numpy.savez never writes. Save it again with numpy.savez."
        )
    with archive.open(info) as file:
        declared = _declared_bytes(cast(BinaryIO, file), where)
    if declared != info.file_size:
        raise DataError(
            f"{where}, declares {declared} bytes and stores {info.file_size}: the file is damaged. Write it again."
        )
    bomb = declared > RATIO_MATTERS_BYTES and declared > MAX_RATIO * max(info.compress_size, 1)
    if bomb and not trusted:
        raise DataError(
            f"{where}, unpacks {info.compress_size} bytes into {declared}: more than "
            f"{MAX_RATIO} times, which no images do. If you trust it, save it again with numpy.savez (not compressed)."
        )
    return declared


def _declared_bytes(file: BinaryIO, where: str) -> int:
    """Return the bytes of an npy file, header included, by what its header says."""
    version = np.lib.format.read_magic(file)
    start, counted = file.tell(), {(1, 0): 2, (2, 0): 4}.get(version, 0)
    length = int.from_bytes(file.read(counted), "little")
    if length > MAX_HEADER_BYTES:
        raise DataError(f"{where}, declares a header of {length} bytes; that of a plain array has some hundred.")
    file.seek(start)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise DataError(f"{where}, is an npy of version {version}; expected 1.0 or 2.0, a plain array of numbers.")
    if dtype.hasobject:
        raise DataError(
            f"{where}, holds pickled Python objects, which could run code and are never loaded. Save plain numbers."
        )
    if dtype.fields is not None:
        raise DataError(f"{where}, is a table with named fields; expected a plain array of numbers.")
    if any(side < 0 for side in shape):
        raise DataError(f"{where}, declares the shape {shape}: the file is damaged.")
    return file.tell() + math.prod(shape) * dtype.itemsize


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise DataError(
                f"{archive.filename}, array {info.filename}, is longer than it declares: the file is damaged."
            )
    return array
