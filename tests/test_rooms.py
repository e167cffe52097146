"""The boundaries between the packages: who may import whom, and what a board never loads.

The static half reads every import statement; the other half imports in a fresh process and looks at `sys.modules`.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import numpy as np
import pytest

from edgelnn.bundle import Bundle
from tests.helpers import (
    CORE,
    EVERY_MODULE,
    EXPORT,
    HEAVY,
    PACKAGES,
    PROFILING,
    ROOT,
    modules_loaded_by,
    modules_of,
    run_python,
)

LIGHT_OF_CORE = {
    "edgelnn",
    "edgelnn.array_files",
    "edgelnn.atomic",
    "edgelnn.bundle",
    "edgelnn.contour_crop",
    "edgelnn.decisions",
    "edgelnn.decode",
    "edgelnn.errors",
    "edgelnn.golden_file",
    "edgelnn.image_files",
    "edgelnn.inputs",
    "edgelnn.likeness",
    "edgelnn.manifest",
    "edgelnn.preprocessing",
    "edgelnn.splits",
    "edgelnn.tensor",
}


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports anywhere, save for type checkers alone."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; name the module in full"
            found.add(node.module or "")
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text("utf-8")))
    return found


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def forbidden_imports(name: str, path: Path) -> set[str]:
    """What a module imports and may not."""
    imports = imports_of(path)
    core = {module for module in imports if within(module, CORE)}
    if within(name, PROFILING):
        heavy = {module for module in imports if module.partition(".")[0] in HEAVY}
        return heavy | (core - LIGHT_OF_CORE) | {module for module in imports if within(module, EXPORT)}
    if within(name, EXPORT):
        return {module for module in core if within(module, "edgelnn.cli")}
    if within(name, "edgelnn.cli") or name == "edgelnn.__main__":
        return set()
    return {module for module in imports if any(within(module, other) for other in (EXPORT, PROFILING, "edgelnn.cli"))}


def test_imports_go_in_the_allowed_directions_only() -> None:
    found = {name: forbidden_imports(name, path) for name, path in EVERY_MODULE}
    assert not {name: imports for name, imports in found.items() if imports}


@pytest.mark.parametrize("module", ["edgelnn", "edgelnn.cli.app", *sorted(LIGHT_OF_CORE - {"edgelnn"})])
def test_light_modules_load_nothing_heavy(module: str) -> None:
    assert modules_loaded_by(f"import {module}").isdisjoint(HEAVY)


def test_importing_the_front_loads_no_runtime_and_no_numpy() -> None:
    loaded = modules_loaded_by("import edgelnn, edgelnn_export, edgelnn_profiling")
    assert loaded.isdisjoint({*HEAVY, "numpy", "onnxruntime", "ai_edge_litert", "tflite_runtime", "PIL"})


def test_what_runs_on_a_board_loads_neither_torch_nor_onnx() -> None:
    names = list(modules_of(PROFILING))
    loaded = modules_loaded_by(f"import importlib\nfor name in {names!r}: importlib.import_module(name)")
    assert loaded.isdisjoint({*HEAVY, "edgelnn_export"})


def test_the_core_loads_neither_export_nor_profiling() -> None:
    names = [name for name in modules_of(CORE) if not within(name, "edgelnn.cli") and name != "edgelnn.__main__"]
    loaded = modules_loaded_by(f"import importlib\nfor name in {names!r}: importlib.import_module(name)")
    assert loaded.isdisjoint({EXPORT, PROFILING})


def test_public_names_can_all_be_had() -> None:
    modules_loaded_by(
        "import importlib\n"
        f"for package in {list(PACKAGES)!r}:\n"
        "    module = importlib.import_module(package)\n"
        "    for name in module.__all__:\n"
        "        getattr(module, name)\n"
        "    assert set(dir(module)) >= set(module.__all__)"
    )


def test_modules_stay_small_and_are_not_named_after_others() -> None:
    others = {"utils", "common", "misc", "onnx", "statistics", "torch", "tflite", "profiling"}
    assert not [name for name, path in EVERY_MODULE if path.stem in others]
    assert not [name for name, path in EVERY_MODULE if len(path.read_text("utf-8").splitlines()) >= 500]


def test_predict_works_where_only_the_bare_install_is(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """In a process where importing anything heavy fails, as it does on a board that lacks it."""
    np.save(tmp_path / "image.npy", tiny_bundle.golden()[0][:1])
    blocked = sorted({*HEAVY, "edgelnn_export"} - {"pydantic"})  # newer typers bring pydantic along
    printed = run_python(
        "import sys\n"
        "class Board:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {blocked!r}:\n"
        "            raise ModuleNotFoundError(name, name=name.partition('.')[0])\n"
        "sys.meta_path.insert(0, Board())\n"
        "from edgelnn.cli.app import main\n"
        f"assert main(['predict', {str(tiny_bundle.folder)!r}, {str(tmp_path / 'image.npy')!r}, '--json']) == 0\n"
        "from edgelnn_profiling import Plan, profile\n"
        f"report = profile({str(tiny_bundle.folder)!r}, Plan.quick(), variants=['tflite-float32'])\n"
        "assert report.results[0].timing is not None, report.results[0].error\n"
        "assert main(['train', '--dry-run']) == 1\n"
    )
    assert '"predictions"' in printed


def test_every_file_that_is_no_python_travels_with_its_package() -> None:
    """An installed package has only what its patterns name: a header was left out once."""
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    for package, folder in PACKAGES.items():
        given = {file for pattern in packaged[package] for file in folder.glob(pattern)}
        files = {file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
        assert {file for file in files if file.suffix != ".py"} <= given
