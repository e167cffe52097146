"""A board at the other end of an ssh connection, ready to measure and to answer."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from edgelnn.errors import BoardError
from edgelnn.manifest import ModelFormat
from edgelnn_profiling.remote.executor import RemoteExecutor
from edgelnn_profiling.remote.facts import BoardFacts, Site, why_never
from edgelnn_profiling.remote.installing import Say, provide_runtimes
from edgelnn_profiling.remote.luggage import pack_modules
from edgelnn_profiling.remote.session import Session
from edgelnn_profiling.remote.ssh import checked_host

__all__ = ["Board", "open_board"]


_LOGIN = threading.Lock()  # Two logins must not ask for their passwords at once.


@dataclass(frozen=True)
class Board:
    """A board that was opened.

    Attributes:
        host: As it was named.
        facts: What it said of itself.
        site: The folder of packages that is used there; None where it has all of its own.
        executor: Runs workers there.
        say: Told what takes long.
    """

    host: str
    facts: BoardFacts
    site: Site | None
    executor: RemoteExecutor
    say: Say

    @property
    def session(self) -> Session:
        """The connection."""
        return self.executor.session

    @property
    def packages(self) -> Mapping[str, str]:
        """Versions of numpy and of the runtimes that its workers find: installed ones before its own."""
        return {**self.facts.packages, **(self.site.packages if self.site else {})}

    def with_site(self, site: Site) -> Board:
        """Return the board with packages that were installed meanwhile."""
        executor = RemoteExecutor(self.session, [*self.executor.path, site.path], self.executor.refused)
        return replace(self, site=site, executor=executor)

    def try_code(self, code: str) -> tuple[int, str]:
        """Return the exit code, and what was said on stderr, of a fresh Python there that runs a line of code."""
        request = {"do": "run", "arguments": ["-P", "-c", code], "input": "", "timeout_s": 60.0}
        environment = {"ORT_DISABLE_TELEMETRY": "1"}
        answer, _ = self.session.ask(
            {**request, "path": self.executor.path, "environment": environment},
            what="trying a runtime",
            timeout_s=120.0,
        )
        return (1, "it does not end") if answer["timed_out"] else (int(answer["code"]), str(answer["stderr"]))


@contextmanager
def open_board(
    host: str,
    *,
    formats: Collection[ModelFormat] = (),
    install: bool = False,
    python: str | None = None,
    folder: str | None = None,
    say: Say = lambda text: None,
) -> Iterator[Board]:
    """Connect to a board over ssh, see that it has what is needed, and give it; nothing but packages stays there.

    Args:
        host: As ``ssh`` takes it: ``user@board``, or a name of its configuration.
        formats: Of the models that it shall run; none where it is only looked at. Where some of them cannot run there,
            their workers say why.
        install: Install missing runtimes into a folder of their own there.
        python: Path of its Python; the first that is 3.11 or newer unless given.
        folder: Our folder there; ``~/.cache/edgelnn`` unless given.
        say: Told what takes long.

    Raises:
        ConfigError: `host` is no host's name.
        BoardError: No connection, no Python 3.11, a runtime is missing or cannot be had, or the disk is full.
    """
    say("connecting")
    checked_host(host)
    with _LOGIN:
        session = Session(host, python=python, folder=folder)
    with session:
        facts = BoardFacts.from_answer(host, session.facts)
        reasons = {str(one): why_never(facts, one) for one in formats}
        refused = {one: f"{host}: {why}" for one, why in reasons.items() if why is not None}
        if formats and len(refused) == len(set(formats)):
            raise BoardError(f"{next(iter(refused.values()))}.")
        for why in refused.values():
            say(f"{why.removeprefix(f'{host}: ')}; the others are run")
        possible = [one for one in sorted(set(formats)) if one not in refused]
        wanted = provide_runtimes(session, facts, possible, install=install, say=say) if formats else None
        site = wanted if formats else facts.fullest_site()
        say("copying edgelnn")
        session.put("edgelnn.zip", pack_modules())
        answer, _ = session.ask(
            {"do": "unpack", "name": "edgelnn.zip", "into": "code"}, what="unpacking edgelnn", timeout_s=300.0
        )
        path = [str(answer["path"]), *([site.path] if site else [])]
        yield Board(host, facts, site, RemoteExecutor(session, path, refused), say)
