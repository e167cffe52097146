"""Scans: what stands where in the sequence, and that nothing is lost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgelnn.errors import ConfigError
from edgelnn.models.scans import build_scan
from edgelnn.models.specification import ChunksScan, PlainScan, ScanSpec, SlicesScan

PLAIN = ("flatten", "rows", "columns", "channels")
sides = st.integers(1, 7)


@st.composite
def scans_and_maps(draw: st.DrawFn) -> tuple[ScanSpec, tuple[int, ...]]:
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
    feature_map = torch.arange(2 * torch.Size(shape).numel()).view(2, *shape)
    sequence = scan(feature_map)
    assert sequence.shape == (2, scan.steps, scan.features)
    assert torch.equal(scan.restore(sequence), feature_map)


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
