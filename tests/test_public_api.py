"""What is public is said in three places of each package's face; they must agree, and each name must be there."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from importlib import metadata

import pytest

import edgelnn
from tests.helpers import HEAVY, modules_loaded_by

LAZY = ["edgelnn", "edgelnn.training", "edgelnn.models", "edgelnn_export", "edgelnn_profiling"]


def names_for_type_checkers(package: str) -> set[str]:
    """The names that a package's face imports ``as`` themselves for type checkers."""
    module = importlib.import_module(package)
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom)
                for alias in statement.names:
                    assert alias.asname == alias.name, f"{package}: write {alias.name} as {alias.name}"
                    found.add(alias.name)
    return found


@pytest.mark.parametrize("package", LAZY)
def test_a_package_says_the_same_to_people_type_checkers_and_python(package):
    module = importlib.import_module(package)
    listed = set(module.__all__) - {"__version__"}
    assert listed == names_for_type_checkers(package), f"{package}: __all__ and the imports for type checkers differ"
    assert len(module.__all__) == len(set(module.__all__))


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_is_there_and_says_what_it_is(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{package}.{name} has no docstring"
            assert value.__module__.split(".")[0].startswith("edgelnn")


@pytest.mark.parametrize("package", LAZY)
def test_a_name_that_is_not_there_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = importlib.import_module(package).nonsense


def test_the_ten_lines_of_the_readme_find_their_names():
    wanted = {
        "Bundle",
        "Experiment",
        "Run",
        "__version__",
        "build_bundle",
        "evaluate_predictions",
        "load_dataset",
        "load_experiment",
        "profile",
        "train",
    }
    assert wanted <= set(edgelnn.__all__)


def test_importing_edgelnn_loads_nothing_heavy():
    loaded = modules_loaded_by("import edgelnn, edgelnn.training, edgelnn.run, edgelnn.atomic; dir(edgelnn)")
    assert not loaded & {*HEAVY, "numpy", "onnxruntime", "ai_edge_litert"}


@pytest.mark.parametrize("package", ["edgelnn", "edgelnn.training"])
def test_names_can_be_completed_before_they_are_loaded(package):
    module = importlib.import_module(package)
    assert dir(module) == sorted(module.__all__)


def test_the_version_is_the_distributions():
    assert edgelnn.__version__ == metadata.version("edgelnn")


def test_the_reports_published_schema_says_what_its_dataclasses_say():
    from edgelnn_profiling.report import FORMAT_VERSION, Report
    from edgelnn_profiling.schema import build_schema, report_schema

    built = build_schema(Report, name="report", version=FORMAT_VERSION)
    assert json.loads(report_schema()) == built, "write it anew: python -m edgelnn_profiling.schema"
