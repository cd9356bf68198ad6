"""One scene of the benchmark as a picture: what was given, the result over it, and both from the side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.arrays import BoolArray, ByteArray, FloatArray
from hoirecon.camera import Camera
from hoirecon.data.closedworld import ClosedWorldScene, NoisyObservation
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody
from hoirecon.views.canvas import LegendEntry, draw_outlines, outlines, over, rounded, sheet
from hoirecon.views.framing import View, fit_view, raised, turned
from hoirecon.views.palette import body_color, from_hex, object_color
from hoirecon.views.raycast import render, render_with_index
from hoirecon.views.surface import Surface, make_surface

PANEL = 380
"""Side of each of the four pictures, pixels."""
OPACITY = 0.85
"""How much of the photograph the result hides."""
PAPER = np.array([250, 250, 249], dtype=np.uint8)
"""Behind views from the side, and beyond the photograph's border."""
OBJECT_MASK, PERSON_MASK, TRUE_OUTLINE = from_hex("#f0e442"), from_hex("#ffffff"), from_hex("#0072b2")
SUPERSAMPLE = 2
AROUND_M, AROUND = 0.55, 2.6
"""How much is shown round the object: metres, from the side; in the photograph, times the object's size."""
SIDE = turned(raised(np.array([0.0, 0.0, -1.0]), 8.0), 90.0)
"""(3,) towards the eye of the view from the side: the camera is then at the picture's left."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Body and object in the camera frame."""

    body: Mesh
    thing: Mesh

    @property
    def surfaces(self) -> list[Surface]:
        """The body's, then the object's."""
        return [make_surface(self.body, body_color(0)), make_surface(self.thing, object_color(0))]


def placed_of(given: NoisyObservation, row: Mapping[str, Any]) -> Placed:
    """What a row of the benchmark says, on what the method was given.

    Raises:
        InputError: the row has no pose, because its method failed or an older version wrote it.
    """
    if "pose" not in row:
        why = row.get("failed") or "an older version wrote it; empty the folder of results"
        raise InputError(f"the result of {row.get('method')} on {row.get('scene')} has no pose to draw: {why}")
    pose = ObjectPose(row["pose"]["R"], row["pose"]["t"], row["pose"]["s"])
    return Placed(_body(given, row).mesh, given.mesh.with_verts(pose.apply(given.mesh.verts)))


def _body(given: NoisyObservation, row: Mapping[str, Any]) -> SceneBody:
    from hoirecon.data.closedworld.posing import body_model

    if row.get("body") is None:
        return given.body
    return body_model().pose(given.body.params.replace(**row["body"]))


def scene_picture(
    scene: ClosedWorldScene, given: NoisyObservation, row: Mapping[str, Any], notes: Sequence[str] = ()
) -> ByteArray:
    """Draw the picture with its masks, the result over it, the result from the side, and the truth beside it.

    Args:
        scene: the truth.
        given: what the method was given.
        row: what it said, with ``pose`` and, if it moved the body, ``body``.
        notes: lines below the pictures.

    Returns:
        (H, W, 3) uint8.
    """
    truth = Placed(scene.body.mesh, scene.mesh.with_verts(scene.pose.apply(scene.mesh.verts)))
    found = placed_of(given, row)
    window = Window.round(scene, found)
    side = fit_view(_near(truth, found), SIDE, PANEL, PANEL)
    panels = [
        ("given: picture and masks", _given(given, window)),
        ("result over the picture", _over(scene, given, found, window)),
        ("result from the side", _from_side(found, truth, side)),
        ("truth from the side", _from_side(truth, truth, side)),
    ]
    return sheet([panels], legend=_legend(given), notes=notes)


def _near(truth: Placed, found: Placed) -> FloatArray:
    """(N, 3) both objects, and of the bodies what is near them: a whole body would make a small object tiny."""
    things = np.concatenate([truth.thing.verts, found.thing.verts])
    centre = (things.min(0) + things.max(0)) / 2
    bodies = np.concatenate([truth.body.verts, found.body.verts])
    away = np.linalg.norm(bodies - centre, axis=1)
    reach = max(AROUND_M, 0.8 * float(np.ptp(things, axis=0).max()), float(away.min()) + AROUND_M / 2)
    return np.concatenate([things, bodies[away < reach]])


def _legend(given: NoisyObservation) -> list[LegendEntry]:
    hidden = given.observation.occluders is not None
    return [
        LegendEntry("body", body_color(0)),
        LegendEntry("object", object_color(0)),
        LegendEntry("given mask of the object", OBJECT_MASK, "line"),
        LegendEntry("given mask of the person", from_hex("#c9c9c9"), "line"),
        *([LegendEntry("given occluder", from_hex("#2b2d33"))] if hidden else []),
        LegendEntry("true outline of the object", TRUE_OUTLINE, "line"),
    ]


@dataclass(frozen=True)
class Window:
    """A square part of the photograph, drawn as a panel."""

    left: float
    top: float
    side: float
    """All in pixels of the photograph."""

    @classmethod
    def round(cls, scene: ClosedWorldScene, found: Placed) -> Window:
        """Round the true object and, as far as it is in the picture, the found one; the person as far as it helps."""
        size = np.array([scene.camera.width, scene.camera.height])
        ahead = found.thing.verts[found.thing.verts[:, 2] > 0.1]
        points = np.concatenate([_pixels(scene.full), scene.camera.project(ahead).clip(0, size)])
        low, high = points.min(0), points.max(0)
        everything = float(np.ptp(np.concatenate([points, _pixels(scene.person)]), axis=0).max())
        side = 1.1 * max(min(AROUND * float((high - low).max()), everything), float((high - low).max()), 60.0)
        left, top = (low + high - side) / 2
        return cls(float(left), float(top), float(side))

    @property
    def scale(self) -> float:
        """Pixels of the panel per pixel of the photograph."""
        return PANEL / self.side

    def camera(self, camera: Camera) -> Camera:
        """The camera that sees just this window."""
        K = camera.K.copy()
        K[:2, 2] -= (self.left, self.top)
        K[:2] *= self.scale
        return Camera(K, PANEL, PANEL)

    def photo(self, image: ByteArray) -> ByteArray:
        """(PANEL, PANEL, 3) part of the photograph; paper beyond its border."""
        from PIL import Image

        margin = int(np.ceil(max(0, -self.left, -self.top, self.left + self.side - image.shape[1],
                                 self.top + self.side - image.shape[0]))) + 2  # fmt: skip
        wide = np.empty((image.shape[0] + 2 * margin, image.shape[1] + 2 * margin, 3), dtype=np.uint8)
        wide[:] = PAPER
        wide[margin:-margin, margin:-margin] = image
        box = (self.left + margin, self.top + margin, self.left + self.side + margin, self.top + self.side + margin)
        return np.asarray(Image.fromarray(wide).resize((PANEL, PANEL), Image.Resampling.BICUBIC, box=box))

    def lines(self, mask: BoolArray) -> list[FloatArray]:
        """Outlines of a mask of the photograph, in the panel's pixels times :data:`SUPERSAMPLE`."""
        return [(line - (self.left, self.top)) * self.scale * SUPERSAMPLE for line in outlines(mask)]


def _pixels(mask: BoolArray) -> FloatArray:
    """(N, 2) columns and rows of a mask."""
    return np.argwhere(mask)[:, ::-1].astype(np.float64)


def _with_lines(picture: ByteArray, drawn: Sequence[tuple[Sequence[FloatArray], FloatArray, int]]) -> ByteArray:
    """The picture under outlines of given colours and widths, yellow and white ones on a thin dark edge."""
    from PIL import Image, ImageDraw

    lines = Image.new("RGBA", (PANEL * SUPERSAMPLE, PANEL * SUPERSAMPLE))
    draw = ImageDraw.Draw(lines)
    for places, color, width in drawn:
        if color is not TRUE_OUTLINE:
            draw_outlines(draw, places, from_hex("#2b2d33"), width * SUPERSAMPLE + 2)
        draw_outlines(draw, places, color, width * SUPERSAMPLE)
    return over(np.asarray(lines.reduce(SUPERSAMPLE)), picture)


def _given(given: NoisyObservation, window: Window) -> ByteArray:
    seen = given.observation
    image = seen.image.copy()
    if seen.occluders is not None:
        image[seen.occluders] = image[seen.occluders] // 4
    masks = [(window.lines(mask), OBJECT_MASK, 2) for mask in seen.object_masks]
    person = [] if seen.person_mask is None else [(window.lines(seen.person_mask), PERSON_MASK, 1)]
    return _with_lines(window.photo(image), person + masks)


def _over(scene: ClosedWorldScene, given: NoisyObservation, found: Placed, window: Window) -> ByteArray:
    drawn = render(found.surfaces, window.camera(scene.camera))
    picture = over(drawn, window.photo(given.observation.image), OPACITY)
    masks = [(window.lines(mask), OBJECT_MASK, 1) for mask in given.observation.object_masks]
    return _with_lines(picture, [*masks, (window.lines(scene.full), TRUE_OUTLINE, 2)])


def _from_side(shown: Placed, truth: Placed, view: View) -> ByteArray:
    """One of the two from the side, with the outline of the true object as if nothing stood before it."""
    drawn = render([s.moved(view.T_view_cam) for s in shown.surfaces], view.camera)
    true_object = truth.surfaces[1].moved(view.T_view_cam)
    index = render_with_index([true_object], view.camera, supersample=1)[1]
    paper = np.broadcast_to(PAPER, (PANEL, PANEL, 3))
    return _with_lines(over(drawn, paper), [(rounded(outlines(index == 0, SUPERSAMPLE)), TRUE_OUTLINE, 2)])
