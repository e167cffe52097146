"""Golden inputs and answers: the arrays that travel with a bundle, the same bytes from export to export."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GOLDEN_FILE", "npz_bytes"]

GOLDEN_FILE = "golden.npz"

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip file can say: nothing of the clock gets into the bytes


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return an npz file that depends on the arrays alone: no clock, no system, the order given.

    Args:
        arrays: Any shapes and dtypes but Python objects.

    >>> npz_bytes({"a": np.arange(3)}) == npz_bytes({"a": np.arange(3)})
    True
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", _ZIP_EPOCH)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            # Stored, not deflated: the bytes of a deflated stream change with the version of zlib.
            archive.writestr(info, member.getvalue(), zipfile.ZIP_STORED)
    return buffer.getvalue()
