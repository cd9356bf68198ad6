"""Evidence as a front end gives it: exact samples spoilt by the errors that BlazePose was measured to make.

The errors are those of ``python -m hoirecon.landmark_errors`` (319 rendered people): whole views of them are laid on a
sample that is seen from about the same side, so that errors that go together stay together. Rendered people are easier
than photographs; what is added beside them (hidden landmarks worse, drop-outs, sides exchanged) is our own estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig, pack, unpack
from hoirecon.contact.training.closedworld_data import SIDE, Samples

ERRORS = Path(__file__).parent / "assets" / "landmark_errors.npz"
NEAREST = 12
"""Measured views among which one is drawn: those nearest in azimuth."""
MIRRORED = np.array([0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9] + [k + (1 if k % 2 else -1) for k in range(11, 33)])
"""The landmark on the other side."""


@dataclass(frozen=True)
class FrontEnd:
    """How evidence is spoilt."""

    noise: float = 1.0
    """Factor on all errors of landmarks and masks; 0 leaves them exact."""
    hidden_m: float = 0.05
    """Further error of landmarks that are hidden or outside the picture, metres, each way."""
    swapped: float = 0.01
    """Share of samples in which left and right of the whole person are exchanged."""
    dropped: float = 0.03
    """Share of landmarks that are missing; of hidden ones three times as many."""
    mask_wobble: float = 0.2
    """Spread of the smooth error of the masks' outline, relative to what moves it by a pixel or so."""
    no_person: float = 0.03
    """Share of samples without the person's mask."""


@dataclass(frozen=True, eq=False)
class _Bank:
    xy: FloatArray
    xyz: FloatArray
    confidence: FloatArray
    azimuth: FloatArray


@cache
def _bank() -> _Bank:
    with np.load(ERRORS, allow_pickle=False) as stored:
        return _Bank(*(stored[k].astype(np.float32) for k in ("xy", "xyz", "confidence", "azimuth")))


def spoilt(samples: Samples, rows: IntArray, rng: np.random.Generator, front_end: FrontEnd | None = None) -> Tensor:
    """(n, packed_size) evidence of some samples, spoilt anew.

    Args:
        samples: exact ones.
        rows: (n,) which.
        rng: all that is random.
        front_end: how; None takes the defaults.
    """
    how = front_end or FrontEnd()
    landmarks = _landmarks(samples, rows, rng, how)
    return pack(torch.as_tensor(landmarks), _masks(samples.pictures(rows), rng, how))


def _landmarks(samples: Samples, rows: IntArray, rng: np.random.Generator, how: FrontEnd) -> np.ndarray:
    xy, xyz = samples.xy[rows].copy(), samples.xyz[rows].copy()
    hidden = samples.hidden[rows]
    bank = _bank()
    apart = np.abs((bank.azimuth[None] - samples.azimuth[rows][:, None] + 180) % 360 - 180)
    near = np.argsort(apart, axis=1)[:, :NEAREST]
    which = near[np.arange(len(rows)), rng.integers(NEAREST, size=len(rows))]
    scale = _scale(xy, xyz)[:, None, None]
    more = hidden[..., None] * how.hidden_m
    xy += how.noise * scale * (bank.xy[which] + more * rng.standard_normal(xy.shape))
    xyz += how.noise * (bank.xyz[which] + more * rng.standard_normal(xyz.shape))
    confidence = np.clip(bank.confidence[which] - hidden * rng.uniform(0, 0.6, hidden.shape), 0.01, 1)
    gone = rng.random(hidden.shape) < how.dropped * np.where(hidden, 3, 1) * min(how.noise, 1)
    swap = rng.random(len(rows)) < how.swapped * how.noise
    xy[swap], xyz[swap] = xy[swap][:, MIRRORED], xyz[swap][:, MIRRORED]
    found = np.concatenate([xy, xyz, np.where(gone, 0.0, confidence)[..., None]], axis=-1)
    return found.astype(np.float32)


def _scale(xy: np.ndarray, xyz: np.ndarray) -> np.ndarray:
    """(n,) length of a metre at the person in the square."""
    flat, deep = xy - xy.mean(1, keepdims=True), xyz[..., :2] - xyz[..., :2].mean(1, keepdims=True)
    return np.asarray(np.sqrt((flat**2).sum((1, 2)) / np.maximum((deep**2).sum((1, 2)), 1e-4)))


def _masks(masks: np.ndarray, rng: np.random.Generator, how: FrontEnd) -> Tensor:
    exact = torch.as_tensor(masks, dtype=torch.float32)
    if how.noise == 0:
        return exact
    rough = torch.as_tensor(rng.standard_normal((len(masks), 3, SIDE // 4, SIDE // 4)), dtype=torch.float32)
    smooth = functional.interpolate(how.noise * how.mask_wobble * rough, SIDE, mode="bilinear", align_corners=False)
    soft = 0.5 * exact + 0.5 * functional.avg_pool2d(exact, 3, 1, 1)
    found = (soft + smooth.clamp(-0.45, 0.45) > 0.5).float()
    without = torch.as_tensor(rng.random(len(masks)) < how.no_person)
    found[without, 0] = 0
    return found


def mirror(packed: Tensor, which: Tensor, config: EvidenceConfig) -> Tensor:
    """Some pictures of packed evidence (n, packed_size) seen in a mirror; ``which`` (n,) says which."""
    landmarks, masks = unpack(packed, config)
    flipped = landmarks[:, torch.as_tensor(MIRRORED)] * landmarks.new_tensor([-1, 1, -1, 1, 1, 1])
    return torch.where(which[:, None], pack(flipped, masks.flip(-1)), packed)
