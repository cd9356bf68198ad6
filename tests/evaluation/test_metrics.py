"""Metrics against closed forms and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoirecon.data.objects import Symmetry
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld.overlap import drawn_masks, overlap
from hoirecon.evaluation.metrics import (
    adds_cm,
    chamfer_cm,
    contact_scores,
    iou,
    median_interval,
    rotation_error_deg,
    share_below,
    surface_samples,
)
from hoirecon.mesh import Mesh


def _box(size: tuple[float, float, float], at: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    import trimesh

    box = trimesh.creation.box(size).subdivide().subdivide()
    return Mesh(np.asarray(box.vertices) + at, box.faces)


def test_samples_lie_on_the_surface_in_proportion_to_area() -> None:
    points = surface_samples(_box((2.0, 1.0, 1.0)), 4000)
    on_face = np.isclose(np.abs(points) * 2, [2.0, 1.0, 1.0])
    assert on_face.any(1).all()
    assert on_face[:, 0].mean() == pytest.approx(2 / 10, abs=0.02)  # areas 1 1 2 2 2 2
    assert np.array_equal(points, surface_samples(_box((2.0, 1.0, 1.0)), 4000))


def test_a_flat_mesh_without_area_is_refused() -> None:
    with pytest.raises(InputError, match="no area"):
        surface_samples(Mesh(np.zeros((3, 3)), [[0, 1, 2]]))


def test_chamfer_against_a_slow_twin() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((40, 3)), rng.standard_normal((50, 3))
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
    assert chamfer_cm(a, b) == pytest.approx(50 * (distance.min(1).mean() + distance.min(0).mean()))
    assert chamfer_cm(a, b) == pytest.approx(chamfer_cm(b, a))
    assert adds_cm(a, b) == pytest.approx(100 * distance.min(0).mean())


def test_chamfer_does_not_change_by_a_common_motion() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((40, 3)), rng.standard_normal((50, 3))
    R = Rotation.random(rng=rng).as_matrix()
    assert chamfer_cm(a @ R.T + 3, b @ R.T + 3) == pytest.approx(chamfer_cm(a, b))


@pytest.mark.parametrize("angle", [0.0, 1.0, 37.0, 179.0])
def test_rotation_error_is_the_angle(angle: float) -> None:
    R = Rotation.random(rng=np.random.default_rng(2)).as_matrix()
    turn = Rotation.from_rotvec(np.radians(angle) * np.array([0.6, 0.8, 0.0])).as_matrix()
    assert rotation_error_deg(turn @ R, R) == pytest.approx(angle, abs=1e-4)


@pytest.mark.parametrize("text", ["y:2", "x:2 y:2", "y:4", "x:inf y:2", "y:inf", "ball"])
def test_symmetric_turns_cost_nothing_and_others_what_they_are(text: str) -> None:
    symmetry = Symmetry.parse(text)
    R = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
    for turn in symmetry.rotations(8):
        assert rotation_error_deg(R @ turn, R, symmetry) == pytest.approx(0, abs=1e-4)
    tilt = Rotation.from_rotvec([0, 0, np.radians(10)]).as_matrix()  # about the camera's axis, from the left
    error = rotation_error_deg(tilt @ R, R, symmetry)
    assert error <= 10 + 1e-6
    assert error == 0 or text != "ball"


def test_continuous_symmetry_against_a_fine_search() -> None:
    symmetry = Symmetry.parse("x:inf y:2")
    rng = np.random.default_rng(4)
    A, B = Rotation.random(rng=rng).as_matrix(), Rotation.random(rng=rng).as_matrix()
    group = symmetry.rotations(180)
    traces = np.einsum("ij,kij->k", A, B @ group)
    slow = np.degrees(np.arccos((traces.max() - 1) / 2))
    assert rotation_error_deg(A, B, symmetry) == pytest.approx(slow, abs=1.0)


def test_iou_and_contact_scores_by_hand() -> None:
    a, b = np.array([[1, 1, 0]], dtype=bool), np.array([[0, 1, 1]], dtype=bool)
    assert iou(a, b) == pytest.approx(1 / 3)
    assert iou(a & ~a, b & ~b) == 1.0
    scores = contact_scores(np.array([0.01, 0.2, 0.04, -0.01]), np.array([0.01, 0.01, 0.2, 0.0]))
    assert scores.precision == pytest.approx(2 / 3)
    assert scores.recall == pytest.approx(2 / 3)
    assert contact_scores(np.ones(3), np.zeros(3)).f1 == 0.0
    assert contact_scores(np.zeros(3), np.ones(3)).f1 is None


def test_medians_come_with_an_interval_that_shrinks() -> None:
    rng = np.random.default_rng(5)
    small, large = (median_interval(rng.standard_normal(n)) for n in (20, 2000))
    assert small is not None
    assert large is not None
    assert large.ci95[0] < large.median < large.ci95[1]
    assert np.diff(large.ci95) < np.diff(small.ci95)
    assert median_interval([]) is None
    assert share_below([1, 2, 3, 4], 3) == 0.5
    assert share_below([], 3) == 0.0


def test_overlap_of_two_boxes_is_the_closed_form() -> None:
    pytest.importorskip("open3d")
    body, thing = _box((0.4, 0.4, 0.4)), _box((0.4, 0.2, 0.2), (0.35, 0, 0))
    found = overlap(body, thing, cells=20000)
    assert found.deepest_mm == pytest.approx(50, abs=0.1)
    assert found.volume_cm3 == pytest.approx(5 * 20 * 20, rel=0.02)
    apart = overlap(body, _box((0.2, 0.2, 0.2), (2, 0, 0)))
    assert (apart.deepest_mm, apart.volume_cm3) == (0, 0)


def test_drawn_masks_know_what_hides() -> None:
    pytest.importorskip("open3d")
    from hoirecon import Camera

    camera = Camera.from_focal(100, 100, 100)
    wall, thing = _box((1.0, 2.0, 0.1), (0.5, 0, 1.5)), _box((1.0, 1.0, 0.1), (0, 0, 2.05))
    visible, full = drawn_masks(wall, thing, camera)
    assert full.sum() == pytest.approx(50 * 50, rel=0.05)
    assert visible.sum() == pytest.approx(25 * 50, rel=0.05)
    assert not visible[:, 51:].any()
