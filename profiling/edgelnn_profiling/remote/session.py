"""A talk with the program on a board: one question, one answer, over one connection."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from edgelnn.errors import BoardError
from edgelnn_profiling.remote.ssh import NO_PYTHON, agent_program, explain_failure, remote_command, start_ssh
from edgelnn_profiling.remote.there.agent import GREETING

__all__ = ["Session"]

_ANSWER_S = 120.0  # For what takes no time there.
_LOGIN_S = 600.0  # For a person who types a password; ssh itself gives up a connection long before.
_MOST_NOISE = 1 << 20


class Session:
    """A connection to a board, with our program at its other end.

    Args:
        host: As `edgelnn_profiling.remote.ssh.checked_host` returns it.
        python: Which Python there; the first that will do unless given.
        folder: Where to put things there; ``~/.cache/edgelnn`` unless given.

    Attributes:
        host: As given.
        facts: What the board said of itself.
        clock_ahead_s: How far its clock is before ours, less the milliseconds that the answer travelled.

    Raises:
        BoardError: No connection, or no Python 3.11 there.
    """

    def __init__(self, host: str, *, python: str | None = None, folder: str | None = None) -> None:
        self.host = host
        self._said: collections.deque[bytes] = collections.deque(maxlen=64)
        self._process = start_ssh(host, remote_command(agent_program(), python))
        self._held = b""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self._send({"do": "begin", "folder": folder}, b"")
            self.facts: Mapping[str, Any] = self._checked(self._greeted(), "making its folder there")
            self.clock_ahead_s = float(self.facts["time_s"]) - time.time()
        except BaseException:
            self.close()
            raise

    def ask(
        self, request: Mapping[str, Any], data: bytes = b"", *, what: str, timeout_s: float = _ANSWER_S
    ) -> tuple[Mapping[str, Any], bytes]:
        """Return the answer to a request, and the bytes that follow it.

        Args:
            request: See the methods of `edgelnn_profiling.remote.there.agent.Agent`.
            data: What is sent behind it.
            what: What is done, for messages: "copying …".
            timeout_s: Longest time for the answer, in seconds.

        Raises:
            BoardError: The connection was lost, nothing was answered in time, or it could not be done.
        """
        self._send(request, data, what)
        answer = self._checked(self._line(time.monotonic() + timeout_s, what), what)
        return answer, self._exactly(int(answer["bytes"]), time.monotonic() + timeout_s, what)

    def put(self, name: str, data: bytes) -> str:
        """Store a file on the board for as long as the connection lasts, and return its path there."""
        digest = hashlib.sha256(data).hexdigest()
        answer, _ = self.ask({"do": "put", "name": name, "sha256": digest}, data, what=f"copying {len(data):,} bytes")
        return str(answer["path"])

    def close(self) -> None:
        """End the connection; the board removes what was made for it."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            return
        if process.poll() is None and not process.stdin.closed:
            try:
                self._send({"do": "quit"}, b"", "saying goodbye")
            except BoardError:
                pass  # Then the board has noticed by itself.
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        process.stdout.close()

    def abort(self) -> None:
        """Break the connection, from another thread; the board notices and cleans up."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.terminate()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        """Keep the last of what ssh says, so that its pipe never fills."""
        pipe = self._process.stderr
        if pipe is not None:
            with pipe:
                for line in iter(pipe.readline, b""):
                    self._said.append(line[:2000])

    def _send(self, request: Mapping[str, Any], data: bytes, what: str = "connecting") -> None:
        pipe = self._process.stdin
        view = memoryview((json.dumps({**request, "bytes": len(data)}) + "\n").encode() + data)
        try:
            while view and pipe is not None:
                view = view[pipe.write(view) or 0 :]
        except (BrokenPipeError, ValueError) as error:
            if what == "connecting":
                return  # Why, is known when ssh has ended.
            raise self._lost(what) from error

    def _greeted(self) -> Mapping[str, Any]:
        """Return the first answer; what a login prints before it is passed over."""
        deadline, noise = time.monotonic() + _LOGIN_S, 0
        while noise < _MOST_NOISE:
            try:
                line = self._raw_line(deadline)
            except _EndOfFile:
                raise BoardError(explain_failure(self.host, self._stderr())) from None
            except TimeoutError as error:
                raise BoardError(f"{self.host}: logged in, but nothing answers within {_LOGIN_S:g} s.") from error
            text = line.decode("utf-8", "replace").strip()
            if text.startswith(GREETING):
                return self._understood(text.removeprefix(GREETING))
            if text.startswith(NO_PYTHON):
                raise BoardError(self._without_python(text.removeprefix(NO_PYTHON).strip(), deadline))
            noise += len(line)
        raise BoardError(f"{self.host}: its login prints without end, so nothing else can be heard.")

    def _without_python(self, system: str, deadline: float) -> str:
        found = []
        try:
            while True:
                found.append(self._raw_line(deadline).decode("utf-8", "replace").strip())
        except (_EndOfFile, TimeoutError):
            versions = ", ".join(dict.fromkeys(filter(None, found))) or "none"
        return (
            f"{self.host} ({system}) has no Python 3.11 or newer; found: {versions}. "
            "Install one (sudo apt install python3), or name it: --remote-python PATH."
        )

    def _checked(self, answer: Mapping[str, Any], what: str) -> Mapping[str, Any]:
        kind = answer.get("error")
        if kind is None:
            return answer
        free = f"{answer.get('free_bytes', 0) / 1e6:.1f} MB"
        said = str(answer.get("message", "")).rstrip(".")
        words = {
            "full": f"its disk is full ({free} free; {said}). Make room there, or name another folder: --remote-folder",
            "denied": f"no permission ({said}). Name a folder of yours there: --remote-folder PATH",
            "damaged": f"{said}. Try again",
        }
        raise BoardError(f"{self.host}: {what} failed: {words.get(str(kind), said)}.")

    def _line(self, deadline: float, what: str) -> Mapping[str, Any]:
        try:
            return self._understood(self._raw_line(deadline).decode("utf-8", "replace"))
        except _EndOfFile:
            raise self._lost(what) from None
        except TimeoutError as error:
            raise BoardError(f"{self.host} does not answer any more; given up while {what}.") from error

    def _understood(self, text: str) -> Mapping[str, Any]:
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise BoardError(f"{self.host} answers what cannot be understood: {text[:100]!r}.") from error
        if not isinstance(answer, dict):
            raise BoardError(f"{self.host} answers what cannot be understood: {text[:100]!r}.")
        return answer

    def _exactly(self, count: int, deadline: float, what: str) -> bytes:
        try:
            while len(self._held) < count:
                self._more(deadline)
        except _EndOfFile:
            raise self._lost(what) from None
        except TimeoutError as error:
            raise BoardError(f"{self.host} does not answer any more; given up while {what}.") from error
        data, self._held = self._held[:count], self._held[count:]
        return data

    def _raw_line(self, deadline: float) -> bytes:
        while b"\n" not in self._held:
            self._more(deadline)
        line, _, self._held = self._held.partition(b"\n")
        return line

    def _more(self, deadline: float) -> None:
        pipe = self._process.stdout
        if pipe is None:
            raise _EndOfFile
        if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        data = os.read(pipe.fileno(), 1 << 16)
        if not data:
            raise _EndOfFile
        self._held += data

    def _lost(self, what: str) -> BoardError:
        last = (self._stderr().strip().splitlines() or ["ssh said nothing"])[-1].strip()
        return BoardError(
            f"{self.host}: the connection was lost while {what} ({last[:200].rstrip('.')}). What was made "
            "there is removed, by the next run at the latest. Run the command again."
        )

    def _stderr(self) -> str:
        self._listener.join(2.0)
        return b"".join(self._said).decode("utf-8", "replace")


class _EndOfFile(Exception):
    """Nothing more will be said."""
