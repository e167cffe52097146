"""What travels between the parts of a graph while it is lowered: values with a linear map still to be applied.

A part of the network often ends in something linear (a sum of halves, a selection of neurons, a scale and a shift),
and the next one begins with a matrix. So that the two become one matrix, a part hands over its raw value together
with the map that was left out; whoever reads it folds the map into its own weights with `absorb`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgelnn_export.graph_builder import GraphBuilder

__all__ = [
    "Affine",
    "Block",
    "Floats",
    "Steps",
    "Vector",
    "absorb",
    "dense",
    "identity",
    "join_features",
    "selection",
    "stacked",
    "steps_of",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """One block of a block-diagonal matrix.

    Attributes:
        raw: How many numbers it reads.
        order: (features,) int: which of them each feature is; where the block only selects, and scales perhaps.
        matrix: (features, raw): the block itself; where it does more.
        scale: (features,) by what each selected number is multiplied; None: by 1.
    """

    raw: int
    order: NDArray[np.int64] | None = None
    matrix: Floats | None = None
    scale: Floats | None = None

    @property
    def features(self) -> int:
        """How many numbers it gives."""
        return len(self.matrix) if self.matrix is not None else 0 if self.order is None else len(self.order)

    def times(self, weight: Floats) -> Floats:
        """Return weight @ block: (out, features) → (out, raw)."""
        if self.matrix is not None:
            return weight @ self.matrix
        if self.order is None:
            raise ValueError("got a block without order and without matrix")
        product = np.zeros((len(weight), self.raw))
        np.add.at(product.T, self.order, (weight if self.scale is None else weight * self.scale).T)
        return product

    def scaled(self, factors: Floats) -> Block:
        """Return the block with every feature multiplied by its factor."""
        if self.matrix is not None:
            return Block(self.raw, matrix=self.matrix * factors[:, None])
        return Block(self.raw, self.order, scale=factors if self.scale is None else self.scale * factors)


@dataclass(frozen=True)
class Affine:
    """The map ``matrix @ raw + offset``, its matrix block-diagonal.

    Attributes:
        blocks: The matrix, from the first raw numbers and features to the last.
        offset: (features,).
    """

    blocks: tuple[Block, ...]
    offset: Floats

    @property
    def is_identity(self) -> bool:
        """Whether the map changes nothing, and is written as a selection."""
        straight = all(
            b.scale is None and b.order is not None and np.array_equal(b.order, np.arange(b.raw)) for b in self.blocks
        )
        return straight and not self.offset.any()

    @property
    def order(self) -> NDArray[np.int64] | None:
        """Which raw number each feature is, (features,) int; None where the map does more than to select."""
        starts = np.cumsum([0, *(block.raw for block in self.blocks[:-1])])
        orders = [block.order for block in self.blocks if block.order is not None]
        if len(orders) < len(self.blocks) or self.offset.any():
            return None
        return np.concatenate([order + start for order, start in zip(orders, starts, strict=True)])

    @property
    def matrix(self) -> Floats:
        """The whole matrix, (features, raw)."""
        return self.times(np.eye(len(self.offset)))

    def times(self, weight: Floats) -> Floats:
        """Return weight @ matrix: (out, features) → (out, raw)."""
        ends = np.cumsum([block.features for block in self.blocks])[:-1]
        parts = np.split(weight, ends, axis=1)
        return np.concatenate([b.times(part) for b, part in zip(self.blocks, parts, strict=True)], axis=1)

    def followed_by(self, factors: Floats, shifts: Floats) -> Affine:
        """Return this map and then, for every feature, a factor and a shift (features,)."""
        ends = np.cumsum([block.features for block in self.blocks])[:-1]
        blocks = tuple(b.scaled(part) for b, part in zip(self.blocks, np.split(factors, ends), strict=True))
        return Affine(blocks, self.offset * factors + shifts)


def dense(matrix: Floats, offset: Floats | None = None) -> Affine:
    """Return the map of a matrix (features, raw), its offset zero where left out."""
    return Affine((Block(matrix.shape[1], matrix=matrix),), np.zeros(len(matrix)) if offset is None else offset)


def selection(order: Sequence[int] | NDArray[np.int64], raw: int) -> Affine:
    """Return the map that picks one of `raw` numbers for every feature."""
    return Affine((Block(raw, order=np.asarray(order, np.int64)),), np.zeros(len(order)))


def identity(size: int) -> Affine:
    """Return the map that changes nothing."""
    return selection(np.arange(size), size)


def absorb(weight: Floats, bias: Floats, affine: Affine) -> tuple[Floats, Floats]:
    """Return weight and bias of one linear map in place of `affine` and then (weight, bias).

    >>> weight, bias = absorb(np.array([[2.0]]), np.array([1.0]), dense(np.array([[3.0, 0.0]]), np.array([5.0])))
    >>> weight.tolist(), bias.tolist()
    ([[6.0, 0.0]], [11.0])
    """
    return affine.times(weight), bias + weight @ affine.offset


def stacked(maps: Sequence[Affine]) -> Affine:
    """Return the map of joined values to joined results, each by its own map."""
    return Affine(tuple(block for affine in maps for block in affine.blocks), np.concatenate([m.offset for m in maps]))


@dataclass(frozen=True)
class Vector:
    """One value per example.

    Attributes:
        value: (1, raw).
        affine: From raw to what it stands for.
    """

    value: str
    affine: Affine

    def read(self, builder: GraphBuilder, weight: Floats, bias: Floats, activation: str = "none") -> str:
        """Return (1, out): a linear layer applied to it."""
        return builder.linear(self.value, *absorb(weight, bias, self.affine), activation)

    def plain(self, builder: GraphBuilder) -> str:
        """Return (1, features): the value with its map applied."""
        if self.affine.is_identity:
            return self.value
        return builder.linear(self.value, self.affine.matrix, self.affine.offset)

    def activated(self, builder: GraphBuilder, activation: str) -> Vector:
        """Return the vector with none, relu or tanh applied to its features."""
        if activation == "none":
            return self
        value = _activated(builder, self.value, self.affine, activation)
        return Vector(value, identity(len(self.affine.offset)))


@dataclass(frozen=True)
class Steps:
    """A sequence.

    Attributes:
        rows: (steps, raw): all steps of the first example, then all of the second.
        steps: Length of the sequence.
        affine: From raw to features, the same at every step.
    """

    rows: str
    steps: int
    affine: Affine

    @property
    def features(self) -> int:
        """Numbers per step, once the map is applied."""
        return len(self.affine.offset)

    def read(self, builder: GraphBuilder, weight: Floats, bias: Floats, activation: str = "none") -> str:
        """Return (steps, out): a linear layer applied to every step."""
        return builder.linear(self.rows, *absorb(weight, bias, self.affine), activation)

    def batched(self, builder: GraphBuilder) -> str:
        """Return (1, steps, raw): the raw rows with the batch on an axis of its own."""
        return builder.reshape(self.rows, (1, self.steps, builder.shape(self.rows)[1]))

    def last(self, builder: GraphBuilder) -> Vector:
        """Return the last step."""
        raw = builder.shape(self.rows)[1]
        flat = builder.reshape(self.rows, (1, self.steps * raw))
        return Vector(builder.slice(flat, 1, (self.steps - 1) * raw, self.steps * raw), self.affine)

    def mean(self, builder: GraphBuilder) -> Vector:
        """Return the mean over the steps."""
        return Vector(builder.mean(self.batched(builder), 1), self.affine)

    def joined(self, builder: GraphBuilder) -> Vector:
        """Return all steps side by side, the first step first."""
        raw = builder.shape(self.rows)[1]
        return Vector(builder.reshape(self.rows, (1, self.steps * raw)), stacked([self.affine] * self.steps))

    def activated(self, builder: GraphBuilder, activation: str) -> Steps:
        """Return the sequence with none, relu or tanh applied to its features."""
        if activation == "none":
            return self
        return Steps(_activated(builder, self.rows, self.affine, activation), self.steps, identity(self.features))


def _activated(builder: GraphBuilder, value: str, affine: Affine, activation: str) -> str:
    """Return relu or tanh of a value (rows, raw) with its map applied."""
    if affine.is_identity:
        return builder.unary(activation, value)
    if activation == "relu":
        return builder.linear(value, affine.matrix, affine.offset, "relu")
    return builder.unary(activation, builder.linear(value, affine.matrix, affine.offset))


def steps_of(builder: GraphBuilder, values: Sequence[str], affine: Affine) -> Steps:
    """Return the sequence of values (1, raw), one a step."""
    raw = builder.shape(values[0])[1]
    return Steps(builder.reshape(builder.concat(values, 1), (len(values), raw)), len(values), affine)


def join_features(builder: GraphBuilder, first: Steps | Vector, second: Steps | Vector) -> Steps | Vector:
    """Return two sequences, or two vectors, as one with the features of both."""
    affine = stacked([first.affine, second.affine])
    if isinstance(first, Steps) and isinstance(second, Steps):
        return Steps(builder.concat([first.rows, second.rows], 1), first.steps, affine)
    if isinstance(first, Vector) and isinstance(second, Vector):
        return Vector(builder.concat([first.value, second.value], 1), affine)
    raise TypeError("got a sequence and a vector; expected two of a kind")
