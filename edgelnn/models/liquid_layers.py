"""From a liquid head's specification to its stacked layers: sizes filled in and checked, wirings fresh."""

from __future__ import annotations

from edgelnn.errors import ConfigError
from edgelnn.models.cfc import CfCLayer
from edgelnn.models.dense_cfc import DenseCfCLayer
from edgelnn.models.head_specification import CfCHead, LTCHead, NCPShape
from edgelnn.models.liquid import AbstractLiquidLayer
from edgelnn.models.ltc import LTCLayer
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
    if (spec.wiring == "ncp") != (spec.ncp is not None):
        raise ConfigError(
            f"got head.wiring={spec.wiring!r} {'without' if spec.ncp is None else 'with'} head.ncp; the numbers of "
            "head.ncp make up the wiring 'ncp', and no other. Set both or neither."
        )
    if len(_ncp_shapes(spec)) not in (0, len(units)):
        raise ConfigError(
            f"got {len(_ncp_shapes(spec))} tables in head.ncp for {len(units)} stacked layers; leave head.units out."
        )
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


def build_layer(spec: CfCHead | LTCHead, *, index: int, features: int, units: int, outputs: int) -> AbstractLiquidLayer:
    """Return one liquid layer in one direction.

    Args:
        spec: The head.
        index: Which of its stacked layers.
        features: Length of one step of what the layer reads.
        units: Neurons, of `layer_sizes`.
        outputs: Output neurons, likewise.

    Raises:
        ConfigError: No wiring of these sizes exists, or a backbone is described where there is none.
    """
    if spec.wiring == "none":
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
    shapes = _ncp_shapes(spec)
    plan = WiringPlan(spec.wiring, units, outputs, spec.sparsity, spec.wiring_seed, shapes[index] if shapes else None)
    _check_synapses(plan, features)
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
    return isinstance(spec, CfCHead) and spec.wiring not in ("auto", "ncp")


def _ncp_shapes(spec: CfCHead | LTCHead) -> list[NCPShape]:
    """Return the explicit numbers of every stacked layer, none where the wiring is another."""
    if spec.ncp is None:
        return []
    return spec.ncp if isinstance(spec.ncp, list) else [spec.ncp]


def _check_synapses(plan: WiringPlan, features: int) -> None:
    """Check that a random wiring leaves a synapse of either kind."""
    possible = min(plan.units**2, plan.units * features)
    if plan.kind == "random" and round(possible * (1 - plan.sparsity)) < 1:
        raise ConfigError(
            f"got head.sparsity={plan.sparsity:g} for {plan.units} units and {features} features: no synapse is left. "
            "Set a smaller sparsity or more units."
        )
