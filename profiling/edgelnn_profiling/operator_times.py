"""Time by operator and by layer, as a runtime's own profiler tells it; and what it does not tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["PARTS", "LayerTime", "OperatorProfile", "OperatorTime", "unwatched"]

PARTS = ("stem", "scan", "head", "output")
"""Parts of a classifier, in the order in which an image passes through them."""


@dataclass(frozen=True)
class OperatorTime:
    """One operator that a runtime executes, which need not be one of the file's: runtimes join and add some.

    Attributes:
        name: As the runtime calls it.
        type: What it does, in the runtime's words: ``Conv``, ``Fully Connected (NC, F32) GEMM``.
        origin: The operator of the file that it stems from, by the name it has there (in ONNX its own, in TFLite that
            of its first output); None where that cannot be told.
        layer: What that belongs to: the first operator with the same weights, or the part and kind of those without
            weights; None likewise.
        part: ``stem``, ``scan``, ``head`` or ``output`` of the classifier; None where the file does not say.
        runs: How often it runs in one inference.
        mean_s: Mean over inferences of the time that its runs take together, in seconds, as the runtime's profiler
            tells it.
        most_s: What the mean may be at most: the profiler's clock cuts off what is below its resolution.
    """

    name: str
    type: str
    origin: str | None
    layer: str | None
    part: str | None
    runs: int
    mean_s: float
    most_s: float


@dataclass(frozen=True)
class LayerTime:
    """The operators of one layer, or of one part, together.

    Attributes:
        name: Of the layer or of the part; None for what belongs to none.
        part: Of the classifier; None where the file does not say.
        operators: How many the runtime executes for it.
        mean_s: Their times together.
        most_s: What these may be at most, by the profiler's clock and by what is left of the whole inference.
    """

    name: str | None
    part: str | None
    operators: int
    mean_s: float
    most_s: float


@dataclass(frozen=True)
class OperatorProfile:
    """Where the time of an inference goes, measured in a process of its own, as watching operators slows them down.

    Attributes:
        profiler: Who measured: a runtime's profiler, in words; None where there is none.
        inferences: How many count: the faster half of those watched, so that what others did stays out.
        inference_s: Their median time, in seconds: compare it with the latency that was measured without watching.
        inference_mean_s: Their mean time, in seconds, which their operators share; None in reports before format 3.
        resolution_s: Of the profiler's clock, in seconds.
        operators: In the order in which they run.
        reason: What the runtime does not tell, and why; None where it tells all.
    """

    profiler: str | None
    inferences: int
    inference_s: float | None
    inference_mean_s: float | None
    resolution_s: float | None
    operators: tuple[OperatorTime, ...]
    reason: str | None

    @property
    def total_s(self) -> float:
        """All operators together, in seconds."""
        return sum(operator.mean_s for operator in self.operators)

    def at_most_s(self, mean_s: float, most_s: float) -> float:
        """Return what some of the operators may take at most, by what all others leave of the inference.

        The profiler cuts off: an inference may be one step of its clock longer than it tells, and no operator shorter.

        Args:
            mean_s: Of these operators together, in seconds, as the profiler tells it.
            most_s: What that may be at most, by the profiler's clock alone.
        """
        if self.inference_mean_s is None or self.resolution_s is None:
            return most_s
        left_s = self.inference_mean_s + self.resolution_s - (self.total_s - mean_s)
        return min(most_s, max(mean_s, left_s))

    @property
    def by_layer(self) -> tuple[LayerTime, ...]:
        """Times by layer, in the order in which they first run; what belongs to no layer comes by its name."""
        return self._grouped((operator.layer or operator.name, operator) for operator in self.operators)

    @property
    def by_part(self) -> tuple[LayerTime, ...]:
        """Times by part of the classifier, in the order in which an image passes through; what has no part is last."""
        order = {part: place for place, part in enumerate(PARTS)}
        found = self._grouped((operator.part, operator) for operator in self.operators)
        return tuple(sorted(found, key=lambda each: order.get(each.name or "", len(order))))

    def _grouped(self, named: Iterable[tuple[str | None, OperatorTime]]) -> tuple[LayerTime, ...]:
        groups: dict[str | None, list[OperatorTime]] = {}
        for name, operator in named:
            groups.setdefault(name, []).append(operator)
        found = []
        for name, operators in groups.items():
            mean, most = (sum(times) for times in zip(*((o.mean_s, o.most_s) for o in operators), strict=True))
            part = next((operator.part for operator in operators if operator.part is not None), None)
            found.append(LayerTime(name, part, len(operators), mean, self.at_most_s(mean, most)))
        return tuple(found)


def unwatched(reason: str) -> OperatorProfile:
    """Return that nothing can be told, and why."""
    return OperatorProfile(None, 0, None, None, None, (), reason)
