"""One published file, downloaded so that an interruption costs nothing and only the right bytes are kept.

What has arrived waits in ``NAME.part`` beside the target. A later attempt asks the server for the rest (HTTP Range),
and starts over where the server does not know ranges. The file gets its name only once its checksum is right.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgelnn.data.catalogue import OfficialFile
from edgelnn.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import requests

__all__ = ["Progress", "download_file", "is_official", "md5_of"]

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all (0: not known); bytes here, images elsewhere."""

ATTEMPTS = 4
CONNECT_S, READ_S = 10, 60
CHUNK_BYTES = 2**15  # what a broken connection loses at most


def download_file(official: OfficialFile, folders: Sequence[Path], *, progress: Progress | None = None) -> Path:
    """Return where the file has been downloaded to.

    Args:
        official: Its name, address and checksum.
        folders: Where it was looked for; it goes to the first, which is made where it does not exist.
        progress: Called with bytes done and bytes in all.

    Raises:
        DataError: No connection, no permission, no space, or other bytes than the official ones.
        MissingExtraError: requests is not installed.
    """
    try:
        import requests
    except ImportError as error:
        raise MissingExtraError("downloading data", "requests", "train") from error
    target = folders[0] / official.name
    looked_for = f"{official.name} is not in {' or '.join(map(str, folders))}, and comes from {official.url}"
    by_hand = f"Download it on another machine and put it at {target}."
    try:
        folders[0].mkdir(parents=True, exist_ok=True)
        with _locked_part(target) as part:
            for _ in range(2):
                resumed = _size(part) > 0
                _complete(part, official, target, progress)
                part.flush()  # or the last few kilobytes are not in the file yet
                if is_official(Path(part.name), official):
                    os.fsync(part.fileno())
                    os.replace(part.name, target)
                    return target
                part.truncate(0)
                if not resumed:
                    break
    except requests.RequestException as error:
        raise DataError(f"{looked_for}, but {_why(error)}. Try again, or: {by_hand}") from error
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror or error}. Choose another --data-root."
        ) from error
    raise DataError(
        f"{official.url} gave other bytes than the official {official.name} (expected {official.checksum}); "
        f"nothing was kept. Try again later, or: {by_hand}"
    )


def is_official(path: Path, official: OfficialFile) -> bool:
    """Return whether a file has the checksum of the published one."""
    if official.md5:
        return md5_of(path) == official.md5
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(official.sha256)


def md5_of(path: Path) -> str:
    """Return the MD5 sum of a file in hex: MedMNIST publishes no other."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _complete(part: IO[bytes], official: OfficialFile, target: Path, progress: Progress | None) -> None:
    """Append to the part file until it is as long as the server says."""
    import requests

    for _ in range(ATTEMPTS):
        before = _size(part)
        try:
            if _fetch_rest(part, official.url, target, progress):
                return
        except requests.RequestException:
            # A connection that broke on the way is taken up again; one that gives nothing is not.
            if _size(part) <= before:
                raise
    raise DataError(
        f"{official.url} broke off after {_size(part)} bytes; they are kept in {part.name}. "
        "Run again to go on from there."
    )


def _fetch_rest(part: IO[bytes], url: str, target: Path, progress: Progress | None) -> bool:
    """Append what is missing; return whether the part file is whole by what the server says."""
    import requests

    start = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(url, headers=headers, stream=True, timeout=(CONNECT_S, READ_S)) as response:
        first, total = _place_in_file(response, start)
        if first is None or first == 0:
            part.truncate(0)
        if first is None:
            return False
        if first == total > 0:
            return True
        _check_space(total - first, target)
        done = first
        for chunk in response.iter_content(CHUNK_BYTES):
            part.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
        return total in (0, done)


def _place_in_file(response: requests.Response, start: int) -> tuple[int | None, int]:
    """Return where in the file the answer begins (None: start over) and how long the whole file is (0: not said)."""
    import requests

    said = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status_code == requests.codes.requested_range_not_satisfiable and start:
        return (start, start) if said is not None and said[2] == str(start) else (None, 0)
    response.raise_for_status()
    if response.status_code == requests.codes.partial_content:
        fits = said is not None and said[1] == str(start) and said[2].isdecimal()
        return (start, int(said[2])) if said is not None and fits else (None, 0)
    return 0, int(response.headers.get("Content-Length", 0))


def _check_space(needed_bytes: int, target: Path) -> None:
    free = shutil.disk_usage(target.parent).free
    if needed_bytes > free:
        raise DataError(
            f"{target} needs {needed_bytes / 1e6:.0f} MB more; {free / 1e6:.0f} MB are free there. "
            "Make room, or choose another folder: --data-root, or EDGELNN_DATA."
        )


@contextmanager
def _locked_part(target: Path) -> Iterator[IO[bytes]]:
    """Open the part file for one process at a time; take it away again where nothing is left in it."""
    import fcntl

    path = target.with_name(target.name + ".part")
    with path.open("ab") as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"another process is downloading {target}. Wait for it, then run again.") from error
        try:
            yield part
        finally:
            if _size(part) == 0:
                path.unlink(missing_ok=True)


def _size(part: IO[bytes]) -> int:
    part.flush()
    return os.fstat(part.fileno()).st_size


def _why(error: requests.RequestException) -> str:
    import requests

    if error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    if isinstance(error, requests.ConnectionError):
        return "there is no connection to it from here"
    return f"that failed: {error}"
