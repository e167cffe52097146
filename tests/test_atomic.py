from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgelnn import atomic
from edgelnn.atomic import (
    check_writable,
    hold_folder,
    new_folder_atomically,
    write_bytes_atomically,
    write_text_atomically,
)
from edgelnn.errors import WriteError

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")


def hidden(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]


def raising(number: int):
    def function(*args: object, **options: object) -> int:
        raise OSError(number, os.strerror(number))

    return function


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_made_with_the_folders_above_it_and_replaced(tmp_path, durable):
    path = tmp_path / "a" / "b" / "file.bin"
    write_bytes_atomically(path, b"one", durable=durable)
    write_bytes_atomically(str(path), b"two", durable=durable)
    assert path.read_bytes() == b"two"
    assert hidden(path.parent) == []


def test_text_is_utf8(tmp_path):
    write_text_atomically(tmp_path / "t", "µs")
    assert (tmp_path / "t").read_bytes() == "µs".encode()


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes_atomically(tmp_path / "t", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "t").stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path):
    real = tmp_path / "real"
    real.write_bytes(b"old")
    (tmp_path / "link").symlink_to(real)
    write_bytes_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert real.read_bytes() == b"new"


def test_a_file_is_not_replaced_against_its_will(tmp_path):
    (tmp_path / "t").write_bytes(b"old")
    with pytest.raises(WriteError, match=r"exists\. Pass --force"):
        write_bytes_atomically(tmp_path / "t", b"new", force=False)
    assert (tmp_path / "t").read_bytes() == b"old"


def test_a_folder_is_not_written_as_a_file(tmp_path):
    with pytest.raises(WriteError, match="is a folder"):
        write_bytes_atomically(tmp_path, b"")


@pytest.mark.parametrize("write", [lambda path: write_bytes_atomically(path, b""), lambda path: enter(path)])
def test_a_file_in_the_middle_of_the_path_is_named(tmp_path, write):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteError, match="a part of that path is a file"):
        write(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("file/below.json", "a part of that path is a file"),
        ("file/deep/below.json", "a part of that path is a file"),
        ("folder", "is a folder"),
        ("file", "Pass --force"),
        ("x" * 300, "the name is too long"),
        pytest.param("/proc/new/report.json", "nothing can be made there", marks=needs_proc),
    ],
)
def test_what_cannot_be_written_is_told_beforehand(tmp_path, name, words):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match=words) as caught:
        check_writable(tmp_path / name, force=False)
    assert "\n" not in str(caught.value)


def test_what_can_be_written_leaves_nothing_behind_when_tried(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    check_writable(tmp_path / "file", force=True)
    check_writable(tmp_path / "new" / "deep" / "report.json", force=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize(("number", "words"), [(errno.EACCES, "no permission"), (errno.EROFS, "read-only")])
def test_the_nearest_folder_is_tried(tmp_path, monkeypatch, number, words):
    monkeypatch.setattr(atomic.tempfile, "TemporaryFile", raising(number))
    with pytest.raises(WriteError, match=f"{tmp_path / 'new' / 'report.json'}: .*{words}"):
        check_writable(tmp_path / "new" / "report.json", force=False)


def enter(path: Path, force: bool = False) -> None:
    with new_folder_atomically(path, force) as folder:
        (folder / "manifest.json").write_text("new")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "larger than is allowed"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "no permission"),
    ],
)
def test_trouble_while_writing_leaves_the_old_file_and_one_clear_line(tmp_path, monkeypatch, number, words):
    path = tmp_path / "t"
    path.write_bytes(b"old")
    monkeypatch.setattr(atomic.os, "write", raising(number))
    with pytest.raises(WriteError, match=words) as caught:
        write_bytes_atomically(path, b"new")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert hidden(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0 and not hasattr(os, "fork"), reason="needs a process without root's powers")
def test_no_permission_is_said_to_an_unprivileged_user(tmp_path):
    """Root may write everywhere, so the attempt is made by a child process that gave its powers up."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    code = (
        "import os, sys\n"
        "from edgelnn.atomic import write_bytes_atomically\n"
        "from edgelnn.errors import WriteError\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: write_bytes_atomically(sys.argv[1], b'')\n"
        "except WriteError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(closed / "t")], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"cannot write {closed / 't'}: no permission there. Choose another folder, or change its permissions.\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_an_error_about_another_file_keeps_its_words(tmp_path):
    with pytest.raises(FileNotFoundError), new_folder_atomically(tmp_path / "new"):
        Path("/dev/nothing-here").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "deep" / "run"
    with new_folder_atomically(target) as folder:
        (folder / "figures").mkdir()
        (folder / "figures" / "a.png").write_bytes(b"png")
        assert not target.exists()
        assert folder.parent == target.parent
    assert (target / "figures" / "a.png").read_bytes() == b"png"
    assert hidden(target.parent) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_does_not_appear_when_something_fails(tmp_path, error):
    def fail() -> None:
        with new_folder_atomically(tmp_path / "run") as folder:
            (folder / "half").write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_without_force(tmp_path):
    (tmp_path / "run").mkdir()
    enter(tmp_path / "run")
    assert (tmp_path / "run" / "manifest.json").read_text() == "new"


def test_a_folder_is_replaced_only_by_force(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("old")
    (tmp_path / "run" / "more").write_text("old")
    with pytest.raises(WriteError, match=r"not empty\. Pass --force"):
        enter(tmp_path / "run")
    assert (tmp_path / "run" / "manifest.json").read_text() == "old"
    enter(tmp_path / "run", force=True)
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["manifest.json"]
    assert (tmp_path / "run" / "manifest.json").read_text() == "new"
    assert hidden(tmp_path) == []


def test_force_fails_whole(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("old")
    with pytest.raises(ValueError, match="no"), new_folder_atomically(tmp_path / "run", force=True):
        raise ValueError("no")
    assert (tmp_path / "run" / "manifest.json").read_text() == "old"


def test_force_does_not_delete_what_was_not_made_here(tmp_path):
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "grandmother.jpg").write_bytes(b"")
    with pytest.raises(WriteError, match="not replaced even with --force"):
        enter(tmp_path / "photographs", force=True)
    assert (tmp_path / "photographs" / "grandmother.jpg").exists()


def test_a_folder_is_not_made_over_a_file(tmp_path):
    (tmp_path / "run").write_bytes(b"old")
    with pytest.raises(WriteError, match="it is a file"):
        enter(tmp_path / "run", force=True)


def test_a_folder_is_replaced_where_the_file_system_cannot_exchange(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("old")
    enter(tmp_path / "run", force=True)
    assert (tmp_path / "run" / "manifest.json").read_text() == "new"
    assert hidden(tmp_path) == []


def test_no_space_inside_a_folder_is_one_clear_line(tmp_path):
    with pytest.raises(WriteError, match="no space left"), new_folder_atomically(tmp_path / "run") as folder:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "weights"))
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from edgelnn.atomic import hold_folder, new_folder_atomically, write_bytes_atomically
if sys.argv[2] == "folder":
    with new_folder_atomically(sys.argv[1], force=True) as folder:
        (folder / "half").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
else:
    os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
    write_bytes_atomically(sys.argv[1], b"half")
"""


def test_what_a_killed_process_leaves_is_hidden_and_removed_by_the_next_write(tmp_path):
    for kind in ("folder", "file"):
        done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / kind), kind], check=False)
        assert done.returncode == -signal.SIGKILL
    left = list(tmp_path.iterdir())
    assert len(left) == 2
    assert all(entry.name.startswith(".") and entry.name.endswith(".edgelnn-partial") for entry in left)
    enter(tmp_path / "folder")
    write_bytes_atomically(tmp_path / "file", b"whole")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_a_write_under_way_is_not_taken_for_a_leftover(tmp_path):
    with new_folder_atomically(tmp_path / "run") as first:
        (first / "manifest.json").write_text("first")
        enter(tmp_path / "run")
        assert (first / "manifest.json").exists()
        (tmp_path / "run" / "manifest.json").unlink()
    assert (tmp_path / "run" / "manifest.json").read_text() == "first"


def test_a_folder_killed_between_two_renames_is_put_back(tmp_path):
    displaced = tmp_path / ".run.0123abcd.edgelnn-displaced"
    displaced.mkdir()
    (displaced / "manifest.json").write_text("old")
    with pytest.raises(ValueError, match="no"), new_folder_atomically(tmp_path / "run", force=True):
        raise ValueError("no")
    assert (tmp_path / "run" / "manifest.json").read_text() == "old"


def test_the_leftovers_of_another_name_are_not_taken_for_ours(tmp_path):
    """``run.new`` was killed between its two renames: it is not put back as ``run``."""
    displaced = tmp_path / ".run.new.0123abcd.edgelnn-displaced"
    displaced.mkdir()
    (displaced / "manifest.json").write_text("of run.new")
    enter(tmp_path / "run")
    assert (displaced / "manifest.json").exists()
    enter(tmp_path / "run.new", force=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run", "run.new"]


def test_half_of_a_discarded_folder_is_never_put_back(tmp_path):
    discarded = tmp_path / ".run.0123abcd.edgelnn-discarded"
    discarded.mkdir()
    (discarded / "manifest.json").write_text("half")
    with pytest.raises(ValueError, match="no"), new_folder_atomically(tmp_path / "run", force=True):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_process_made_meanwhile_is_not_replaced_without_force(tmp_path, monkeypatch):
    """It appears between the last look and the rename."""
    monkeypatch.setattr(atomic, "check_replaceable", lambda *arguments: None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("first")
    with pytest.raises(WriteError, match="exists by now"):
        enter(tmp_path / "run")
    assert (tmp_path / "run" / "manifest.json").read_text() == "first"
    assert hidden(tmp_path) == []


def test_the_current_folder_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "bundle" / "below").mkdir(parents=True)
    (tmp_path / "bundle" / "manifest.json").write_text("old")
    monkeypatch.chdir(tmp_path / "bundle" / "below")
    for path in ("..", tmp_path / "bundle"):
        with pytest.raises(WriteError, match=r"this command runs in it.* cd \.\.$"):
            enter(path, force=True)
    assert (tmp_path / "bundle" / "manifest.json").read_text() == "old"


def test_a_folder_that_was_replaced_meanwhile_is_not_held(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()

    def replace_and_lock(descriptor: int) -> bool:
        (tmp_path / "run").rename(tmp_path / "old")
        (tmp_path / "run").mkdir()
        return True

    monkeypatch.setattr(atomic, "_lock", replace_and_lock)
    with pytest.raises(WriteError, match="busy"), hold_folder(tmp_path / "run", busy="busy"):
        pass


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.EBADF])
def test_a_file_system_without_locks_is_written_to(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    write_bytes_atomically(tmp_path / "file", b"new")
    with new_folder_atomically(tmp_path / "folder") as folder:
        (folder / "file").write_bytes(b"new")
    with hold_folder(tmp_path / "folder", busy="never told"):
        pass
    assert (tmp_path / "file").read_bytes() == (tmp_path / "folder" / "file").read_bytes() == b"new"
    assert hidden(tmp_path) == []
