"""Measure and ask on a board over ssh: `open_board` gives one, with an executor for `edgelnn_profiling.profile`."""

from __future__ import annotations

from edgelnn_profiling.remote.board import Board as Board
from edgelnn_profiling.remote.board import open_board as open_board

__all__ = ["Board", "open_board"]
