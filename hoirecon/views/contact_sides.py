"""From where contact is seen: four views of a body or an object, chosen so that no touched place stays hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact_map import CONTACT_THRESHOLD
from hoirecon.errors import require
from hoirecon.mesh import Mesh
from hoirecon.views.framing import UP_CAM, bounding_ball, raised, turned
from hoirecon.views.raycast import ray_scene
from hoirecon.views.surface import Surface

Frame = Literal["rest", "camera"]
"""``rest``: y up, front at +z (library objects, bodies at rest); ``camera``: the photograph's OpenCV frame."""

BODY_GROUP = 0.30
"""Metres round a place on a body that one close-up shows."""
OBJECT_GROUP = 0.35
"""The same on an object, in radii of its bounding ball."""
SMALL_SHARE = 0.12
"""An object gets a close-up if no more of its surface than this is touched."""
MAX_SAMPLES = 500
"""Touched vertices whose visibility is looked at."""

_AXES = {"rest": (np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])), "camera": (UP_CAM, np.array([0.0, 0.0, -1.0]))}
_NAMES = {
    "rest": ("front", "front left", "left", "back left", "back", "back right", "right", "front right"),
    "camera": ("near side", "near right", "right", "far right", "far side", "far left", "left", "near left"),
}
_LIFTED = {-35: "from below", 10: "", 35: "from above"}


@dataclass(frozen=True)
class Side:
    """One view of a mesh."""

    caption: str
    """Such as ``front left, from below``."""
    way: FloatArray
    """(3,) from the mesh towards the eye."""
    focus: IntArray | None = None
    """(N,) touched vertices that a close-up shows; None: the whole mesh is in the picture."""


def up_of(frame: Frame) -> FloatArray:
    """(3,) what points upwards in a frame."""
    return _AXES[frame][0]


def side_at(eighth: int, elevation: int, frame: Frame) -> Side:
    """The view from one of eight headings (0: front, 2: a body's left), at -35, 10 or 35 degrees."""
    up, front = _AXES[frame]
    words = [_NAMES[frame][eighth % 8], _LIFTED[elevation]]
    return Side(", ".join(w for w in words if w), raised(turned(front, 45.0 * eighth, up), elevation, up))


def body_sides(mesh: Mesh, contact: FloatArray, frame: Frame) -> list[Side]:
    """Front, back, and two more: where contact is seen best and a close-up, or close-ups of two touched places."""
    sides = [side_at(0, 10, frame), side_at(4, 10, frame)]
    touched = np.flatnonzero(contact > CONTACT_THRESHOLD)
    if len(touched) == 0:
        return [*sides, side_at(1, -35, frame), side_at(7, 35, frame)]
    lookout, groups = Lookout(mesh, frame), touched_groups(mesh.verts, touched, BODY_GROUP)
    if len(groups) > 1:
        return [*sides, *(lookout.close_up(group) for group in groups[:2])]
    return [*sides, lookout.best_side(touched, sides), lookout.close_up(groups[0])]


def object_sides(mesh: Mesh, contact: FloatArray, frame: Frame) -> list[Side]:
    """Four views all round, two from above and two from below; a small touched place takes one of them."""
    around = [side_at(7, 35, frame), side_at(1, 35, frame), side_at(3, -35, frame), side_at(5, -35, frame)]
    touched = np.flatnonzero(contact > CONTACT_THRESHOLD)
    if len(touched) == 0:
        return around
    if touched_share(mesh, contact) > SMALL_SHARE:
        return around
    group = touched_groups(mesh.verts, touched, OBJECT_GROUP * bounding_ball(mesh.verts)[1])[0]
    lookout = Lookout(mesh, frame)
    least = int(np.argmin(lookout.visibility(touched, around).sum(axis=1)))
    return [side for k, side in enumerate(around) if k != least] + [lookout.close_up(group)]


def touched_share(mesh: Mesh, contact: FloatArray) -> float:
    """Share of a mesh's area that is touched; of its faces, if it has no area."""
    a, b, c = (mesh.verts[mesh.faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    area = area if area.sum() > 0 else np.ones(len(area))
    return float(area @ (contact[mesh.faces].mean(axis=1) > CONTACT_THRESHOLD) / area.sum())


def touched_groups(verts: FloatArray, touched: IntArray, radius: float) -> list[IntArray]:
    """Touched places that stand apart, at most four, the largest first: each is what lies near its densest spot.

    What lies round a place but not near it (up to 1.7 radii) is left to the views of the whole: a patch that is larger
    than a group must not come out as a middle and a rim.
    """
    groups: list[IntArray] = []
    left = touched
    while len(left) > 0 and len(groups) < 4:
        some = _sample(left)
        near = np.linalg.norm(verts[some][:, None] - verts[some][None], axis=2) < radius
        away = np.linalg.norm(verts[left] - verts[some[int(near.sum(axis=1).argmax())]], axis=1)
        groups.append(left[away <= radius])
        left = left[away > 1.7 * radius]
    return sorted(groups, key=len, reverse=True)


def _sample(touched: IntArray) -> IntArray:
    return touched[:: -(-len(touched) // MAX_SAMPLES)]


class Lookout:
    """Finds from where the touched vertices of one mesh are seen. Needs the extra ``render``."""

    def __init__(self, mesh: Mesh, frame: Frame) -> None:
        self._mesh, self._frame = mesh, frame
        self._radius = bounding_ball(mesh.verts)[1]
        corners = mesh.verts[mesh.faces]
        self._scene = ray_scene([Surface(corners, corners, corners, np.ones(mesh.faces.shape))])  # only met, not lit

    def best_side(self, touched: IntArray, seen: Sequence[Side] = ()) -> Side:
        """The side that shows most of the touched vertices which those already ``seen`` do not."""
        choices = [side_at(k, elevation, self._frame) for elevation in _LIFTED for k in range(8)]
        shown = self.visibility(touched, [*seen, *choices])
        covered, shown = shown[: len(seen)].max(axis=0, initial=0.0), shown[len(seen) :]
        gain = np.maximum(shown - covered, 0).sum(axis=1) + 1e-3 * shown.sum(axis=1)
        return choices[int(gain.argmax())]

    def close_up(self, group: IntArray) -> Side:
        """A near view of some touched vertices, from where most of them are seen."""
        side = self.best_side(group)
        return Side(f"close-up, {side.caption}", side.way, group)

    def visibility(self, touched: IntArray, sides: Sequence[Side]) -> FloatArray:
        """(sides, samples) how openly touched vertices face each side: the cosine, or 0 if something is before them."""
        o3d = require("open3d", extra="render")
        some, ways = _sample(touched), np.stack([side.way for side in sides])
        normals = self._mesh.vert_normals[some]
        start = self._mesh.verts[some] + 2e-3 * self._radius * normals
        shape = (len(sides), len(some), 3)
        rays = np.concatenate([np.broadcast_to(start, shape), np.broadcast_to(ways[:, None], shape)], axis=2)
        hidden = self._scene.test_occlusions(o3d.core.Tensor(rays.astype(np.float32))).numpy()
        facing: FloatArray = np.where(hidden, 0.0, np.clip(ways @ normals.T, 0, 1))
        return facing
