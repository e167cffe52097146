"""Workers on a board: the same requests, the same workers, the same answers as here."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgelnn.errors import BoardError
from edgelnn_profiling.executor import AbstractExecutor, LocalExecutor, Outcome, outcome_of
from edgelnn_profiling.remote.session import Session

__all__ = ["RemoteExecutor"]

_GRACE_S = 60.0  # For the answer to travel, after a worker's time is over.


class RemoteExecutor(AbstractExecutor):
    """Workers at the other end of a connection.

    A file that a request names is copied when it is first needed, under a name made of its digest, and checked there.

    Args:
        session: The connection.
        path: Folders there to import from: our modules, and packages that were installed.
        refused: For formats that cannot run there, why not.
    """

    def __init__(self, session: Session, path: Sequence[str], refused: Mapping[str, str] | None = None) -> None:
        self.session = session
        self.path = list(path)
        self.refused: dict[str, str] = dict(refused or {})
        self._copied: dict[str, str] = {}
        self._lock = threading.Lock()

    def execute(self, request: Mapping[str, Any], *, timeout_s: float) -> Outcome:
        """Start a worker on the board.

        Raises:
            BoardError: The connection was lost, or a file could not be copied.
        """
        why = self.refused.get(str(request.get("format")))
        if why is not None:
            return Outcome((), why)
        with self._lock:
            translated = self._with_paths_there(request)
            message = {
                "do": "run",
                "arguments": ["-P", "-m", "edgelnn_profiling.worker"],
                "input": json.dumps(translated) + "\n",
                "timeout_s": timeout_s,
                "path": self.path,
                "environment": LocalExecutor().environment,
            }
            what = f"a {request['kind']} worker ran there"
            answer, output = self.session.ask(message, what=what, timeout_s=timeout_s + _GRACE_S)
        code = None if answer["timed_out"] else answer["code"]
        outcome = outcome_of(output, str(answer["stderr"]), code, timeout_s=timeout_s)
        return Outcome(outcome.events, None if outcome.error is None else self._in_our_words(outcome.error))

    def _with_paths_there(self, request: Mapping[str, Any]) -> dict[str, Any]:
        translated = dict(request)
        if isinstance(translated.get("model"), str):
            translated["model"] = self._copy(translated["model"])
        if isinstance(translated.get("golden"), Mapping):
            translated["golden"] = {**translated["golden"], "file": self._copy(translated["golden"]["file"])}
        return translated

    def _copy(self, path: str) -> str:
        """Return the path there of a file here."""
        if path not in self._copied:
            try:
                data = Path(path).read_bytes()
            except OSError as error:
                raise BoardError(f"cannot read {path}: {error.strerror}.") from error
            suffix = Path(path).suffix if Path(path).suffix in (".onnx", ".tflite", ".npz", ".npy") else ""
            self._copied[path] = self.session.put(f"{hashlib.sha256(data).hexdigest()}{suffix}", data)
        return self._copied[path]

    def _in_our_words(self, text: str) -> str:
        """Return what was said there, with our names of files."""
        for here, there in self._copied.items():
            text = text.replace(there, here)
        return text
