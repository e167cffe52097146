"""What each calibration and each layer costs on the validation split, and the files that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from edgelnn.choice import CalibrationTrial, LayerTrial
from edgelnn.errors import ExportError
from edgelnn_export.quantization.ranges import CALIBRATIONS, Calibration
from edgelnn_export.quantization.scope import REST, Plan, Scheme

__all__ = ["LAYER_AUC_DROP", "LAYER_ERROR", "Loss", "choose_calibration", "choose_plan"]

LAYER_AUC_DROP: Final = 0.005  # of validation AUC that one layer alone may cost
LAYER_ERROR: Final = 0.02  # mean difference of probabilities that it may make
_MOST_GROUPS: Final = 12
# What a layer falls back to that does not bear a scheme; from weight_only to float32, which is to stand in no plan.
_MORE_CAREFUL: Final[Mapping[Scheme, Scheme]] = {"static": "weight_only", "dynamic": "weight_only"}


@dataclass(frozen=True)
class Loss:
    """What a file loses against the PyTorch model on the validation split.

    Attributes:
        error: Mean difference of its probabilities.
        auc_drop: AUC that it loses.
    """

    error: float
    auc_drop: float

    @property
    def is_borne(self) -> bool:
        """Whether one layer may cost that much."""
        return self.error <= LAYER_ERROR and self.auc_drop <= LAYER_AUC_DROP


def choose_calibration(
    name: str, make: Callable[[Calibration], bytes], judge: Callable[[bytes], Loss]
) -> tuple[Calibration, tuple[CalibrationTrial, ...]]:
    """Return the rule of calibration whose file is nearest to the PyTorch model, and what was found of each.

    Args:
        name: Of the candidate.
        make: Makes its file by a rule.
        judge: Says what a file loses.
    """
    losses = {calibration: judge(make(calibration)) for calibration in CALIBRATIONS}
    best = min(losses, key=lambda each: losses[each].error)  # of equals the first
    return best, tuple(
        CalibrationTrial(name, calibration, loss.error, loss.auc_drop, calibration == best)
        for calibration, loss in losses.items()
    )


def choose_plan(
    name: str, whole: Plan, make: Callable[[Plan], bytes], judge: Callable[[bytes], Loss]
) -> tuple[Plan, tuple[LayerTrial, ...]]:
    """Return a plan in which no layer costs more than it may, and what each layer costs alone.

    Networks of many layers are judged in a dozen groups of neighbours.

    Args:
        name: Of the candidate.
        whole: The plan where every layer bears its scheme.
        make: Makes a file by a plan.
        judge: Says what a file loses.

    Raises:
        ExportError: No layer bears anything but float32.
    """
    plan: dict[str, Scheme] = {}
    trials: list[LayerTrial] = []
    for group in _groups(whole):
        title = group[0] if len(group) == 1 else f"{group[0]} … {group[-1]}"
        tried: list[tuple[Scheme, Loss]] = []
        schemes = {layer: whole[layer] for layer in group}
        chosen: str = "float32"
        while True:
            scheme = schemes[group[0]]
            try:
                loss = judge(make(schemes))
            except ExportError:
                break  # nothing in it is worth quantizing so: it is float32 whatever the plan says
            tried.append((scheme, loss))
            if loss.is_borne:
                plan.update(schemes)
                chosen = scheme
                break
            if scheme not in _MORE_CAREFUL:
                break
            schemes = {layer: _MORE_CAREFUL.get(each, each) for layer, each in schemes.items()}
        trials += [LayerTrial(name, title, scheme, loss.error, loss.auc_drop, chosen) for scheme, loss in tried]
    if not plan:
        raise ExportError("no layer bears being quantized: each alone costs more than it may on the validation split")
    return plan, tuple(trials)


def _groups(whole: Plan) -> list[list[str]]:
    """Return the layers of a plan, neighbours of one scheme together where there are too many to try each alone."""
    layers = [layer for layer in whole if layer != REST]
    size = -(-len(layers) // (_MOST_GROUPS - 1)) if layers else 1
    groups: list[list[str]] = []
    for layer in layers:
        if groups and len(groups[-1]) < size and whole[groups[-1][0]] == whole[layer]:
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return [*groups, *([[REST]] if REST in whole else [])]
