"""Is a TFLite file fit to be opened? Read from its bytes, without FlatBuffers' library.

Its operators are allowed builtin ones, constants fill the tensors they stand for, no tensor and no arena is beyond all
measure, every number that names something names something in the file, and no subgraph holds itself.

Slots (offsets in a table's layout) are those of TFLite's schema.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from edgelnn.errors import ModelFileError
from edgelnn_profiling.allowed_operators import TFLITE_NAMES, TFLITE_OPERATORS
from edgelnn_profiling.flatbuffer import Table
from edgelnn_profiling.protobuf import Buffer, Malformed

__all__ = ["check_tflite"]

MAX_TENSOR_BYTES: Final = 2**30
MAX_ARENA_BYTES: Final = 2**31
MAX_RECORDS: Final = 1_000_000  # Tables, and numbers in them.
MAX_DEPTH: Final = 32
_MAX_AXES: Final = 16
# Bits of an element, by number of its type; strings, resources and complex numbers have no place in a classifier.
_BITS: Final[Mapping[int, int]] = {
    **{0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 9: 8, 10: 64, 12: 64, 15: 32, 16: 16},
    **{17: 4, 18: 16, 19: 2, 20: 4, 21: 8, 22: 8},
}
# Where an operator's options name subgraphs.
_SUBGRAPH_SLOTS: Final[Mapping[str, tuple[int, ...]]] = {"CALL": (4,), "IF": (4, 6), "WHILE": (4, 6)}


@dataclass(frozen=True)
class _Tensor:
    size_bytes: int
    constant: bool


def check_tflite(data: Buffer, name: str) -> None:
    """Refuse a TFLite file that is not fit to be run.

    Args:
        data: The file.
        name: What to call it.

    Raises:
        ModelFileError: It is refused; the message says why.
    """
    try:
        _Check(data, name).all()
    except Malformed:
        raise ModelFileError(f"{name} is no sound TFLite model, or is cut short; copy or export it again.") from None


class _Check:
    def __init__(self, data: Buffer, name: str) -> None:
        self.data = data
        self.name = name
        self.model = Table.root(data)
        self.records = 0

    def all(self) -> None:
        operators = [self._operator(code) for code in self._counted(self.model, 6)]
        buffers = [self._buffer(buffer) for buffer in self._counted(self.model, 12)]
        subgraphs = list(self._counted(self.model, 8))
        if not subgraphs:
            raise Malformed
        arena, inside = 0, []
        for subgraph in subgraphs:
            tensors = [self._tensor(tensor, buffers) for tensor in self._counted(subgraph, 4)]
            size, named = self._walk(subgraph, tensors, operators)
            if any(not 0 <= number < len(subgraphs) for number in named):
                raise Malformed
            arena += size
            inside.append(named)
        if arena > MAX_ARENA_BYTES:
            self._refuse(f"needs {arena} bytes for what it computes; more than {MAX_ARENA_BYTES} are refused")
        self._check_depth(inside)

    def _operator(self, code: Table) -> str:
        number = max(code.number(10, "i"), code.number(4, "b"))
        known = TFLITE_NAMES[number] if 0 <= number < len(TFLITE_NAMES) else f"number {number}"
        if known == "CUSTOM":
            start, length = code.vector(6, 1)
            text = bytes(self.data[start : start + min(length, 80)]).decode("utf-8", "replace")
            self._refuse(f"holds the custom operator {text!r}; custom operators are not opened")
        if known not in TFLITE_OPERATORS:
            self._refuse(f"holds the operator {known!r}, which is not among those that are opened")
        return known

    def _buffer(self, buffer: Table) -> int:
        if buffer.number(6, "Q") > 1:
            self._refuse("keeps weights behind its model, as files beyond 2 GB do, which is refused")
        return buffer.vector(4, 1)[1]

    def _tensor(self, tensor: Table, buffers: list[int]) -> _Tensor:
        shape, dtype, buffer = tensor.numbers(4), tensor.number(6, "b"), tensor.number(8, "I")
        self._count(len(shape))
        if tensor.number(24, "I"):
            self._refuse("keeps weights outside its own file, which is refused; save the model with its weights inside")
        if tensor.place(16) or tensor.place(22):
            self._refuse("holds a sparse tensor, or a list of tensors, which is refused; expected plain numbers")
        if dtype not in _BITS:
            self._refuse(f"holds a tensor of the TFLite type {dtype}; expected numbers")
        if buffer >= len(buffers) or len(shape) > _MAX_AXES or any(length < 0 for length in shape):
            raise Malformed
        size = -(-math.prod(shape) * _BITS[dtype] // 8)
        if size > MAX_TENSOR_BYTES:
            self._refuse(f"states a tensor of {size} bytes; more than {MAX_TENSOR_BYTES} are refused")
        if buffers[buffer] and buffers[buffer] != size:
            self._refuse(f"holds {buffers[buffer]} bytes for a tensor of {size}")
        return _Tensor(size, constant=buffers[buffer] > 0)

    def _walk(self, subgraph: Table, tensors: list[_Tensor], operators: list[str]) -> tuple[int, set[int]]:
        """Return the bytes alive at once at most while a subgraph is computed, and the subgraphs that it names."""
        ends = [number for slot in (6, 8) for number in self._tensors(subgraph, slot, tensors)]
        uses: list[list[int]] = [ends]
        named: set[int] = set()
        for operator in self._counted(subgraph, 10):
            index = operator.number(4, "I")
            if index >= len(operators):
                raise Malformed
            uses.append([number for slot in (6, 8, 20) for number in self._tensors(operator, slot, tensors)])
            for slot in _SUBGRAPH_SLOTS.get(operators[index], ()):
                options = operator.table(12)
                named.add(options.number(slot, "i") if options else 0)
        uses.append(ends)
        return _most_alive(uses, tensors), named

    def _tensors(self, table: Table, slot: int, tensors: list[_Tensor]) -> list[int]:
        numbers = table.numbers(slot)
        self._count(len(numbers))
        if any(not -1 <= number < len(tensors) for number in numbers):
            raise Malformed
        return [number for number in numbers if number >= 0]

    def _check_depth(self, inside: list[set[int]]) -> None:
        """Refuse subgraphs that hold themselves, or others too deep; peeled from the innermost outwards."""
        depth: dict[int, int] = {}
        while len(depth) < len(inside):
            ready = [
                number for number, named in enumerate(inside) if number not in depth and all(n in depth for n in named)
            ]
            if not ready:
                self._refuse("holds a subgraph that holds itself, which would never end; it is not opened")
            depth.update((number, 1 + max((depth[n] for n in inside[number]), default=0)) for number in ready)
            if max(depth[number] for number in ready) > MAX_DEPTH:
                self._refuse(f"nests more than {MAX_DEPTH} levels deep; no sensible TFLite model does")

    def _counted(self, table: Table, slot: int) -> Iterator[Table]:
        self._count(table.vector(slot, 4)[1])
        return table.tables(slot)

    def _count(self, more: int) -> None:
        self.records += more
        if self.records > MAX_RECORDS:
            self._refuse(f"holds more than {MAX_RECORDS} operators, tensors and numbers about them; it is not opened")

    def _refuse(self, why: str) -> NoReturn:
        raise ModelFileError(f"{self.name} {why}.")


def _most_alive(uses: list[list[int]], tensors: list[_Tensor]) -> int:
    """Return the bytes that are alive at once at most, a tensor being so from its first use to its last."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for moment, numbers in enumerate(uses):
        for number in numbers:
            first.setdefault(number, moment)
            last[number] = moment
    changes = [0] * (len(uses) + 1)
    for number in first:
        size = 0 if tensors[number].constant else tensors[number].size_bytes
        changes[first[number]] += size
        changes[last[number] + 1] -= size
    alive = most = 0
    for change in changes:
        alive += change
        most = max(most, alive)
    return most
