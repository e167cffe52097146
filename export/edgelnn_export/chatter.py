"""Keep what libraries print, warn and log off the user's terminal, and in this package's log instead."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator

__all__ = ["logged_chatter"]

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def logged_chatter(source: str) -> Iterator[None]:
    """Log, at level INFO, whatever is printed, warned or logged to the root logger inside the block.

    Caught are `sys.stdout`, `sys.stderr`, the file descriptors 1 and 2 beneath them (libraries in C++ write there),
    warnings, and records of the root logger where nobody has given that a handler: its functions would install one
    that prints. What is caught is logged also where the block ends in an error.

    Args:
        source: The library at work, to say where the words came from.
    """
    records: list[str] = []
    handler = _Collector(records)
    root = logging.getLogger()
    ours = not root.handlers
    printed = io.StringIO()
    if ours:
        root.addHandler(handler)
    try:
        with (
            _descriptors_held(records),
            warnings.catch_warnings(record=True) as warned,
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
        ):
            warnings.simplefilter("always")
            yield
    finally:
        if ours:
            root.removeHandler(handler)
        lines = [
            *records,
            *(f"{each.category.__name__}: {each.message}" for each in warned),
            *_lines(printed.getvalue()),
        ]
        for line in lines:
            logger.info("%s: %s", source, line)


class _Collector(logging.Handler):
    """Collects records as text."""

    def __init__(self, records: list[str]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        """Collect one record."""
        self._records.append(f"{record.levelname}: {record.getMessage()}")


@contextlib.contextmanager
def _descriptors_held(lines: list[str]) -> Iterator[None]:
    """Collect the lines written to file descriptors 1 and 2; they pass where the system cannot hold them."""
    try:
        held = os.memfd_create("edgelnn-chatter")
        originals = {number: os.dup(number) for number in (1, 2)}
    except (AttributeError, OSError):
        yield
        return
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and not stream.closed:
            stream.flush()
    for number in originals:
        os.dup2(held, number)
    try:
        yield
    finally:
        for number, original in originals.items():
            os.dup2(original, number)
            os.close(original)
        with os.fdopen(held, "rb") as file:
            file.seek(0)
            lines.extend(_lines(file.read().decode(errors="replace")))


def _lines(text: str) -> list[str]:
    # Of a progress bar, which goes back to the start of its line, the last state is enough.
    lines = (line.rstrip("\r ").rpartition("\r")[2] for line in text.split("\n"))
    return [line.rstrip() for line in lines if line.strip()]
