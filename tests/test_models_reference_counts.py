"""The published parameter counts of the reference systems, by building their models."""

from __future__ import annotations

from typing import Any, Final

import pytest

from edgelnn.models import ModelSpec, build_classifier, count_parameters
from edgelnn.models.heads import build_head

A: Final = [{"channels": 6, "kernel": 5, "pool": 2}, {"channels": 16, "kernel": 3, "pool": 2}]
B_PRIME: Final = [
    {"channels": 6, "kernel": 5},
    {"channels": 6, "kernel": 5, "pool": 2},
    {"channels": 16, "kernel": 3},
    {"channels": 16, "kernel": 3},
]
B: Final = [*B_PRIME[:3], {"channels": 16, "kernel": 3, "pool": 2}]


def dense(*widths: int, **more: Any) -> dict[str, Any]:
    return {"kind": "dense", "widths": list(widths), **more}


def ltc(units: Any, outputs: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "ltc", "units": units, "outputs": outputs, **more}


def recurrent(kind: str, units: Any, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "units": units, **more}


# A. Seliverstov's 28-slice models: stem, head, trainable parameters.
VOLUMES: Final[dict[str, tuple[list[Any], dict[str, Any], int]]] = {
    "CNNExp1N1": (A, dense(120, 84), 59_405),
    "LiqExp1N2": (A, ltc(21, 1), 37_265),
    "CNNExp1N4": (A, dense(60, 42), 27_701),
    "LiqExp1N5": (A, ltc([21, 7], [14, 1], activation="relu"), 37_930),
    "LiqExp1N6": (A, ltc(30, 1), 53_528),
    "CNNExp2N1": (A, dense(128, 128, 64, 32), 79_245),
    "LiqExp2N2": (A, ltc(21, 1, wiring="full"), 37_265),
    "CNNExp2N3": (A, dense(256, 64), 120_205),
    "CNNExp2N4": (A, dense(30, 21), 13_739),
    "LiqExp2N5": (A, ltc([21, 7], [14, 1], activation="relu", wiring="full"), 37_930),
    "LiqExp2N6": (A, ltc(30, 1, wiring="full"), 53_528),
    "CNNExp3N1": (A, dense(120, 84, dropout=0.2), 59_405),
    "LiqExp3N2": (A, ltc(21, 1, reduce_to=256), 127_537),
    "LiqExp3N3": (A, ltc(21, 1, batch_norm=True, dropout=0.2), 38_065),
    "LiqExp3N4": (A, ltc(21, 1, dropout=0.2), 37_265),
    "LiqExp3N5": (A, ltc(21, 14), 37_306),
    "CNNExp3N6": (A, dense(120, 84, dropout=0.2, mean_of="hidden"), 59_405),
    "CNNExp4N1": (B, dense(64, 32), 15_655),
    "LiqExp4N2": (B, ltc(21, 1), 18_475),
    "CNNExp4N3": (B_PRIME, dense(120, 84), 83_751),
    "CNNExp4N4": (B_PRIME, dense(60, 42), 41_487),
    "LiqExp4N5": (B, ltc([21, 7], [14, 1], activation="relu"), 19_140),
    "LiqExp4N6": (B_PRIME, ltc(21, 1), 55_627),
    "LiqExp5N1": (A, ltc(5, 1), 9_953),
    "LSTMExp5N2": (A, recurrent("lstm", 40, readout_activation="relu"), 71_797),
    "LSTMExp5N3": (A, recurrent("lstm", [40, 1], linear=False), 71_928),
    "LSTMExp5N4": (A, recurrent("lstm", 40, layers=2, readout_activation="relu"), 84_917),
    "RNNExp5N5": (A, recurrent("rnn", 40, readout_activation="relu"), 18_757),
    "RNNExp5N6": (A, recurrent("rnn", 40, layers=2, readout_activation="relu"), 22_037),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_models_that_read_volumes_slice_by_slice(name: str) -> None:
    layers, head, published = VOLUMES[name]
    reduced = {"reduce_to": head["reduce_to"], "reduce_dropout": 0.2} if "reduce_to" in head else {}
    values = {
        "stem": {"kind": "conv", "layers": layers},
        "scan": {"kind": "slices", **reduced},
        "head": {
            **{field: value for field, value in head.items() if field not in reduced},
            "readout": "mean",
            "output": "sigmoid",
        },
    }
    classifier = build_classifier(
        ModelSpec.model_validate(values), image_shape=(28, 28, 28, 1), task="binary-class", classes=2
    )
    assert count_parameters(classifier).trainable == published


NCP: Final = {
    "inter": 12,
    "command": 6,
    "motor": 1,
    "sensory_fanout": 6,
    "inter_fanout": 4,
    "recurrent_command_synapses": 6,
    "motor_fanin": 6,
}
DOUBLED: Final = {name: number * (1 if name == "motor" else 2) for name, number in NCP.items()}
CUSTOM: Final = {
    "inter": 48,
    "command": 24,
    "motor": 4,
    "sensory_fanout": 24,
    "inter_fanout": 16,
    "recurrent_command_synapses": 24,
    "motor_fanin": 24,
}


def ltc_count(sensory: int, units: int, motor: int) -> int:
    """w, mu, sigma and erev of every pair; gleak, vleak and cm; the affine maps of inputs and outputs."""
    return 4 * (units**2 + sensory * units) + 3 * units + 2 * (sensory + motor)


# H. Truong Minh's heads: steps, features, NCP, inputs of the linear layer.
HEADS: Final = {
    "y": (8, 32, NCP, False, 8),
    "z": (16, 32, NCP, False, 16),
    "patches sliding": (36, 32, NCP, False, 36),
    "y doubled": (16, 128, DOUBLED, False, 16),
    "y custom": (16, 512, CUSTOM, False, 64),
    "y both ways": (8, 32, NCP, True, 16),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_with_explicit_policies(name: str) -> None:
    steps, features, ncp, both, joined = HEADS[name]
    values = {
        "kind": "ltc",
        "wiring": "ncp",
        "ncp": ncp,
        "readout": "joined",
        "readout_dropout": 0.3,
        "bidirectional": both,
    }
    head = build_head(ModelSpec.model_validate({"head": values}).head, steps=steps, features=features, scores=2)
    units = ncp["inter"] + ncp["command"] + ncp["motor"]
    cells = (1 + both) * ltc_count(features, units, ncp["motor"])
    assert head.linear is not None
    assert head.linear.in_features == joined
    assert count_parameters(head).trainable == cells + 2 * joined + 2


CRNET: Final = {
    "one layer": ({}, {"kind": "flatten"}, {"kind": "dense"}, 549_986),
    "y": (
        {"resize": {"channels": 4, "height": 8, "width": 8}},
        {"kind": "rows"},
        {"kind": "ltc", "wiring": "ncp", "ncp": NCP, "readout": "joined", "readout_dropout": 0.3},
        515_349,
    ),
}


@pytest.mark.parametrize("name", CRNET)
def test_models_behind_crnet(name: str) -> None:
    resized, scan, head, published = CRNET[name]
    values = {"stem": {"kind": "crnet", **resized}, "scan": scan, "head": head}
    classifier = build_classifier(
        ModelSpec.model_validate(values), image_shape=(224, 224, 3), task="binary-class", classes=2
    )
    assert count_parameters(classifier).trainable == published


def test_the_published_size_of_the_policy() -> None:
    assert ltc_count(32, 19, 1) == 3_999
