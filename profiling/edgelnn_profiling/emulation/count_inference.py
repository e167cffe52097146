"""Run a model and mark regions for the counting plugin: n inferences to rehearse, then n, then 2n.

    python -m edgelnn_profiling.emulation.count_inference MODEL FORMAT N

What an inference costs is the difference of the last two, divided by n: the marks themselves fall out of it. The
inference is the one that is timed elsewhere (`AbstractRuntime.invoke`), on input of zeros and ones. The one line that
is printed names the runtime and its version.
"""

import gc
import os
import sys

import numpy as np

from edgelnn_profiling.model_files import ModelFormat
from edgelnn_profiling.runtimes import open_runtime

# The rehearsal is for Python, which changes the code of a loop while it runs for the first few times.
REHEARSAL, FIRST, SECOND = 1, 5, 7


def mark(number: int) -> None:
    """Make the system call that the plugin watches for; there is no such process, so it fails and does nothing."""
    try:
        os.getpgid(0x454C4E00 + number)
    except ProcessLookupError:
        pass


def main(model: str, model_format: ModelFormat, inferences: int) -> None:
    """Run the model between marks."""
    runtime = open_runtime(model, model_format, threads=1)
    shape = [max(1, length) for length in runtime.input.shape]
    # Not numpy.random, which would have to be imported under emulation; and no subnormal numbers.
    runtime.set_input((np.arange(int(np.prod(shape))) % 2).reshape(shape).astype(runtime.input.dtype))
    invoke = runtime.invoke
    gc.collect()
    gc.disable()
    for begin, count in ((REHEARSAL, inferences + 20), (FIRST, inferences), (SECOND, 2 * inferences)):
        repeats = range(count)
        mark(begin)
        for _ in repeats:
            invoke()
        mark(begin + 1)
    sys.stdout.write(f"{runtime.name} {runtime.version}\n")


if __name__ == "__main__":
    main(sys.argv[1], "onnx" if sys.argv[2] == "onnx" else "tflite", int(sys.argv[3]))
