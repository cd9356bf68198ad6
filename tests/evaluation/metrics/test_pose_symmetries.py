"""Pose errors over symmetries: groups about axes, and lists of motions as BOP and RHOBIN have them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hoirecon.arrays import FloatArray
from hoirecon.camera import Camera
from hoirecon.data.objects import Symmetry
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.pose import mspd, mssd, rotation_error
from hoirecon.pose import ObjectPose

VERTS = np.random.default_rng(0).normal(size=(30, 3)) * 0.1
TRUTH = ObjectPose(Rotation.random(random_state=1).as_matrix(), np.array([0.1, 0.2, 2.0]), 1.3)
CAMERA = Camera(np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]]), 640, 480)


def _motion(R: FloatArray, t: FloatArray | None = None) -> FloatArray:
    motion = np.eye(4)
    motion[:3, :3] = R
    if t is not None:
        motion[:3, 3] = t
    return motion


def test_a_listed_half_turn_is_no_error_and_equals_the_group() -> None:
    half = Rotation.from_rotvec([0, np.pi, 0]).as_matrix()
    pose = ObjectPose(TRUTH.R @ half, TRUTH.t, TRUTH.s)
    listed = _motion(half)[None]
    assert mssd(pose, TRUTH, VERTS) > 0.1
    assert mssd(pose, TRUTH, VERTS, listed) == pytest.approx(0, abs=1e-12)
    assert mspd(pose, TRUTH, VERTS, CAMERA) > 1 > 1e-9 > mspd(pose, TRUTH, VERTS, CAMERA, listed)
    assert rotation_error(pose, TRUTH, listed) == pytest.approx(0, abs=1e-5)
    other = ObjectPose(Rotation.random(random_state=2).as_matrix(), TRUTH.t, 1.0)
    group = Symmetry.parse("y:2")
    assert mssd(other, TRUTH, VERTS, listed) == pytest.approx(mssd(other, TRUTH, VERTS, group))
    assert rotation_error(other, TRUTH, listed) == pytest.approx(rotation_error(other, TRUTH, group))


def test_a_motion_may_shift_an_object_whose_origin_is_beside_its_axis() -> None:
    half, off = Rotation.from_rotvec([0, np.pi, 0]).as_matrix(), np.array([0.3, 0.0, 0.0])
    # A half turn about an axis through `off`: x -> half (x - off) + off.
    motion = _motion(half, off - half @ off)
    moved = TRUTH.apply(VERTS @ half.T + motion[:3, 3])
    t = TRUTH.t + TRUTH.s * TRUTH.R @ motion[:3, 3]
    pose = ObjectPose(TRUTH.R @ half, t, TRUTH.s)
    np.testing.assert_allclose(pose.apply(VERTS), moved, atol=1e-12)
    assert mssd(pose, TRUTH, VERTS, motion[None]) == pytest.approx(0, abs=1e-12)
    assert mssd(pose, TRUTH, VERTS, _motion(half)[None]) > 0.1


def test_the_identity_is_always_among_them() -> None:
    quarter = _motion(Rotation.from_rotvec([0, 0, np.pi / 2]).as_matrix())[None]
    assert mssd(TRUTH, TRUTH, VERTS, quarter) == 0
    assert rotation_error(TRUTH, TRUTH, np.zeros((0, 4, 4))) == pytest.approx(0, abs=1e-5)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="motions under which"):
        mssd(TRUTH, TRUTH, VERTS, np.eye(3)[None])
