"""The connection: OpenSSH itself, with the user's own configuration, keys, known hosts and jump hosts."""

from __future__ import annotations

import base64
import os
import re
import shlex
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from edgelnn.errors import BoardError, ConfigError

__all__ = ["checked_host", "explain_failure", "remote_command", "ssh_command"]

NO_PYTHON = "EDGELNN-NO-PYTHON"
_TOO_OLD = 86  # Exit code of a Python before 3.11.
MODULES_THERE = ("channel", "processes", "folders", "describing", "agent")  # Each before those that import it.
_PYTHONS = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
_OPTIONS = (
    "ConnectTimeout=15",
    # A board that says nothing for a minute is gone.
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    # What the user's configuration may ask for and a program that talks through the connection cannot have.
    "RemoteCommand=none",
    "ClearAllForwardings=yes",
)
# Tries one Python after the other; where there is none, it says so in a line of its own, as what a login printed before
# may have ended no line. A login shell of any kind sees it between single quotes, and so it holds none, nor
# backslashes, exclamation marks or line breaks.
_SCRIPT = (
    'for p in "$@"; do command -v "$p" >/dev/null 2>&1 || continue; "$p" -c "$0"; c=$?; '
    f"[ $c = {_TOO_OLD} ] || exit $c; done; echo; echo {NO_PYTHON} $(uname -sm); "
    'for p in "$@"; do command -v "$p" >/dev/null 2>&1 && "$p" --version; done 2>&1; exit 0'
)


def checked_host(host: str) -> str:
    """Return a destination for ssh, as it was given.

    Args:
        host: ``board``, ``user@board`` or ``ssh://user@board:port``; names of the user's configuration among them.

    Raises:
        ConfigError: It is empty, would be taken for an option, or holds what no name of a host holds.

    >>> checked_host("pi@raspberrypi.local")
    'pi@raspberrypi.local'
    """
    name = host.removeprefix("ssh://")
    address = name.rpartition("@")[2]
    suspect = any(one.isspace() or not one.isprintable() or one in "\"'`$;&|<>(){}\\*?!#" for one in host)
    if suspect or not address or name.startswith(("-", "@")) or address.startswith("-"):
        raise ConfigError(
            f"got --on {host!r}; expected a host as ssh takes it: pi@raspberrypi.local, or ssh://pi@host:22."
        )
    return host


def ssh_command(host: str, command: str) -> list[str]:
    """Return the command line that connects.

    Args:
        host: As `checked_host` returns it.
        command: What the login shell on the other side is given.
    """
    options = [word for option in _OPTIONS for word in ("-o", option)]
    # Without a terminal nobody can answer a question, and ssh is not to wait for it.
    batch = [] if _someone_watches() else ["-o", "BatchMode=yes"]
    return ["ssh", "-T", "-a", "-x", *options, *batch, "--", host, command]


def remote_command(program: str, python: str | None = None) -> str:
    """Return the command that runs a program in the board's Python, its input left to the program.

    Args:
        program: Text of a Python program.
        python: Which Python; the first of the usual names that is 3.11 or newer unless given.
    """
    packed = base64.b64encode(zlib.compress(program.encode(), 9)).decode()
    code = (
        f"import sys; sys.version_info < (3, 11) and sys.exit({_TOO_OLD}); "
        'sys.path[:1] == [""] and sys.path.pop(0); import base64, zlib; '
        f'exec(zlib.decompress(base64.b64decode("{packed}")))'
    )
    names = _PYTHONS if python is None else (python,)
    return f"sh -c '{_SCRIPT}' '{code}' {' '.join(map(_argument, names))}"


def _argument(path: str) -> str:
    """Return a path quoted, save for the tilde that stands for the home there."""
    home, rest = ("~/", path[2:]) if path.startswith("~/") else ("", path)
    return home + shlex.quote(rest)


def _someone_watches() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return sys.stderr is not None and sys.stderr.isatty()


def start_ssh(host: str, command: str) -> subprocess.Popen[bytes]:
    """Start ssh; passwords and questions of it go through the terminal, past its pipes.

    Raises:
        BoardError: There is no ssh.
    """
    try:
        return subprocess.Popen(
            ssh_command(host, command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
    except FileNotFoundError as error:
        raise BoardError("--on needs OpenSSH's client: sudo apt install openssh-client.") from error
    except OSError as error:
        raise BoardError(f"cannot start ssh: {error.strerror}.") from error


def agent_program() -> str:
    """Return the text of the program for the board: the modules of `edgelnn_profiling.remote.there`, and a call."""
    folder, package = Path(__file__).parent / "there", "edgelnn_profiling.remote.there"
    texts = {f"{package}.{name}": (folder / f"{name}.py").read_text("utf-8") for name in MODULES_THERE}
    return (
        "import sys, types\n"
        f"for name, text in {texts!r}.items():\n"
        "    module = sys.modules[name] = types.ModuleType(name)\n"
        "    exec(compile(text, name, 'exec'), module.__dict__)\n"
        f"sys.modules['{package}.agent'].main()\n"
    )


def explain_failure(host: str, stderr: str) -> str:
    """Return in one line why ssh did not connect, and what to do.

    >>> explain_failure("pi@nowhere", "ssh: Could not resolve hostname nowhere: Name or service not known")
    'pi@nowhere: there is no host of that name. Check the spelling, or give its address.'
    """
    for pattern, words in _FAILURES:
        if re.search(pattern, stderr):
            return f"{host}: {words.format(**_details(host, stderr))}"
    last = (stderr.strip().splitlines() or ["ssh said nothing"])[-1].strip()
    return f"{host}: no connection: {last[:300].rstrip('.')}. Try `ssh {shlex.quote(host)}`."


_FAILURES: Sequence[tuple[str, str]] = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED|host key .* has changed",
        "its host key is not the one known here, so this may be another machine; nothing was sent. Only if you know "
        "why (the board was set up anew), remove the old key: {remove}",
    ),
    (
        "Host key verification failed|No .* host key is known",
        "its host key is not known here. Connect once with `ssh {host}`, compare the fingerprint and accept it.",
    ),
    (
        "Permission denied|Too many authentication failures",
        "the login was refused. See that `ssh {host}` works: ssh-copy-id {host}",
    ),
    ("Could not resolve hostname", "there is no host of that name. Check the spelling, or give its address."),
    (
        "Connection refused",
        "the machine is there, but no ssh server answers. On a Raspberry Pi: sudo raspi-config.",
    ),
    (
        "timed out|No route to host|Network is unreachable|Host is down",
        "the machine does not answer. Is it on, and in this network?",
    ),
    ("Bad configuration option|terminating, .* bad configuration", "ssh does not understand its configuration: {last}"),
)


def _details(host: str, stderr: str) -> dict[str, str]:
    found = re.search(r"^\s*(ssh-keygen .*-R .*?)\s*$", stderr, re.MULTILINE)
    name = shlex.quote(host.rpartition("@")[2].removeprefix("ssh://"))
    last = (stderr.strip().splitlines() or [""])[-1].strip()
    remove = found.group(1) if found else f"ssh-keygen -R {name}"
    return {"host": shlex.quote(host), "remove": remove, "last": last[:300]}
