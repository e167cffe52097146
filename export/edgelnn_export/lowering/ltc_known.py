"""Neurons of an LTC whose n and d are known: ``v = (v + n) / (1 + d)`` is then linear, solved for all times at once.

Every solver step is ``v = decay * v + gained`` with ``decay = 1 / (1 + d)`` and ``gained = n / (1 + d)``. Within a step
of the sequence the solver steps are composed one by one; over the steps `scan_recursion` does it. Where the format's
operators are dear, products of ``D = 1 + d`` are exponentials of sums of logarithms, which takes fewer of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.recursion import scan_recursion
from edgelnn_export.lowering.signals import Affine, dense, identity

__all__ = ["Known", "Solved"]


@dataclass(frozen=True)
class Solved:
    """The neurons of one stage at all times.

    Attributes:
        neurons: (neurons,) which.
        before: (solver steps, raw) before every solver step, or none where nobody asks.
        ends: (steps, raw) after every step of the sequence, or none where only the last is known.
        affine: From raw to potentials.
        final: (1, raw) after the last step, where `ends` does not tell.
    """

    neurons: NDArray[np.int64]
    before: str
    ends: str
    affine: Affine
    final: str = ""


@dataclass(frozen=True)
class Known:
    """Solves neurons from rows of their n and 1 + d: all n, then all 1 + d, then columns that mean nothing.

    Attributes:
        builder: Where to.
        neurons: Which.
        steps: Of the sequence.
        unfolds: Solver steps in each.
    """

    builder: GraphBuilder
    neurons: NDArray[np.int64]
    steps: int
    unfolds: int

    def lasting(self, rows: str, *, needed: bool) -> Solved:
        """Solve from rows (steps, …), which last for a step of the sequence; `needed`: before every solver step too."""
        count = len(self.neurons)
        idle = self.builder.shape(rows)[1] - 2 * count
        n, one_and_d = self.builder.split(rows, 1, (count, count, idle) if idle else (count, count))[:2]
        return self._composed([(n, one_and_d)] * self.unfolds, needed)

    def changing(self, rows: str, *, needed: bool) -> Solved:
        """Solve from rows (solver steps, …)."""
        b, count = self.builder, len(self.neurons)
        width = b.shape(rows)[1]
        idle = width - 2 * count
        sizes = (count, count, idle) if idle else (count, count)
        pieces = b.split(b.reshape(rows, (self.steps, self.unfolds * width)), 1, sizes * self.unfolds)
        return self._composed(list(zip(pieces[:: len(sizes)], pieces[1 :: len(sizes)], strict=True)), needed)

    def _composed(self, pieces: list[tuple[str, str]], needed: bool) -> Solved:
        """Solve from n and 1 + d (steps, neurons) in each solver step of a step."""
        b, count = self.builder, len(self.neurons)
        n, one_and_d = pieces[0]
        gained, decay = [b.divide(n, one_and_d)], [b.divide(np.ones((1, 1)), one_and_d)]
        for n, one_and_d in pieces[1:]:
            gained.append(b.divide(b.add(gained[-1], n), one_and_d))
            decay.append(b.divide(decay[-1], one_and_d))
        shape = (1, self.steps, count)
        ends = scan_recursion(b, b.reshape(decay[-1], shape), b.reshape(gained[-1], shape))
        flat = b.reshape(ends, (self.steps, count))
        if not needed:
            return Solved(self.neurons, "", flat, identity(count))
        before = begin = b.reshape(b.shift(ends, 1, 1), (self.steps, 1, count))
        if self.unfolds > 1:
            inner = (self.steps, self.unfolds - 1, count)
            decays, gains = (b.reshape(b.concat(values[:-1], 1), inner) for values in (decay, gained))
            before = b.concat([begin, b.add(b.multiply(decays, begin), gains)], 1)
        return Solved(self.neurons, self._every(before), flat, identity(count))

    def lasting_by_powers(self, rows: str) -> Solved:
        """Solve from rows (steps, d | 1 + d | n): v draws near to n / d, by ``decay^j`` in j solver steps."""
        b, count = self.builder, len(self.neurons)
        by_step = b.reshape(rows, (1, self.steps, 1, 3 * count))
        d, one_and_d, n = b.split(by_step, 3, (count, count, count))
        limit = b.divide(n, d)
        powers = -np.arange(self.unfolds + 1.0).reshape(1, 1, -1, 1)
        decays, decay = b.split(b.unary("exp", b.multiply(b.unary("log", one_and_d), powers)), 2, (self.unfolds, 1))
        ends = scan_recursion(b, decay, b.subtract(limit, b.multiply(limit, decay)))
        before = b.add(b.multiply(decays, b.subtract(b.shift(ends, 1, 1), limit)), limit)
        return Solved(self.neurons, self._every(before), b.reshape(ends, (self.steps, count)), identity(count))

    def changing_by_logarithms(self, rows: str) -> Solved:
        """Solve from rows (solver steps, n | 1 + d), before every solver step too.

        With P[j] the product of D before solver step j of a step, and S[j] the sum of ``n[i] * P[i]`` before it, v is
        ``(v_begin + S[j]) / P[j]`` before solver step j.
        """
        b, count = self.builder, len(self.neurons)
        n, one_and_d = self._by_step(rows)
        products = b.unary("exp", b.preceding_sums(b.unary("log", one_and_d), 2))
        sums = b.preceding_sums(b.multiply(n, products), 2)
        last = [b.slice(value, 2, self.unfolds - 1, self.unfolds) for value in (products, sums, n, one_and_d)]
        divisor = b.multiply(last[0], last[3])
        decay = b.divide([[[[1.0]]]], divisor)
        gained = b.divide(b.add(last[1], b.multiply(last[2], last[0])), divisor)
        ends = scan_recursion(b, decay, gained)
        before = b.divide(b.add(sums, b.shift(ends, 1, 1)), products)
        return Solved(self.neurons, self._every(before), b.reshape(ends, (self.steps, count)), identity(count))

    def ends_by_logarithms(self, rows: str) -> Solved:
        """Solve from rows (solver steps, n | 1 + d).

        After solver steps 1 to j, v is ``v_before / (D[1] … D[j])`` and the sum of ``n[i] / (D[i] … D[j])``.
        """
        b, count = self.builder, len(self.neurons)
        n, one_and_d = self._by_step(rows)
        divisors = b.unary("exp", b.suffix_sums(b.unary("log", one_and_d), 2))
        gained = b.mean(b.divide(n, divisors), 2)
        decay = b.divide([[[1.0]]], b.reshape(b.slice(divisors, 2, 0, 1), (1, self.steps, count)))
        ends = scan_recursion(b, decay, gained)
        return Solved(self.neurons, "", b.reshape(ends, (self.steps, count)), dense(np.eye(count) * self.unfolds))

    def last_by_logarithms(self, rows: str) -> Solved:
        """Solve from the same, after the last step alone."""
        b, count, every = self.builder, len(self.neurons), self.steps * self.unfolds
        n, one_and_d = b.split(b.reshape(rows, (1, every, 2 * count)), 2, (count, count))
        divisors = b.unary("exp", b.suffix_sums(b.unary("log", one_and_d), 1))
        return Solved(self.neurons, "", "", dense(np.eye(count) * every), b.mean(b.divide(n, divisors), 1))

    def _by_step(self, rows: str) -> tuple[str, str]:
        """Return n and 1 + d as (1, steps, solver steps, neurons) of rows (solver steps, n | 1 + d)."""
        b, count = self.builder, len(self.neurons)
        n, one_and_d = b.split(b.reshape(rows, (1, self.steps, self.unfolds, 2 * count)), 3, (count, count))
        return n, one_and_d

    def _every(self, before: str) -> str:
        """Return (solver steps, neurons)."""
        return self.builder.reshape(before, (self.steps * self.unfolds, len(self.neurons)))
