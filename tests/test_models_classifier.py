"""Classifiers as a whole: every stem, scan and head joined, and each refusal in one line."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from edgelnn.data.dataset import Task
from edgelnn.errors import ConfigError, DataError
from edgelnn.models import Classifier, build_classifier, describe
from edgelnn.models.heads import Bidirectional, Dense, Liquid, Recurrent
from edgelnn.models.parallel import Parallel
from edgelnn.models.specification import ModelSpec

IMAGE, VOLUME = (12, 10, 3), (9, 12, 10, 1)
STEMS: dict[str, dict[str, Any]] = {
    "identity": {"kind": "identity"},
    "conv": {
        "kind": "conv",
        "layers": [
            {"channels": 4, "kernel": 3, "padding": 1, "batch_norm": True, "pool": 2},
            {"channels": 6, "kernel": 2, "stride": 2, "bias": False, "activation": "none", "pool": 2, "pool_stride": 1},
        ],
    },
}
SCANS = {
    IMAGE: [
        {"kind": "flatten"},
        {"kind": "rows"},
        {"kind": "columns"},
        {"kind": "channels"},
        {"kind": "chunks", "steps": 2},
    ],
    VOLUME: [
        {"kind": "flatten"},
        {"kind": "chunks", "steps": 3},
        *({"kind": "slices", "axis": axis} for axis in range(3)),
    ],
}
HEADS: dict[str, dict[str, Any]] = {
    "linear": {"kind": "dense"},
    "dense": {"kind": "dense", "widths": [7, 5], "dropout": 0.3},
    "cfc": {"kind": "cfc", "units": 12},
    "cfc-full": {"kind": "cfc", "units": 6, "wiring": "full", "mode": "no_gate"},
    "cfc-none": {"kind": "cfc", "units": 6, "wiring": "none", "backbone_units": 8, "backbone_layers": 2},
    "cfc-both": {"kind": "cfc", "units": [12, 8], "activation": "tanh", "bidirectional": True, "dropout": 0.2},
    "ltc": {"kind": "ltc", "units": 9, "ode_unfolds": 2},
    "ltc-full": {"kind": "ltc", "units": [6, 5], "wiring": "full", "activation": "relu", "ode_unfolds": 2},
    "lstm": {"kind": "lstm", "units": 5, "layers": 2, "dropout": 0.2},
    "gru-both": {"kind": "gru", "units": 5, "bidirectional": True},
}
TASKS: list[tuple[Task, int, str, str, int]] = [
    ("binary-class", 2, "auto", "softmax", 2),
    ("binary-class", 2, "sigmoid", "sigmoid", 1),
    ("multi-class", 4, "auto", "softmax", 4),
    ("ordinal-regression", 5, "softmax", "softmax", 5),
    ("multi-label", 3, "auto", "sigmoid", 3),
]


def build(
    head: dict[str, Any],
    *,
    stem: dict[str, Any] | None = None,
    scan: dict[str, Any] | None = None,
    shape: tuple[int, ...] = IMAGE,
    task: Task = "binary-class",
    classes: int = 2,
    seed: int = 0,
) -> Classifier:
    spec = {"head": head, "stem": stem or STEMS["identity"], "scan": scan or {"kind": "rows"}}
    return build_classifier(ModelSpec.model_validate(spec), image_shape=shape, task=task, classes=classes, seed=seed)


def images(shape: tuple[int, ...], count: int = 3) -> torch.Tensor:
    *space, channels = shape
    return torch.randn(count, channels, *space, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("head", HEADS)
def test_every_head_reads_every_scan_of_every_stem(head: str) -> None:
    readouts = itertools.cycle(["last", "mean", "joined"])
    for shape, stem in itertools.product((IMAGE, VOLUME), STEMS):
        for scan, readout in zip(SCANS[shape], readouts, strict=False):
            classifier = build({**HEADS[head], "readout": readout}, stem=STEMS[stem], scan=scan, shape=shape)
            scores = classifier(images(shape))
            assert scores.shape == (3, 2)
            scores.square().sum().backward()
            for name, parameter in classifier.named_parameters():
                assert (parameter.grad is not None) == parameter.requires_grad, name
            classifier.eval()
            probabilities = classifier.probabilities(images(shape))
            assert torch.allclose(probabilities.sum(1), torch.ones(3))
            one = classifier.probabilities(images(shape)[:1])
            assert torch.allclose(one, probabilities[:1], atol=1e-6)


@pytest.mark.parametrize(("task", "classes", "wanted", "kind", "outputs"), TASKS)
@pytest.mark.parametrize("head", HEADS)
def test_outputs_follow_the_task(head: str, task: Task, classes: int, wanted: str, kind: str, outputs: int) -> None:
    classifier = build({**HEADS[head], "output": wanted}, task=task, classes=classes)
    assert (classifier.output_kind, classifier.outputs) == (kind, outputs)
    probabilities = classifier.eval().probabilities(images(IMAGE))
    assert probabilities.shape == (3, outputs)
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_own_state_alone() -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    one, same, other = (build(HEADS["cfc"], stem=STEMS["conv"], seed=seed) for seed in (7, 7, 8))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("scan", "axis"),
    [
        ({"kind": "slices", "axis": 0}, 0),
        ({"kind": "slices", "axis": 1}, 1),
        ({"kind": "slices", "axis": 2}, 2),
        ({"kind": "chunks", "steps": 9}, 0),
        ({"kind": "flatten"}, 0),
    ],
)
def test_a_volume_passes_through_the_stem_slice_by_slice(scan: dict[str, Any], axis: int) -> None:
    classifier = build(HEADS["linear"], stem=STEMS["conv"], scan=scan, shape=VOLUME).eval()
    volumes = images(VOLUME)
    maps = classifier.feature_map(volumes)
    assert classifier.slice_axis == axis
    assert maps.shape[1] == VOLUME[axis]
    for index in range(VOLUME[axis]):
        torch.testing.assert_close(maps[:, index], classifier.stem(volumes.select(2 + axis, index)))


@pytest.mark.parametrize(
    ("head", "outputs", "linear"),
    [
        ({"kind": "cfc", "units": 12}, 2, False),
        ({"kind": "cfc", "units": 12, "readout": "mean"}, 2, False),
        ({"kind": "cfc", "units": 12, "readout": "joined"}, 6, True),
        ({"kind": "cfc", "units": 12, "bidirectional": True}, 12, True),
        ({"kind": "cfc", "units": 12, "outputs": 5}, 5, True),
        ({"kind": "cfc", "units": 12, "wiring": "full"}, 12, True),
        ({"kind": "cfc", "units": 2, "wiring": "full"}, 2, True),
        ({"kind": "cfc", "units": 12, "wiring": "none"}, 12, True),
        ({"kind": "ltc", "units": 12}, 2, False),
        ({"kind": "ltc", "units": 12, "wiring": "full"}, 2, False),
        ({"kind": "ltc", "units": 2, "wiring": "full"}, 2, False),
        ({"kind": "ltc", "units": [12, 9], "outputs": [4, 2]}, 2, False),
        ({"kind": "ltc", "units": [4, 9], "readout": "joined"}, 4, True),
    ],
)
def test_a_linear_layer_follows_only_where_outputs_are_not_the_scores(
    head: dict[str, Any], outputs: int, linear: bool
) -> None:
    liquid = build(head).head
    assert isinstance(liquid, Liquid)
    assert liquid.layers[-1].outputs == outputs
    assert (liquid.linear is not None) == linear


def test_readouts_are_what_their_names_say() -> None:
    torch.manual_seed(0)
    sequence = torch.randn(2, 6, 4)
    for kind, both in itertools.product(("lstm", "cfc"), (False, True)):
        for readout in ("last", "mean", "joined"):
            spec = {"kind": kind, "units": 8, "readout": readout, "bidirectional": both}
            head = build(spec, shape=(6, 4, 1)).head
            assert isinstance(head, Liquid | Recurrent)
            steps, _ = head.layers[0](sequence) if isinstance(head, Liquid) else head.rnn(sequence)
            half = steps.shape[2] // 2
            last = torch.cat([steps[:, -1, :half], steps[:, 0, half:]], 1) if both else steps[:, -1]
            read = {"last": last, "mean": steps.mean(1), "joined": steps.flatten(1)}[readout]
            torch.testing.assert_close(head(sequence), read if head.linear is None else head.linear(read))
            if both and readout == "last" and isinstance(head, Recurrent):
                _, (final, _) = head.rnn(sequence)
                torch.testing.assert_close(last, torch.cat([final[0], final[1]], 1))


def test_dense_heads_take_each_step_alone() -> None:
    torch.manual_seed(0)
    sequence = torch.randn(2, 10, 36)
    for readout in ("last", "mean"):
        head = build({**HEADS["dense"], "readout": readout}, shape=(10, 12, 3)).head.eval()
        assert isinstance(head, Dense)
        steps = [head.linear(head.hidden[1](head.hidden[0](one).relu()).relu()) for one in sequence.unbind(1)]
        expected = steps[-1] if readout == "last" else torch.stack(steps).mean(0)
        torch.testing.assert_close(head(sequence), expected)


def test_stacked_layers_have_the_activation_between_them_and_dropout_before_each() -> None:
    head = build({**HEADS["cfc-both"], "dropout": 0.0}).head
    assert isinstance(head, Liquid)
    assert all(isinstance(layer, Bidirectional) for layer in head.layers)
    sequence = torch.randn(2, 12, 30)
    first, second = head.layers
    between = first(sequence)[0]
    steps = second(between.tanh())[0]
    half = steps.shape[2] // 2
    assert head.linear is not None
    torch.testing.assert_close(head(sequence), head.linear(torch.cat([steps[:, -1, :half], steps[:, 0, half:]], 1)))
    dropped = build(HEADS["cfc-both"]).train()
    assert not torch.equal(dropped(images(IMAGE)), dropped(images(IMAGE)))
    assert torch.equal(dropped.eval()(images(IMAGE)), dropped(images(IMAGE)))


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"kind": "cfc", "units": 12}, {"task": "multi-class", "classes": 10}, r"10 outputs of 12 units .* at least 13"),
    ({"kind": "cfc", "units": 13}, {"task": "multi-class", "classes": 11}, r"11 outputs of 13 units .* at least 14"),
    ({"kind": "ltc", "units": 3}, {}, r"2 outputs of 3 units for head\.wiring='auto'"),
    ({"kind": "ltc", "units": 3, "outputs": 4, "wiring": "full"}, {}, r"4 outputs of 3 units; at most every unit"),
    ({"kind": "ltc", "units": [9, 9], "outputs": 4}, {}, r"head\.outputs=4 for head\.units=\[9, 9\]; .* 2 of each"),
    ({"kind": "ltc", "units": 9, "outputs": [4, 2]}, {}, r"head\.outputs=\[4, 2\] for head\.units=9; .* 1 of each"),
    ({"kind": "ltc", "units": []}, {}, r"head\.units=\[\]; it needs one number per stacked layer"),
    ({"kind": "cfc", "wiring": "full", "outputs": 2}, {}, r"head\.outputs=2 with head\.wiring='full': .* Leave"),
    ({"kind": "cfc", "wiring": "none", "outputs": 2}, {}, r"head\.outputs=2 with head\.wiring='none'"),
    (
        {"kind": "cfc", "backbone_units": 64},
        {},
        r"head\.backbone_units=64 with head\.wiring='auto'; only .* 'none'|only",
    ),
    ({"kind": "cfc", "wiring": "full", "backbone_layers": 2}, {}, r"head\.backbone_layers=2 with head\.wiring='full'"),
    ({"kind": "cfc", "wiring": "none", "backbone_dropout": 0.1}, {}, r"backbone_dropout=0\.1 with .*backbone_layers=1"),
    (
        {"kind": "dense", "output": "softmax"},
        {"task": "multi-label"},
        r"output='softmax' for a multi-label task; .* 'sig",
    ),
    (
        {"kind": "dense", "output": "sigmoid"},
        {"task": "multi-class", "classes": 4},
        r"output='sigmoid' for a multi-class",
    ),
    ({"kind": "dense"}, {"classes": 3}, "got 3 classes for a binary-class task; expected exactly 2"),
    (
        {"kind": "dense"},
        {"task": "multi-class", "classes": 1},
        "got 1 classes for a multi-class task; expected 2 or more",
    ),
    ({"kind": "dense"}, {"shape": (28, 28)}, r"image_shape=\(28, 28\); expected \(height, width, channels\)"),
    ({"kind": "dense"}, {"shape": (0, 28, 1)}, r"image_shape=\(0, 28, 1\)"),
    ({"kind": "dense"}, {"scan": {"kind": "slices"}}, r"scan\.kind='slices' for an image of two dimensions"),
    ({"kind": "dense"}, {"shape": VOLUME}, r"scan\.kind='rows' for a volume"),
    (
        {"kind": "dense"},
        {"stem": {"kind": "conv", "layers": [{"channels": 2, "kernel": 7}, {"channels": 2, "kernel": 5}]}},
        r"stem\.layers\[1\]\.kernel=5; a side of the map is only 4",
    ),
    (
        {"kind": "dense"},
        {"stem": {"kind": "conv", "layers": [{"channels": 2, "kernel": 9, "pool": 4}]}},
        r"stem\.layers\[0\]\.pool=4; a side of the map is only 2",
    ),
]


@pytest.mark.parametrize(("head", "others", "words"), REFUSED, ids=[words for *_, words in REFUSED])
def test_refuses_what_does_not_fit_in_one_line(head: dict[str, Any], others: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        build(head, **others)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("head", HEADS)
def test_no_images_have_no_scores_and_evaluation_gives_what_training_gives(head: str) -> None:
    classifier = build(HEADS[head]).eval()
    assert classifier.probabilities(images(IMAGE)[:0]).shape == (0, 2)
    trained = classifier(images(IMAGE))
    with torch.no_grad():
        assert torch.equal(classifier(images(IMAGE)), trained)
    with torch.inference_mode():
        assert torch.equal(classifier(images(IMAGE)), trained)


def test_refuses_images_of_another_shape() -> None:
    classifier = build(HEADS["cfc"])
    with pytest.raises(DataError, match=r"images of shape \(3, 1, 12, 10\); the classifier takes \(n, 3, 12, 10\)"):
        classifier(torch.zeros(3, 1, 12, 10))


@pytest.mark.parametrize("head", HEADS)
def test_a_classifier_can_be_saved_copied_and_rebuilt(head: str) -> None:
    classifier = build(HEADS[head], stem=STEMS["conv"], seed=3).eval()
    rebuilt = build(HEADS[head], stem=STEMS["conv"], seed=4).eval()
    rebuilt.load_state_dict(classifier.state_dict())
    copied = copy.deepcopy(classifier)
    for other in (rebuilt, copied):
        assert torch.equal(other(images(IMAGE)), classifier(images(IMAGE)))
    assert all(parameter.is_contiguous() for parameter in classifier.parameters())
    assert len({value.data_ptr() for value in classifier.state_dict().values()}) == len(classifier.state_dict())


def test_training_lowers_the_loss_for_every_head() -> None:
    torch.manual_seed(0)
    x, y = images(IMAGE, 16), torch.arange(16) % 2
    x[y == 1] += 1
    for head in HEADS.values():
        classifier = build({**head, "dropout": 0.0})
        optimizer = torch.optim.Adam((p for p in classifier.parameters() if p.requires_grad), lr=0.03)
        losses = []
        for _ in range(15):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(classifier(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.7 * losses[0], (head, losses[0], losses[-1])


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (HEADS["cfc"], "image 12×10×3 → rows (12 steps of 30) → CfC auto 12/2, last step → softmax of 2"),
        (HEADS["cfc-none"], "image 12×10×3 → rows (12 steps of 30) → CfC dense 6, last step → softmax of 2"),
        (HEADS["ltc-full"], "image 12×10×3 → rows (12 steps of 30) → LTC full 6/3-5/2, last step → softmax of 2"),
        (HEADS["lstm"], "image 12×10×3 → rows (12 steps of 30) → LSTM 5-5, last step → softmax of 2"),
        (HEADS["dense"], "image 12×10×3 → rows (12 steps of 30) → dense 7-5-2, last step → softmax of 2"),
    ],
)
def test_describes_a_model_in_one_line(head: dict[str, Any], words: str) -> None:
    spec = ModelSpec.model_validate({"head": head})
    assert describe(spec, image_shape=IMAGE, task="binary-class", classes=2) == words


def test_describes_a_volumes_stem_and_scan() -> None:
    spec = ModelSpec.model_validate(
        {"stem": STEMS["conv"], "scan": {"kind": "slices", "axis": 1}, "head": {**HEADS["gru-both"], "readout": "mean"}}
    )
    words = describe(spec, image_shape=VOLUME, task="multi-label", classes=3)
    assert words == (
        "image 9×12×10×1 → conv 4-6 → slices (12 steps of 6) → GRU 5, both directions, mean over steps → sigmoid of 3"
    )


XY = {"kind": "parallel", "scans": [{"kind": "rows"}, {"kind": "columns", "reduce_to": 8}], "outputs": 4}


def test_scans_side_by_side_have_heads_of_their_own_that_a_linear_layer_joins() -> None:
    classifier = build({"kind": "cfc", "units": 9}, scan=XY).eval()
    head, x = classifier.head, images(IMAGE)
    assert isinstance(head, Parallel)
    rows, columns = classifier.scan(classifier.feature_map(x))
    first, second = head.branches
    assert first.reduction is None
    assert second.reduction is not None
    reduced = second.reduction.linear(columns).relu()
    assert reduced.shape == (len(x), IMAGE[1], 8)
    said = torch.cat([first.head(rows), second.head(reduced)], 1)
    assert said.shape == (len(x), 8)
    torch.testing.assert_close(classifier(x), head.linear(said))
    words = describe(classifier.spec, image_shape=IMAGE, task="binary-class", classes=2)
    assert words == (
        "image 12×10×3 → rows (12 steps of 30) | columns (10 steps of 36, reduced to 8) → "
        "each CfC auto 9/4, last step, joined → softmax of 2"
    )


def test_steps_are_reduced_only_where_they_are_longer_than_wanted() -> None:
    for wanted, features in ((7, 7), (30, 30), (64, 30)):
        classifier = build(HEADS["gru-both"], scan={"kind": "rows", "reduce_to": wanted, "reduce_dropout": 0.5})
        assert (classifier.reduction is not None) == (wanted < 30)
        assert isinstance(classifier.head, Recurrent)
        assert classifier.head.rnn.input_size == features
    dropped = build(HEADS["linear"], scan={"kind": "rows", "reduce_to": 7, "reduce_dropout": 0.5}).train()
    assert not torch.equal(dropped(images(IMAGE)), dropped(images(IMAGE)))


def test_reading_a_specification_loads_no_torch() -> None:
    code = "import sys, edgelnn.models.specification; assert 'torch' not in sys.modules and 'ncps' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_facade_holds_what_it_lists() -> None:
    import edgelnn.models

    for name in edgelnn.models.__all__:
        assert getattr(edgelnn.models, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edgelnn.models.nothing
