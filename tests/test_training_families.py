"""The published systems among our experiments: found by name, the same architectures, their figures inside."""

from __future__ import annotations

import pytest

from edgelnn.errors import ConfigError
from edgelnn.training import list_experiments, load_experiment
from edgelnn.training.families import experiment_names, list_systems, named_table
from edgelnn.training.sizes import model_size
from tests.helpers import assert_one_clear_line, run_cli

REFERENCES = [name for name in experiment_names() if load_experiment(name).reference is not None]
COUNTED = [name for name in REFERENCES if load_experiment(name).reference.parameters is not None]


def test_every_published_system_has_its_models() -> None:
    systems = {system.name: system.experiments for system in list_systems()}
    assert list(systems) == ["brain-mri", "breast-lnn", "crnet-ncp", "medmnist3d-ltc", "mnist-reservoir"]
    assert systems["breast-lnn"] == ["safipatel-lnn", "safipatel-dnn"]
    meant = [name for name in systems["medmnist3d-ltc"] if not load_experiment(name).reference.as_published]
    assert len(meant) == 30
    assert len(systems["medmnist3d-ltc"]) - len(meant) == 5, "every LSTM and RNN is there twice"
    assert sorted(name for names in systems.values() for name in names) == sorted(REFERENCES)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_says_where_it_comes_from(name: str) -> None:
    experiment = load_experiment(name)
    reference = experiment.reference
    assert (experiment.name, reference.experiment) == (name, name)
    assert reference.title
    assert reference.protocol
    assert reference.model
    for entry in reference.published:
        assert any(figure is not None for figure in (entry.auc, entry.accuracy, entry.f1))


@pytest.mark.parametrize("name", COUNTED)
def test_the_architecture_has_exactly_the_published_number_of_parameters(name: str) -> None:
    experiment = load_experiment(name)
    size = model_size(experiment)
    assert size.parameters.trainable == experiment.reference.parameters
    assert 0 < size.parameters.active <= size.parameters.trainable <= size.parameters.stored


@pytest.mark.parametrize(
    ("name", "trainable"),
    [
        ("safipatel-lnn", 263_048),
        ("safipatel-dnn", 935_298),
        ("crnet-fc1", 549_986),
        ("crnet-y-ncp", 515_349),
        ("medmnist3d-liqexp3n2", 127_537),
        ("medmnist3d-cnnexp3n6", 59_405),
    ],
)
def test_counts_that_the_publications_are_known_by(name: str, trainable: int) -> None:
    assert model_size(load_experiment(name)).parameters.trainable == trainable


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in REFERENCES if name not in COUNTED])
def test_every_other_reference_builds(name: str, torchvision: object) -> None:
    parameters = model_size(load_experiment(name)).parameters
    assert 0 < parameters.active <= parameters.trainable <= parameters.stored


def test_experiments_are_found_by_what_they_are_and_counted_by_building() -> None:
    found = run_cli("experiments", "--grep", "autoncp(5, 1)", "--json").json
    assert [one["name"] for one in found] == ["medmnist3d-liqexp5n1"]
    assert found[0]["parameters"] == {"trainable": 9953, "stored": 11978, "active": 3473}
    assert found[0]["built_for"] == {"image_shape": [28, 28, 28, 1], "task": "binary-class", "classes": 2}
    assert (found[0]["system"], found[0]["model"]) == ("medmnist3d-ltc", "LiqExp5N1")
    names = [one["name"] for one in run_cli("experiments", "--grep", "crnet-y", "--json").json]
    assert names == ["crnet-y-ncp"]
    shown = run_cli("experiments", "--grep", "AutoNCP(5, 1)", "--parameters")
    assert "11,978" in shown.out
    assert "edgelnn train medmnist3d-liqexp5n1" in shown.last_line


def test_a_model_that_cannot_be_built_here_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(experiment: object) -> None:
        raise ConfigError("no torchvision here.")

    monkeypatch.setattr("edgelnn.training.sizes.model_size", fail)
    found = run_cli("experiments", "--grep", "vgg19", "--json").json
    assert (found[0]["parameters"], found[0]["not_counted"]) == (None, "no torchvision here.")


def test_a_dry_run_prints_a_member_whole() -> None:
    outcome = run_cli("train", "medmnist3d-liqexp4n2", "--dry-run")
    assert outcome.code == 0
    assert 'authors = "A. Seliverstov"' in outcome.out
    assert "learning_rate = 0.0005" in outcome.out
    assert "18,475 trainable" in outcome.err


def test_a_file_may_begin_with_one_of_ours(tmp_path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "medmnist3d-liqexp1n2"\n[head]\nunits = 30\n', "utf-8")
    mine, ours = load_experiment(tmp_path / "mine.toml"), load_experiment("medmnist3d-liqexp1n2")
    assert (mine.name, mine.head.units, mine.head.readout) == ("mine", 30, "mean")
    assert (mine.training, mine.stem, mine.reference) == (ours.training, ours.stem, ours.reference)
    (tmp_path / "other.toml").write_text('extends = "breastmnist"\n[head]\nkind = "dense"\nwidths = [8]\n', "utf-8")
    assert load_experiment(tmp_path / "other.toml").head.widths == [8]


@pytest.mark.parametrize(
    ("text", "words"),
    [("extends = 'brestmnist'", 'did you mean "breastmnist"'), ("extends = 3", "got 3; expected a name")],
)
def test_extending_what_is_not_there_is_one_line(text: str, words: str, tmp_path) -> None:
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    assert_one_clear_line(run_cli("train", tmp_path / "mine.toml", "--dry-run"), words, "extends")


def test_a_table_that_was_handed_out_can_be_changed() -> None:
    named_table("safipatel-lnn")["head"]["units"] = 1
    assert load_experiment("safipatel-lnn").head.units == 19


def test_listing_tells_the_publication() -> None:
    info = next(info for info in list_experiments() if info.name == "crnet-z-ncp")
    assert info.source == "H. Truong Minh, Recurrent heads on CRNet (thesis), 2022"
