"""What stands before an object in a photograph: rectangles, and people made of capsules."""

from __future__ import annotations

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.retrieval.embedded.views import Float32Array

Rng = np.random.Generator
TRIES = 40
"""Occluders tried until one hides the wanted part of the object."""


def occluder(mask: BoolArray, hidden: tuple[float, float], rng: Rng) -> BoolArray:
    """Pixels (S, S) of a rectangle or a person before an object, one as often as the other.

    Args:
        mask: (S, S) the object's pixels.
        hidden: least and largest part of the object's pixels that it covers.
        rng: source of chance.

    Returns:
        The first of 40 tries that hides a part in that range, or else the one that came nearest to it.
    """
    rows, columns = np.nonzero(mask)
    best, gap = np.zeros_like(mask), np.inf
    for _ in range(TRIES):
        at = rng.integers(len(rows))
        centre = np.array([columns[at], rows[at]], float)
        cover = (rectangle if rng.random() < 0.5 else person)(mask.shape[0], centre, rng)
        part = float(mask[cover].sum()) / len(rows)
        miss = max(hidden[0] - part, part - hidden[1], 0.0)
        if miss < gap:
            best, gap = cover, miss
        if gap == 0:
            break
    return best


def rectangle(size: int, centre: FloatArray, rng: Rng) -> BoolArray:
    """Pixels (size, size) of a turned rectangle about a point (x, y)."""
    angle, half = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(0.04), np.log(0.4), 2)) * size
    x, y = _grid(size, centre)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    inside: BoolArray = (np.abs(along) <= half[0]) & (np.abs(across) <= half[1])
    return inside


def person(size: int, centre: FloatArray, rng: Rng) -> BoolArray:
    """Pixels (size, size) of a body of capsules, a random point of which lies on a point (x, y)."""
    height = size * np.exp(rng.uniform(np.log(0.6), np.log(3.0)))
    segments = _skeleton(rng) * height
    lean = rng.normal(0, 0.3)
    turn = np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]])
    ends = segments[:, :4].reshape(-1, 2, 2) @ turn
    pick = rng.integers(len(ends))
    ends = ends - (ends[pick, 0] + rng.random() * (ends[pick, 1] - ends[pick, 0])) + centre
    cover = np.zeros((size, size), bool)
    for (start, stop), radius in zip(ends, segments[:, 4], strict=True):
        cover |= _capsule(size, start, stop, radius)
    return cover


def _skeleton(rng: Rng) -> FloatArray:
    """(10, 5) capsules of a body of height 1 and random pose: both ends (x right, y down) and the radius."""

    def limb(x: float, y: float, angle: float, bend: float, length: float, radius: float) -> list[list[float]]:
        mid = (x + length * np.sin(angle), y + length * np.cos(angle))
        end = (mid[0] + length * np.sin(angle + bend), mid[1] + length * np.cos(angle + bend))
        return [[x, y, *mid, radius], [*mid, *end, 0.8 * radius]]

    parts = [[0, -0.42, 0, -0.36, 0.065], [0, -0.27, 0, -0.02, 0.1]]
    for side in (-1, 1):
        parts += limb(0.1 * side, -0.28, side * rng.uniform(-0.2, 2.2), rng.uniform(-1.5, 1.5), 0.16, 0.028)
        parts += limb(0.05 * side, 0.03, side * rng.uniform(-0.1, 0.9), rng.uniform(-1.0, 0.3) * side, 0.23, 0.045)
    return np.array(parts)


def _capsule(size: int, start: FloatArray, stop: FloatArray, radius: float) -> BoolArray:
    x, y = _grid(size, start)
    axis = stop - start
    along = np.clip((x * axis[0] + y * axis[1]) / max(float(axis @ axis), 1e-9), 0, 1)
    near: BoolArray = (x - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2 <= radius**2
    return near


def _grid(size: int, centre: FloatArray) -> tuple[Float32Array, Float32Array]:
    line = np.arange(size, dtype=np.float32)
    return line[None, :] - np.float32(centre[0]), line[:, None] - np.float32(centre[1])
