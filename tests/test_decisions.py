"""One probability a class, and what is decided from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelnn.decisions import class_probabilities, decide


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_one_number_of_a_binary_sigmoid_becomes_two_that_sum_to_one(values: list[float]) -> None:
    both = class_probabilities(np.array(values, np.float32)[:, None], "sigmoid", 2)
    assert both.shape == (len(values), 2)
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both[:, 1], np.array(values, np.float32))
    np.testing.assert_allclose(both.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize(("kind", "classes"), [("softmax", 2), ("softmax", 4), ("sigmoid", 2), ("sigmoid", 3)])
def test_what_has_one_column_a_class_is_left_as_it_is(kind: str, classes: int) -> None:
    probabilities = np.full((5, classes), 0.25)
    assert class_probabilities(probabilities, kind, classes) is probabilities


@given(st.floats(0, 1), st.sampled_from([0, 1]), st.floats(0.05, 0.95))
def test_a_higher_threshold_never_finds_the_disease_more_often(p: float, positive: int, threshold: float) -> None:
    row = np.array([[1 - p, p]])
    decided = decide(row, task="binary-class", positive_class=positive, threshold=threshold)
    assert decided.sum() == 1
    stricter = decide(row, task="binary-class", positive_class=positive, threshold=threshold + 0.04)
    assert stricter[0, positive] <= decided[0, positive]


def test_the_largest_of_many_and_every_label_above_the_threshold() -> None:
    rows = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    assert decide(rows, task="multi-class", positive_class=None).tolist() == [
        [False, True, False],
        [True, False, False],
    ]
    labels = decide(np.array([[0.2, 0.5, 0.9]]), task="multi-label", positive_class=None, threshold=0.4)
    assert labels.tolist() == [[False, True, True]]
