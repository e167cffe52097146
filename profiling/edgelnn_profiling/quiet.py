"""Keep chatter of C++ libraries off stderr while they load, and nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_chatter"]

_ALWAYS = (b"GPU device discovery failed", b"device_discovery.cc")


@contextmanager
def without_chatter(*phrases: bytes) -> Iterator[None]:
    """Hold back what is written to file descriptor 2; afterwards, write there the lines that hold none of the phrases.

    Libraries that log from C++ know neither `sys.stderr` nor a switch for this. Where the descriptor is closed, or the
    system cannot hold the text in memory, everything goes where it always does.
    """
    try:
        held = os.memfd_create("edgelnn-stderr")
        original = os.dup(2)
    except (AttributeError, OSError):
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    os.dup2(held, 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
        with os.fdopen(held, "rb") as file:
            file.seek(0)
            lines = file.read().splitlines(keepends=True)
        kept = b"".join(line for line in lines if not any(phrase in line for phrase in (*_ALWAYS, *phrases)))
        if kept:
            os.write(2, kept)
