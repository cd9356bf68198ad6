"""What is expected of a pose's error: closed forms, a Monte Carlo twin, monotonicity, symmetry, hostile input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.fitting import FitConfig, JointConfig, fit
from hoirecon.fitting.expected_error import (
    OWN_SPREAD,
    ExpectedError,
    Opinion,
    Surface,
    chances_far,
    error_of,
    expected_error,
    is_ambiguous,
    likelihoods,
    moved,
    own_spread_m,
)
from hoirecon.fitting.object_state import ObjectState
from hoirecon.fitting.so3 import exp_so3
from hoirecon.pose import ObjectPose
from tests.fitting.joint_scenes import make_joint_scene

HERE = ObjectPose(Rotation.from_rotvec([0.4, -0.2, 1.0]).as_matrix(), [0.1, -0.2, 2.5], 1.1)
TIGHT = np.diag([1e-4] * 7) ** 2
LIMIT, HEAT = 0.05, 5.0


def box(count: int = 3000, sides: tuple[float, float, float] = (0.2, 0.3, 0.4)) -> Surface:
    """Points on a box that does not stand on its frame's origin."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (count, 3))
    face = rng.integers(0, 3, count)
    points[np.arange(count), face] = np.sign(points[np.arange(count), face])
    centre = np.array([0.3, 0.0, -0.1])
    points = points * np.array(sides) / 2 + centre
    return Surface(points, points[::60], centre)


def tube(count: int = 6000) -> Surface:
    """Points on a tube round the y axis."""
    rng = np.random.default_rng(1)
    angle, height = rng.uniform(0, 2 * np.pi, count), rng.uniform(-0.15, 0.15, count)
    points = np.stack([0.04 * np.cos(angle), height, 0.04 * np.sin(angle)], 1)
    return Surface(points, points[::100], np.zeros(3))


def beside(metres: float) -> ObjectPose:
    return ObjectPose(HERE.R, HERE.t + HERE.R @ np.array([metres, 0, 0]), HERE.s)


def asked(
    *found: list[tuple[ObjectPose, float]], covariance: FloatArray = TIGHT, surface: Surface | None = None
) -> ExpectedError:
    """What one or several stages' poses say of :data:`HERE`."""
    return error_of(HERE, [Opinion(one, HEAT) for one in found], covariance, surface or box(), LIMIT)


# ------------------------------------------------------------------------------------------------ what the flag is for
def test_two_equal_poses_far_apart_are_ambiguous_and_a_clear_one_is_not() -> None:
    far = ObjectPose(HERE.R, HERE.t + np.array([0.0, 0.0, 1.0]), HERE.s)
    two = asked([(HERE, 7.0), (far, 7.0)])
    assert two.chance_far == pytest.approx(0.5)
    assert two.error_m == pytest.approx(box().distance(HERE, far) / 2, rel=1e-3)
    clear = asked([(HERE, 7.0), (far, 60.0)])
    assert clear.chance_far < 1e-4
    assert clear.error_m < 1e-3
    for odds in (FitConfig().ambiguous_odds, JointConfig().ambiguous_odds):
        assert is_ambiguous(two.chance_far, odds)
        assert not is_ambiguous(clear.chance_far, odds)


def test_many_poses_that_are_a_little_worse_are_as_good_a_reason_as_an_equal_one() -> None:
    energies = np.array([0.0, *([HEAT * np.log(8.0)] * 8)])  # eight poses, each an eighth as likely
    found = expected_error(energies, [0.0, *([0.2] * 8)], 0.0, HEAT, LIMIT)
    assert found == ExpectedError(pytest.approx(0.1), pytest.approx(0.5))


def test_one_pose_of_unknown_depth_is_ambiguous() -> None:
    vague = TIGHT.copy()
    vague[5, 5] = 0.4**2
    assert asked([(HERE, 3.0)]).chance_far < 1e-6
    assert asked([(HERE, 3.0)], covariance=vague).chance_far > 0.5


def test_the_most_doubtful_stage_is_heard() -> None:
    sure, unsure = [(HERE, 0.0), (beside(0.3), 99.0)], [(HERE, 0.0), (beside(0.3), 0.0)]
    single, both = [asked(one) for one in (sure, unsure)], asked(sure, unsure)
    assert both == single[1]
    assert both.chance_far > single[0].chance_far


def test_poses_that_look_the_same_are_no_doubt() -> None:
    turned = ObjectPose(HERE.R @ Rotation.from_euler("y", 2.0).as_matrix(), HERE.t, HERE.s)
    found = asked([(HERE, 0.0), (turned, 0.0)], surface=tube())
    assert found.chance_far < 1e-6
    assert found.error_m < 0.004  # the spacing of the points
    spun = np.diag([0.0] * 7)
    axis = np.concatenate([HERE.R[:, 1], np.zeros(4)])
    spun = spun + 4.0 * np.outer(axis, axis)  # nothing tells how it is turned about its axis
    assert own_spread_m(HERE, spun, tube()) < 0.006


# ------------------------------------------------------------------------------------------------- closed forms, twins
def test_the_chance_of_being_far_is_that_of_a_normal_motion_beside_the_distance() -> None:
    x = np.random.default_rng(0).standard_normal(400_000)
    for d, spread in ((0.0, 0.03), (0.02, 0.03), (0.04, 0.01), (0.049, 0.2)):
        share = float((d**2 + (spread * x) ** 2 > LIMIT**2).mean())
        assert chances_far(np.array([d]), spread, LIMIT)[0] == pytest.approx(share, abs=4e-3)
    assert chances_far(np.array([0.05, 0.3]), 0.0, LIMIT).tolist() == [1.0, 1.0]
    assert chances_far(np.array([0.0499]), 0.0, LIMIT)[0] < 1e-9


def test_the_spread_counts_in_the_expected_distance_and_odds_are_not_chances() -> None:
    found = expected_error([0.0, 0.0], [0.0, 0.4], 0.3 / OWN_SPREAD, HEAT, LIMIT)
    assert found.error_m == pytest.approx((0.3 + 0.5) / 2)
    assert is_ambiguous(0.6, 1.0)
    assert not is_ambiguous(0.4, 0.7)  # odds of 0.67
    assert is_ambiguous(1.0, 1e9)


@pytest.mark.parametrize("which", ["distance", "spread", "energy", "limit"])
def test_more_reason_to_doubt_never_lowers_the_expected_error(which: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        energies = np.concatenate([[0.0], rng.uniform(0, 15, 6)])
        distances = np.concatenate([[0.0], rng.uniform(0, 0.2, 6)])
        spread, limit = float(rng.uniform(0, 0.05)), LIMIT
        before = expected_error(energies, distances, spread, HEAT, limit)
        k = int(distances.argmax())
        if which == "distance":
            distances[k] += 0.03
        elif which == "spread":
            spread += 0.02
        elif which == "energy":  # the farthest pose explains the photograph better
            energies[k] -= 2.0
        else:
            limit -= 0.02
        after = expected_error(energies, distances, spread, HEAT, limit)
        assert after.chance_far >= before.chance_far - 1e-12
        assert after.error_m >= before.error_m - 1e-12


def test_the_spread_of_a_shift_and_of_a_growth_are_known() -> None:
    plate = np.stack(np.meshgrid(np.linspace(-1, 1, 60), [0.0], np.linspace(-1, 1, 60)), -1).reshape(-1, 3)
    surface, across = Surface(plate, plate[::37], np.zeros(3)), np.zeros((7, 7))
    shift = HERE.R[:, 1] * 0.02
    across[3:6, 3:6] = np.outer(shift, shift)
    assert own_spread_m(HERE, across, surface) == pytest.approx(0.02, rel=1e-6)
    turned = np.zeros((7, 7))  # about an axis in the plate: the mean of |z| times the angle, to first order
    axis = HERE.R[:, 0] * 0.01
    turned[:3, :3] = np.outer(axis, axis)
    assert own_spread_m(HERE, turned, surface) == pytest.approx(0.01 * HERE.s * np.abs(surface.probe_obj[:, 2]).mean(),
                                                               rel=0.05)  # fmt: skip


def test_a_step_is_the_solvers_step() -> None:
    step = np.array([0.02, -0.01, 0.03, 0.01, 0.02, -0.04, 0.05])
    centre = np.array([0.3, 0.1, -0.2])
    R, t = torch.tensor(HERE.R)[None], torch.tensor(HERE.t + HERE.s * HERE.R @ centre)[None]
    state = ObjectState(R, t, torch.tensor([np.log(HERE.s)]), None).retract(torch.tensor(step)[None])
    found = moved(HERE, step, centre)
    assert np.allclose(found.R, state.R[0].numpy())
    assert np.allclose(found.apply(centre[None])[0], state.t[0].numpy())
    assert found.s == pytest.approx(float(state.log_s[0].exp()))
    assert np.allclose(found.R, exp_so3(torch.tensor(step[None, :3]))[0].numpy() @ HERE.R)


def test_distances_do_not_depend_on_the_frame_or_the_order() -> None:
    surface, other = box(), ObjectPose(Rotation.from_rotvec([0.5, 0.4, 0.9]).as_matrix(), [0.15, -0.1, 2.4], 0.9)
    turn, shift = Rotation.from_rotvec([0.1, 1.0, -0.5]).as_matrix(), np.array([0.3, 0.2, 0.1])
    elsewhere = [ObjectPose(turn @ p.R, turn @ p.t + shift, p.s) for p in (HERE, other)]
    assert surface.distance(HERE, HERE) == pytest.approx(0.0, abs=1e-9)
    assert surface.distance(*elsewhere) == pytest.approx(surface.distance(HERE, other))
    assert surface.distance(other, HERE) == pytest.approx(surface.distance(HERE, other))
    slow = [np.linalg.norm(a.apply(surface.probe_obj)[:, None] - b.apply(surface.samples_obj)[None], axis=2)
            for a, b in ((HERE, other), (other, HERE))]  # fmt: skip
    assert surface.distance(HERE, other) == pytest.approx(np.mean([d.min(1).mean() for d in slow]))


# -------------------------------------------------------------------------------------------------------- hostile input
def test_hostile_input_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="one of them finite"):
        likelihoods([np.nan, np.inf], HEAT)
    with pytest.raises(InputError, match="one of them finite"):
        expected_error([], [], 0.0, HEAT, LIMIT)
    with pytest.raises(InputError, match="temperature"):
        likelihoods([1.0], 0.0)
    with pytest.raises(InputError, match="each of the 2 poses"):
        expected_error([1.0, 2.0], [0.0], 0.0, HEAT, LIMIT)
    for bad in (np.nan, -0.1):
        with pytest.raises(InputError, match="metres"):
            expected_error([1.0], [bad], 0.0, HEAT, LIMIT)
        with pytest.raises(InputError, match="metres"):
            expected_error([1.0], [0.0], bad, HEAT, LIMIT)
    with pytest.raises(InputError, match="covariance"):
        own_spread_m(HERE, np.full((7, 7), np.nan), box())
    with pytest.raises(InputError, match="covariance"):
        own_spread_m(HERE, np.eye(6), box())
    with pytest.raises(InputError, match="at least its own"):
        asked()


def test_a_diverged_pose_and_what_no_term_sees_do_no_harm() -> None:
    assert likelihoods([0.0, np.nan, np.inf, 0.0], HEAT).tolist() == [0.5, 0.0, 0.0, 0.5]
    huge = own_spread_m(HERE, np.diag([1e12] * 7), box())
    assert np.isfinite(huge)
    assert expected_error([0.0], [0.0], huge, HEAT, LIMIT).chance_far == pytest.approx(1.0, abs=1e-3)


# --------------------------------------------------------------------------------------------------------- in the fits
def test_the_joint_fit_tells_its_error_and_flags_by_it() -> None:
    scene = make_joint_scene()
    quick = JointConfig(polish=None, refreshes=0, body_first=False, surface_points=300)
    true = scene.poses[0]
    result = fit(scene.observation, scene.people, scene.objects, scene.contacts, quick, starts=[[true]])
    assert len(result.predicted_error_m) == len(result.chance_far) == 1
    assert 0 <= result.chance_far[0] <= 1
    assert 0 < result.predicted_error_m[0] < 0.1
    doubts = is_ambiguous(result.chance_far[0], quick.ambiguous_odds)
    assert ("ambiguous" in result.flags) == doubts
    strict = replace(quick, objects=FitConfig(ambiguous_distance=1e-4))  # a tenth of a millimetre counts as far
    other = fit(scene.observation, scene.people, scene.objects, scene.contacts, strict, starts=[[true]])
    assert other.chance_far[0] > max(0.5, result.chance_far[0])
    assert "ambiguous" in other.flags
    assert other.predicted_error_m == result.predicted_error_m
