"""The pictures of a body that MV-Loc looks at: mean shape, legs apart, arms out, normals as colours.

The released models saw one body only, SMPL-H's neutral mean shape, so these pictures are the same for every photograph:
drawn once, and kept (:class:`~hoirecon.contact.rendering.view_cache.ViewCache`).

Placement. The views turn round the origin and do not move with the body, so where the body stands is part of what the
networks learned: SMPL-H's own frame, whose origin lies at the chest, 24 cm above the pelvis. Bodies of another topology
(the free body has its pelvis at the origin, SMPL-X's lies 35 cm below it) are moved so that their pelvis is there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from hoirecon.arrays import FloatArray
from hoirecon.contact.rendering.types import RenderedViews, Renderer, ViewTable
from hoirecon.contact.rendering.views import view_lights
from hoirecon.data.body.skeleton import BODY_JOINT_NAMES

if TYPE_CHECKING:
    from hoirecon.contact.rendering.view_cache import ViewCache
    from hoirecon.data.body import BodyModel

LEGS_APART = math.radians(30)
"""How far each leg is turned outwards at the hip, about the axis that points to the front."""
SMPLH_PELVIS = (0.0, -0.24, 0.03)
"""Where SMPL-H's mean shape has its pelvis joint, metres, to the centimetre."""
SMPLH = "smplh"
"""Topology that is drawn where its file puts it."""


def vitruvian_pose(model: BodyModel) -> FloatArray:
    """The body as its views show it.

    Args:
        model: any body of the SMPL-H layout; its shape coefficients stay zero.

    Returns:
        (V, 3) metres, y up, front to +z, the body's left at +x; T-pose arms, each leg 30 degrees out. SMPL-H stays
        where its file puts it; another body's pelvis is put where SMPL-H has its own.
    """
    pose = torch.zeros(1, 21, 3, dtype=model.dtype, device=model.device)
    for side, angle in (("left", LEGS_APART), ("right", -LEGS_APART)):
        pose[0, BODY_JOINT_NAMES.index(f"{side}_hip") - 1, 2] = angle
    with torch.no_grad():
        body = model(body_pose=pose)
    verts: FloatArray = body.verts[0].cpu().double().numpy()
    if model.topology == SMPLH:
        return verts
    moved: FloatArray = verts + (np.array(SMPLH_PELVIS) - body.joints[0, 0].cpu().double().numpy())
    return moved


def render_body(
    model: BodyModel, table: ViewTable, renderer: Renderer, cache: ViewCache | None = None
) -> RenderedViews:
    """Draw a body in the Vitruvian pose from every view of a table.

    Args:
        model: the body; the released models were trained on SMPL-H's.
        table: the views, e.g. ``human_views("4MV-Z_Vitru")``.
        renderer: draws.
        cache: where pictures and maps are kept between runs; None draws anew.
    """
    from hoirecon.contact.rendering.surfaces import body_surface
    from hoirecon.contact.rendering.view_cache import render_once

    surface = body_surface(vitruvian_pose(model), model.faces)
    return render_once(surface, table, view_lights(table), renderer, cache)
