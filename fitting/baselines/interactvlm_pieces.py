"""The parts of the InteractVLM-style fit, each equal to the published code's on its own (row vectors throughout)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.fitting.baselines.geometry import align

CROP_FOCAL, CROP_WIDTH, CROP_HEIGHT = 5000.0, 192.0, 256.0
"""Virtual focal length and size of the person crop in the published pipeline, pixels."""


@dataclass(frozen=True)
class Registration:
    """One closed-form alignment of the object's contact patch with the body's."""

    R: FloatArray
    """(3, 3), row vectors."""
    T: FloatArray
    """(3,) metres."""
    s: float
    rmse: float
    """Root mean square distance of the matched pairs afterwards, metres."""
    moved: FloatArray
    """(N, 3) object points afterwards."""
    rounds: int


def crop_camera(box: tuple[float, float, float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Focal lengths and principal point, pixels, that go with a person box (x, y, width, height)."""
    x, y, width, height = box
    focal = CROP_FOCAL / CROP_WIDTH * width, CROP_FOCAL / CROP_HEIGHT * height
    return focal, (x + width / 2, y + height / 2)


def soft_centroid(image: Tensor) -> Tensor:
    """(2,) row and column of a soft mask's centre of mass, of pixel indices; an empty mask's is the image's middle.

    Pixels of exactly 0 get no gradient, as published (it lists the pixels that are not 0).
    """
    image = torch.where(image != 0, image, 0.0)
    mass = image.sum()
    if not bool(mass > 0):
        return image.new_tensor(image.shape) / 2
    rows, columns = (torch.arange(n, dtype=image.dtype, device=image.device) for n in image.shape)
    return torch.stack([(image.sum(1) * rows).sum(), (image.sum(0) * columns).sum()]) / mass


def box_centre(mask: Tensor) -> Tensor:
    """(2,) row and column of the middle of a mask's box, of pixel indices; thin things that no pixel of a small picture
    is full of are taken at half of their strongest pixel."""
    found = torch.nonzero(mask > 0.5 * mask.max().clamp(max=1.0))
    return (found.amin(0) + found.amax(0)).to(mask) / 2


def half_dice(drawn: Tensor, target: Tensor) -> Tensor:
    """1 - sum(a b) / sum(a + b): one half for a perfect silhouette, one where nothing meets."""
    return 1 - (drawn * target).sum() / (drawn + target).sum()


def all_pairs_contact(on_object: Tensor, on_body: Tensor, object_weight: Tensor, body_weight: Tensor) -> Tensor:
    """Mean distance over ALL pairs of an object and a body vertex, weighted by both probabilities; never 0."""
    total: Tensor = _AllPairs.apply(on_object, on_body, object_weight, body_weight)  # type: ignore[no-untyped-call]
    return total / (object_weight.sum() * body_weight.sum())


class _AllPairs(torch.autograd.Function):
    """sum_ij p_i q_j |a_i - b_j|; the gradient, to a alone, is one matrix product, much faster than that of cdist."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, p: Tensor, q: Tensor) -> Tensor:
        distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        ctx.save_for_backward(a, b, p, q, distance)
        return p @ (distance @ q)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b, p, q, distance = ctx.saved_tensors
        nearness = distance.reciprocal().masked_fill_(distance == 0, 0.0)  # as cdist: no pull where points coincide
        middle = b.mean(0)  # subtracted for precision
        pull = nearness @ torch.cat([q[:, None], q[:, None] * (b - middle)], 1)
        return grad * p[:, None] * ((a - middle) * pull[:, :1] - pull[:, 1:]), None, None, None


def facing(object_normals: FloatArray, body_normals: FloatArray, degrees: tuple[float, ...]) -> BoolArray:
    """(N,) object points whose normal opposes some body normal within the first angle, or beyond the second.

    With the published (90, -90) the two conditions together hold for any pair, so nothing is dropped.
    """
    opposed = object_normals @ -body_normals.T
    kept = (opposed > np.cos(np.radians(degrees[0]))).any(1)
    if len(degrees) > 1:
        kept |= (opposed < np.cos(np.radians(degrees[1]))).any(1)
    return np.asarray(kept)


def register(
    on_object: FloatArray,
    object_normals: FloatArray,
    on_body: FloatArray,
    body_normals: FloatArray,
    start: tuple[FloatArray, FloatArray, float],
    scale: bool = False,
) -> Registration:
    """Match each moved object point (position, normal) to the nearest body point (position, negated normal), align.

    The published loop matches once, before it starts (with normals that the start does not turn), and takes a
    non-increase of the error for convergence, so that it ends after its second, equal round: one alignment, of the
    points as they were before the start.
    """
    R0, T0, s0 = start
    query = np.concatenate([s0 * on_object @ R0 + T0, object_normals], 1)
    matched = on_body[cKDTree(np.concatenate([on_body, -body_normals], 1)).query(query)[1]]
    R, T, s = align(on_object, matched, scale=scale)
    moved = s * on_object @ R + T
    rmse = float(np.sqrt(((moved - matched) ** 2).sum(1).mean()))
    return Registration(R, T, s, rmse, moved, 2)
