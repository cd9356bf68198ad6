"""Baselines behind one protocol: exact where a closed form is, sane on a small exact scene, clear on bad input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.fitting.baselines import (
    BASELINES,
    Baseline,
    BaselineProblem,
    InteractvlmConfig,
    PhosaConfig,
    PicoConfig,
    baseline_problem,
    fit_centroid,
    fit_icp,
    fit_interactvlm_style,
    fit_mask_depth,
    fit_phosa_style,
    fit_pico_style,
    fit_procrustes,
)
from hoirecon.fitting.baselines.geometry import (
    UPRIGHT,
    align,
    box_depth,
    column_pose,
    matrix_of_6d,
    six_of_matrix,
    translation_to_box,
)
from hoirecon.fitting.baselines.interactvlm_pieces import all_pairs_contact, box_centre, half_dice, soft_centroid
from hoirecon.fitting.baselines.interactvlm_style import surface_centroid
from hoirecon.fitting.baselines.mask_view import crop_mask, mask_view
from hoirecon.fitting.baselines.phosa_style import edges_of
from hoirecon.fitting.baselines.pico_style import contact_pairs
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

pytest.importorskip("warp")

Small = Callable[..., Any]

SIMPLE = ("centroid", "icp", "mask-depth", "procrustes")

FAST: dict[str, Baseline] = {
    **{name: BASELINES[name] for name in SIMPLE},
    "interactvlm-style": lambda p: fit_interactvlm_style(p, InteractvlmConfig(iterations=20, resolution=32)),
    "phosa-style": lambda p: fit_phosa_style(
        p, PhosaConfig(rotations=16, batch=8, search_iterations=4, joint_iterations=8, resolution=32)
    ),
    "pico-style": lambda p: fit_pico_style(p, PicoConfig(contact_iterations=20, image_iterations=20, resolution=32)),
}


@pytest.fixture(scope="module")
def problem(small_scene: Small) -> BaselineProblem:
    """A thing that really stands upright, with exact correspondences."""
    scene = small_scene(kind="chair", rotvec=tuple(Rotation.from_matrix(UPRIGHT).as_rotvec()), edge=0.15)
    touching = np.nonzero(scene.contact[1].probability > 0.5)[0]
    pairs = scene.pose.apply(scene.mesh.verts[touching]), scene.mesh.verts[touching]
    return baseline_problem(
        scene.observation, scene.body, ObjectToFit(scene.mesh), scene.contact, correspondences=pairs
    )


def _error(small_scene: Small, problem: BaselineProblem, pose: ObjectPose) -> float:
    """Mean distance of the vertices from where they belong, metres."""
    scene = small_scene(kind="chair", rotvec=tuple(Rotation.from_matrix(UPRIGHT).as_rotvec()), edge=0.15)
    gap = pose.apply(problem.mesh.verts) - scene.pose.apply(problem.mesh.verts)
    return float(np.linalg.norm(gap, axis=1).mean())


# ---------------------------------------------------------------------------------------------------------- protocol
@pytest.mark.parametrize("name", sorted(FAST))
def test_every_baseline_places_the_object_near_its_mask(
    small_scene: Small, problem: BaselineProblem, name: str
) -> None:
    result = FAST[name](problem)
    assert result.seconds >= 0
    assert result.iterations >= 0
    middle = problem.camera.project(result.pose.apply(problem.mesh.verts)).mean(0)
    rows, columns = np.nonzero(problem.object_mask)
    assert np.linalg.norm(middle - [columns.mean(), rows.mean()]) < 0.5 * problem.camera.height
    assert _error(small_scene, problem, result.pose) < 1.0  # upside down is 0.5


@pytest.mark.parametrize("name", sorted(set(FAST) - {"procrustes"}))
def test_without_contact_the_object_stands_at_the_bodys_depth(problem: BaselineProblem, name: str) -> None:
    bare = replace(
        problem,
        body_contact=np.zeros(len(problem.body.verts)),
        object_contact=np.zeros(len(problem.mesh.verts)),
        correspondences=None,
    )
    pose = FAST[name](bare).pose
    assert 0.5 < pose.apply(problem.mesh.verts)[:, 2].mean() < 6


@pytest.mark.parametrize("name", ["phosa-style", "interactvlm-style", "pico-style"])
def test_repeats_exactly(problem: BaselineProblem, name: str) -> None:
    one, two = FAST[name](problem).pose, FAST[name](problem).pose
    assert np.array_equal(one.T_cam_obj, two.T_cam_obj)


def test_every_restated_method_has_its_settings_by_name() -> None:
    styles = ("interactvlm-style", "phosa-style", "pico-style")
    assert set(BASELINES) == {*SIMPLE, *(s + end for s in styles for end in ("", "-tuned", "-published"))}


def test_correspondences_alone_tell_where_contact_is(small_scene: Small, problem: BaselineProblem) -> None:
    scene = small_scene(kind="chair", rotvec=tuple(Rotation.from_matrix(UPRIGHT).as_rotvec()), edge=0.15)
    ends = scene.body.verts[[3, 8]], scene.mesh.verts[[5, 1]]
    told = baseline_problem(scene.observation, scene.body, ObjectToFit(scene.mesh), None, correspondences=ends)
    assert np.nonzero(told.body_contact)[0].tolist() == [3, 8]
    assert len(told.touching()[1]) == 2


def test_unusable_problems_are_refused(problem: BaselineProblem) -> None:
    behind = problem.body.with_verts(problem.body.verts * [1, 1, -1])
    giant = problem.mesh.with_verts(problem.mesh.verts * 1000)
    for change, message in [
        ({"object_mask": np.zeros_like(problem.object_mask)}, "empty"),
        ({"object_mask": problem.object_mask[:-1]}, "camera says"),
        ({"person_mask": problem.person_mask[:, 1:]}, "camera says"),
        ({"body": behind}, "behind the camera"),
        ({"mesh": giant}, "scale it to metres"),
        ({"body_contact": np.full(len(problem.body.verts), np.nan)}, "body_contact"),
        ({"object_contact": np.zeros(3)}, "object_contact"),
        ({"correspondences": (np.zeros((2, 3)), np.zeros((3, 3)))}, "as many"),
    ]:
        with pytest.raises(InputError, match=message):
            replace(problem, **change)
    with pytest.raises(InputError, match="needs correspondences"):
        fit_procrustes(replace(problem, correspondences=None))


# ------------------------------------------------------------------------------------------------------ closed forms
def test_alignment_finds_a_similarity_exactly() -> None:
    rng = np.random.default_rng(0)
    points, R = rng.standard_normal((9, 3)), Rotation.random(rng=rng).as_matrix()
    target = 1.7 * points @ R + [0.1, -2.0, 3.0]
    for weights in (None, rng.random(9)):
        found, T, s = align(points, target, weights, scale=True)
        np.testing.assert_allclose(found, R, atol=1e-12)
        np.testing.assert_allclose(T, [0.1, -2.0, 3.0], atol=1e-12)
        assert s == pytest.approx(1.7)
    mirrored, _, _ = align(points, points * [1, 1, -1])
    assert np.linalg.det(mirrored) == pytest.approx(1)


def test_six_numbers_go_there_and_back() -> None:
    R = torch.as_tensor(Rotation.random(5, rng=np.random.default_rng(1)).as_matrix())
    torch.testing.assert_close(matrix_of_6d(six_of_matrix(R)), R)
    torch.testing.assert_close(matrix_of_6d(3.0 * six_of_matrix(R)), R)


def test_procrustes_on_exact_pairs_is_exact(small_scene: Small, problem: BaselineProblem) -> None:
    assert _error(small_scene, problem, fit_procrustes(problem).pose) < 1e-9


def test_procrustes_keeps_the_scale_in_its_prior(problem: BaselineProblem) -> None:
    on_body, on_object = problem.correspondences or (np.zeros((0, 3)), np.zeros((0, 3)))
    tiny = replace(problem, correspondences=(on_body, on_object * 100), scale_prior=(0.0, 0.1))
    assert fit_procrustes(tiny).pose.s == pytest.approx(np.exp(-0.3))


def test_centroids_meet(problem: BaselineProblem) -> None:
    on_body, on_object = problem.touching()
    np.testing.assert_allclose(fit_centroid(problem).pose.apply(on_object).mean(0), on_body.mean(0), atol=1e-9)


def test_icp_does_not_end_farther_than_it_starts(problem: BaselineProblem) -> None:
    on_body, on_object = problem.touching()

    def gap(pose: ObjectPose) -> float:
        return float(np.linalg.norm(pose.apply(on_object)[:, None] - on_body[None], axis=-1).min(1).mean())

    assert gap(fit_icp(problem).pose) <= gap(fit_centroid(problem).pose) + 1e-9


def test_boxes_meet() -> None:
    """Placement by boxes finds a known pose's picture again, in place and in size."""
    mesh = Mesh(np.random.default_rng(2).uniform(-0.2, 0.2, (40, 3)), np.arange(39).reshape(13, 3))
    camera, mask = Camera.from_focal(300, 320, 240), np.zeros((240, 320), bool)
    mask[60:140, 100:190] = True
    body = Mesh(np.random.default_rng(3).normal([0, 0, 3], 0.1, (9, 3)), np.arange(9).reshape(3, 3))
    given = BaselineProblem(camera, mask, ~mask, body, mesh, np.zeros(9), np.zeros(40))
    near = camera.project(mesh.verts + translation_to_box(given, mesh.verts, 2.0))
    np.testing.assert_allclose((near.min(0) + near.max(0)) / 2, [145, 100], atol=0.5)
    sized = camera.project(mesh.verts + box_depth(given, mesh.verts))
    assert np.hypot(*np.ptp(sized, axis=0)) == pytest.approx(np.hypot(90, 80), rel=0.02)
    drawn = fit_mask_depth(given).pose.apply(mesh.verts)
    assert np.isfinite(camera.project(drawn)).all()


def test_a_pose_in_columns_is_the_transform_in_rows() -> None:
    R, points = Rotation.random(rng=np.random.default_rng(4)).as_matrix(), np.random.default_rng(5).random((6, 3))
    np.testing.assert_allclose(column_pose(R, np.ones(3), 0.5).apply(points), 0.5 * points @ R + 1, atol=1e-12)


def test_all_pairs_contact_is_its_slow_twin_and_never_zero() -> None:
    rng = np.random.default_rng(6)
    a, b, p, q = rng.random((5, 3)), rng.random((7, 3)), rng.random(5), rng.random(7)
    slow = sum(p[i] * q[j] * np.linalg.norm(a[i] - b[j]) for i in range(5) for j in range(7)) / (p.sum() * q.sum())
    assert float(all_pairs_contact(*(torch.as_tensor(v) for v in (a, b, p, q)))) == pytest.approx(slow)
    same = torch.as_tensor(a)
    assert float(all_pairs_contact(same, same, torch.ones(5).double(), torch.ones(5).double())) > 0.1


def test_mask_losses_have_their_known_ends() -> None:
    mask = torch.zeros(8, 10)
    mask[2:5, 3:9] = 1
    assert half_dice(mask, mask) == pytest.approx(0.5)
    assert half_dice(torch.zeros_like(mask), mask) == pytest.approx(1.0)
    assert soft_centroid(mask).tolist() == box_centre(mask).tolist() == [3.0, 5.5]
    assert edges_of(mask[None], 3)[0].sum() == 14  # the border of a 3 x 6 block


def test_surface_centroid_does_not_care_for_density(problem: BaselineProblem) -> None:
    dense = problem.mesh.to_trimesh().subdivide()
    finer = Mesh(np.asarray(dense.vertices), np.asarray(dense.faces))
    np.testing.assert_allclose(surface_centroid(finer), surface_centroid(problem.mesh), atol=1e-9)


# ------------------------------------------------------------------------------------------------------------- views
def test_crop_sees_the_same_picture(problem: BaselineProblem) -> None:
    """Mask area and projected points agree between the whole image and the crop."""
    whole, crop = mask_view(problem), mask_view(problem, 64)
    assert float(crop.target.sum() / crop.scale**2) == pytest.approx(float(whole.target.sum()), rel=0.03)
    point = torch.tensor([0.05, -0.1, 2.0])
    seen = [((point / point[2]) @ v.K.T)[:2] for v in (whole, crop)]
    rows, columns = torch.nonzero(whole.target).T
    middle = torch.stack([columns.float().mean(), rows.float().mean()]) + 0.5
    cells = torch.nonzero(crop.target > 0.5).flip(1).float().mean(0) + 0.5
    torch.testing.assert_close((seen[0] - middle) * crop.scale, seen[1] - cells, atol=0.5, rtol=0)
    blur = np.sqrt(crop.softness) * 64 / 2 / crop.scale
    assert blur == pytest.approx(min(problem.camera.height, problem.camera.width) / 2)


def test_crop_beyond_the_image_is_empty_there() -> None:
    mask = np.ones((20, 30), bool)
    crop = crop_mask(mask, (-10.0, -10.0), 20.0, 10)
    assert crop[:5].sum() == crop[:, :5].sum() == 0
    assert crop[5:, 5:].min() == 1


# ----------------------------------------------------------------------------------------------------------- methods
def test_pairs_are_one_to_one(problem: BaselineProblem) -> None:
    on_body, on_object = contact_pairs(replace(problem, correspondences=None), 12)
    assert len(on_body) == len(on_object) <= 12
    assert len(np.unique(on_object, axis=0)) == len(on_object)
    assert len(np.unique(on_body, axis=0)) == len(on_body)


def test_interactvlm_style_lowers_its_own_loss(small_scene: Small, problem: BaselineProblem) -> None:
    from hoirecon.fitting.baselines.interactvlm_style import descend, prepare, start

    config = InteractvlmConfig(iterations=40, resolution=32)
    prepared, totals = prepare(problem, config), []
    descend(prepared, start(problem, prepared, config), config, lambda s: totals.append(s.total.item()))
    assert min(totals[-5:]) < totals[0]


def test_pico_style_with_exact_pairs_is_near(small_scene: Small, problem: BaselineProblem) -> None:
    config = PicoConfig(contact_iterations=100, image_iterations=100, resolution=32)
    assert _error(small_scene, problem, fit_pico_style(problem, config).pose) < 0.12


def test_phosa_style_ignores_hidden_pixels(problem: BaselineProblem) -> None:
    """The person's pixels neither cost nor pay."""
    from hoirecon.fitting.baselines.phosa_style import keep_mask

    keep = keep_mask(mask_view(problem))
    assert not keep[torch.as_tensor(problem.person_mask & ~problem.object_mask)].any()
    assert keep[torch.as_tensor(problem.object_mask)].all()
