"""Names of tensors: ours, and what they are called in a file from elsewhere."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgelnn.errors import ConfigError

__all__ = ["KeyMap", "fits", "load_key_map"]

IGNORE = "ignore"


@dataclass(frozen=True)
class KeyMap:
    """What our tensors are called elsewhere.

    A ``*`` stands for any stretch of a name, the same on both sides. The first pattern that fits counts, and an exact
    name before any pattern; where nothing fits, a tensor is looked for by its own name.

    Attributes:
        names: From ours to theirs, in order.
        ignore: Patterns of names of theirs that need not be used.

    >>> KeyMap({"stem.0.conv.*": "conv1.*"}).theirs("stem.0.conv.weight")
    'conv1.weight'
    >>> KeyMap({"*": "module.*"}).theirs("head.linear.bias")
    'module.head.linear.bias'
    """

    names: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that both sides of every pattern have as many stars."""
        for ours, theirs in self.names.items():
            if ours.count("*") != theirs.count("*"):
                raise ConfigError(
                    f'key map: "{ours}" = "{theirs}": both sides need as many * as the other. A * stands for the same '
                    "text on both sides."
                )

    def theirs(self, ours: str) -> str:
        """Return what a tensor of ours is called in the file."""
        if ours in self.names:
            return self.names[ours]
        for pattern, name in self.names.items():
            stretches = _stretches(pattern, ours)
            if stretches is not None:
                first, *rest = name.split("*")
                return first + "".join(stretch + part for stretch, part in zip(stretches, rest, strict=True))
        return ours

    def unused(self, theirs: Iterable[str], used: Iterable[str]) -> list[str]:
        """Return the names in the file that nothing of ours uses and that may not be ignored."""
        rest = sorted(set(theirs) - set(used))
        return [name for name in rest if not any(fits(pattern, name) for pattern in self.ignore)]


def load_key_map(path: Path | str) -> KeyMap:
    """Return the key map in a TOML or JSON file: a flat table from our names to theirs.

    The entry ``ignore``, a list, names what of theirs may be left unused.

    Raises:
        ConfigError: It cannot be read, or is no such table.
    """
    path = Path(path)
    values = _read(path)
    ignore = values.pop(IGNORE, [])
    if not isinstance(ignore, list) or not all(isinstance(name, str) for name in ignore):
        raise ConfigError(f'{path}: {IGNORE}: expected a list of names in quotes, such as ["fc.*"].')
    for ours, theirs in values.items():
        if not isinstance(theirs, str):
            hint = " Put names with dots in quotes." if isinstance(theirs, dict) else ""
            raise ConfigError(f'{path}: "{ours}": expected a name in quotes, such as "conv1.*".{hint}')
    try:
        return KeyMap(values, tuple(ignore))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    """Return the table in a file."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read {path}: {reason}. Expected a key map in TOML or JSON.") from error
    try:
        values = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
        raise ConfigError(f"{path}: not {kind}: {str(error).rstrip('.')}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a table from our names to theirs.")
    return values


def fits(pattern: str, name: str) -> bool:
    """Return whether a name is of a pattern.

    >>> fits("conv*.bias", "conv1.bias"), fits("conv*", "conv")
    (True, False)
    """
    return _stretches(pattern, name) is not None


def _stretches(pattern: str, name: str) -> tuple[str, ...] | None:
    """Return what the stars of a pattern stand for in a name, None where it does not fit."""
    found = re.fullmatch("(.+?)".join(re.escape(part) for part in pattern.split("*")), name)
    return None if found is None else found.groups()
