import gzip
import struct

import numpy as np
import pytest

from edgelnn.data import load_dataset
from edgelnn.data.idx import read_idx
from edgelnn.errors import ConfigError, DataError


def idx(array, kind=8):
    head = bytes((0, 0, kind, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def write_set(folder, prefix, count, *, packed=False, dot=False, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    for part, array in (
        ("images-idx3", images(count, seed)),
        ("labels-idx1", (np.arange(count) % 10).astype(np.uint8)),
    ):
        name = f"{prefix}-{part}-ubyte"
        if dot:
            name = name.replace("-idx", ".idx")
        content = idx(array)
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dot", [False, True])
def test_train_and_test_files(tmp_path, packed, dot):
    write_set(tmp_path / "set", "train", 100, packed=packed, dot=dot)
    write_set(tmp_path / "set", "t10k", 20, packed=packed, dot=dot, seed=1)
    dataset = load_dataset(str(tmp_path / "set"))
    assert dataset.image_shape == (28, 28, 1)
    assert dataset.class_names == tuple("0123456789")
    assert [len(dataset[split]) for split in ("train", "val", "test")] == [80, 20, 20]
    assert np.array_equal(dataset["test"].images[..., 0], images(20, seed=1))


def test_one_set_alone_is_split_in_three(tmp_path):
    write_set(tmp_path / "set", "t10k", 100, packed=True)
    dataset = load_dataset(str(tmp_path / "set"), validation=0.1, test=0.2)
    assert [np.bincount(dataset[split].labels).tolist() for split in ("train", "val", "test")] == [
        [7] * 10,
        [1] * 10,
        [2] * 10,
    ]


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw"])
def test_mnist_by_name(tmp_path, folder):
    write_set(tmp_path / folder, "train", 100)
    dataset = load_dataset("mnist", root=tmp_path)
    assert dataset.name == "mnist"
    assert [len(dataset[split]) for split in ("train", "val", "test")] == [60, 20, 20]


@pytest.mark.parametrize("folder", ["fashionmnist", "fashion-mnist", "FashionMNIST/raw"])
def test_fashion_mnist_by_name(tmp_path, folder):
    write_set(tmp_path / folder, "train", 100)
    write_set(tmp_path / folder, "t10k", 20, seed=1)
    dataset = load_dataset("fashionmnist", root=tmp_path)
    assert dataset.class_names[5] == "sandal"
    assert dataset.licence == "MIT"


def test_a_set_that_is_nowhere(tmp_path):
    with pytest.raises(DataError, match=rf"MNIST .* is not in {tmp_path}.*a folder mnist there"):
        load_dataset("mnist", root=tmp_path)


def test_the_unpacked_file_is_taken_where_both_are_there(tmp_path):
    write_set(tmp_path / "set", "train", 100, seed=0)
    (tmp_path / "set" / "train-images-idx3-ubyte.gz").write_bytes(b"not read")
    assert len(load_dataset(str(tmp_path / "set"))["test"]) == 20


def test_size_is_the_files(tmp_path):
    write_set(tmp_path / "set", "train", 100)
    with pytest.raises(ConfigError, match=r"got size=64; .* holds images of 28x28 pixels\. Pass --set data\.size=28"):
        load_dataset(str(tmp_path / "set"), size=64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing; expected an IDX file of bytes with 3 axes"),
        (b"\x00\x00\x08\x01" + bytes(100), "begins with 00 00 08 01; expected"),
        (idx(images(1), kind=13), "begins with 00 00 0d 03"),
        (idx(images(2))[:-1], "declares 1568 bytes and holds only 1567"),
        (idx(images(2)) + b"x", "declares 1568 bytes and holds more"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "declares 79228162458924105385300197375 bytes; at most"),
        (b"\x89PNG\r\n\x1a\n", "begins with 89 50 4e 47"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files(tmp_path, content, message, packed):
    path = tmp_path / ("x.gz" if packed else "x")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"plain", gzip.compress(idx(images(3)), mtime=0)[:-20], gzip.compress(idx(images(3)), mtime=0)[:5]],
    ids=["not packed", "end cut off", "header cut off"],
)
def test_damaged_packing(tmp_path, content):
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.gz cannot be read \(.*\)\. Download it again"):
        read_idx(tmp_path / "x.gz", 3)


def test_a_packed_bomb_is_not_unpacked(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(images(1)) + bytes(2**26)))
    with pytest.raises(DataError, match="declares 784 bytes and holds more"):
        read_idx(tmp_path / "x.gz", 3)


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("train-labels-idx1-ubyte", "has .*train-images-idx3-ubyte alone"),
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte alone"),
    ],
)
def test_half_a_set(tmp_path, remove, message):
    write_set(tmp_path / "set", "train", 100)
    (tmp_path / "set" / remove).unlink()
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path / "set"))


def test_counts_that_disagree_and_two_sets_in_one_folder(tmp_path):
    write_set(tmp_path / "set", "train", 100)
    (tmp_path / "set" / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(99, np.uint8)))
    with pytest.raises(DataError, match="got 100 images and 99 labels"):
        load_dataset(str(tmp_path / "set"))
    write_set(tmp_path / "set", "emnist-digits-train", 10)
    with pytest.raises(DataError, match=r"several files of images: .*Give each set a folder of its own"):
        load_dataset(str(tmp_path / "set"))


def test_real_mnist(test_data):
    dataset = load_dataset("mnist", root=test_data)
    assert sum(len(split) for split in dataset.splits.values()) == 10000
    assert np.bincount(np.concatenate([split.labels for split in dataset.splits.values()])).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
