import subprocess
import sys

import pytest

from edgelnn.data import list_datasets, load_dataset
from edgelnn.data.catalogue import dataset_info
from edgelnn.errors import ConfigError

SINGLE_DISEASES = {
    "phantoms": "malignant",
    "breastmnist": "malignant",
    "pneumoniamnist": "pneumonia",
    "nodulemnist3d": "malignant",
    "adrenalmnist3d": "hyperplasia",
    "vesselmnist3d": "aneurysm",
}


def test_all_medmnist_sets_are_known_in_every_published_size():
    medmnist = [info for info in list_datasets() if info.files]
    flat = [info for info in medmnist if not info.is_volume]
    volumes = [info for info in medmnist if info.is_volume]
    assert len(flat) == 12
    assert len(volumes) == 6
    assert {info.sizes for info in flat} == {(28, 64, 128, 224)}
    assert {info.sizes for info in volumes} == {(28, 64)}
    assert all(
        len(file.md5) == 32 and file.url.startswith("https://") for info in medmnist for file in info.files.values()
    )
    assert len({file.md5 for info in medmnist for file in info.files.values()}) == 12 * 4 + 6 * 2


def test_names_of_published_files():
    assert dataset_info("bloodmnist").files[28].name == "bloodmnist.npz"
    assert dataset_info("bloodmnist").files[224].name == "bloodmnist_224.npz"


def test_the_positive_class_is_the_disease():
    named = {
        info.name: info.class_names[info.positive_class] for info in list_datasets() if info.positive_class is not None
    }
    assert named == SINGLE_DISEASES
    assert dataset_info("breastmnist").positive_class == 0


@pytest.mark.parametrize(
    ("name", "task", "classes", "channels"),
    [
        ("chestmnist", "multi-label", 14, 1),
        ("retinamnist", "ordinal-regression", 5, 3),
        ("pathmnist", "multi-class", 9, 3),
        ("synapsemnist3d", "binary-class", 2, 1),
        ("organmnist3d", "multi-class", 11, 1),
        ("fashionmnist", "multi-class", 10, 1),
    ],
)
def test_facts(name, task, classes, channels):
    info = dataset_info(name)
    assert (info.task, info.classes, info.channels) == (task, classes, channels)


def test_counts_and_licences_are_medmnists():
    assert dict(dataset_info("breastmnist").splits) == {"train": 546, "val": 78, "test": 156}
    assert dataset_info("dermamnist").licence == "CC BY-NC 4.0"


@pytest.mark.parametrize(
    ("name", "meant"), [("brestmnist", "breastmnist"), ("BreastMNIST", "breastmnist"), ("phantom", "phantoms")]
)
def test_a_misspelt_name_is_met_with_the_right_one(name, meant):
    with pytest.raises(ConfigError, match=f"got dataset '{name}'.*did you mean.*{meant}"):
        load_dataset(name)


def test_the_data_room_loads_no_heavy_package():
    code = (
        "import sys, edgelnn.data, edgelnn.inputs; edgelnn.data.list_datasets(); edgelnn.data.load_dataset('phantoms');"
        "heavy = ('torch', 'medmnist', 'kornia', 'requests', 'sklearn', 'onnx', 'pydantic');"
        "print([name for name in heavy if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert run.stderr == ""
