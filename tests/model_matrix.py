"""Small models that together hold every kind of stem, scan and head in every company: what the parity matrix goes over.

The kinds are read off the specification. A kind that has no example here fails the test of the matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from edgelnn.data.dataset import Task
from edgelnn.models import Classifier, ModelSpec, build_classifier
from edgelnn.models.backbone_facts import BACKBONES
from edgelnn.models.specification import CfCHead, HeadSpec, ScanSpec, StemSpec
from edgelnn.preprocessing import InputType, Preprocessing
from tests.pairwise import Case, pairwise_cases

SIDE, DEPTH = 32, 3
_CONV: Final = {"channels": 4, "kernel": 3, "padding": 1, "pool": 2}
STEMS: Final[Mapping[str, Sequence[dict[str, Any]]]] = {
    "identity": [{"resize": {"height": 8, "width": 6}}, {"resize": {"channels": 2, "height": 6, "width": 4}}],
    "conv": [
        {"layers": [{**_CONV, "batch_norm": True}, {**_CONV, "pool": 4, "channels": 3}]},
        {"layers": [{**_CONV, "stride": 2, "bias": False, "activation": "none", "pool_kind": "average"}]},
    ],
    "crnet": [{"resize": {"channels": 4, "height": 6, "width": 6}}],
    "mobilenet_v3_small": [{"resize": {"channels": 4, "height": 4, "width": 4}}],
}
"""By kind; torchvision's other backbones, which take long, have tests of their own."""

SCANS: Final[Mapping[str, Sequence[dict[str, Any]]]] = {
    "flatten": [{}],
    "rows": [{"reduce_to": 5}],
    "columns": [{}],
    "channels": [{"reduce_to": 7, "reduce_dropout": 0.3}],
    "chunks": [{"steps": 2}],
    "slices": [{"axis": 0}, {"axis": 1, "reduce_to": 9}, {"axis": 2}],
    "patches": [{"size": 2}, {"size": 2, "order": "zigzag"}, {"size": 2, "stride": 1, "reduce_to": 6}],
    "parallel": [
        {"scans": [{"kind": "rows"}, {"kind": "columns", "reduce_to": 6}], "outputs": 4},
        {"scans": [{"kind": "slices"}, {"kind": "chunks", "steps": 2}]},
    ],
}
_NCP: Final = {
    "inter": 7,
    "command": 4,
    "motor": 3,
    "sensory_fanout": 3,
    "inter_fanout": 2,
    "recurrent_command_synapses": 5,
    "motor_fanin": 2,
}
WIRINGS: Final[Mapping[str, dict[str, Any]]] = {"ncp": {"ncp": _NCP}, "random": {"sparsity": 0.4}}
HEADS: Final[Mapping[str, Sequence[dict[str, Any]]]] = {
    "dense": [{"widths": []}, {"widths": [9, 7], "dropout": 0.2, "batch_norm": True, "mean_of": "hidden"}],
    "cfc": [{"units": 12}, {"units": [12, 9], "activation": "relu", "batch_norm": True}],
    "ltc": [{"units": 10, "ode_unfolds": 3}, {"units": [9, 9], "activation": "tanh", "ode_unfolds": 2}],
    "lstm": [{"units": 6}, {"units": [7, 5], "readout_activation": "relu", "batch_norm": True}],
    "gru": [{"units": 6}, {"units": 5, "layers": 2, "readout_activation": "tanh"}],
    "rnn": [{"units": 6}, {"units": 5, "layers": 2}],
    "reservoir": [{"units": 30}, {"units": 20, "sparsity": 0.6, "leak": 1.0}],
}
"""Two forms of each kind; a wiring may need fields of its own, and leaves out those that it sets."""

PIXELS: Final[Sequence[tuple[InputType, str]]] = (
    ("float32", "one number"),
    ("uint8", "one number"),
    ("uint8", "by channel"),
    ("uint8", "by channel, all alike"),
)
TASKS: Final[Sequence[tuple[Task, int]]] = (("binary-class", 2), ("multi-class", 5), ("multi-label", 3))
IMAGES: Final = ("grey", "rgb", "volume")


def kinds_of(union: Any) -> dict[str, type[BaseModel]]:
    """Return the kinds that a part of the specification knows, each with its class."""
    classes = get_args(get_args(union)[0])
    return {kind: each for each in classes for kind in get_args(each.model_fields["kind"].annotation)}


def missing_kinds() -> set[str]:
    """Return the kinds that no example stands for, and the examples that stand for no kind."""
    known = {"stem": set(STEMS) | set(BACKBONES), "scan": set(SCANS), "head": set(HEADS)}
    found = {"stem": kinds_of(StemSpec), "scan": kinds_of(ScanSpec), "head": kinds_of(HeadSpec)}
    return {f"{part}.kind={kind!r}" for part, kinds in found.items() for kind in known[part] ^ set(kinds)}


@cache
def matrix() -> list[Case]:
    """Return the cases of the matrix."""
    heads = []
    for kind, each in kinds_of(HeadSpec).items():
        wirings = get_args(each.model_fields["wiring"].annotation) if "wiring" in each.model_fields else (None,)
        heads += [{"kind": kind} if wiring is None else {"kind": kind, "wiring": wiring} for wiring in wirings]
    factors = {
        "stem": [{"kind": kind, **example} for kind in STEMS for example in STEMS[kind]],
        "image": IMAGES,
        "scan": [{"kind": kind, **example} for kind in SCANS for example in SCANS[kind]],
        "head": heads,
        "form": range(max(map(len, HEADS.values()))),
        "directions": (1, 2),
        "pixels": PIXELS,
        "mode": get_args(CfCHead.model_fields["mode"].annotation),
        "readout": ("last", "mean", "joined"),
        "task": TASKS,
        "optimize": ("latency", "size"),
    }
    return pairwise_cases(factors, _fit)


def head_of(case: Case) -> dict[str, Any]:
    """Return the fields of a case's head; what its kind does not have is left out."""
    kind, form = case["head"]["kind"], case["form"]
    known = kinds_of(HeadSpec)[kind].model_fields
    fields = dict(HEADS[kind][form]) if kind in HEADS else {}
    own = WIRINGS.get(case["head"].get("wiring", ""), {})
    if "ncp" in own:
        del fields["units"]
    wanted = {"bidirectional": case["directions"] == 2, "mode": case["mode"], "readout": case["readout"]}
    if case["readout"] != "mean":
        fields.pop("mean_of", None)
    return {**case["head"], **fields, **own, **{k: v for k, v in wanted.items() if k in known}}


def _fit(case: Case) -> bool:
    """Return whether the parts of a case that are there go together, and its head has every field that is set."""
    if "image" in case and "scan" in case:
        kinds = {one["kind"] for one in case["scan"].get("scans", [case["scan"]])}
        if case["image"] == "volume" and not kinds <= {"slices", "chunks", "flatten"}:
            return False
        if case["image"] != "volume" and "slices" in kinds:
            return False
    if "head" in case:
        scan = case.get("scan", {})
        if case["head"]["kind"] == "reservoir" and (scan.get("kind") == "parallel" or "reduce_to" in scan):
            return False  # its read-out alone is fitted, in closed form
        known = kinds_of(HeadSpec)[case["head"]["kind"]].model_fields
        if case.get("directions") == 2 and "bidirectional" not in known:
            return False
        return case.get("mode", "default") == "default" or "mode" in known
    return True


def name_of(case: Case) -> str:
    """Return a case in a few words."""

    def words(part: Mapping[str, Any]) -> str:
        return " ".join(str(value) for name, value in part.items() if name in ("kind", "wiring", "mode", "order"))

    both = ["both ways"] * (case["directions"] - 1)
    parts = [words(case["stem"]), case["image"], words(case["scan"]), words(head_of(case)), f"form {case['form']}"]
    return ", ".join([*parts, *both, case["readout"], case["task"][0], case["optimize"], case["pixels"][0]])


def build(case: Case, seed: int = 3) -> Classifier:
    """Return the classifier of a case, its batch norms having seen images, and its other numbers being no defaults."""
    spec = ModelSpec.model_validate({"stem": case["stem"], "scan": case["scan"], "head": head_of(case)})
    task, classes = case["task"]
    model = build_classifier(spec, image_shape=image_shape(case), task=task, classes=classes, seed=seed)
    x = torch.from_numpy(preprocessing(case)(pictures(image_shape(case), 64, seed), "channels_first"))
    settle(model, x, seed)
    return model.eval()


def preprocessing(case: Case, *, of_file: bool = False) -> Preprocessing:
    """Return from pixels to what the model takes, or its file, which may take pixels as they are."""
    shape, (input_type, numbers) = image_shape(case), case["pixels"]
    mean: tuple[float, ...] | float = 0.5
    std: tuple[float, ...] | float = 0.4
    if numbers != "one number":
        apart = 0.0 if "alike" in numbers else 0.1
        mean, std = (tuple(value + apart * channel for channel in range(shape[-1])) for value in (mean, std))
    return Preprocessing(shape, mean, std, input_type=input_type if of_file else "float32")


def pictures(shape: tuple[int, ...], count: int, seed: int) -> NDArray[np.uint8]:
    """Return images that differ as a whole: each has a brightness and a slope of its own, and noise over both."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 12, (count, *shape)) + rng.uniform(40, 215, (count, *[1] * len(shape)))
    for axis, side in enumerate(shape[:-1], start=1):
        slopes = rng.uniform(-100, 100, (count, *[1] * len(shape)))
        along = np.linspace(-1, 1, side).reshape([side if place == axis else 1 for place in range(len(shape) + 1)])
        images = images + slopes * along
    return np.clip(images, 0, 255).astype(np.uint8)


def image_shape(case: Case) -> tuple[int, ...]:
    """Return (h, w, c) or (d, h, w, c); a volume is shallow along the axis of its slices."""
    if case["image"] != "volume":
        return SIDE, SIDE, 3 if case["image"] == "rgb" else 1
    sides = [SIDE] * 3
    sides[case["scan"].get("axis", 0)] = DEPTH
    return (*sides, 1)


def settle(model: torch.nn.Module, x: torch.Tensor, seed: int) -> None:
    """Give every batch norm the statistics of some images, and every parameter a nudge from where it began."""
    generator = torch.Generator().manual_seed(seed)
    norms = [each for each in model.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * parameter.abs() * torch.randn(parameter.shape, generator=generator))
        for name, parameter in model.named_parameters():  # fresh heads hardly tell images apart
            if name.endswith(("output_w", ".linear.weight")):
                parameter.mul_(3)
        for norm in norms:
            norm.momentum = 1.0
        if norms:
            model.train()(x)
