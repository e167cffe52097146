"""Freed memory is kept while a training lasts, and given back after it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from edgelnn.training.allocator import freed_memory_kept

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc, which Linux has")
BLOCK = 48 * 2**20


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)


@LINUX
def test_a_large_block_is_kept_inside_and_given_back_after() -> None:
    with freed_memory_kept() as kept:
        if not kept:
            pytest.skip("the C library here is not glibc")
        before = resident()
        torch.ones(BLOCK, dtype=torch.uint8)
        assert resident() - before > BLOCK // 2
    assert resident() - before < BLOCK // 2


@LINUX
def test_outside_a_large_block_goes_back_at_once() -> None:
    before = resident()
    torch.ones(BLOCK, dtype=torch.uint8)
    assert resident() - before < BLOCK // 2


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_settings_of_the_user_stay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    with freed_memory_kept() as kept:
        assert not kept
