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

__all__ = ["WiringPlan"]

_DEFAULT_SEEDS = {"auto": 22222, "full": 1111}


@dataclass(frozen=True)
class WiringPlan:
    """What a wiring is made from.

    ``auto`` is the neural circuit policy of M. Lechner, R. Hasani, A. Amini et al. (2020), "Neural circuit policies
    enabling auditable autonomy", Nature Machine Intelligence 2, doi:10.1038/s42256-020-00237-3: sensory → inter →
    command → motor neurons, their numbers derived from `units` and `outputs`. ``full`` joins all with all.

    Attributes:
        kind: ``auto`` or ``full``.
        units: Neurons: inter, command and motor together.
        outputs: Motor neurons.
        sparsity: Share of the possible synapses that ``auto`` leaves out.
        seed: Which of the possible wirings; None: ncps's own default (22222 for ``auto``, 1111 for ``full``).

    Raises:
        ConfigError: ``auto`` with more than ``units - 3`` outputs, or ``full`` with more outputs than units.

    >>> WiringPlan("auto", units=19, outputs=2).build(features=16).synapse_count.item()
    46
    """

    kind: Literal["auto", "full"]
    units: int
    outputs: int
    sparsity: float = 0.5
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check that a wiring of these sizes exists."""
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

    @property
    def effective_seed(self) -> int:
        """The seed the wiring is built with."""
        return _DEFAULT_SEEDS[self.kind] if self.seed is None else self.seed

    def fresh(self) -> Wiring:
        """Return a new ncps wiring that no model was built on; building a second one on it would add synapses to it."""
        if self.kind == "auto":
            return ncps.wirings.AutoNCP(self.units, self.outputs, self.sparsity, self.effective_seed)
        return ncps.wirings.FullyConnected(self.units, self.outputs, self.effective_seed)

    def build(self, features: int) -> Wiring:
        """Return a new ncps wiring with synapses from `features` sensory neurons; to look at, not to build on."""
        wiring = self.fresh()
        wiring.build(features)
        return wiring

    def __str__(self) -> str:
        """Return the words that error messages use."""
        if self.kind == "full":
            return f"a full wiring of {self.units} units, seed {self.effective_seed}"
        return (
            f"an auto wiring of {self.units} units and {self.outputs} outputs, "
            f"seed {self.effective_seed}, sparsity {self.sparsity:g}"
        )
