import io
import os

import numpy as np
import pytest
from PIL import Image

from edgelnn.data import load_dataset
from edgelnn.errors import ConfigError, DataError


def picture(seed, mode="L", size=(12, 10)):
    """Return a picture with random content."""
    rng = np.random.default_rng(seed)
    width, height = size
    if mode == "L":
        return Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8))
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)


def save(folder, name, image):
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / name)
    return folder / name


@pytest.fixture
def tree(tmp_path):
    """A folder with two classes of ten pictures."""
    for label, name in enumerate(("benign", "malignant")):
        for number in range(10):
            save(tmp_path / "scans" / name, f"{number}.png", picture(100 * label + number))
    return tmp_path / "scans"


@pytest.fixture
def split_tree(tmp_path):
    """The same with folders for train and test."""
    for split, count in (("Training", 8), ("Testing", 3)):
        for label, name in enumerate(("glioma", "none", "other")):
            for number in range(count):
                save(
                    tmp_path / "mri" / split / name,
                    f"{number}.jpg",
                    picture(100 * label + number + 50 * (split == "Testing")),
                )
    return tmp_path / "mri"


def test_a_folder_of_classes(tree):
    steps = []
    dataset = load_dataset(str(tree), size=8, progress=lambda done, total: steps.append((done, total)))
    assert dataset.name == "scans"
    assert dataset.class_names == ("benign", "malignant")
    assert dataset.task == "binary-class"
    assert dataset.positive_class is None
    assert dataset.image_shape == (8, 8, 1)
    assert [np.bincount(dataset[split].labels).tolist() for split in ("train", "val", "test")] == [
        [6, 6],
        [2, 2],
        [2, 2],
    ]
    assert steps == [(done, 20) for done in range(1, 21)]
    assert str(tree) not in dataset.source
    assert load_dataset(str(tree), size=8, positive_class="malignant").positive_class == 1


def test_the_draw_is_seeded_and_nobody_is_in_two_splits(tree):
    one, same, other = (load_dataset(str(tree), size=8, split_seed=seed) for seed in (0, 0, 1))
    assert one.digest == same.digest != other.digest
    rows = [row.tobytes() for split in ("train", "val", "test") for row in one[split].images]
    assert len(rows) == len(set(rows)) == 20


def test_shares(tree):
    dataset = load_dataset(str(tree), size=8, validation=0.1, test=0.3)
    assert [len(dataset[split]) for split in ("train", "val", "test")] == [12, 2, 6]
    with pytest.raises(ConfigError, match=r"got validation=0\.6 and test=0\.5; nothing is left to train on"):
        load_dataset(str(tree), validation=0.6, test=0.5)
    with pytest.raises(ConfigError, match="got test=0; expected a share between 0 and 1"):
        load_dataset(str(tree), test=0)


def test_given_splits(split_tree):
    dataset = load_dataset(str(split_tree), size=8)
    assert dataset.task == "multi-class"
    assert [np.bincount(dataset[split].labels).tolist() for split in ("train", "val", "test")] == [
        [7] * 3,
        [1] * 3,
        [3] * 3,
    ]
    for name in ("glioma", "none", "other"):
        save(split_tree / "valid" / name, "a.png", picture(sum(map(ord, name))))
    dataset = load_dataset(str(split_tree), size=8)
    assert [len(dataset[split]) for split in ("train", "val", "test")] == [24, 3, 9]


def test_a_path_below_the_data_folder(tree, monkeypatch):
    monkeypatch.setenv("EDGELNN_DATA", str(tree.parent))
    assert load_dataset("scans", size=8).digest == load_dataset(str(tree), size=8).digest
    assert load_dataset("scans", size=8, root=tree.parent).name == "scans"


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("RGB", 3), ("CMYK", 3), ("RGBA", 3), ("P", 3), ("1", 1), ("LA", 1)]
)
def test_any_mode(tmp_path, mode, channels):
    for label, name in enumerate("ab"):
        for number in range(4):
            image = picture(10 * label + number, "RGB").convert(mode)
            save(tmp_path / name, f"{number}.{'tif' if mode == 'CMYK' else 'png'}", image)
    assert load_dataset(str(tmp_path), size=8).image_shape == (8, 8, channels)
    assert load_dataset(str(tmp_path), size=8, channels=1).image_shape == (8, 8, 1)
    assert load_dataset(str(tmp_path), size=8, channels=3).image_shape == (8, 8, 3)


def test_grey_pictures_saved_in_color_are_grey(tree):
    save(tree / "benign", "color.png", picture(5).convert("RGB"))
    assert load_dataset(str(tree), size=8).image_shape == (8, 8, 1)
    save(tree / "benign", "really.png", picture(5, "RGB"))
    assert load_dataset(str(tree), size=8).image_shape == (8, 8, 3)


def test_channels_are_one_or_three(tree):
    with pytest.raises(ConfigError, match="got channels=2; expected 1"):
        load_dataset(str(tree), channels=2)


def test_patients_in_inner_folders_stay_together(tmp_path):
    for label, name in enumerate("ab"):
        for patient in range(6):
            for number in range(5):
                save(
                    tmp_path / name / f"{name}{patient}", f"{number}.png", picture(1000 * label + 10 * patient + number)
                )
    dataset = load_dataset(str(tmp_path), size=10, split_seed=3)
    patient_of = {}
    for path in tmp_path.rglob("*.png"):
        image = np.asarray(Image.open(path).resize((10, 10), Image.Resampling.BICUBIC))
        patient_of[image.tobytes()] = path.parent.name
    seen = {
        split: {patient_of[image.tobytes()] for image in dataset[split].images} for split in ("train", "val", "test")
    }
    assert [len(seen[split]) for split in ("train", "val", "test")] == [8, 2, 2]
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["val"]
    assert not seen["val"] & seen["test"]


def test_copies_are_drawn_into_one_split(tmp_path):
    for label, name in enumerate("ab"):
        for number in range(4):
            for copy in range(5):
                save(tmp_path / name, f"{number}-{copy}.png", picture(10 * label + number))
    dataset = load_dataset(str(tmp_path), size=8)
    rows = {split: {image.tobytes() for image in dataset[split].images} for split in ("train", "val", "test")}
    assert not rows["train"] & rows["test"]
    assert not rows["train"] & rows["val"]


def test_a_picture_in_two_given_splits(split_tree):
    image = picture(77)
    save(split_tree / "Training" / "none", "x.png", image)
    save(split_tree / "Testing" / "none", "y.png", image)
    with pytest.raises(
        DataError, match=r"1 picture is there in two splits.*Training/none/x\.png = .*Testing/none/y\.png"
    ):
        load_dataset(str(split_tree))


def test_a_picture_in_two_classes(tree):
    save(tree / "benign", "x.png", picture(77))
    save(tree / "malignant", "x.png", picture(77))
    with pytest.raises(DataError, match=r"twice with different labels.*benign/x\.png = .*malignant/x\.png"):
        load_dataset(str(tree))


def test_masks_beside_their_images(tree):
    save(tree / "benign", "3_mask.png", picture(1))
    with pytest.raises(DataError, match=r"3_mask\.png looks like the mask of 3, and would be learnt as an image"):
        load_dataset(str(tree))


def write(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def bomb(width=20000, height=20000):
    """Return a PNG of a few bytes that declares a huge picture."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")


def truncated():
    file = io.BytesIO()
    picture(0, size=(50, 50)).save(file, "PNG")
    return file.getvalue()[:1500]


def animation():
    file = io.BytesIO()
    picture(0).save(file, "GIF", save_all=True, append_images=[picture(1), picture(2)])
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"", "a.png is empty"),
        ("a.png", b"hello", "a.png is not an image that can be read"),
        ("a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a.jpg is not an image that can be read"),
        ("a.png", truncated(), "a.png is damaged and cannot be decoded"),
        ("a.png", bomb(), "a.png declares"),
        ("a.png", bomb(8000, 8000), "a.png declares 8000x8000 pixels"),
        ("a.gif", animation(), "a.gif holds 3 images; expected one"),
        ("a.dcm", b"x", r"a.dcm is of a kind that is not read here \(.dcm\). Convert it to PNG"),
        ("a.nii.gz", b"x", "a.nii.gz is of a kind that is not read here"),
    ],
)
def test_a_hostile_file_is_named_in_one_line(tree, name, content, message):
    write(tree / "benign" / name, content)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(str(tree), size=8)
    assert "\n" not in str(caught.value)
    assert str(tree / "benign" / name) in str(caught.value)


def test_a_pipe_in_place_of_a_picture(tree):
    os.mkfifo(tree / "benign" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png is not a file"):
        load_dataset(str(tree))


def test_a_link_to_nowhere(tree):
    (tree / "benign" / "gone.png").symlink_to(tree / "nowhere.png")
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        load_dataset(str(tree))


def test_files_that_are_no_data_are_passed_over(tree):
    before = load_dataset(str(tree), size=8).digest
    for name in (
        "benign/.DS_Store",
        "benign/notes.txt",
        "benign/._1.png",
        "README.md",
        "__MACOSX/benign/1.png",
        ".git/x",
    ):
        write(tree / name)
    assert load_dataset(str(tree), size=8).digest == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root.mkdir(), "holds no folders; expected one folder for each class"),
        (
            lambda root: save(root / "only", "1.png", picture(0)),
            r"holds 1 class folders \(only\); expected at least two",
        ),
        (lambda root: [save(root / "a", "1.png", picture(0)), (root / "b").mkdir()], "b holds no images"),
        (lambda root: save(root / "train" / "a", "1.png", picture(0)), "expected at least train and test"),
        (
            lambda root: [save(root / s / "a", "1.png", picture(0)) for s in ("train", "test", "extra")],
            "and also extra",
        ),
        (lambda root: [save(root / s / "a", "1.png", picture(0)) for s in ("val", "valid")], "two folders for val"),
        (
            lambda root: [save(root / s, "1.png", picture(0)) for s in ("train/a", "train/b", "test/a", "test/c")],
            "class 'b' is in only one of train and test",
        ),
        (
            lambda root: [save(root / c, f"{i}.png", picture(i)) for i, c in enumerate("abb")],
            "class 'a' has too few examples",
        ),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(str(tmp_path / "data"))
    assert "\n" not in str(caught.value)


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(DataError, match=r"nowhere/at_all does not exist \(looked for"):
        load_dataset("nowhere/at_all")
    write(tmp_path / "one.png")
    with pytest.raises(DataError, match=r"one\.png is a single file; expected an \.npz file, or a folder"):
        load_dataset(str(tmp_path / "one.png"))
    with pytest.raises(DataError, match=r"cannot be a path: .*File name too long"):
        load_dataset("x" * 300 + ".npz")


def test_sixteen_bits(tmp_path):
    for label, name in enumerate("ab"):
        for number in range(4):
            values = np.random.default_rng(10 * label + number).integers(0, 65536, (8, 8)).astype(np.uint16)
            save(tmp_path / name, f"{number}.png", Image.fromarray(values))
    dataset = load_dataset(str(tmp_path), size=8)
    assert dataset.image_shape == (8, 8, 1)
    assert 100 < dataset["train"].images.mean() < 156


def test_twelve_bits_in_sixteen(tmp_path):
    for label, name in enumerate("ab"):
        for number in range(4):
            values = np.random.default_rng(10 * label + number).integers(0, 4096, (8, 8)).astype(np.uint16)
            save(tmp_path / name, f"{number}.png", Image.fromarray(values))
    with pytest.raises(DataError, match=r"16-bit images reach 4\d+ of 65535 only, and would be almost black"):
        load_dataset(str(tmp_path), size=8)


def test_a_photograph_taken_sideways(tmp_path):
    upright = Image.new("L", (4, 8), 0)
    upright.paste(255, (0, 0, 4, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    for name in "ab":
        for number in range(4):
            (tmp_path / name).mkdir(exist_ok=True)
            marked = upright.copy()
            marked.putpixel((number, 7), 40 if name == "a" else 80)
            marked.rotate(90, expand=True).save(tmp_path / name / f"{number}.png", exif=exif)
    image = load_dataset(str(tmp_path), size=8)["train"].images[0]
    assert image[:2].min() > 200
    assert image[3:].max() < 120


def test_real_brain_tumors(test_data):
    dataset = load_dataset("brain_tumor_mri", root=test_data, size=32, channels=1, positive_class="glioma")
    assert dataset.class_names == ("glioma", "meningioma", "notumor", "pituitary")
    assert [np.bincount(dataset[split].labels).tolist() for split in ("train", "val", "test")] == [
        [255] * 4,
        [45] * 4,
        [100] * 4,
    ]
    assert dataset.positive_class == 0


@pytest.mark.slow
@pytest.mark.parametrize(("size", "channels"), [(224, 3), (256, 1)])
def test_real_scans_load_in_the_size_and_colors_asked_for(test_data, size, channels):
    dataset = load_dataset(str(test_data / "brain_tumor_mri" / "Testing"), size=size, channels=channels)
    assert dataset.image_shape == (size, size, channels)
    assert dataset.class_names == ("glioma", "meningioma", "notumor", "pituitary")
    assert sum(map(len, dataset.splits.values())) == 400
