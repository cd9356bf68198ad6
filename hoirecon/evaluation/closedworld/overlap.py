"""Overlap of a placed object with a body and with masks, by exact inside tests and ray casting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.data.closedworld.rays import Solid
from hoirecon.evaluation.metrics import surface_samples
from hoirecon.mesh import Mesh


@dataclass(frozen=True)
class Overlap:
    """How far body and object are in one another, and how near."""

    deepest_mm: float
    """Deepest point of either in the other; 0 if apart."""
    volume_cm3: float
    """Volume that both fill."""
    body_distance: FloatArray
    """(V,) signed distance of the body's vertices to the object, metres."""


def overlap(body: Mesh, thing: Mesh, seed: int = 0, samples: int = 2000, cells: int = 4000) -> Overlap:
    """Measure two closed meshes in one frame.

    Args:
        body: posed body.
        thing: placed object.
        seed: of the points drawn on the object and in the common box.
        samples: points on the object, besides its vertices.
        cells: points drawn in the common box for the volume.
    """
    inside_thing, inside_body = Solid(thing), Solid(body)
    distance = inside_thing.signed_distance(body.verts)
    points = np.concatenate([thing.verts, surface_samples(thing, samples, seed)])
    deepest = max(0.0, -float(distance.min()), -float(inside_body.signed_distance(points).min()))
    low, high = np.maximum(body.verts.min(0), thing.verts.min(0)), np.minimum(body.verts.max(0), thing.verts.max(0))
    volume = 0.0
    if (high > low).all():
        drawn = np.random.default_rng(seed).uniform(low, high, (cells, 3))
        both = inside_thing.inside(drawn) & inside_body.inside(drawn)
        volume = float(both.mean() * np.prod(high - low) * 1e6)
    return Overlap(1e3 * deepest, volume, distance)


def drawn_masks(body: Mesh, thing: Mesh, camera: Camera) -> tuple[BoolArray, BoolArray]:
    """(H, W) pixels in which the object is seen before the body, and all that it would fill."""
    R, t = np.eye(3), np.zeros(3)
    near, far = Solid(thing).depth(camera, R, t), Solid(body).depth(camera, R, t)
    return np.isfinite(near) & (near < far), np.isfinite(near)
