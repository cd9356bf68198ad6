"""What a front end found, as a model with an evidence tower takes it in place of a photograph."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig, pack
from hoirecon.errors import InputError
from hoirecon.observation import Observation

LAYOUT = "blazepose33"
ROOM = 1.2
"""Side of the square that is looked at, relative to person and object in it; in training 1.12 to 1.27."""
SURE = 0.5
"""Landmarks less sure than this do not widen the square."""
COVERED = (0.5, 0.35, 0.5)
"""Share of a cell that person, object and other things must cover to count; objects are often thin."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Landmarks and masks of one person and one object; give it where an image is asked for.

    Example:
        model.human_contact(Evidence.of(observation), "chair")
    """

    observation: Observation
    """What was seen."""
    object_index: int = 0
    """Which of its objects is meant; the others count as other things."""

    def __post_init__(self) -> None:
        seen, count = self.observation, len(self.observation.object_masks)
        if not 0 <= self.object_index < count:
            raise InputError(f"there is no object {self.object_index} among the observation's {count} object masks")
        if seen.keypoints is None or seen.keypoints.layout != LAYOUT:
            raise InputError(
                f"this model sees landmarks of layout {LAYOUT}, with 3D ones: observe the photograph with BlazePose "
                "(hoirecon.perception), or give Keypoints of that layout"
            )
        if seen.keypoints.xyz is None:
            raise InputError("this model needs the landmarks in 3D too (Keypoints.xyz): BlazePose gives them")
        if not seen.object_masks[self.object_index].any():
            raise InputError("the object's mask is empty: mark its visible pixels")

    @classmethod
    def of(cls, observation: Observation, object_index: int = 0) -> Evidence:
        """Of one object of an observation."""
        return cls(observation, object_index)

    @property
    def key(self) -> str:
        """Equal for equal evidence."""
        points, digest = self.observation.keypoints, hashlib.sha256()
        assert points is not None
        assert points.xyz is not None
        for array in (points.xy, points.confidence, points.xyz, *self._masks()):
            digest.update(repr(array.shape).encode())  # masks of other sizes may have the same bytes
            digest.update(np.ascontiguousarray(array).tobytes())
        return f"evidence-{digest.hexdigest()}"

    def packed(self, config: EvidenceConfig) -> Tensor:
        """(packed_size,) as the tower takes it.

        Raises:
            InputError: the tower takes other numbers of landmarks or masks.
        """
        points = self.observation.keypoints
        assert points is not None
        assert points.xyz is not None
        if config.landmarks != len(points.xy) or config.masks != len(COVERED):
            raise InputError(f"this model takes {config.landmarks} landmarks, the evidence has {len(points.xy)}")
        low, side = self._square()
        xy = 2 * (points.xy - low) / side - 1
        told = np.concatenate([xy, points.xyz, points.confidence[:, None]], axis=1)
        told[points.confidence <= 0] = 0
        masks = torch.stack([_shrunk(mask, low, side, config.image_size) for mask in self._masks()])
        masks = (masks > torch.tensor(COVERED)[:, None, None]).float()
        masks[[0, 2]] *= 1 - masks[1]  # a cell is one's only, as in training
        return pack(torch.as_tensor(told, dtype=torch.float32)[None], masks[None])[0]

    def _masks(self) -> tuple[BoolArray, BoolArray, BoolArray]:
        """Person, object, other objects; nobody's pixels belong to two."""
        seen = self.observation
        thing = seen.object_masks[self.object_index]
        rest = np.zeros_like(thing)
        for i, mask in enumerate(seen.object_masks):
            rest |= mask & ~thing if i != self.object_index else False
        person = np.zeros_like(thing) if seen.person_mask is None else seen.person_mask
        return person & ~thing & ~rest, thing, rest

    def _square(self) -> tuple[FloatArray, float]:
        """Corner and side of the square that is looked at, pixels."""
        points, size = self.observation.keypoints, np.array(self.observation.size[::-1], dtype=float)
        assert points is not None
        sure = points.xy[points.confidence > SURE]
        inside = sure[((sure >= 0) & (sure <= size)).all(1)]
        person, thing, _ = self._masks()
        corners = [inside] + [np.argwhere(mask)[:, ::-1] + 0.5 for mask in (person, thing) if mask.any()]
        found = np.concatenate(corners)
        low, high = found.min(0), found.max(0)
        side = max(ROOM * float((high - low).max()), 1.0)
        return (low + high) / 2 - side / 2, side


def _shrunk(mask: BoolArray, low: FloatArray, side: float, size: int) -> Tensor:
    """(size, size) share of each cell of a square that a mask covers, zero outside the picture."""
    samples = 4 * size
    steps = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples * side
    x, y = (low[0] + steps).floor().long(), (low[1] + steps).floor().long()
    height, width = mask.shape
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None]
    fine = torch.as_tensor(mask)[y.clamp(0, height - 1)[:, None], x.clamp(0, width - 1)[None]] & inside
    return functional.avg_pool2d(fine.float()[None], 4)[0]


def evidence_of(image: object) -> Evidence:
    """What came in place of an image, as evidence: that, or an observation with one object.

    Raises:
        InputError: something else; an observation with several objects.
    """
    if isinstance(image, Evidence):
        return image
    if isinstance(image, Observation):
        if len(image.object_masks) != 1:
            raise InputError(
                f"the observation has {len(image.object_masks)} objects: say which with Evidence.of(observation, index)"
            )
        return Evidence(image)
    raise InputError(
        f"this model sees landmarks and masks, not pictures, and got {type(image).__name__}: give an Observation (from "
        "hoirecon.perception, with an object mask), or Evidence.of(observation, index)"
    )
