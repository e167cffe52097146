"""LTC: liquid time-constant cells, evaluated only where a synapse exists; the numbers are those of ncps.

Papers: R. Hasani, M. Lechner, A. Amini, D. Rus, R. Grosu (2021), "Liquid time-constant networks", AAAI 35,
doi:10.1609/aaai.v35i9.16936, equations 1 to 3 and algorithm 1 (the fused solver); for the wiring M. Lechner, R. Hasani,
A. Amini et al. (2020), "Neural circuit policies enabling auditable autonomy", Nature Machine Intelligence 2,
doi:10.1038/s42256-020-00237-3.

Glossary (symbol of the paper → name here; ncps's name where it differs):

    x(t)       v, state        membrane potential of the neurons
    I(t)       x               input: sensory neurons
    C_m        capacitance     cm, through softplus; here times the unfolds, so that it stands for C_m / dt at time 1
    g_leak     leak            gleak, through softplus
    x_leak     leak_current    g_leak * vleak: where the potential rests, times how strongly it is drawn there
    W          weight          w and sensory_w, through softplus: greatest conductance of a synapse
    A          reversal        erev and sensory_erev: potential a synapse pulls to; its sign at birth is the polarity
    gamma      gain            sigma and sensory_sigma: slope of a synapse's sigmoid
    mu         threshold       mu and sensory_mu: potential at which it is half open (bias here: -gain * threshold)
    L          unfolds         ode_unfolds: solver steps within one step of the sequence

One solver step, for every neuron i with synapses s into it, and t the time that passes with a step of the sequence:

    open_s = sigmoid(gain_s * v[source_s] + bias_s)
    v_i    = (capacitance_i / t * v_i + leak_current_i + sum_s weight_s * reversal_s * open_s)
           / (capacitance_i / t +        leak_i        + sum_s weight_s *              open_s  + epsilon)

where the sums hold the sensory synapses too, the same in every solver step of one step of the sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import ncps.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from edgelnn.models.liquid import AbstractLiquidLayer
from edgelnn.models.ltc_senses import sense
from edgelnn.models.ltc_solver import relax, solve
from edgelnn.models.wirings import WiringPlan

__all__ = ["FoldedLTC", "LTCLayer", "Synapses"]


@dataclass(frozen=True)
class Synapses:
    """The synapses of one kind, one entry each, in the order of their targets, then sources.

    Attributes:
        source: (synapses,) int64: sensory neuron or neuron it reads.
        target: (synapses,) int64: neuron it acts on.
        gain: (synapses,) slope of its sigmoid; for sensory ones with the input's scale folded in.
        bias: (synapses,) added before the sigmoid; for sensory ones with the input's shift folded in.
        weight: (synapses,) greatest conductance, positive.
        reversal: (synapses,) potential it pulls to.
    """

    source: Tensor
    target: Tensor
    gain: Tensor
    bias: Tensor
    weight: Tensor
    reversal: Tensor

    def acting(self, first: int, last: int) -> Tensor:
        """Return (2·(last - first), synapses): what they add to neurons first to last - 1, numerators first."""
        column = torch.arange(len(self.source), device=self.source.device).repeat(2)
        row = torch.cat([self.target - first, self.target + (last - 2 * first)])
        strength = torch.cat([self.weight * self.reversal, self.weight])
        return strength.new_zeros(2 * (last - first), len(self.source)).index_put((row, column), strength)

    def acting_by_target(self, targets: int) -> Tensor:
        """Return the same as (targets, 2, sources), where every target has a synapse from every source."""
        return torch.stack([self.weight * self.reversal, self.weight]).view(2, targets, -1).transpose(0, 1).contiguous()

    def reading(self, first: int, last: int) -> Tensor:
        """Return (synapses, last - first + 1): gains at the sources, neurons first to last - 1, then biases."""
        row = torch.arange(len(self.source), device=self.source.device)
        gains = self.gain.new_zeros(len(self.source), last - first).index_put((row, self.source - first), self.gain)
        return torch.cat([gains, self.bias[:, None]], 1)


@dataclass(frozen=True)
class FoldedLTC:
    """An LTC layer with everything constant folded in; see the module's equations.

    Attributes:
        sensory: Synapses from the input.
        internal: Synapses between neurons.
        capacitance: (units,) times the unfolds.
        leak: (units,).
        leak_current: (units,).
        output_scale: (outputs,) of the affine map from the first neurons to the output.
        output_shift: (outputs,).
        unfolds: Solver steps per step of the sequence.
        epsilon: Added to every denominator.
    """

    sensory: Synapses
    internal: Synapses
    capacitance: Tensor
    leak: Tensor
    leak_current: Tensor
    output_scale: Tensor
    output_shift: Tensor
    unfolds: int
    epsilon: float


@final
class LTCLayer(AbstractLiquidLayer):
    """LTC over a wiring; the output is the motor neurons, the first of the state.

    Attributes:
        plan: The wiring.
        unfolds: Solver steps per step of the sequence.
        receivers: Neurons from this one on receive from no other neuron.
        first_sensed: Neurons before this one receive from no sensory neuron.
        first_source: Neurons before this one act on no other neuron; at most the first that receives from none.
        is_full: Whether every neuron has a synapse from every neuron.

    >>> layer = LTCLayer(28, WiringPlan("auto", units=32, outputs=10))
    >>> sequence, state = layer(torch.zeros(4, 7, 28))
    >>> tuple(sequence.shape), tuple(state.shape)
    ((4, 7, 10), (4, 32))
    """

    source: Tensor
    target: Tensor
    sensory_source: Tensor
    sensory_target: Tensor

    def __init__(self, features: int, plan: WiringPlan, *, unfolds: int = 6) -> None:
        wiring = plan.fresh()
        module = ncps.torch.LTC(features, wiring, ode_unfolds=unfolds)
        super().__init__(module, features=features, units=plan.units, outputs=plan.outputs, origin=str(plan))
        self.plan = plan
        self.unfolds = unfolds
        for name, adjacency in (("", wiring.adjacency_matrix), ("sensory_", wiring.sensory_adjacency_matrix)):
            target, source = torch.from_numpy(adjacency.T.copy()).nonzero(as_tuple=True)
            self.register_buffer(f"{name}source", source, persistent=False)
            self.register_buffer(f"{name}target", target, persistent=False)
        self.receivers = int(self.target.max()) + 1
        self.first_sensed = int(self.sensory_target.min())
        self.first_source = min(int(self.source.min()), self.receivers)
        self.is_full = len(self.source) == self.units**2

    def folded(self) -> FoldedLTC:
        """Return the layer's weights by synapse, softplus applied and constants folded, gradients attached."""
        cell = self.ncps.rnn_cell
        at = (self.sensory_source, self.sensory_target)
        slope = cell.sensory_sigma[at]
        sensory = Synapses(
            *at,
            gain=slope * cell.input_w[self.sensory_source],
            bias=slope * (cell.input_b[self.sensory_source] - cell.sensory_mu[at]),
            weight=F.softplus(cell.sensory_w[at]),
            reversal=cell.sensory_erev[at],
        )
        at = (self.source, self.target)
        gain = cell.sigma[at]
        internal = Synapses(*at, gain, -gain * cell.mu[at], F.softplus(cell.w[at]), cell.erev[at])
        leak = F.softplus(cell.gleak)
        return FoldedLTC(
            sensory,
            internal,
            F.softplus(cell.cm) * self.unfolds,
            leak,
            leak * cell.vleak,
            cell.output_w,
            cell.output_b,
            self.unfolds,
            float(cell._epsilon),
        )

    def run(self, x: Tensor, hx: Tensor, timespans: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute `forward`: neurons that receive from no other neuron first, then those that do."""
        folded = self.folded()
        sensory, internal = folded.sensory, folded.internal
        steps, batch = x.shape[1], x.shape[0]
        readings = x.permute(2, 1, 0).reshape(self.features, steps * batch)
        leaks, blind = torch.stack([folded.leak_current, folded.leak + folded.epsilon]), self.first_sensed
        acting = sensory.acting(blind, self.units)
        seen = sense(readings, sensory.source, sensory.gain, sensory.bias, acting, leaks[:, blind:].flatten())
        seen = seen.view(2, -1, steps, batch)
        unseen = leaks[:, :blind, None, None].expand(-1, -1, steps, batch)
        some = self.receivers
        receiving, free = unseen, seen  # as in ``auto``, where sensory synapses end where others do not
        if blind != some:
            receiving, free = torch.cat([unseen, seen], 1).tensor_split([some], 1)
        inertia = folded.capacitance[:, None, None]
        if timespans is not None:
            inertia = inertia / timespans.t()
        others = relax(free, inertia[some:], hx.t()[some:], self.unfolds)
        states = solve(
            internal.reading(self.first_source, self.units),
            internal.acting_by_target(some) if self.is_full else internal.acting(0, some),
            receiving,
            inertia[:some],
            others[:-1],
            hx.t()[:some],
            self.unfolds,
        )
        motor = states[:, : self.outputs].permute(2, 0, 1)
        return motor * folded.output_scale + folded.output_shift, torch.cat([states[-1], others[-1]]).t()
