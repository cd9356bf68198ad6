"""What happens to masks in photographs, done to the training's random views."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from hoirecon.arrays import IntArray
from hoirecon.retrieval.embedded.occluders import person, rectangle
from hoirecon.retrieval.embedded.unlearned import cropped
from hoirecon.retrieval.embedded.views import Float32Array

Rng = np.random.Generator
BANK = 2048
"""Occluders that are kept and picked from."""
SMALLEST = 12
"""Pixels below which nothing is left to recognise: such a picture stays as it was."""


@dataclass(frozen=True)
class AugmentConfig:
    """How often and how strongly."""

    occluded: float = 0.5
    """How often something stands before the object."""
    hidden: tuple[float, float] = (0.03, 0.45)
    """Least and largest part of it that is hidden."""
    ragged: float = 0.25
    """How often the outline is wrong: wider, narrower, or frayed."""
    cut: float = 0.05
    """How often the picture's border cuts a piece off."""
    turned: float = 6.0
    """Largest turn in the picture beyond the camera's roll, degrees."""
    squeezed: float = 0.06
    """Largest change of the aspect."""


class Augmenter:
    """Changes pictures at random.

    Args:
        size: side of the pictures, pixels.
        seed: of the occluders that it keeps.
        config: how often and how strongly.
    """

    def __init__(self, size: int, seed: int, config: AugmentConfig = AugmentConfig()) -> None:
        rng = np.random.default_rng([seed, 2])
        draws = [rectangle if i % 2 else person for i in range(BANK)]
        self.config = config
        self.bank = np.stack([draw(size, rng.uniform(0, size, 2), rng) for draw in draws])
        self._flat = torch.from_numpy(self.bank.reshape(BANK, -1).T.astype(np.float32))

    def __call__(self, pictures: Float32Array, rng: Rng) -> Float32Array:
        """Pictures (B, S, S, 4) of masks and normals as photographs might have shown them, cut to their boxes again."""
        warped = np.stack([self._warped_and_ragged(picture, rng) for picture in pictures])
        covers = self._covers(warped[..., 0], rng)
        return np.stack([self._finished(p, w, c, rng) for p, w, c in zip(pictures, warped, covers, strict=True)])

    def _warped_and_ragged(self, picture: Float32Array, rng: Rng) -> Float32Array:
        changed = _warped(picture, rng, self.config)
        if rng.random() < self.config.ragged:
            changed = changed * _ragged(changed[..., 0], rng)[..., None]
        return changed

    def _covers(self, masks: Float32Array, rng: Rng) -> IntArray:
        """(B,) which occluder hides a wanted part of each mask; -1 for none."""
        some = rng.integers(BANK, size=BANK // 4)
        flat = torch.from_numpy(masks.reshape(len(masks), -1))
        hidden = (flat @ self._flat[:, some] / flat.sum(1, keepdim=True).clamp_min(1)).numpy()
        fits = (hidden >= self.config.hidden[0]) & (hidden <= self.config.hidden[1])
        chosen = some[(fits * rng.random(fits.shape)).argmax(1)]
        wanted = fits.any(1) & (rng.random(len(masks)) < self.config.occluded)
        return np.where(wanted, chosen, -1)

    def _finished(self, picture: Float32Array, changed: Float32Array, cover: int, rng: Rng) -> Float32Array:
        if cover >= 0:
            changed = changed * ~self.bank[cover][..., None]
        elif rng.random() < self.config.cut and changed[..., 0].any():
            changed = _cut(changed, rng)
        if (changed[..., 0] > 0.5).sum() < SMALLEST:
            changed = picture
        return cropped(changed, len(picture))


def _warped(picture: Float32Array, rng: Rng, config: AugmentConfig) -> Float32Array:
    size = len(picture)
    angle = rng.uniform(-config.turned, config.turned)
    matrix = cv2.getRotationMatrix2D((size / 2 - 0.5, size / 2 - 0.5), angle, rng.uniform(0.85, 1.0))
    matrix[0] *= np.exp(rng.uniform(-config.squeezed, config.squeezed))
    found: Float32Array = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR)
    return found


def _ragged(mask: Float32Array, rng: Rng) -> Float32Array:
    """Factors 0 or 1 that move or fray the outline of a mask; pixels are only ever taken away or kept."""
    size = len(mask)
    coarse = rng.normal(size=(int(rng.integers(4, 13)),) * 2).astype(np.float32)
    noise = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    depth = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 1.5))
    factors: Float32Array = (depth + 0.12 * noise > rng.uniform(0.3, 0.6)).astype(np.float32)
    return factors


def _cut(picture: Float32Array, rng: Rng) -> Float32Array:
    out = picture.copy()
    rows = np.flatnonzero(out[..., 0].any(1))
    keep = int(rows[0] + (rows[-1] - rows[0]) * rng.uniform(0.6, 0.95))
    if rng.random() < 0.7:
        out[keep:] = 0  # the photograph's lower border is the one that cuts most
    else:
        out[:, keep:] = 0
    return out
