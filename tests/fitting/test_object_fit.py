"""The whole object fit: known poses are found, nothing depends on sizes that should not matter, bad input is told."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hoirecon.camera import Camera
from hoirecon.contact.protocols import ContactEstimate
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError, TopologyError
from hoirecon.fitting.checks import contact_list
from hoirecon.fitting.contact_pairs import (
    anywhere,
    body_contact_points,
    farthest_points,
    object_contact_points,
    sample_surface,
)
from hoirecon.fitting.hypotheses import distinct, mutual_distance
from hoirecon.fitting.joint_result import ranking
from hoirecon.fitting.object_fit import (
    FitConfig,
    KickConfig,
    ObjectFit,
    ObjectToFit,
    fit_objects,
    max_penetration_mm,
    start_rotations,
)
from hoirecon.fitting.object_problem import prepare
from hoirecon.fitting.object_search import by_neighbourhood, choice_energy, ranking_energy
from hoirecon.fitting.object_state import ObjectState
from hoirecon.fitting.objective import Quadratic
from hoirecon.fitting.so3 import super_fibonacci
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

TRIANGLE = np.array([[0, 1, 2]])
QUICK = FitConfig(hypotheses=96, keep=12)
"""Fewer starts than the recipe: these scenes are exact and small."""


def fit(scene: Any, config: FitConfig = QUICK, **options: Any) -> ObjectFit:
    obj = ObjectToFit(scene.mesh, "thing", **{"size_prior": (0.0, 0.1), **options})
    return fit_objects(scene.observation, scene.body, [obj], [scene.contact], config)[0]


def surface_error(scene: Any, found: ObjectFit) -> float:
    """Mean distance of corresponding vertices, metres."""
    moved = found.pose.apply(scene.mesh.verts) - scene.pose.apply(scene.mesh.verts)
    return float(np.linalg.norm(moved, axis=1).mean())


@pytest.mark.parametrize(
    ("kind", "rotvec"), [("steps", (0.3, 0.5, 0.1)), ("chair", (0.2, -0.7, 0.1)), ("hammer", (0.4, 0.6, -0.3))]
)
def test_a_known_pose_is_recovered(
    kind: str, rotvec: tuple[float, float, float], small_scene: Callable[..., Any]
) -> None:
    scene = small_scene(kind=kind, rotvec=rotvec)
    found = fit(scene)
    # 450 px focal length, 2 m away: half a pixel is 2 mm; depth and scale are weaker by an order of magnitude.
    assert surface_error(scene, found) < 0.025
    assert found.iou_visible > 0.93
    assert found.max_penetration_mm < max_penetration_mm(scene.mesh, scene.pose, scene.body) + 12
    assert abs(math.log(found.pose.s)) < 0.03
    assert "no contact" not in found.flags
    assert set(found.terms) >= {"outline on mask", "mask on outline", "contact", "scale prior", "body in object"}
    assert found.terms["outline on mask"].unit == "px"
    assert found.terms["outline on mask"].median < 1.0
    assert all(a.energy >= found.energy for a in found.alternatives)


def test_a_fit_from_the_truth_stays_there(small_scene: Callable[..., Any]) -> None:
    scene = small_scene(kind="chair")
    found = fit(scene, dataclasses.replace(QUICK, hypotheses=0), initial_rotations=scene.pose.R[None])
    assert surface_error(scene, found) < 0.015


def test_the_same_input_gives_the_same_output(small_scene: Callable[..., Any]) -> None:
    scene, few = small_scene(kind="hammer"), FitConfig(hypotheses=16, keep=4)
    one, two = fit(scene, few), fit(scene, few)
    assert np.array_equal(one.pose.T_cam_obj, two.pose.T_cam_obj)
    assert one.energy == two.energy


def test_what_an_estimator_gave_is_a_pair(small_scene: Callable[..., Any]) -> None:
    scene, few = small_scene(kind="hammer"), FitConfig(hypotheses=8, keep=2)
    estimate = ContactEstimate(*scene.contact)
    one, two = fit(scene, few), fit(dataclasses.replace(scene, contact=estimate), few)
    assert np.array_equal(one.pose.T_cam_obj, two.pose.T_cam_obj)
    assert contact_list([estimate, None]) == [scene.contact, None]


def test_the_meshs_own_frame_does_not_matter(small_scene: Callable[..., Any]) -> None:
    """Shifted and turned vertices in the file: the placed object is the same."""
    scene, few = small_scene(kind="steps"), FitConfig(hypotheses=0)
    turn = Rotation.from_rotvec([0.3, -1.0, 0.4]).as_matrix()
    mesh = scene.mesh.with_verts(scene.mesh.verts @ turn.T + [0.7, -0.4, 0.3])
    start = scene.pose.R @ Rotation.from_rotvec([0.15, 0.1, -0.1]).as_matrix()
    first = fit(scene, few, initial_rotations=start[None])
    second = fit(dataclasses.replace(scene, mesh=mesh), few, initial_rotations=(start @ turn.T)[None])
    moved = first.pose.apply(scene.mesh.verts) - second.pose.apply(mesh.verts)
    # The samples of the surface and the distance grid follow the mesh's axes, hence not to the last digit.
    assert np.linalg.norm(moved, axis=1).mean() < 0.01


@pytest.mark.parametrize("change", ["image", "mesh"])
def test_image_size_and_mesh_density_do_not_matter(change: str, small_scene: Callable[..., Any]) -> None:
    base = small_scene(kind="chair")
    large = Camera.from_focal(900.0, 960, 720)
    other = small_scene(kind="chair", camera=large) if change == "image" else small_scene(kind="chair", edge=0.1)
    few, R = FitConfig(hypotheses=0), base.pose.R @ Rotation.from_rotvec([0.15, 0.1, -0.1]).as_matrix()
    first, second = (fit(s, few, initial_rotations=R[None]) for s in (base, other))
    probe = base.mesh.verts
    assert np.linalg.norm(first.pose.apply(probe) - second.pose.apply(probe), axis=1).mean() < 0.012
    assert second.energy == pytest.approx(first.energy, abs=3.0)


def test_the_mask_may_be_cut_by_the_edge_of_the_picture(small_scene: Callable[..., Any]) -> None:
    scene = small_scene(kind="chair")
    camera, cut = scene.observation.camera, 190
    observation = scene.observation.replace(
        image=scene.observation.image[:, cut:],
        camera=camera.cropped(cut, 0, camera.width - cut, camera.height),
        person_mask=scene.observation.person_mask[:, cut:],
        object_masks=(scene.observation.object_masks[0][:, cut:],),
    )
    assert observation.object_masks[0][:, 0].any()
    cropped = dataclasses.replace(scene, observation=observation)
    start = scene.pose.R @ Rotation.from_rotvec([0.1, 0.1, -0.1]).as_matrix()
    found = fit(cropped, FitConfig(hypotheses=0), initial_rotations=start[None])
    assert surface_error(scene, found) < 0.03


def test_without_contact_the_fit_says_so(small_scene: Callable[..., Any]) -> None:
    scene = small_scene(kind="chair")
    none = tuple(ContactMap.none(len(c.probability), c.topology) for c in scene.contact)
    start = scene.pose.R @ Rotation.from_rotvec([0.1, 0.1, -0.1]).as_matrix()
    obj = ObjectToFit(scene.mesh, "chair", (0.0, 0.1), initial_rotations=start[None])
    for contact in (None, none):
        found = fit_objects(scene.observation, scene.body, [obj], [contact], FitConfig(hypotheses=0))[0]  # type: ignore[list-item]
        assert {"no contact", "scale set by prior"} <= set(found.flags)
        assert "depth prior" in found.terms
        assert found.iou_visible > 0.9


def test_a_second_object_is_fitted_behind_the_first(small_scene: Callable[..., Any]) -> None:
    """Two masks: the second object is partly hidden by the first, which is fitted before it."""
    scene = small_scene(kind="chair")
    mask = scene.observation.object_masks[0]
    half = np.zeros_like(mask)
    half[:, :230] = True
    observation = scene.observation.replace(object_masks=(mask & half, mask & ~half))
    obj = ObjectToFit(scene.mesh, "chair", (0.0, 0.1), initial_rotations=scene.pose.R[None])
    fits = fit_objects(observation, scene.body, [obj, obj], [scene.contact] * 2, FitConfig(hypotheses=0))
    assert [f.name for f in fits] == ["chair", "chair"]
    assert surface_error(scene, fits[1]) < 0.08


# --------------------------------------------------------------------------------------------------------- details
def test_an_up_axis_makes_half_of_the_starts_upright() -> None:
    obj = ObjectToFit(Mesh(np.eye(3), TRIANGLE), up_obj=(0.0, 1.0, 0.0))
    R = start_rotations(obj, FitConfig(hypotheses=64))
    upright = (R[:, :, 1] @ torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)) > math.cos(math.radians(20.1))
    assert len(R) == 64
    assert int(upright.sum()) >= 32
    assert int(upright.sum()) < 48


def test_duplicates_of_a_symmetric_object_are_found_without_its_symmetry() -> None:
    """All 24 rotations that map a cube to itself are one pose; a twelfth of a turn is another."""
    axis = np.linspace(-0.1, 0.1, 5)
    grid = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    surface = torch.tensor(grid[np.abs(grid).max(1) > 0.099])
    group = Rotation.create_group("O").as_matrix()
    R = torch.tensor(np.concatenate([group, group @ Rotation.from_rotvec([0, 0, np.pi / 6]).as_matrix()]))
    state = ObjectState(R, torch.zeros(48, 3, dtype=torch.float64), torch.zeros(48, dtype=torch.float64), None)
    kept = distinct(state, torch.arange(48.0), surface, 0.005, 99)
    assert kept[:2].tolist()[0] == 0
    assert 1 < len(kept) <= 24


def test_contact_points_are_spread_and_every_part_weighs_the_same() -> None:
    rng = np.random.default_rng(0)
    hands = np.concatenate([rng.normal(0, 0.01, (300, 3)), rng.normal((0.5, 0, 0), 0.01, (60, 3))])
    mesh = Mesh(hands, TRIANGLE)
    points = body_contact_points(mesh, ContactMap(np.ones(360), mesh.topology), 48)
    assert len(points.points) == 48
    assert points.weights.sum() == pytest.approx(1)
    assert points.weights[points.points[:, 0] > 0.25].sum() == pytest.approx(0.5)


def test_object_contact_lies_between_its_vertices_too() -> None:
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    mesh = Mesh(corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    points = object_contact_points(mesh, ContactMap(np.array([1.0, 0, 0, 0]), mesh.topology), 24)
    assert len(points.points) == 24
    assert points.points.max() <= 0.5 + 1e-9
    assert len(np.unique(points.points.round(3), axis=0)) == 24


def test_a_large_thing_that_is_touched_anywhere_need_not_touch_everywhere() -> None:
    """Points all over it, without weight of their own; a small one is taken at its word, and so is certainty."""
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    large, small = Mesh(corners, faces), Mesh(corners * 0.2, faces)
    told = {p: ContactMap(np.full(4, p), large.topology) for p in (0.8, 1.0)}
    loose = object_contact_points(large, told[0.8], 24)
    assert anywhere(told[0.8])
    assert len(loose.points) == 8 * 24
    assert 0 < loose.weights.sum() < 1e-5
    for mesh, contact in ((large, told[1.0]), (small, told[0.8])):
        points = object_contact_points(mesh, contact, 24)
        assert len(points.points) == 24
        assert points.weights.sum() == pytest.approx(1)
    assert not anywhere(ContactMap(np.array([0.8, 0.8, 0.8, 0.2]), large.topology))


def test_surface_samples_follow_area() -> None:
    corners = np.array([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]])
    mesh = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]]))
    samples = sample_surface(mesh, 400)
    on_large = (samples.faces == mesh.faces[0]).all(1).mean()
    assert on_large == pytest.approx(0.75, abs=0.01)
    assert np.allclose(samples.weights.sum(1), 1)


def test_farthest_points_of_a_line_are_its_ends_first() -> None:
    line = np.stack([np.linspace(0, 1, 11), np.zeros(11), np.zeros(11)], 1)
    assert farthest_points(line, 3).tolist() == [0, 10, 5]


# ------------------------------------------------------------------------------------------------------- bad input
def test_an_empty_mask_is_told(small_scene: Callable[..., Any]) -> None:
    scene = small_scene(kind="steps")
    observation = scene.observation.replace(object_masks=(np.zeros((360, 480), dtype=bool),))
    with pytest.raises(InputError, match="mask has 0 pixels"):
        fit(dataclasses.replace(scene, observation=observation))


def test_a_single_triangle_is_told(small_scene: Callable[..., Any]) -> None:
    scene = small_scene(kind="steps")
    mesh = Mesh(np.eye(3), TRIANGLE)
    contact = (scene.contact[0], ContactMap.none(3, mesh.topology))
    with pytest.raises(InputError, match="1 faces: at least 4"):
        fit(dataclasses.replace(scene, mesh=mesh, contact=contact))


def test_millimetres_are_told(small_scene: Callable[..., Any]) -> None:
    scene = small_scene(kind="steps")
    with pytest.raises(InputError, match="scale it to metres"):
        fit(dataclasses.replace(scene, mesh=scene.mesh.with_verts(scene.mesh.verts * 1000)))


def test_a_body_behind_the_camera_is_told(small_scene: Callable[..., Any]) -> None:
    scene = small_scene(kind="steps")
    with pytest.raises(InputError, match="behind the camera"):
        fit(dataclasses.replace(scene, body=scene.body.with_verts(scene.body.verts - [0, 0, 9])))


def test_nan_cannot_come_in() -> None:
    with pytest.raises(InputError, match="NaN"):
        Mesh(np.array([[np.nan, 0, 0], [1, 0, 0], [0, 1, 0]]), TRIANGLE)
    with pytest.raises(InputError, match="NaN"):
        ObjectPose(np.eye(3), np.array([0, np.inf, 0]))


def test_contact_on_another_mesh_is_told(small_scene: Callable[..., Any]) -> None:
    scene = small_scene(kind="steps")
    with pytest.raises(TopologyError, match="transfer it first"):
        fit(dataclasses.replace(scene, contact=(scene.contact[1], scene.contact[1])))


def test_lists_of_different_lengths_are_told(small_scene: Callable[..., Any]) -> None:
    scene = small_scene(kind="steps")
    obj = ObjectToFit(scene.mesh)
    with pytest.raises(InputError, match="2 objects, 1 contacts and 1 object masks"):
        fit_objects(scene.observation, scene.body, [obj, obj], [scene.contact])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size_prior": (0.0, -1.0)}, "sigma >= 0"),
        ({"up_obj": (0.0, 0.0, 0.0)}, "must be a direction"),
        ({"initial_rotations": 2 * np.eye(3)[None]}, "must be rotations"),
    ],
)
def test_impossible_hints_are_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        ObjectToFit(Mesh(np.eye(3), TRIANGLE), **options)


def test_no_start_at_all_is_told(small_scene: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="no start rotation"):
        fit(small_scene(kind="steps"), FitConfig(hypotheses=0))


def test_poses_behind_the_camera_cost_but_do_not_crash(small_scene: Callable[..., Any]) -> None:
    scene = small_scene(kind="steps")
    problem = prepare(scene.observation, 0, scene.body, ObjectToFit(scene.mesh), scene.contact, (), QUICK)
    t = torch.tensor([[0.0, 0.0, -3.0], [0.0, 0.0, 0.02], [0.0, 0.0, 2.0]])
    state = ObjectState(super_fibonacci(3).float(), t, torch.zeros(3), problem.view(QUICK.coarse))
    for term in problem.terms(QUICK.coarse, QUICK):
        res = term.residuals(state)
        assert torch.isfinite(res.r).all()
        assert torch.isfinite(res.J).all()


def test_kicks_find_what_one_wrong_start_misses(small_scene: Callable[..., Any]) -> None:
    scene = small_scene(kind="hammer")
    wrong = (scene.pose.R @ np.diag([1.0, -1.0, -1.0]))[None]
    lazy, eager = (FitConfig(hypotheses=0, kicks=KickConfig(rounds=n)) for n in (0, 2))
    stuck, found, again = (fit(scene, c, initial_rotations=wrong) for c in (lazy, eager, eager))
    assert surface_error(scene, found) < 0.04 < surface_error(scene, stuck) - 0.05
    assert found.energy < stuck.energy - 1.0
    assert again.energy == found.energy


def test_half_turns_alone_are_kicks_too(small_scene: Callable[..., Any]) -> None:
    """Later rounds have none; what was found stays."""
    scene = small_scene()
    config = FitConfig(hypotheses=8, keep=4, finish=2)
    once, twice = (fit(scene, dataclasses.replace(config, kicks=KickConfig(rounds=n, each=0))) for n in (1, 2))
    assert twice.energy == once.energy
    never = fit(scene, dataclasses.replace(config, kicks=KickConfig(each=0, flips=False)))
    assert never.evaluations < once.evaluations


def test_of_two_equal_minima_the_wider_ranks_first() -> None:
    eye = torch.eye(7)[None]
    hessian = torch.cat([eye * 100, eye])
    quad = Quadratic(torch.tensor([5.0, 5.0]), torch.zeros(2, 7), hessian, {})
    energy = ranking_energy(quad, torch.ones(2), FitConfig())
    assert float(energy[0] - energy[1]) == pytest.approx(FitConfig().rank_width_weight * 7 * np.log(100.0), abs=1e-4)


def test_both_stages_choose_alike() -> None:
    """Of the contour a share, penetration up to a cap, the rest whole; by hand: 2 + .5 * 6 + 5 + 20 * .2 = 14."""
    config = FitConfig(rank_mask_weight=0.5, rank_penetration_cap=5.0, rank_iou_weight=20.0, rank_width_weight=0.0,
                       rank_contact_weight=0.0)  # fmt: skip
    terms = {"contact": 2.0, "mask on outline": 6.0, "body in object": 30.0, "object in body": 10.0}
    costs = {name: torch.tensor([cost]) for name, cost in terms.items()}
    quad = Quadratic(torch.tensor([48.0]), torch.zeros(1, 7), torch.eye(7)[None], costs)
    assert float(choice_energy(quad, torch.tensor([0.8]), config)) == pytest.approx(14.0)
    assert float(ranking_energy(quad, torch.tensor([0.8]), config)) == pytest.approx(17.0)  # the whole contour
    assert float(ranking(quad, torch.tensor([[0.8]]), config)) == pytest.approx(14.0)
    several = {f"{name} (cup)": cost for name, cost in costs.items()}
    quad = Quadratic(quad.cost, quad.gradient, quad.hessian, several)
    assert float(ranking(quad, torch.tensor([[0.8]]), config)) == pytest.approx(14.0)


def test_contact_counts_for_more_between_poses_that_are_apart() -> None:
    """By hand: contact 3 of weight 4 counts as of weight 10, so 2.5 times; a contact that weighs more is left alone."""
    costs = {name: torch.tensor([cost]) for name, cost in {"contact": 3.0, "mask on outline": 0.0}.items()}
    quad = Quadratic(torch.tensor([3.0]), torch.zeros(1, 7), torch.eye(7)[None], costs)
    own = FitConfig(contact_weight=4.0, rank_contact_weight=10.0, rank_width_weight=0.0)
    assert float(choice_energy(quad, torch.ones(1), own)) == pytest.approx(7.5)
    assert float(ranking_energy(quad, torch.ones(1), own)) == pytest.approx(3.0)
    for config in (dataclasses.replace(own, contact_weight=w) for w in (12.0, 0.0)):
        assert float(choice_energy(quad, torch.ones(1), config)) == pytest.approx(3.0)
    without = dataclasses.replace(quad, terms={"mask on outline": torch.zeros(1)})
    assert float(choice_energy(without, torch.ones(1), own)) == pytest.approx(3.0)


def test_the_best_of_each_neighbourhood_comes_first() -> None:
    """Poses at 0, 1, 2, 10 and 11 cm; by energy 1 leads (with 0 and 2 beside it), then 11; by their own 2 and 10 do."""
    at = torch.tensor([0.0, 0.01, 0.02, 0.10, 0.11])
    apart = (at[:, None] - at).abs()
    energy, own = torch.tensor([3.0, 1.0, 4.0, 6.0, 5.0]), torch.tensor([3.0, 2.0, 1.0, 0.5, 0.7])
    assert by_neighbourhood(apart, energy, own, 0.015).tolist() == [2, 1, 0, 3, 4]
    assert by_neighbourhood(apart, energy, own, 0.0).tolist() == [1, 0, 2, 4, 3]


def test_the_mutual_distance_is_that_of_each_two_sets() -> None:
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0]], [[0.0, 0, 0], [3, 0, 0]]])
    assert mutual_distance(points).tolist() == [[0.0, 0.75], [0.75, 0.0]]  # one way (0 + 1) / 2, the other (0 + 2) / 2
