"""The program on the board: it lives as long as a connection, stores files, starts workers, and cleans up after itself.

It is sent through the connection as text and needs nothing there but Python 3.11: standard library alone, one file. It
is asked in lines of JSON on stdin and answers in lines of JSON on stdout; ``"bytes": n`` in a line means that n bytes
follow it. No name and no path of the asking machine comes near a shell here.

All that it makes lies in one folder, ``~/.cache/edgelnn`` unless told: ``run-*`` for a connection, gone when that ends
however it ends, and ``site-*`` for packages, which stay. It holds a lock on its ``run-*``; whoever comes next removes
those without an owner (a power cut) and installations begun and never finished.
"""

from __future__ import annotations

import compileall
import errno
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import select
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

GREETING = "EDGELNN-AGENT "
IDLE_S = 900.0  # Without a word for so long, the other end is gone, whatever the network says.
PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert", "tflite-runtime")
NOTE = "edgelnn-site.json"
STDERR_BYTES = 8192
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
        greeting = GREETING
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
        missing = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            self.made.append(folder)
        if not given and self.root not in self.made:
            self.made.append(self.root)  # Another connection made it, and may have ended before this one.
        with _Lock(self.root):  # So that nobody takes a folder just made, not yet locked, for one without an owner.
            removed = self._remove_ownerless()
            self.run = Path(tempfile.mkdtemp(prefix="run-", dir=self.root))
            self.locks.append(_lock(self.run))
        return {**self._facts(), "removed": removed}, b""

    def do_put(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Store a file in the folder of this connection, if it arrives as it was sent."""
        path, digest = self.run / _plain(request["name"]), hashlib.sha256()
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
        (self.run / _plain(request["name"])).unlink(missing_ok=True)
        return {}, b""

    def do_unpack(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Unpack modules, and compile them now, so that no measured process has to."""
        archive, folder = self.run / _plain(request["name"]), self.run / _plain(request["into"])
        with zipfile.ZipFile(archive) as found:
            found.extractall(folder)
        archive.unlink()
        compileall.compile_dir(folder, quiet=2)
        return {"path": str(folder)}, b""

    def do_install(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Unpack wheels that were put here into a folder of packages, which appears whole or not at all."""

        def unpack(folder: Path) -> None:
            for name in request["wheels"]:
                _unpack_wheel(self.run / _plain(name), folder)
                (self.run / name).unlink()

        return self._new_site(request, unpack), b""

    def do_fetch(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Let this board's own pip fill a folder of packages."""

        def install(folder: Path) -> None:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            command += ["--no-input", "--only-binary=:all:", "--target", str(folder), *request["requirements"]]
            done = self._start(command, {}, b"", request["timeout_s"])
            if done["code"] != 0 or done["timed_out"]:
                said = [line for line in done["stderr"].splitlines() if line.strip()] or ["pip did not finish in time"]
                errors = [line for line in said if line.startswith("ERROR")] or said
                raise ValueError(f"its pip says: {errors[-1].removeprefix('ERROR: ')[:300]}")

        return self._new_site(request, install), b""

    def do_run(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Run Python, give it a line, and say what came of it."""
        path = [*request["path"], *filter(None, [os.environ.get("PYTHONPATH", "")])]
        environment = {**request["environment"], "PYTHONPATH": os.pathsep.join(path)}
        command = [sys.executable, *request["arguments"]]
        answer = self._start(command, environment, request["input"].encode(), request["timeout_s"])
        return answer, answer.pop("stdout")

    def do_quit(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Say goodbye."""
        return {}, b""

    def _start(self, command: list[str], extra: dict[str, str], said: bytes, timeout_s: float) -> dict[str, Any]:
        """Run a command to its end; kill it when its time is over, or when the connection is."""
        deadline, output, timed_out = time.monotonic() + timeout_s, [], False
        with tempfile.TemporaryFile(dir=self.run) as request, tempfile.TemporaryFile(dir=self.run) as errors:
            request.write(said)
            request.seek(0)
            worker = subprocess.Popen(
                command,
                stdin=request,
                stdout=subprocess.PIPE,
                stderr=errors,
                # ONNX Runtime, for one, leaves a file in the cache of whoever imports it.
                env={**os.environ, **extra, "TMPDIR": str(self.run), "XDG_CACHE_HOME": str(self.run)},
                cwd=self.run,
                start_new_session=True,
            )
            if worker.stdout is None:
                raise ValueError("a process was started without the pipe to hear it by")
            try:
                source = worker.stdout.fileno()
                while True:
                    left = deadline - time.monotonic()
                    ready = select.select([0, source], [], [], max(0.0, left))[0]
                    if 0 in ready:  # Nothing is asked while a worker runs, so this is the end of the connection.
                        raise Gone
                    if not ready:
                        timed_out = True
                        break
                    piece = os.read(source, 1 << 16)
                    if not piece:
                        break
                    output.append(piece)
                code = None if timed_out else worker.wait(max(1.0, deadline - time.monotonic()))
            finally:
                try:
                    os.killpg(worker.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # It came to its own end.
                worker.wait()
                worker.stdout.close()
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - STDERR_BYTES))
            text = errors.read().decode("utf-8", "replace")
        return {"code": code, "timed_out": timed_out, "stderr": text, "stdout": b"".join(output)}

    def _new_site(self, request: dict[str, Any], fill: Callable[[Path], None]) -> dict[str, Any]:
        """Make a folder of packages beside its place, and put it there when it is complete."""
        site = self.root / _plain(request["site"])
        with _Lock(self.root):
            partial = Path(tempfile.mkdtemp(prefix="partial-", dir=self.root))
            lock = _lock(partial)
        try:
            fill(partial)
            with open(partial / NOTE, "w", encoding="utf-8") as file:
                json.dump(request["note"], file)
            os.sync()
            try:
                partial.rename(site)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                shutil.rmtree(partial, ignore_errors=True)  # Someone else was faster; theirs is the same.
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            os.close(lock)
        return {"path": str(site), "packages": _versions([str(site)])}

    def _remove_ownerless(self) -> int:
        removed = 0
        for folder in (*self.root.glob("run-*"), *self.root.glob("partial-*")):
            try:
                os.close(_lock(folder))
            except OSError:
                continue  # Its owner is at work, or it is not ours to open.
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
        return removed

    def _facts(self) -> dict[str, Any]:
        sites = []
        for folder in sorted(self.root.glob("site-*")):
            if (folder / NOTE).is_file():
                sites.append({"name": folder.name, "path": str(folder), "packages": _versions([str(folder)])})
        free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
        return {
            "time_s": time.time(),
            "root": str(self.root),
            "free_bytes": shutil.disk_usage(self.root).free,
            "machine": platform.machine(),
            "bits": struct.calcsize("P") * 8,
            "system": platform.system(),
            "python": platform.python_version(),
            "implementation": sys.implementation.name,
            "abi": f"cp{sys.version_info[0]}{sys.version_info[1]}{free_threaded}",
            "executable": sys.executable,
            "glibc": _glibc(),
            "pip": importlib.util.find_spec("pip") is not None,
            "packages": _versions(sys.path),
            "sites": sites,
        }

    def _explain(self, error: OSError) -> dict[str, Any]:
        kinds = {errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EACCES: "denied", errno.EROFS: "denied"}
        try:
            free = shutil.disk_usage(self.root).free
        except OSError:
            free = 0
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
        return {"error": kinds.get(error.errno or 0, "other"), "message": said, "free_bytes": free}


class _Lock:
    """Keeps a folder locked while inside; waits for whoever has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.descriptor = os.open(self.folder, os.O_RDONLY)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def _lock(folder: Path) -> int:
    """Return what keeps a folder locked until it is closed or this process ends; OSError where another has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _plain(name: str) -> str:
    if not name or name.startswith(".") or not all(one.isalnum() or one in "._+-" for one in name):
        raise ValueError(f"got the name {name!r}; expected letters, digits, dots and dashes")
    return name


def _unpack_wheel(path: Path, folder: Path) -> None:
    """Unpack a wheel as an installer would, save for scripts and headers, which nothing here needs."""
    with zipfile.ZipFile(path) as wheel:
        for member in wheel.infolist():
            first, _, rest = member.filename.partition("/")
            if first.endswith(".data"):
                kind, _, inner = rest.partition("/")
                if kind not in ("purelib", "platlib") or not inner:
                    continue
                member.filename = inner
            wheel.extract(member, folder)


def _versions(path: list[str]) -> dict[str, str]:
    """Return the versions of the packages that matter among those installed in folders."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        for distribution in importlib.metadata.distributions(name=name, path=path):
            found.setdefault(name, distribution.version)
    return found


def _glibc() -> str:
    """Return the version of the GNU C library, or nothing where another one serves."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return ""
    return version if name == "glibc" else ""


def main() -> None:
    """Serve the connection on stdin and stdout."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    Agent(Channel()).serve()


if __name__ == "__main__":
    main()
