"""What is seen of a pose before and behind the body, and where starts are put whose mask is cut off on both sides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hoirecon.camera import Camera
from hoirecon.fitting.contour import Region, make_region
from hoirecon.fitting.hypotheses import start_translations
from hoirecon.fitting.object_state import ObjectState, View
from hoirecon.fitting.silhouette import edge_topology
from hoirecon.fitting.visible import visible_iou, visible_ious
from hoirecon.mesh import Mesh

CAMERA = Camera.from_focal(300.0, 200, 150)
WALL = Mesh(np.array([[-2.0, -2, 2.5], [2, -2, 2.5], [2, 2, 2.5], [-2, 2, 2.5]]), np.array([[0, 1, 2], [0, 2, 3]]))
"""It stands 2.5 m away for the person's body."""
CORNERS = np.array([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])
FACES = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
                  [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])  # fmt: skip
PLATE = Mesh(CORNERS * [0.15, 0.15, 0.002], FACES)
"""A thin square of 30 cm that faces the camera."""


def square(half: int, shape: tuple[int, int] = (150, 200)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[75 - half : 75 + half, 100 - half : 100 + half] = True
    return mask


def plate_at(depths: list[float], region: Region) -> ObjectState:
    """The plate in the middle of the picture, each time with the outline that it has at 2 m."""
    t = torch.tensor([[0.0, 0.0, z] for z in depths])
    topology = edge_topology(PLATE.faces)
    view = View(torch.as_tensor(PLATE.verts).float(), topology, region, 96, 192)
    return ObjectState(torch.eye(3).expand(len(t), 3, 3), t, (t[:, 2] / 2).log(), view)


@pytest.mark.parametrize("body", ["before", "elsewhere"])
def test_what_is_behind_the_body_is_not_what_is_seen_before_it(body: str) -> None:
    """The mask alone cannot tell: with a body elsewhere all depths are as good."""
    depth = 2.5 if body == "before" else 9.0
    wall = WALL.with_verts(WALL.verts * (depth / 2.5))
    region = make_region(square(22), CAMERA, (~square(22), wall))  # 300 * .15 / 2 = 22.5 pixels
    before, just, behind = visible_iou(plate_at([2.0, 2.49, 2.8], region)).tolist()
    assert min(before, just) > 0.8 * (before if body == "before" else just)
    assert before > 0.9
    assert behind < 0.01 if body == "before" else behind > 0.9


def test_one_drawing_gives_the_figure_that_ranks_and_the_figure_that_is_shown() -> None:
    """A plate that covers its mask from behind the body fits the mask all the same, but is not what is seen."""
    region = make_region(square(22), CAMERA, (~square(22), WALL))
    plates = plate_at([2.0, 2.8], region)
    told_apart, shown = visible_ious(plates)
    torch.testing.assert_close(told_apart, visible_iou(plates))
    torch.testing.assert_close(shown, visible_iou(plates, behind_is_missed=False))
    assert min(shown.tolist()) > 0.9 > told_apart[1]


def test_a_start_covers_a_mask_that_is_cut_off_on_all_sides() -> None:
    """Contact may be wrong and far away; what is seen belongs to the object all the same."""
    region = make_region(square(6), CAMERA, (~square(6), WALL))
    assert region.free_sides == (False, False, False, False)
    verts, R = torch.as_tensor(PLATE.verts).float(), torch.eye(3)[None]
    body, obj = torch.tensor([0.7, 0.05, 2.0]), torch.zeros(3)
    t = start_translations(R, verts, region, (body, obj), 2.0)[0]
    pixels = CAMERA.project((verts + t).numpy().astype(float))
    cols = np.nonzero(square(6))[1]
    assert pixels[:, 0].min() <= cols.min() + 1
    assert pixels[:, 0].max() >= cols.max()
    assert float(t[0]) > 0.05  # but no farther from the contact than that
    assert float(t[1]) == pytest.approx(0.05, abs=1e-6)  # covers it as it is
    assert float(t[2]) == pytest.approx(2.0)
