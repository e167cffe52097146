"""An ONNX file computed by ONNX's own reference evaluator, which shares no code with any runtime or with the writer.

That evaluator takes the activations of every LSTM for the usual ones. A file whose LSTMs have others is computed with
the LSTM below in place of its own, written after the operator's specification.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from edgelnn.errors import ModelFileError

__all__ = ["OnnxReference"]

Floats = NDArray[Any]  # floating
_USUAL: Final = ["Sigmoid", "Tanh", "Tanh"]


class OnnxReference:
    """A float32 ONNX file in the reference evaluator.

    Attributes:
        name: Which evaluator it is, for the manifest.

    >>> from edgelnn_export.graph_builder import GraphBuilder
    >>> from edgelnn_export.onnx_model import write_onnx
    >>> builder = GraphBuilder((1, 3), "channels_first")
    >>> graph = builder.finish(builder.linear(builder.input, np.eye(3), np.ones(3)))
    >>> reference = OnnxReference(write_onnx(graph))
    >>> reference.run(np.zeros((1, 3), np.float32)).tolist(), reference.name.split()[0]
    ([[1.0, 1.0, 1.0]], 'onnx.reference')
    """

    def __init__(self, content: bytes) -> None:
        model = onnx.load_from_string(content)
        own = any(_has_own_activations(node) for node in model.graph.node)
        self.name = f"onnx.reference {onnx.__version__}{', LSTM activations after its specification' if own else ''}"
        self._input = model.graph.input[0].name
        # Given to it as new, an operator takes the place of the evaluator's own.
        self._evaluator = ReferenceEvaluator(model, new_ops=[LSTM] if own else None)

    def run(self, array: Floats) -> Floats:
        """Return the file's answers.

        Args:
            array: The file's input.

        Raises:
            ModelFileError: The evaluator does not know an operator, or fails.
        """
        try:
            with np.errstate(over="ignore"):  # its sigmoid of large negative numbers
                answers: Any = self._evaluator.run(None, {self._input: array})
        except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())[:200]
            raise ModelFileError(f"ONNX's reference evaluator fails on it: {said}.") from error
        found: Floats = answers[0]
        return found


def _has_own_activations(node: onnx.NodeProto) -> bool:
    if node.op_type != "LSTM" or node.domain not in ("", "ai.onnx"):
        return False
    given = [each for attribute in node.attribute if attribute.name == "activations" for each in attribute.strings]
    return any(name.decode() != usual for name, usual in zip(given, _USUAL * 2, strict=False))


class LSTM(OpRun):
    """The operator LSTM of ONNX, opset 14: Equations (Default: f=Sigmoid, g=Tanh, h=Tanh), without peepholes.

        it = f(Xt·Wi' + Ht-1·Ri' + Wbi + Rbi)        Ct = ft (.) Ct-1 + it (.) ct
        ft = f(Xt·Wf' + Ht-1·Rf' + Wbf + Rbf)        ot = f(Xt·Wo' + Ht-1·Ro' + Wbo + Rbo)
        ct = g(Xt·Wc' + Ht-1·Rc' + Wbc + Rbc)        Ht = ot (.) h(Ct)

    Gates stand in the order i, o, f, c; X is (steps, batch, features).
    """

    op_domain = ""

    def _run(
        self,
        X: Floats,
        W: Floats,
        R: Floats,
        B: Floats | None = None,
        sequence_lens: Floats | None = None,
        initial_h: Floats | None = None,
        initial_c: Floats | None = None,
        P: Floats | None = None,
        **attributes: Any,
    ) -> tuple[Floats, ...]:
        if any(each is not None for each in (sequence_lens, initial_h, initial_c, P)):
            raise NotImplementedError("an LSTM with peepholes, initial states or lengths of sequences")
        if any(attributes.get(name) for name in ("clip", "input_forget", "layout")):
            raise NotImplementedError("an LSTM with clip, input_forget or layout")
        kind = attributes.get("direction") or "forward"
        backwards = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[kind]
        functions = _functions(attributes, len(backwards))
        sequences, hidden, cells = [], [], []
        for number, reverse in enumerate(backwards):
            bias = np.zeros(8 * R.shape[-1], X.dtype) if B is None else B[number]
            states, cell = _direction(X[::-1] if reverse else X, W[number], R[number], bias, *functions[number])
            hidden.append(states[-1])
            cells.append(cell)
            sequences.append(states[::-1] if reverse else states)
        results = (np.stack(sequences, axis=1), np.stack(hidden), np.stack(cells))
        return tuple(each.astype(X.dtype) for each in results[: len(self.onnx_node.output)])


Activation = Callable[[Floats], Floats]


def _direction(
    x: Floats, weight: Floats, recurrent: Floats, bias: Floats, f: Activation, g: Activation, h: Activation
) -> tuple[Floats, Floats]:
    """Return all states (steps, batch, units) and the last cell state of one direction."""
    state = cell = np.zeros((x.shape[1], recurrent.shape[-1]), x.dtype)
    summed = bias[: len(bias) // 2] + bias[len(bias) // 2 :]
    states = []
    for step in x:
        i, o, forget, c = np.split(step @ weight.T + state @ recurrent.T + summed, 4, axis=-1)
        cell = f(forget) * cell + f(i) * g(c)
        state = f(o) * h(cell)
        states.append(state)
    return np.stack(states), cell


def _functions(attributes: dict[str, Any], directions: int) -> list[tuple[Activation, Activation, Activation]]:
    """Return f, g and h of each direction; alpha and beta are given out in order to those that take them."""
    alphas, betas = (iter(attributes.get(f"activation_{name}") or ()) for name in ("alpha", "beta"))
    found: list[Activation] = []
    for name in attributes["activations"]:
        if name == "Affine":
            found.append(partial(_affine, alpha=next(alphas, 1.0), beta=next(betas, 0.0)))
        elif name in _PLAIN:
            found.append(_PLAIN[name])
        else:
            raise NotImplementedError(f"an LSTM with the activation {name}")
    return [(found[3 * n], found[3 * n + 1], found[3 * n + 2]) for n in range(directions)]


def _affine(x: Floats, *, alpha: float, beta: float) -> Floats:
    result: Floats = x * x.dtype.type(alpha) + x.dtype.type(beta)
    return result


def _sigmoid(x: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-x))
    return result


_PLAIN: Final[dict[str, Activation]] = {"Sigmoid": _sigmoid, "Tanh": np.tanh}
