"""Instructions for one image of every reference network on emulated Raspberry Pis 3, 4 and 5, as a table.

    python benchmarks/instructions_on_boards.py [--only NAME …] [--boards pi3,pi4,pi5] [--once] [--json FILE]

Each network is written in both formats, float32 and with int8 weights (the recipe that the table names: integers before
the recurrence where there are convolutions, else products with ranges found image by image, else weights alone), with
random weights, which do not change what is executed. Everything is counted twice, in processes of its own and in
another order; the script ends with an error where a single count differs. Needs boards: `edgelnn boards`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from plain_conversion import NETWORKS, named

from edgelnn.errors import ExportError
from edgelnn.models import Classifier
from edgelnn.preprocessing import Preprocessing
from edgelnn_export.lowering import lower
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.quantization import RECIPES
from edgelnn_export.quantization.onnx_quantizer import quantize_onnx
from edgelnn_export.quantization.tflite_quantizer import quantize_tflite
from edgelnn_export.tflite_model import write_tflite
from edgelnn_profiling.instructions import BOARDS, InstructionCounts, count_files
from edgelnn_profiling.writers.instruction_tables import format_instructions

NETWORKS = {**NETWORKS, "breastmnist": lambda: named("breastmnist")}
CONVOLUTIONAL = ("safipatel-lnn", "liqexp4n2", "cnn-24k", "breastmnist")
WRITE = {"onnx": write_onnx, "tflite": write_tflite}
QUANTIZE = {"onnx": quantize_onnx, "tflite": quantize_tflite}
LAYOUTS = {"onnx": "channels_first", "tflite": "channels_last"}


def files_of(name: str, folder: Path) -> dict[str, Path]:
    """Write a network in each format, float32 and int8; return the files by network, format and recipe."""
    torch.manual_seed(0)
    classifier: Classifier = NETWORKS[name]().eval()
    pixels = np.random.default_rng(0).integers(0, 256, (32, *classifier.image_shape), dtype=np.uint8)
    found = {}
    for model_format, layout in LAYOUTS.items():
        data = WRITE[model_format](lower(classifier, layout=layout, target=model_format))
        contents = {"float32": data}
        wanted = ["static_wi8_ai8"] if name in CONVOLUTIONAL else []
        for recipe in [*wanted, "dynamic_wi8_afp32", "weight_only_wi8_afp32"]:
            images = Preprocessing(classifier.image_shape)(pixels, layout)
            try:
                contents[recipe] = QUANTIZE[model_format](data, RECIPES[recipe], images)
            except ExportError:
                continue  # this recipe finds nothing to quantize
            break
        for recipe, content in contents.items():
            path = folder / f"{name}-{model_format}-{recipe}.{model_format}"
            path.write_bytes(content)
            found[f"{name} {model_format} {recipe}"] = path
    return found


def count(files: dict[str, Path], boards: Sequence[str]) -> dict[str, dict[str, InstructionCounts]]:
    """Return counts by board and file."""
    found = {}
    for board in boards:
        start = time.monotonic()
        found[board] = count_files(files, board=board)  # type: ignore[arg-type]
        print(f"{len(files)} files on {board}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    return found


def table(files: dict[str, Path], counts: dict[str, dict[str, InstructionCounts]]) -> str:
    """Return a row for each file, as Markdown."""
    titles = {"pi3": "Pi 3", "pi4": "Pi 4", "pi5": "Pi 5"}
    lines = ["| network | format | recipe | bytes | " + " | ".join(titles[board] for board in counts) + " |"]
    lines.append("|---|---|---|--:" + "|--:" * len(counts) + "|")
    for key, path in files.items():
        totals = (format_instructions(found[key].total) for found in counts.values())
        network, model_format, recipe = key.split()
        cells = (f"`{network}`", model_format, f"`{recipe}`", f"{path.stat().st_size:,}", *totals)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Write, count twice, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*NETWORKS], default=[*NETWORKS])
    parser.add_argument("--boards", default=",".join(BOARDS))
    parser.add_argument("--once", action="store_true", help="do not count again")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    boards = options.boards.split(",")
    with tempfile.TemporaryDirectory(prefix="edgelnn-") as folder:
        files = {key: path for name in options.only for key, path in files_of(name, Path(folder)).items()}
        counts = count(files, boards)
        print(table(files, counts), flush=True)
        if options.json:
            text = {board: {key: vars(found) for key, found in each.items()} for board, each in counts.items()}
            options.json.write_text(json.dumps(text, indent=2) + "\n")
        if options.once:
            return 0
        again = count(dict(reversed(files.items())), boards)
    differing = [
        f"{key} on {board} by {100 * abs(again[board][key].total / counts[board][key].total - 1):.3f} %"
        for board in boards
        for key in files
        if counts[board][key] != again[board][key]
    ]
    if differing:
        print(f"counts differ from run to run: {', '.join(differing)}", file=sys.stderr)
        return 1
    print(f"\n{len(files) * len(boards)} counts, the same in both runs.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
