"""Passes over graphs: what they may change, and that they change no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelnn_export.graph import Graph
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.column_groups import group_columns
from edgelnn_export.lowering.row_pairs import pair_rows
from edgelnn_export.reference_evaluator import evaluate
from edgelnn_export.rewriting import rewritten
from tests.operator_graphs import FUSED, GRAPHS, SEQUENCE, inputs_for, make_graph, small_graph


def assert_same_numbers(before: Graph, after: Graph) -> None:
    x = inputs_for(before, 3)
    np.testing.assert_allclose(evaluate(after, x), evaluate(before, x), rtol=1e-5, atol=1e-5)


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


@pytest.mark.parametrize("name", [*GRAPHS, *FUSED])
def test_a_rule_that_leaves_everything_alone_changes_nothing(name: str) -> None:
    graph = make_graph(SEQUENCE, FUSED[name], "channels_last") if name in FUSED else small_graph(name, "channels_last")
    after = rewritten(graph, lambda b, node, inputs: None)
    assert operators(after) == operators(graph)
    assert_same_numbers(graph, after)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    height=st.integers(5, 8),
    width=st.integers(5, 14),
    channels=st.integers(1, 3),
    out=st.integers(1, 9),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    activation=st.sampled_from(["none", "relu"]),
)
def test_columns_in_groups_give_the_same_map(
    height: int, width: int, channels: int, out: int, kernel: tuple[int, int], activation: str
) -> None:
    def build(b: GraphBuilder, w: Any) -> str:
        return b.conv2d(b.input, w(out, channels, *kernel), w(out), activation=activation)

    graph = make_graph((1, height, width, channels), build, "channels_last")
    assert_same_numbers(graph, group_columns(graph))


def test_a_convolution_of_one_channel_takes_four_columns_at_once() -> None:
    graph = make_graph((28, 28, 28, 1), lambda b, w: b.conv2d(b.input, w(6, 1, 5, 5), w(6)), "channels_last")
    after = group_columns(graph)
    assert operators(after) == ["reshape", "conv2d", "reshape"]
    assert after.constants[after.nodes[1].inputs[1]].shape == (24, 4, 5, 2)


@pytest.mark.parametrize(
    "attributes",
    [{"stride": (2, 1)}, {"stride": (1, 2)}, {"padding": (0, 1, 0, 1)}, {"groups": 2}],
    ids=["rows", "columns", "padding", "groups"],
)
def test_what_does_not_fit_is_not_grouped(attributes: dict[str, Any]) -> None:
    channels = 1 if "groups" in attributes else 2

    def build(b: GraphBuilder, w: Any) -> str:
        return b.conv2d(b.input, w(4, channels, 5, 5), w(4), **attributes)

    graph = make_graph((1, 28, 28, 2), build, "channels_last")
    assert operators(group_columns(graph)) == ["conv2d"]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    height=st.integers(6, 11),
    width=st.integers(5, 9),
    channels=st.integers(1, 3),
    out=st.integers(1, 8),
    kernel=st.tuples(st.integers(4, 5), st.integers(1, 3)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    activation=st.sampled_from(["none", "relu"]),
)
def test_pairs_of_rows_give_the_same_pooled_map(
    height: int,
    width: int,
    channels: int,
    out: int,
    kernel: tuple[int, int],
    padding: tuple[int, int, int, int],
    activation: str,
) -> None:
    def build(b: GraphBuilder, w: Any) -> str:
        x = b.conv2d(b.input, w(out, channels, *kernel), w(out), padding=padding, activation=activation)
        return b.max_pool(x, (2, 2), (2, 2))

    graph = make_graph((1, height, width, channels), build, "channels_first")
    after = pair_rows(graph)
    assert operators(after) == ["conv2d", "split", "maximum", "pool2d"]
    assert_same_numbers(graph, after)


@pytest.mark.parametrize("case", ["many channels", "read twice", "other pooling", "average", "low kernel"])
def test_what_does_not_fit_is_not_paired(case: str) -> None:
    out = 9 if case == "many channels" else 6

    def build(b: GraphBuilder, w: Any) -> str:
        rows = 3 if case == "low kernel" else 5
        x = b.conv2d(b.input, w(out, 2, rows, 5), w(out))
        size = (3, 3) if case == "other pooling" else (2, 2)
        kind = "average" if case == "average" else "max"
        pooled = b.add_node("pool2d", (x,), kind=kind, kernel=size, stride=size)[0]
        if case == "read twice":
            return b.add(b.slice(b.slice(x, 2, 0, 1), 3, 0, 1), pooled)
        return pooled

    graph = make_graph((1, 12, 12, 2), build, "channels_first")
    assert "maximum" not in operators(pair_rows(graph))
