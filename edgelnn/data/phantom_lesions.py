"""The lesions of phantoms: drawn as numbers, then as what they do to the brightness of the tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["MALIGNANT_SHARE", "Floats", "Lesion", "draw_lesions", "lesion_factor", "rise"]

Floats = NDArray[np.float64]

MALIGNANT_SHARE = 147 / 546
"""As in BreastMNIST's training split."""

NORMAL_SHARE = 0.22
"""Of all images, without a lesion; about as in the data BreastMNIST comes from."""


@dataclass(frozen=True)
class Lesion:
    """One lesion an image, as numbers; every field is ``(n, 1, 1)`` float64, `kinds` aside.

    Lengths are in parts of the image's side.

    Attributes:
        x, y: Centre.
        radius: Mean radius.
        tall: Height over width.
        tilt: Rotation in radians.
        lobes: ``(n, k)`` amplitudes of the outline's waves, from 2 around upwards.
        phases: ``(n, k)`` their phases.
        spikes: Length of the spicules, in radii.
        spike_phase, spike_count: Where and how many.
        edge: Width of the blurred margin.
        darkness: Share of the brightness that the lesion takes away; 0 for no lesion.
        behind: Brightness behind the lesion, added (enhancement) or taken away (shadow), as a share.
        rim: Brightness of the rim.
    """

    x: Floats
    y: Floats
    radius: Floats
    tall: Floats
    tilt: Floats
    lobes: Floats
    phases: Floats
    spikes: Floats
    spike_phase: Floats
    spike_count: Floats
    edge: Floats
    darkness: Floats
    behind: Floats
    rim: Floats


def draw_lesions(malignant: NDArray[np.bool_], difficulty: float, rng: np.random.Generator) -> Lesion:
    """Return one lesion for each image: ``malignant`` is ``(n,)`` bool, `difficulty` from 0 to 1."""
    n = len(malignant)
    bad = malignant[:, None, None].astype(np.float64)
    apart = 1 - 0.6 * difficulty

    def each(low: float, high: float) -> Floats:
        return rng.uniform(low, high, (n, 1, 1))

    def mixed(benign: Floats, wicked: Floats) -> Floats:
        """Return each image's own kind's value, drawn towards the middle of the two as difficulty grows."""
        middle = (benign + wicked) / 2
        return middle + apart * (np.where(bad > 0, wicked, benign) - middle)

    cyst = (each(0, 1) < 0.35) & (bad == 0)
    normal = (each(0, 1) < NORMAL_SHARE / (1 - MALIGNANT_SHARE)) & (bad == 0)
    waves = np.arange(2, 8)
    lobes = (
        rng.normal(0, 1, (n, len(waves))) / waves * mixed(np.full((n, 1, 1), 0.10), np.full((n, 1, 1), 0.55))[:, :, 0]
    )
    darkness = mixed(each(0.35, 0.7), each(0.65, 0.92)) * (1 - 0.3 * difficulty)
    darkness = np.where(cyst, np.maximum(darkness, 0.9 - 0.2 * difficulty), darkness)
    behind = mixed(np.where(cyst, each(0.3, 0.8), each(-0.15, 0.3)), -each(0.5, 0.95))
    return Lesion(
        x=each(0.25, 0.75),
        y=mixed(each(0.22, 0.55), each(0.28, 0.55)),
        radius=mixed(each(0.08, 0.2), each(0.13, 0.24)),
        tall=mixed(each(0.45, 0.85), each(0.75, 1.35)),
        tilt=each(-0.35, 0.35),
        lobes=lobes,
        phases=rng.uniform(0, 2 * np.pi, lobes.shape),
        spikes=mixed(each(0.0, 0.04), each(0.3, 0.8)),
        spike_phase=each(0, 2 * np.pi),
        spike_count=np.rint(each(5, 12)),
        edge=mixed(each(0.008, 0.02), each(0.02, 0.05)),
        darkness=np.where(normal, 0.0, darkness),
        behind=np.where(normal, 0.0, behind),
        rim=np.where(normal, 0.0, mixed(each(0.0, 0.35), each(0.0, 0.25))),
    )


def lesion_factor(lesion: Lesion, x: Floats, y: Floats, size: int) -> Floats:
    """Return what the lesions multiply the tissue's brightness by: ``(n, size, size)``, at positions x and y."""
    across, down = x - lesion.x, y - lesion.y
    cosine, sine = np.cos(lesion.tilt), np.sin(lesion.tilt)
    u = (cosine * across + sine * down) * np.sqrt(lesion.tall)
    v = (cosine * down - sine * across) / np.sqrt(lesion.tall)
    distance = np.hypot(u, v) + 1e-9
    # cos(k·angle + phase) as the real part of powers of e^(i·angle): no cosine per pixel and wave.
    turn = (u + 1j * v) / distance
    power = turn
    outline = np.ones_like(distance)
    for amplitude, phase in zip(lesion.lobes.T, lesion.phases.T, strict=True):
        power = power * turn
        outline += ((amplitude * np.exp(1j * phase))[:, None, None] * power).real
    # Spicules: sharp peaks around the outline, unevenly spaced and of uneven length.
    angle = np.angle(turn) * lesion.spike_count + lesion.spike_phase + 1.5 * turn.imag
    spike = np.abs(np.cos(angle / 2)) ** 6 * np.clip(1.6 * outline - 0.6, 0.15, 1.6)
    outline = np.maximum(outline, 0.35) + lesion.spikes * spike
    outside = distance - lesion.radius * outline
    edge = np.maximum(lesion.edge, 0.35 / size)
    inside = rise(-outside / edge)
    rim = np.exp(-(((outside - 1.5 * edge) / (1.5 * edge)) ** 2) / 2)
    half_width = lesion.radius / np.sqrt(lesion.tall)
    column = rise((half_width * 0.9 - np.abs(across)) / (0.25 * half_width)) * rise((down - 0.5 * lesion.radius) / 0.04)
    fading = np.exp(-np.maximum(down, 0) / 0.9)
    return cast(
        Floats,
        (1 - lesion.darkness * inside)
        * (1 + lesion.behind * column * fading * (1 - inside))
        * (1 + lesion.rim * rim * (1 - inside)),
    )


def rise(x: Floats) -> Floats:
    """Return the logistic step from 0 to 1."""
    step: Floats = 1 / (1 + np.exp(-np.clip(x, -40, 40)))
    return step
