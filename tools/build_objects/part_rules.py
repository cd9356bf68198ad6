"""Simple geometric rules that divide a wrapped mesh into named parts (y up, +z front)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import trimesh
from numpy.typing import NDArray

Labels = tuple[list[str], NDArray[np.int64]]


def whole(mesh: trimesh.Trimesh) -> Labels:
    """No rule fits: one part."""
    return ["whole"], np.zeros(len(mesh.faces), dtype=np.int64)


def chair(mesh: trimesh.Trimesh, level_range: tuple[float, float] = (0.25, 0.65)) -> Labels:
    """Seat: where most area faces up at mid height; above it back (rear) and arms (rest); below it legs.

    "legs" holds everything below the seat, for an upholstered chair its base. `level_range` limits where the seat is
    sought, as shares of the height.
    """
    centre, normal = mesh.triangles_center, mesh.face_normals
    low = mesh.bounds[0, 1]
    height = mesh.bounds[1, 1] - low
    level = _level_of_most_area(mesh, low + level_range[0] * height, low + level_range[1] * height)
    slack = max(0.03, 0.05 * height)
    above = centre[:, 1] > level + slack
    seat = (np.abs(centre[:, 1] - level) <= slack) & (normal[:, 1] > -0.5)
    rear = _rear_of_back(centre[above], mesh) if above.any() else mesh.bounds[0, 2]
    # Between the arms there is only the back with its cushions, however far they come forward.
    between = np.abs(centre[:, 0]) < 0.3 * np.ptp(mesh.bounds[:, 0])
    back = above & ((centre[:, 2] < rear) | between)
    names = ["seat", "back", "arms", "legs"]
    labels = np.where(back, 1, np.where(above, 2, np.where(seat, 0, 3)))
    return _used(names, labels)


def sofa(mesh: trimesh.Trimesh) -> Labels:
    """Like `chair`, with the arms told apart (the sitter's left is +x), and "base" for what is below the seat."""
    names, labels = chair(mesh)
    labels = labels.copy()
    if "arms" in names:
        arms = labels == names.index("arms")
        labels[arms & (mesh.triangles_center[:, 0] < 0)] = len(names)
        names = [*names, "arm_right"]
    renamed = {"arms": "arm_left", "legs": "base"}
    return _used([renamed.get(name, name) for name in names], labels)


def stool(mesh: trimesh.Trimesh) -> Labels:
    """The top tenth is the seat, the rest legs."""
    return _top(mesh, "seat")


def table(mesh: trimesh.Trimesh) -> Labels:
    """The top tenth is the table top, the rest legs."""
    return _top(mesh, "top")


def bed(mesh: trimesh.Trimesh) -> Labels:
    """Mattress: within 12 cm of the level of most upward area; headboard: higher, at the rear; the rest frame."""
    centre = mesh.triangles_center
    low, high = mesh.bounds[0, 1], mesh.bounds[1, 1]
    level = _level_of_most_area(mesh, low + 0.2 * (high - low), high)
    at_head = centre[:, 2] < mesh.bounds[0, 2] + 0.08 * np.ptp(mesh.bounds[:, 2])
    flat = (np.abs(centre[:, 1] - level) < 0.12) & (mesh.face_normals[:, 1] > 0.3)
    labels = np.where(at_head & (centre[:, 1] > level + 0.05), 1, np.where(flat, 0, 2))
    return _used(["mattress", "headboard", "frame"], labels)


def _top(mesh: trimesh.Trimesh, name: str) -> Labels:
    edge = mesh.bounds[1, 1] - max(0.04, 0.1 * np.ptp(mesh.bounds[:, 1]))
    return _used([name, "legs"], np.where(mesh.triangles_center[:, 1] > edge, 0, 1))


def _level_of_most_area(mesh: trimesh.Trimesh, low: float, high: float) -> float:
    """Height between two limits at which the most area faces up (weighted by how much it does)."""
    y = mesh.triangles_center[:, 1]
    weight = mesh.area_faces * np.clip(mesh.face_normals[:, 1] - 0.5, 0, None)
    count, edges = np.histogram(y, bins=60, range=(mesh.bounds[0, 1], mesh.bounds[1, 1]), weights=weight)
    smooth = np.convolve(count, [1, 2, 3, 2, 1], mode="same")
    middle = (edges[1:] + edges[:-1]) / 2
    smooth[(middle < low) | (middle > high)] = -1
    return float(middle[int(smooth.argmax())])


def _rear_of_back(centre: NDArray[np.float64], mesh: trimesh.Trimesh) -> float:
    """Depth that divides the back from the arms: a third of the depth before the rearmost part of the back."""
    rear = np.percentile(centre[:, 2], 5)
    return float(rear + 0.32 * np.ptp(mesh.bounds[:, 2]))


def _used(names: list[str], labels: NDArray[np.int64]) -> Labels:
    used = np.unique(labels)
    return [names[k] for k in used], np.searchsorted(used, labels)


RULES: dict[str, Callable[..., Labels]] = {
    "whole": whole,
    "chair": chair,
    "sofa": sofa,
    "stool": stool,
    "table": table,
    "bed": bed,
}
"""Rules by the names used in selection.toml."""
