"""Fake quantization: a classifier computes in float32 with the numbers that a static int8 file of it will hold.

Papers: B. Jacob, S. Kligys, B. Chen et al. (2018), "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", CVPR, doi:10.1109/CVPR.2018.00286, sections 2.1 and 3; R. Krishnamoorthi (2018),
"Quantizing deep convolutional networks for efficient inference: a whitepaper", arXiv:1806.08342, section 3.2.

What becomes int8 is what the recipe ``static_wi8_ai8`` makes int8 in a file: everything before a recurrence.

    activations   the image, what each convolution gives, what each hidden layer of a dense head gives: asymmetric, one
                  range a tensor. Behind ReLU the range is that of what ReLU lets through, as the two are one operator.
    weights       of convolutions and of hidden layers of a dense head: symmetric, one range an output channel. Of the
                  products that end that part, the last layer of a dense head and the product of all steps' inputs
                  before a recurrence: symmetric, one range for all, as in TFLite files. (ONNX files have finer ranges
                  or float32 there and in a convolution of few channels, and bear what the coarser ones bear.)
    float32       the recurrence, its state and what follows it.

Gradients pass through the rounding as if it were not there, and are zero where a value is cut off (straight-through).

Batch norm keeps the statistics it was trained with, while its scale and shift go on learning. With statistics that do
not move it is one factor a channel, as in the file, and a range a channel moves with that factor: quantizing the
weights before it is then the same as quantizing the weights it is folded into. The statistics of single batches would
make the weights of every batch others than those of the file, which is what one wants to learn to bear.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from edgelnn.data.dataset import Split
from edgelnn.errors import ConfigError
from edgelnn.models import Classifier
from edgelnn.models.cfc import CfCLayer, FoldedCfC
from edgelnn.models.dense_cfc import DenseCfCLayer
from edgelnn.models.heads import Bidirectional, Dense, Liquid, Recurrent, Reservoir
from edgelnn.models.ltc import LTCLayer, Synapses
from edgelnn.models.parallel import Parallel
from edgelnn.models.specification import ConvStem, CRNetStem, IdentityStem
from edgelnn.models.stems import ConvBlock

__all__ = ["RECIPE", "ActivationRange", "FakeQuantization", "calibration_images", "fake_quantize_weight"]

RECIPE = "static_wi8_ai8"
_LOWEST, _HIGHEST = -128, 127
_SHARE = 0.01  # of a batch in the moving average of ranges
_CALIBRATION_IMAGES, _CALIBRATION_VOLUMES = 128, 32  # as many as an export calibrates on
_SMALLEST_SCALE = torch.finfo(torch.float32).eps

Mode = Literal["quantizing", "calibrating", "paused"]


def fake_quantize_weight(weight: Tensor, *, per_channel: bool = True) -> Tensor:
    """Return a weight on the grid of int8 from -127 to 127, one scale for each index of its first axis, or one for all.

    >>> fake_quantize_weight(torch.tensor([[127.0, 0.4], [1.27, 0.011]])).tolist()
    [[127.0, 0.0], [1.2699999809265137, 0.009999999776482582]]
    """
    largest = weight.detach().abs().flatten(1).amax(1)
    if not per_channel:
        largest = largest.amax().expand(len(weight))
    scale = (largest / _HIGHEST).clamp(min=_SMALLEST_SCALE)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -_HIGHEST, _HIGHEST)


class ActivationRange:
    """The range of one tensor of activations.

    Attributes:
        low, high: Its ends; 0 is always between them, as it has to be a number of the grid.
    """

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0

    def widen(self, x: Tensor) -> None:
        """Let the range hold everything in `x`."""
        low, high = _ends(x)
        self.low, self.high = float(np.minimum(self.low, low)), float(np.maximum(self.high, high))

    def follow(self, x: Tensor) -> None:
        """Move the range a little towards that of `x`."""
        low, high = _ends(x)
        self.low += _SHARE * (low - self.low)
        self.high += _SHARE * (high - self.high)

    def quantize(self, x: Tensor) -> Tensor:
        """Return x on the grid of int8 from -128 to 127 that the range gives."""
        width = self.high - self.low
        if not 0.0 < width < float("inf"):  # nothing but zeros, or a training that diverges and is told so by its loss
            return x
        scale = max(width / (_HIGHEST - _LOWEST), _SMALLEST_SCALE)
        zero = min(max(_LOWEST - round(self.low / scale), _LOWEST), _HIGHEST)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, _LOWEST, _HIGHEST)


@final
class FakeQuantization:
    """Makes a classifier compute as its static int8 file will, until it is removed.

    It changes methods of the classifier's modules, nothing of their state: names and contents of the state dict are
    those of the plain classifier, before, meanwhile and after.

    While the classifier trains, ranges follow a moving average over batches; in evaluation mode they stay.
    `calibrating` sets them as an export does. Ranges are no part of any state that is kept: they follow from the
    weights.

    >>> from edgelnn.models import ModelSpec, build_classifier
    >>> classifier = build_classifier(ModelSpec(), image_shape=(28, 28, 1), task="binary-class", classes=2)
    >>> quantization = FakeQuantization(classifier)
    >>> with quantization.calibrating():
    ...     exact = classifier(torch.linspace(-1, 1, 784).view(1, 1, 28, 28))
    >>> quantization.ranges["input"].high
    1.0
    >>> quantization.remove()

    Raises:
        ConfigError: The classifier has a part that is not known here.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.ranges: dict[str, ActivationRange] = {}
        self._mode: Mode = "quantizing"
        self._undo: list[Callable[[], None]] = []
        _check_supported(classifier)
        self._quantize_input(classifier)
        for index, block in enumerate(classifier.stem):
            if isinstance(block, ConvBlock):
                self._quantize_block(block, f"stem.{index}")
        head = classifier.head
        if isinstance(head, Dense):
            for index, layer in enumerate(head.hidden):
                if isinstance(layer, nn.Linear):
                    self._quantize_linear(layer, classifier, f"head.hidden.{index}")
            self._quantize_linear(head.linear, classifier, None)
        elif isinstance(head, Recurrent):
            self._quantize_rnn(head.rnn)
        elif isinstance(head, Liquid):
            self._quantize_liquid(head)

    @contextmanager
    def calibrating(self) -> Iterator[None]:
        """Compute in float32 meanwhile; every range becomes that of what is seen."""
        for each in self.ranges.values():
            each.low = each.high = 0.0
        with self._in_mode("calibrating"):
            yield

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Compute in float32 meanwhile."""
        with self._in_mode("paused"):
            yield

    def remove(self) -> None:
        """Make the classifier a plain one again."""
        while self._undo:
            self._undo.pop()()

    @contextmanager
    def _in_mode(self, mode: Mode) -> Iterator[None]:
        before, self._mode = self._mode, mode
        try:
            yield
        finally:
            self._mode = before

    def _weight(self, weight: Tensor, *, per_channel: bool = True) -> Tensor:
        return fake_quantize_weight(weight, per_channel=per_channel) if self._mode == "quantizing" else weight

    def _gates(self, cell: FoldedCfC) -> FoldedCfC:
        """Return a cell with its input's weights quantized; the rows of the gate are halved, as in TFLite files."""
        scale = cell.input_weight.new_ones(len(cell.input_weight), 1)
        if cell.mode != "pure":
            scale[2 * cell.units :] = 0.5
        weight = self._weight(cell.input_weight * scale, per_channel=False) / scale
        return replace(cell, input_weight=weight)

    def _activation(self, name: str, x: Tensor, *, training: bool) -> Tensor:
        if self._mode == "calibrating":
            self.ranges[name].widen(x)
        if self._mode != "quantizing":
            return x
        if training:
            self.ranges[name].follow(x)
        return self.ranges[name].quantize(x)

    def _replace(self, module: nn.Module, method: str, function: Callable[..., Any]) -> None:
        """Put a function in the place of a module's method."""
        setattr(module, method, function)
        self._undo.append(lambda: delattr(module, method))

    def _quantize_input(self, classifier: Classifier) -> None:
        self.ranges["input"] = ActivationRange()

        def before(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (self._activation("input", arguments[0], training=module.training), *arguments[1:])

        self._undo.append(classifier.register_forward_pre_hook(before).remove)

    def _quantize_block(self, block: ConvBlock, name: str) -> None:
        conv, norm = block.conv, block.norm
        self.ranges[name] = ActivationRange()

        def give(x: Tensor) -> Tensor:
            return self._activation(name, x.relu() if block.relu else x, training=block.training)

        def convolve(x: Tensor) -> Tensor:
            weight = self._weight(conv.weight)
            y = F.conv2d(x, weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
            return y if norm is not None else give(y)

        self._replace(conv, "forward", convolve)
        if norm is not None:
            plain = norm

            def normalize(x: Tensor) -> Tensor:
                mean, var = plain.running_mean, plain.running_var
                return give(F.batch_norm(x, mean, var, plain.weight, plain.bias, training=False, eps=plain.eps))

            self._replace(norm, "forward", normalize)

    def _quantize_linear(self, linear: nn.Linear, classifier: Classifier, name: str | None) -> None:
        """Quantize a layer's weight and, under a name, what it gives to the ReLU behind it."""
        if name is not None:
            self.ranges[name] = ActivationRange()

        def multiply(x: Tensor) -> Tensor:
            y = F.linear(x, self._weight(linear.weight, per_channel=name is not None), linear.bias)
            return y if name is None else self._activation(name, y.relu(), training=classifier.training)

        self._replace(linear, "forward", multiply)

    def _quantize_rnn(self, rnn: nn.LSTM | nn.GRU | nn.RNN) -> None:
        plain = copy.copy(rnn)  # of the same parameters, with the forward pass that is replaced here
        names = ["weight_ih_l0", *(["weight_ih_l0_reverse"] if rnn.bidirectional else [])]

        def run(x: Tensor) -> Any:
            return functional_call(
                plain, {name: self._weight(getattr(rnn, name), per_channel=False) for name in names}, (x,)
            )

        self._replace(rnn, "forward", run)

    def _quantize_liquid(self, head: Liquid) -> None:
        first = head.layers[0]
        for layer in (first.onward, first.backward) if isinstance(first, Bidirectional) else (first,):
            if isinstance(layer, CfCLayer):
                self._quantize_cfc(layer)
            elif isinstance(layer, DenseCfCLayer):
                self._quantize_dense_cfc(layer)
            elif isinstance(layer, LTCLayer):
                self._quantize_ltc(layer)
            else:
                raise TypeError(f"got a layer of type {type(layer).__name__}; expected a CfC or an LTC")

    def _quantize_cfc(self, layer: CfCLayer) -> None:
        plain = layer.folded

        def folded(*, varying_time: bool = False) -> Any:
            first, *rest = plain(varying_time=varying_time)
            return (self._gates(first), *rest)

        self._replace(layer, "folded", folded)

    def _quantize_dense_cfc(self, layer: DenseCfCLayer) -> None:
        plain = layer.folded

        def folded(*, varying_time: bool = False) -> Any:
            cell = plain(varying_time=varying_time)
            return replace(cell, input_weight=self._weight(cell.input_weight, per_channel=False))

        self._replace(layer, "folded", folded)

    def _quantize_ltc(self, layer: LTCLayer) -> None:
        plain = layer.folded

        def folded() -> Any:
            cell = plain()
            if self._mode != "quantizing":
                return cell
            return replace(cell, sensory=_QuantizedSynapses(**vars(cell.sensory)))

        self._replace(layer, "folded", folded)


@dataclass(frozen=True)
class _QuantizedSynapses(Synapses):
    """Synapses whose effects are on the grid of int8."""

    def acting(self, first: int, last: int) -> Tensor:
        """Return (2·(last - first), synapses), as `Synapses` does."""
        return fake_quantize_weight(super().acting(first, last), per_channel=False)


def _check_supported(classifier: Classifier) -> None:
    """Raise `ConfigError` where a part of the classifier does not become int8 as it is computed here."""
    spec = classifier.spec
    unknown = {
        f"stem.kind={spec.stem.kind!r}": not isinstance(spec.stem, IdentityStem | ConvStem | CRNetStem),
        "stem.resize": spec.stem.resize is not None,
        "scan.kind='parallel'": isinstance(classifier.head, Parallel),
        "scan.reduce_to": classifier.reduction is not None,
        "head.kind='reservoir'": isinstance(classifier.head, Reservoir),
        "head.over='batch'": classifier.together is not None,
        "head.batch_norm": getattr(classifier.head, "norm", None) is not None,
        "head.mean_of='hidden'": getattr(classifier.head, "mean_of_hidden", False),
    }
    for what, found in unknown.items():
        if found:
            raise ConfigError(
                f"training.quantization_aware: got {what}; only convolutional stems whose map is scanned as it is, and "
                "read as it is by what is trained, are known here. Train without it; export --quantize takes such a "
                "model all the same."
            )


def calibration_images(train: Split) -> NDArray[np.uint8]:
    """Return the training images that an export finds ranges on: (n, [d,] h, w, c) uint8, drawn with seed 0."""
    most = _CALIBRATION_VOLUMES if train.images.ndim == 5 else _CALIBRATION_IMAGES
    chosen = np.random.default_rng(0).permutation(len(train))[:most]
    return train.images[np.sort(chosen)]


def _ends(x: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest number in a tensor, 0 among them; NaN where it holds a NaN."""
    low, high = x.detach().aminmax()
    return float(low.clamp(max=0.0)), float(high.clamp(min=0.0))
