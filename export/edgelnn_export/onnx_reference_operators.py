"""LSTM and GRU of ONNX with activations of any kind, for the reference evaluator: written after opset 14 of its text.

The names of what goes in are those of the specification. X is (steps, batch, features), states are (directions, batch,
units), and Y is (steps, directions, batch, units).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun

__all__ = ["GRU", "LSTM"]

Floats = NDArray[Any]  # floating
Activation = Callable[[Floats], Floats]

_REFUSED: Final = ("clip", "input_forget", "layout")
_BACKWARDS: Final[Mapping[str, tuple[bool, ...]]] = {
    "forward": (False,),
    "reverse": (True,),
    "bidirectional": (False, True),
}
_PLAIN: Final[Mapping[str, Activation]] = {
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: (np.tanh(x / 2) + 1) / 2,
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Tanh": np.tanh,
}


class _Recurrent(OpRun):
    """What both operators share.

    Attributes:
        usual: The activations where the file names none.
    """

    op_domain = ""
    usual: tuple[str, ...]

    def _compute(
        self,
        given: tuple[Floats, Floats, Floats, Floats | None],
        initial: Sequence[Floats | None],
        attributes: Mapping[str, Any],
    ) -> tuple[Floats, ...]:
        """Return as many outputs as the node has: all states, then each last state.

        Args:
            given: X, W, R and B of the specification.
            initial: The states it begins from, zero where they are left out.
            attributes: Of the node.
        """
        x, weight, recurrent, bias = given
        refused = [name for name in _REFUSED if attributes.get(name)]
        if refused:
            raise NotImplementedError(f"a recurrent operator with {', '.join(refused)}")
        backwards = _BACKWARDS[attributes.get("direction") or "forward"]
        functions = _activations(attributes, self.usual * len(backwards))
        sequences, last = [], []
        for number, reverse in enumerate(backwards):
            units = recurrent.shape[-1]
            states = [np.zeros((x.shape[1], units), x.dtype) if state is None else state[number] for state in initial]
            both = np.zeros(2 * weight.shape[1], x.dtype) if bias is None else bias[number]
            own = functions[number * len(self.usual) :][: len(self.usual)]
            steps = []
            for step in x[::-1] if reverse else x:
                states = self._step(
                    step, states, (weight[number], recurrent[number], *np.split(both, 2)), own, attributes
                )
                steps.append(states[0])
            sequences.append(np.stack(steps[::-1] if reverse else steps))
            last.append(states)
        results = [np.stack(sequences, axis=1), *(np.stack(each) for each in zip(*last, strict=True))]
        return tuple(each.astype(x.dtype) for each in results[: len(self.onnx_node.output)])

    @abstractmethod
    def _step(
        self,
        x: Floats,
        states: Sequence[Floats],
        weights: tuple[Floats, Floats, Floats, Floats],
        functions: Sequence[Activation],
        attributes: Mapping[str, Any],
    ) -> list[Floats]:
        """Return the states after one step of one direction; the first of them is its output."""


class LSTM(_Recurrent):
    """The operator LSTM, without peepholes; gates stand in the order i, o, f, c.

    it = f(Xt·Wi' + Ht-1·Ri' + Wbi + Rbi)        Ct = ft (.) Ct-1 + it (.) ct
    ft = f(Xt·Wf' + Ht-1·Rf' + Wbf + Rbf)        ot = f(Xt·Wo' + Ht-1·Ro' + Wbo + Rbo)
    ct = g(Xt·Wc' + Ht-1·Rc' + Wbc + Rbc)        Ht = ot (.) h(Ct)
    """

    usual = ("Sigmoid", "Tanh", "Tanh")

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
        if sequence_lens is not None or P is not None:
            raise NotImplementedError("an LSTM with peepholes or lengths of sequences")
        return self._compute((X, W, R, B), (initial_h, initial_c), attributes)

    def _step(
        self,
        x: Floats,
        states: Sequence[Floats],
        weights: tuple[Floats, Floats, Floats, Floats],
        functions: Sequence[Activation],
        attributes: Mapping[str, Any],
    ) -> list[Floats]:
        (hidden, cell), (weight, recurrent, bias, other), (f, g, h) = states, weights, functions
        i, o, forget, c = np.split(x @ weight.T + hidden @ recurrent.T + bias + other, 4, axis=-1)
        cell = f(forget) * cell + f(i) * g(c)
        return [f(o) * h(cell), cell]


class GRU(_Recurrent):
    """The operator GRU; gates stand in the order z, r, h.

    zt = f(Xt·Wz' + Ht-1·Rz' + Wbz + Rbz)
    rt = f(Xt·Wr' + Ht-1·Rr' + Wbr + Rbr)
    ht = g(Xt·Wh' + (rt (.) Ht-1)·Rh' + Rbh + Wbh), or with linear_before_reset
    ht = g(Xt·Wh' + (rt (.) (Ht-1·Rh' + Rbh)) + Wbh)
    Ht = (1 - zt) (.) ht + zt (.) Ht-1
    """

    usual = ("Sigmoid", "Tanh")

    def _run(
        self,
        X: Floats,
        W: Floats,
        R: Floats,
        B: Floats | None = None,
        sequence_lens: Floats | None = None,
        initial_h: Floats | None = None,
        **attributes: Any,
    ) -> tuple[Floats, ...]:
        if sequence_lens is not None:
            raise NotImplementedError("a GRU with lengths of sequences")
        return self._compute((X, W, R, B), (initial_h,), attributes)

    def _step(
        self,
        x: Floats,
        states: Sequence[Floats],
        weights: tuple[Floats, Floats, Floats, Floats],
        functions: Sequence[Activation],
        attributes: Mapping[str, Any],
    ) -> list[Floats]:
        (hidden,), (weight, recurrent, bias, other), (f, g) = states, weights, functions
        xz, xr, xh = np.split(x @ weight.T + bias, 3, axis=-1)
        rz, rr, rh = np.split(recurrent, 3)
        bz, br, bh = np.split(other, 3)
        keep, reset = f(xz + hidden @ rz.T + bz), f(xr + hidden @ rr.T + br)
        inner = reset * (hidden @ rh.T + bh) if attributes.get("linear_before_reset") else (reset * hidden) @ rh.T + bh
        return [(1 - keep) * g(xh + inner) + keep * hidden]


def _activations(attributes: Mapping[str, Any], usual: Sequence[str]) -> list[Activation]:
    """Return the activations of all directions; alpha and beta are given out in order to those that take them."""
    alphas, betas = (iter(attributes.get(f"activation_{name}") or ()) for name in ("alpha", "beta"))
    found: list[Activation] = []
    for name in attributes.get("activations") or usual:
        if name == "Affine":
            found.append(partial(_affine, alpha=next(alphas, 1.0), beta=next(betas, 0.0)))
        elif name in _PLAIN:
            found.append(_PLAIN[name])
        else:
            raise NotImplementedError(f"a recurrent operator with the activation {name}")
    return found


def _affine(x: Floats, *, alpha: float, beta: float) -> Floats:
    result: Floats = x * x.dtype.type(alpha) + x.dtype.type(beta)
    return result
