"""Runtimes on a board: used where they are there, installed where that is asked, refused where there are none."""

from __future__ import annotations

import tomllib
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from edgelnn.errors import BoardError
from edgelnn_profiling.remote import facts as facts_module
from edgelnn_profiling.remote.facts import BoardFacts, Site, requirements_for, why_never
from edgelnn_profiling.remote.installing import install_runtimes, provide_runtimes
from edgelnn_profiling.remote.session import Session
from tests.helpers import ROOT
from tests.ssh_pretended import PretendedBoard, pretend_ssh

PI4 = BoardFacts(
    time_s=0.0,
    root="/home/pi/.cache/edgelnn",
    free_bytes=10**10,
    machine="aarch64",
    bits=64,
    system="Linux",
    python="3.11.2",
    implementation="cpython",
    abi="cp311",
    executable="/usr/bin/python3",
    glibc="2.36",
    pip=False,
    packages={},
    sites=(),
    removed=0,
)
ARM32 = replace(PI4, machine="armv7l", bits=32)


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PretendedBoard:
    return pretend_ssh(tmp_path, monkeypatch)


def test_a_missing_runtime_asks_for_install_and_what_was_installed_is_used_again(board: PretendedBoard) -> None:
    site = Site("site-cp311-aarch64-64-0", "/there", {"numpy": "2.4", "onnxruntime": "1.31"})
    with Session("board") as session:
        with pytest.raises(BoardError, match=r"has no numpy and no onnxruntime\. Pass --install .*/home/pi/\.cache"):
            provide_runtimes(session, PI4, ["onnx"], install=False, say=print)
        there = replace(PI4, sites=(site,))
        assert provide_runtimes(session, there, ["onnx"], install=False, say=print) == site
        with pytest.raises(BoardError, match="has no ai-edge-litert or tflite-runtime"):
            provide_runtimes(session, replace(there, packages=site.packages), ["tflite"], install=False, say=print)
        for other in ({"abi": "cp313"}, {"machine": "x86_64"}, {"bits": 32}):  # One home, shared or kept.
            assert replace(there, **other).site_for(["onnx"]) is None  # type: ignore[arg-type]
            assert replace(there, **other).fullest_site() is None  # type: ignore[arg-type]


def test_boards_that_share_a_home_install_for_themselves(
    board: PretendedBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "onnxruntime"):
        make_wheel(tmp_path / "wheels", name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    found = []
    for machine in ("aarch64", "x86_64", "aarch64"):
        with Session("board") as session:
            facts = replace(BoardFacts.from_answer("board", session.facts), packages={}, machine=machine)
            site = provide_runtimes(session, facts, ["onnx"], install=True, say=lambda text: None)
            assert site is not None
            found.append(site.name)
    assert found[0] == found[2] != found[1]


def test_an_installation_is_whole_or_not_there(board: PretendedBoard) -> None:
    wheel = BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("numpy/__init__.py", "")
        archive.writestr("numpy-9.dist-info/METADATA", "Metadata-Version: 2.1\nName: numpy\nVersion: 9\n")
        archive.writestr("numpy-9.data/purelib/more.py", "")
        archive.writestr("numpy-9.data/scripts/f2py", "")
    with Session("board") as session:
        root = Path(session.facts["root"])
        session.put("good.whl", wheel.getvalue())
        session.put("bad.whl", wheel.getvalue()[:50])
        request = {"do": "install", "note": {}}
        with pytest.raises(BoardError, match="BadZipFile"):
            session.ask({**request, "site": "site-a", "wheels": ["bad.whl"]}, what="installing")
        assert [path.name for path in root.iterdir() if not path.name.startswith("run-")] == []
        answer, _ = session.ask({**request, "site": "site-a", "wheels": ["good.whl"]}, what="installing")
        assert answer["packages"] == {"numpy": "9"}
        assert (root / "site-a" / "more.py").exists()
        assert not list((root / "site-a").rglob("f2py"))
        with pytest.raises(BoardError, match="expected letters, digits"):
            session.put("../escape", b"")
    with Session("board") as session:
        assert [found["name"] for found in session.facts["sites"]] == ["site-a"]


def make_wheel(folder: Path, name: str) -> None:
    """A wheel of version 9 that holds next to nothing."""
    folder.mkdir(exist_ok=True)
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-9.dist-info"
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{module}-9-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{module}/__init__.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 9\n")
        archive.writestr(f"{info}/WHEEL", tag)
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.parametrize("where", ["here", "there", "nowhere"])
def test_wheels_are_found_here_or_by_the_boards_own_pip(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    for name in ("numpy", "onnxruntime"):
        make_wheel(wheels, name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    if where == "here":
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    pretend_ssh(tmp_path, monkeypatch, before=f"export PIP_FIND_LINKS={wheels}" if where == "there" else "")
    said: list[str] = []
    with Session("board") as session:
        facts = replace(BoardFacts.from_answer("board", session.facts), packages={})
        if where == "nowhere":
            with pytest.raises(BoardError, match=r"its pip says: .*numpy.*; and from here: no wheels"):
                install_runtimes(session, facts, ["onnx"], said.append)
            with pytest.raises(BoardError, match=r"and it has no pip of its own\. Try: install pip there"):
                install_runtimes(session, replace(facts, pip=False), ["onnx"], said.append)
            with pytest.raises(BoardError, match=r"Try: sudo apt install python3-numpy"):
                install_runtimes(session, replace(facts, pip=False, machine="armv7l", bits=32), ["tflite"], said.append)
        else:
            site = provide_runtimes(session, facts, ["onnx"], install=True, say=said.append)
            assert site is not None
            assert site.packages == {"numpy": "9", "onnxruntime": "9"}
            assert any("its own pip" in line for line in said) == (where == "there")
        if where == "here":
            with pytest.raises(BoardError, match="has 0 MB free, and 20 MB are needed"):
                install_runtimes(session, replace(facts, free_bytes=1000), ["onnx"], said.append)
    with Session("board") as session:
        found = BoardFacts.from_answer("board", session.facts)
        assert (replace(found, packages={}).site_for(["onnx"]) is None) == (where == "nowhere")
        assert not list(Path(found.root).glob("partial-*"))


@pytest.mark.parametrize(
    ("facts", "model_format", "words"),
    [
        (ARM32, "onnx", "never been published for 32-bit ARM"),
        (replace(PI4, bits=32), "onnx", "never been published for 32-bit ARM"),
        (replace(ARM32, python="3.13.1", abi="cp313"), "tflite", "needs Python 3.11, not 3.13.1"),
        (replace(ARM32, machine="armv6l"), "tflite", "no runtime is published for armv6l"),
        (replace(PI4, machine="riscv64"), "onnx", "no runtime is published for riscv64"),
        (replace(PI4, implementation="pypy"), "onnx", "name a CPython"),
        (replace(PI4, glibc=""), "onnx", "without the GNU C library"),
    ],
)
def test_what_cannot_be_had_is_said_with_why(facts: BoardFacts, model_format: str, words: str) -> None:
    assert words in str(why_never(facts, model_format))  # type: ignore[arg-type]


def test_what_can_be_had() -> None:
    assert [why_never(PI4, "onnx"), why_never(PI4, "tflite"), why_never(ARM32, "tflite")] == [None] * 3
    assert why_never(replace(ARM32, packages={"numpy": "1", "onnxruntime": "1"}), "onnx") is None  # Has it already.
    assert requirements_for(ARM32, ["tflite"]) == ["numpy>=1.24,<2", "tflite-runtime>=2.14"]


def test_requirements_are_those_of_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    plain = {requirement.partition(";")[0].strip() for requirement in declared}
    assert {facts_module.NUMPY, facts_module.ONNXRUNTIME, facts_module.LITERT, facts_module.TFLITE_RUNTIME} <= plain
