"""The forward against the smplx package, against a loop a reader can check by eye, and against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from hoirecon.body_params import BodyParams
from hoirecon.data.body import BodyModel, load_body
from hoirecon.data.body.files import FREE_BODY
from hoirecon.data.body.skeleton import JOINT_NAMES, MIRROR_JOINTS, PARENTS, ancestors
from hoirecon.data.body.skinning import forward_kinematics
from hoirecon.errors import InputError, TopologyError

SIZES = {"global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "transl": 3}
Arguments = dict[str, Any]


def random_arguments(batch: int, num_betas: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Arguments:
    rng = torch.Generator().manual_seed(seed)
    named = {name: torch.randn(batch, size, generator=rng, dtype=dtype) * 0.7 for name, size in SIZES.items()}
    return {"betas": torch.randn(batch, num_betas, generator=rng, dtype=dtype), **named}


def reference(path: Path, num_betas: int, kind: str = "SMPLH", **kwargs: Any) -> Any:
    smplx = pytest.importorskip("smplx")
    ids = smplx.body_models.VERTEX_IDS
    anywhere = {k: dict.fromkeys(v, 0) for k, v in ids.items()}  # its extra landmarks name SMPL's own vertices
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smplx.body_models, "VERTEX_IDS", anywhere)
        return getattr(smplx, kind)(str(path), ext="npz", use_pca=False, num_betas=num_betas, **kwargs)


def assert_same(ours: Any, theirs: Any, joints: Any = slice(0, 52), tolerance: float = 1e-5) -> None:
    assert (ours.verts - theirs.vertices).abs().max() < tolerance
    assert (ours.joints - theirs.joints[:, joints]).abs().max() < tolerance


@pytest.fixture(scope="module")
def free() -> BodyModel:
    return load_body(dtype=torch.float64)


# ------------------------------------------------------------------------------------------------- against smplx


def test_equals_smplx_on_the_free_body() -> None:
    arguments = random_arguments(5, 10)
    theirs = reference(FREE_BODY, 10, flat_hand_mean=True, batch_size=5)(**arguments)
    assert_same(load_body().forward(**arguments), theirs)


@pytest.mark.parametrize("num_betas", [10, 16])
@pytest.mark.parametrize("add_hand_mean", [False, True])
def test_equals_smplx_with_pose_correctives_and_mean_hands(
    body_file: Callable[..., Path], num_betas: int, add_hand_mean: bool
) -> None:
    path = body_file(num_betas=300)  # of fewer columns smplx uses only ten
    arguments = random_arguments(3, num_betas)
    theirs = reference(path, num_betas, flat_hand_mean=not add_hand_mean, batch_size=3)(**arguments)
    ours = load_body(path)
    assert ours.posedirs is not None
    assert_same(ours.forward(**arguments, add_hand_mean=add_hand_mean), theirs)
    differently = ours.forward(**arguments, add_hand_mean=not add_hand_mean)
    assert (differently.verts - theirs.vertices).abs().max() > 1e-3  # the mean hand matters, so the test can fail


def test_equals_smplx_on_a_file_of_16_betas_of_which_smplx_uses_ten(body_file: Callable[..., Path]) -> None:
    path = body_file(num_betas=16)
    arguments = random_arguments(2, 10)
    assert load_body(path).num_betas == 16
    assert_same(
        load_body(path).forward(**arguments), reference(path, 16, flat_hand_mean=True, batch_size=2)(**arguments)
    )


def test_equals_smplx_on_smplx_files_with_face_at_rest(
    body_arrays: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    face: Arguments = {"lmk_faces_idx": np.zeros(51, np.int64), "lmk_bary_coords": np.full((51, 3), 1 / 3)}
    np.savez(path, **body_arrays(joints=55, num_betas=20), **face)
    arguments = random_arguments(2, 10)
    theirs = reference(path, 10, "SMPLX", flat_hand_mean=True, batch_size=2)(**arguments)
    without_face = [*range(22), *range(25, 55)]
    assert_same(load_body(path).forward(**arguments), theirs, without_face)


# ---------------------------------------------------------------------------------------------- against slow twins


def twin_verts(model: BodyModel, betas: Any, rotations: Any, vertices: list[int]) -> Any:
    """SMPL's equations with one loop per sum."""
    rest = model.joint_template.numpy() + model.joint_shapedirs.numpy() @ betas
    places: list[Any] = []
    for j, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = rest[j] - (rest[parent] if parent >= 0 else 0)
        places.append(local if parent < 0 else places[parent] @ local)
    features = np.concatenate([(R - np.eye(3)).ravel() for R in rotations[1:]])
    out = []
    for v in vertices:
        x = model.v_template[v].numpy() + model.shapedirs[v].numpy() @ betas
        if model.posedirs is not None:
            x = x + model.posedirs[v].numpy() @ features
        carried = [places[j][:3, :3] @ (x - rest[j]) + places[j][:3, 3] for j in range(52)]
        out.append(sum(model.weights[v, j].item() * carried[j] for j in range(52)))
    return np.array(out), np.array([place[:3, 3] for place in places])


def test_forward_equals_the_loop(body_file: Callable[..., Path]) -> None:
    model = load_body(body_file(), dtype=torch.float64)
    arguments = random_arguments(2, 16, torch.float64)
    vectors = torch.cat([arguments[k] for k in list(SIZES)[:4]], dim=1).view(2, 52, 3)
    out = model.forward(**arguments)
    for b in range(2):
        rotations = Rotation.from_rotvec(vectors[b].numpy()).as_matrix()
        verts, joints = twin_verts(model, arguments["betas"][b].numpy(), rotations, list(range(0, 300, 17)))
        shift = arguments["transl"][b].numpy()
        np.testing.assert_allclose(out.verts[b, ::17].numpy(), verts + shift, atol=1e-12)
        np.testing.assert_allclose(out.joints[b].numpy(), joints + shift, atol=1e-12)


def test_climbing_by_doubling_equals_climbing_by_one() -> None:
    rng = torch.Generator().manual_seed(1)
    rotations = torch.linalg.qr(torch.randn(3, 52, 3, 3, generator=rng, dtype=torch.float64))[0]
    rest = torch.randn(3, 52, 3, generator=rng, dtype=torch.float64)
    world_R, world_t = forward_kinematics(rotations, rest)
    for joint in range(52):
        R, t = torch.eye(3, dtype=torch.float64).expand(3, 3, 3), torch.zeros(3, 3, dtype=torch.float64)
        for at in reversed(ancestors(joint)):
            offset = rest[:, at] - (rest[:, PARENTS[at]] if at else 0)
            t, R = t + (R @ offset[..., None])[..., 0], R @ rotations[:, at]
        torch.testing.assert_close(world_R[:, joint], R, atol=1e-12, rtol=0)
        torch.testing.assert_close(world_t[:, joint], t, atol=1e-12, rtol=0)


# ------------------------------------------------------------------------------------- closed forms, invariances


def test_rest_pose_is_the_template(free: BodyModel) -> None:
    out = free.forward()
    torch.testing.assert_close(out.verts[0], free.v_template, atol=1e-7, rtol=0)  # float32 weights sum to 1 to 1e-7
    torch.testing.assert_close(out.joints[0], free.joint_template, atol=1e-12, rtol=0)


def test_global_orient_turns_about_the_pelvis(free: BodyModel) -> None:
    arguments = random_arguments(1, 10, torch.float64)
    pelvis = free.rest_joints(arguments["betas"])[:, :1]
    still = free.forward(**{**arguments, "global_orient": torch.zeros(1, 3, dtype=torch.float64)})
    R = free.rotations(arguments["global_orient"])[:, 0]
    centre = pelvis + arguments["transl"]
    expected = (still.verts - centre) @ R.mT + centre
    torch.testing.assert_close(free.forward(**arguments).verts, expected, atol=1e-6, rtol=0)


def test_subset_equals_rows_of_the_whole(body_file: Callable[..., Path]) -> None:
    model = load_body(body_file(), dtype=torch.float64)
    arguments = random_arguments(2, 16, torch.float64)
    rows = [7, 3, 3, 299]
    whole, few = model.forward(**arguments), model.forward(**arguments, vertex_subset=rows)
    torch.testing.assert_close(few.verts, whole.verts[:, rows], atol=1e-14, rtol=0)
    torch.testing.assert_close(few.joints, whole.joints)
    assert model.forward(vertex_subset=np.array([], dtype=np.int64)).verts.shape == (1, 0, 3)


def test_a_batch_is_its_members(free: BodyModel) -> None:
    arguments = random_arguments(3, 10, torch.float64)
    together = free.forward(**arguments).verts
    for b in range(3):
        alone = free.forward(**{k: v[b : b + 1] for k, v in arguments.items()}).verts
        torch.testing.assert_close(together[b : b + 1], alone, atol=1e-12, rtol=0)


def test_one_shape_serves_a_batch_of_poses_and_betas_may_be_few(free: BodyModel) -> None:
    pose = random_arguments(3, 10, torch.float64)["body_pose"]
    betas = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    full = torch.nn.functional.pad(betas, (0, 8)).expand(3, -1)
    torch.testing.assert_close(free.forward(betas, body_pose=pose).verts, free.forward(full, body_pose=pose).verts)
    assert free.forward(betas, body_pose=pose.view(3, 21, 3)).joints.shape == (3, 52, 3)


def test_gradients_reach_every_argument(body_file: Callable[..., Path]) -> None:
    model = load_body(body_file(num_verts=40, num_betas=2), dtype=torch.float64)
    arguments = {k: v.requires_grad_() for k, v in random_arguments(1, 2, torch.float64).items()}
    vertices = torch.tensor([1, 5])

    def verts(*values: Tensor) -> Tensor:
        named: Arguments = dict(zip(arguments, values, strict=True))
        return model.forward(**named, vertex_subset=vertices).verts

    assert torch.autograd.gradcheck(verts, tuple(arguments.values()), atol=1e-7)


def test_dtype_is_taken_over(free: BodyModel) -> None:
    single = free.to(dtype=torch.float32)
    assert single.dtype == torch.float32
    assert single.forward().verts.dtype == torch.float32
    assert free.to(dtype=torch.float64) is free
    assert free.pose(BodyParams.rest()).verts.dtype == np.float64


def test_pose_in_numpy_is_the_forward_in_double(free: BodyModel) -> None:
    params = BodyParams.rest().replace(body_pose=np.linspace(-1, 1, 63), transl=[0.1, 0.2, 3])
    posed = load_body().pose(params)
    out = free.forward(body_pose=torch.tensor(params.body_pose)[None], transl=torch.tensor(params.transl)[None])
    np.testing.assert_allclose(posed.verts, out.verts[0].numpy(), atol=1e-7)  # joints were rounded to float32 once
    np.testing.assert_allclose(posed.joints, out.joints[0].numpy(), atol=1e-7)
    assert posed.topology == free.topology
    assert posed.mesh.is_watertight


def test_skeleton_names_agree_with_the_file() -> None:
    with np.load(FREE_BODY) as file:
        assert tuple(file["joint_names"]) == JOINT_NAMES
        assert tuple(file["kintree_table"][0]) == PARENTS
        assert tuple(file["mirror_joints"]) == MIRROR_JOINTS


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"betas": torch.zeros(1, 11)}, "takes"),
        ({"betas": torch.zeros(10)}, "takes"),
        ({"body_pose": torch.zeros(1, 69)}, r"body_pose has shape \(1, 69\), expected \(B, 63\)"),
        ({"left_hand_pose": torch.zeros(1, 6)}, "left_hand_pose"),
        ({"body_pose": torch.zeros(2, 63), "transl": torch.zeros(3, 3)}, "batch sizes"),
        ({"vertex_subset": [0, 10**6]}, "do not fit"),
        ({"vertex_subset": [-1]}, "do not fit"),
        ({"vertex_subset": [0.5]}, "whole numbers"),
        ({"vertex_subset": [True, False]}, "whole numbers"),
    ],
)
def test_wrong_sizes_are_refused_with_advice(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_body().forward(**arguments)


def test_parameters_of_another_topology_are_refused(free: BodyModel) -> None:
    with pytest.raises(TopologyError, match="'smplh'"):
        free.pose(BodyParams.rest(topology="smplh"))
