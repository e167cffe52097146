"""What a graph reads of a map, number by number, in both layouts: every scan, and maps brought to any size."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelnn.models.scans import ParallelScans, build_scan
from edgelnn.models.specification import MapSize, ScanSpec
from edgelnn.models.stems import Resize
from edgelnn.preprocessing import Layout
from edgelnn_export.graph import Graph
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.convolution import lower_adaptive_pool
from edgelnn_export.lowering.scan import lower_scan
from edgelnn_export.lowering.stem import lower_stem
from edgelnn_export.reference_evaluator import evaluate
from tests.test_models_scans import scans_and_maps

LAYOUTS = get_args(Layout)
BATCH = 2
sizes = st.tuples(st.integers(1, 17), st.integers(1, 17))


def arranged(feature_map: torch.Tensor, layout: Layout) -> np.ndarray:
    """Return a map (n, [slices,] c, h, w) as a graph of a layout stores it, slices as examples."""
    flat = feature_map.flatten(0, -4).numpy()
    return flat if layout == "channels_first" else np.ascontiguousarray(np.moveaxis(flat, 1, -1))


def builder_for(map_shape: tuple[int, ...], layout: Layout) -> GraphBuilder:
    return GraphBuilder(arranged(torch.zeros(1, *map_shape), layout).shape, layout)


@settings(max_examples=150, deadline=None)
@given(scans_and_maps(), st.sampled_from(LAYOUTS))
def test_a_graph_reads_what_the_scan_reads(drawn: tuple[ScanSpec, tuple[int, ...]], layout: Layout) -> None:
    spec, map_shape = drawn
    scan = build_scan(spec, map_shape)
    assert not isinstance(scan, ParallelScans)
    builder = builder_for(map_shape, layout)
    sequence = lower_scan(builder, builder.input, scan)
    assert (sequence.steps, sequence.features) == (scan.steps, scan.features)
    graph = builder.finish(sequence.read(builder, np.eye(scan.features), np.zeros(scan.features)))
    feature_map = torch.arange(BATCH * torch.Size(map_shape).numel(), dtype=torch.float32).view(BATCH, *map_shape)
    found = evaluate(graph, arranged(feature_map, layout))
    assert np.array_equal(found.reshape(BATCH, scan.steps, scan.features), scan(feature_map).numpy())


def resized(resize: Resize, sides: tuple[int, int], layout: Layout) -> Graph:
    builder = builder_for((3, *sides), layout)
    return builder.finish(lower_stem(builder, builder.input, torch.nn.Sequential(resize)))


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.booleans(), st.sampled_from(LAYOUTS))
def test_a_map_is_brought_to_any_size_as_torch_does(
    sides: tuple[int, int], wanted: tuple[int, int], convolved: bool, layout: Layout
) -> None:
    size = MapSize(channels=2 if convolved else None, height=wanted[0], width=wanted[1])
    resize = Resize(3, size)
    feature_map = torch.randn(BATCH, 3, *sides, generator=torch.Generator().manual_seed(0))
    if sides == wanted and not convolved:
        builder = builder_for((3, *sides), layout)
        assert resize.pool is not None
        assert lower_adaptive_pool(builder, builder.input, resize.pool) == builder.input
        return
    found = evaluate(resized(resize, sides, layout), arranged(feature_map, layout))
    with torch.no_grad():
        expected = arranged(resize(feature_map), layout)
    np.testing.assert_allclose(found, expected, atol=3e-6, rtol=0)


@pytest.mark.parametrize(
    ("sides", "wanted", "operators"),
    [
        ((8, 8), (4, 2), ["pool2d"]),
        ((5, 7), (1, 1), ["pool2d"]),
        ((7, 7), (6, 6), ["pool2d"]),
        ((13, 13), (8, 8), ["linear", "transpose", "linear", "transpose"]),
    ],
)
def test_windows_that_are_all_alike_are_a_pooling(
    sides: tuple[int, int], wanted: tuple[int, int], operators: list[str]
) -> None:
    graph = resized(Resize(3, MapSize(height=wanted[0], width=wanted[1])), sides, "channels_first")
    assert [node.op for node in graph.nodes] == operators
