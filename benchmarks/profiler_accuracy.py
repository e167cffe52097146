"""Does `edgelnn profile` measure right? Against the runtimes' own figures, of nothing, and of known lengths of time.

    python benchmarks/profiler_accuracy.py [--rounds N] [--inferences N] [--json FILE]

Three questions, answered in one run; it takes about two minutes and wants a quiet machine. Exit code 1 where an answer
is no.

1. Is our p50 within 5 % of the runtime's own, for the same file, one thread and the same machine? Two networks: the
   default experiment's and a larger convolutional one, both untrained. ONNX Runtime's and LiteRT's benchmark programs
   are in no wheel, so a bare loop of ten thousand inferences in a process of its own stands in. LiteRT's wheel does
   hold a benchmark in Python, of another interface to the same kernels (`CompiledModel`); it is run on the larger
   network, where what that interface adds and the 10 µs to which it rounds no longer count. All are taken in turn, and
   the ratio is the median over rounds.
2. Does measuring take less than a microsecond a sample? What a sample of nothing lasts, and what passes between
   samples. They are taken in windows, of which the fastest counts: the others had company.
3. Are known lengths right? A sleep, whose end the system may delay but never hasten, and a busy wait that ends by the
   clock's own reading.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edgelnn.models import build_classifier
from edgelnn.training import load_experiment
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering import lower
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.tflite_model import write_tflite
from edgelnn_profiling import Plan, profile
from edgelnn_profiling.measuring import take_window

WITHIN = 0.05
OVERHEAD_NS = 1000
LITERT_TOOL = "ai_edge_litert.tools.benchmark_litert_model"
BARE = {
    "onnx": """
import numpy, onnxruntime, sys, time
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
given, wanted = session.get_inputs()[0], session.get_outputs()[0].name
binding = session.io_binding()
array = numpy.random.default_rng(0).random([1, *given.shape[1:]], dtype="f4")
binding.bind_ortvalue_input(given.name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
binding.bind_output(wanted)
step = lambda: session.run_with_iobinding(binding)
""",
    "tflite": """
import numpy, sys, time
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
given = interpreter.get_input_details()[0]
interpreter.set_tensor(given["index"], numpy.random.default_rng(0).random(given["shape"], dtype="f4"))
step = interpreter.invoke
""",
}
LOOP = """
count = int(sys.argv[2])
for _ in range(count // 10):
    step()
times = []
for _ in range(count):
    start = time.perf_counter_ns()
    step()
    times.append(time.perf_counter_ns() - start)
print(sorted(times)[count // 2])
"""


def write_networks(folder: Path) -> dict[str, Path]:
    """Write the default experiment's network and a larger one, in both formats, untrained."""
    experiment = load_experiment("breastmnist")
    small = build_classifier(experiment.model, image_shape=(28, 28, 1), task="binary-class", classes=2)
    files = {}
    for kind, layout, write in (("onnx", "channels_first", write_onnx), ("tflite", "channels_last", write_tflite)):
        files[f"default, {kind}"] = folder / f"default.{kind}"
        files[f"default, {kind}"].write_bytes(write(lower(small, layout=layout, target=kind)))
        files[f"large, {kind}"] = folder / f"large.{kind}"
        files[f"large, {kind}"].write_bytes(write(_large(layout)))
    return files


def _large(layout: Any) -> Any:
    """Return the graph of three convolutions over 48 × 48 pixels: some milliseconds."""
    generator = np.random.default_rng(0)
    side, channels = 48, (1, 32, 48, 48)
    shape = (1, 1, side, side) if layout == "channels_first" else (1, side, side, 1)
    builder = GraphBuilder(shape, layout)
    value = builder.input
    for before, after in pairwise(channels):
        weight = generator.normal(size=(after, before, 3, 3)) / np.sqrt(9 * before)
        value = builder.conv2d(value, weight, np.zeros(after), padding=(1, 1, 1, 1), activation="relu")
    value = builder.reshape(value, (1, side * side * channels[-1]))
    weight = generator.normal(size=(2, side * side * channels[-1])) / side
    return builder.finish(builder.softmax(builder.linear(value, weight, np.zeros(2))))


def bare_loop(path: Path, inferences: int) -> float:
    """Return the median of inferences in a process that does nothing else, in seconds."""
    code = BARE[path.suffix.removeprefix(".")] + LOOP
    return float(_run(["-c", code, str(path), str(inferences)]).split()[-1]) / 1e9


def litert_tool(path: Path, inferences: int) -> float:
    """Return the median that LiteRT's own benchmark in Python gives, in seconds; it rounds to 10 µs."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        options = [f"--model={path}", f"--num_runs={inferences}", "--warmup_runs=100", f"--result_json={out}"]
        _run(["-m", LITERT_TOOL, *options])
        return float(json.loads(out.read_text("utf-8"))["latency"]["median_ms"]) / 1e3


def _run(arguments: Sequence[str]) -> str:
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env={**os.environ, **threads}, check=True
    )
    return done.stdout


def ours(path: Path) -> float:
    """Return our p50, in seconds."""
    timing = profile(path, Plan(memory=False, batches=(1,), preparation_samples=0)).results[0].timing
    if timing is None:
        raise SystemExit(f"{path.name} could not be profiled")
    return timing.inference.p50_s


def compare(files: dict[str, Path], rounds: int, inferences: int) -> dict[str, dict[str, Any]]:
    """Return our p50 and the others' for each file, taken in turn."""
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for name, path in files.items():
            count = inferences if name.startswith("default") else inferences // 10
            row = found.setdefault(name, {})
            row.setdefault("bare loop", []).append(bare_loop(path, count))
            row.setdefault("edgelnn", []).append(ours(path))
            if name == "large, tflite" and find_spec(LITERT_TOOL) is not None:
                row.setdefault("LiteRT's benchmark", []).append(litert_tool(path, count))
    answers: dict[str, dict[str, Any]] = {}
    for name, row in found.items():
        for other in (each for each in row if each != "edgelnn"):
            ratios = [mine / theirs for mine, theirs in zip(row["edgelnn"], row[other], strict=True)]
            answers[f"{name}, {other}"] = {
                "edgelnn_s": statistics.median(row["edgelnn"]),
                "other_s": statistics.median(row[other]),
                "ratio": statistics.median(ratios),
                "ratios": ratios,
                "holds": abs(statistics.median(ratios) - 1) < WITHIN,
            }
    return answers


def nothing() -> None:
    """Do nothing: what is left is the measuring."""


def overhead() -> dict[str, Any]:
    """Return what a sample of nothing lasts and what passes from sample to sample, in nanoseconds."""
    windows = [
        take_window(nothing, time.perf_counter_ns, loops=1, window_s=0.0, min_samples=20_000, max_samples=20_000)
        for _ in range(20)
    ]
    best = min(windows, key=lambda window: window.duration_ns)
    inside = statistics.median(best.samples_ns)
    in_all = best.duration_ns / len(best.samples_ns)
    return {"in_a_sample_ns": inside, "from_sample_to_sample_ns": in_all, "holds": in_all < OVERHEAD_NS}


def known_lengths() -> dict[str, Any]:
    """Return what waits of known length are measured as, in seconds."""

    def sleep() -> None:
        time.sleep(0.005)

    def spin() -> None:
        end = time.perf_counter_ns() + 200_000
        while time.perf_counter_ns() < end:
            pass

    found: dict[str, Any] = {}
    for name, step, seconds, most in (("sleep", sleep, 0.005, 0.0055), ("busy wait", spin, 0.0002, 0.000201)):
        window = take_window(step, time.perf_counter_ns, loops=1, window_s=0.0, min_samples=200, max_samples=200)
        ordered = sorted(sample / 1e9 for sample in window.samples_ns)
        tenth = ordered[len(ordered) // 10]  # the others were held up by the system, if by anything
        found[name] = {
            "length_s": seconds,
            "shortest_s": ordered[0],
            "p10_s": tenth,
            "p50_s": statistics.median(ordered),
            "holds": ordered[0] >= seconds and tenth < most,
        }
    return found


def main() -> int:
    """Print the answers; return 0 where all are yes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--inferences", type=int, default=10_000, metavar="N", help="in a bare loop")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgelnn-accuracy-") as folder:
        compared = compare(write_networks(Path(folder)), asked.rounds, asked.inferences)
    costs, lengths = overhead(), known_lengths()
    print(f"p50, against (medians of {asked.rounds} rounds taken in turn)")
    for name, row in compared.items():
        ratios = f"{min(row['ratios']):.3f} to {max(row['ratios']):.3f}"
        figures = f"{row['edgelnn_s'] * 1e6:9.1f} µs  {row['other_s'] * 1e6:9.1f} µs  {row['ratio']:.3f} ({ratios})"
        print(f"  {'✓' if row['holds'] else '✗'} {name:35s} {figures}")
    print("measuring itself")
    inside, in_all = costs["in_a_sample_ns"], costs["from_sample_to_sample_ns"]
    mark = "✓" if costs["holds"] else "✗"
    print(f"  {mark} {inside:.0f} ns within a sample of nothing, {in_all:.0f} ns from sample to sample")
    print("known lengths")
    for name, row in lengths.items():
        figures = ", ".join(f"{each} {row[f'{each}_s'] * 1e6:.1f}" for each in ("shortest", "p10", "p50"))
        print(f"  {'✓' if row['holds'] else '✗'} {name} of {row['length_s'] * 1e6:.0f} µs: {figures} µs")
    if asked.json is not None:
        asked.json.write_text(json.dumps({"compared": compared, "overhead": costs, "lengths": lengths}, indent=2))
    return 0 if all(row["holds"] for row in (*compared.values(), costs, *lengths.values())) else 1


if __name__ == "__main__":
    raise SystemExit(main())
