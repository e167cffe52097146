"""Options that several commands share, so that a flag means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DataRoot", "Force", "Json", "Out", "RuntimeThreads", "Threads"]

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
Json = Annotated[bool, typer.Option("--json", help="Print data alone, as JSON, on stdout.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write.", metavar="FOLDER")]
RuntimeThreads = Annotated[
    int, typer.Option("--threads", min=1, max=1024, help="Threads for the runtime.", metavar="N")
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=1024, help="Threads to compute with.", metavar="N", show_default="all cores"),
]
