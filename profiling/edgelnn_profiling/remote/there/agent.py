"""The program on the board: it lives as long as a connection, stores files, starts workers, and cleans up after itself.

It is asked in lines of JSON on stdin and answers in lines of JSON on stdout; ``"bytes": n`` in a line means that n
bytes follow it. No name and no path of the asking machine comes near a shell here.
"""

from __future__ import annotations

import compileall
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgelnn_profiling.remote.there.channel import Channel, Gone
from edgelnn_profiling.remote.there.describing import describe_board, versions
from edgelnn_profiling.remote.there.folders import (
    Lock,
    hold_folder,
    make_site,
    plain_name,
    remove_ownerless,
    unpack_wheel,
)
from edgelnn_profiling.remote.there.processes import run_process

__all__ = ["GREETING", "main"]

GREETING = "EDGELNN-AGENT "


class Agent:
    """What can be asked; each method named ``do_…`` answers one kind of line."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.root = Path()
        self.run = Path()
        self.made: list[Path] = []
        self.locks: list[int] = []

    def serve(self) -> None:
        """Answer until told to stop, or until nobody asks any more."""
        greeting = "\n" + GREETING  # What a login printed before it may have ended no line.
        try:
            while True:
                request = json.loads(self.channel.line())
                self.channel.left = request["bytes"]
                try:
                    answer, data = getattr(self, "do_" + request["do"])(request)
                except OSError as error:
                    answer, data = self._explain(error), b""
                except (subprocess.SubprocessError, zipfile.BadZipFile, ValueError) as error:
                    answer, data = {"error": "other", "message": f"{type(error).__name__}: {error}"}, b""
                for _ in self.channel.pieces():
                    pass  # Not taken, as on a full disk; the next line begins behind it.
                if request["do"] == "quit":
                    self.clean()
                self.channel.say(answer, data, greeting)
                greeting = ""
                if request["do"] == "quit":
                    return
        except (Gone, BrokenPipeError):
            pass  # Nobody is left to tell.
        finally:
            self.clean()

    def clean(self) -> None:
        """Remove what this connection made, and folders above it that nothing else came to lie in."""
        if self.run != Path():
            shutil.rmtree(self.run, ignore_errors=True)
        for folder in reversed(self.made):
            try:
                folder.rmdir()
            except OSError:
                break  # Packages stay there.

    def do_begin(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Make the folder of this connection; say what this board is."""
        given = request["folder"]
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        self.root = Path(os.path.expanduser(given or os.path.join(cache, "edgelnn"))).absolute()
        for attempt in range(3):
            try:
                removed = self._move_in(given is None)
                break
            except FileNotFoundError:  # Another connection has just removed the folder, as nothing lay in it.
                if attempt == 2:
                    raise
        return {**describe_board(self.root), "removed": removed}, b""

    def _move_in(self, usual: bool) -> int:
        """Make the folder of this connection in ours; return how many without an owner were removed."""
        missing = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            self.made.append(folder)
        if usual and self.root not in self.made:
            self.made.append(self.root)  # Another connection made it, and may have ended before this one.
        with Lock(self.root):  # So that nobody takes a folder just made, not yet locked, for one without an owner.
            removed = remove_ownerless(self.root)
            self.run = Path(tempfile.mkdtemp(prefix="run-", dir=self.root))
            self.locks.append(hold_folder(self.run))
        return removed

    def do_put(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Store a file in the folder of this connection, if it arrives as it was sent."""
        path, digest = self.run / plain_name(request["name"]), hashlib.sha256()
        try:
            with open(path, "wb") as file:
                for piece in self.channel.pieces():
                    file.write(piece)
                    digest.update(piece)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        if digest.hexdigest() != request["sha256"]:
            path.unlink()
            return {"error": "damaged", "message": "a file did not arrive as it was sent"}, b""
        return {"path": str(path)}, b""

    def do_drop(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Remove a file that is not needed any more."""
        (self.run / plain_name(request["name"])).unlink(missing_ok=True)
        return {}, b""

    def do_unpack(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Unpack modules, and compile them now, so that no measured process has to."""
        archive, folder = self.run / plain_name(request["name"]), self.run / plain_name(request["into"])
        with zipfile.ZipFile(archive) as found:
            found.extractall(folder)
        archive.unlink()
        compileall.compile_dir(folder, quiet=2)
        return {"path": str(folder)}, b""

    def do_install(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Unpack wheels that were put here into a folder of packages, which appears whole or not at all."""

        def unpack(folder: Path) -> None:
            for name in request["wheels"]:
                unpack_wheel(self.run / plain_name(name), folder)
                (self.run / name).unlink()

        return self._made(request, unpack), b""

    def do_fetch(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Let this board's own pip fill a folder of packages."""

        def install(folder: Path) -> None:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            command += ["--no-input", "--only-binary=:all:", "--target", str(folder), *request["requirements"]]
            done = run_process(command, {}, b"", timeout_s=request["timeout_s"], folder=self.run)
            if done["code"] != 0 or done["timed_out"]:
                said = [line for line in done["stderr"].splitlines() if line.strip()] or ["pip did not finish in time"]
                errors = [line for line in said if line.startswith("ERROR")] or said
                raise ValueError(f"its pip says: {errors[-1].removeprefix('ERROR: ')[:300]}")

        return self._made(request, install), b""

    def do_run(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Run Python, give it a line, and say what came of it."""
        path = [*request["path"], *filter(None, [os.environ.get("PYTHONPATH", "")])]
        environment = {**request["environment"], "PYTHONPATH": os.pathsep.join(path)}
        command = [sys.executable, *request["arguments"]]
        said, timeout_s = request["input"].encode(), request["timeout_s"]
        answer = run_process(command, environment, said, timeout_s=timeout_s, folder=self.run)
        return answer, answer.pop("stdout")

    def do_quit(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Say goodbye."""
        return {}, b""

    def _made(self, request: dict[str, Any], fill: Callable[[Path], None]) -> dict[str, Any]:
        site = make_site(self.root, request["site"], request["note"], fill)
        return {"path": str(site), "packages": versions([str(site)])}

    def _explain(self, error: OSError) -> dict[str, Any]:
        kinds = {errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EACCES: "denied", errno.EROFS: "denied"}
        try:
            free = shutil.disk_usage(self.root).free
        except OSError:
            free = 0
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
        return {"error": kinds.get(error.errno or 0, "other"), "message": said, "free_bytes": free}


def main() -> None:
    """Serve the connection on stdin and stdout."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    Agent(Channel()).serve()
