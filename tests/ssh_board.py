"""A real OpenSSH server on loopback with an emulated Raspberry Pi behind it, for as long as a test needs it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import entries_below

# A login enters the board's root in a mount namespace of its own: /dev is ours, /root the board's home.
INSIDE = """#!/bin/sh
export ROOT={root} BOARD_HOME={home}
exec /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin:/usr/sbin:/sbin ROOT={root} BOARD_HOME={home} {environment} \\
  unshare --mount sh -c '
    mount --bind /dev "$ROOT/dev" && mount --bind "$BOARD_HOME" "$ROOT/root" || exit 99
    exec chroot "$ROOT" "$@"
  ' board """
SHELL_THERE = (
    INSIDE
    + """/bin/sh -c "cd; $SSH_ORIGINAL_COMMAND"
"""
)
# Where a root holds no shell, the shell is this machine's, and Python alone the board's.
SHELL_HERE = """#!/bin/sh
PATH={folder}/bin:/usr/bin:/bin exec sh -c "$SSH_ORIGINAL_COMMAND"
"""
SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/user_key.pub
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
AcceptEnv LANG
ForceCommand {folder}/enter
"""
CLIENT = """
Host board
  HostName 127.0.0.1
  Port {port}
  User root
  HostKeyAlgorithms ssh-ed25519
Host *
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
"""


@dataclass(frozen=True)
class SshBoard:
    """A board that answers to ``ssh board`` while `programs` stands first in PATH.

    Attributes:
        folder: Keys, configuration, and what the server says.
        home: The board's home, as it is seen from here.
        server: The process id of its ssh server.
    """

    folder: Path
    home: Path
    server: int

    @property
    def programs(self) -> Path:
        """The folder of a program `ssh` that uses the keys and the configuration."""
        return self.folder / "client-bin"

    def left(self) -> list[str]:
        """What lies in the board's home, packages aside."""
        return [name for name in entries_below(self.home) if "site-" not in name]

    def connections(self) -> list[int]:
        """Processes of the server that hold a connection."""
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.server)], capture_output=True, text=True)
        return [int(line) for line in found.stdout.split()]


def emulated_root(*names: str) -> Path:
    """The root of the first of these emulated boards that there is; where it cannot be entered, the test is skipped."""
    boards = os.environ.get("EDGELNN_BOARDS", "")
    if not boards:
        pytest.skip("EDGELNN_BOARDS is not set: it names the folder of the emulated boards")
    root = next((Path(boards) / name for name in names if (Path(boards) / name).is_dir()), None)
    if root is None:
        pytest.skip(f"there is no {' nor '.join(names)} in {boards}")
    if os.geteuid() != 0:
        pytest.skip("entering an emulated board's root needs root")
    lacking = [name for name in ("ssh", "ssh-keygen", "sshd", "unshare") if shutil.which(name, path=_path()) is None]
    if lacking:
        pytest.skip(f"{', '.join(lacking)} missing: apt-get install openssh-server openssh-client util-linux")
    tried = subprocess.run(["chroot", root, "/usr/bin/python3.11", "-c", "print(1)"], capture_output=True, text=True)
    if tried.stdout.strip() != "1":
        pytest.skip(f"{root} cannot be entered ({tried.stderr.strip()[:200]}): make the boards with WITH_CHROOT=1")
    return root


@contextmanager
def serving(
    folder: Path, *, root: Path, home: Path | None = None, environment: str = "QEMU_CPU=cortex-a72"
) -> Iterator[SshBoard]:
    """Start a server with fresh keys in an empty folder, and end it with all its connections."""
    folder.mkdir(parents=True, exist_ok=True)
    home = folder / "home" if home is None else home
    home.mkdir(exist_ok=True)
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = {"folder": folder, "port": port, "root": root, "home": home, "environment": environment}
    (folder / "server").write_text(SERVER.format(**words))
    (folder / "client").write_text(CLIENT.format(**words))
    (folder / "bin").mkdir()
    (folder / "bin" / "python3").write_text(INSIDE.format(**words) + '/usr/bin/python3.11 "$@"\n')
    (folder / "enter").write_text((SHELL_THERE if (root / "bin" / "sh").exists() else SHELL_HERE).format(**words))
    (folder / "client-bin").mkdir()
    (folder / "client-bin" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/client "$@"\n')
    for program in (folder / "enter", folder / "client-bin" / "ssh", folder / "bin" / "python3"):
        program.chmod(0o755)
    key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}")
    Path("/run/sshd").mkdir(exist_ok=True)
    command = [str(shutil.which("sshd", path=_path())), "-D", "-e", "-f", folder / "server"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stderr=log)
    board = SshBoard(folder, home, server.pid)
    try:
        _wait_for(port, server, folder / "log")
        yield board
    finally:
        for connection in board.connections():
            os.kill(connection, 15)
        server.terminate()
        server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"sshd does not answer: {log.read_text()}")


def _path() -> str:
    return os.environ["PATH"] + ":/usr/sbin:/sbin"
