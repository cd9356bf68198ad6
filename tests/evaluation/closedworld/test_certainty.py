"""Normalised errors of poses: drawn from a known covariance they are chi-square, whatever the symmetry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import chi2, kstest

from hoirecon.arrays import FloatArray
from hoirecon.data.objects import Symmetry
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld.certainty import check_covariance, nearest_rotation, pose_error
from hoirecon.evaluation.metrics import rotation_error_deg
from hoirecon.fitting.object_state import ObjectState
from hoirecon.pose import ObjectPose

CENTRE = np.array([0.05, -0.02, 0.03])
SIZES = np.array([0.03, 0.02, 0.04, 0.004, 0.004, 0.03, 0.05])


def _pose(seed: int = 0) -> ObjectPose:
    return ObjectPose(Rotation.random(rng=np.random.default_rng(seed)).as_matrix(), [0.2, -0.1, 2.5], 1.1)


def _covariance(seed: int = 0) -> FloatArray:
    """Correlated, sizes as of a real fit."""
    A = np.random.default_rng(seed).standard_normal((7, 9))
    C = A @ A.T
    C = C / np.sqrt(np.diag(C))[:, None] / np.sqrt(np.diag(C))
    return np.asarray(C * SIZES[:, None] * SIZES)


def _moved(pose: ObjectPose, step: FloatArray, centre: FloatArray = CENTRE) -> ObjectPose:
    """The pose after a step, as the fit itself takes it: its mesh is centred, so its t is the centre's place."""
    state = ObjectState(
        torch.tensor(pose.R)[None], torch.tensor(pose.apply(centre))[None], torch.tensor([np.log(pose.s)]), None
    )
    after = state.retract(torch.tensor(step)[None])
    R, s = after.R[0].numpy(), float(after.log_s.exp())
    return ObjectPose(R, after.t[0].numpy() - s * R @ centre, s)


def test_the_error_is_the_step_that_the_fit_would_take() -> None:
    step = np.array([0.3, -0.2, 0.5, 0.02, -0.03, 0.2, -0.15])
    assert np.allclose(pose_error(_pose(), _moved(_pose(), step), CENTRE).step, step)


@pytest.mark.parametrize("text", ["", "y:2", "x:2 y:2", "y:inf", "x:inf y:2", "ball"])
def test_steps_drawn_from_the_covariance_are_chi_square(text: str) -> None:
    """The truth is turned by any element of the symmetry besides: nothing of that may show."""
    symmetry, cov, pose, rng = Symmetry.parse(text), _covariance(), _pose(1), np.random.default_rng(2)
    group, values = symmetry.rotations(12), []
    centre = np.zeros(3) if text else CENTRE
    for step in rng.multivariate_normal(np.zeros(7), cov, 800):
        true = _moved(pose, step, centre)
        true = ObjectPose(true.R @ group[rng.integers(len(group))], true.t, true.s)
        error = pose_error(pose, true, centre, symmetry)
        values.append(error.normalised(cov) * error.dof)
    dof = error.dof
    assert dof == {"": 7, "y:2": 7, "x:2 y:2": 7, "y:inf": 6, "x:inf y:2": 6, "ball": 4}[text]
    assert np.mean(values) / dof == pytest.approx(1, abs=0.08)  # standard error sqrt(2 / dof / 800) < 0.025
    assert kstest(values, chi2(dof).cdf).pvalue > 1e-3


def test_the_median_of_seven_directions_is_a_little_below_one() -> None:
    assert chi2(7).median() / 7 == pytest.approx(0.907, abs=1e-3)


def test_a_covariance_that_is_too_small_shows_by_its_factor() -> None:
    cov, pose = _covariance(), _pose()
    error = pose_error(pose, _moved(pose, SIZES), CENTRE)
    assert error.normalised(cov / 4) == pytest.approx(4 * error.normalised(cov), rel=1e-6)


def test_the_normalised_error_against_the_plain_inverse() -> None:
    cov, step = _covariance(3), SIZES * [1, -1, 0.5, 2, 0.3, -1, 1]
    error = pose_error(_pose(), _moved(_pose(), step), CENTRE)
    assert error.normalised(cov) == pytest.approx(step @ np.linalg.inv(cov) @ step / 7, rel=1e-4)


def test_units_do_not_matter() -> None:
    """Millimetres instead of metres: also beside an idle direction whose entries have other units."""
    cov, symmetry = _covariance(4), Symmetry.parse("z:inf")
    error = pose_error(_pose(), _moved(_pose(), SIZES), CENTRE, symmetry)
    unit = np.diag([1.0, 1, 1, 10, 10, 10, 1])
    other = type(error)(unit @ error.step, unit @ error.idle)
    assert other.normalised(unit @ cov @ unit) == pytest.approx(error.normalised(cov), rel=1e-6)


@pytest.mark.parametrize("text", ["y:inf", "x:inf y:2", "z:2", "ball", ""])
def test_the_nearest_true_rotation_is_as_far_as_the_metric_says(text: str) -> None:
    symmetry = Symmetry.parse(text)
    for seed in range(10):
        R, R_true = (Rotation.random(rng=np.random.default_rng([seed, k])).as_matrix() for k in (0, 1))
        near = nearest_rotation(R, R_true, symmetry)
        assert rotation_error_deg(near, R_true, symmetry) == pytest.approx(0, abs=1e-4)
        angle = np.degrees(Rotation.from_matrix(near @ R.T).magnitude())
        assert angle == pytest.approx(rotation_error_deg(R, R_true, symmetry), abs=1e-4)


def test_a_spin_about_an_axis_beside_the_centre_is_no_error() -> None:
    """The axis runs through the origin, the mesh's centre lies 2 cm off it: the spin moves the centre, too."""
    pose, symmetry = _pose(), Symmetry.parse("y:inf")
    spun = ObjectPose(pose.R @ Rotation.from_rotvec([0, 0.05, 0]).as_matrix(), pose.t, pose.s)
    error = pose_error(pose, spun, CENTRE, symmetry)
    assert error.normalised(_covariance()) == pytest.approx(0, abs=1e-9)
    assert pose_error(pose, spun, CENTRE).normalised(_covariance()) > 0.01


def test_a_fixed_scale_has_no_variance_and_no_error() -> None:
    cov = _covariance()
    cov[6], cov[:, 6] = 0, 0
    step = SIZES * [1, 1, 1, 1, 1, 1, 0]
    found = pose_error(_pose(), _moved(_pose(), step), CENTRE).normalised(cov)
    assert found == pytest.approx(step[:6] @ np.linalg.inv(cov[:6, :6]) @ step[:6] / 7, rel=1e-3)


@pytest.mark.parametrize(
    "bad", [np.eye(6), np.full((7, 7), np.nan), -np.eye(7), np.eye(7) + np.triu(np.full((7, 7), 0.5), 1)]
)
def test_what_is_no_covariance_is_told(bad: FloatArray) -> None:
    with pytest.raises(InputError, match="covariance of a pose"):
        check_covariance(bad)
