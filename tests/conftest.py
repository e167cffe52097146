"""What every test relies on: no network, no data from the user's home, one thread, no window for figures."""

from __future__ import annotations

import os

# Before anything imports torch or matplotlib: tiny networks are fastest on one thread, and no test may open a window.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"

import importlib
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from edgelnn.bundle import Bundle
    from edgelnn.run import Run


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse connections to other machines, so that no test passes because of something it downloaded."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
            raise OSError(f"a test tried to reach {address[0]}; tests use no network")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_locally)
        yield


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let no test find or leave data in the user's home, nor depend on the terminal it runs in."""
    monkeypatch.setenv("EDGELNN_DATA", str(tmp_path_factory.getbasetemp() / "edgelnn-data"))
    for name in ("EDGELNN_DEBUG", "COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded source of random numbers."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision, with the operators declared that a published wheel lacks beside the CPU build of torch.

    Backbones use none of them; without their names the wheel does not import.
    """
    for name in ("nms", "qnms"):
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if f"torchvision::{name} does not exist" not in str(error):
                raise
        import torch

        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARIES.append(library)
    return importlib.import_module("torchvision")


_LIBRARIES: list[object] = []  # what they declare is gone with them


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data, where there is one."""
    folder = os.environ.get("EDGELNN_TEST_DATA", "")
    if not folder:
        pytest.skip("EDGELNN_TEST_DATA is not set: it names the folder with the real datasets")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A liquid network trained on phantoms for two epochs, without figures."""
    from edgelnn.training import load_experiment, train

    experiment = load_experiment("phantoms", ["training.epochs=2", "head.units=12"])
    return train(experiment, folder=tmp_path_factory.mktemp("runs") / "tiny", threads=1, figures=False)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its bundle: float32 in both formats, and one int8 file."""
    from edgelnn_export import build_bundle

    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    return build_bundle(tiny_run, folder, recipes=["tflite-dynamic_wi8_afp32"])
