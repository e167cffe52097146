"""Wirings: which neurons are joined by synapses, and with what sign.

A wiring is planned as a frozen value; every layer builds a fresh ncps object from it, because ncps changes a wiring
when a model is built on it, and two models must never share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import ncps.wirings
from ncps.wirings import Wiring

from edgelnn.errors import ConfigError
from edgelnn.models.head_specification import NCPShape

__all__ = ["WiringPlan"]

_DEFAULT_SEEDS = {"auto": 22222, "ncp": 22222, "full": 1111, "random": 1111}


@dataclass(frozen=True)
class WiringPlan:
    """What a wiring is made from.

    ``auto`` is the neural circuit policy of M. Lechner, R. Hasani, A. Amini et al. (2020), "Neural circuit policies
    enabling auditable autonomy", Nature Machine Intelligence 2, doi:10.1038/s42256-020-00237-3: sensory → inter →
    command → motor neurons, their numbers derived from `units` and `outputs`. ``ncp`` is the same with every number
    given. ``full`` joins all with all. ``random`` joins any two, each pair as likely as the other.

    Attributes:
        kind: ``auto``, ``ncp``, ``full`` or ``random``.
        units: Neurons: inter, command and motor together.
        outputs: Motor neurons.
        sparsity: Share of the possible synapses that ``auto`` and ``random`` leave out.
        seed: Which of the possible wirings; None: ncps's own default (22222 for ``auto`` and ``ncp``, 1111 for ``full``
            and ``random``).
        ncp: The numbers of ``ncp``.

    Raises:
        ConfigError: No wiring of these numbers exists.

    >>> WiringPlan("auto", units=19, outputs=2).build(features=16).synapse_count.item()
    46
    """

    kind: Literal["auto", "ncp", "full", "random"]
    units: int
    outputs: int
    sparsity: float = 0.5
    seed: int | None = None
    ncp: NCPShape | None = None

    def __post_init__(self) -> None:
        """Check that a wiring of these sizes exists."""
        if self.kind == "ncp":
            self._check_ncp()
        if self.kind == "auto" and not 0.1 <= self.sparsity <= 0.9:
            raise ConfigError(f"got head.sparsity={self.sparsity:g} with head.wiring='auto'; it takes 0.1 to 0.9.")
        if self.kind == "random" and not 0.0 <= self.sparsity < 1.0:
            raise ConfigError(f"got head.sparsity={self.sparsity:g} with head.wiring='random'; it takes 0 to below 1.")
        if self.kind == "auto" and not 1 <= self.outputs <= self.units - 3:
            raise ConfigError(
                f"got {self.outputs} outputs of {self.units} units for head.wiring='auto'; it takes 1 to units - 3 "
                f"outputs. Set head.units to at least {self.outputs + 3}."
            )
        if not 1 <= self.outputs <= self.units:
            raise ConfigError(
                f"got {self.outputs} outputs of {self.units} units; at most every unit is an output. "
                f"Set head.units to at least {self.outputs}."
            )
        if self.seed is not None and not 0 <= self.seed < 2**32:
            raise ConfigError(f"got head.wiring_seed={self.seed}; it is a number from 0 to 4294967295.")

    def _check_ncp(self) -> None:
        """Check that the numbers of an explicit neural circuit policy go together."""
        ncp = self.ncp
        if ncp is None:
            raise ConfigError("got head.wiring='ncp' without head.ncp; it gives the neurons and synapses of each kind.")
        if (self.units, self.outputs) != (ncp.units, ncp.motor):
            raise ConfigError(
                f"got head.units={self.units} and head.outputs={self.outputs}; head.ncp has {ncp.units} neurons, "
                f"{ncp.motor} of them motor neurons. Leave head.units and head.outputs out."
            )
        limits = {
            "sensory_fanout": ("inter", ncp.inter),
            "inter_fanout": ("command", ncp.command),
            "motor_fanin": ("command", ncp.command),
        }
        for name, (kind, count) in limits.items():
            if getattr(ncp, name) > count:
                raise ConfigError(
                    f"got head.ncp.{name}={getattr(ncp, name)} with {count} {kind} neurons; there are no more to join. "
                    f"Set it to at most {count}."
                )

    @property
    def effective_seed(self) -> int:
        """The seed the wiring is built with."""
        return _DEFAULT_SEEDS[self.kind] if self.seed is None else self.seed

    def fresh(self) -> Wiring:
        """Return a new ncps wiring that no model was built on; building a second one on it would add synapses to it."""
        if self.kind == "auto":
            return ncps.wirings.AutoNCP(self.units, self.outputs, self.sparsity, self.effective_seed)
        if self.kind == "random":
            return ncps.wirings.Random(self.units, self.outputs, self.sparsity, self.effective_seed)
        if self.ncp is not None:
            return ncps.wirings.NCP(
                self.ncp.inter,
                self.ncp.command,
                self.ncp.motor,
                self.ncp.sensory_fanout,
                self.ncp.inter_fanout,
                self.ncp.recurrent_command_synapses,
                self.ncp.motor_fanin,
                seed=self.effective_seed,
            )
        return ncps.wirings.FullyConnected(self.units, self.outputs, self.effective_seed)

    def build(self, features: int) -> Wiring:
        """Return a new ncps wiring with synapses from `features` sensory neurons; to look at, not to build on."""
        wiring = self.fresh()
        wiring.build(features)
        return wiring

    def __str__(self) -> str:
        """Return the words that error messages use."""
        seed = f"seed {self.effective_seed}"
        if self.kind == "full":
            return f"a full wiring of {self.units} units, {seed}"
        if self.ncp is not None:
            return f"an ncp wiring of {self.ncp.inter}, {self.ncp.command} and {self.ncp.motor} neurons, {seed}"
        article = "an auto" if self.kind == "auto" else "a random"
        return f"{article} wiring of {self.units} units and {self.outputs} outputs, {seed}, sparsity {self.sparsity:g}"
