"""Boards whose emulator is a shell script, so that counting is tested without any emulation."""

from __future__ import annotations

import textwrap
from pathlib import Path

UNPROVED = '{"runtime": "ai-edge-litert", "version": "2.3.0", "parity": null}'
PROVED = UNPROVED.replace("null", '{"max_error": 1e-7, "allowed": 1e-4, "images": 4}')


def fake_boards(folder: Path, script: str) -> Path:
    """Return boards pi4 and pi5 and what their emulator does when it is to count; only pi4 has tflite-runtime."""
    root = folder / "boards"
    sites = ("pi4/opt/site", "pi4/opt/site_tfl", "pi5/opt/site")
    for needed in ("emulator/bin", "bin", "pi4/usr/bin", "pi5/usr/bin", *sites):
        (root / needed).mkdir(parents=True)
    for board in ("pi4", "pi5"):
        (root / board / "usr" / "bin" / "python3.11").touch()
        (root / "bin" / f"{board}-python").touch()
    (root / "a64" / "opt" / "site").mkdir(parents=True)
    emulator = root / "emulator" / "bin" / "qemu-aarch64"
    emulator.write_text(f"#!/bin/sh\ncase $* in *compileall*) exit 0;; esac\n{textwrap.dedent(script)}")
    emulator.chmod(0o755)
    return root


def counting_script(answer: str = PROVED, *, simd_fp: str = "20") -> str:
    """Return an emulator that answers every job: 100 instructions an inference besides those of SIMD."""
    return f"""
        out=${{QEMU_PLUGIN#*out=}}
        region() {{ echo "region $1 all=$2 integer=$3 simd_fp=$4 load=30 store=5 branch=4 other=1"; }}
        for turn in 1 2 3 4 5; do
            region 0 $((160 + {simd_fp})) 120 {simd_fp} >> "$out"; region 2 60 20 0 >> "$out"
        done
        echo '{answer}'
    """
