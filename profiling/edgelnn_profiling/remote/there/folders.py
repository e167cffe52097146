"""Our folder on the board: a part of it for each connection, and folders of packages, which appear whole or not at all.

``run-*`` is a connection's and is gone when that ends, however it ends; ``site-*`` holds packages and stays. The owner
of a ``run-*`` or of a site being made holds a lock on it; whoever comes next removes those without an owner. Where the
file system knows no locks on folders (NFS), none is ever taken for one without an owner.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["NOTE", "Lock", "hold_folder", "make_site", "plain_name", "remove_ownerless", "unpack_wheel"]

NOTE = "edgelnn-site.json"


def make_site(root: Path, name: str, note: object, fill: Callable[[Path], None]) -> Path:
    """Make a folder of packages beside its place, put it there when it is complete, and return its path.

    Args:
        root: Our folder.
        name: Of the new one.
        note: What is written down in it.
        fill: Puts packages into a folder.
    """
    site = root / plain_name(name)
    with Lock(root):
        partial = Path(tempfile.mkdtemp(prefix="partial-", dir=root))
        lock = hold_folder(partial)
    try:
        fill(partial)
        with open(partial / NOTE, "w", encoding="utf-8") as file:
            json.dump(note, file)
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
    return site


def remove_ownerless(root: Path) -> int:
    """Remove what connections left that ended without a chance to clean up; return how many there were."""
    removed = 0
    for folder in (*root.glob("run-*"), *root.glob("partial-*")):
        try:
            os.close(_lock(folder))
        except OSError:
            continue  # Its owner is at work, or there are no locks.
        shutil.rmtree(folder, ignore_errors=True)
        removed += 1
    return removed


def unpack_wheel(path: Path, folder: Path) -> None:
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


class Lock:
    """Keeps a folder locked while inside; waits for whoever has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.descriptor = os.open(self.folder, os.O_RDONLY)
        with contextlib.suppress(OSError):
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def hold_folder(folder: Path) -> int:
    """Return what keeps a folder, just made, one with an owner until it is closed or this process ends."""
    try:
        return _lock(folder)
    except OSError:  # Nobody else can have it, so there are no locks here.
        return os.open(folder, os.O_RDONLY)


def _lock(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def plain_name(name: str) -> str:
    """Return a name that stays in the folder it is put into."""
    if not name or name.startswith(".") or not all(one.isalnum() or one in "._+-" for one in name):
        raise ValueError(f"got the name {name!r}; expected letters, digits, dots and dashes")
    return name
