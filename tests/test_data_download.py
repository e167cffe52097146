"""Downloads against a real HTTP server on this machine that can be made to fail in every way."""

import fcntl
import hashlib
import resource
import threading
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edgelnn.data import download
from edgelnn.data.catalogue import OfficialFile
from edgelnn.data.download import download_file
from edgelnn.errors import DataError

CONTENT = bytes(range(256)) * 4096 + b"a last piece that is shorter than any buffer"
CHUNK = download.CHUNK_BYTES


class Script:
    """What the server does, and what it was asked."""

    def __init__(self):
        self.content = CONTENT
        self.ranges = True
        self.break_after = []
        self.status = 200
        self.say_length = True
        self.asked = []


class Handler(BaseHTTPRequestHandler):
    def __init__(self, script, *args):
        self.script = script
        super().__init__(*args)

    def do_GET(self):
        script = self.script
        script.asked.append(self.headers.get("Range"))
        if script.status != 200:
            self.send_error(script.status)
            return
        start = 0
        if script.ranges and "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(script.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(script.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(script.content) - 1}/{len(script.content)}")
        else:
            self.send_response(200)
        if script.say_length:
            self.send_header("Content-Length", str(len(script.content) - start))
        self.end_headers()
        end = start + script.break_after.pop(0) if script.break_after else len(script.content)
        with suppress(ConnectionError):  # the client may have gone
            self.wfile.write(script.content[start:end])

    def log_message(self, *args):
        """Keep quiet."""


@pytest.fixture
def script():
    return Script()


@pytest.fixture
def official(script):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, script))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/set.npz?download=1"
    yield OfficialFile("set.npz", url, hashlib.md5(CONTENT).hexdigest())
    server.shutdown()
    thread.join()
    server.server_close()


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_download_with_progress(official, script, tmp_path):
    steps = []
    path = download_file(
        official, [tmp_path / "new" / "folder"], progress=lambda done, total: steps.append((done, total))
    )
    assert path == tmp_path / "new" / "folder" / "set.npz"
    assert path.read_bytes() == CONTENT
    assert files(path.parent) == ["set.npz"]
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert script.asked == [None]


def test_what_an_earlier_attempt_left_is_taken_up(official, script, tmp_path):
    (tmp_path / "set.npz.part").write_bytes(CONTENT[:300_000])
    steps = []
    path = download_file(official, [tmp_path], progress=lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert script.asked == ["bytes=300000-"]
    assert steps[0][0] > 300_000
    assert files(tmp_path) == ["set.npz"]


def test_a_broken_connection_is_taken_up_in_the_same_call(official, script, tmp_path):
    script.break_after = [6 * CHUNK, 10 * CHUNK]
    assert download_file(official, [tmp_path]).read_bytes() == CONTENT
    assert script.asked == [None, f"bytes={6 * CHUNK}-", f"bytes={16 * CHUNK}-"]


def test_a_download_that_keeps_breaking_leaves_its_part(official, script, tmp_path):
    script.break_after = [CHUNK] * download.ATTEMPTS
    with pytest.raises(DataError, match=r"broke off after 131072 bytes; they are kept in .*set\.npz\.part\. Run again"):
        download_file(official, [tmp_path])
    assert files(tmp_path) == ["set.npz.part"]
    assert (tmp_path / "set.npz.part").read_bytes() == CONTENT[: 4 * CHUNK]
    assert download_file(official, [tmp_path]).read_bytes() == CONTENT
    assert script.asked[-1] == "bytes=131072-"


def test_a_server_without_ranges_is_asked_for_everything(official, script, tmp_path):
    script.ranges = False
    (tmp_path / "set.npz.part").write_bytes(b"x" * 1000)
    assert download_file(official, [tmp_path]).read_bytes() == CONTENT


def test_a_server_that_says_no_length(official, script, tmp_path):
    script.say_length = False
    steps = []
    path = download_file(official, [tmp_path], progress=lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), 0)


def test_a_part_that_is_already_whole(official, script, tmp_path):
    (tmp_path / "set.npz.part").write_bytes(CONTENT)
    assert download_file(official, [tmp_path]).read_bytes() == CONTENT
    assert script.asked == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("length", [1000, len(CONTENT), len(CONTENT) + 1000])
def test_a_part_of_something_else_is_thrown_away_and_the_file_fetched_anew(official, script, tmp_path, length):
    (tmp_path / "set.npz.part").write_bytes(b"x" * length)
    assert download_file(official, [tmp_path]).read_bytes() == CONTENT
    assert script.asked[0] == f"bytes={length}-"
    assert script.asked[-1] is None


def test_wrong_bytes_are_not_kept(official, script, tmp_path):
    script.content = CONTENT[:-1] + b"!"
    with pytest.raises(
        DataError, match=r"gave other bytes than the official set\.npz \(expected MD5 .*\); nothing was kept"
    ):
        download_file(official, [tmp_path])
    assert files(tmp_path) == []
    assert script.asked == [None]


@pytest.mark.parametrize("status", [404, 503])
def test_an_answer_that_is_an_error(official, script, tmp_path, status):
    script.status = status
    with pytest.raises(
        DataError, match=rf"set\.npz is not in {tmp_path} or /other, .*127.*but the server answers {status}"
    ):
        download_file(official, [tmp_path, download.Path("/other")])
    assert files(tmp_path) == []


def test_no_connection_names_file_and_address(tmp_path):
    official = OfficialFile("set.npz", "http://127.0.0.1:9/set.npz", "0" * 32)
    with pytest.raises(
        DataError, match=rf"not in {tmp_path}, and comes from http://127.0.0.1:9/set\.npz, but there is no connection"
    ) as caught:
        download_file(official, [tmp_path])
    assert str(tmp_path / "set.npz") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == []


def test_two_at_once(official, tmp_path):
    with (tmp_path / "set.npz.part").open("ab") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is downloading"):
            download_file(official, [tmp_path])


def test_no_space(official, tmp_path, monkeypatch):
    usage = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"needs 1 MB more; 0 MB are free there\. Make room"):
        download_file(official, [tmp_path])
    assert files(tmp_path) == []


def test_a_place_that_cannot_be_written(official, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written: File exists\. Choose another --data-root"):
        download_file(official, [tmp_path / "file"])


def test_a_disk_that_fills_up(official, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(DataError, match=r"set\.npz cannot be written: File too large"):
            download_file(official, [tmp_path])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path) == ["set.npz.part"]
    assert download_file(official, [tmp_path]).read_bytes() == CONTENT
