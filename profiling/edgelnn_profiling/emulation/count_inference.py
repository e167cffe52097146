"""Runs on an emulated board: run a model between marks that the counting plugin sees, and prove it.

    python -m edgelnn_profiling.emulation.count_inference FORMAT

The current folder holds a file `model`, and in `job.json` what is to be done with it. One process counts one file: were
there several, memory that was given out before would move the counts of the later ones by some instructions.

Some single inferences are marked, and as often nothing at all; what one costs is the difference. The inference is the
one that is timed elsewhere (`AbstractRuntime.invoke`), on input of zeros and ones, and the golden answers are asked for
after it, so that they cannot change what is counted. What comes of it is said as one JSON object.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from edgelnn.errors import EdgelnnError
from edgelnn_profiling.model_files import ModelFormat
from edgelnn_profiling.parity import check_parity, load_examples
from edgelnn_profiling.runtimes import import_runtime, open_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The rehearsal is for Python, which changes code while it runs for the first few times, and for arenas that grow.
REHEARSAL, REGIONS = 12, 5
INFERENCE, NOTHING = 0, 2
MARKER = 0x454C0000


def main(model_format: ModelFormat) -> None:
    """Answer the job."""
    import_runtime(model_format)
    with open("job.json", encoding="utf-8") as file:
        job = json.load(file)
    try:
        found = answer(job, model_format)
    except EdgelnnError as error:
        found = {"error": str(error)}
    sys.stdout.write(json.dumps(found) + "\n")


def answer(job: Mapping[str, Any], model_format: ModelFormat) -> dict[str, Any]:
    """Run a job's model between marks, then hold its answers against the golden ones; return what ran it, and proof."""
    runtime = open_runtime("model", model_format, threads=1)
    shape = [max(1, length) for length in runtime.input.shape]
    # Not numpy.random, which would have to be imported under emulation; and no subnormal numbers.
    runtime.set_input((np.arange(int(np.prod(shape))) % 2).reshape(shape).astype(runtime.input.dtype))
    run_between_marks(runtime.invoke)
    parity = None
    if job["golden"] is not None:
        parity = check_parity(runtime, load_examples(job, runtime), job)
    return {"runtime": runtime.name, "version": runtime.version, "parity": parity}


def run_between_marks(invoke: Callable[[], None]) -> None:
    """Mark regions of one inference each, and as many of nothing; the first ones are rehearsals."""
    gc.collect()
    gc.disable()
    for _ in range(REHEARSAL + REGIONS):
        mark(INFERENCE)
        invoke()
        mark(INFERENCE + 1)
        mark(NOTHING)
        mark(NOTHING + 1)
    gc.enable()


def mark(number: int) -> None:
    """Make the system call that the plugin watches for; there is no such process, so it fails and does nothing."""
    try:
        os.getpgid(MARKER + number)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    main("onnx" if sys.argv[1] == "onnx" else "tflite")
