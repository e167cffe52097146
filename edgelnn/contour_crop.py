"""Cutting a picture down to what it shows: the box around its largest bright region, such as a head before black.

Imports numpy alone, so that a board can use it; a bundle whose model needs it has these functions in its `predict.py`.

As A. Rosebrock's "Finding extreme points in contours with OpenCV" (2016) does it, which many use for brain MRI: grey,
smoothed, thresholded, small spots removed (eroded, then dilated, twice each), the region of largest area with its holes
filled, its leftmost, rightmost, topmost and bottommost points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ContourCrop", "contour_box"]

LARGEST_SIDE = 1024  # larger pictures are averaged down to find the region


@dataclass(frozen=True)
class ContourCrop:
    """How pictures are cut down to their largest bright region.

    Attributes:
        threshold: Grey level that is brighter than the background.
        margin: Pixels of background that are left around the region.
        least_area: Part of the picture that the box must cover; one with a smaller box is used whole.
    """

    threshold: int = 45
    margin: int = 0
    least_area: float = 0.05

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """Return the part of a picture ``(h, w, 1 or 3)`` that is kept; None where no region is large enough.

        >>> picture = np.zeros((40, 40, 1), np.uint8)
        >>> picture[10:30, 5:35] = 200
        >>> ContourCrop()(picture).shape
        (22, 32, 1)
        """
        box = contour_box(pixels, self.threshold, self.margin, self.least_area)
        return None if box is None else pixels[box[0] : box[1], box[2] : box[3]]


def contour_box(
    pixels: NDArray[np.uint8], threshold: int, margin: int, least_area: float
) -> tuple[int, int, int, int] | None:
    """Return the rows and columns (top, bottom, left, right; ends excluded) of the largest bright region, or None.

    Args:
        pixels: ``(h, w, 1 or 3)`` uint8.
        threshold: Grey level that is brighter than the background.
        margin: Pixels added on each side, as far as the picture goes.
        least_area: Part of the picture that the box must cover.
    """
    height, width = pixels.shape[:2]
    step = -(-max(height, width) // LARGEST_SIDE)
    regions = find_regions(fill_holes(bright_mask(pixels, threshold, step)), diagonal=True)
    rows, starts, ends, names = regions
    if not len(rows):
        return None
    largest = names == np.bincount(names, weights=ends - starts).argmax()
    rows, starts, ends = rows[largest], starts[largest], ends[largest]
    top, bottom = max(int(rows.min()) * step - margin, 0), min((int(rows.max()) + 1) * step + margin, height)
    left, right = max(int(starts.min()) * step - margin, 0), min(int(ends.max()) * step + margin, width)
    return (top, bottom, left, right) if (bottom - top) * (right - left) >= least_area * height * width else None


def bright_mask(pixels: NDArray[np.uint8], threshold: int, step: int) -> NDArray[np.bool_]:
    """Return where a picture is bright (h, w), small spots left out; each entry stands for step × step pixels."""
    grey = pixels[..., 0].astype(np.int64)
    if pixels.shape[2] == 3:  # ITU-R 601, as Pillow rounds it
        red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
        grey = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    if step > 1:
        height, width = (-(-side // step) * step for side in grey.shape)
        grey = np.pad(grey, ((0, height - grey.shape[0]), (0, width - grey.shape[1])), mode="edge")
        grey = grey.reshape(height // step, step, width // step, step).sum(axis=(1, 3)) // step**2
    for axis in (0, 1):  # a Gaussian of 5 × 5 in whole numbers: the same on every machine
        wide = np.pad(grey, [(2, 2) if axis == one else (0, 0) for one in (0, 1)], mode="edge")
        parts = [np.take(wide, np.arange(grey.shape[axis]) + offset, axis=axis) for offset in range(5)]
        grey = parts[0] + 4 * parts[1] + 6 * parts[2] + 4 * parts[3] + parts[4]
    mask = grey > 256 * threshold
    for grow in (False, True):  # twice 3 × 3 is once 5 × 5
        for axis in (0, 1):
            wide = np.pad(mask, [(2, 2) if axis == one else (0, 0) for one in (0, 1)], constant_values=not grow)
            parts = [np.take(wide, np.arange(mask.shape[axis]) + offset, axis=axis) for offset in range(5)]
            mask = np.any(parts, axis=0) if grow else np.all(parts, axis=0)
    return mask


def fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask (h, w) with everything in it that background cannot reach from the picture's edge."""
    rows, starts, ends, names = find_regions(~np.pad(mask, 1), diagonal=False)
    outside = names == names[0]  # the first run lies along the edge that was added
    steps = np.zeros((mask.shape[0] + 2, mask.shape[1] + 3), np.int64)
    np.add.at(steps, (rows[outside], starts[outside]), 1)
    np.add.at(steps, (rows[outside], ends[outside]), -1)
    return np.asarray(steps.cumsum(axis=1)[1:-1, 1:-2] == 0)


def find_regions(mask: NDArray[np.bool_], diagonal: bool) -> tuple[NDArray[np.int64], ...]:
    """Return the runs of a mask (h, w) and what region each is of: row, start, end (excluded), number of the region.

    Args:
        mask: Of what.
        diagonal: Whether pixels that touch by a corner are of one region.
    """
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    leader = list(range(len(rows)))

    def find(run: int) -> int:
        while leader[run] != run:
            leader[run] = leader[leader[run]]
            run = leader[run]
        return run

    first_of_row = np.searchsorted(rows, np.arange(mask.shape[0] + 1)).tolist()
    begin, end, reach = starts.tolist(), ends.tolist(), int(diagonal)
    for row in range(1, mask.shape[0]):
        above, below = first_of_row[row - 1], first_of_row[row]
        while above < first_of_row[row] and below < first_of_row[row + 1]:
            if begin[above] < end[below] + reach and begin[below] < end[above] + reach:
                one, other = sorted((find(above), find(below)))
                leader[other] = one
            if end[above] < end[below]:
                above += 1
            else:
                below += 1
    names = np.asarray([find(run) for run in range(len(rows))], np.int64)
    return rows, starts, ends, names
