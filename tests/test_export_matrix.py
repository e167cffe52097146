"""Parity of every kind of stem, scan and head in every company, in both formats, float32 and int8."""

from __future__ import annotations

import copy
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from edgelnn.bundle import ModelFormat
from edgelnn.errors import ExportError
from edgelnn.models.backbone_facts import BACKBONES
from edgelnn_export.inspection import inspect_model
from edgelnn_export.making import LAYOUTS, Maker
from edgelnn_export.parity import answer, ask
from edgelnn_export.quantization import FORMATS, RECIPES, Candidate
from edgelnn_profiling.runtimes import load_runtime
from tests.model_matrix import build, image_shape, matrix, missing_kinds, name_of, pictures, preprocessing
from tests.pairwise import Case, pairwise_cases

FLOAT32 = 1e-6  # and four times what float32 costs torch itself
# The share of what images make of a difference in a probability, and what may be beside it.
INT8 = {"conv": (0.3, 0.01), "backbone": (1.0, 0.08)}
WORTHWHILE = 256  # numbers of a weight; smaller ones are left alone
RECIPES_OF_INTEGERS = ("static_wi8_ai8", "dynamic_wi8_afp32", "weight_only_wi8_afp32")
LOOPS = ("tflite", "size")  # ranges of values in loops cannot be found: Google's calibrator fails on them
FAST = 10


def cases() -> list[Any]:
    """The first cases, and the rest as slow ones."""
    return [
        pytest.param(case, id=name_of(case), marks=[] if index < FAST else pytest.mark.slow)
        for index, case in enumerate(matrix())
    ]


def test_every_kind_has_its_place_in_the_matrix() -> None:
    assert missing_kinds() == set()


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("case", cases())
def test_a_file_answers_as_the_model_does(case: Case, tmp_path: Any) -> None:
    model, shape = build(case), image_shape(case)
    images, pixels = pictures(shape, 6, seed=1), preprocessing(shape)
    with torch.no_grad():
        exact = copy.deepcopy(model).double()
        expected = exact.probabilities(torch.from_numpy(pixels(images, "channels_first")).double()).numpy()
    spread = float(np.ptp(expected, axis=0).max())
    rounding = float(np.abs(ask(model, images, pixels) - expected).max())
    share, least = INT8["backbone" if case["stem"]["kind"] in BACKBONES else "conv"]
    maker = Maker(model, pixels, pictures(shape, 16, seed=2), optimize=case["optimize"])
    for model_format in FORMATS:
        files = {"float32": maker.make(candidate(model_format, "float32")), "int8": int8(maker, model_format, case)}
        for precision, content in files.items():
            if content is None:
                continue
            file = tmp_path / f"model.{model_format}"
            file.write_bytes(content)
            runtime = load_runtime(file)
            one = answer(runtime, images, pixels, LAYOUTS[model_format])
            many = answer(runtime, images, pixels, LAYOUTS[model_format], batch=4)
            error = max(float(np.abs(found - expected).max()) for found in (one, many))
            tolerance = FLOAT32 + 4 * rounding if precision == "float32" else share * spread + least
            assert error <= tolerance, (model_format, precision, error, spread)


def candidate(model_format: ModelFormat, recipe: str) -> Candidate:
    return Candidate(model_format, RECIPES[recipe], required=True)


def int8(maker: Maker, model_format: ModelFormat, case: Case) -> bytes | None:
    """Return a file of integers, by the first recipe that finds anything to make integers of; None where none can."""
    reasons = []
    for recipe in RECIPES_OF_INTEGERS[2:] if (model_format, case["optimize"]) == LOOPS else RECIPES_OF_INTEGERS:
        try:
            content = maker.make(candidate(model_format, recipe))
        except ExportError as error:
            reasons.append(str(error))
            if "nothing" not in reasons[-1]:
                raise
        else:
            assert inspect_model(content).holds_integers
            return content
    assert max(weights.size for weights in maker.graph(model_format).constants.values()) < WORTHWHILE, reasons
    return None


def test_pairwise_cases_hold_every_legal_pair_once_at_least() -> None:
    factors = {"a": [1, 2, 3], "b": ["x", "y"], "c": [True, False], "d": ["p", "q", "r"]}

    def fits(case: Case) -> bool:
        return not (case.get("a") == 1 and case.get("b") == "y")

    chosen = pairwise_cases(factors, fits)
    held = {(m, case[m], n, case[n]) for case in chosen for m, n in combinations(factors, 2)}
    expected = {(m, x, n, y) for m, n in combinations(factors, 2) for x in factors[m] for y in factors[n]}
    assert held == expected - {("a", 1, "b", "y")}
    assert all(fits(case) for case in chosen)
    assert len(chosen) < 14
