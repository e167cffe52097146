import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelnn.data.copies import image_digests, joined_groups
from edgelnn.data.splitting import SplitPlan, strata_of
from edgelnn.errors import DataError


def complete(labels, groups=None, *, validation=0.15, test=0.15, seed=0):
    plan = SplitPlan(validation, test, seed)
    parts = plan.complete({"train": labels}, range(len(labels)) if groups is None else groups, where="x")
    return {split: indices for split, (_, indices) in parts.items()}


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(3, 60), min_size=2, max_size=5),
    seed=st.integers(0, 2**31),
    validation=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
)
def test_every_example_is_in_one_split_and_every_class_in_each(counts, seed, validation, test):
    labels = np.repeat(np.arange(len(counts)), counts)
    parts = complete(labels, validation=validation, test=test, seed=seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    for split, share in (("val", validation), ("test", test)):
        held = np.bincount(labels[parts[split]], minlength=len(counts))
        assert held.min() >= 1
        # One more or less than the share, and never the last of a class.
        assert all(
            abs(number - share * count) <= 1 or number == count - 2 for number, count in zip(held, counts, strict=True)
        )
    assert np.bincount(labels[parts["train"]], minlength=len(counts)).min() >= 1


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 8), min_size=12, max_size=40), seed=st.integers(0, 1000))
def test_groups_are_never_torn(sizes, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = groups % 2
    parts = complete(labels, groups.tolist(), seed=seed)
    kept = [set(groups[indices].tolist()) for indices in parts.values()]
    assert not kept[0] & kept[1]
    assert not kept[0] & kept[2]
    assert not kept[1] & kept[2]


def test_the_draw_stays_what_it_is():
    """A run names its split by a seed: another draw for the same seed would make old runs unrepeatable."""
    parts = complete(np.tile([0, 1], 15), seed=7)
    assert parts["val"].tolist() == [16, 18, 19, 21]
    assert parts["test"].tolist() == [6, 20, 25, 29]


def test_multi_label_data_are_split_too():
    labels = np.random.default_rng(0).integers(0, 2, (200, 4))
    parts = complete(labels)
    assert [len(parts[split]) for split in ("train", "val", "test")] == pytest.approx([140, 30, 30], abs=4)
    for indices in parts.values():
        assert labels[indices].sum(axis=0).min() > 0


@pytest.mark.parametrize("seed", range(40))
def test_the_rarest_label_of_a_part_may_be_another(seed):
    labels = (np.random.default_rng(seed).random((60, 3)) < 0.25).astype(np.int64)
    parts = complete(labels, seed=seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(60))
    strata = strata_of(labels)
    for split in ("val", "test"):
        held = np.bincount(strata[parts[split]], minlength=4)
        wanted = np.maximum(1, np.rint(0.15 * np.bincount(strata, minlength=4)))
        assert np.abs(held - wanted).max() <= 1


def test_two_examples_are_too_few():
    with pytest.raises(DataError, match="x: class '1' has too few examples to be in train, val and test"):
        complete(np.array([0] * 10 + [1] * 2))


def test_copies_and_patients_are_joined_in_chains():
    # 0 and 1 are copies, 1 and 2 of one patient, 3 alone, 4 and 5 empty frames of two patients.
    groups = joined_groups([b"a", b"a", b"b", b"c", None, None], ["", "p", "p", "", "q", "r"])
    assert groups[0] == groups[1] == groups[2]
    assert len({groups[0], *groups[3:]}) == 4


def test_digests_tell_images_apart():
    images = np.zeros((4, 3, 3, 1), np.uint8)
    images[1, 0, 0] = 1
    images[2, 0, 0] = 1
    images[3, 0, 1] = 1
    empty, one, same, other = image_digests(images)
    assert empty is None
    assert one == same != other
