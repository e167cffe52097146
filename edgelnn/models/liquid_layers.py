"""From a liquid head's specification to its stacked layers: sizes filled in and checked, wirings fresh."""

from __future__ import annotations

from edgelnn.errors import ConfigError
from edgelnn.models.cfc import CfCLayer
from edgelnn.models.dense_cfc import DenseCfCLayer
from edgelnn.models.liquid import AbstractLiquidLayer
from edgelnn.models.ltc import LTCLayer
from edgelnn.models.specification import CfCHead, LTCHead
from edgelnn.models.wirings import WiringPlan

__all__ = ["build_layer", "layer_sizes", "scores_are_outputs"]


def layer_sizes(spec: CfCHead | LTCHead, scores: int) -> tuple[tuple[int, int], ...]:
    """Return units and outputs of every stacked layer.

    Args:
        spec: The head.
        scores: Class scores wanted.

    Raises:
        ConfigError: `outputs` does not go with `units` or the wiring.

    >>> layer_sizes(LTCHead(kind="ltc", units=[21, 7]), scores=1)
    ((21, 10), (7, 1))
    """
    units = spec.units if isinstance(spec.units, list) else [spec.units]
    if not units:
        raise ConfigError("got head.units=[]; it needs one number per stacked layer.")
    if _every_unit_is_an_output(spec):
        if spec.outputs is not None:
            raise ConfigError(
                f"got head.outputs={spec.outputs} with head.wiring={spec.wiring!r}: there every unit of a CfC is an "
                "output, and a linear layer makes the class scores. Leave head.outputs out, or set head.wiring='auto'."
            )
        return tuple((count, count) for count in units)
    if spec.outputs is None:
        hidden = [max(1, min(count // 2, count - 3)) for count in units]
        direct = spec.readout != "joined" and not spec.bidirectional
        outputs = [*hidden[:-1], scores] if direct else hidden
    else:
        outputs = spec.outputs if isinstance(spec.outputs, list) else [spec.outputs]
    if len(outputs) != len(units):
        raise ConfigError(
            f"got head.outputs={spec.outputs} for head.units={spec.units}; both need one number per stacked layer: "
            f"{len(units)} of each."
        )
    return tuple(zip(units, outputs, strict=True))


def scores_are_outputs(spec: CfCHead | LTCHead, scores: int) -> bool:
    """Return whether the last layer's outputs are the class scores, so that no linear layer follows."""
    direct = spec.readout != "joined" and not spec.bidirectional and not _every_unit_is_an_output(spec)
    return direct and layer_sizes(spec, scores)[-1][1] == scores


def build_layer(spec: CfCHead | LTCHead, *, features: int, units: int, outputs: int) -> AbstractLiquidLayer:
    """Return one liquid layer in one direction.

    Raises:
        ConfigError: No wiring of these sizes exists, or a backbone is described where there is none.
    """
    if isinstance(spec, CfCHead) and spec.wiring == "none":
        if spec.backbone_dropout and spec.backbone_layers == 1:
            raise ConfigError(
                f"got head.backbone_dropout={spec.backbone_dropout:g} with head.backbone_layers=1; the dropout stands "
                "after every layer of the backbone but the first. Set head.backbone_layers=2 or leave the dropout out."
            )
        return DenseCfCLayer(
            features,
            units,
            mode=spec.mode,
            backbone_units=spec.backbone_units,
            backbone_layers=spec.backbone_layers,
            backbone_dropout=spec.backbone_dropout,
        )
    plan = WiringPlan("full" if spec.wiring == "full" else "auto", units, outputs, spec.sparsity, spec.wiring_seed)
    if isinstance(spec, LTCHead):
        return LTCLayer(features, plan, unfolds=spec.ode_unfolds)
    for name in ("backbone_units", "backbone_layers", "backbone_dropout"):
        if getattr(spec, name) != type(spec).model_fields[name].default:
            raise ConfigError(
                f"got head.{name}={getattr(spec, name)} with head.wiring={spec.wiring!r}; only head.wiring='none' has "
                f"a backbone. Leave head.{name} out."
            )
    return CfCLayer(features, plan, mode=spec.mode)


def _every_unit_is_an_output(spec: CfCHead | LTCHead) -> bool:
    """Whether the layers return all units: ncps's CfC does so wherever the wiring is not an NCP."""
    return isinstance(spec, CfCHead) and spec.wiring != "auto"
