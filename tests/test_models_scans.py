"""Scans: what stands where in the sequence, and that nothing is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgelnn.errors import ConfigError
from edgelnn.models.scans import ParallelScans, PatchScan, build_scan
from edgelnn.models.specification import ChunksScan, ParallelScan, PatchesScan, PlainScan, ScanSpec, SlicesScan

PLAIN = ("flatten", "rows", "columns", "channels")
sides = st.integers(1, 7)


@st.composite
def patches_and_maps(draw: st.DrawFn) -> tuple[PatchesScan, tuple[int, int, int]]:
    """Windows that cover a map from end to end."""
    size, order = draw(sides), draw(st.sampled_from(["raster", "zigzag"]))
    stride = draw(st.integers(1, size))
    rows, columns, channels = draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(st.integers(1, 3))
    scan = PatchesScan(kind="patches", size=size, stride=stride, order=order)
    return scan, (channels, size + rows * stride, size + columns * stride)


@st.composite
def scans_and_maps(draw: st.DrawFn) -> tuple[ScanSpec, tuple[int, ...]]:
    if draw(st.booleans()):
        return draw(patches_and_maps())
    volume = draw(st.booleans())
    shape = tuple(draw(sides) for _ in range(4 if volume else 3))
    size = int(torch.Size(shape).numel())
    chunks = ChunksScan(kind="chunks", steps=draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0])))
    others: list[ScanSpec] = (
        [PlainScan(kind="flatten"), SlicesScan(kind="slices")] if volume else [PlainScan(kind=kind) for kind in PLAIN]
    )
    return draw(st.sampled_from([chunks, *others])), shape


@given(scans_and_maps())
def test_every_scan_can_be_undone(drawn: tuple[ScanSpec, tuple[int, ...]]) -> None:
    spec, shape = drawn
    scan = build_scan(spec, shape)
    assert not isinstance(scan, ParallelScans)
    feature_map = torch.arange(2 * torch.Size(shape).numel()).view(2, *shape)
    sequence = scan(feature_map)
    assert sequence.shape == (2, scan.steps, scan.features)
    assert torch.equal(scan.restore(sequence), feature_map)


@given(patches_and_maps())
def test_windows_are_where_they_should_be_and_cover_the_map(
    drawn: tuple[PatchesScan, tuple[int, int, int]],
) -> None:
    spec, shape = drawn
    scan = build_scan(spec, shape)
    feature_map = torch.arange(torch.Size(shape).numel()).view(1, *shape)
    steps = scan(feature_map)[0]
    stride = spec.stride or spec.size
    corners = [(top, left) for top in range(0, shape[1] - spec.size + 1, stride) for left in _lefts(spec, shape, top)]
    windows = [feature_map[0, :, y : y + spec.size, x : x + spec.size].flatten() for y, x in corners]
    assert torch.equal(steps, torch.stack(windows))
    assert set(steps.flatten().tolist()) == set(range(torch.Size(shape).numel()))


def _lefts(spec: PatchesScan, shape: tuple[int, int, int], top: int) -> list[int]:
    """Where the windows of a row begin, in the order in which they are read."""
    stride = spec.stride or spec.size
    lefts = list(range(0, shape[2] - spec.size + 1, stride))
    return lefts[::-1] if spec.order == "zigzag" and top // stride % 2 else lefts


def test_each_window_of_a_zigzag_touches_the_one_before_it() -> None:
    scan = build_scan(PatchesScan(kind="patches", size=4, order="zigzag"), (16, 16, 16))
    assert isinstance(scan, PatchScan)
    assert (scan.steps, scan.features) == (16, 256)
    places = [divmod(place, 4) for place in scan.order]
    assert places[:6] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 3), (1, 2)]
    assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in pairwise(places))


def test_the_published_sliding_windows_have_their_published_steps() -> None:
    scan = build_scan(PatchesScan(kind="patches", size=2, stride=1), (8, 7, 7))
    assert isinstance(scan, PatchScan)
    assert (scan.steps, scan.features) == (36, 32)


def test_gradients_of_overlapping_windows_add_up() -> None:
    feature_map = torch.zeros(1, 1, 3, 3, requires_grad=True)
    build_scan(PatchesScan(kind="patches", size=2, stride=1, order="zigzag"), (1, 3, 3))(feature_map).sum().backward()
    assert feature_map.grad is not None
    assert feature_map.grad[0, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


def test_scans_side_by_side_each_read_the_map() -> None:
    both = ParallelScan(kind="parallel", scans=[PlainScan(kind="rows"), PlainScan(kind="columns")])
    feature_map = torch.randn(2, 3, 4, 5)
    rows, columns = build_scan(both, (3, 4, 5))(feature_map)
    assert torch.equal(rows, build_scan(PlainScan(kind="rows"), (3, 4, 5))(feature_map))
    assert torch.equal(columns, build_scan(PlainScan(kind="columns"), (3, 4, 5))(feature_map))


@given(sides, sides, sides)
def test_steps_are_what_their_names_say(channels: int, height: int, width: int) -> None:
    feature_map = torch.randn(3, channels, height, width)
    read = {kind: build_scan(PlainScan(kind=kind), (channels, height, width))(feature_map) for kind in PLAIN}
    assert torch.equal(read["rows"][:, -1], feature_map[:, :, -1, :].flatten(1))
    assert torch.equal(read["columns"][:, -1], feature_map[:, :, :, -1].flatten(1))
    assert torch.equal(read["channels"][:, -1], feature_map[:, -1].flatten(1))
    assert torch.equal(read["flatten"][:, 0], feature_map.flatten(1))
    halves = build_scan(ChunksScan(kind="chunks", steps=1), (channels, height, width))(feature_map)
    assert torch.equal(halves, read["flatten"])


def test_chunks_go_channel_by_channel() -> None:
    feature_map = torch.randn(2, 8, 2, 2)
    chunks = build_scan(ChunksScan(kind="chunks", steps=4), (8, 2, 2))(feature_map)
    assert torch.equal(chunks[:, 1], feature_map[:, 2:4].flatten(1))


def test_a_volume_is_read_slice_by_slice() -> None:
    volume = torch.randn(2, 5, 3, 4, 4)
    slices = build_scan(SlicesScan(kind="slices"), (5, 3, 4, 4))(volume)
    assert torch.equal(slices[:, 3], volume[:, 3].flatten(1))
    chunks = build_scan(ChunksScan(kind="chunks", steps=5), (5, 3, 4, 4))(volume)
    assert torch.equal(chunks, slices)


@pytest.mark.parametrize(
    ("spec", "shape", "words"),
    [
        (ChunksScan(kind="chunks", steps=30), (128, 2, 2), r"scan\.steps=30; .* must divide 512\. Nearest: 16 or 32\."),
        (ChunksScan(kind="chunks", steps=600), (128, 2, 2), r"scan\.steps=600; .* must divide 512\. Nearest: 512"),
        (PlainScan(kind="rows"), (28, 1, 28, 28), r"scan\.kind='rows' for a volume; .* slices, chunks or flatten"),
        (PatchesScan(kind="patches", size=4), (28, 1, 28, 28), r"scan\.kind='patches' for a volume"),
        (PatchesScan(kind="patches", size=9), (1, 8, 12), r"scan\.size=9; the map is only 8 high"),
        (
            PatchesScan(kind="patches", size=5),
            (1, 10, 8),
            r"size=5 with stride 5; .* 8 wide\. Strides that fit size 5: 1, 3",
        ),
        (PatchesScan(kind="patches", size=2, stride=3), (1, 8, 8), r"scan\.stride=3 with size 2; .* at most 2"),
        (
            ParallelScan(kind="parallel", scans=[PlainScan(kind="flatten"), PlainScan(kind="rows")]),
            (28, 1, 28, 28),
            r"scan\.scans\[1\]\.kind='rows' for a volume",
        ),
        (
            ParallelScan(kind="parallel", scans=[SlicesScan(kind="slices"), SlicesScan(kind="slices", axis=1)]),
            (28, 1, 28, 28),
            r"scan\.scans\[1\]\.axis=1; scans side by side read one map",
        ),
        (PlainScan(kind="columns"), (28, 1, 28, 28), r"scan\.kind='columns' for a volume"),
        (PlainScan(kind="channels"), (28, 1, 28, 28), r"scan\.kind='channels' for a volume"),
        (
            SlicesScan(kind="slices"),
            (1, 28, 28),
            r"scan\.kind='slices' for an image of two dimensions; .* rows, columns",
        ),
    ],
)
def test_refuses_what_does_not_fit(spec: ScanSpec, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_scan(spec, shape)
