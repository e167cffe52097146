"""What every liquid layer shares: an ncps module that holds the parameters, and how its state dict is taken over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgelnn.errors import ConfigError

__all__ = ["AbstractLiquidLayer", "load_ncps_state_dict"]


class AbstractLiquidLayer(nn.Module, ABC):
    """A recurrent layer that reads (batch, time, features) and computes what the ncps module it holds would.

    Attributes:
        ncps: The published module: owner of every parameter and mask, never called.
        features: Sensory neurons: length of one step of the input.
        units: Length of the state.
        outputs: Length of one step of the output.
        origin: The wiring in words, for messages.
    """

    ncps: Any  # an nn.Module of a library without types
    features: int
    units: int
    outputs: int
    origin: str

    def __init__(self, module: nn.Module, *, features: int, units: int, outputs: int, origin: str) -> None:
        super().__init__()
        self.ncps = module
        for parameter in module.parameters():  # ncps transposes its masks, and safetensors takes none that are
            parameter.data = parameter.data.contiguous()
        self.features = features
        self.units = units
        self.outputs = outputs
        self.origin = origin
        self.ncps.register_load_state_dict_pre_hook(_MaskGuard(origin))

    def forward(self, x: Tensor, hx: Tensor | None = None, timespans: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what the layer says at every step, and its state after the last.

        Args:
            x: (batch, time, features) float.
            hx: (batch, units) state before the first step; zeros where left out.
            timespans: (batch, time) time that passes with each step, above 0; 1 where left out.

        Returns:
            (batch, time, outputs) and (batch, units), of x's type.

        Raises:
            ConfigError: A shape does not fit, or a time span is not above 0.
        """
        if x.dim() != 3 or x.shape[2] != self.features or x.shape[1] == 0:
            raise ConfigError(f"got x of shape {tuple(x.shape)}; the layer takes (batch, time, {self.features}).")
        if hx is None:
            hx = x.new_zeros(len(x), self.units)
        elif hx.shape != (len(x), self.units):
            raise ConfigError(f"got hx of shape {tuple(hx.shape)}; expected (batch, units) = ({len(x)}, {self.units}).")
        if timespans is not None:
            if timespans.shape != x.shape[:2]:
                raise ConfigError(
                    f"got timespans of shape {tuple(timespans.shape)}; expected (batch, time) = {tuple(x.shape[:2])}."
                )
            if not bool((timespans > 0).all()):
                raise ConfigError("got a time span of 0 or less, or NaN; time passes with every step.")
        return self.run(x, hx, timespans)

    @abstractmethod
    def run(self, x: Tensor, hx: Tensor, timespans: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute `forward` on checked arguments."""


class _MaskGuard:
    """Refuses a state dict whose masks are not those of the wiring.

    ncps's own `load_state_dict` overwrites the masks, so that wiring and masks disagree in silence.
    """

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def __call__(self, module: nn.Module, state_dict: Mapping[str, Any], prefix: str, *_: Any) -> None:
        """Compare every mask of `module` with the one about to be loaded."""
        for name, mask in module.named_parameters():
            new = state_dict.get(prefix + name)
            if name.endswith("sparsity_mask") and isinstance(new, Tensor):
                if new.shape != mask.shape:
                    raise ConfigError(
                        f"got {name} of shape {tuple(new.shape)}; {self.origin}, has {tuple(mask.shape)}. "
                        "Build the layer with the sizes the weights were trained with."
                    )
                if not torch.equal(new.to(mask), mask):
                    raise ConfigError(
                        f"{name} differs from the mask of {self.origin}: the weights come from another wiring. "
                        "Set head.wiring_seed and head.sparsity to those they were trained with."
                    )


def load_ncps_state_dict(layer: AbstractLiquidLayer, state_dict: Mapping[str, Tensor]) -> None:
    """Load the state dict of an ncps CfC or LTC into a layer of ours, names unchanged.

    ``layer.ncps.state_dict()`` goes the other way.

    Args:
        layer: Built with the sizes, wiring, seed and sparsity that the weights were trained with.
        state_dict: Of ``ncps.torch.CfC`` or ``ncps.torch.LTC``.

    Raises:
        ConfigError: Names or shapes are not those of the layer, or the masks are not those of its wiring.
    """
    own = layer.ncps.state_dict()
    missing, foreign = sorted(own.keys() - state_dict.keys()), sorted(state_dict.keys() - own.keys())
    if missing or foreign:
        raise ConfigError(
            f"got a state dict of another model: {_some(missing)} missing, {_some(foreign)} unknown. "
            f"Expected that of ncps.torch.{type(layer.ncps).__name__} for {layer.origin}."
        )
    for name, value in own.items():
        if not name.endswith("sparsity_mask") and state_dict[name].shape != value.shape:
            raise ConfigError(
                f"got {name} of shape {tuple(state_dict[name].shape)}; {layer.origin}, has {tuple(value.shape)}. "
                "Build the layer with the sizes the weights were trained with."
            )
    layer.ncps.load_state_dict(dict(state_dict))


def _some(names: list[str]) -> str:
    """Return how many names there are, and the first of them."""
    return f"{len(names)} ({', '.join(names[:2])}, …)" if len(names) > 2 else ", ".join(names) or "none"
