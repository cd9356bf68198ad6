"""What is seen in one photograph: the image, whose pixels are whose, landmarks, and the camera."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from hoirecon.arrays import BoolArray, ByteArray, FloatArray, as_floats, as_image, as_mask
from hoirecon.camera import Camera
from hoirecon.errors import InputError

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels; (x, y) is the upper left corner."""


@dataclass(frozen=True)
class Keypoints:
    """2D landmarks of one person with confidence, and root-relative 3D ones where the detector gives them."""

    layout: str
    """Names and order of the points: ``blazepose33`` or ``coco17``."""
    xy: FloatArray
    """(L, 2) pixels."""
    confidence: FloatArray
    """(L,) in [0, 1]; 0 means unseen."""
    xyz: FloatArray | None = None
    """(L, 3) metres, camera axes, relative to the middle of the hips; None if the detector is 2D only."""

    def __post_init__(self) -> None:
        xy = as_floats(self.xy, ("L", 2), "xy")
        object.__setattr__(self, "xy", xy)
        confidence = as_floats(self.confidence, (len(xy),), "confidence")
        if len(xy) == 0 or confidence.min() < 0 or confidence.max() > 1:
            raise InputError("keypoint confidences must lie in [0, 1] and there must be at least one point")
        object.__setattr__(self, "confidence", confidence)
        if self.xyz is not None:
            object.__setattr__(self, "xyz", as_floats(self.xyz, (len(xy), 3), "xyz"))


@dataclass(frozen=True)
class Observation:
    """Everything that the contact and fitting stages may look at.

    Lists from the start: one entry of ``object_masks`` per object. A mask holds VISIBLE pixels only; what may hide
    an object is the person and ``occluders``.
    """

    image: ByteArray
    """(H, W, 3) RGB."""
    camera: Camera
    """Intrinsics for exactly this image size."""
    person_mask: BoolArray | None = None
    """(H, W) visible pixels of the person."""
    object_masks: tuple[BoolArray, ...] = ()
    """One (H, W) mask of visible pixels per object."""
    occluders: BoolArray | None = None
    """(H, W) pixels of other things that may stand before person or object; nothing is concluded there."""
    keypoints: Keypoints | None = None
    """Landmarks of the person."""
    person_box: Box | None = None
    """Box of the person, pixels."""
    notes: tuple[str, ...] = ()
    """What perception wants the user to know, e.g. that two persons were seen and which was taken."""

    def __post_init__(self) -> None:
        image = as_image(self.image)
        object.__setattr__(self, "image", image)
        size = image.shape[:2]
        if (self.camera.height, self.camera.width) != size:
            raise InputError(
                f"the camera is for {self.camera.width} x {self.camera.height} pixels, the image has "
                f"{size[1]} x {size[0]}: use camera.resized(width, height)"
            )
        for name in ("person_mask", "occluders"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_mask(value, size, name))
        masks = tuple(as_mask(m, size, f"object_masks[{i}]") for i, m in enumerate(self.object_masks))
        object.__setattr__(self, "object_masks", masks)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.image.shape[0], self.image.shape[1]

    def replace(self, **changes: Any) -> Observation:
        """The same observation with some fields changed."""
        return replace(self, **changes)


def box_of_mask(mask: BoolArray) -> Box:
    """Tight box (x, y, width, height) round the true pixels.

    Raises:
        InputError: the mask is empty.

    Example:
        >>> box_of_mask(np.array([[False, True], [False, True]]))
        (1.0, 0.0, 1.0, 2.0)
    """
    rows, cols = np.nonzero(mask)
    if len(rows) == 0:
        raise InputError("the mask is empty: mark the visible pixels of what it shows")
    return (
        float(cols.min()),
        float(rows.min()),
        float(cols.max() - cols.min() + 1),
        float(rows.max() - rows.min() + 1),
    )


class RunsOff(NamedTuple):
    """Edges of the picture that a mask runs off."""

    top: bool
    bottom: bool
    left: bool
    right: bool


def runs_off(mask: BoolArray, least: float = 0.04) -> RunsOff:
    """Edges of the picture beyond which what a mask (H, W) shows goes on.

    Args:
        mask: visible pixels.
        least: share of the longer side of the mask's box along which it must lie at an edge; less is noise.

    Example:
        >>> runs_off(np.array([[False, True], [False, True], [False, False]]))
        RunsOff(top=True, bottom=False, left=False, right=True)
    """
    if not mask.any():
        return RunsOff(False, False, False, False)
    enough = max(1.0, least * max(box_of_mask(mask)[2:]))
    return RunsOff(*(bool(edge.sum() >= enough) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1])))


def check_box(box: Any, width: int, height: int, name: str = "object_box") -> Box:
    """Check a box (x, y, width, height) against the image and cut it to the image.

    Raises:
        InputError: not four numbers, no area, or wholly outside the image.
    """
    values = as_floats(np.atleast_1d(np.asarray(box, dtype=np.float64)), (4,), name)
    x, y, w, h = (float(v) for v in values)
    if w <= 0 or h <= 0:
        raise InputError(f"{name} {x:g},{y:g},{w:g},{h:g} has no area: give x,y,width,height in pixels")
    x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))
    if x1 - x0 < 1 or y1 - y0 < 1:
        raise InputError(
            f"{name} {x:g},{y:g},{w:g},{h:g} lies outside the image of {width} x {height} pixels: "
            f"give x,y,width,height in pixels of this image"
        )
    return x0, y0, x1 - x0, y1 - y0
