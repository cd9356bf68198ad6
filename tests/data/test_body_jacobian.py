"""Closed-form Jacobians against autograd in double precision, at random and at awkward poses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hoirecon.body_params import BodyParams
from hoirecon.data.body import (
    BodyModel,
    BodyPoints,
    BodyState,
    FreeParams,
    Landmarks,
    body_landmarks,
    landmarks_with_jacobian,
    load_body,
    points_at,
    points_of_joints,
    points_of_landmarks,
    points_of_verts,
    retract,
    rotvec_jacobian,
)
from hoirecon.errors import InputError

DOUBLE = torch.float64
EVERYTHING = FreeParams(joints=tuple(range(52)))
ANGLES = {"at rest": 0.0, "near rest": 1e-9, "tiny": 1e-5, "usual": 0.5, "wild": 2.0}


@pytest.fixture(scope="module")
def free_body() -> BodyModel:
    return load_body(dtype=DOUBLE)


@pytest.fixture
def corrected(body_file: Callable[..., Path]) -> BodyModel:
    """A small model whose pose correctives are not zero."""
    model = load_body(body_file(num_verts=60, num_betas=10), dtype=DOUBLE)
    assert model.posedirs is not None
    return model


def random_state(model: BodyModel, angle: float, batch: int = 2) -> BodyState:
    rng = torch.Generator().manual_seed(3)
    vectors = torch.randn(batch, 156, generator=rng, dtype=DOUBLE) * angle
    rotations = model.rotations(vectors[:, :3], vectors[:, 3:66], vectors[:, 66:111], vectors[:, 111:])
    betas = torch.randn(batch, model.num_betas, generator=rng, dtype=DOUBLE)
    return BodyState(rotations, betas, torch.randn(batch, 3, generator=rng, dtype=DOUBLE))


def autograd_jacobian(points: BodyPoints, state: BodyState, free: FreeParams) -> Tensor:
    """(B, L, 3, D) by differentiating the ordinary forward along the retraction at a zero step."""

    def positions(delta: Tensor) -> Tensor:
        moved = retract(state, delta, free)
        out = points.model.forward_rotations(moved.rotations, moved.betas)
        landmarks = (out.verts[:, points.idx] * points.w[..., None]).sum(2)
        joints = torch.einsum("lj,bjc->blc", points.on_joint, out.joints)
        return (landmarks + joints + moved.transl[:, None]).sum(0)  # the batch does not mix

    zero = torch.zeros(len(state.betas), free.size, dtype=DOUBLE)
    jacobian: Tensor = torch.autograd.functional.jacobian(positions, zero)  # type: ignore[no-untyped-call]
    return jacobian.permute(2, 0, 1, 3)


def some_points(model: BodyModel) -> BodyPoints:
    rng = np.random.default_rng(0)
    idx = rng.integers(0, model.num_verts, size=(4, 3))
    sparse = Landmarks(("a", "b", "c", "d"), idx, rng.dirichlet(np.ones(3), size=4))
    return (
        points_of_landmarks(model, sparse) + points_of_verts(model, [5, 17]) + points_of_joints(model, [0, 8, 21, 36])
    )


@pytest.mark.parametrize("angle", ANGLES.values(), ids=ANGLES.keys())
def test_jacobian_equals_autograd_with_pose_correctives(corrected: BodyModel, angle: float) -> None:
    state, points = random_state(corrected, angle), some_points(corrected)
    _, J = landmarks_with_jacobian(corrected, state, points, EVERYTHING)
    torch.testing.assert_close(J, autograd_jacobian(points, state, EVERYTHING), atol=1e-8, rtol=0)


@pytest.mark.parametrize("angle", ANGLES.values(), ids=ANGLES.keys())
def test_jacobian_equals_autograd_on_the_free_body(free_body: BodyModel, angle: float) -> None:
    free = FreeParams()
    points = points_of_landmarks(free_body, body_landmarks(free_body, "coco17"))
    state = random_state(free_body, angle, batch=1)
    _, J = landmarks_with_jacobian(free_body, state, points, free)
    torch.testing.assert_close(J, autograd_jacobian(points, state, free), atol=1e-8, rtol=0)


def test_correctives_of_a_few_joints_and_vertices(corrected: BodyModel) -> None:
    """As in the free body: most joints and most vertices have none, and are skipped; the result is the full one."""
    from dataclasses import replace

    assert corrected.posedirs is not None
    mask = torch.zeros_like(corrected.posedirs).view(60, 3, 51, 9)
    mask[5:40, :, [0, 18, 40]] = 1  # joints 1, 19 and 41
    sparse = replace(corrected, posedirs=corrected.posedirs * mask.view(60, 3, 459))
    assert sparse.corrective_joints == (1, 19, 41)
    state, free = random_state(sparse, 0.5), FreeParams(joints=(19, 2, 0, 1))
    points = points_of_verts(sparse, [3, 5, 20, 39, 40])
    positions, J = landmarks_with_jacobian(sparse, state, points, free)
    torch.testing.assert_close(J, autograd_jacobian(points, state, free), atol=1e-8, rtol=0)
    features = (state.rotations[:, 1:] - torch.eye(3, dtype=DOUBLE)).flatten(1)
    offsets = torch.einsum("vcf,bf->bvc", corrected.posedirs * mask.view(60, 3, 459), features)
    for b in range(2):
        baked = replace(corrected, posedirs=None, v_template=corrected.v_template + offsets[b])
        expected = baked.forward_rotations(state.rotations[b : b + 1], state.betas[b : b + 1], state.transl[b : b + 1])
        torch.testing.assert_close(positions[b], expected.verts[0, [3, 5, 20, 39, 40]], atol=1e-12, rtol=0)


def test_the_correctives_part_of_the_jacobian_is_not_idle(corrected: BodyModel) -> None:
    """Without correctives the same model has another Jacobian, so the exact test above would notice."""
    from dataclasses import replace

    plain = replace(corrected, posedirs=None)
    state = random_state(corrected, 0.5)
    _, with_part = landmarks_with_jacobian(corrected, state, points_of_verts(corrected, [1]), EVERYTHING)
    _, without = landmarks_with_jacobian(plain, state, points_of_verts(plain, [1]), EVERYTHING)
    assert (with_part - without).abs().max() > 1e-3


def test_points_equal_the_forward(corrected: BodyModel) -> None:
    state, points = random_state(corrected, 0.7), some_points(corrected)
    positions, _ = landmarks_with_jacobian(corrected, state, points)
    out = state.forward(corrected)
    torch.testing.assert_close(positions[:, 4:6], out.verts[:, [5, 17]], atol=1e-12, rtol=0)
    torch.testing.assert_close(positions[:, 6:], out.joints[:, [0, 8, 21, 36]], atol=1e-12, rtol=0)
    torch.testing.assert_close(points_at(points, state), positions, atol=1e-12, rtol=0)


def test_a_step_moves_the_points_as_the_jacobian_says(free_body: BodyModel) -> None:
    """First order: halving the step quarters what the Jacobian leaves unexplained."""
    landmarks = body_landmarks(free_body, "blazepose33")
    free, state = FreeParams(betas=4), random_state(free_body, 0.6)
    positions, J = landmarks_with_jacobian(free_body, state, landmarks, free)
    step = torch.randn(2, free.size, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)) * 1e-2

    def unexplained(delta: Tensor) -> float:
        moved = points_at(points_of_landmarks(free_body, landmarks), retract(state, delta, free))
        return float((moved - positions - torch.einsum("blcd,bd->blc", J, delta)).norm())

    assert unexplained(step / 2) == pytest.approx(unexplained(step) / 4, rel=0.05)


def test_free_joints_choose_and_order_columns(free_body: BodyModel) -> None:
    state = random_state(free_body, 0.4)
    points = points_of_joints(free_body)
    few = FreeParams(joints=(20, 0, 37), betas=2, transl=False)
    _, J_all = landmarks_with_jacobian(free_body, state, points, EVERYTHING)
    _, J_few = landmarks_with_jacobian(free_body, state, points, few)
    columns = [60, 61, 62, 0, 1, 2, 111, 112, 113, 156, 157]
    assert few.size == 11
    assert J_few.shape == (2, 52, 3, 11)
    torch.testing.assert_close(J_few, J_all[..., columns])
    assert few.joint_columns(37) == slice(6, 9)


def test_single_precision_is_close(free_body: BodyModel) -> None:
    single = free_body.to(dtype=torch.float32)
    state = random_state(free_body, 0.5)
    state32 = BodyState(state.rotations.float(), state.betas.float(), state.transl.float())
    landmarks = body_landmarks(free_body, "blazepose33")
    _, J = landmarks_with_jacobian(free_body, state, landmarks)
    _, J32 = landmarks_with_jacobian(single, state32, landmarks)
    assert (J32 - J).abs().max() < 1e-5


# --------------------------------------------------------------------------------------------------------- states


def test_state_and_parameters_are_the_same_body(free_body: BodyModel) -> None:
    rng = np.random.default_rng(0)
    params = BodyParams.rest().replace(
        betas=rng.normal(size=4), body_pose=rng.normal(size=63) * 0.5, global_orient=[3, 0.2, 0], transl=[1, 2, 3]
    )
    state = BodyState.from_params(free_body, [params, params])
    (back, _) = state.to_params(free_body.topology)
    np.testing.assert_allclose(back.body_pose, params.body_pose, atol=1e-9)
    np.testing.assert_allclose(back.betas, [*params.betas, *np.zeros(6)])
    np.testing.assert_allclose(state.forward(free_body).verts[1].numpy(), free_body.pose(params).verts, atol=1e-12)


def test_merge_and_select_take_whole_bodies(free_body: BodyModel) -> None:
    one, other = random_state(free_body, 0.3), BodyState.rest(free_body, 2)
    mixed = one.merge(other, torch.tensor([False, True]))
    torch.testing.assert_close(mixed.rotations[0], one.rotations[0])
    torch.testing.assert_close(mixed.select(torch.tensor([1])).rotations, other.rotations[:1])
    assert (mixed.transl[1] == 0).all()
    assert (mixed.betas[0] == one.betas[0]).all()


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 9.9e-3, 1.01e-2, 0.5, 3.0])
def test_rotvec_jacobian_equals_autograd(angle: float) -> None:
    import roma

    axis = torch.tensor([[0.6, -0.48, 0.64]], dtype=DOUBLE)
    R = roma.rotvec_to_rotmat(axis * angle)

    def log_of_step(delta: Tensor) -> Tensor:
        vector: Tensor = roma.rotmat_to_rotvec(R @ roma.rotvec_to_rotmat(delta))
        return vector

    zero = torch.zeros(1, 3, dtype=DOUBLE)
    expected = torch.autograd.functional.jacobian(log_of_step, zero)[0, :, 0]  # type: ignore[no-untyped-call]
    torch.testing.assert_close(rotvec_jacobian(axis * angle)[0], expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("joints", [(0, 0), (52,), (-1,)])
def test_impossible_free_joints_are_refused(joints: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="free joints"):
        FreeParams(joints=joints)


def test_points_of_another_model_and_too_many_betas_are_refused(free_body: BodyModel) -> None:
    single = free_body.to(dtype=torch.float32)
    with pytest.raises(InputError, match="another body model"):
        landmarks_with_jacobian(free_body, BodyState.rest(free_body), points_of_joints(single))
    with pytest.raises(InputError, match="joined"):
        points_of_joints(single) + points_of_joints(free_body)
    with pytest.raises(InputError, match="11 betas"):
        landmarks_with_jacobian(free_body, BodyState.rest(free_body), points_of_joints(free_body), FreeParams(betas=11))
