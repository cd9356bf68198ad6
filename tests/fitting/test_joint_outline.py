"""The person's silhouette in a joint fit: what slides, what counts before and behind an object; landmarks' trust."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.fitting.body_evidence import NOISE, gather_evidence
from hoirecon.fitting.body_types import BodyFitConfig
from hoirecon.fitting.contour import Region
from hoirecon.fitting.joint_outline import DEPTH_SOFTNESS_M, BodyOnMask, MaskOnBody, person_region, under_hair
from hoirecon.fitting.object_terms import FLOOR
from hoirecon.mesh import Mesh
from hoirecon.observation import Keypoints, Observation
from tests.fitting.conftest import CAMERA
from tests.fitting.joint_scenes import make_joint_scene

LIKE = torch.zeros(1, dtype=torch.float64)
LEFT, TOP, SIDE, WALL_Z = 60, 50, 60, 2.0
BODY = Mesh(np.eye(3) + np.array([0.0, 0.0, 2.0]), np.array([[0, 1, 2]]))


def wall(left: float, top: float, right: float, bottom: float) -> Mesh:
    """A rectangle that fills these pixels, facing the camera at :data:`WALL_Z`."""
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return Mesh(np.stack([CAMERA.unproject(c, WALL_Z) for c in corners]), np.array([[0, 1, 2], [0, 2, 3]]))


def seen() -> Observation:
    """The person is a square, the object touches it on the right."""
    person, thing = np.zeros((2, CAMERA.height, CAMERA.width), bool)
    person[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = True
    thing[TOP : TOP + SIDE, LEFT + SIDE : LEFT + 2 * SIDE] = True
    return Observation(np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), CAMERA, person, (thing,))


def region_of(known: bool) -> Region:
    things = [wall(LEFT + SIDE, TOP, LEFT + 2 * SIDE, TOP + SIDE)] if known else None
    region = person_region(seen(), BODY, LIKE, things)
    assert region is not None
    assert region.px_per_cell == 1.0
    return region


def view_of(pixels: Tensor, depth: Tensor) -> Any:
    """Body points (N, 3) at pixels (N, 2) and depths (N,), which may move as they like."""
    at = torch.as_tensor(np.stack([CAMERA.unproject(p, float(z)) for p, z in zip(pixels.numpy(), depth, strict=True)]))
    J = torch.eye(3 * len(at), dtype=at.dtype).view(1, len(at), 3, 3 * len(at))
    return SimpleNamespace(points=at[None], J_points=J)


def test_a_contour_point_sees_how_far_the_piece_of_outline_is_across_it() -> None:
    """Samples every 8 px, 3 px right of the person's left side: 3 px across for all points beside them, 0 along."""
    region, sigma, spacing = region_of(False), 2.0, 8.0
    rows = TOP + 2 + spacing * torch.arange(8, dtype=torch.float64)
    view = view_of(torch.stack([torch.full_like(rows, LEFT + 3.0), rows], 1), torch.full_like(rows, 2.0))
    along = torch.tensor([0.0, spacing], dtype=torch.float64).expand(len(rows), 2)
    res = MaskOnBody(slice(0, len(rows)), region, sigma, 1.0, along).residuals(view)
    target = region.contour_points(350)[0]
    corner = region.project(torch.as_tensor(CAMERA.unproject([LEFT, TOP], 1.0)))
    beside = (target[:, 0] == corner[0]) & (target[:, 1] > corner[1]) & (target[:, 1] < corner[1] + SIDE)
    assert int(beside.sum()) > 40
    expected = torch.tensor([3.0 / sigma, 0.0], dtype=torch.float64)
    assert torch.allclose(res.r[0, beside], expected.expand(int(beside.sum()), 2), atol=1e-9)
    moved = res.J[0, beside].abs().sum((0, 2))
    assert float(moved[0]) > 0
    assert float(moved[1]) < 1e-12, "the body may slide along its outline"


@pytest.mark.parametrize("known", [True, False])
def test_the_outline_counts_before_an_object_and_not_behind_it(known: bool) -> None:
    """A sample 4 px inside the object's mask: in front it must go back to the person's contour, behind it is hidden."""
    before, behind = WALL_Z - 0.1, WALL_Z + 0.1
    pixels = torch.tensor([[LEFT + SIDE + 4.0, TOP + 30.0]] * 2 + [[LEFT - 4.0, TOP + 30.0]], dtype=torch.float64)
    depth = torch.tensor([before, behind, 2.0], dtype=torch.float64)
    res = BodyOnMask(slice(0, 3), region_of(known), 2.0, 1.0).residuals(view_of(pixels, depth))
    share = torch.sigmoid(torch.tensor(0.1 / DEPTH_SOFTNESS_M, dtype=torch.float64))
    counts = torch.stack([share, 1 - share]) if known else torch.zeros(2, dtype=torch.float64)
    assert torch.allclose(res.w[0] / res.w[0, 2], torch.cat([counts, torch.ones(1)]).to(res.w), atol=1e-6)
    assert torch.allclose(res.r[0, [0, 2], 0], torch.tensor([2.0, 2.0], dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("known", [True, False])
def test_the_contour_beside_an_object_is_the_body_s_where_that_is_in_front(known: bool) -> None:
    region = region_of(known)
    target = region.contour_points(350)[0]
    right = target[:, 0] > target[:, 0].max() - 1e-6
    middle = right & ((target[:, 1] - target[:, 1].mean()).abs() < 15)
    weights = []
    for z in (WALL_Z - 0.1, WALL_Z + 0.1):
        view = view_of(torch.tensor([[LEFT + SIDE + 0.0, TOP + 30.0]]), torch.tensor([z]))
        term = MaskOnBody(slice(0, 1), region, 2.0, 1.0, torch.zeros(1, 2, dtype=torch.float64))
        weights.append(float(term.residuals(view).w[0, middle].sum()))
    assert (weights[0] > 0.01) == known
    assert weights[1] < 0.02 * max(weights[0], 1e-9) or not known


def test_objects_of_a_problem_stand_before_and_behind_the_body() -> None:
    """In a joint problem the depth beside the person is the object's own, not unknown."""
    scene = make_joint_scene()
    problem = scene.problem()
    person = problem.people[0]
    region = person_region(scene.observation, person.mesh, person.start.transl)
    assert region is not None

    problem = replace(problem, people=(replace(person, region=region),))
    after = problem.outlined(problem.start([list(scene.poses)])).people[0]
    assert after.region is not None
    assert after.outline is not None
    hiding = region.front < 1e3
    thing = torch.as_tensor(scene.objects[0].mesh.verts @ scene.poses[0].R.T * scene.poses[0].s + scene.poses[0].t)
    inside = hiding & (after.region.front > 0) & (after.region.front < 1e3)
    assert int(inside.sum()) > 50
    depth = after.region.front[inside]
    assert float(depth.min()) > float(thing[:, 2].min()) - 1e-3
    assert float(depth.max()) < float(thing[:, 2].max()) + 1e-3
    assert len(after.outline.along) == len(after.figure.points) - len(after.bare)


def test_landmarks_of_a_simulation_count_evenly_and_by_their_confidence() -> None:
    scene = make_joint_scene()
    person = scene.people[0]
    assert person.keypoints is not None
    assert person.model is not None
    confidence = np.linspace(0.0, 1.0, len(person.keypoints.xy))
    marks = Keypoints(person.keypoints.layout, person.keypoints.xy, confidence)
    even = BodyFitConfig(even_landmarks=True, confidence_power=3.0)
    usual, told = (gather_evidence(marks, CAMERA, person.model, c, posed=True) for c in (BodyFitConfig(), even))
    inside = usual.trust_2d > 0
    assert inside.sum() > 10
    np.testing.assert_allclose(told.noise, 1.0)
    np.testing.assert_allclose(told.trust_2d[inside], confidence[inside] ** 3)
    assert usual.noise[usual.index("left_hip")] == NOISE["hip"]
    with pytest.raises(InputError, match="confidence_power"):
        BodyFitConfig(confidence_power=0.0)


def test_samples_without_trust_pull_nothing_and_are_pulled_by_nothing() -> None:
    """Two samples, the upper one under hair: the outline counts the lower one only, and so does the contour there."""
    region, trust = region_of(False), torch.tensor([0.0, 1.0], dtype=torch.float64)
    rows = torch.tensor([TOP + 10.0, TOP + SIDE - 10.0], dtype=torch.float64)
    view = view_of(torch.stack([torch.full_like(rows, LEFT - 3.0), rows], 1), torch.full_like(rows, 2.0))
    along = torch.zeros(2, 2, dtype=torch.float64)
    both = slice(0, 2), region, 2.0, 1.0
    out, back = BodyOnMask(*both, trust).residuals(view), MaskOnBody(*both, along, trust).residuals(view)
    assert out.w[0].tolist() == pytest.approx([0.0, 1 / (1 + 2 * FLOOR)])
    target = region.contour_points(350)[0]
    corner = region.project(torch.as_tensor(CAMERA.unproject([LEFT, TOP], 1.0)))
    upper = target[:, 1] < corner[1] + SIDE / 2 - 1
    assert float(back.w[0, upper].abs().max()) == 0.0
    assert float(back.w[0, ~upper].sum()) > 0.5


def test_the_head_s_outline_is_left_out_where_hair_hides_it() -> None:
    person = make_joint_scene().problem().people[0]
    observation = make_joint_scene().observation
    region = person_region(observation, person.mesh, person.start.transl)
    person = replace(person, region=region).outlined(person.start)
    with_head, without = (person.silhouette(1.0, head) for head in (True, False))
    head = under_hair(person.figure.model)
    assert 50 < int(head.sum()) < len(head) / 2
    assert person.outline is not None
    own = head[person.outline.points.idx].any(1)
    assert 0 < int(own.sum()) < len(own)
    for plain, part in zip(with_head, without, strict=True):
        assert isinstance(plain, BodyOnMask | MaskOnBody)
        assert isinstance(part, BodyOnMask | MaskOnBody)
        assert plain.trust is None
        assert part.trust is not None
        assert torch.equal(part.trust == 0, own)
