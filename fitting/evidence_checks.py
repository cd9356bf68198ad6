"""Is the evidence usable? Masks, units, depths and contact, checked before any work starts.

The limits are wide: they catch what cannot be meant, not what is unlikely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.data.objects.repair import volume_of
from hoirecon.errors import InputError
from hoirecon.fitting.contact_pairs import TOUCHED_WHOLE_M, anywhere
from hoirecon.fitting.contour import MIN_PIXELS
from hoirecon.fitting.object_problem import check_body, check_mesh
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.fitting.raster import zbuffer
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation

Pair = tuple[ContactMap, ContactMap]
Pairs = dict[tuple[int, int], Pair]

FULL = 0.99
"""A mask that covers more of the picture than this has no outline to fit to."""
SMALLEST_BODY, LARGEST_BODY = 0.2, 5.0
"""Diagonals in metres between which a body can be in metres."""
UNIT_FACTOR = 30.0
"""A mesh is in other units if it is this many times larger or smaller than its mask at the person's depth."""
SWAPPED_IOU, SWAPPED_FACTOR = 0.5, 3.0
"""Masks are swapped if the drawn body overlaps the object's mask at least so well, and so many times better than the
person's."""
DRAWN_PX = 96
"""Longest side of the picture in which the body is drawn for that."""
OPEN_MESH = "mesh is not closed"
"""Flag: inside and outside of the mesh were told by a vote of winding numbers."""
INSIDE_OUT = "mesh is inside out"
"""Flag: its faces look inwards, so that nothing counts as being in it; turn them round (or do not mirror it)."""


def check_evidence(
    observation: Observation,
    bodies: Sequence[Mesh],
    things: Sequence[ObjectToFit],
    pairs: Mapping[tuple[int, int], Pair],
) -> None:
    """Refuse evidence that nothing can be concluded from.

    Args:
        observation: masks and camera.
        bodies: posed, camera frame.
        things: one per object mask.
        pairs: contact of each (body, object) that has any.

    Raises:
        InputError: NaN; empty or full masks; masks of person and object swapped; a body behind the camera, outside the
            picture or not in metres; a mesh of fewer than four faces or not in metres; contact everywhere.
    """
    camera = observation.camera
    check_finite("the camera's K", camera.K)
    for obj in things:
        check_finite(f"the mesh of {obj.name}", obj.mesh.verts)
        check_mesh(obj.mesh)
    for body in bodies:
        check_finite("the body", body.verts)
        check_body(body)
        _check_body_size(body, camera)
    _check_masks(observation, things)
    for mask, obj in zip(observation.object_masks, things, strict=True):
        _check_units(mask, obj, camera, float(np.median(np.concatenate([b.verts[:, 2] for b in bodies]))))
    for (_, k), (on_body, on_object) in pairs.items():
        _check_contact(on_body, on_object, things[k])
    if observation.person_mask is not None:
        _check_swapped(observation.person_mask, observation.object_masks, bodies, things, camera)


def mesh_flags(mesh: Mesh) -> tuple[str, ...]:
    """What to know of a mesh that was fitted."""
    if not mesh.is_watertight:
        return (OPEN_MESH,)
    return (INSIDE_OUT,) if volume_of(mesh) < 0 else ()


def check_finite(name: str, *values: Any) -> None:
    """Arrays are checked when they come in, but they can be written to afterwards."""
    if not all(np.isfinite(v).all() for v in values):
        raise InputError(f"{name} holds NaN or infinite values: mend them first")


def _check_body_size(body: Mesh, camera: Camera) -> None:
    if not SMALLEST_BODY <= body.diagonal <= LARGEST_BODY:
        raise InputError(
            f"the body measures {body.diagonal:g} from corner to corner, expected {SMALLEST_BODY} to {LARGEST_BODY} "
            f"metres: scale it to metres first"
        )
    front = body.verts[body.verts[:, 2] > 0]
    pixels = camera.project(front)
    low, high = pixels.min(0), pixels.max(0)
    if (high < 0).any() or (low > (camera.width, camera.height)).any():
        raise InputError(
            f"the body lies outside the picture (it is drawn at {low.round().tolist()} to {high.round().tolist()} of "
            f"{camera.width} x {camera.height} pixels): give it in the camera frame of this picture, in metres"
        )


def _check_masks(observation: Observation, things: Sequence[ObjectToFit]) -> None:
    for k, (mask, obj) in enumerate(zip(observation.object_masks, things, strict=True)):
        _check_mask(mask, f"the object mask has {int(mask.sum())} pixels ({obj.name}, object_masks[{k}])", MIN_PIXELS)
    if observation.person_mask is not None:
        count = int(observation.person_mask.sum())
        _check_mask(observation.person_mask, f"the person mask has {count} pixels", 1, "; None if it is not known")


def _check_mask(mask: BoolArray, what: str, least: int, advice: str = "") -> None:
    if int(mask.sum()) < least:
        raise InputError(f"{what}, at least {least} are needed: give a box or mask that shows it{advice}")
    if mask.mean() > FULL:
        raise InputError(
            f"{what}, which is the whole picture of {mask.shape[1]} x {mask.shape[0]}: mark only the pixels in which "
            f"it is seen{advice}"
        )


def _check_units(mask: BoolArray, obj: ObjectToFit, camera: Camera, depth: float) -> None:
    rows, cols = np.nonzero(mask)
    spread = np.array([np.ptp(cols) + 1, np.ptp(rows) + 1]) / camera.focal
    seen, size = depth * float(np.linalg.norm(spread)), obj.mesh.diagonal * float(np.exp(obj.size_prior[0]))
    if not seen / UNIT_FACTOR <= size <= seen * UNIT_FACTOR:
        raise InputError(
            f"{obj.name} measures {size:.3g} m from corner to corner, but what its mask shows is {seen:.2g} m large at "
            f"the person's depth of {depth:.2g} m: give mesh and body in metres (and size_prior as the logarithm of a "
            f"scale)"
        )


def _check_contact(on_body: ContactMap, on_object: ContactMap, obj: ObjectToFit) -> None:
    check_finite(f"the contact with {obj.name}", on_body.probability, on_object.probability)
    large = obj.mesh.diagonal * float(np.exp(obj.size_prior[0])) > TOUCHED_WHOLE_M
    for found, name, refused in ((on_body, "the body", True), (on_object, obj.name, large)):
        if refused and found.binary().all() and (found is on_body or not anywhere(found)):
            raise InputError(
                f"the contact says that {name} is touched on all of its {len(found.probability)} vertices, which does "
                f"not say where: give probabilities above one half only where they touch, or None if that is unknown"
            )


def _check_swapped(
    person: BoolArray, masks: Sequence[BoolArray], bodies: Sequence[Mesh], things: Sequence[ObjectToFit], camera: Camera
) -> None:
    shrink = DRAWN_PX / max(camera.width, camera.height)
    small = camera.resized(max(1, round(camera.width * shrink)), max(1, round(camera.height * shrink)))
    drawn = np.logical_or.reduce([_drawn(body, small) for body in bodies])
    own = _iou(drawn, _sampled(person, drawn.shape))
    for mask, obj in zip(masks, things, strict=True):
        other = _iou(drawn, _sampled(mask, drawn.shape))
        if other > SWAPPED_IOU and other > SWAPPED_FACTOR * own:
            raise InputError(
                f"the masks of person and {obj.name} seem to be swapped: the body as posed overlaps the mask of "
                f"{obj.name} with IoU {other:.2f}, the person's with {own:.2f}; exchange person_mask and object_masks"
            )


def _drawn(body: Mesh, camera: Camera) -> BoolArray:
    """(h, w) pixels that the body covers."""
    points: FloatArray = np.concatenate([camera.project(body.verts), body.verts[:, 2:]], axis=1)
    points[~np.isfinite(points)] = 0.0  # behind the camera; depth 0 drops its faces
    faces = torch.as_tensor(body.faces.copy())
    depth = zbuffer(torch.as_tensor(points)[None].float(), faces, camera.height, camera.width)
    return np.asarray(torch.isfinite(depth[0]).numpy())


def _sampled(mask: BoolArray, shape: tuple[int, ...]) -> BoolArray:
    rows, cols = (((np.arange(n) + 0.5) * size / n).astype(int) for n, size in zip(shape, mask.shape, strict=True))
    return np.asarray(mask[np.ix_(rows, cols)])


def _iou(a: BoolArray, b: BoolArray) -> float:
    return float((a & b).sum() / max(int((a | b).sum()), 1))
