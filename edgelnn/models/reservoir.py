"""Reservoir: fixed random units that echo the input, and a linear read-out that is fitted in closed form.

Papers: H. Jaeger (2001), "The 'echo state' approach to analysing and training recurrent neural networks", GMD report
148; H. Jaeger, M. Lukoševičius, D. Popovici, U. Siewert (2007), "Optimization and applications of echo state networks
with leaky-integrator neurons", Neural Networks 20, doi:10.1016/j.neunet.2007.04.016, equation 2:

    x(t) = (1 - leak) * x(t - 1) + leak * tanh(W_in u(t) + W x(t - 1)),    x(0) = 0

W is drawn once and scaled so that its largest eigenvalue has the magnitude `spectral_radius`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgelnn.errors import ConfigError
from edgelnn.models.abstract_head import read_out
from edgelnn.models.head_specification import Readout, ReservoirHead

__all__ = ["Reservoir"]


@final
class Reservoir(nn.Module):
    """Leaky echo-state units and their read-out.

    Attributes:
        input_weight: (units, features) fixed.
        recurrent_weight: (units, units) fixed.
        leak: By how much a step moves the state to its new value.
        readout: How the steps are read out.
        center: (width,) what is read on average; subtracted first, so that large weights meet small numbers.
        linear: From what is left to the class scores; fitted in closed form.
        strength: Of the ridge that `linear` was fitted with; 0 where it was not fitted.
        over_batch: Whether the state runs on from image to image, as in published code, by mistake.
    """

    center: Tensor
    strength: Tensor

    def __init__(self, spec: ReservoirHead, *, steps: int, features: int, scores: int) -> None:
        super().__init__()
        seed = int(torch.randint(2**31, ())) if spec.reservoir_seed is None else spec.reservoir_seed
        drawn = np.random.default_rng([seed, 1]).standard_normal((spec.units, features)) * spec.input_scaling
        recurrent = _unit_radius(spec.units, spec.sparsity, seed) * spec.spectral_radius
        self.input_weight = _fixed(drawn)
        self.recurrent_weight = _fixed(recurrent)
        self.leak = spec.leak
        self.readout: Readout = spec.readout
        self.over_batch = spec.over == "batch"
        width = spec.units * (steps if spec.readout == "joined" else 1)
        self.register_buffer("center", torch.zeros(width))
        self.linear = nn.Linear(width, scores)
        self.register_buffer("strength", torch.zeros(()))

    def states(self, sequence: Tensor) -> Tensor:
        """Return the state (n, steps, units) after every step of (n, steps, features)."""
        drive = sequence @ self.input_weight.t()
        drive = drive if self.over_batch else drive.transpose(0, 1)
        state = torch.zeros_like(drive[0])
        states = []
        for step in drive:
            state = torch.lerp(state, torch.addmm(step, state, self.recurrent_weight.t()).tanh(), self.leak)
            states.append(state)
        return torch.stack(states, 0 if self.over_batch else 1)

    def read(self, sequence: Tensor) -> Tensor:
        """Return what is read out: (n, width) of (n, steps, features)."""
        return read_out(self.states(sequence), self.readout, both_directions=False)

    def forward(self, sequence: Tensor) -> Tensor:
        """Return class scores (n, scores) of (n, steps, features)."""
        scores: Tensor = self.linear(self.read(sequence) - self.center)
        return scores


@lru_cache(maxsize=2)
def _unit_radius(units: int, sparsity: float, seed: int) -> NDArray[np.float64]:
    """Return random weights (units, units) whose largest eigenvalue has magnitude 1."""
    rng = np.random.default_rng([seed, 2])
    weight = rng.standard_normal((units, units)) * (rng.random((units, units)) >= sparsity)
    radius = float(np.abs(np.linalg.eigvals(weight)).max())
    if radius < 1e-6:
        raise ConfigError(
            f"got head.sparsity={sparsity:g} for a reservoir of {units} units: no unit reaches itself, so the weights "
            "have no spectral radius. Set a smaller sparsity or more units."
        )
    weight /= radius
    weight.setflags(write=False)
    return weight


def _fixed(weight: NDArray[np.float64]) -> nn.Parameter:
    """Return a parameter that no training changes."""
    return nn.Parameter(torch.tensor(weight, dtype=torch.get_default_dtype()), requires_grad=False)
