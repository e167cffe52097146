"""Heads beside the liquid ones, and what all heads may have: batch norm, hidden layers, dropouts, wirings by number."""

from __future__ import annotations

from typing import Any

import ncps.wirings
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgelnn.errors import ConfigError
from edgelnn.models import ModelSpec, WiringPlan, build_classifier, count_parameters, describe
from edgelnn.models.heads import Dense, Liquid, Recurrent, Reservoir, build_head
from edgelnn.models.specification import NCPShape
from edgelnn.training import Experiment, format_experiment, load_experiment
from edgelnn_export.lowering import lower
from tests.test_models_reference_counts import NCP

STEPS, FEATURES = 5, 6


def head_of(scores: int = 3, **values: Any) -> Any:
    torch.manual_seed(0)
    spec = ModelSpec.model_validate({"head": values}).head
    return build_head(spec, steps=STEPS, features=FEATURES, scores=scores)


def sequence(count: int = 4) -> Tensor:
    return torch.randn(count, STEPS, FEATURES, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_a_recurrence_runs_over_time_and_an_image_stands_alone(kind: str) -> None:
    head, x = head_of(kind=kind, units=4).eval(), sequence()
    assert isinstance(head, Recurrent)
    together, alone = head(x), torch.cat([head(one) for one in x.split(1)])
    torch.testing.assert_close(together, alone)
    changed = x.clone()
    changed[:, 0] += 1
    assert (head(changed) != together).any(), "what came first is remembered"


def test_an_rnn_is_the_tanh_of_its_maps() -> None:
    head, x = head_of(kind="rnn", units=4, readout_activation="relu", readout="mean").eval(), sequence()
    rnn, state, states = head.rnn, torch.zeros(len(sequence()), 4), []
    for step in x.unbind(1):
        state = (step @ rnn.weight_ih_l0.t() + rnn.bias_ih_l0 + state @ rnn.weight_hh_l0.t() + rnn.bias_hh_l0).tanh()
        states.append(state.relu())
    torch.testing.assert_close(head(x), head.linear(torch.stack(states).mean(0)))


def test_stacked_layers_may_have_units_of_their_own_and_be_the_scores() -> None:
    head = head_of(kind="lstm", units=[4, 3], linear=False, readout="mean")
    assert [module.hidden_size for module in head.modules_in_order] == [4, 3]
    assert head(sequence()).shape == (4, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"units": [4, 3], "layers": 2}, r"got head.layers=2 with head.units=\[4, 3\]"),
        ({"units": []}, "one number per stacked layer"),
        ({"units": 4, "linear": False}, "got head.linear=false with 4 outputs of the last layer, read-out 'last'"),
        ({"units": 3, "linear": False, "readout": "joined"}, "read-out 'joined'"),
    ],
)
def test_layers_that_do_not_go_together(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        head_of(kind="lstm", **values)


OVER_BATCH = {
    "lstm": {"kind": "lstm", "units": 4, "readout": "mean"},
    "rnn": {"kind": "rnn", "units": 4, "layers": 2, "readout": "mean", "readout_activation": "relu"},
    "reservoir": {"kind": "reservoir", "units": 8},
}


@pytest.mark.parametrize("name", OVER_BATCH)
def test_the_published_mistake_has_to_be_asked_for_twice(name: str) -> None:
    values = OVER_BATCH[name]
    for wrong, message in (
        ({"over": "batch"}, "without head.together"),
        ({"together": 64}, "got head.together=64 with head.over='time'"),
    ):
        with pytest.raises(ConfigError, match=message):
            model({**values, **wrong})


@pytest.mark.parametrize("name", OVER_BATCH)
def test_the_published_mistake_recurs_over_the_batch_and_cannot_be_exported(name: str) -> None:
    head, x = head_of(**OVER_BATCH[name], over="batch", together=4).eval(), sequence()
    answers = head(x)
    changed = x.clone()
    changed[0] += 1
    assert (head(changed)[1:] != answers[1:]).any(), "an image beside it changes an answer"
    swapped = x[:, [1, 0, *range(2, STEPS)]]
    if name != "reservoir":  # which reads the last step out
        torch.testing.assert_close(head(swapped), answers)  # the order of the steps means nothing
    classifier = model({**OVER_BATCH[name], "over": "batch", "together": 4})
    assert classifier.together == 4
    assert "recurring over batches of 4 images (a published mistake)" in words(classifier)
    for target, layout in (("onnx", "channels_first"), ("tflite", "channels_last")):
        with pytest.raises(Exception, match="depends on which images come together") as failure:
            lower(classifier, layout=layout, target=target)
        assert type(failure.value).__name__ == "UnsupportedModelError"


def test_the_published_lstm_is_torchs_with_its_axes_mixed_up() -> None:
    head, x = head_of(kind="lstm", units=4, readout="mean", over="batch", together=4).eval(), sequence()
    mixed = nn.LSTM(FEATURES, 4)  # time first, given what is batch first
    mixed.load_state_dict(head.rnn.state_dict())
    torch.testing.assert_close(head(x), head.linear(mixed(x)[0].mean(1)))


def model(head: dict[str, Any], **more: Any) -> Any:
    spec = ModelSpec.model_validate({"head": head, **more})
    return build_classifier(spec, image_shape=(6, 6, 1), task="multi-class", classes=3)


def words(classifier: Any) -> str:
    return describe(classifier.spec, image_shape=(6, 6, 1), task="multi-class", classes=3)


def test_batch_norm_normalizes_each_feature_over_steps_and_images() -> None:
    plain, normed = head_of(kind="ltc", units=8), head_of(kind="ltc", units=8, batch_norm=True)
    x = sequence() * 3 + 2
    assert isinstance(normed, Liquid)
    assert normed.norm is not None
    assert count_parameters(normed).trainable == count_parameters(plain).trainable + 2 * FEATURES
    expected = (x - x.mean((0, 1))) / (x.var((0, 1), unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(normed(x), plain(expected))


def test_the_mean_can_be_taken_before_the_last_rectifier() -> None:
    head, x = head_of(kind="dense", widths=[7, 5], readout="mean", mean_of="hidden"), sequence()
    assert isinstance(head, Dense)
    first, second = head.hidden
    torch.testing.assert_close(head(x), head.linear(second(first(x).relu()).mean(1).relu()))
    with pytest.raises(ConfigError, match=r"got head\.mean_of='hidden' with head\.readout='last'"):
        head_of(kind="dense", widths=[7], mean_of="hidden")


def test_each_dropout_stands_where_it_is_named() -> None:
    values = {"kind": "ltc", "units": 8, "readout": "joined"}
    head = head_of(**values, dropout=0.2)
    assert [each.p for each in (head.dropout, head.readout_dropout)] == [0.2, 0.2]
    head = head_of(**values, readout_dropout=0.3)
    assert [each.p for each in (head.dropout, head.readout_dropout)] == [0.0, 0.3]


def test_an_explicit_policy_is_that_of_ncps() -> None:
    plan = WiringPlan("ncp", 19, 1, ncp=NCPShape(**NCP))
    theirs = ncps.wirings.NCP(12, 6, 1, 6, 4, 6, 6)
    theirs.build(32)
    ours = plan.build(32)
    np.testing.assert_array_equal(ours.adjacency_matrix, theirs.adjacency_matrix)
    np.testing.assert_array_equal(ours.sensory_adjacency_matrix, theirs.sensory_adjacency_matrix)
    assert (np.abs(ours.sensory_adjacency_matrix).sum(1) == 6).all()
    assert str(plan) == "an ncp wiring of 12, 6 and 1 neurons, seed 22222"


def test_a_random_wiring_is_that_of_ncps() -> None:
    plan = WiringPlan("random", 9, 4, sparsity=0.7, seed=3)
    theirs = ncps.wirings.Random(9, 4, 0.7, 3)
    theirs.build(FEATURES)
    ours = plan.build(FEATURES)
    np.testing.assert_array_equal(ours.adjacency_matrix, theirs.adjacency_matrix)
    np.testing.assert_array_equal(ours.sensory_adjacency_matrix, theirs.sensory_adjacency_matrix)
    assert np.count_nonzero(ours.adjacency_matrix) == round(81 * 0.3)


def test_a_cfc_without_layers_of_neurons_says_all_its_units() -> None:
    for wiring in ("full", "random"):
        head = head_of(kind="cfc", wiring=wiring, units=8)
        assert head.layers[0].outputs == 8
        assert head.linear.in_features == 8
    assert head_of(kind="ltc", wiring="random", units=8).linear is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wiring": "ncp"}, "got head.wiring='ncp' without head.ncp"),
        ({"ncp": NCP}, "got head.wiring='auto' with head.ncp"),
        ({"wiring": "ncp", "ncp": {**NCP, "motor_fanin": 7}}, r"got head.ncp.motor_fanin=7 with 6 command neurons"),
        ({"wiring": "ncp", "ncp": {**NCP, "sensory_fanout": 13}}, r"sensory_fanout=13 with 12 inter neurons"),
        ({"wiring": "ncp", "ncp": NCP, "units": 20}, r"got head.units=20 and head.outputs=1; head.ncp has 19 neurons"),
        ({"wiring": "ncp", "ncp": [NCP, NCP], "units": [19]}, "both need one number per stacked layer|2 tables"),
        ({"wiring": "random", "units": 3, "sparsity": 0.95}, "no synapse is left"),
        ({"wiring": "auto", "sparsity": 0.95}, "got head.sparsity=0.95 with head.wiring='auto'"),
    ],
)
def test_wirings_that_do_not_exist(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        head_of(kind="ltc", **values)


def test_sizes_that_follow_from_a_policy_are_written_with_the_experiment() -> None:
    experiment = Experiment.model_validate({"head": {"kind": "ltc", "wiring": "ncp", "ncp": NCP, "readout": "joined"}})
    assert (experiment.head.units, experiment.head.outputs) == (19, 1)
    text = format_experiment(experiment)
    assert "units = 19" in text
    assert "[head.ncp]" in text
    stacked = Experiment.model_validate({"head": {"kind": "cfc", "wiring": "ncp", "ncp": [NCP, NCP]}})
    assert (stacked.head.units, stacked.head.outputs) == ([19, 19], [1, 1])


def test_a_mistake_in_a_policy_is_said_of_its_field(tmp_path: Any) -> None:
    file = tmp_path / "mine.toml"
    table = "\n".join(f"{name} = {number}" for name, number in NCP.items() if name != "inter_fanout")
    file.write_text(f'[head]\nkind = "ltc"\nwiring = "ncp"\n[head.ncp]\ninter_fanouts = 4\n{table}\n', "utf-8")
    with pytest.raises(ConfigError, match=r'head\.ncp\.inter_fanouts: no such field; did you mean "inter_fanout"'):
        load_experiment(file)


def test_a_reservoir_echoes_its_input() -> None:
    head, x = head_of(kind="reservoir", units=9, leak=0.4, readout="mean", sparsity=0.5), sequence()
    assert isinstance(head, Reservoir)
    weight, recurrent = head.input_weight, head.recurrent_weight
    state, states = torch.zeros(len(x), 9), []
    for step in x.unbind(1):
        state = 0.6 * state + 0.4 * (step @ weight.t() + state @ recurrent.t()).tanh()
        states.append(state)
    torch.testing.assert_close(head(x), head.linear(torch.stack(states).mean(0)))


def test_a_reservoirs_weights_are_fixed_and_follow_from_their_seed() -> None:
    values = {"kind": "reservoir", "units": 60, "spectral_radius": 0.8, "sparsity": 0.9, "reservoir_seed": 5}
    head = head_of(**values)
    radius = np.abs(np.linalg.eigvals(head.recurrent_weight.double().numpy())).max()
    assert radius == pytest.approx(0.8, rel=1e-5)
    assert 0.85 < float((head.recurrent_weight == 0).float().mean()) < 0.95
    counts = count_parameters(head)
    assert (counts.trainable, counts.stored) == (61 * 3, 61 * 3 + 60 * 60 + 60 * FEATURES)
    torch.manual_seed(7)
    again = build_head(ModelSpec.model_validate({"head": values}).head, steps=STEPS, features=FEATURES, scores=3)
    assert torch.equal(again.recurrent_weight, head.recurrent_weight)
    drawn = [
        build_classifier(
            ModelSpec.model_validate({"head": {"kind": "reservoir", "units": 9}}),
            image_shape=(6, 6, 1),
            task="multi-class",
            classes=3,
            seed=seed,
        ).head.input_weight
        for seed in (0, 0, 1)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_reservoir_without_a_circle_has_no_radius() -> None:
    with pytest.raises(ConfigError, match="no unit reaches itself"):
        head_of(kind="reservoir", units=2, sparsity=0.999)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"kind": "rnn", "units": 4, "layers": 2, "readout_activation": "relu"}, "RNN 4-4, relu, last step"),
        ({"kind": "lstm", "units": [5, 3]}, "LSTM 5-3, last step"),
        ({"kind": "ltc", "wiring": "ncp", "ncp": NCP, "readout": "joined"}, "LTC ncp 19/1, all steps joined"),
        ({"kind": "cfc", "wiring": "random", "batch_norm": True}, "batch norm, CfC random 32, last step"),
        ({"kind": "reservoir", "units": 8, "readout": "mean"}, "reservoir of 8, mean over steps"),
        ({"kind": "dense", "widths": [4], "readout": "mean", "mean_of": "hidden"}, "dense 4-3, mean of hidden"),
    ],
)
def test_heads_in_words(head: dict[str, Any], said: str) -> None:
    assert said in words(model(head))
