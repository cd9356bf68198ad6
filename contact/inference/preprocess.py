"""A photograph as the two image towers take it, and the person in it that a question is about.

CLIP sees a square: the shorter side resized to its size, the middle cut out, so that the ends of a long picture are not
seen at all. Segment Anything sees everything: the longer side resized to its size. Both resize with Pillow, as the
published preprocessing does; other resizers differ by several grey levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hoirecon.arrays import BoolArray, ByteArray, as_image, as_mask
from hoirecon.errors import InputError
from hoirecon.observation import box_of_mask

Floats32 = npt.NDArray[np.float32]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Mean of RGB in [0, 1] that CLIP's input is freed of (Radford et al., 2021)."""
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Deviation that it is divided by."""
CLIP_GREY = (123, 117, 104)
"""The mean as bytes: what CLIP hardly sees."""
PERSON_MARGIN = 0.15
"""Room round a person's box, relative to its longer side; hands and what they hold often reach beyond it."""

_MAX_RESIZED = 1 << 26  # pixels; longer pictures are cut before they are resized


def clip_pixels(image: Any, size: int = 224) -> Floats32:
    """CLIP's input, equal to ``CLIPImageProcessor`` of transformers 4.31 with its published settings.

    Args:
        image: (H, W, 3) uint8 RGB; greyscale is repeated, an alpha channel dropped.
        size: side of CLIP's square input, pixels.

    Returns:
        (3, size, size): the shorter side resized to ``size`` (bicubic, Pillow), the middle cut out, mean and deviation
        taken off.

    Raises:
        InputError: not such an image.
    """
    rgb = _image(image)
    values = (_middle(rgb, size) * (1 / 255)).astype(np.float32)  # 1/255 in double, the rest in single precision
    normed = (values - np.array(CLIP_MEAN, np.float32)) / np.array(CLIP_STD, np.float32)
    return np.ascontiguousarray(normed.transpose(2, 0, 1))


def _middle(rgb: ByteArray, size: int) -> ByteArray:
    """(size, size, 3): resized so that the shorter side is ``size``, and cut to the middle."""
    height, width = rgb.shape[:2]
    longer = int(size * max(height, width) / min(height, width))
    new_h, new_w = (size, longer) if height <= width else (longer, size)
    top, left = (new_h - size) // 2, (new_w - size) // 2
    if new_h * new_w > _MAX_RESIZED:
        return _resized_part(rgb, (new_h, new_w), (top, left), size)
    resized = Image.fromarray(rgb).resize((new_w, new_h), Image.Resampling.BICUBIC)
    return np.asarray(resized)[top : top + size, left : left + size]


def _resized_part(rgb: ByteArray, new: tuple[int, int], corner: tuple[int, int], size: int) -> ByteArray:
    """Only the needed part of a resized picture, within one grey level: a strip of 16 x 6,000,000 pixels would take
    gigabytes otherwise."""
    ranges, box = [], []
    for old, full, start in zip(rgb.shape[:2], new, corner, strict=True):
        scale = old / full
        begin, end = start * scale, (start + size) * scale
        margin = math.ceil(3 * max(scale, 1))  # bicubic looks two pixels far
        low, high = max(0, math.floor(begin) - margin), min(old, math.ceil(end) + margin)
        ranges.append(slice(low, high))
        box.append((begin - low, min(end, old) - low))
    part = Image.fromarray(np.ascontiguousarray(rgb[ranges[0], ranges[1]]))
    (top, bottom), (left, right) = box
    return np.asarray(part.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, right, bottom)))


def sam_pixels(image: Any, size: int = 1024) -> ByteArray:
    """Segment Anything's input before normalising and padding, equal to its ``ResizeLongestSide``.

    Args:
        image: (H, W, 3) uint8 RGB; greyscale is repeated, an alpha channel dropped.
        size: length of the longer side afterwards, pixels.

    Returns:
        (3, h, w) uint8; the shorter side keeps the proportion and has one pixel at least. A picture whose longer side
        is ``size`` already comes back as it is.

    Raises:
        InputError: not such an image.
    """
    rgb = _image(image)
    height, width = resized_shape(rgb.shape[0], rgb.shape[1], size)
    resized = Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def resized_shape(height: int, width: int, size: int = 1024) -> tuple[int, int]:
    """(h, w) after :func:`sam_pixels`.

    Example:
        >>> resized_shape(480, 640)
        (768, 1024)
    """
    scale = size / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


@dataclass(frozen=True)
class Window:
    """A square of a photograph, which may reach beyond it."""

    x: int
    """Left edge, pixels; negative if it begins outside."""
    y: int
    """Upper edge."""
    side: int
    """Width and height."""

    def cut(self, image: ByteArray, fill: tuple[int, int, int] = CLIP_GREY) -> ByteArray:
        """(side, side, 3) of an (H, W, 3) picture; what lies outside is filled."""
        cut = np.empty((self.side, self.side, 3), np.uint8)
        cut[:] = fill
        inner, outer = self._overlap(image.shape[:2])
        cut[inner] = image[outer]
        return cut

    def paste(self, values: npt.NDArray[Any], shape: tuple[int, int], fill: float = 0.0) -> npt.NDArray[Any]:
        """(..., side, side) values of the square put back in their place of (..., H, W), the rest filled."""
        if values.shape[-2:] != (self.side, self.side):
            raise InputError(f"values of {values.shape[-2:]} do not belong to a window of side {self.side}")
        whole = np.full((*values.shape[:-2], *shape), fill, values.dtype)
        inner, outer = self._overlap(shape)
        whole[..., outer[0], outer[1]] = values[..., inner[0], inner[1]]
        return whole

    def _overlap(self, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns of the part that is in the picture: in the square, in the picture."""
        spans = [
            (max(0, start), min(length, start + self.side), start)
            for start, length in zip((self.y, self.x), shape[:2], strict=True)
        ]
        inner = tuple(slice(low - start, high - start) for low, high, start in spans)
        outer = tuple(slice(low, high) for low, high, _ in spans)
        return (inner[0], inner[1]), (outer[0], outer[1])


def person_window(shape: tuple[int, int], box: Any, margin: float = PERSON_MARGIN) -> Window:
    """The square round a person; a square, because CLIP would cut the ends off anything else.

    It is moved into the picture where it fits and centred on it where it does not.

    Args:
        shape: (H, W) of the photograph.
        box: x, y, width, height of the person, pixels.
        margin: room on each side, relative to the box's longer side.

    Raises:
        InputError: the box is empty, not finite, or outside the picture, or the margin is not in [0, 10].
    """
    x, y, width, height = _box(box, shape)
    if not 0 <= margin <= 10:
        raise InputError(f"the margin round a person is relative to the box and lies in [0, 10], got {margin}")
    side = min(max(1, math.ceil(max(width, height) * (1 + 2 * margin))), max(shape))
    starts = []
    for centre, length in ((x + width / 2, shape[1]), (y + height / 2, shape[0])):
        inside = min(max(0, round(centre - side / 2)), length - side)
        starts.append(inside if side <= length else (length - side) // 2)
    return Window(starts[0], starts[1], side)


def select_person(image: Any, box: Any = None, mask: Any = None, margin: float = PERSON_MARGIN) -> ByteArray:
    """The picture that a question on one of several persons is asked on.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: x, y, width, height of the person, pixels; the mask's own if only a mask is given.
        mask: (H, W), True on the person and on what it touches; everything else is greyed to CLIP's mean.
        margin: room round the box, relative to its longer side.

    Returns:
        The square round the person (see :func:`person_window`, which says where it lies), or the picture itself if
        neither box nor mask is given.

    Raises:
        InputError: a box or mask that does not fit the picture, or an empty mask.
    """
    return cut_person(_image(image), box, mask, margin)[0]


def cut_person(rgb: ByteArray, box: Any, mask: Any, margin: float) -> tuple[ByteArray, Window | None]:
    """What :func:`select_person` gives of a checked picture, and where it lies; None if it is the whole of it."""
    if box is None and mask is None:
        return rgb, None
    shape = (rgb.shape[0], rgb.shape[1])
    if mask is not None:
        kept = person_mask(mask, shape)
        box = box_of_mask(kept) if box is None else box
        rgb = np.where(kept[..., None], rgb, np.array(CLIP_GREY, np.uint8))
    window = person_window(shape, box, margin)
    return window.cut(rgb), window


def person_mask(mask: Any, shape: tuple[int, int]) -> BoolArray:
    """A checked mask.

    Raises:
        InputError: another size than the picture, or no pixel in it.
    """
    kept = as_mask(mask, ("H", "W"), "the person's mask")
    if kept.shape != shape:
        raise InputError(
            f"the person's mask has {kept.shape[1]} x {kept.shape[0]} pixels, the picture {shape[1]} x {shape[0]}: "
            "give a mask of the picture itself"
        )
    if not kept.any():
        raise InputError("the person's mask is empty: give a mask that is True on the person")
    return kept


def _box(box: Any, shape: tuple[int, int]) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(value) for value in box)
    except (TypeError, ValueError) as err:
        raise InputError(f"the person's box must be x, y, width, height in pixels, got {str(box)[:80]}") from err
    if not all(map(math.isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
        raise InputError(f"the person's box must have a positive width and height, got {(x, y, width, height)}")
    if x >= shape[1] or y >= shape[0] or x + width <= 0 or y + height <= 0:
        raise InputError(
            f"the person's box {(x, y, width, height)} lies outside the picture of {shape[1]} x {shape[0]} pixels"
        )
    return x, y, width, height


def _image(image: Any) -> ByteArray:
    rgb = as_image(image)
    if 0 in rgb.shape:
        raise InputError(f"the image is empty, its shape is {rgb.shape}")
    return rgb
