"""Options that several commands share, so that a flag means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "DataRoot",
    "Force",
    "Install",
    "Json",
    "On",
    "Out",
    "RemoteFolder",
    "RemotePython",
    "RuntimeThreads",
    "Threads",
]

DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        help="Folder to look for datasets in and to download them to; the variable EDGELNN_DATA does the same.",
        metavar="FOLDER",
        show_default="medmnist's own folder",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is already there.")]
Install = Annotated[
    bool, typer.Option("--install", help="With --on: install missing runtimes into a folder of their own there.")
]
Json = Annotated[bool, typer.Option("--json", help="Print data alone, as JSON, on stdout.")]
On = Annotated[
    str | None,
    typer.Option("--on", metavar="USER@BOARD", help="Run on that board, over ssh.", show_default="this machine"),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write.", metavar="FOLDER")]
RemoteFolder = Annotated[
    str | None,
    typer.Option(
        "--remote-folder", metavar="PATH", help="With --on: our folder there.", show_default="~/.cache/edgelnn"
    ),
]
RemotePython = Annotated[
    str | None,
    typer.Option(
        "--remote-python", metavar="PATH", help="With --on: its Python.", show_default="the first from 3.11 on"
    ),
]
RuntimeThreads = Annotated[
    int, typer.Option("--threads", min=1, max=1024, help="Threads for the runtime.", metavar="N")
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=1024, help="Threads to compute with.", metavar="N", show_default="all cores"),
]
