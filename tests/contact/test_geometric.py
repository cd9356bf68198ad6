"""Contact without weights on scenes whose truth is known: posed bodies and library objects, seen by ray casting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.contact.geometric import GeometricContact
from hoirecon.contact.interactions import NONE, PartView, ScoreConfig, group_of, score_interactions
from hoirecon.contact.protocols import ContactEstimate, ContactEstimator, ContactObject
from hoirecon.contact.proximity import _draw, measure
from hoirecon.data.body import BodyModel, load_body
from hoirecon.data.objects import load_object
from hoirecon.errors import InputError, TopologyError
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

Floats = npt.NDArray[np.float64]
CAMERA = Camera.from_focal(480, 384, 512)
FACING = Rotation.from_euler("x", 180, degrees=True)


@dataclass(frozen=True)
class Known:
    """A scene and what the estimator said of it."""

    observation: Observation
    body: SceneBody
    obj: ContactObject
    pose: ObjectPose

    def estimate(self, **kwargs: Any) -> ContactEstimate:
        return GeometricContact(_model()).estimate(self.observation, self.body, self.obj, **kwargs)


@cache
def _model() -> BodyModel:
    return load_body()


Turns = dict[str, tuple[float, float, float]]


def _person(degrees: Turns, yaw: float = 0.0) -> SceneBody:
    """A person 3 m away, turned by ``yaw`` degrees; joints as rotation vectors in degrees."""
    pose = np.zeros((52, 3))
    for joint, rotvec in degrees.items():
        pose[_model().joint_names.index(joint)] = np.radians(rotvec)
    turned = FACING * Rotation.from_euler("y", yaw, degrees=True)
    params = BodyParams.rest().replace(
        global_orient=turned.as_rotvec(), body_pose=pose[1:22].reshape(-1), transl=[0.0, 0.1, 3.0]
    )
    return _model().pose(params)


def _scene(body: SceneBody, name: str, pose: ObjectPose) -> Known:
    o3d = pytest.importorskip("open3d")
    thing = load_object(name)
    rays = o3d.t.geometry.RaycastingScene(nthreads=1)
    for mesh in (body.mesh, thing.mesh.with_verts(pose.apply(thing.mesh.verts))):
        rays.add_triangles(mesh.verts.astype(np.float32), mesh.faces.astype(np.uint32))
    rows, cols = np.mgrid[: CAMERA.height, : CAMERA.width]
    through = CAMERA.unproject(np.stack([cols + 0.5, rows + 0.5], -1), np.ones(rows.shape))
    hit = rays.cast_rays(o3d.core.Tensor(np.concatenate([0 * through, through], -1).astype(np.float32)))
    seen = np.where(np.isfinite(hit["t_hit"].numpy()), hit["geometry_ids"].numpy().astype(np.int64), -1)
    image = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    observation = Observation(image, CAMERA, person_mask=seen == 0, object_masks=(seen == 1,))
    return Known(observation, body, ContactObject.of(thing), pose)


def _mean(body: SceneBody, part: str) -> Floats:
    mean: Floats = body.verts[_model().parts.verts_of(part)].mean(axis=0)
    return mean


def _touching(found: ContactEstimate, part: str) -> float:
    """Highest probability on a part."""
    return float(found.body.probability[_model().parts.verts_of(part)].max())


ARMS_DOWN: Turns = {"left_shoulder": (0.0, 0, -70), "right_shoulder": (0.0, 0, 70)}


def _caller() -> Known:
    """Right hand and telephone at the right ear, seen from the front."""
    arm: Turns = {"right_shoulder": (0.0, 30, 65), "right_elbow": (0.0, 140, 0), "left_shoulder": (0.0, 0, -70)}
    body = _person(arm)
    ear, palm = _mean(body, "right_ear"), _mean(body, "right_palm")
    R = (FACING * Rotation.from_euler("y", 90, degrees=True)).as_matrix()
    return _scene(body, "cell phone", ObjectPose(R, 0.5 * (ear + palm)))


def _sitter() -> Known:
    bent = {
        f"{side}_{joint}": (degrees, 0.0, 0.0)
        for side in ("left", "right")
        for joint, degrees in (("hip", -88.0), ("knee", 88.0))
    }
    body = _person({**ARMS_DOWN, **bent}, 35)
    chair = load_object("chair")
    seat = chair.mesh.verts[chair.part_verts("seat")]
    R = Rotation.from_rotvec(body.params.global_orient).as_matrix()
    under = np.mean([_mean(body, f"{side}_buttock") for side in ("left", "right")], axis=0)
    # The seat's top under the buttocks, its back behind them.
    anchor = np.array([0.0, seat[:, 1].max(), seat[:, 2].min() + 0.15])
    return _scene(body, "chair", ObjectPose(R, under - R @ anchor + [0, 0.04, 0]))


def _lifter() -> Known:
    """A barbell on the shoulders, seen from behind."""
    arms: Turns = {
        f"{side}_{joint}": (rotvec[0], sign * rotvec[1], sign * rotvec[2])
        for side, sign in (("left", 1), ("right", -1))
        for joint, rotvec in (("shoulder", (-80.0, 10, -75)), ("elbow", (0.0, -125, 0)))
    }
    body = _person(arms, 180)
    nape = _mean(body, "neck_back") * 0.5 + _mean(body, "upper_back") * 0.5
    hands = 0.5 * (_mean(body, "left_palm") + _mean(body, "right_palm"))
    R = Rotation.from_rotvec(body.params.global_orient).as_matrix()
    return _scene(body, "barbell", ObjectPose(R, np.array([nape[0], hands[1], nape[2] - 0.05])))


def test_both_hands_hold_the_box(held_box: Any) -> None:
    thing = load_object(held_box.box_category)
    found = GeometricContact(_model()).estimate(held_box.observation, held_box.body, ContactObject.of(thing))
    for side in ("left", "right"):
        assert found.hand_grip[side] > 0.5
        assert _touching(found, f"{side}_palm") > 0.5
        assert _touching(found, f"{side}_sole") < 0.2
    assert _touching(found, "head") < 0.2
    assert found.object.any()
    assert found.body.source == found.object.source == "geometric"


def test_the_phone_is_at_right_hand_and_ear() -> None:
    found = _caller().estimate()
    assert found.interaction == "call_right"
    assert found.hand_grip["right"] > 0.5
    assert _touching(found, "right_ear") > 0.4
    assert found.hand_grip["left"] < 0.2
    assert _touching(found, "left_ear") < 0.2


def test_who_sits_on_a_chair_touches_the_seat() -> None:
    known = _sitter()
    found = known.estimate()
    assert found.interaction.startswith("sit")
    for side in ("left", "right"):
        assert _touching(found, f"{side}_buttock") > 0.5
        assert found.hand_grip[side] < 0.35
    chair = known.obj
    assert found.object.probability[chair.part_verts("seat")].mean() > 0.5
    assert found.object.probability[np.setdiff1d(chair.part_verts("legs"), chair.part_verts("seat"))].mean() < 0.2


def test_a_barbell_lies_on_the_back_and_in_both_hands() -> None:
    known = _lifter()
    found = known.estimate()
    assert found.interaction == "on_shoulders"
    assert min(found.hand_grip.values()) > 0.5
    assert max(_touching(found, "upper_back"), _touching(found, "neck_back")) > 0.5
    assert _touching(found, "belly") < 0.2
    assert found.object.probability[known.obj.part_verts("bar_left")].max() > 0.5
    assert found.object.probability[known.obj.part_verts("plates_left")].min() < 0.1


@pytest.mark.parametrize("name", ["cell phone", "chair", "barbell", "tablet"])
def test_an_object_elsewhere_is_not_touched(name: str) -> None:
    body = _person(ARMS_DOWN)
    size = load_object(name).mesh.extents.max()
    apart = ObjectPose(FACING.as_matrix(), np.array([0.75, 0.1, 3.0]), min(1.0, 0.3 / size))
    found = _scene(body, name, apart).estimate()
    assert found.body.probability.max() < 0.3
    assert found.object.probability.max() < 0.3
    assert found.interaction == NONE
    assert any("no contact" in flag for flag in found.flags)


def test_palms_touch_rather_than_the_backs_of_hands() -> None:
    found = _lifter().estimate()
    parts = _model().parts
    for side in ("left", "right"):
        palm = found.body.probability[parts.verts_of(f"{side}_palm")].mean()
        assert palm > 2 * found.body.probability[parts.verts_of(f"{side}_hand_back")].mean()


def test_fingers_touch_with_their_pads_and_the_back_with_the_side_where_the_bar_is() -> None:
    known = _lifter()
    found = known.estimate()
    parts, rest = _model().parts, Mesh(_model().rest_verts, _model().faces).vert_normals
    for side in ("left", "right"):
        ids = parts.verts_of(f"{side}_middle_finger")
        pad, nail = (found.body.probability[ids[sign * rest[ids, 1] < -0.6]].mean() for sign in (1, -1))
        assert pad > 2 * nail
    neck = parts.verts_of("neck_back")
    towards = -np.einsum("vc,vc->v", known.body.mesh.vert_normals[neck], known.body.verts[neck])
    seen, turned_away = found.body.probability[neck[towards > 1]], found.body.probability[neck[towards < -1]]
    assert len(turned_away) == 0 or seen.max() > 2 * turned_away.max()


def test_a_known_object_pose_sharpens_the_answer() -> None:
    known = _caller()
    rough, sharp = known.estimate(), known.estimate(pose=known.pose)
    from scipy.spatial import cKDTree

    far = cKDTree(known.pose.apply(known.obj.mesh.verts)).query(known.body.verts)[0] > 0.12
    assert sharp.body.probability[far].max() < 0.05
    assert sharp.body.probability.sum() < rough.body.probability.sum()


def test_a_mesh_without_parts_or_category_is_judged_part_by_part(held_box: Any) -> None:
    own = ContactObject.of_mesh(held_box.box)
    found = GeometricContact(_model()).estimate(held_box.observation, held_box.body, own)
    assert min(found.hand_grip.values()) > 0.5
    assert _touching(found, "left_sole") < 0.3
    assert np.ptp(found.object.probability) == 0
    assert any("unknown" in flag for flag in found.flags)


def _twice(pixels: Any) -> Any:
    return np.repeat(np.repeat(pixels, 2, 0), 2, 1)


def test_image_size_hardly_matters() -> None:
    known = _lifter()
    assert known.observation.person_mask is not None
    doubled = replace(
        known.observation,
        image=_twice(known.observation.image),
        camera=CAMERA.resized(2 * CAMERA.width, 2 * CAMERA.height),
        person_mask=_twice(known.observation.person_mask),
        object_masks=(_twice(known.observation.object_masks[0]),),
    )
    one, two = known.estimate(), replace(known, observation=doubled).estimate()
    assert np.abs(one.body.probability - two.body.probability).mean() < 0.01
    assert one.interaction == two.interaction


def test_the_same_input_gives_the_same_output() -> None:
    known = _caller()
    np.testing.assert_array_equal(known.estimate().body.probability, known.estimate().body.probability)


def test_it_is_an_estimator() -> None:
    estimator: ContactEstimator = GeometricContact(_model())
    assert estimator.name == "geometric"


def test_what_cannot_be_used_ends_in_one_sentence() -> None:
    known = _caller()
    with pytest.raises(TopologyError, match="made for"):
        wrong = replace(known.body, params=replace(known.body.params, topology="smplh"))
        replace(known, body=wrong).estimate()
    with pytest.raises(InputError, match="no mask of object 1"):
        known.estimate(object_index=1)
    with pytest.raises(InputError, match="empty"):
        blank = np.zeros((CAMERA.height, CAMERA.width), bool)
        replace(known, observation=replace(known.observation, object_masks=(blank,))).estimate()
    with pytest.raises(InputError, match="part"):
        ContactObject(known.obj.mesh, None, {"handle": np.array([10**6])})
    with pytest.raises(InputError, match="unknown object"):
        ContactObject.of_mesh(known.obj.mesh, "flying carpet")


# ------------------------------------------------------------------------------------------------------ the parts


def test_the_painters_outline_is_that_of_ray_casting() -> None:
    known = _caller()
    o3d = pytest.importorskip("open3d")
    rays = o3d.t.geometry.RaycastingScene(nthreads=1)
    rays.add_triangles(known.body.verts.astype(np.float32), known.body.faces.astype(np.uint32))
    rows, cols = np.mgrid[: CAMERA.height, : CAMERA.width]
    through = CAMERA.unproject(np.stack([cols + 0.5, rows + 0.5], -1), np.ones(rows.shape))
    hit = rays.cast_rays(o3d.core.Tensor(np.concatenate([0 * through, through], -1).astype(np.float32)))
    truth = hit["primitive_ids"].numpy().astype(np.int64)
    covered = np.isfinite(hit["t_hit"].numpy())
    drawn = _draw(known.body, CAMERA)
    assert (covered & (drawn >= 0)).sum() / (covered | (drawn >= 0)).sum() > 0.95
    depth = known.body.verts[known.body.faces, 2].mean(axis=1)
    both = covered & (drawn >= 0)
    assert (np.abs(depth[drawn[both]] - depth[truth[both]]) < 0.02).mean() > 0.97


def test_nearness_is_metric() -> None:
    # One visible pixel in the middle of the image; a vertex 10 cm beside the axis at 3 m is 10 cm away.
    mask = np.zeros((CAMERA.height, CAMERA.width), bool)
    mask[CAMERA.height // 2, CAMERA.width // 2] = True
    body = _person(ARMS_DOWN)
    near = measure(body, CAMERA, mask)
    beside = np.linalg.norm(body.verts[:, :2], axis=1)
    front = near.seen & (beside < 0.3)
    np.testing.assert_allclose(near.distance_m[front], beside[front] * 1.0, atol=0.04)


def _view(ratio: float, at: float = 0.0) -> PartView:
    return PartView(min(ratio / 4, 1.0), ratio, np.array([at, 0.0, 2.0]))


UNDECIDED = ScoreConfig(none_bonus=0.3)
"""Before looking, nothing touches about as likely as something does."""


def test_the_nearer_hypothesis_wins_and_all_sum_to_one() -> None:
    config = ScoreConfig()
    two = {"hold": ["left_palm"], "sit": ["left_buttock", "right_buttock"]}
    views = {"left_hand": _view(4.0), "left_buttock": _view(0.2), "right_buttock": _view(0.2)}
    scores = score_interactions(two, views, 0.5, True, config)
    assert sum(scores.values()) == pytest.approx(1)
    assert max(scores, key=lambda n: scores[n]) == "hold"
    nothing = {name: _view(0.2) for name in views}
    assert score_interactions(two, nothing, 0.5, True, UNDECIDED)[NONE] > 0.7


def test_what_is_near_nothing_is_touched_by_nothing() -> None:
    two = {"hold": ["left_palm"], "sit": ["left_buttock", "right_buttock"]}
    far = {name: _view(0.2) for name in ("left_hand", "left_buttock", "right_buttock")}
    apart = {name: dict.fromkeys(far, 0.0) for name in two}  # nor does any pose of the object bring them together
    assert score_interactions(two, far, 0.5, True, ScoreConfig(), apart)[NONE] > 0.9


def test_the_prior_is_that_named_things_are_touched() -> None:
    unsure = {"left_hand": _view(1.0)}  # as near as any part that has nothing to do with it
    nothing = score_interactions({"hold": ["left_palm"]}, unsure, 0.5, True, ScoreConfig())[NONE]
    assert nothing == pytest.approx(1 / (1 + np.exp(2.5)))


def test_parts_too_far_apart_for_the_object_speak_against_it() -> None:
    config = UNDECIDED
    both = {"two_hands": ["left_palm", "right_palm"]}
    near, far = ({"left_hand": _view(4.0), "right_hand": _view(4.0, at)} for at in (0.2, 1.2))
    assert (
        score_interactions(both, near, 0.3, True, config)["two_hands"]
        > 2 * score_interactions(both, far, 0.3, True, config)["two_hands"]
    )


def test_straight_hips_do_not_sit() -> None:
    sit = {"sit": ["left_buttock", "right_buttock"]}
    views = {"left_buttock": _view(2.0), "right_buttock": _view(2.0)}
    bent, straight = (score_interactions(sit, views, 1.0, b, UNDECIDED)["sit"] for b in (True, False))
    assert bent > 1.5 * straight


def test_groups() -> None:
    assert {group_of(p) for p in ("left_palm", "left_thumb", "left_pinky_finger")} == {"left_hand"}
    assert group_of("left_hand_back") == "left_hand_back"
    assert group_of("neck_back") == "neck_back"


def test_unit_mesh_without_parts_offers_its_whole_surface() -> None:
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    assert ContactObject(mesh).part_verts("handle").tolist() == [0, 1, 2]
