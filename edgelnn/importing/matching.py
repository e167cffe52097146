"""A state dict from elsewhere made into one of ours: every tensor found, of the right shape, all of it numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from edgelnn.errors import ConfigError, ModelFileError
from edgelnn.importing.key_map import KeyMap, fits
from edgelnn.importing.weight_file import WeightFile

__all__ = ["Match", "match_tensors"]

COUNTERS = "num_batches_tracked"
"""How many batches a batch norm has seen: old state dicts lack it, and no answer depends on it."""


@dataclass(frozen=True)
class Match:
    """What came of a state dict.

    Attributes:
        state: By our names; copies.
        names: From our names to theirs, where they differ.
        unused: Their names that were ignored as the key map allows.
        notes: What was done to the numbers, in sentences.
    """

    state: Mapping[str, Tensor]
    names: Mapping[str, str]
    unused: tuple[str, ...]
    notes: tuple[str, ...]


def match_tensors(file: WeightFile, ours: Mapping[str, Tensor], key_map: KeyMap, *, model: str) -> Match:
    """Return the file's tensors under our names.

    Args:
        file: Where they come from.
        ours: The state of the model that they are for.
        key_map: What ours are called there.
        model: What to call the model in messages.

    Raises:
        ConfigError: Tensors are missing, left over, or of other shapes than the model's.
        ModelFileError: They are no numbers, or not finite.
    """
    names = {name: key_map.theirs(name) for name in ours}
    _check_names(file, ours, names, key_map, model)
    state, notes = {}, []
    converted: dict[torch.dtype, int] = {}
    for name, own in ours.items():
        theirs = names[name]
        if theirs not in file.tensors:
            state[name] = own.clone()
            notes.append(f"{theirs} is not in the file; no answer depends on it.")
            continue
        tensor = file.tensors[theirs]
        if tensor.shape != own.shape:
            raise ConfigError(
                f"got {theirs} of shape {tuple(tensor.shape)}; {name} of {model} has {tuple(own.shape)}. Choose the "
                "experiment the weights were trained with, or change it with --set."
            )
        if not (tensor.is_floating_point() or (tensor.dtype == own.dtype and not tensor.is_complex())):
            raise ModelFileError(f"{file.path}: {theirs} is {tensor.dtype}; expected {own.dtype}.")
        if tensor.dtype != own.dtype:
            converted[tensor.dtype] = converted.get(tensor.dtype, 0) + 1
        state[name] = tensor.detach().to(own.dtype, copy=True).contiguous()
        bad = int(state[name].numel() - state[name].isfinite().sum())
        if bad:
            raise ModelFileError(
                f"{file.path}: {theirs} holds {bad} of {state[name].numel()} numbers that are NaN or infinite in "
                f"{own.dtype}. The training diverged, or the file is damaged."
            )
    notes += [f"{count} tensors of {dtype} were rounded to float32." for dtype, count in converted.items()]
    used = {ours: theirs for ours, theirs in names.items() if ours != theirs}
    return Match(state, used, tuple(sorted(set(file.tensors) - set(names.values()))), tuple(notes))


def _check_names(
    file: WeightFile, ours: Mapping[str, Tensor], names: Mapping[str, str], key_map: KeyMap, model: str
) -> None:
    """Raise `ConfigError` unless every tensor of ours has one of theirs for itself, and none of theirs is left over."""
    for pattern in key_map.names:
        if not any(fits(pattern, name) for name in ours):
            raise ConfigError(f'key map: "{pattern}" fits no tensor of {model}; it has {_some(sorted(ours))}.')
    by_theirs: dict[str, str] = {}
    for name, theirs in names.items():
        if theirs in by_theirs:
            raise ConfigError(f'key map: {by_theirs[theirs]} and {name} are both "{theirs}"; each needs its own.')
        by_theirs[theirs] = name
    missing = [name for name in ours if names[name] not in file.tensors and not name.endswith(COUNTERS)]
    unused = key_map.unused(file.tensors, names.values())
    if missing:
        first = missing[0]
        sought = "" if names[first] == first else f" (sought as {names[first]})"
        alike = [name for name in unused if file.tensors[name].shape == ours[first].shape]
        like = f"; of its shape {tuple(ours[first].shape)} there is {_some(alike)}" if alike else ""
        raise ConfigError(
            f"{file.path} lacks {len(missing)} of the {len(ours)} tensors of {model}, the first {first}{sought}; it "
            f"holds {_some(unused or sorted(file.tensors))}{like}. Say in a --map FILE what ours are called there."
        )
    if unused:
        raise ConfigError(
            f"{file.path} holds {len(unused)} tensors that {model} has no place for: {_some(unused)}. Choose the "
            'experiment they were trained with; or, if no answer depends on them, list them in the --map as "ignore".'
        )


def _some(names: list[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    shown = ", ".join(name[:60] for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
