"""Where workers run: a seam between deciding what to measure and measuring it, so that tests need no process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgelnn_profiling.probe import how_it_ended

__all__ = ["AbstractExecutor", "LocalExecutor", "Outcome", "outcome_of", "read_events"]


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    Attributes:
        events: What the worker said, in order.
        error: Why it said no more, in words; None where it came to its end.
    """

    events: tuple[Mapping[str, Any], ...]
    error: str | None

    def all(self, event: str) -> list[Mapping[str, Any]]:
        """Return the events of one kind."""
        return [found for found in self.events if found["event"] == event]

    def first(self, event: str) -> Mapping[str, Any] | None:
        """Return the first event of a kind, or None."""
        return next((found for found in self.events if found["event"] == event), None)


class AbstractExecutor(ABC):
    """Something that can start a fresh worker, here or elsewhere."""

    @abstractmethod
    def execute(self, request: Mapping[str, Any], *, timeout_s: float) -> Outcome:
        """Start a worker, give it a request and wait for what comes of it."""


class LocalExecutor(AbstractExecutor):
    """Workers on this machine.

    Args:
        python: The interpreter; this one unless told.
        environment: Variables to set for workers.
    """

    def __init__(self, python: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.python = sys.executable if python is None else python
        # numpy's own threads would take memory for buffers that nothing here uses.
        self.environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **(environment or {})}

    def execute(self, request: Mapping[str, Any], *, timeout_s: float) -> Outcome:
        """Start a worker process; whatever becomes of it, this returns."""
        # -P: a module that lies in the current folder is not what is meant by its name.
        command = [self.python, "-P", "-m", "edgelnn_profiling.worker"]
        try:
            done = subprocess.run(
                command,
                input=(json.dumps(request) + "\n").encode(),
                capture_output=True,
                timeout=timeout_s,
                env={**os.environ, **self.environment},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return outcome_of(error.stdout or b"", "", None, timeout_s=timeout_s)
        except OSError as error:
            return Outcome((), f"could not be started: {error.strerror}")
        return outcome_of(done.stdout, done.stderr.decode("utf-8", "replace"), done.returncode, timeout_s=timeout_s)


def outcome_of(output: bytes, errors: str, returncode: int | None, *, timeout_s: float) -> Outcome:
    """Return what came of a worker that ended.

    Args:
        output: What it wrote to stdout.
        errors: What it wrote to stderr.
        returncode: Its exit code, or a signal's number negated; None where its time was over.
        timeout_s: How long that was, in seconds.

    >>> outcome_of(b"", "", -11, timeout_s=60.0).error
    'crashes its runtime (SIGSEGV)'
    """
    events = read_events(output)
    if returncode is None:
        return Outcome(events, f"did not finish within {timeout_s:g} s and was ended")
    said = next((event for event in events if event["event"] == "error"), None)
    if said is not None:
        return Outcome(events, str(said["message"]))
    if returncode != 0:
        last = (errors.strip().splitlines() or [""])[-1].strip()
        return Outcome(events, how_it_ended(returncode) + (f": {last[:300]}" if last else ""))
    return Outcome(events, None)


def read_events(text: bytes) -> tuple[Mapping[str, Any], ...]:
    """Return the events in a worker's output, up to the first line that is not one."""
    events = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            break  # A worker that was killed while writing.
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            break
        events.append(event)
    return tuple(events)
