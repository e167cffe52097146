"""Parameter counts: exact, published, and the cheapest proof that an architecture is the same."""

from __future__ import annotations

import pytest
import torch

from edgelnn.models import CfCLayer, LTCLayer, WiringPlan, build_classifier, count_parameters
from edgelnn.models.specification import (
    CfCHead,
    ChunksScan,
    ConvLayer,
    ConvStem,
    DenseHead,
    HeadSpec,
    LTCHead,
    ModelSpec,
    PlainScan,
    RecurrentHead,
    ScanSpec,
    SlicesScan,
    StemSpec,
)

STEM_A = ConvStem(layers=[ConvLayer(channels=6, kernel=5, pool=2), ConvLayer(channels=16, kernel=3, pool=2)])
STEM_B_OPEN = [
    ConvLayer(channels=6, kernel=5),
    ConvLayer(channels=6, kernel=5, pool=2),
    ConvLayer(channels=16, kernel=3),
]
STEM_B = ConvStem(layers=[*STEM_B_OPEN, ConvLayer(channels=16, kernel=3, pool=2)])
STEM_B_PRIME = ConvStem(layers=[*STEM_B_OPEN, ConvLayer(channels=16, kernel=3)])
STEM_R1 = ConvStem(
    layers=[
        ConvLayer(channels=16, kernel=3),
        ConvLayer(channels=32, kernel=3, stride=2, padding=2, batch_norm=True),
        ConvLayer(channels=64, kernel=5, stride=2, padding=2),
        ConvLayer(channels=128, kernel=5, stride=2, padding=2, batch_norm=True, pool=2),
    ]
)


def trainable(stem: StemSpec | None, scan: ScanSpec, head: HeadSpec, *, volume: bool = True) -> int:
    shape = (28, 28, 28, 1) if volume else (28, 28, 1)
    spec = ModelSpec(scan=scan, head=head) if stem is None else ModelSpec(stem=stem, scan=scan, head=head)
    return count_parameters(build_classifier(spec, image_shape=shape, task="binary-class", classes=2)).trainable


def dense(*widths: int, dropout: float = 0.0) -> DenseHead:
    return DenseHead(kind="dense", widths=list(widths), readout="mean", output="sigmoid", dropout=dropout)


def ltc(units: int | list[int], wiring: str = "auto", outputs: int | list[int] | None = None) -> LTCHead:
    return LTCHead(
        kind="ltc", units=units, outputs=outputs, wiring=wiring, activation="relu", readout="mean", output="sigmoid"
    )


def lstm(layers: int = 1) -> RecurrentHead:
    return RecurrentHead(kind="lstm", units=40, layers=layers, readout="mean", output="sigmoid")


@pytest.mark.parametrize(
    ("name", "stem", "head", "count"),
    [
        ("CNNExp1N1", STEM_A, dense(120, 84), 59_405),
        ("LiqExp1N2", STEM_A, ltc(21), 37_265),
        ("CNNExp1N4", STEM_A, dense(60, 42), 27_701),
        ("LiqExp1N5", STEM_A, ltc([21, 7], outputs=[14, 1]), 37_930),
        ("LiqExp1N6", STEM_A, ltc(30), 53_528),
        ("CNNExp2N1", STEM_A, dense(128, 128, 64, 32), 79_245),
        ("LiqExp2N2", STEM_A, ltc(21, "full"), 37_265),
        ("CNNExp2N3", STEM_A, dense(256, 64), 120_205),
        ("CNNExp2N4", STEM_A, dense(30, 21), 13_739),
        ("LiqExp2N5", STEM_A, ltc([21, 7], "full", outputs=[14, 1]), 37_930),
        ("LiqExp2N6", STEM_A, ltc(30, "full"), 53_528),
        ("CNNExp3N1", STEM_A, dense(120, 84, dropout=0.2), 59_405),
        ("LiqExp3N4", STEM_A, ltc(21).model_copy(update={"dropout": 0.2}), 37_265),
        ("LiqExp3N5", STEM_A, ltc(21, outputs=14), 37_306),
        ("CNNExp4N1", STEM_B, dense(64, 32), 15_655),
        ("LiqExp4N2", STEM_B, ltc(21), 18_475),
        ("CNNExp4N3", STEM_B_PRIME, dense(120, 84), 83_751),
        ("CNNExp4N4", STEM_B_PRIME, dense(60, 42), 41_487),
        ("LiqExp4N5", STEM_B, ltc([21, 7], outputs=[14, 1]), 19_140),
        ("LiqExp4N6", STEM_B_PRIME, ltc(21), 55_627),
        ("LiqExp5N1", STEM_A, ltc(5), 9_953),
        ("LSTMExp5N2", STEM_A, lstm(), 71_797),
        ("LSTMExp5N4", STEM_A, lstm(2), 84_917),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_published_classifier_of_volumes_has_its_published_count(
    name: str, stem: ConvStem, head: HeadSpec, count: int
) -> None:
    assert trainable(stem, SlicesScan(kind="slices"), head) == count, name


def test_the_published_classifier_of_ultrasound_images_has_its_published_count() -> None:
    scan, head = ChunksScan(kind="chunks", steps=32), CfCHead(units=19)
    assert trainable(STEM_R1, scan, head, volume=False) == 263_048
    assert count_parameters(CfCLayer(16, WiringPlan("auto", 19, 2))).trainable == 1_736
    baseline = DenseHead(kind="dense", widths=[1024, 128])
    assert trainable(None, PlainScan(kind="flatten"), baseline, volume=False) == 935_298


def test_the_published_wiring_has_its_published_synapses() -> None:
    wiring = WiringPlan("auto", 19, 2).build(16)
    assert [len(wiring.get_neurons_of_layer(layer)) for layer in range(3)] == [11, 6, 2]
    assert (wiring.sensory_synapse_count, wiring.synapse_count) == (80, 46)


def test_ltc_counts_tell_the_three_kinds_apart() -> None:
    layer = LTCLayer(400, WiringPlan("auto", 21, 1))
    assert (len(layer.source), len(layer.sensory_source)) == (63, 2400)
    counts = count_parameters(layer)
    assert counts.trainable == 36_229
    assert counts.stored == 36_229 + 21 * 21 + 400 * 21
    assert counts.active == 36_229 - 4 * (441 - 63 + 8400 - 2400)


@pytest.mark.parametrize("mode", ["default", "pure", "no_gate"])
def test_active_parameters_are_those_with_a_gradient(mode: str) -> None:
    torch.manual_seed(0)
    layer = CfCLayer(7, WiringPlan("auto", 12, 3), mode=mode)
    layer(torch.randn(4, 6, 7))[0].pow(2).sum().backward()
    moved = sum(int((p.grad != 0).sum()) for p in layer.parameters() if p.grad is not None)
    assert count_parameters(layer).active == moved


def test_active_parameters_of_ltc_are_those_with_a_gradient() -> None:
    torch.manual_seed(0)
    layer = LTCLayer(7, WiringPlan("auto", 12, 3)).double()
    layer(torch.randn(4, 6, 7, dtype=torch.float64))[0].pow(2).sum().backward()
    moved = sum(int((p.grad != 0).sum()) for p in layer.parameters() if p.grad is not None)
    assert count_parameters(layer).active == moved
