"""How sure a fit is: the covariance of its blocks, from the curvature of the objective and the spread of hypotheses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.fitting.object_search import MASK
from hoirecon.fitting.objective import Quadratic, Term

OUTLINE = "outline on mask"
"""Name of the other contour term; with several objects their names follow in brackets."""
USUAL_MISFIT = 0.22
"""Misfit of the contours where no contour is among the terms: the median of 64 tuning scenes at L1."""
LEAST_MISFIT = 0.05
"""An outline that fits better than this is no surer: pixels and meshes are not."""


@dataclass(frozen=True)
class Covariance:
    """Covariance of a step about the best solution: radians, metres, logarithm of scale."""

    matrix: FloatArray
    """(D, D) from the curvature: cov = (J^T W J)^-1, all blocks together."""
    blocks: Mapping[str, FloatArray]
    """Name of an object or body -> (d, d) its part of :attr:`matrix`: the others are not held fixed."""
    spread: Mapping[str, FloatArray]
    """Name of an object -> (7, 7) second moment of the other hypotheses about the best, by how likely they are."""

    def of(self, name: str) -> FloatArray:
        """(d, d) total of one block: curvature and, for an object, the spread of hypotheses.

        Raises:
            InputError: no such block.
        """
        if name not in self.blocks:
            raise InputError(f"no block is called '{name}'; there are: {', '.join(self.blocks)}")
        return np.asarray(self.blocks[name] + self.spread.get(name, 0.0))

    def std(self, name: str) -> FloatArray:
        """(d,) standard deviation of each column of a block: radians, metres, log scale."""
        return np.asarray(np.sqrt(np.diag(self.of(name)).clip(0)))


@dataclass(frozen=True)
class WeakDirection:
    """The least certain way in which an object can move."""

    direction: FloatArray
    """(7,) unit step in the units below, largest entry positive."""
    std_m: float
    """One sigma, as the motion of the object's surface, metres."""
    words: str
    """E.g. ``depth, with size: 31 mm``."""


def laplace(hessian: Tensor) -> FloatArray:
    """(D, D) covariance from half of the Hessian of the cost: the cost is chi-square, so cov = H^-1.

    Columns that no term sees get a large variance instead of an error.
    """
    H = hessian.detach().double().cpu().numpy()
    H = (H + H.T) / 2
    scale = np.sqrt(np.diag(H).clip(1e-12))
    values, vectors = np.linalg.eigh(H / scale[:, None] / scale[None])
    inverse = (vectors / values.clip(1e-9)) @ vectors.T
    return np.asarray(inverse / scale[:, None] / scale[None])


def hypothesis_spread(steps: FloatArray, energies: FloatArray, temperature: float) -> FloatArray:
    """(d, d) second moment of steps (K, d) from the best solution to the others, weighted by exp(-gap / temperature).

    Args:
        steps: of each hypothesis from the best one; the best itself is a row of zeros.
        energies: (K,) squared sigmas.
        temperature: energy gap that makes a hypothesis e times less likely; 2 if the energy were an exact chi-square.
    """
    weight = np.exp(-(energies - energies.min()) / temperature)
    weight = weight / weight.sum()
    return np.asarray(np.einsum("k,ki,kj->ij", weight, steps, steps))


def contour_misfit(terms: Sequence[Term[Any]], quad: Quadratic) -> float:
    """How far the objects' contours are from their masks at a solution, mean robust squared sigmas.

    Least squares' reduced chi-square: what the noise really is, in units of what it was taken for. Only the contours
    are asked, since contact errs by whole patches and landmarks say nothing of the object.

    Args:
        terms: the objective, for the terms' weights.
        quad: of a batch of one.
    """
    own = [(term.weight, float(quad.terms[term.name][0])) for term in terms if term.name.startswith((OUTLINE, MASK))]
    measurements = sum(weight for weight, _ in own)
    if measurements <= 0:
        return USUAL_MISFIT
    return max(sum(cost for _, cost in own) / measurements, LEAST_MISFIT)


def weakest(cov: FloatArray, radius: float) -> WeakDirection:
    """The largest eigenvector of an object's (7, 7) covariance, in metres of motion of its surface.

    Args:
        cov: radians, metres, log scale.
        radius: half of the object's diagonal, metres: turns and sizes become motion of the surface.
    """
    unit = np.array([radius] * 3 + [1.0] * 3 + [radius])
    values, vectors = np.linalg.eigh(cov * unit[:, None] * unit[None])
    direction = vectors[:, -1] * np.sign(vectors[np.abs(vectors[:, -1]).argmax(), -1])
    std = float(np.sqrt(max(values[-1], 0.0)))
    return WeakDirection(direction, std, f"{_words(direction)}: {1e3 * std:.0f} mm")


def _words(direction: FloatArray) -> str:
    """The main part of a direction, and what goes with it if it is at least half as large."""
    parts = {
        "turning about its axis across the picture": abs(direction[0]),
        "turning about its vertical axis": abs(direction[1]),
        "turning in the picture": abs(direction[2]),
        "sideways": abs(direction[3]),
        "up and down": abs(direction[4]),
        "depth": abs(direction[5]),
        "size": abs(direction[6]),
    }
    order = sorted(parts, key=lambda name: -parts[name])
    also = [name for name in order[1:] if parts[name] > 0.5 * parts[order[0]]]
    return order[0] + (f", with {' and '.join(also)}" if also else "")


def split(matrix: FloatArray, columns: Mapping[str, slice]) -> dict[str, FloatArray]:
    """The diagonal blocks by name; empty blocks are left out."""
    return {name: matrix[c, c] for name, c in columns.items() if c.stop > c.start}


def tangent(R: Tensor, t: Tensor, log_s: Tensor) -> FloatArray:
    """(B, 7) step from the first of B poses to each."""
    import roma

    turn: Tensor = roma.rotmat_to_rotvec((R @ R[:1].mT).double())
    parts = torch.cat([turn, (t - t[:1]).double(), (log_s - log_s[:1])[:, None].double()], 1)
    return parts.detach().cpu().numpy()
