"""Files and folders that appear whole or not at all, whatever happens while they are written.

What is being written lies beside its target under a hidden name, ``.NAME.XXXXXXXX.edgelnn-partial``, and takes the
target's place by one rename when it is complete and on the disk. The writer holds a lock on it, which the system lifts
when the process dies however it dies: the next write to the same target finds such left-overs without an owner and
removes them. A folder that was replaced is called ``.NAME.XXXXXXXX.edgelnn-discarded`` while it is removed, so that
half of one is never taken for a whole. Imports the standard library alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgelnn.errors import WriteError

__all__ = [
    "FOLDER_MARKERS",
    "check_replaceable",
    "check_writable",
    "discard_folder",
    "hold_folder",
    "move_folder_into_place",
    "new_folder_atomically",
    "remove_leftovers",
    "write_bytes_atomically",
    "write_text_atomically",
]

PARTIAL = ".edgelnn-partial"
DISPLACED = ".edgelnn-displaced"  # the only copy of a folder, between the two renames that replace it
DISCARDED = ".edgelnn-discarded"
FOLDER_MARKERS = ("environment.json", "manifest.json")
"""A folder that `force` may replace holds one of these files: it is a run or a bundle, not someone's photographs."""

RENAME_EXCHANGE = 2  # of renameat2(2): both names keep existing, their contents change places in one step


def write_bytes_atomically(path: Path | str, data: bytes, *, force: bool = True, durable: bool = True) -> None:
    """Write a file so that it holds the old bytes or the new ones, never something between.

    Args:
        path: Where to write; folders above it are made. A symbolic link is followed.
        data: The new contents.
        force: False refuses to replace a file that exists.
        durable: Wait until the bytes are on the disk. False survives the death of the process at any moment but
            perhaps not a power cut, and saves the milliseconds that waiting takes.

    Raises:
        WriteError: No permission, no space, the path is a folder, or it exists and may not be replaced.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new" / "hello.txt"
    >>> write_bytes_atomically(path, b"hello")
    >>> path.read_bytes()
    b'hello'
    """
    target = Path(os.path.realpath(path))
    with _explained(target):
        _refuse_target(target, force)
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        descriptor, partial = _new_locked(target, folder=False)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            if durable:
                os.fsync(descriptor)
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        if durable:
            _fsync_folder(target.parent)


def write_text_atomically(path: Path | str, text: str, *, force: bool = True, durable: bool = True) -> None:
    r"""Write UTF-8 text with `write_bytes_atomically`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "hello.txt"
    >>> write_text_atomically(path, "µ")
    >>> path.read_bytes()
    b'\xc2\xb5'
    """
    write_bytes_atomically(path, text.encode(), force=force, durable=durable)


def check_writable(path: Path | str, *, force: bool) -> None:
    """Refuse what `write_bytes_atomically` would refuse, before the work is done whose result is to be written.

    Where folders are still to be made, the nearest one that is there is tried with a file without a name.

    Args:
        path: Where something is to be written.
        force: Whether a file that exists may be replaced.

    Raises:
        WriteError: The path is a folder or leads through a file, it exists and may not be replaced, no folder can be
            made there, no permission, no space.
    """
    target = Path(os.path.realpath(path))
    with _explained(target):
        try:
            _refuse_target(target, force)
            nearest = next(folder for folder in target.parents if os.path.lexists(folder))
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except FileNotFoundError as error:  # as in /proc
            raise WriteError(f"cannot write {target}: nothing can be made there. Choose another folder.") from error
        except OSError as error:  # in the name of the target, not of what was tried
            raise OSError(error.errno, error.strerror, str(target)) from error


def _refuse_target(target: Path, force: bool) -> None:
    """Raise `WriteError` where `target` cannot be a file that is written; `OSError` where it cannot be a path."""
    with contextlib.suppress(FileNotFoundError):
        kind = os.lstat(target).st_mode
        if stat.S_ISDIR(kind):
            raise WriteError(f"got {target} to write a file to; it is a folder. Name a file in it.")
        if not force:
            raise WriteError(f"{target} exists. Pass --force to replace it, or choose another name.")


@contextlib.contextmanager
def new_folder_atomically(
    path: Path | str, force: bool = False, *, markers: Sequence[str] = FOLDER_MARKERS
) -> Iterator[Path]:
    """Give a hidden folder to fill; when the block ends without an error, it becomes `path` in one step.

    Args:
        path: The folder to make; folders above it are made. A symbolic link is followed.
        force: Replace a folder that exists; it stays untouched until the new one is complete.
        markers: `force` replaces only folders that are empty or hold a file of one of these names.

    Yields:
        The hidden folder to write into.

    Raises:
        WriteError: No permission, no space, the path is a file, or it exists and may not be replaced.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "bundle"
    >>> with new_folder_atomically(path) as folder:
    ...     _ = (folder / "manifest.json").write_text("{}")
    ...     path.exists()
    False
    >>> (path / "manifest.json").exists()
    True
    """
    target = Path(os.path.realpath(path))
    with _explained(target):
        check_replaceable(target, force, markers)
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        descriptor, partial = _new_locked(target, folder=True)
        try:
            yield partial
            _fsync_tree(partial)
            check_replaceable(target, force, markers)
            _put_in_place(partial, target, force)
        finally:
            os.close(descriptor)
            shutil.rmtree(partial, ignore_errors=True)
        _fsync_folder(target.parent)


def move_folder_into_place(source: Path, target: Path, *, markers: Sequence[str] = FOLDER_MARKERS) -> None:
    """Make a complete folder take the place of another one, or of none, in one step; the old one is removed.

    Both names stay what they were until the step, and `source` is free once it is done: it never names what is left of
    the old folder while that is removed.

    Args:
        source: The complete folder, on the same disk.
        target: What it shall become.
        markers: It replaces only a folder that is empty or holds a file of one of these names.

    Raises:
        WriteError: No permission, no space, or the target is a file or a folder that may not be replaced.
    """
    target = Path(os.path.realpath(target))
    with _explained(target):
        remove_leftovers(target)
        check_replaceable(target, True, markers)
        _fsync_tree(source)
        _put_in_place(source, target, force=True)
        _fsync_folder(target.parent)
        if source.exists():
            discard_folder(source, target)


def discard_folder(path: Path, target: Path) -> None:
    """Remove a folder that is not needed any more, in one step for whoever looks on.

    Args:
        path: The folder.
        target: What replaced it, beside it: the next write there removes what a process leaves that is killed here.

    Raises:
        WriteError: No permission.
    """
    target = Path(os.path.realpath(target))
    with _explained(target):
        hidden = _hidden_beside(target, DISCARDED)
        os.rename(path, hidden)
        _fsync_folder(target.parent)
        shutil.rmtree(hidden, ignore_errors=True)


@contextlib.contextmanager
def hold_folder(path: Path, *, busy: str) -> Iterator[None]:
    """Keep other processes that ask for the same folder away while the block runs, where its file system has locks.

    Args:
        path: A folder that exists.
        busy: What `WriteError` says where another process holds it, or has just put another in its place.
    """
    with _explained(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise WriteError(busy) from error
    try:
        if _lock(descriptor) is False or not _is_at(descriptor, path):
            raise WriteError(busy)
        yield
    finally:
        os.close(descriptor)


def check_replaceable(path: Path, force: bool, markers: Sequence[str] = FOLDER_MARKERS) -> None:
    """Raise `WriteError` where a folder cannot be made at `path` by a rename.

    Args:
        path: The folder to make.
        force: Replacing one that exists is allowed.
        markers: One of the files that a folder to be replaced must hold.

    Raises:
        WriteError: It is a file, the process runs in it, or it is there and may not be replaced.
    """
    target = Path(os.path.realpath(path))
    with _explained(target):
        if not target.exists():
            return
        if not target.is_dir():
            raise WriteError(f"got {target} to make a folder; it is a file. Choose another name.")
        if _runs_in(target):
            raise WriteError(
                f"got {target} to make a folder; this command runs in it, and would be left in one that is gone. Name "
                "a new folder, or go elsewhere first: cd .."
            )
        contents = {entry.name for entry in target.iterdir()}
    if not contents:
        return
    if not force:
        raise WriteError(f"{target} exists and is not empty. Pass --force to replace it, or choose another name.")
    if contents.isdisjoint(markers):
        raise WriteError(
            f"{target} is not replaced even with --force: it holds no {' or '.join(markers)}, so it is something "
            "else. Choose another name."
        )


def remove_leftovers(target: Path) -> None:
    """Remove what killed processes left beside `target`; put back a folder that was killed between two renames.

    Args:
        target: A file or folder that was to be written, or still is; links are not followed.
    """
    endings = "|".join(re.escape(ending) for ending in (PARTIAL, DISPLACED, DISCARDED))
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}({endings})")
    for entry in list(target.parent.iterdir()):
        if not ours.fullmatch(entry.name):
            continue
        try:
            descriptor = os.open(entry, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # gone meanwhile, or another user's: not ours to judge
            continue
        try:
            if not _lock(descriptor):  # without locks, nobody can tell a left-over from a write under way
                continue
            if entry.name.endswith(DISPLACED) and not target.exists():
                os.rename(entry, target)
            elif entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _runs_in(folder: Path) -> bool:
    """Whether this process's current folder is `folder` or below it."""
    try:
        return Path.cwd().is_relative_to(folder)
    except FileNotFoundError:  # it runs in a folder that is gone already
        return False


def _put_in_place(partial: Path, target: Path, force: bool) -> None:
    """Make `partial` the folder `target`; what was there before is then at `partial`, or gone."""
    try:
        os.rename(partial, target)  # also where `target` is an empty folder
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not force:  # made by another process since we looked
            raise WriteError(f"{target} exists by now. Pass --force to replace it, or choose another name.") from error
    if _exchange(partial, target):
        return
    displaced = _hidden_beside(target, DISPLACED)
    os.rename(target, displaced)
    os.rename(partial, target)
    discard_folder(displaced, target)


def _hidden_beside(target: Path, ending: str) -> Path:
    """Return a new hidden name beside `target`."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{ending}")


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system or the file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    here = ctypes.c_int(-100)  # AT_FDCWD: the paths are absolute
    if renameat2(here, os.fsencode(one), here, os.fsencode(other), ctypes.c_uint(RENAME_EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def _new_locked(target: Path, *, folder: bool) -> tuple[int, Path]:
    """Make a hidden sibling of `target` that we hold the lock of; return its descriptor and path."""
    while True:
        partial = _hidden_beside(target, PARTIAL)
        if folder:
            partial.mkdir()
            descriptor = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
        else:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        # Another process cleaning up may have seen it between its birth and our lock: then make another.
        if _lock(descriptor) is not False and partial.exists():
            return descriptor, partial
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open folder is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool | None:
    """Take the lock of an open file or folder; False where another process has it, None where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.EBADF):
            return None  # EBADF: NFS, which locks no folder
        raise
    return True


def _fsync_tree(folder: Path) -> None:
    """Wait until everything in a folder is on the disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _fsync_folder(Path(parent))


def _fsync_folder(folder: Path) -> None:
    """Wait until a folder's entries are on the disk, where its file system can say so."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Turn the system's errors about `target` and what lies beside it into one line that says what to do."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        elsewhere = error.filename is not None and not _is_beside(error.filename, target)
        if reason is None or (elsewhere and error.errno not in _DISK_FULL):
            raise
        raise WriteError(f"cannot write {target}: {reason}") from error


def _is_beside(filename: str | bytes | int, target: Path) -> bool:
    """Whether a file that an error names is the target, in its folder, or a folder above it."""
    if isinstance(filename, int):
        return True
    path = Path(os.fsdecode(filename))
    return path.is_relative_to(target.parent) or target.is_relative_to(path)


_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_REASONS = {
    errno.EACCES: "no permission there. Choose another folder, or change its permissions.",
    errno.EPERM: "no permission there. Choose another folder, or change its permissions.",
    errno.EROFS: "that file system is read-only. Choose another folder.",
    errno.ENOSPC: "no space left on that disk. Free some, or choose a folder on another one.",
    errno.EDQUOT: "your disk quota is used up. Free some space, or choose a folder on another disk.",
    errno.EFBIG: "the file is larger than is allowed there. Choose a folder on another disk.",
    errno.ENOTDIR: "a part of that path is a file, not a folder. Choose another name.",
    errno.EEXIST: "a part of that path is a file, not a folder. Choose another name.",
    errno.ELOOP: "its symbolic links go in a circle. Choose another name.",
    errno.ENAMETOOLONG: "the name is too long for that file system. Choose a shorter one.",
}
