"""Which stem: what makes an image, or a slice of a volume, a feature map."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edgelnn.models.fields import Specification, Units

__all__ = ["BackboneStem", "CRNetStem", "ConvLayer", "ConvStem", "IdentityStem", "MapSize", "StemSpec"]

Side = Annotated[int, Field(ge=1, le=512)]


class ConvLayer(Specification):
    """Convolution, then batch norm, activation and pooling where asked for."""

    channels: Units
    kernel: Annotated[int, Field(ge=1, le=31)] = 3
    stride: Annotated[int, Field(ge=1, le=16)] = 1
    padding: Annotated[int, Field(ge=0, le=15)] = 0
    bias: bool = True
    batch_norm: bool = False
    activation: Literal["relu", "none"] = "relu"
    pool: Annotated[int, Field(ge=0, le=16, description="window of the pooling that follows; 0 for none")] = 0
    pool_stride: Annotated[int, Field(ge=0, le=16, description="0: the same as the window")] = 0
    pool_kind: Literal["max", "average"] = "max"


class MapSize(Specification):
    """A wanted size of the map: a 3×3 convolution to its channels, then adaptive average pooling to its sides.

    Attributes:
        channels: Left out: as many as there are, without a convolution.
        height, width: Both, or neither: left out, as they are.
    """

    channels: Units | None = None
    height: Side | None = None
    width: Side | None = None

    @model_validator(mode="after")
    def _wants_something(self) -> Self:
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width are given together, or both left out")
        if self.channels is None and self.height is None:
            raise ValueError("give channels, height and width, or leave resize out")
        return self


class Stem(Specification):
    """What every stem has.

    Attributes:
        resize: The size its map is brought to; left out: as it comes.
    """

    resize: MapSize | None = None


class IdentityStem(Stem):
    """The image itself is the feature map."""

    kind: Literal["identity"] = "identity"


class ConvStem(Stem):
    """A stack of convolutions."""

    kind: Literal["conv"] = "conv"
    layers: Annotated[list[ConvLayer], Field(min_length=1, max_length=64)]


class CRNetStem(Stem):
    """CRNet (H. Truong Minh, 2022): three convolutions of 32, 64 and 128 channels, each pooled, then average pooling.

    Every kernel is 7 wide and every max pooling 3 with stride 2; batch norm is in the first block alone.
    """

    kind: Literal["crnet"]


class BackboneStem(Stem):
    """The convolutional part of one of torchvision's classifiers, which takes grey (as three equal channels) or RGB.

    Attributes:
        pretrained: Begin with the weights that torchvision publishes, trained on ImageNet; or with those of a file, its
            name ending in the first digits of its SHA-256, as torchvision's do.
        frozen: Leave them as they are, batch norm's statistics too, and train the rest.
    """

    kind: Literal[
        "mobilenet_v3_small", "mobilenet_v3_large", "resnet18", "resnet50", "resnet152", "densenet169", "vgg19"
    ]
    pretrained: bool | Annotated[str, Field(pattern=r"^[\w.-]+-[0-9a-f]{8,64}\.pth$")] = False
    frozen: bool = False


StemSpec = Annotated[IdentityStem | ConvStem | CRNetStem | BackboneStem, Field(discriminator="kind")]
