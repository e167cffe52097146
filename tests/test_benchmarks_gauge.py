"""The regression gauge: what it stores, what it names, and how it ends."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from tests.emulated_fakes import counting_script, fake_boards
from tests.small_bundle import make_bundle

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")


@pytest.fixture
def gauge() -> ModuleType:
    path = Path(__file__).parent.parent / "benchmarks" / "instruction_gauge.py"
    spec = importlib.util.spec_from_file_location("instruction_gauge", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_names_what_grew_and_ends_with_one(
    gauge: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, record = make_bundle(tmp_path / "bundle").folder, tmp_path / "record.json"
    for name, simd_fp in (("before", "20"), ("after", "32")):
        (tmp_path / name).mkdir()
        fake_boards(tmp_path / name, counting_script(simd_fp=simd_fp))
    monkeypatch.setenv("EDGELNN_BOARDS", str(tmp_path / "before" / "boards"))
    assert gauge.main([str(bundle), str(record)]) == 2, "there is no record yet"
    assert gauge.main([str(bundle), str(record), "--update", "--boards", "pi4,pi5"]) == 0
    assert gauge.main([str(bundle), str(record)]) == 0
    assert "0 of 5 counts grew by more than 0.5 %." in capsys.readouterr().out
    monkeypatch.setenv("EDGELNN_BOARDS", str(tmp_path / "after" / "boards"))
    assert gauge.main([str(bundle), str(record)]) == 1
    said = capsys.readouterr().out
    assert "GREW  tflite-float32 on pi4 with tflite-runtime: +10.00 % (120 to 132; simd+fp +12)" in said
    assert "5 of 5 counts grew" in said
    assert gauge.main([str(bundle), str(record), "--tolerance", "10.5"]) == 0
