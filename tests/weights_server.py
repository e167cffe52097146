"""A file server on this machine that stands in for torchvision's, and files as torchvision publishes them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

__all__ = ["publish_weights", "served"]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def publish_weights(torchvision: Any, kind: str, folder: Path) -> Path:
    """Write the state dict of a whole classifier with seeded random weights, its name ending in its hash."""
    torch.manual_seed(5)
    torch.save(torchvision.models.get_model(kind, weights=None).state_dict(), folder / "new")
    digest = hashlib.sha256((folder / "new").read_bytes()).hexdigest()
    return (folder / "new").rename(folder / f"{kind}-{digest[:8]}.pth")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder inside the block; yield the address that they are under."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()
