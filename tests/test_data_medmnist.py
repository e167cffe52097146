"""MedMNIST through its official files: stand-ins with MD5 sums of their own, and the real ones where they are."""

import hashlib
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from edgelnn.data import catalogue, load_dataset, medmnist_files
from edgelnn.data.catalogue import OfficialFile
from edgelnn.errors import ConfigError, DataError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder without data, and no data anywhere else."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGELNN_DATA", raising=False)
    return tmp_path / "home"


def write_official(monkeypatch, folder, name, *, size=28, labels=None, shape=None, counts=(20, 8, 8)):
    """Write an npz with the keys and shapes of a MedMNIST set, and make its MD5 sum the official one."""
    info = catalogue.dataset_info(name)
    rng = np.random.default_rng(0)
    space = (size,) * (3 if info.is_volume else 2) + ((3,) if info.channels == 3 else ())
    arrays = {}
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, *(shape or space)), dtype=np.uint8)
        codes = np.arange(count)[:, None] % info.classes
        if info.task == "multi-label":
            codes = rng.integers(0, 2, (count, info.classes))
        arrays[f"{split}_labels"] = np.asarray(codes if labels is None else labels(count), np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / info.files[size].name
    np.savez_compressed(path, **arrays)
    official = OfficialFile(path.name, "http://127.0.0.1:9/" + path.name, hashlib.md5(path.read_bytes()).hexdigest())
    known = replace(info, files={**info.files, size: official})
    monkeypatch.setitem(catalogue._medmnist_sets(), name, known)
    return path


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("breastmnist", 28, (28, 28, 1)),
        ("breastmnist", 64, (64, 64, 1)),
        ("bloodmnist", 28, (28, 28, 3)),
        ("chestmnist", 28, (28, 28, 1)),
        ("retinamnist", 28, (28, 28, 3)),
        ("nodulemnist3d", 28, (28, 28, 28, 1)),
        ("organmnist3d", 28, (28, 28, 28, 1)),
    ],
)
def test_every_kind_of_set_loads(home, tmp_path, monkeypatch, name, size, shape):
    write_official(monkeypatch, tmp_path / "data", name, size=size)
    info = catalogue.dataset_info(name)
    dataset = load_dataset(name, size=size, root=tmp_path / "data", download=False)
    assert dataset.image_shape == shape
    assert dataset.is_volume == info.is_volume
    assert dataset.task == info.task
    assert dataset.class_names == info.class_names
    assert dataset.positive_class == info.positive_class
    assert [len(dataset[split]) for split in ("train", "val", "test")] == [20, 8, 8]
    assert dataset["train"].images.dtype == np.uint8
    labels = dataset["train"].labels
    assert labels.dtype == np.int64
    assert labels.shape == ((20, info.classes) if info.task == "multi-label" else (20,))
    assert dataset.source == info.files[size].url
    assert not dataset.synthetic


def test_all_eighteen_sets_load(home, tmp_path, monkeypatch):
    names = list(catalogue._medmnist_sets())
    assert len(names) == 18
    for name in names:
        write_official(monkeypatch, tmp_path / "data", name, counts=(24, 12, 12))
        dataset = load_dataset(name, root=tmp_path / "data", download=False)
        assert len(dataset.class_names) == catalogue.dataset_info(name).classes
        assert dataset.is_volume == name.endswith("3d")


def test_folders_are_searched_in_order(home, tmp_path, monkeypatch):
    written = write_official(monkeypatch, home / ".medmnist", "breastmnist")
    assert load_dataset("breastmnist", download=False).name == "breastmnist"
    monkeypatch.setenv("EDGELNN_DATA", str(tmp_path / "second"))
    shutil.move(written, (tmp_path / "second").mkdir() or tmp_path / "second" / written.name)
    assert load_dataset("breastmnist", root=tmp_path / "first", download=False).name == "breastmnist"
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / written.name).write_bytes(b"another")
    with pytest.raises(DataError, match=r"first/breastmnist\.npz is not the official file"):
        load_dataset("breastmnist", root=tmp_path / "first", download=False)


def test_a_missing_file_is_named_with_its_address(home, tmp_path):
    with pytest.raises(
        DataError, match=r"breastmnist_64\.npz is in none of .*here, .*\.medmnist.*Download it from https://zenodo"
    ):
        load_dataset("breastmnist", size=64, root=tmp_path / "here", download=False)


@pytest.mark.parametrize(
    ("name", "size", "sizes"), [("breastmnist", 100, "28, 64, 128, 224"), ("nodulemnist3d", 128, "28, 64")]
)
def test_a_size_that_is_not_published(home, name, size, sizes):
    with pytest.raises(ConfigError, match=rf"got size={size}; {name} comes in {sizes}\. Pass --set data\.size=28"):
        load_dataset(name, size=size)


def test_a_truncated_official_file(home, tmp_path, monkeypatch):
    path = write_official(monkeypatch, tmp_path, "breastmnist")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"is not the official file.*truncated, or changed\. Delete it"):
        load_dataset("breastmnist", root=tmp_path)


def test_a_folder_in_place_of_the_file(home, tmp_path):
    (tmp_path / "breastmnist.npz").mkdir()
    with pytest.raises(DataError, match="is not a file"):
        load_dataset("breastmnist", root=tmp_path)


def test_a_changed_copy_can_be_used_by_its_path(home, tmp_path, monkeypatch):
    path = write_official(monkeypatch, tmp_path, "breastmnist")
    arrays = dict(np.load(path))
    np.savez(path, **{key: value[:10] if key.startswith("train") else value for key, value in arrays.items()})
    with pytest.raises(DataError, match="if it is your own data, give its path"):
        load_dataset("breastmnist", root=tmp_path)
    own = load_dataset(str(path))
    assert own.name == "breastmnist.npz"
    assert own.class_names == ("0", "1")
    assert own.positive_class is None
    assert len(own["train"]) == 10


def test_the_path_of_the_official_file_means_the_set(home, tmp_path, monkeypatch):
    path = write_official(monkeypatch, tmp_path, "breastmnist")
    by_path, by_name = load_dataset(str(path)), load_dataset("breastmnist", root=tmp_path)
    assert by_path.class_names == by_name.class_names == ("malignant", "normal, benign")
    assert by_path.digest == by_name.digest
    assert by_path.positive_class == 0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda n: np.full((n, 1), 2), "got label 2; expected 0..1"),
        (lambda n: np.zeros((n, 1)), r"no training image has label 1 \(normal, benign\)"),
        (lambda n: np.zeros((n + 1, 1)), "got 20 images and 21 labels"),
        (lambda n: np.zeros((n, 2)), r"got labels of shape \(20, 2\)"),
    ],
)
def test_wrong_labels_in_a_set(home, tmp_path, monkeypatch, labels, message):
    write_official(monkeypatch, tmp_path, "breastmnist", labels=labels)
    with pytest.raises(DataError, match=message):
        load_dataset("breastmnist", root=tmp_path)


def test_wrong_shapes_in_a_set(home, tmp_path, monkeypatch):
    write_official(monkeypatch, tmp_path, "breastmnist", shape=(28, 28, 2))
    with pytest.raises(DataError, match=r"got images of shape \(20, 28, 28, 2\)"):
        load_dataset("breastmnist", root=tmp_path)


def test_an_empty_split(home, tmp_path, monkeypatch):
    write_official(monkeypatch, tmp_path, "breastmnist", counts=(20, 0, 8))
    with pytest.raises(DataError, match="breastmnist, val is empty"):
        load_dataset("breastmnist", root=tmp_path)


def test_positive_class_by_name_or_code(home, tmp_path, monkeypatch):
    write_official(monkeypatch, tmp_path, "breastmnist")
    assert load_dataset("breastmnist", root=tmp_path, positive_class="Normal, benign").positive_class == 1
    assert load_dataset("breastmnist", root=tmp_path, positive_class="0").positive_class == 0
    with pytest.raises(ConfigError, match="got positive_class='cancer'; expected one of 'malignant', 'normal, benign'"):
        load_dataset("breastmnist", root=tmp_path, positive_class="cancer")
    with pytest.raises(ConfigError, match="every label is its own"):
        load_dataset("chestmnist", root=tmp_path, positive_class="mass")
    with pytest.raises(ConfigError, match="got channels=3; breastmnist has 1"):
        load_dataset("breastmnist", root=tmp_path, channels=3)


def test_no_permission(home, monkeypatch, unprivileged_folder):
    path = write_official(monkeypatch, unprivileged_folder, "breastmnist")
    path.chmod(0)
    load_dataset("phantoms")  # everything is imported before rights are dropped
    os.seteuid(65534)
    with pytest.raises(DataError, match=r"breastmnist\.npz cannot be read: Permission denied"):
        load_dataset("breastmnist", root=unprivileged_folder)


@pytest.fixture
def unprivileged_folder(tmp_path_factory):
    """A folder that others may enter, for tests that give up root's rights; they are taken back afterwards."""
    import tempfile
    from pathlib import Path

    if os.geteuid() != 0:
        pytest.skip("needs root, to become a user without rights")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def test_official_files_are_not_bound_by_how_well_they_pack(home, tmp_path, monkeypatch):
    monkeypatch.setattr("edgelnn.array_files.RATIO_MATTERS_BYTES", 0)
    monkeypatch.setattr("edgelnn.array_files.MAX_RATIO", 1)
    path = write_official(monkeypatch, tmp_path, "breastmnist", labels=lambda n: np.arange(n)[:, None] % 2)
    assert len(load_dataset("breastmnist", root=tmp_path)["train"]) == 20
    shutil.copy(path, tmp_path / "mine.npz")
    with pytest.raises(DataError, match="more than 1 times"):
        load_dataset(str(tmp_path / "mine.npz"))


def test_digest_depends_on_every_byte(home, tmp_path, monkeypatch):
    write_official(monkeypatch, tmp_path, "breastmnist")
    one = load_dataset("breastmnist", root=tmp_path)
    write_official(monkeypatch, tmp_path, "breastmnist")
    assert load_dataset("breastmnist", root=tmp_path).digest == one.digest
    path = write_official(monkeypatch, tmp_path, "breastmnist", labels=lambda n: (np.arange(n)[:, None] + 1) % 2)
    assert path.exists()
    assert load_dataset("breastmnist", root=tmp_path).digest != one.digest


def test_real_breastmnist(test_data):
    dataset = load_dataset("breastmnist", root=test_data, download=False)
    assert dataset.image_shape == (28, 28, 1)
    assert [np.bincount(dataset[split].labels).tolist() for split in ("train", "val", "test")] == [
        [147, 399],
        [21, 57],
        [42, 114],
    ]
    assert dataset.class_names[dataset.positive_class] == "malignant"
    assert dataset.licence == "CC BY 4.0"
    assert dataset.digest.startswith("836e13fa")


def test_real_adrenalmnist3d(test_data):
    dataset = load_dataset("adrenalmnist3d", root=test_data, download=False)
    assert dataset.image_shape == (28, 28, 28, 1)
    assert [len(dataset[split]) for split in ("train", "val", "test")] == [1188, 98, 298]
    assert dataset.class_names[dataset.positive_class] == "hyperplasia"


def test_found_files_are_looked_for_where_medmnist_keeps_them(home):
    assert medmnist_files.data_folders(None) == (home / ".medmnist",)
