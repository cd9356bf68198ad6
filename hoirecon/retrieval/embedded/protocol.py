"""The test of the embedded default: unseen shapes, queries from anywhere, and what is counted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.retrieval.clouds import sample_cloud
from hoirecon.retrieval.embedded.occluders import occluder
from hoirecon.retrieval.embedded.shapes import DrawnShape, ShapeSpread, draw_shape, parametric_variants
from hoirecon.retrieval.embedded.views import Float32Array, render, unit_verts, view_rotation
from hoirecon.retrieval.surfaces import Surface

CATEGORIES = (
    "bench", "bicycle", "bottle", "chair", "couch", "dining table", "dumbbell", "guitar", "handbag", "kettlebell",
    "laptop", "mug", "shelf", "stool", "suitcase", "tennis racket",
)  # fmt: skip
"""Sixteen kinds of household and sport."""
YAWS = 36
"""Turns about the up axis that the distance of two shapes is the best of."""
COARSE_POINTS, FINE_POINTS = 256, 2048
"""Points of each shape when the turn is looked for, and when the distance is measured."""


@dataclass(frozen=True)
class ProtocolConfig:
    """Sizes of the test."""

    categories: tuple[str, ...] = CATEGORIES
    """Of the object library; all must have generators."""
    per_category: int = 25
    """Shapes of each."""
    queries: int = 300
    """Random views of random shapes."""
    size: int = 48
    """Side of a query's mask, pixels."""
    elevation: tuple[float, float] = (-6.0, 50.0)
    """Degrees by which the camera looks down."""
    roll: float = 14.0
    """Largest roll of the camera, degrees."""
    distance: tuple[float, float] = (2.0, 7.0)
    """Of the camera, in radii of the object's bounding sphere."""
    hidden: tuple[float, float] = (0.05, 0.35)
    """Least and largest part of the object that an occluder covers."""
    spread: ShapeSpread = field(default_factory=lambda: ShapeSpread(0.05, 0.2, 0.03, 0.5, 0.05))
    """How far the shapes lie from those of the library: near enough that siblings are hard to tell apart. Unlearned
    silhouettes then reach about the figures of the first probe of this test (.88, .80 occluded; instance@5 .57)."""


@dataclass(frozen=True)
class Queries:
    """Random views of the test's shapes."""

    truth: IntArray
    """(Q,) which shape is seen."""
    masks: BoolArray
    """(Q, S, S) all of the object."""
    occluded: BoolArray
    """(Q, S, S) what an occluder leaves of it; it may cut pieces off, and at least one pixel is left."""
    normals: Float32Array
    """(Q, S, S, 3) in the camera frame; zero outside."""
    rotations: FloatArray
    """(Q, 3, 3) R_cam_obj, roll included."""


@dataclass(frozen=True)
class RetrievalTest:
    """Shapes to be found and views to find them by."""

    shapes: tuple[DrawnShape, ...]
    """The index."""
    queries: Queries
    """What is asked."""

    @property
    def categories(self) -> list[str]:
        """Of each shape."""
        return [shape.category for shape in self.shapes]


def make_test(seed: int, config: ProtocolConfig = ProtocolConfig()) -> RetrievalTest:
    """The test of a seed: the shapes and the queries are drawn anew for each.

    Seeds 0 to 999 are for choices, 1000 to 1999 for what is reported; training draws from another range
    (:data:`~hoirecon.retrieval.embedded.training.TRAINING_SEED`).

    Raises:
        InputError: a category without generators.
        MissingExtraError: manifold3d is not installed.
    """
    shapes = tuple(shape for name in config.categories for shape in _drawn(name, seed, config))
    return RetrievalTest(shapes, _queries(shapes, np.random.default_rng([seed, 1]), config))


def yaw_chamfer(a: Mesh, b: Mesh) -> float:
    """Mean distance to the nearest point, both ways averaged, of shapes of radius 1 after the best turn about y."""
    first, second = _even_points(a), _even_points(b)
    angles = torch.arange(YAWS) * (2 * torch.pi / YAWS)
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros(YAWS)
    turns = torch.stack([cos, zero, sin, zero, zero + 1, zero, -sin, zero, cos], -1).reshape(-1, 3, 3)
    coarse = _chamfer(first[:COARSE_POINTS] @ turns, second[:COARSE_POINTS])
    best = turns[coarse.argsort()[:2]]
    return float(_chamfer(first @ best, second).min())


def _chamfer(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(Y,) distances of clouds (Y, P, 3) to a cloud (P, 3)."""
    distances = torch.cdist(first, second.expand(len(first), -1, -1))
    return (distances.amin(1).mean(1) + distances.amin(2).mean(1)) / 2


def _even_points(mesh: Mesh) -> torch.Tensor:
    surface = Surface.from_mesh(mesh)
    unit = Surface(unit_verts(surface), surface.faces, surface.corner_colors, name=surface.name)
    return torch.from_numpy(sample_cloud(unit, FINE_POINTS).points).float()


def _drawn(category: str, seed: int, config: ProtocolConfig) -> list[DrawnShape]:
    variants = [variant for variant in parametric_variants().values() if variant.category == category]
    if not variants:
        raise InputError(f"no generator makes a {category}: choose categories of parametric objects")
    return [
        draw_shape(variants[draw % len(variants)], seed, draw, config.spread) for draw in range(config.per_category)
    ]


def _queries(shapes: tuple[DrawnShape, ...], rng: np.random.Generator, config: ProtocolConfig) -> Queries:
    count = config.queries
    truth = rng.integers(len(shapes), size=count)
    elevation = np.radians(rng.uniform(*config.elevation, count))
    roll = np.radians(rng.uniform(-config.roll, config.roll, count))
    rotations = view_rotation(rng.uniform(0, 2 * np.pi, count), elevation, roll)
    distance = rng.uniform(*config.distance, count)
    masks = np.zeros((count, config.size, config.size), bool)
    normals = np.zeros((*masks.shape, 3), np.float32)
    occluded = masks.copy()
    for i, k in enumerate(truth):
        surface = Surface.from_mesh(shapes[k].mesh)
        views = render(surface, rotations[i : i + 1], distance[i], config.size, samples=1)
        masks[i], normals[i] = views.masks[0] > 0, views.normals[0]
        cover = occluder(masks[i], config.hidden, rng)
        left = masks[i] & ~cover
        occluded[i] = left if left.any() else masks[i]
    return Queries(truth, masks, occluded, normals, rotations)
