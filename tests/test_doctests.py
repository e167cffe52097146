"""Every example in a docstring gives what it says."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.helpers import EVERY_MODULE

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
RUN_AS_PROGRAMS = {"edgelnn.__main__"}


MODULES = [name for name, path in EVERY_MODULE if name not in RUN_AS_PROGRAMS and ">>>" in path.read_text("utf-8")]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.attempted > 0
    assert result.failed == 0
