"""Image files of any mode as uint8 pixels: one way for class folders, where models are trained, and for `predict`.

Imports numpy and Pillow alone, so that a board can use it.

How a file becomes pixels: the camera's orientation (EXIF) is applied; transparency is laid over black (save where a PNG
of 2 or 4 bits names a clear grey, which Pillow does not find); palettes, CMYK, YCbCr, LAB and 1-bit become RGB or grey
as Pillow converts them; 16 bits become 8 by ``value / 257``, rounded, which keeps black and white where they are;
floating point must lie in [0, 1] or be whole numbers in 0..255. Where that is asked for, the result is cropped to its
largest bright region (`edgelnn.contour_crop`). Then it is resized to the asked-for side with Pillow's bicubic filter,
which averages where it shrinks, as MedMNIST's own images were made. A bundle's ``predict.py`` does the same in code of
its own.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from edgelnn.array_files import as_pixels
from edgelnn.contour_crop import ContourCrop
from edgelnn.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "IMAGE_SUFFIXES",
    "Picture",
    "check_deep_pictures",
    "decode_image",
    "read_image",
    "read_image_bytes",
    "resize_pixels",
    "with_channels",
]

IMAGE_SUFFIXES = frozenset(
    {
        ".bmp",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What is opened: picture formats only. Pillow's list also has formats that start other programs."""

MAX_PIXELS = 50_000_000
MAX_FILE_BYTES = 2**30


@dataclass(frozen=True)
class Picture:
    """One image file, decoded and resized.

    Attributes:
        pixels: ``(h, w, c)`` uint8; c is 1 where the file is grey or all its pixels are, else 3.
        original_size: Width and height of what was resized: the file, upright, or what it was cropped to.
        deep_maximum: Brightest value of a 16-bit file, in 0..65535; None for other files.
        uncropped: It was to be cropped, and holds nothing to crop it to.
    """

    pixels: NDArray[np.uint8]
    original_size: tuple[int, int]
    deep_maximum: int | None = None
    uncropped: bool = False

    def with_channels(self, channels: int) -> NDArray[np.uint8]:
        """Return the pixels with 1 or 3 channels: ``(h, w, channels)`` uint8."""
        return with_channels(self.pixels, channels)


def read_image(path: Path, size: tuple[int, int] | None = None, crop: ContourCrop | None = None) -> Picture:
    """Return an image file as pixels.

    Args:
        path: The file.
        size: Height and width to resize to; None leaves it as it is.
        crop: How to cut it down before that; None: not at all.

    Raises:
        DataError: It is not an image, damaged, too large, or holds several images.
    """
    return decode_image(read_image_bytes(path), path, size, crop)


def read_image_bytes(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        DataError: It cannot be read, is no plain file, or is larger than any image.
    """
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is not a file; expected an image.")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path} has {path.stat().st_size} bytes; expected an image of at most {MAX_FILE_BYTES}.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Check the path.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def decode_image(
    content: bytes, name: object, size: tuple[int, int] | None = None, crop: ContourCrop | None = None
) -> Picture:
    """Return the bytes of an image file as pixels.

    Args:
        content: The file's bytes.
        name: What to call it in an error.
        size: Height and width to resize to; None leaves it as it is.
        crop: How to cut it down before that; None: not at all.

    Raises:
        DataError: As `read_image`.

    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (4, 2), (9, 9, 9)).save(file, "PNG")
    >>> picture = decode_image(file.getvalue(), "x.png", (2, 2))
    >>> picture.pixels.shape, picture.original_size, int(picture.pixels.max())
    ((2, 2, 1), (4, 2), 9)
    """
    Image = _module()
    from PIL import ImageOps, UnidentifiedImageError

    if not content:
        raise DataError(f"{name} is empty; expected an image.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of what is checked below, and of broken metadata that is not used.
            warnings.simplefilter("ignore")
            Image.init()
            with Image.open(io.BytesIO(content), formats=[kind for kind in FORMATS if kind in Image.OPEN]) as image:
                _check_header(image, name)
                image.load()
                upright = ImageOps.exif_transpose(image)
                return _picture(upright, name, size, crop)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{name} declares more than {MAX_PIXELS} pixels: too large to be opened safely. Shrink it first."
        ) from error
    except MemoryError as error:
        raise DataError(f"{name} does not fit into memory. Shrink it first.") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name} is not an image that can be read (PNG, JPEG, TIFF, BMP, GIF, WebP, PNM). Convert it, or remove it."
        ) from error
    except Exception as error:  # every decoder in Pillow has its own for a damaged file
        raise DataError(f"{name} is damaged and cannot be decoded ({error}). Replace or remove it.") from error


def resize_pixels(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return ``(h, w, c)`` uint8 pixels resized to height and width `size`."""
    if pixels.shape[:2] == size:
        return pixels
    image = _module().fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    resized = np.asarray(image.resize(size[::-1], _module().Resampling.BICUBIC))
    return resized if resized.ndim == 3 else resized[..., np.newaxis]


def with_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return ``(h, w, 1 or 3)`` uint8 pixels with 1 or 3 channels: grey repeated, color weighed to grey (ITU-R 601)."""
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return np.asarray(_module().fromarray(pixels).convert("L"))[..., np.newaxis]


def check_deep_pictures(pictures: Sequence[Picture], name: object) -> None:
    """Raise a `DataError` where 16-bit images use so little of their range that 8 bits would keep nearly nothing.

    Scanners often write 12 bits into 16-bit files; scaling each image by its own maximum would destroy what
    distinguishes them, so the choice is left to the person.
    """
    deepest = [picture.deep_maximum for picture in pictures if picture.deep_maximum is not None]
    if deepest and 0 < max(deepest) < 2**14:
        raise DataError(
            f"{name}: the 16-bit images reach {max(deepest)} of 65535 only, and would be almost black in 8 bits. "
            f"Scale them all by the same number (65535 / {max(deepest)}), or choose a window, and save them again."
        )


def _module() -> ModuleType:
    """Return Pillow's Image module; a board may have to do without it, and arrays need it only to be resized."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "reading or resizing images needs Pillow: pip install pillow (or apt install python3-pil); "
            "arrays of the right size (.npy, .npz) do without."
        ) from error
    return Image


def _check_header(image: Image.Image, name: object) -> None:
    """Check what the header declares, before any pixel is decoded."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f"{name} declares {width}x{height} pixels; at most {MAX_PIXELS} are opened. Shrink it first.")
    frames = getattr(image, "n_frames", 1)
    # MPO: a photograph with a preview; the first one is the picture.
    if frames > 1 and image.format != "MPO":
        raise DataError(
            f"{name} holds {frames} images; expected one. Save each as a file of its own (or a volume as .npy)."
        )


def _picture(image: Image.Image, name: object, size: tuple[int, int] | None, crop: ContourCrop | None) -> Picture:
    deep: int | None = None
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(
                f"{name} holds values from {values.min()} to {values.max()}; expected 8 or 16 bits. Save it as a "
                "16-bit PNG."
            )
        if "transparency" in image.info:
            values[values == image.info["transparency"]] = 0
        deep = int(values.max())
        pixels = np.rint(values / 257).astype(np.uint8)[..., np.newaxis]
    elif image.mode == "F":
        pixels = as_pixels(np.asarray(image), str(name))[..., np.newaxis]
    else:
        pixels = _eight_bit(image)
    cropped = None if crop is None else crop(pixels)
    pixels = pixels if cropped is None else np.ascontiguousarray(cropped)
    original = (pixels.shape[1], pixels.shape[0])
    if size is not None:
        pixels = resize_pixels(pixels, size)
    return Picture(pixels, original, deep, uncropped=crop is not None and cropped is None)


def _eight_bit(image: Image.Image) -> NDArray[np.uint8]:
    """Return ``(h, w, 1 or 3)`` uint8 of an image of 8 bits or fewer; 1 where it is grey throughout."""
    from PIL import Image

    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, (0, 0, 0, 255)), layered)
    elif image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., np.newaxis]
    pixels = cast(NDArray[np.uint8], np.asarray(image.convert("RGB")))
    is_grey = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all())
    return pixels[..., :1] if is_grey else pixels
