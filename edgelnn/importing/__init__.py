"""Runs made of weights from elsewhere. Names load when first used: importing this loads no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgelnn.importing.importer import import_weights as import_weights
    from edgelnn.importing.key_map import KeyMap as KeyMap
    from edgelnn.importing.key_map import load_key_map as load_key_map
    from edgelnn.importing.weight_file import WeightFile as WeightFile
    from edgelnn.importing.weight_file import read_weight_file as read_weight_file

_HOMES = {
    "KeyMap": "key_map",
    "WeightFile": "weight_file",
    "import_weights": "importer",
    "load_key_map": "key_map",
    "read_weight_file": "weight_file",
}
__all__ = ["KeyMap", "WeightFile", "import_weights", "load_key_map", "read_weight_file"]


def __getattr__(name: str) -> Any:
    """Import the module that holds `name` and return it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted(__all__)
