"""Backbones: the convolutional part of torchvision's classifiers, as stems.

Papers: A. Howard, M. Sandler, G. Chu et al. (2019), "Searching for MobileNetV3", ICCV, doi:10.1109/ICCV.2019.00140;
K. He, X. Zhang, S. Ren, J. Sun (2016), "Deep residual learning for image recognition", CVPR,
doi:10.1109/CVPR.2016.90; G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger (2017), "Densely connected
convolutional networks", CVPR, doi:10.1109/CVPR.2017.243; K. Simonyan, A. Zisserman (2015), "Very deep convolutional
networks for large-scale image recognition", ICLR, arXiv:1409.1556.

torchvision is imported when a backbone is built, and not before: its published wheels do not import beside a torch
that was built for another kind of machine.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from types import ModuleType
from typing import final

from torch import Tensor, nn

from edgelnn.errors import ConfigError, MissingExtraError

__all__ = ["Backbone", "import_torchvision"]

_RESNET_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
_OLD_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


@final
class Backbone(nn.Module):
    """One of torchvision's classifiers up to its last map, ahead of pooling and classes.

    Attributes:
        kind: torchvision's name of it.
        features: Image to map.
        frozen: Whether its weights and batch norm's statistics stay as they are in training.
    """

    def __init__(self, kind: str, *, frozen: bool = False) -> None:
        super().__init__()
        self.kind = kind
        self.features = _features(kind)
        self.frozen = frozen
        self.features.requires_grad_(not frozen)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map (n, c', h', w') of (n, 3, h, w), or of (n, 1, h, w), which is read as three equal channels."""
        features: Tensor = self.features(x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x)
        return features

    def train(self, mode: bool = True) -> Backbone:
        """Set the mode; what is frozen always computes as in evaluation."""
        super().train(mode)
        self.features.train(mode and not self.frozen)
        return self

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of torchvision's whole classifier, its classes left out.

        Args:
            weights: Its state dict, by torchvision's names, old ones too.

        Raises:
            ConfigError: They are of another model.
        """
        prefix = "" if self.kind.startswith("resnet") else "features."
        named = {_OLD_DENSENET_NAME.sub(r"\1\2", name): value for name, value in weights.items()}
        own = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
        own = {name: value for name, value in own.items() if not name.startswith("fc.")}
        known = self.features.state_dict()
        if self.kind == "densenet169":
            own = {f"0.{name}": value for name, value in own.items()}
        counters = {name: value for name, value in known.items() if name.endswith("num_batches_tracked")}
        try:
            self.features.load_state_dict({**counters, **own})
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"got weights that are not torchvision's {self.kind}: {reason}") from error


def import_torchvision() -> ModuleType:
    """Return torchvision.

    Raises:
        MissingExtraError: It is not installed.
        ConfigError: It is installed and does not go with the torch that is.
    """
    import torch

    try:
        import torchvision
    except ModuleNotFoundError as error:
        raise MissingExtraError("a backbone", "torchvision", "backbones") from error
    except (ImportError, OSError, RuntimeError) as error:
        from importlib.metadata import version

        where = "cpu" if torch.version.cuda is None else f"cu{torch.version.cuda.replace('.', '')}"
        raise ConfigError(
            f"torchvision {version('torchvision')} does not import beside torch {torch.__version__} ({error}): the two "
            "were built for different machines, as happens where torch is the CPU build and torchvision is not. "
            f"Install them from one place: pip install --force-reinstall torch torchvision "
            f"--index-url https://download.pytorch.org/whl/{where}"
        ) from error
    return torchvision  # type: ignore[no-any-return]


def _features(kind: str) -> nn.Sequential:
    """Return a backbone's layers up to its last map, with fresh weights."""
    whole = import_torchvision().models.get_model(kind, weights=None)
    if kind.startswith("resnet"):
        return nn.Sequential(OrderedDict((name, getattr(whole, name)) for name in _RESNET_PARTS))
    if kind == "densenet169":
        return nn.Sequential(whole.features, nn.ReLU(inplace=True))
    features: nn.Sequential = whole.features
    return features
