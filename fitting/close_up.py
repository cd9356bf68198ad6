"""Penetration seen close up: of the last steps of a joint fit, when it is known where body and object meet.

Grids and samples of a whole barbell are too coarse for fingers round its bar. Once the pose is nearly known, both need
to be fine only where the body is near.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from hoirecon.arrays import FloatArray
from hoirecon.fitting.contact_pairs import sample_surface
from hoirecon.fitting.joint_terms import BodyInObject, ObjectInBody
from hoirecon.fitting.joint_view import JointView
from hoirecon.fitting.objective import Term
from hoirecon.fitting.sdf import distance_grid
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

NEAR = 0.06
"""Object surface within this of the skin is looked at closely, metres."""
SAMPLES, MOST = 12_000, 1200
"""Points scattered over the object, and most of those near the body that are kept."""
NODES = 96
"""Of the distance grid, along its longest side."""
MARGIN = 0.015
SIGMA = 0.005
"""Noise of a penetration depth, metres."""


def close_penetration(
    mesh: Mesh,
    pose: ObjectPose,
    body_cam: FloatArray,
    index: int = 0,
    weight: float = 1.0,
    tolerance: float = 0.002,
    dtype: torch.dtype = torch.float32,
) -> list[Term[JointView]]:
    """Terms for ``fit(..., terms=...)``: an object and a body that are nearly in place do not enter one another.

    Args:
        mesh: of the object, as given to the fit.
        pose: about where it is.
        body_cam: (V, 3) vertices of the body, about where it is.
        index: of the object in the joint fit.
        weight: cost of one sample that penetrates by one sigma.
        tolerance: depth that costs nothing, metres.
        dtype: of the joint fit.

    Returns:
        No terms if they are nowhere near each other.
    """
    points = np.concatenate([sample_surface(mesh, SAMPLES).interpolate(mesh.verts), mesh.verts])
    gap, _ = cKDTree(body_cam).query(pose.apply(points), distance_upper_bound=NEAR)
    points = points[np.isfinite(gap)]
    if len(points) == 0:
        return []
    points = points[np.linspace(0, len(points) - 1, min(MOST, len(points))).astype(int)]
    centre = (mesh.verts.min(0) + mesh.verts.max(0)) / 2
    points = points - centre
    local = mesh.with_verts(mesh.verts - centre)
    grid = distance_grid(local, points.min(0) - MARGIN, points.max(0) + MARGIN, NODES).to("cpu", dtype)
    samples = torch.as_tensor(points, dtype=dtype)
    label = f" close up ({index})" if index else " close up"
    return [
        BodyInObject(0, index, grid, SIGMA, tolerance, weight, name="body in object" + label),
        ObjectInBody(0, index, samples, SIGMA, tolerance, weight, name="object in body" + label),
    ]
