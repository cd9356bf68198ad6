"""Agreement in space: claims about parts that one rigid object can and cannot touch at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoirecon.camera import Camera
from hoirecon.contact.geometric import GeometricConfig, GeometricContact
from hoirecon.contact.interactions import PartView, ScoreConfig, noise_of, part_probability, score_interactions
from hoirecon.contact.placement import (
    Claim,
    PlacementConfig,
    SeenObject,
    _Batch,
    _Search,
    agreement,
    spread,
    surface_points,
)
from hoirecon.contact.protocols import ContactObject
from hoirecon.data.body import load_body
from hoirecon.data.objects import load_object
from hoirecon.fitting.body_fit import fit_body, refine_body
from hoirecon.fitting.body_links import contact_lines, contact_links
from hoirecon.mesh import Mesh

CAMERA = Camera.from_focal(300, 160, 120)
CENTRE = np.array([0.1, 0.0, 2.5])


def _brick() -> tuple[Mesh, dict[str, np.ndarray[Any, np.dtype[np.int64]]]]:
    """A brick of 40 x 20 x 20 cm with a grid of vertices on every face, and the vertices of its faces."""
    obj = load_object("box")
    mesh = obj.mesh.with_verts(obj.mesh.verts / obj.mesh.extents * [0.4, 0.2, 0.2])
    return mesh, {part: obj.part_verts(part) for part in obj.part_names}


MESH, PARTS = _brick()
R = (Rotation.from_euler("y", 30, degrees=True) * Rotation.from_euler("x", 180, degrees=True)).as_matrix()
VERTS = MESH.verts @ R.T + CENTRE


def _seen() -> SeenObject:
    import cv2

    mask = np.zeros((CAMERA.height, CAMERA.width), np.uint8)
    hull = cv2.convexHull(np.round(CAMERA.project(VERTS) - 0.5).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1)
    return SeenObject(CAMERA, mask > 0, np.zeros(mask.shape, bool))


def _claim(part: str, away: float = 0.0, depth_noise: float = 0.05, group: str = "") -> Claim:
    """A patch of skin at the middle of a face of the brick, ``away`` metres farther from the camera than it."""
    ids = PARTS[part]
    normals = MESH.vert_normals[ids] @ R.T
    near = np.argsort(np.linalg.norm(VERTS[ids] - VERTS[ids].mean(axis=0), axis=1))[:8]
    points = VERTS[ids][near]
    ray = points.mean(axis=0) / np.linalg.norm(points.mean(axis=0))
    chosen = ids[spread(MESH.verts[ids], 24)]
    return Claim(
        points + away * ray,
        MESH.verts[chosen],
        0.03,
        depth_noise,
        np.tile(-normals.mean(axis=0), (8, 1)),
        MESH.vert_normals[chosen],
        group or part,
    )


def test_claims_of_one_object_agree_and_a_false_one_is_let_go() -> None:
    true = [_claim(part) for part in ("left", "right")]
    found = agreement(true, MESH, (0.0, 0.1), _seen())
    assert found.fits.min() > 0.6
    apart = agreement([*true, _claim("back", away=0.35)], MESH, (0.0, 0.1), _seen())
    assert apart.fits[:2].min() > 0.5
    assert apart.fits[2] < 0.1


def test_the_usual_size_rules_claims_out() -> None:
    true = [_claim(part) for part in ("left", "right")]
    assert agreement(true, MESH, (0.0, 0.1), _seen()).fits.min() > 0.6
    half = agreement(true, MESH, (np.log(0.4), 0.05), _seen())
    assert half.fits.min() < 0.3


def test_one_group_shares_its_error_of_depth() -> None:
    # Both parts of a hand 12 cm too deep are forgiven by its noise of depth; only one of them is not.
    rest = [_claim("right"), _claim("top")]
    both = [_claim("left", 0.12, 0.25, "hand"), _claim("front", 0.12, 0.25, "hand")]
    one = [_claim("left", 0.0, 0.25, "hand"), _claim("front", 0.2, 0.25, "hand")]
    gaps = []
    for hand in (both, one):
        search = _Search([*hand, *rest], surface_points(MESH, 60), (0.0, 0.1), _seen(), PlacementConfig())
        state = _Batch(R[None], CENTRE[None], np.zeros(1), np.zeros((1, 3)))
        for _ in range(15):
            state = search.step(state)
        gaps.append(search.gaps(state)[0, :2].max())
        if hand is both:
            assert state.deeper[0, 0] == pytest.approx(-0.12, abs=0.04)
            assert np.abs(state.deeper[0, 1:]).max() < 0.03
    assert gaps[0] < 1.5
    assert gaps[1] > 4


def test_skin_must_face_the_surface() -> None:
    turned = replace(_claim("left"), body_normals=-_claim("left").body_normals)
    rest = [_claim("right"), _claim("top")]
    assert (
        agreement([turned, *rest], MESH, (0.0, 0.05), _seen()).fits[0]
        < 0.5 * agreement([_claim("left"), *rest], MESH, (0.0, 0.05), _seen()).fits[0]
    )


def test_jacobians_of_the_look_are_the_derivatives() -> None:
    search = _Search([_claim("left")], surface_points(MESH, 30), (0.0, 0.1), _seen(), PlacementConfig())
    state = _Batch(R[None], CENTRE[None] + 0.02, np.array([0.05]), np.zeros((1, 1)))
    x = state.points(search.surface)
    pixels = np.tile(search.pixels[:1], (1, x.shape[1], 1))
    J = search._at_pixels(x, pixels, state)[1]
    for column in range(7):
        step = 1e-6 * np.eye(7)[column]
        turn = Rotation.from_rotvec(step[3:6]).as_matrix()
        moved = replace(state, R=turn @ state.R, t=state.t + step[:3], log_s=state.log_s + step[6])
        r, before = (search._at_pixels(s.points(search.surface), pixels, s)[0] for s in (moved, state))
        np.testing.assert_allclose((r - before) / 1e-6, J[..., column], atol=1e-3 * max(1, np.abs(J).max()))


def test_points_are_spread_and_repeat() -> None:
    points = surface_points(MESH, 40)
    np.testing.assert_array_equal(points, surface_points(MESH, 40))
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(40)
    assert gaps.min() > 0.03
    assert len(spread(points, 100)) == 40


# ------------------------------------------------------------------------------------------------ what follows from it


def _view(ratio: float) -> PartView:
    return PartView(min(ratio / 4, 1.0), ratio, np.array([0.0, 0.0, 2.0]))


def test_what_does_not_fit_in_space_loses() -> None:
    config = ScoreConfig()
    both = {"two": ["left_palm", "belly"], "one": ["left_palm"]}
    views = {"left_hand": _view(2.5), "belly": _view(2.5)}
    fits = [{"two": {"left_hand": 0.8, "belly": b}, "one": {"left_hand": 0.8}} for b in (0.8, 0.05)]
    fitting, not_fitting = (score_interactions(both, views, 0.5, True, config, f)["two"] for f in fits)
    assert not_fitting < 0.5 * fitting
    worse = score_interactions(both, views, 0.5, True, config, fits[0], {"two": 0.3, "one": 0.0})["two"]
    assert worse < 0.5 * fitting


def test_a_finger_yields_to_its_palm() -> None:
    config = ScoreConfig()
    alone, beside = (part_probability(_view(2.0), config, 0.5, best) for best in (0.0, 0.9))
    assert alone > 0.8
    assert beside < 0.5
    assert part_probability(_view(2.0), config, 0.1) < 0.5 < part_probability(_view(2.0), config, 0.8)
    assert noise_of("left_palm", config) == noise_of("left_foot", config) == config.end_noise_m
    assert noise_of("belly", config) == config.trunk_noise_m


def test_a_belly_behind_a_held_box_does_not_touch_it(held_box: Any) -> None:
    model = load_body()
    obj = ContactObject.of(load_object(held_box.box_category))
    estimator = GeometricContact(model)
    found = estimator.estimate(held_box.observation, held_box.body, obj)
    probability = {(p.body_part, p.object_part): p.probability for p in found.pairs}
    assert probability["left_palm", "left"] > 0.6
    assert probability["right_palm", "right"] > 0.6
    assert found.parts["belly"] < 0.3
    assert max(p for (b, o), p in probability.items() if o == "bottom") < 0.5
    flat = GeometricConfig(placement=PlacementConfig(rotations=0))
    by_image = GeometricContact(model, flat).estimate(held_box.observation, held_box.body, obj)
    assert by_image.parts["belly"] > 0.5  # the image alone is taken in; it is space that tells


def test_links_hardly_move_an_exact_body(held_box: Any) -> None:
    model = load_body()
    obj = ContactObject.of(load_object(held_box.box_category))
    fit = fit_body(held_box.observation, body_model=model)
    found = GeometricContact(model).estimate(held_box.observation, fit.body, obj)
    links, lines = contact_links(found, obj, model), contact_lines(found, obj, model)
    assert links
    refined = refine_body(fit, links=links, lines=lines, grip=found.hand_grip)
    moved = np.linalg.norm(refined.body.joints[:22] - fit.body.joints[:22], axis=1)
    assert moved.max() < 0.02, moved.round(3)


def test_nothing_is_placed_when_switched_off(held_box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import hoirecon.contact.geometric as geometric

    monkeypatch.setattr(geometric, "agreement", None)
    config = GeometricConfig(placement=PlacementConfig(rotations=0))
    obj = ContactObject.of(load_object(held_box.box_category))
    GeometricContact(load_body(), config).estimate(held_box.observation, held_box.body, obj)
