"""torchvision's backbones in both formats: the map that torch computes, within what float32 costs torch itself."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgelnn.errors import UnsupportedModelError
from edgelnn.models import Classifier, ModelSpec, build_classifier
from edgelnn.models.backbone_facts import BACKBONES
from edgelnn.models.backbones import Backbone
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering import lower
from edgelnn_export.lowering.backbone import lower_backbone
from edgelnn_export.making import LAYOUTS
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.quantization import FORMATS
from edgelnn_export.tflite_model import write_tflite
from edgelnn_profiling.runtimes import load_runtime

FAST = ("mobilenet_v3_small", "resnet18")
SIDE = 64
RESIDUAL = 0.3  # of each residual branch: at 1, a fresh ResNet-152 magnifies rounding a thousandfold


def classifier(kind: str, channels: int = 3) -> Classifier:
    """Return a classifier after one step of training, whose batch norms keep what they saw in it.

    So its map neither vanishes nor overflows, as it would with the running means of a step or two.
    """
    stem = {"kind": kind, "resize": {"height": 1, "width": 1}}
    spec = ModelSpec.model_validate(
        {"stem": stem, "scan": {"kind": "flatten"}, "head": {"kind": "dense", "widths": [50]}}
    )
    model = build_classifier(spec, image_shape=(SIDE, SIDE, channels), task="multi-class", classes=4)
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            if name.endswith(("bn3", "1.bn2")):
                nn.init.constant_(module.weight, RESIDUAL)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    first = next(model.stem.parameters())
    before = first.detach().clone()
    scores = model.train()(images(channels, 8, seed=1))
    nn.functional.cross_entropy(scores, torch.arange(8) % 4).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert not torch.equal(first, before)
    return model.eval()


def images(channels: int, count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(
    "kind", [kind if kind in FAST else pytest.param(kind, marks=pytest.mark.slow) for kind in BACKBONES]
)
def test_a_file_of_a_backbone_answers_as_torch_does(kind: str, tmp_path: Path) -> None:
    model, x = classifier(kind), images(3, 3, seed=2)
    with torch.no_grad():
        expected = copy.deepcopy(model).double().probabilities(x.double()).numpy()
        rounding = float(np.abs(model.probabilities(x).numpy() - expected).max())
    assert np.ptp(expected, axis=0).max() > 5e-4
    for model_format in FORMATS:
        graph = lower(model, layout=LAYOUTS[model_format], target=model_format)
        file = tmp_path / f"model.{model_format}"
        file.write_bytes(write_onnx(graph) if model_format == "onnx" else write_tflite(graph))
        given = x.numpy() if model_format == "onnx" else np.ascontiguousarray(np.moveaxis(x.numpy(), 1, -1))
        error = float(np.abs(load_runtime(file).run(given) - expected).max())
        assert error <= 1e-6 + 4 * rounding, (model_format, error, rounding)
        file.unlink()


@pytest.mark.usefixtures("torchvision")
def test_batch_norms_and_activations_are_part_of_the_convolutions() -> None:
    operators = [node.op for node in lower(classifier("resnet18"), layout="channels_first", target="onnx").nodes]
    assert operators.count("conv2d") == 20
    assert operators.count("add") == operators.count("relu") == 8
    assert set(operators) == {"conv2d", "add", "relu", "pad_zeros", "pool2d", "reshape", "linear", "softmax"}


@pytest.mark.usefixtures("torchvision")
def test_grey_images_become_three_channels_in_the_file() -> None:
    graph = lower(classifier("mobilenet_v3_small", channels=1), layout="channels_last", target="tflite")
    assert graph.shapes["image"] == (1, SIDE, SIDE, 1)
    assert graph.nodes[0].inputs == ("image",) * 3


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Conv2d(3, 4, 3, dilation=2), "expected a convolution without dilation"),
        (nn.MaxPool2d(3, padding=1), "expected a pooling without padding"),
        (nn.GELU(), "got a GELU in a backbone; nothing is known of how to write it"),
    ],
)
def test_modules_that_are_not_known_are_refused(module: nn.Module, words: str) -> None:
    backbone: Any = Backbone("mobilenet_v3_small")
    backbone.features = nn.Sequential(module)
    builder = GraphBuilder((1, 3, 8, 8), "channels_first")
    with pytest.raises(UnsupportedModelError, match=words):
        lower_backbone(builder, builder.input, backbone)
