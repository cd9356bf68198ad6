"""How the posed body lies to an object's mask in the image: nearness in metres, who is before whom.

The object's own depth is not known here. What an image does tell: how far each body vertex projects from the visible
object, in metres at the vertex's depth; whether the object could be hidden behind the body there; and which side of
the body the camera sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.camera import Camera
from hoirecon.contact.placement import SeenObject
from hoirecon.scene import SceneBody

SKIN_M = 0.03
"""Vertices so little behind the front of the body count as on it, metres: the drawing has one depth per face."""
WORKING_SIZE = 320
"""Longest side in pixels of the image in which masks are compared: finer than the body fit is."""


@dataclass(frozen=True)
class Proximity:
    """Body vertices against one object's mask; all arrays (V,)."""

    distance_m: FloatArray
    """Distance to the nearest visible object pixel: in the image plane, metres at the vertex's depth, and how far the
    vertex lies behind the front of the body there, since the object is seen before that front."""
    hidden_distance_m: FloatArray
    """The same to where the object may also be, hidden by the body: its convex hull within the body's outline.
    Infinite for vertices that are seen, as nothing is before them."""
    goes_on_behind: float
    """0 to 1: how sure it is that the object goes on behind the body. Within the object's hull, most of the body's
    outline then has the object beside it (a chair behind a sitter), not background (a bar that crosses the back)."""
    in_image: BoolArray
    """Whether the vertex projects into the image."""
    on_mask: BoolArray
    """Whether it projects onto the visible object: the object is then before it, if it is where the body is."""
    seen: BoolArray
    """Whether the body itself leaves the vertex visible."""
    towards_camera: FloatArray
    """Cosine between the vertex normal and the direction to the camera."""
    seen_object: SeenObject
    """The masks of the object and of what may hide it, in the small picture that was measured."""


def measure(
    body: SceneBody,
    camera: Camera,
    mask: BoolArray,
    person_mask: BoolArray | None = None,
    occluders: BoolArray | None = None,
) -> Proximity:
    """Compare a body with an object's mask (H, W) of visible pixels.

    Args:
        body: posed body, camera frame.
        camera: intrinsics of the mask.
        mask: at least one true pixel.
        person_mask: (H, W) visible pixels of the person; joined with the body's own outline.
        occluders: (H, W) pixels of other things, behind which the object may go on.
    """
    from scipy.ndimage import distance_transform_edt

    shrink = min(1.0, WORKING_SIZE / max(mask.shape))
    small = camera.resized(max(1, round(camera.width * shrink)), max(1, round(camera.height * shrink)))
    object_small = _resize(mask, small)
    faces_seen = _draw(body, small)
    outline = faces_seen >= 0
    if person_mask is not None:
        outline |= _resize(person_mask, small)
    outline &= ~object_small
    hull = _hull(object_small)
    pixels = np.nan_to_num(small.project(body.verts), nan=-1e6)
    metre_per_px = body.verts[:, 2] / small.focal[0]
    col, row, beyond = _clamp(pixels, small)
    away, (near_row, near_col) = distance_transform_edt(~object_small, return_indices=True)
    front = _front_depth(body, faces_seen)[near_row[row, col], near_col[row, col]]
    behind = np.maximum(body.verts[:, 2] - front - SKIN_M, 0.0)
    may_hide = hull & outline
    away_hidden = distance_transform_edt(~may_hide) if may_hide.any() else np.full(mask.shape, np.inf)
    normals = body.mesh.vert_normals
    to_camera = -body.verts / np.linalg.norm(body.verts, axis=1, keepdims=True)
    seen = np.zeros(len(body.verts), dtype=bool)
    seen[body.faces[np.unique(faces_seen[faces_seen >= 0])]] = True
    return Proximity(
        distance_m=np.hypot((away[row, col] + beyond) * metre_per_px, behind),
        hidden_distance_m=np.where(seen, np.inf, (away_hidden[row, col] + beyond) * metre_per_px),
        goes_on_behind=_goes_on_behind(object_small, outline, hull),
        in_image=beyond == 0,
        on_mask=object_small[row, col] & (beyond == 0),
        seen=seen,
        towards_camera=np.einsum("vc,vc->v", normals, to_camera),
        seen_object=SeenObject(
            small, object_small, outline if occluders is None else outline | _resize(occluders, small) & ~object_small
        ),
    )


def _front_depth(body: SceneBody, faces_seen: IntArray) -> FloatArray:
    """(h, w) depth of the front of the body, metres; infinite beside it."""
    of_face = np.append(body.verts[body.faces, 2].mean(axis=1), np.inf)  # index -1: no face
    depth: FloatArray = of_face[faces_seen]
    return depth


def _goes_on_behind(object_mask: BoolArray, outline: BoolArray, hull: BoolArray) -> float:
    """0 where at most 40 % of the pixels just outside the body and within the hull are the object's, 1 from 80 % on."""
    from scipy.ndimage import binary_dilation

    rim = binary_dilation(outline, iterations=2) & ~outline & hull
    if not rim.any():
        return 0.0
    share = float(binary_dilation(object_mask, iterations=1)[rim].mean())
    return float(np.clip((share - 0.4) / 0.4, 0.0, 1.0))


def _resize(mask: BoolArray, camera: Camera) -> BoolArray:
    """Shrink a mask; a pixel stays true if any of it was, so that thin bars survive."""
    import cv2

    size = (camera.width, camera.height)
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(share > min(0.25, float(share.max()) / 2))


def _clamp(pixels: FloatArray, camera: Camera) -> tuple[IntArray, IntArray, FloatArray]:
    """Column and row of the nearest pixel of the image, and how far outside the point lies, pixels."""
    low, high = np.zeros(2), np.array([camera.width, camera.height], dtype=float)
    inside = np.clip(pixels, low, high)
    beyond = np.linalg.norm(pixels - inside, axis=1)
    index = np.minimum(np.floor(inside), high - 1).astype(np.int64)
    return index[:, 0], index[:, 1], beyond


def _draw(body: SceneBody, camera: Camera) -> IntArray:
    """(h, w) face seen at each pixel, -1 for none: a painter's drawing from far to near, exact enough for outlines."""
    import cv2

    picture = np.full((camera.height, camera.width), -1.0, dtype=np.float32)
    corners = body.verts[body.faces]
    facing = np.einsum(
        "fc,fc->f", np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), corners[:, 0]
    )
    drawn = np.flatnonzero((facing < 0) & (corners[..., 2].min(axis=1) > 0.05))
    order = drawn[np.argsort(-corners[drawn, :, 2].mean(axis=1))]
    # Four more bits of position than a pixel has; cv2 counts from pixel centres, we from corners.
    points = np.round((np.clip(camera.project(corners[order]), -1e4, 1e4) - 0.5) * 16).astype(np.int32)
    for face, triangle in zip(order.tolist(), points, strict=True):
        cv2.fillConvexPoly(picture, triangle, float(face), lineType=cv2.LINE_8, shift=4)
    return picture.astype(np.int64)


def _hull(mask: BoolArray) -> BoolArray:
    """Convex hull of a mask's pixels."""
    import cv2

    rows, cols = np.nonzero(mask)
    if len(rows) == 0:
        return mask
    hull = cv2.convexHull(np.stack([cols, rows], axis=1).astype(np.int32))
    filled = np.zeros(mask.shape, dtype=np.uint8)
    cv2.fillConvexPoly(filled, hull, 1)
    return np.asarray(filled > 0)
