"""The board's end of the connection: lines of JSON, and counted bytes behind them."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterator
from typing import Any

__all__ = ["Channel", "Gone"]

IDLE_S = 900.0  # Without a word for so long, the other end is gone, whatever the network says.
LONGEST_LINE = 1 << 24


class Gone(Exception):
    """Nobody is at the other end any more."""


class Channel:
    """The connection: lines and counted bytes in, lines out."""

    def __init__(self) -> None:
        self.output = os.dup(1)
        os.dup2(2, 1)  # Whatever else prints must not land among the answers.
        self.held = b""
        self.left = 0  # Bytes that follow the line last read.

    def line(self) -> bytes:
        """Return the next line."""
        while b"\n" not in self.held:
            if not select.select([0], [], [], IDLE_S)[0] or len(self.held) > LONGEST_LINE:
                raise Gone
            self.held += self._more()
        line, _, self.held = self.held.partition(b"\n")
        return line

    def pieces(self) -> Iterator[bytes]:
        """Give what follows the line last read, piece by piece."""
        while self.left:
            if not self.held:
                self.held = self._more()
            piece, self.held = self.held[: self.left], self.held[self.left :]
            self.left -= len(piece)
            yield piece

    def say(self, answer: dict[str, Any], data: bytes = b"", greeting: str = "") -> None:
        """Answer with a line, and bytes behind it."""
        view = memoryview((greeting + json.dumps({**answer, "bytes": len(data)}) + "\n").encode() + data)
        while view:
            view = view[os.write(self.output, view) :]

    @staticmethod
    def _more() -> bytes:
        data = os.read(0, 1 << 16)
        if not data:
            raise Gone
        return data
