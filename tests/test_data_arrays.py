"""Your own npz files, among them ones made to do harm."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelnn import array_files
from edgelnn.array_files import as_pixels, read_npy, read_npz
from edgelnn.data import load_dataset
from edgelnn.errors import ConfigError, DataError, DataWarning


def images(count, shape=(6, 6), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def codes(count, classes=2):
    return np.arange(count) % classes


def medmnist_form(**changes):
    arrays = {
        f"{split}_{part}": images(count, seed=number) if part == "images" else codes(count)
        for number, (split, count) in enumerate({"train": 20, "val": 6, "test": 8}.items())
        for part in ("images", "labels")
    } | changes
    return {key: value for key, value in arrays.items() if value is not None}


def load(tmp_path, arrays, **options):
    np.savez(tmp_path / "own.npz", **arrays)
    return load_dataset(str(tmp_path / "own.npz"), **{"size": 6, **options})


def test_medmnist_form(tmp_path):
    dataset = load(tmp_path, medmnist_form())
    assert dataset.name == "own.npz"
    assert dataset.source == "file own.npz"
    assert dataset.task == "binary-class"
    assert dataset.class_names == ("0", "1")
    assert [len(dataset[split]) for split in ("train", "val", "test")] == [20, 6, 8]
    assert np.array_equal(dataset["val"].images[..., 0], medmnist_form()["val_images"])


def test_a_missing_val_is_taken_from_train(tmp_path):
    dataset = load(tmp_path, medmnist_form(val_images=None, val_labels=None))
    assert [np.bincount(dataset[split].labels).tolist() for split in ("train", "val", "test")] == [
        [8, 8],
        [2, 2],
        [4, 4],
    ]


def test_images_and_labels_alone_are_split(tmp_path):
    dataset = load(tmp_path, {"images": images(40), "labels": codes(40, 4)}, validation=0.2, test=0.2)
    assert dataset.task == "multi-class"
    assert [np.bincount(dataset[split].labels).tolist() for split in ("train", "val", "test")] == [
        [6] * 4,
        [2] * 4,
        [2] * 4,
    ]


def test_names_of_classes(tmp_path):
    names = np.array(["sick", "well"])
    dataset = load(tmp_path, medmnist_form(class_names=names), positive_class="sick")
    assert dataset.class_names == ("sick", "well")
    assert dataset.positive_class == 0


def test_patients_stay_together(tmp_path):
    patients = np.repeat(np.arange(12), 5)
    arrays = {"images": images(60), "labels": patients % 2, "groups": patients}
    dataset = load(tmp_path, arrays)
    patient_of = {image.tobytes(): patient for image, patient in zip(arrays["images"], patients, strict=True)}
    seen = {
        split: {patient_of[image.tobytes()] for image in dataset[split].images} for split in ("train", "val", "test")
    }
    assert [len(seen[split]) for split in ("train", "val", "test")] == [8, 2, 2]
    assert not seen["train"] & (seen["val"] | seen["test"])


def test_patients_with_both_classes(tmp_path):
    patients = np.repeat(np.arange(20), 4)
    dataset = load(tmp_path, {"images": images(80), "labels": np.tile([1, 1, 1, 0], 20), "groups": patients})
    assert [np.bincount(dataset[split].labels).tolist() for split in ("train", "val", "test")] == [
        [14, 42],
        [3, 9],
        [3, 9],
    ]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 6), (6, 6, 1)),
        ((6, 6, 1), (6, 6, 1)),
        ((6, 6, 3), (6, 6, 3)),
        ((6, 9), (6, 9, 1)),
        ((4, 6, 6), (4, 6, 6, 1)),
        ((4, 6, 6, 3), (4, 6, 6, 3)),
    ],
)
def test_shapes(tmp_path, shape, expected):
    assert load(tmp_path, {"images": images(20, shape), "labels": codes(20)}).image_shape == expected


def test_several_labels_an_image(tmp_path):
    labels = np.random.default_rng(0).integers(0, 2, (40, 3))
    dataset = load(tmp_path, {"images": images(40), "labels": labels, "class_names": np.array(["a", "b", "c"])})
    assert dataset.task == "multi-label"
    assert dataset["train"].labels.shape == (len(dataset["train"]), 3)
    assert dataset.class_names == ("a", "b", "c")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64, np.uint64])
def test_labels_of_any_type_that_are_whole(tmp_path, dtype):
    dataset = load(tmp_path, {"images": images(20), "labels": codes(20).astype(dtype)[:, None]})
    assert dataset["train"].labels.dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labels": np.where(np.arange(20) == 7, np.nan, codes(20))},
            r"a label is NaN or infinite \(the first is number 7\)",
        ),
        ({"labels": codes(20) + 0.5}, "got label 0.5; expected whole numbers"),
        ({"labels": codes(20) - 1}, "got labels from -1 to 0"),
        ({"labels": codes(20) + 1}, "no training image has label 0"),
        ({"labels": codes(20) * 1000}, "got a label 1000; expected codes 0, 1, 2, … without gaps"),
        ({"labels": codes(20) * 2**40}, "expected 0, 1, 2, … one code for each class"),
        ({"labels": np.zeros(20, int)}, r"has one class only \(0\)"),
        ({"labels": codes(19)}, "got 20 images and 19 labels"),
        ({"labels": codes(20).astype(str)}, "got labels of type <U.*expected whole numbers"),
        ({"labels": np.zeros((20, 0), int)}, "got labels without a column"),
        ({"labels": np.zeros((20, 2, 2), int)}, r"got labels of shape \(20, 2, 2\)"),
        (
            {"labels": np.eye(4, dtype=int)[codes(20, 4)]},
            r"these are classes; expected one code for each image: labels.argmax",
        ),
        (
            {"labels": np.stack([codes(20), np.ones(20, int), codes(20, 3) > 0], 1)},
            "label '1' is the same in every training image",
        ),
        ({"labels": np.stack([codes(20), codes(20, 3)], 1)}, "got label 2; a multi-label set has 0 and 1 only"),
        ({"images": images(20).astype(float) * np.nan}, "holds NaN or infinite pixels"),
        ({"images": images(20).astype(np.int16) - 1}, "holds pixels from -1 to"),
        ({"images": images(20).astype(np.uint16) * 257}, "choose a window"),
        ({"images": images(20) / 200}, "holds fractions up to 1.2"),
        ({"images": images(20).astype(complex)}, "holds complex128; expected pixels"),
        ({"images": images(20, (6,))}, r"got images of shape \(20, 6\)"),
        ({"images": images(20, (3, 6, 6))}, "looks like channels before pixels.*numpy.moveaxis"),
        ({"images": images(20, (6, 6, 6, 2))}, r"got images of shape \(20, 6, 6, 6, 2\)"),
        ({"images": images(0), "labels": codes(0)}, "images, is empty"),
        ({"images": np.uint8(3)}, "images, is empty"),
        ({"images": None}, "lacks images; it holds labels"),
        ({"class_names": np.array([1, 2])}, "class_names, is int64"),
        ({"class_names": np.array(["a"])}, "got 1 class names; the labels have 2 codes"),
        ({"class_names": np.array(["a", "a"])}, "two classes have one name"),
        ({"groups": np.arange(3)}, r"got groups int64 of shape \(3,\)"),
        ({"groups": np.zeros(20, int)}, "class '0' has too few examples"),
        ({"images": images(4), "labels": codes(4)}, "class '0' has too few examples"),
    ],
)
def test_data_that_cannot_be_learnt_from(tmp_path, changes, message):
    arrays = {"images": images(20), "labels": codes(20)} | changes
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, {key: value for key, value in arrays.items() if value is not None})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"test_images": None, "test_labels": None},
            r"holds train_images, .*expected images and labels, or train_images",
        ),
        ({"val_labels": None}, "lacks val_labels"),
        ({"val_images": images(6, (6, 7))}, "images of different shapes"),
        ({"test_labels": np.full(8, 2)}, "no training image has label 2"),
        ({"train_labels": np.zeros(20, int)}, "no training image has label 1"),
    ],
)
def test_splits_that_do_not_fit(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        load(tmp_path, medmnist_form(**changes))


def test_the_size_is_the_files(tmp_path):
    with pytest.raises(ConfigError, match=r"got size=28; .*npz holds images of 6x6 pixels\. Pass --set data\.size=6"):
        load(tmp_path, medmnist_form(), size=28)
    with pytest.raises(ConfigError, match=r"got channels=3; .* has 1"):
        load(tmp_path, medmnist_form(), channels=3)


def test_copies_in_given_splits_are_a_warning(tmp_path):
    arrays = medmnist_form()
    arrays["test_images"][3] = arrays["train_images"][5]
    with pytest.warns(DataWarning, match=r"1 picture is there in two splits.*train image 5 = .*test image 3"):
        assert len(load(tmp_path, arrays)["test"]) == 8
    arrays["test_images"][4] = arrays["train_images"][5]
    with pytest.warns(DataWarning) as caught:
        load(tmp_path, arrays)
    assert any("twice with different labels" in str(warning.message) for warning in caught)


def test_empty_frames_are_no_copies(tmp_path):
    arrays = medmnist_form()
    arrays["test_images"][:] = 0
    arrays["train_images"][0] = 0
    assert len(load(tmp_path, arrays)["test"]) == 8


# Pixels


def test_pixels_from_fractions_are_exact():
    pixels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(as_pixels(pixels / 255, "x"), pixels)
    assert np.array_equal(as_pixels((pixels / np.float32(255)).astype(np.float32), "x"), pixels)
    assert np.array_equal(as_pixels(pixels.astype(np.float64), "x"), pixels)
    assert np.array_equal(as_pixels(pixels.astype(np.int64), "x"), pixels)
    assert as_pixels(np.array([True, False]), "x").tolist() == [255, 0]


# Files made to do harm


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def header(shape, descr="|u1"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


class Harm:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was run')",))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("x.npy", npy(np.array([{1: 2}], dtype=object)))], "holds pickled Python objects, which could run code"),
        ([("x.npy", header((2**40,)))], "declares 1099511627904 bytes and stores 128: the file is damaged"),
        ([("x.npy", header((-1, 5)) + b"12345")], "declares the shape"),
        ([("x.npy", npy(images(3))[:-5])], "declares 236 bytes and stores 231"),
        ([("x.npy", npy(images(3)) + b"more")], "declares 236 bytes and stores 240"),
        ([("x.npy", b"nonsense")], "is damaged or not an array file"),
        ([("x.npy", npy(np.zeros(3, [("a", int)])))], "is a table with named fields"),
        ([("x.npy", b"\x93NUMPY\x03\x00" + npy(images(3))[8:])], "is an npy of version"),
        ([("x.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**20) + bytes(2**20))], "declares a header of 1048576"),
        ([("readme.txt", b"hello")], "holds something else than arrays"),
        ([("x.npy", pickle.dumps(Harm()))], "is damaged or not an array file"),
        ([(f"{number}.npy", b"") for number in range(1001)], "holds 1001 arrays; expected at most 1000"),
    ],
)
def test_hostile_members(tmp_path, members, message):
    path = zipped(tmp_path / "bad.npz", members)
    with pytest.raises(DataError, match=message) as caught:
        read_npz(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name(tmp_path):
    with pytest.raises(DataError, match="two of one name"):
        read_npz(zipped(tmp_path / "bad.npz", [("x.npy", npy(images(1))), ("x.npy", npy(images(2)))]))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packing_that_numpy_never_uses(tmp_path, method):
    with pytest.raises(DataError, match=r"packed in a way numpy\.savez never writes"):
        read_npz(zipped(tmp_path / "bad.npz", [("x.npy", npy(images(1)))], method))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as file:
        file.write(header((80 * 2**20,)))
        for _ in range(80):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**17
    with pytest.raises(DataError, match=r"unpacks \d+ bytes into 83886208: more than 400 times"):
        load_dataset(str(path))


def test_an_honest_file_larger_than_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "_free_memory_bytes", lambda: 1000)
    np.savez(tmp_path / "large.npz", images=images(100))
    with pytest.raises(DataError, match=r"needs 0\.0 GB of memory once unpacked; 0\.0 GB are free"):
        read_npz(tmp_path / "large.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", pickle.dumps(Harm()), npy(images(2)), b"\0" * 1000])
def test_files_that_are_no_npz(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz is damaged or not an array file"):
        load_dataset(str(tmp_path / "x.npz"))


def test_npz_cut_off_anywhere(tmp_path):
    np.savez_compressed(tmp_path / "whole.npz", **medmnist_form())
    whole = (tmp_path / "whole.npz").read_bytes()
    for end in range(0, len(whole), max(1, len(whole) // 40)):
        (tmp_path / "cut.npz").write_bytes(whole[:end])
        with pytest.raises(DataError):
            read_npz(tmp_path / "cut.npz")


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_npz_with_any_byte_changed_is_the_same_or_refused(tmp_path_factory, place, value):
    folder = tmp_path_factory.mktemp("bytes")
    arrays = {"images": images(6), "labels": codes(6)}
    np.savez_compressed(folder / "x.npz", **arrays)
    content = bytearray((folder / "x.npz").read_bytes())
    content[place % len(content)] = value
    (folder / "x.npz").write_bytes(content)
    try:
        read = read_npz(folder / "x.npz")
    except DataError:
        return
    assert all(np.array_equal(read[key], arrays[key]) for key in arrays if key in read)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged or not an array file"),
        (npy(images(3))[:-1], r"declares 236 bytes and stores 235: it is damaged"),
        (npy(images(3)) + b"x", r"declares 236 bytes and stores 237"),
        (npy(np.array([{}], dtype=object)), "holds pickled Python objects"),
        (pickle.dumps(Harm()), "is damaged or not an array file"),
    ],
)
def test_hostile_npy(tmp_path, content, message):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_npy(tmp_path / "x.npy")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_npz(tmp_path / "none.npz")
    with pytest.raises(DataError, match="is not a file"):
        read_npy(tmp_path)
    with pytest.raises(DataError, match="File name too long"):
        read_npy(tmp_path / ("x" * 300))
