"""The learning rate as a pure function of where training stands, so that a resumed run needs no scheduler's memory."""

from __future__ import annotations

import math

from edgelnn.training.experiment import Schedule

__all__ = ["learning_rate_at"]

ONE_CYCLE_RISE = 0.3  # share of all steps that go up
ONE_CYCLE_START = 25.0  # the top over the first rate
ONE_CYCLE_END = 1e4  # the first rate over the last


def learning_rate_at(
    schedule: Schedule, top: float, *, epochs: int, epoch: int, batch: int = 0, batches: int = 1
) -> float:
    """Return the learning rate of one step.

    ``cosine`` and ``warm_restarts`` are SGDR (Loshchilov & Hutter 2017, equation 5, with a least rate of 0), epoch by
    epoch; `Schedule.period` and `Schedule.growth` are its T_0 and T_mult;
    ``one_cycle`` is Smith & Topin 2018 as PyTorch anneals it, batch by batch, momentum left alone.

    Args:
        schedule: The kind and its numbers.
        top: The experiment's learning rate.
        epochs: Of the whole training.
        epoch: From 0.
        batch: From 0.
        batches: An epoch has.

    >>> learning_rate_at(Schedule(kind="cosine"), 1.0, epochs=10, epoch=5)
    0.5
    >>> learning_rate_at(Schedule(kind="step"), 1.0, epochs=10, epoch=5)
    0.1
    """
    match schedule.kind:
        case "constant":
            return top
        case "step":
            passed = sum(epoch >= round(milestone * epochs) for milestone in schedule.milestones)
            return top * schedule.gamma**passed
        case "cosine":
            return _cosine(top, 0.0, epoch / epochs)
        case "warm_restarts":
            since, period = epoch, schedule.period
            while since >= period:
                since, period = since - period, period * schedule.growth
            return _cosine(top, 0.0, since / period)
    step, last = epoch * batches + batch, epochs * batches - 1
    turn = ONE_CYCLE_RISE * (last + 1) - 1
    first = top / ONE_CYCLE_START
    if step <= turn:
        return _cosine(first, top, step / turn if turn > 0 else 1.0)
    return _cosine(top, first / ONE_CYCLE_END, (step - turn) / (last - turn) if last > turn else 1.0)


def _cosine(start: float, end: float, share: float) -> float:
    """Return the value at a share of the way from start to end along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
