"""Our liquid layers against the published ncps modules, which hold the same parameters."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelnn.errors import ConfigError
from edgelnn.models import CfCLayer, DenseCfCLayer, LTCLayer, WiringPlan
from edgelnn.models.heads import Bidirectional
from edgelnn.models.liquid import AbstractLiquidLayer
from tests.liquid_cases import CASES, MODES, Case, assert_agree, run_ncps, run_ours

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_agrees_with_ncps_in_float32(case: Case) -> None:
    layer = case.layer()
    x, hx, _ = case.inputs(layer)
    assert_agree(run_ours(layer, x, None, None), run_ncps(layer, x, None, None))
    assert_agree(run_ours(layer, x, hx, None), run_ncps(layer, x, hx, None))


@every_case
def test_agrees_with_ncps_where_time_spans_vary(case: Case) -> None:
    layer = case.layer()
    x, hx, timespans = case.inputs(layer)
    assert_agree(run_ours(layer, x, hx, timespans), run_ncps(layer, x, hx, timespans))


@every_case
def test_is_the_same_function_to_the_precision_of_float64(case: Case) -> None:
    layer = case.layer().double()
    x, hx, timespans = (tensor.double() for tensor in case.inputs(layer))
    assert_agree(run_ours(layer, x, hx, None), run_ncps(layer, x, hx, None), 1e-11)
    assert_agree(run_ours(layer, x, hx, timespans), run_ncps(layer, x, hx, timespans), 1e-11)


@every_case
def test_time_spans_of_one_change_nothing(case: Case) -> None:
    layer = case.layer()
    x, hx, _ = case.inputs(layer)
    assert_agree(run_ours(layer, x, hx, torch.ones(x.shape[:2])), run_ours(layer, x, hx, None))


@every_case
def test_a_sequence_can_be_cut_where_its_state_is_handed_over(case: Case) -> None:
    layer = case.layer()
    x, hx, timespans = case.inputs(layer)
    if case.steps == 1:
        x, timespans = x.repeat(1, 2, 1), timespans.repeat(1, 2)
    whole, last = layer(x, hx, timespans)
    first, between = layer(x[:, :1], hx, timespans[:, :1])
    second, end = layer(x[:, 1:], between, timespans[:, 1:])
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(end, last, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in CASES if case.name.startswith("ltc")], ids=lambda case: case.name)
def test_the_gradient_of_cm_is_no_worse_than_that_of_ncps(case: Case) -> None:
    """It is a small difference of large numbers, the one gradient where float32 shows."""
    layer = case.layer()
    x, hx, _ = case.inputs(layer)
    exact = run_ncps(copy.deepcopy(layer).double(), x.double(), hx.double(), None).gradients["ncps.rnn_cell.cm"]
    ours, theirs = (
        run(layer, x, hx, None).gradients["ncps.rnn_cell.cm"].double() - exact for run in (run_ours, run_ncps)
    )
    assert ours.abs().max() <= max(2 * theirs.abs().max(), 1e-6 * exact.abs().max())


@given(
    units=st.integers(4, 24),
    outputs=st.integers(1, 21),
    features=st.integers(1, 12),
    steps=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    sparsity=st.sampled_from([0.1, 0.5, 0.8]),
    cell=st.sampled_from([CfCLayer, LTCLayer]),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_agrees_with_ncps_over_any_auto_wiring(
    units: int,
    outputs: int,
    features: int,
    steps: int,
    seed: int,
    sparsity: float,
    cell: type[CfCLayer] | type[LTCLayer],
) -> None:
    plan = WiringPlan("auto", units, min(outputs, units - 3), sparsity, seed)
    case = Case("drawn", lambda: cell(features, plan), seed=seed % 1000, batch=2, steps=steps)
    layer = case.layer().double()
    x, hx, timespans = (tensor.double() for tensor in case.inputs(layer))
    assert_agree(run_ours(layer, x, hx, None), run_ncps(layer, x, hx, None), 1e-10)
    assert_agree(run_ours(layer, x, hx, timespans), run_ncps(layer, x, hx, timespans), 1e-10)


@pytest.mark.parametrize("build", [CfCLayer, LTCLayer])
def test_both_directions_are_two_ncps_runs(build: type[CfCLayer] | type[LTCLayer]) -> None:
    torch.manual_seed(0)
    plan = WiringPlan("auto", 9, 3)
    both = Bidirectional(build(4, plan), build(4, plan))
    x, hx, timespans = torch.randn(1, 6, 4), torch.randn(1, 18), torch.rand(1, 6) + 0.2
    sequence, state = both(x, hx, timespans)
    onward, onward_state = both.onward.ncps(x, hx[:, :9], timespans)
    backward, backward_state = both.backward.ncps(x.flip(1), hx[:, 9:], timespans.flip(1))
    torch.testing.assert_close(sequence, torch.cat([onward, backward.flip(1)], 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(state, torch.cat([onward_state, backward_state], 1), rtol=0, atol=1e-5)
    assert (both.features, both.units, both.outputs) == (4, 18, 6)


def test_time_spans_are_right_where_ncps_fails_and_where_it_is_silently_wrong() -> None:
    """ncps multiplies (batch, units) by (batch,): an error, or nonsense where batch and units are equal."""
    torch.manual_seed(0)
    layer = CfCLayer(3, WiringPlan("full", 4, 4))
    timespans = torch.rand(4, 5) + 0.2
    x = torch.randn(4, 5, 3)
    ours, _ = layer(x, None, timespans)
    single = torch.cat([layer.ncps(x[i : i + 1], None, timespans[i : i + 1])[0] for i in range(4)])
    torch.testing.assert_close(ours, single, rtol=0, atol=1e-5)
    assert (layer.ncps(x, None, timespans)[0] - ours).abs().max() > 1e-2
    with pytest.raises(RuntimeError, match="must match the size"):
        layer.ncps(x[:3], None, timespans[:3])


def test_backbone_dropout_is_drawn_while_training_alone() -> None:
    torch.manual_seed(0)
    layer = DenseCfCLayer(3, 4, backbone_units=16, backbone_layers=2, backbone_dropout=0.5)
    x = torch.randn(2, 5, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    torch.testing.assert_close(layer(x)[0], layer.ncps(x)[0], rtol=0, atol=1e-5)
    layer.train()
    assert_gradients_by_difference(layer)


def assert_gradients_by_difference(layer: AbstractLiquidLayer) -> None:
    """Assert the gradient of x by finite differences, under one draw of the dropout."""
    layer = layer.double()
    x = torch.randn(2, 3, layer.features, dtype=torch.float64, requires_grad=True)

    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            sequence: torch.Tensor = layer(x)[0]
            return sequence

    assert torch.autograd.gradcheck(forward, (x,))


@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_states_time_spans_and_parameters_by_finite_differences(mode: str) -> None:
    torch.manual_seed(0)
    layer = CfCLayer(2, WiringPlan("auto", 5, 1), mode=mode).double()
    check_by_differences(layer)


@pytest.mark.parametrize("plan", [WiringPlan("auto", 6, 2), WiringPlan("full", 3, 2)], ids=str)
def test_gradients_of_ltc_by_finite_differences(plan: WiringPlan) -> None:
    torch.manual_seed(0)
    check_by_differences(LTCLayer(2, plan, unfolds=2).double())


def check_by_differences(layer: AbstractLiquidLayer) -> None:
    """Assert every gradient of a layer, those of time spans among them, by finite differences."""
    x, hx = torch.randn(2, 3, 2, dtype=torch.float64), torch.randn(2, layer.units, dtype=torch.float64)
    timespans = torch.rand(2, 3, dtype=torch.float64) + 0.3
    parameters = {name: parameter for name, parameter in layer.named_parameters() if parameter.requires_grad}

    def forward(x: torch.Tensor, hx: torch.Tensor, timespans: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        replaced = dict(zip(parameters, values, strict=True))
        sequence, state = torch.func.functional_call(layer, replaced, (x, hx, timespans))
        return sequence.sum(1) + state.sum(1, keepdim=True)

    leaves = [tensor.detach().clone().requires_grad_() for tensor in (x, hx, timespans, *parameters.values())]
    assert torch.autograd.gradcheck(forward, leaves, atol=1e-6)


def test_functional_call_sees_its_overrides_where_ncps_ignores_them() -> None:
    """ncps's LTC computes from a private dict of its own."""
    torch.manual_seed(0)
    layer = LTCLayer(2, WiringPlan("full", 3, 1))
    x = torch.randn(1, 4, 2)
    doubled = {"ncps.rnn_cell.vleak": layer.ncps.rnn_cell.vleak + 1}
    assert not torch.allclose(torch.func.functional_call(layer, doubled, (x,))[0], layer(x)[0])
    same = torch.func.functional_call(layer.ncps, {"rnn_cell.vleak": layer.ncps.rnn_cell.vleak + 1}, (x,))[0]
    torch.testing.assert_close(same, layer.ncps(x)[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.zeros(2, 3),), r"x of shape \(2, 3\); the layer takes \(batch, time, 4\)"),
        ((torch.zeros(2, 3, 5),), r"the layer takes \(batch, time, 4\)"),
        ((torch.zeros(2, 0, 4),), r"x of shape \(2, 0, 4\)"),
        ((torch.zeros(2, 3, 4), torch.zeros(2, 8)), r"hx of shape \(2, 8\); expected \(batch, units\) = \(2, 9\)"),
        ((torch.zeros(2, 3, 4), None, torch.ones(3)), r"timespans of shape \(3,\); expected .* = \(2, 3\)"),
        ((torch.zeros(2, 3, 4), None, torch.zeros(2, 3)), "a time span of 0 or less"),
        ((torch.zeros(2, 3, 4), None, torch.full((2, 3), torch.nan)), "a time span of 0 or less, or NaN"),
    ],
)
def test_refuses_arguments_that_do_not_fit(arguments: tuple[torch.Tensor | None, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        CfCLayer(4, WiringPlan("auto", 9, 3))(*arguments)


def test_leaves_the_threads_treatment_of_denormal_numbers_as_it_was() -> None:
    tiny = torch.tensor(1e-40)
    layer = LTCLayer(2, WiringPlan("full", 3, 1))
    layer(torch.zeros(1, 2, 2))[0].sum().backward()
    assert (tiny * 1).item() > 0
    torch.set_flush_denormal(True)
    try:
        layer(torch.zeros(1, 2, 2))[0].sum().backward()
        assert (tiny * 1).item() == 0
    finally:
        torch.set_flush_denormal(False)
