"""Contact of surfaces: distances by hand, what slides freely, points beyond the grid's box, settings."""

from __future__ import annotations

import pytest
import torch

from hoirecon.errors import InputError
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.sdf import DistanceGrid, distance_grid
from hoirecon.fitting.surface_contact import ObjectOnSkin, SkinOnObject, beyond_the_box
from tests.fitting.conftest import boxes
from tests.fitting.joint_scenes import JointScene, make_joint_scene


@pytest.fixture(scope="module")
def grid() -> DistanceGrid:
    """Of a cube of 20 cm, exact on its faces, with a margin of 2 cm."""
    return distance_grid(boxes([((0, 0, 0), (0.2, 0.2, 0.2))], 0.05), nodes=64, margin=0.02).to("cpu", torch.float64)


@pytest.fixture(scope="module")
def scene() -> JointScene:
    return make_joint_scene()


def test_distances_go_on_outside_the_box(grid: DistanceGrid) -> None:
    points = torch.tensor([[0.11, 0, 0], [0.17, 0, 0], [0.05, -0.3, 0.02], [0.0, 0.0, 0.0]], dtype=torch.float64)
    value, slope = beyond_the_box(grid, points)
    assert torch.allclose(value[:3], torch.tensor([0.01, 0.07, 0.2], dtype=torch.float64), atol=2e-3)
    outward = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, -1, 0]], dtype=torch.float64)
    assert torch.allclose(slope[:3], outward, atol=2e-2)
    assert float(value[3]) < -0.05


def test_the_gradient_is_that_of_autograd_in_and_out_of_the_box(grid: DistanceGrid) -> None:
    generator = torch.Generator().manual_seed(0)
    points = (0.3 * torch.randn(200, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    value, slope = beyond_the_box(grid, points)
    (exact,) = torch.autograd.grad(value.sum(), points)
    assert torch.allclose(slope, exact, atol=1e-9)
    assert bool(grid.contains(points.detach()).any())
    assert not bool(grid.contains(points.detach()).all())


def test_the_object_s_way_is_the_residual_s_and_labels_lie_in_their_band(scene: JointScene) -> None:
    """One millimetre away from the skin is a tenth of a sigma of 1 cm for the typical point, on either surface."""
    problem = scene.problem(config=JointConfig(body_first=False, surface_weight=5.0, surface_gap=0.0))
    state = problem.start([list(scene.poses)])
    terms = {t.name: t for t in problem.terms(problem.config.whole)}
    assert isinstance(terms["skin on object"], SkinOnObject)
    assert isinstance(terms["object on skin"], ObjectOnSkin)
    shift = slice(state.layout.of_object(0).start + 3, state.layout.of_object(0).start + 6)
    for name, limit in (("skin on object", 2.0), ("object on skin", 3.0)):  # the scene's labels: 2 cm and 3 cm
        before = terms[name].residuals(problem.view(state))
        assert -0.5 < float(before.r[0, :, 0].median()) < limit
        normal = before.J[0, :, 0, shift] * 0.01
        assert float(normal.norm(dim=1).median()) == pytest.approx(1.0, abs=0.05)
        step = torch.zeros(1, state.layout.size, dtype=torch.float64)
        step[0, shift] = 0.001 * normal[0]
        after = terms[name].residuals(problem.view(state.retract(step)))
        assert float((after.r - before.r)[0, 0, 0]) == pytest.approx(0.1 * float(normal[0].square().sum()), abs=0.02)


def test_the_gap_is_taken_off_the_distance(scene: JointScene) -> None:
    """4 mm are four tenths of a sigma of 1 cm, for points of either side."""
    found: list[dict[str, torch.Tensor]] = []
    for gap in (0.0, 0.004):
        problem = scene.problem(config=JointConfig(body_first=False, surface_weight=5.0, surface_gap=gap))
        view = problem.view(problem.start([list(scene.poses)]))
        terms = [t for t in problem.terms(problem.config.whole) if t.name in ("skin on object", "object on skin")]
        found.append({t.name: t.residuals(view).r for t in terms})
    assert len(found[0]) == 2
    for name in found[0]:
        assert torch.allclose(found[0][name] - found[1][name], torch.tensor(0.4, dtype=torch.float64), atol=1e-9)


def test_they_are_left_out_unless_asked_for_and_for_given_pairs(scene: JointScene) -> None:
    names = {t.name for t in scene.problem().terms(JointConfig().whole)}
    assert not names & {"skin on object", "object on skin"}
    with pytest.raises(InputError, match="surface contact"):
        JointConfig(surface_weight=-1.0)
    with pytest.raises(InputError, match="surface_sigma"):
        JointConfig(surface_sigma=0.0)
