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
from edgelnn_export.graph import Graph
from edgelnn_export.inspection import inspect_model
from edgelnn_export.making import LAYOUTS, Maker
from edgelnn_export.parity import answer, ask
from edgelnn_export.quantization import FORMATS, RECIPES, Candidate
from edgelnn_profiling.runtimes import load_runtime
from tests.model_matrix import build, image_shape, matrix, missing_kinds, name_of, pictures, preprocessing
from tests.pairwise import Case, pairwise_cases

FLOAT32 = 2e-6  # and four times what float32 costs torch itself
WORTHWHILE = 256  # numbers of a weight; smaller ones are left alone
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
    images, pixels, of_file = pictures(shape, 6, seed=1), preprocessing(case), preprocessing(case, of_file=True)
    with torch.no_grad():
        exact = copy.deepcopy(model).double()
        expected = exact.probabilities(torch.from_numpy(pixels(images, "channels_first")).double()).numpy()
    spread = float(np.ptp(expected, axis=0).max())
    rounding = float(np.abs(ask(model, images, pixels) - expected).max())
    maker = Maker(model, of_file, pictures(shape, 16, seed=2), optimize=case["optimize"])
    for model_format in FORMATS:
        graph = maker.graph(model_format)
        for recipe in ("float32", "static_wi8_ai8", "weight_only_wi8_afp32"):
            try:
                content = maker.make(Candidate(model_format, RECIPES[recipe], required=True))
            except ExportError as error:
                if no_such_file(str(error), recipe, model_format, graph):
                    continue
                raise
            file = tmp_path / f"model.{model_format}"
            file.write_bytes(content)
            runtime = load_runtime(file)
            one = answer(runtime, images, of_file, LAYOUTS[model_format])
            many = answer(runtime, images, of_file, LAYOUTS[model_format], batch=4)
            error = max(float(np.abs(found - expected).max()) for found in (one, many))
            allowed = FLOAT32 + 4 * rounding if recipe == "float32" else int8_tolerance(recipe, case, spread)
            assert error <= allowed, (model_format, recipe, error, spread)
            assert inspect_model(content).holds_integers or recipe == "float32"


def no_such_file(reason: str, recipe: str, model_format: ModelFormat, graph: Graph) -> bool:
    """Return whether there is a reason for a graph to have no file by a recipe, and it is the one that was given."""
    loops = model_format == "tflite" and any(node.op == "loop" for node in graph.nodes)
    if recipe == "static_wi8_ai8" and loops:
        return True  # Google's calibrator finds no ranges where there are loops
    small = max(weights.size for weights in graph.constants.values()) < WORTHWHILE
    return "nothing" in reason and recipe != "float32" and (small or recipe == "static_wi8_ai8")


def int8_tolerance(recipe: str, case: Case, spread: float) -> float:
    """Return by how much a probability may differ.

    What rounding does to a random recurrence of synapses, or to a hundred random layers, says nothing; there the files
    have to run and to give probabilities. An export judges them by what they lose on validation.
    """
    deep, head = case["stem"]["kind"] in BACKBONES, case["head"]["kind"]
    if recipe == "static_wi8_ai8":
        return 0.3 * spread + 0.01 if head == "dense" and not deep else 1.0
    return 1.0 if deep or head == "ltc" else 0.1 * spread + 0.05


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
