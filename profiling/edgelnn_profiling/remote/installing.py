"""Runtimes on a board: what is there is used; what is missing goes into a folder of its own, where that is asked."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from edgelnn.errors import BoardError
from edgelnn.manifest import ModelFormat
from edgelnn_profiling.remote.facts import BoardFacts, Site, requirements_for
from edgelnn_profiling.remote.session import Session
from edgelnn_profiling.remote.wheels import download_wheels, unpacked_bytes

__all__ = ["Say", "install_runtimes", "provide_runtimes"]

Say = Callable[[str], None]
_INSTALL_S = 1800.0
_SPARE_BYTES = 20_000_000


def provide_runtimes(
    session: Session, facts: BoardFacts, formats: Collection[ModelFormat], *, install: bool, say: Say
) -> Site | None:
    """Return the folder of packages that makes a board run formats; None where it needs none.

    Args:
        session: The connection.
        facts: Of the board.
        formats: What has to run; a runtime for each can be had.
        install: Whether what is missing may be installed.
        say: Told what takes long.

    Raises:
        BoardError: Something is missing and may not be, or cannot be, installed.
    """
    lacking = facts.lacking(formats)
    if not lacking:
        return None
    site = facts.site_for(formats)
    if site is not None:
        return site
    if not install:
        raise BoardError(
            f"{session.host} ({facts.words}) has no {' and no '.join(lacking)}. Pass --install to put what is missing "
            f"into {facts.root} there; nothing else is touched."
        )
    return install_runtimes(session, facts, formats, say)


def install_runtimes(session: Session, facts: BoardFacts, formats: Collection[ModelFormat], say: Say) -> Site:
    """Install runtimes into a new folder on a board: from wheels found here, else by the board's own pip.

    Raises:
        BoardError: Neither way leads there, or there is too little room.
    """
    requirements = list(requirements_for(facts, formats))
    if facts.arm32 and "numpy" in facts.packages:
        requirements = requirements[1:]
    name = _site_name(facts, requirements)
    request = {"site": name, "note": {"requirements": requirements, "python": facts.python}}
    with tempfile.TemporaryDirectory(prefix="edgelnn-wheels-") as folder:
        say(f"looking for wheels of {', '.join(requirements)} for {facts.words}")
        try:
            wheels = download_wheels(facts, requirements, Path(folder))
        except BoardError as error:
            return _fetched_there(session, facts, request, requirements, error, say)
        needed = unpacked_bytes(wheels) + _SPARE_BYTES
        if needed > facts.free_bytes:
            raise BoardError(
                f"{session.host}: the disk of {facts.root} has {facts.free_bytes / 1e6:.0f} MB free, and "
                f"{needed / 1e6:.0f} MB are needed. Make room there, or name another folder: --remote-folder PATH."
            )
        for number, wheel in enumerate(wheels, start=1):
            say(f"copying {wheel.name.split('-')[0]} ({wheel.stat().st_size / 1e6:.1f} MB), {number} of {len(wheels)}")
            session.put(wheel.name, wheel.read_bytes())
        say("unpacking there")
        names = [wheel.name for wheel in wheels]
        answer, _ = session.ask({"do": "install", **request, "wheels": names}, what="installing", timeout_s=_INSTALL_S)
    return Site(name, str(answer["path"]), dict(answer["packages"]))


def _fetched_there(
    session: Session, facts: BoardFacts, request: Mapping[str, Any], requirements: list[str], why: BoardError, say: Say
) -> Site:
    """Let the board's pip do what could not be done here."""
    mend = "sudo apt install python3-numpy there" if facts.arm32 else "install pip there (sudo apt install python3-pip)"
    if not facts.pip:
        raise BoardError(f"{session.host}: {str(why).rstrip('.')}, and it has no pip of its own. Try: {mend}.") from why
    say("no wheels were found from here; its own pip looks for them")
    fetch = {"do": "fetch", **request, "requirements": requirements, "timeout_s": _INSTALL_S}
    try:
        answer, _ = session.ask(fetch, what="installing with its own pip", timeout_s=_INSTALL_S + 60)
    except BoardError as error:
        raise BoardError(f"{str(error).rstrip('.')}; and from here: {why}") from error
    return Site(str(request["site"]), str(answer["path"]), dict(answer["packages"]))


def _site_name(facts: BoardFacts, requirements: list[str]) -> str:
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:12]
    return f"{facts.site_prefix}{digest}"
