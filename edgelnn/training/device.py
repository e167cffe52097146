"""Where a training computes, with how many threads, and always the same way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from edgelnn.errors import ConfigError
from edgelnn.training.allocator import freed_memory_kept

__all__ = ["computing", "find_device"]


def find_device(name: str) -> torch.device:
    """Return the device of that name.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        ConfigError: There is no such device here.

    >>> find_device("cpu")
    device(type='cpu')
    """
    kind, _, number = name.partition(":")
    here = ["cpu"]
    if torch.cuda.is_available():
        here += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        here.append("mps")
    if name in here:
        return torch.device(name)
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdecimal()):
        raise ConfigError(f'got device "{name}"; expected cpu, cuda or mps.')
    raise ConfigError(
        f'got device "{name}"; torch {torch.__version__} finds {", ".join(here)} on this machine. Pass --device cpu.'
    )


@contextlib.contextmanager
def computing(device: torch.device, threads: int | None) -> Iterator[int]:
    """Compute with so many threads inside the block, always the same way on a CPU; torch's settings come back after it.

    Args:
        device: Where; on others than CPUs torch lacks deterministic forms of some operations.
        threads: None for as many as torch would take.

    Yields:
        The number of threads.
    """
    threads_before = torch.get_num_threads()
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    warn_before = torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic: Any = torch.utils.deterministic
    fill_before = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(device.type == "cpu")
    deterministic.fill_uninitialized_memory = False
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices), freed_memory_kept():
            yield torch.get_num_threads()
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(deterministic_before, warn_only=warn_before)
        deterministic.fill_uninitialized_memory = fill_before
