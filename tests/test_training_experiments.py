from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edgelnn.errors import ConfigError
from edgelnn.training import Experiment, format_experiment, list_experiments, load_experiment
from edgelnn.training.mistakes import explain
from edgelnn.training.overrides import parse_overrides
from edgelnn.training.sizes import model_size

NAMES = [info.name for info in list_experiments()]


def test_the_default_stands_first_and_is_a_cfc_on_breastmnist():
    assert NAMES[0] == "breastmnist"
    experiment = load_experiment(None)
    assert (experiment.data.name, experiment.head.kind) == ("breastmnist", "cfc")
    assert {"breastmnist", "adrenalmnist3d-ltc", "phantoms", "safipatel-lnn", "cnn-24k", "lstm", "gru"} <= set(NAMES)


def test_every_named_experiment_survives_toml(tmp_path):
    for name in NAMES:
        experiment = load_experiment(name)
        assert experiment.name == name
        assert experiment.summary.endswith(".")
        (tmp_path / "again.toml").write_text(format_experiment(experiment), "utf-8")
        assert load_experiment(tmp_path / "again.toml") == experiment


@pytest.mark.parametrize(
    ("name", "trainable"), [("cnn-24k", range(22_000, 26_001)), ("breastmnist", range(60_000)), ("gru", range(60_000))]
)
def test_parameter_counts_are_as_promised(name, trainable):
    size = model_size(load_experiment(name))
    assert size.parameters.trainable in trainable
    assert 0 < size.parameters.active <= size.parameters.trainable


def test_an_experiment_is_found_in_the_folder_of_a_run(tmp_path):
    (tmp_path / "experiment.toml").write_text(format_experiment(load_experiment("gru")), "utf-8")
    assert load_experiment(tmp_path) == load_experiment("gru")


def test_a_file_without_a_name_is_called_by_its_own(tmp_path):
    (tmp_path / "mine.toml").write_text("[training]\nepochs = 3\n", "utf-8")
    assert load_experiment(tmp_path / "mine.toml").name == "mine"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("brestmnist", 'did you mean "breastmnist"\\?'),
        ("nothing-like-it", "one of our names. `edgelnn experiments` lists them"),
        ("missing.toml", "expected a .toml file that exists"),
    ],
)
def test_an_unknown_experiment_lists_the_known_ones(given, words):
    with pytest.raises(ConfigError, match=words):
        load_experiment(given)


def test_files_that_are_not_toml_or_text_are_refused(tmp_path):
    (tmp_path / "a.toml").write_text("head = = 3", "utf-8")
    with pytest.raises(ConfigError, match=r"a\.toml: not TOML: .*line 1"):
        load_experiment(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="it is not UTF-8 text"):
        load_experiment(tmp_path / "b.toml")
    (tmp_path / "c.toml").write_text("name = " + "[" * 100_000, "utf-8")
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_experiment(tmp_path / "c.toml")


@pytest.mark.parametrize("name", ["../away", "a/b", "a\\b", "a\0b", "a\nb", "..", " ", "x" * 201])
def test_a_name_is_one_that_a_folder_can_have(name):
    with pytest.raises(ValidationError, match="a name that a folder can have"):
        Experiment.model_validate({"name": name})


MISTAKES = [
    ({"head": {"kind": "cfc", "units": "a"}}, 'head.units: got "a"; expected a whole number from 1 to 4096 or a list'),
    (
        {"head": {"kind": "cfcc"}},
        'head.kind: got "cfcc"; expected one of dense, cfc, ltc, lstm, gru, rnn, reservoir; did you mean "cfc"?',
    ),
    ({"head": {}}, "head.kind: missing; expected one of dense, cfc, ltc, lstm, gru, rnn, reservoir."),
    ({"head": 3}, "head: got 3; expected a table with kind = one of dense, cfc, ltc, lstm, gru, rnn, reservoir."),
    ({"head": {"kind": "cfc", "units": [0]}}, "head.units.0: got 0; expected a whole number from 1 to 4096."),
    ({"head": {"kind": "cfc", "unit": 3}}, 'head.unit: no such field; did you mean "units"?'),
    ({"scan": {"kind": "chunks"}}, "scan.steps: missing; expected a whole number from 1 to 4096."),
    ({"stem": {"kind": "conv", "layers": []}}, "stem.layers: got []; expected a list of at least 1"),
    (
        {"stem": {"kind": "conv", "layers": [{"channels": 3, "kernal": 3}]}},
        'stem.layers.0.kernal: no such field; did you mean "kernel"?',
    ),
    (
        {"training": {"class_weights": "balance"}},
        "one of none, balanced or a list (each a number above 0); did you mean",
    ),
    ({"training": {"class_weights": [0.0]}}, "training.class_weights.0: got 0.0; expected a number above 0."),
    ({"training": {"schedule": {"kind": "cos"}}}, 'training.schedule.kind: got "cos"; expected one of constant, step,'),
    ({"training": {"learning_rate": float("nan")}}, "training.learning_rate: got NaN; expected a number above 0"),
    ({"training": {"epochs": 1.5}}, "training.epochs: got 1.5; expected a whole number from 1 to 100000."),
    ({"training": {"epochs": True}}, "training.epochs: got true; expected a whole number from 1 to 100000."),
    ({"training": {"augment": 1}}, "training.augment: got 1; expected true or false or a table of fields."),
    ({"training": {"lr": 1}}, 'training.lr: no such field; did you mean "learning_rate"?'),
    ({"trainin": {}}, 'trainin: no such field; did you mean "training"?'),
    ({"data": {"channels": 2}}, "data.channels: got 2; expected one of 1, 3."),
]


@pytest.mark.parametrize(("values", "line"), MISTAKES, ids=[line.partition(":")[0] for _, line in MISTAKES])
def test_a_mistake_names_field_value_and_what_is_allowed_in_one_line(values, line):
    with pytest.raises(ValidationError) as caught:
        Experiment.model_validate(values)
    said = str(explain(caught.value, Experiment, values))
    assert line in said
    assert len(said.splitlines()) == 1


def test_every_mistake_has_its_line(tmp_path):
    (tmp_path / "e.toml").write_text('training = { epochs = 0, optimizer = "addam" }\n[head]\nkind = "ltc"\nfoo = 1\n')
    with pytest.raises(ConfigError) as caught:
        load_experiment(tmp_path / "e.toml")
    lines = str(caught.value).splitlines()
    assert [line.removeprefix(f"{tmp_path / 'e.toml'}: ").partition(":")[0] for line in lines] == [
        "head.foo",
        "training.epochs",
        "training.optimizer",
    ]


def test_overrides_are_toml_and_bare_texts():
    texts = [
        "a=1",
        "b=1e-3",
        "c=.5",
        "d=cfc",
        'e="1"',
        "f=[1, 2]",
        "g=true",
        "h=False",
        "i={kind = 'x'}",
        "j=a=b",
        "k=",
    ]
    values = [override.value for override in parse_overrides(texts)]
    assert values == [1, 1e-3, 0.5, "cfc", "1", [1, 2], True, False, {"kind": "x"}, "a=b", ""]


@pytest.mark.parametrize("text", ["units", "=3", "head.=3", "head..units=3"])
def test_an_override_without_a_field_or_value_is_refused(text):
    with pytest.raises(ConfigError, match=r"expected FIELD=VALUE, such as head\.units=24"):
        load_experiment(None, [text])


def test_overrides_reach_every_kind_of_field():
    experiment = load_experiment(
        None,
        [
            "head.units=24",
            "training.learning_rate=1e-4",
            "training.schedule.kind=one_cycle",
            "stem.layers.1.channels=8",
            "training.class_weights=[1, 2.5]",
            "data.positive_class=malignant",
            "data.name=my data/set.npz",
        ],
    )
    assert experiment.head.units == 24
    assert experiment.training.learning_rate == 1e-4
    assert experiment.training.schedule.kind == "one_cycle"
    assert experiment.stem.layers[1].channels == 8
    assert experiment.training.class_weights == [1, 2.5]
    assert experiment.data.positive_class == "malignant"
    assert experiment.data.name == "my data/set.npz"


def test_a_number_is_a_text_where_a_text_is_wanted():
    """The classes of digit sets are called 0 to 9."""
    assert load_experiment(None, ["data.positive_class=3"]).data.positive_class == "3"


@pytest.mark.parametrize("kind", ["dense", "ltc", "lstm", "gru", "rnn", "reservoir", "cfc"])
def test_a_change_of_kind_keeps_what_fits_and_drops_the_rest(kind):
    experiment = load_experiment("breastmnist", [f"head.kind={kind}"])
    assert experiment.head.kind == kind
    assert experiment.head.readout == load_experiment("breastmnist").head.readout
    assert experiment.stem == load_experiment("breastmnist").stem


def test_a_value_that_does_not_fit_the_new_kind_is_dropped_but_one_that_was_asked_for_is_not():
    stacked = ["head.units=[14, 8]", "head.mode=pure"]
    with pytest.raises(ConfigError, match=r"head\.units: got \[14, 8\]"):
        load_experiment("breastmnist", [*stacked, "head.kind=reservoir"])
    with pytest.raises(ConfigError, match=r"head\.mode: no such field"):
        load_experiment("breastmnist", ["head.mode=pure", "head.kind=lstm"])


def test_a_section_of_another_kind_is_found_in_a_file(tmp_path):
    (tmp_path / "e.toml").write_text('[head]\nkind = "cfc"\nunits = [14, 8]\nwiring = "none"\nmode = "pure"\n')
    experiment = load_experiment(tmp_path / "e.toml", ["head.kind=reservoir"])
    assert (experiment.head.kind, experiment.head.units) == ("reservoir", 1000)
    assert load_experiment(tmp_path / "e.toml", ["head.kind=lstm"]).head.units == [14, 8]
    assert load_experiment(tmp_path / "e.toml", ["head.kind=ltc"]).head.wiring == "auto"


def test_a_wrong_file_is_not_mended_by_naming_the_kind_it_has(tmp_path):
    (tmp_path / "e.toml").write_text('[head]\nkind = "cfc"\nunitss = 3\n')
    with pytest.raises(ConfigError, match=r"head\.unitss: no such field"):
        load_experiment(tmp_path / "e.toml", ["head.kind=cfc"])


def test_a_section_without_a_kind_is_of_the_default_one(tmp_path):
    (tmp_path / "e.toml").write_text("[head]\nunits = 9\n")
    assert load_experiment(tmp_path / "e.toml").head.kind == "cfc"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stem.layers.9.channels=8", r'stem\.layers: got item "9"; the list has items 0 to'),
        ("training.epochs.a=3", r"training\.epochs is \d+, not a table"),
        ("training.augment=yes", r'training\.augment: got "yes"; expected true or false'),
        ("scan.kind=chunks", r"scan\.steps: missing"),
        ("head=4", r"head: got 4; expected a table"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(override, words):
    with pytest.raises(ConfigError, match=words):
        load_experiment("breastmnist", [override])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "units", "layers", "x"]), inner)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["head", "stem", "scan", "training", "data", "nme"]), JSON, max_size=3))
@settings(max_examples=60, deadline=None)
def test_no_mistake_is_left_without_words(values):
    """Whatever is wrong, every line says where, and none speaks pydantic's language."""
    try:
        Experiment.model_validate(values)
    except ValidationError as error:
        said = str(explain(error, Experiment, values))
        for line in said.splitlines():
            assert ": " in line
            assert "another kind of value" not in line
            assert "another value" not in line
        assert json.dumps(said)
