"""Angles, ranges and terms of the body fit: closed forms, Jacobians against autograd and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from hoirecon.data.body import body_landmarks, load_body, points_of_landmarks
from hoirecon.data.body.state import BodyState
from hoirecon.errors import InputError
from hoirecon.fitting.body_angles import joint_angles, rotations_of
from hoirecon.fitting.body_state import FitState, limit_step, retract
from hoirecon.fitting.body_terms import (
    Anchor,
    BodyView,
    JointLimits,
    Landmarks2D,
    Landmarks3D,
    Lines,
    Links,
    Stature,
    Targets,
    UsualPose,
    UsualShape,
    project,
)
from hoirecon.fitting.hand_poses import hand_pose
from hoirecon.fitting.pose_prior import BODY_JOINTS, RANGES, SITTING, angle_index, pose_prior

AXES = torch.tensor([0, 1, 2, 0, 1, 2])


def _rotations(*shape: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    R: Tensor = roma.rotvec_to_rotmat(scale * torch.randn(*shape, 3, generator=generator, dtype=torch.float64))
    return R


# ------------------------------------------------------------------------------------------------------ angles


def test_pure_twists_and_pure_swings_are_read_off() -> None:
    for axis in range(3):
        for other in range(3):
            rotvec = np.zeros(3)
            rotvec[other] = 0.7
            R = torch.as_tensor(Rotation.from_rotvec(rotvec).as_matrix())[None]
            angles = joint_angles(R, torch.tensor([axis]))[0]
            np.testing.assert_allclose(angles[0].numpy(), rotvec, atol=1e-12)


def test_swing_carries_the_bone_and_twist_does_not() -> None:
    R = _rotations(50, 6)
    angles = joint_angles(R, AXES)[0]
    untwisted = rotations_of(angles * (1 - torch.nn.functional.one_hot(AXES, 3)), AXES)
    bone = torch.nn.functional.one_hot(AXES, 3).double()[..., None]
    torch.testing.assert_close(R @ bone, untwisted @ bone)


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 0.03, 0.5, 1.2])
def test_angles_and_rotations_are_inverse(scale: float) -> None:
    R = _rotations(40, 6, scale=scale)
    torch.testing.assert_close(rotations_of(joint_angles(R, AXES)[0], AXES), R)


@pytest.mark.parametrize("scale", [1e-6, 5e-3, 0.3, 1.2])
def test_angle_jacobian_is_the_finite_difference(scale: float) -> None:
    R = _rotations(20, 6, scale=scale)
    J = joint_angles(R, AXES)[1]
    h = 1e-6
    for k in range(3):
        d = torch.zeros(3, dtype=torch.float64)
        d[k] = h
        plus, minus = (joint_angles(R @ roma.rotvec_to_rotmat(s * d), AXES)[0] for s in (1, -1))
        torch.testing.assert_close(J[..., k], (plus - minus) / (2 * h), atol=1e-6, rtol=1e-6)


# ------------------------------------------------------------------------------------------------------- prior


def test_every_usual_angle_lies_in_its_range_and_sides_mirror() -> None:
    for legs in (None, SITTING):
        prior = pose_prior(legs)
        assert (prior.low < prior.usual).all()
        assert (prior.usual < prior.high).all()
        for joint in ("hip", "knee", "shoulder", "elbow", "wrist", "collar", "ankle", "foot"):
            for axis, sign in (("x", 1), ("y", -1), ("z", -1)):
                left, right = (angle_index(f"{side}_{joint}", axis) for side in ("left", "right"))
                assert prior.usual[right] == sign * prior.usual[left]
                low, high = (prior.low[left], prior.high[left]) if sign > 0 else (-prior.high[left], -prior.low[left])
                assert prior.low[right] == low
                assert prior.high[right] == high


def _bend(joint: str, axis: str, degrees: float) -> np.ndarray[Any, Any]:
    """Joints of the free body with one joint turned."""
    params_pose = np.zeros((21, 3))
    params_pose[BODY_JOINTS.index(joint), "xyz".index(axis)] = np.radians(degrees)
    from hoirecon.body_params import BodyParams

    return load_body().pose(BodyParams.rest().replace(body_pose=params_pose.reshape(-1))).joints


def test_the_signs_of_the_ranges_are_those_of_the_body() -> None:
    # The larger end of each range must bend the way people bend: knees back, elbows and hips forward, arms up.
    names = list(load_body().joint_names)
    knee = _bend("left_knee", "x", RANGES["knee"].x[2] / 2)
    assert knee[names.index("left_ankle"), 2] < knee[names.index("left_knee"), 2] - 0.1
    hip = _bend("left_hip", "x", RANGES["hip"].x[0] / 2)
    assert hip[names.index("left_knee"), 2] > hip[names.index("left_hip"), 2] + 0.1
    elbow = _bend("left_elbow", "y", RANGES["elbow"].y[0] / 2)
    assert elbow[names.index("left_wrist"), 2] > elbow[names.index("left_elbow"), 2] + 0.1
    arm = _bend("left_shoulder", "z", -50)
    assert arm[names.index("left_elbow"), 1] < arm[names.index("left_shoulder"), 1] - 0.1
    leg = _bend("left_hip", "z", RANGES["hip"].z[2])
    assert leg[names.index("left_knee"), 0] > leg[names.index("left_hip"), 0] + 0.1
    trunk = _bend("spine1", "x", RANGES["spine1"].x[2])
    assert trunk[names.index("head"), 2] > trunk[names.index("pelvis"), 2] + 0.1
    ankle = _bend("left_ankle", "x", RANGES["ankle"].x[2])
    assert ankle[names.index("left_foot"), 1] < _bend("left_ankle", "x", 0)[names.index("left_foot"), 1] - 0.03


def test_hand_poses_mirror_and_close() -> None:
    left, right = hand_pose("left", 0.6).reshape(15, 3), hand_pose("right", 0.6).reshape(15, 3)
    np.testing.assert_allclose(left * [1, -1, -1], right)
    assert np.linalg.norm(hand_pose("left", 1.0)) > np.linalg.norm(hand_pose("left", 0.0)) > 0
    assert not hand_pose("right", 1.0, flat=True).any()
    with pytest.raises(InputError, match="grip"):
        hand_pose("left", 1.5)


# ------------------------------------------------------------------------------------------------------- terms


def _state(batch: int = 3, seed: int = 0) -> FitState:
    generator = torch.Generator().manual_seed(seed)
    model = load_body(dtype=torch.float64)
    rest = BodyState.rest(model, batch)
    turn = 0.5 * torch.randn(batch, 52, 3, generator=generator, dtype=torch.float64)
    betas = torch.randn(batch, model.num_betas, generator=generator, dtype=torch.float64)
    transl = torch.randn(batch, 3, generator=generator, dtype=torch.float64) * 0.2 + torch.tensor([0.0, 0, 3])
    body = BodyState(rest.rotations @ roma.rotvec_to_rotmat(turn), betas, transl)
    return FitState(body, 0.1 * torch.randn(batch, generator=generator, dtype=torch.float64))


MODEL = load_body(dtype=torch.float64)
PRIOR = pose_prior()
POINTS = points_of_landmarks(MODEL, body_landmarks(MODEL, "blazepose33"))
K = torch.tensor([[800.0, 0, 300], [0, 820, 400], [0, 0, 1]], dtype=torch.float64)


def _terms() -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    trust = torch.rand(33, generator=generator, dtype=torch.float64)
    noise = 1 + torch.rand(33, generator=generator, dtype=torch.float64)
    xyz = torch.randn(33, 3, generator=generator, dtype=torch.float64)
    xy = 300 + 100 * torch.randn(33, 2, generator=generator, dtype=torch.float64)
    return [
        Landmarks2D(xy, trust, noise, K, 5.0),
        Landmarks3D(xyz, trust, noise, 2.0, 0.05),
        JointLimits(PRIOR, 0.05),
        UsualPose(PRIOR),
        UsualShape(0.9, 0.15),
        Stature(1.7, 1.68, torch.linspace(0.1, 0.01, 10, dtype=torch.float64)),
        Targets((3, 8, 20, 31), xyz[:4] + torch.tensor([0.0, 0, 3]), torch.tensor([0.02, 0.02, 0.01, 0.05]).double()),
        Anchor.of(_state(1, seed=5)),
        Lines(((15, 0, 16), (27, 11, 12))),
        Links((0, 15), (16, 7), torch.tensor([0.05, 5.0]).double(), torch.tensor([0.02, 0.04]).double()),
    ]


@pytest.mark.parametrize("term", _terms(), ids=lambda t: t.name)
def test_jacobians_are_the_derivatives(term: Any) -> None:
    state = _state()
    found = term.residuals(BodyView.of(state, POINTS, PRIOR))
    assert torch.isfinite(found.r).all()
    generator = torch.Generator().manual_seed(2)
    h = 1e-6
    for _ in range(6):  # random directions see every column
        step = torch.randn(state.batch, state.num_columns, generator=generator, dtype=torch.float64)
        moved = [term.residuals(BodyView.of(retract(state, s * h * step), POINTS, PRIOR)).r for s in (1, -1)]
        numeric = (moved[0] - moved[1]) / (2 * h)
        torch.testing.assert_close(torch.einsum("bncd,bd->bnc", found.J, step), numeric, atol=2e-4, rtol=1e-5)


def test_every_parameter_is_seen_by_some_term() -> None:
    view = BodyView.of(_state(), POINTS, PRIOR)
    seen = sum(term.residuals(view).J.abs().sum((1, 2)) for term in _terms())
    assert (seen > 0).all()


def test_each_term_is_worth_its_number_of_measurements() -> None:
    view = BodyView.of(_state(), POINTS, PRIOR)
    for term in _terms():
        w = term.residuals(view).w
        assert w.shape[0] == 3
        if term.name not in ("usual_shape", "anchor"):  # these count one by one
            torch.testing.assert_close(w.sum(1), torch.ones(3, dtype=torch.float64))


def test_limits_are_silent_inside_and_linear_outside() -> None:
    state = _state(1)
    for degrees, expected in ((100.0, 0.0), (160.0, 10.0)):
        angles = PRIOR.usual.clone()
        angles[angle_index("left_knee", "x")] = np.radians(degrees)
        rotations = state.body.rotations.clone()
        rotations[0, 1:22] = rotations_of(angles.view(21, 3), PRIOR.twist_axis)
        view = BodyView.of(
            FitState(BodyState(rotations, state.body.betas, state.body.transl), state.log_scale), POINTS, PRIOR
        )
        r = JointLimits(PRIOR, np.radians(1.0)).residuals(view).r
        assert float(r.abs().sum()) == pytest.approx(expected, abs=1e-6)


def test_projection_is_the_cameras_and_finite_behind_it() -> None:
    points = torch.tensor([[0.1, -0.2, 2.0], [0.3, 0.1, -1.0]], dtype=torch.float64)
    pixels, J = project(points, K)
    np.testing.assert_allclose(pixels[0].numpy(), [340.0, 318.0])
    assert torch.isfinite(pixels).all()
    assert torch.isfinite(J).all()


@pytest.mark.parametrize("depth", [2.0, 0.03, -1.0])
def test_the_projection_s_derivative_is_its_own_where_depth_is_held_too(depth: float) -> None:
    at = torch.tensor([0.1, -0.2, depth], dtype=torch.float64)
    numeric = torch.func.jacrev(lambda p: project(p, K)[0])(at)
    torch.testing.assert_close(project(at, K)[1], numeric)


def test_long_steps_are_shortened_as_a_whole() -> None:
    step = torch.zeros(2, 80, dtype=torch.float64)
    step[0, 10], step[0, 70], step[1, 10] = 2.0, 1.0, 0.1
    short = limit_step(step, 0.5)
    assert [float(short[0, 10]), float(short[0, 70]), float(short[1, 10])] == [0.5, 0.25, 0.1]
