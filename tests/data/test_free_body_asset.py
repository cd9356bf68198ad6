"""The committed free body: its keys, sizes, symmetry, parts, landmarks, joints and licence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import trimesh
from scipy.spatial.transform import Rotation

ASSET = Path(__file__).resolve().parents[2] / "data" / "body" / "assets" / "free_body.npz"
Floats = npt.NDArray[np.float64]
LAYOUTS = {"blazepose33": 33, "coco17": 17}
FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def body() -> dict[str, Any]:
    with np.load(ASSET, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def mesh(body: dict[str, Any]) -> trimesh.Trimesh:
    return trimesh.Trimesh(body["v_template"], body["f"].astype(np.int64), process=False)


def index(body: dict[str, Any], key: str, name: str) -> int:
    return [str(x) for x in body[key]].index(name)


def posed(body: dict[str, Any], bends: dict[str, tuple[float, float, float]], betas: Floats) -> tuple[Floats, Floats]:
    """A slow, readable SMPL forward pass: one 4x4 matrix per joint, one loop per joint."""
    rest = body["v_template"].astype(float) + body["shapedirs"].astype(float) @ betas
    joints = body["J_regressor"].astype(float) @ rest
    parents = body["kintree_table"][0]
    local = {j: np.eye(3) for j in range(52)}
    for name, rotvec in bends.items():
        local[index(body, "joint_names", name)] = Rotation.from_rotvec(rotvec).as_matrix()
    feature = np.concatenate([(local[j] - np.eye(3)).ravel() for j in range(1, 52)])
    rest = rest + body["posedirs"] @ feature
    world: list[Floats] = []
    for j in range(52):
        step = np.eye(4)
        step[:3, :3] = local[j]
        step[:3, 3] = joints[j] - (joints[parents[j]] if j else 0)
        world.append(world[parents[j]] @ step if j else step)
    out = np.zeros_like(rest)
    for j in range(52):
        moved = (rest - joints[j]) @ world[j][:3, :3].T + world[j][:3, 3]
        out += body["weights"][:, j : j + 1] * moved
    return out, np.array([w[:3, 3] for w in world])


def test_asset_is_small_enough_to_commit() -> None:
    assert ASSET.stat().st_size < 1_500_000


def test_licence_and_name_are_in_the_file(body: dict[str, Any]) -> None:
    assert str(body["license"]) == "CC0-1.0"
    assert str(body["model_name"]) == "hoirecon-free-body-1"
    assert "CC0" in (ASSET.parents[1] / "README.md").read_text(encoding="utf-8")


def test_smplh_arrays_have_their_shapes(body: dict[str, Any]) -> None:
    v = len(body["v_template"])
    wanted = {
        "v_template": (v, 3),
        "shapedirs": (v, 3, 10),
        "posedirs": (v, 3, 459),
        "J_regressor": (52, v),
        "weights": (v, 52),
        "kintree_table": (2, 52),
        "hands_componentsl": (45, 45),
        "hands_componentsr": (45, 45),
        "hands_meanl": (45,),
        "hands_meanr": (45,),
        "joint_names": (52,),
        "mirror": (v,),
        "mirror_joints": (52,),
        "part_ids": (v,),
    }
    assert {key: body[key].shape for key in wanted} == wanted
    assert all(np.isfinite(body[k]).all() for k in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights"))


def test_vertex_count_cannot_be_taken_for_another_model(body: dict[str, Any]) -> None:
    v = len(body["v_template"])
    assert 6000 <= v <= 8000
    assert v not in (6890, 10475)


def test_surface_is_closed_outward_and_of_genus_zero(mesh: trimesh.Trimesh) -> None:
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.body_count == 1
    assert mesh.euler_number == 2
    assert 0.05 < mesh.volume < 0.09  # cubic metres of an adult, and positive: normals point outwards


def test_frame_is_y_up_z_front_left_plus_x(body: dict[str, Any]) -> None:
    joints = body["J_regressor"].astype(float) @ body["v_template"]

    def at(name: str) -> Floats:
        return np.asarray(joints[index(body, "joint_names", name)])

    assert at("head")[1] > at("pelvis")[1] > at("left_ankle")[1]
    assert at("left_wrist")[0] > 0.5 > -0.5 > at("right_wrist")[0]
    assert at("left_foot")[2] > at("left_ankle")[2] + 0.05
    assert abs(at("left_wrist")[1] - at("left_shoulder")[1]) < 0.02  # arms level: a T-pose
    assert np.linalg.norm(at("pelvis")) < 1e-3


def test_mirror_is_exact(body: dict[str, Any]) -> None:
    m, mj = body["mirror"], body["mirror_joints"]
    np.testing.assert_array_equal(m[m], np.arange(len(m)))
    np.testing.assert_array_equal(mj[mj], np.arange(52))
    np.testing.assert_allclose(body["v_template"][m] * FLIP, body["v_template"], atol=1e-7)
    np.testing.assert_allclose(body["shapedirs"][m] * FLIP[:, None], body["shapedirs"], atol=1e-7)
    np.testing.assert_allclose(body["weights"][m][:, mj], body["weights"], atol=1e-6)
    np.testing.assert_allclose(body["J_regressor"][mj][:, m], body["J_regressor"], atol=1e-6)
    faces = {tuple(sorted(face)) for face in body["f"].tolist()}
    assert {tuple(sorted(face)) for face in m[body["f"].astype(np.int64)].tolist()} == faces


def test_posed_mirror_image_equals_mirrored_pose(body: dict[str, Any]) -> None:
    left = {"left_elbow": (0.2, -1.1, 0.3), "left_hip": (-0.8, 0.2, 0.4), "left_index2": (0.0, 0.1, -0.7)}
    right = {k.replace("left", "right"): (x, -y, -z) for k, (x, y, z) in left.items()}
    betas = np.linspace(-1, 1, 10)
    a, _ = posed(body, left, betas)
    b, _ = posed(body, right, betas)
    np.testing.assert_allclose(b[body["mirror"]] * FLIP, a, atol=1e-5)


def test_weights_and_regressor_rows_sum_to_one(body: dict[str, Any]) -> None:
    for key in ("weights", "J_regressor"):
        assert (body[key] >= 0).all()
        np.testing.assert_allclose(body[key].sum(1), 1, atol=1e-5)
    assert ((body["weights"] > 0).sum(1) <= 4).all()
    assert body["weights"].max(0).min() > 0.4  # every joint moves something


def test_kinematic_tree_is_smplh(body: dict[str, Any]) -> None:
    names, parents = [str(n) for n in body["joint_names"]], body["kintree_table"][0]
    assert len(set(names)) == 52
    assert names[0] == "pelvis"
    assert parents[0] == -1
    assert (parents[1:] < np.arange(1, 52)).all()
    for child, parent in (
        ("left_knee", "left_hip"),
        ("head", "neck"),
        ("right_wrist", "right_elbow"),
        ("left_index1", "left_wrist"),
        ("right_thumb3", "right_thumb2"),
        ("left_collar", "spine3"),
    ):
        assert names[parents[names.index(child)]] == parent


def test_hands_take_at_most_a_quarter_of_the_vertices(body: dict[str, Any]) -> None:
    hand = [i for i, n in enumerate(body["joint_names"]) if i >= 22 or "wrist" in str(n)]
    assert np.isin(body["weights"].argmax(1), hand).mean() <= 0.25


def test_parts_are_complete_and_mirror_consistent(body: dict[str, Any]) -> None:
    names, ids = [str(n) for n in body["part_names"]], body["part_ids"]
    assert len(names) >= 30
    assert ids.dtype == np.uint8
    assert np.bincount(ids, minlength=len(names)).min() >= 10  # no part is empty or a stray vertex
    swap = [names.index(n.replace("left_", "#").replace("right_", "left_").replace("#", "right_")) for n in names]
    np.testing.assert_array_equal(ids[body["mirror"]], np.array(swap)[ids])
    x = body["v_template"][:, 0]
    for i, name in enumerate(names):
        if name.startswith("left_"):
            assert (x[ids == i] > 0).all()


def test_parts_lie_where_their_names_say(body: dict[str, Any], mesh: trimesh.Trimesh) -> None:
    names, ids = [str(n) for n in body["part_names"]], body["part_ids"]

    def normal(part: str) -> Floats:
        return np.asarray(mesh.vertex_normals[ids == names.index(part)].mean(0))

    def centre(part: str) -> Floats:
        return np.asarray(body["v_template"][ids == names.index(part)].mean(0))

    assert normal("left_palm")[1] < -0.5 < 0.5 < normal("left_hand_back")[1]
    assert normal("left_sole")[1] < -0.7
    assert normal("left_foot_top")[1] > 0
    assert normal("chest")[2] > 0.3
    assert normal("upper_back")[2] < -0.3
    assert normal("left_buttock")[2] < -0.3
    assert normal("left_thigh_front")[2] > 0.3 > -0.3 > normal("left_thigh_back")[2]
    order = [
        "head",
        "face",
        "neck_front",
        "chest",
        "belly",
        "pelvis",
        "left_thigh_front",
        "left_knee",
        "left_shin",
        "left_foot_top",
        "left_sole",
    ]
    heights = [centre(p)[1] for p in order]
    assert heights == sorted(heights, reverse=True)
    fingers = [
        centre(f"left_{f}")[2] for f in ("thumb", "index_finger", "middle_finger", "ring_finger", "pinky_finger")
    ]
    assert fingers == sorted(fingers, reverse=True)  # palm down: the thumb is in front


@pytest.mark.parametrize("layout", LAYOUTS)
def test_landmark_rows_are_compact_and_mirrored(body: dict[str, Any], layout: str) -> None:
    names = [str(n) for n in body[f"landmark_{layout}_names"]]
    idx, w = body[f"landmark_{layout}_idx"], body[f"landmark_{layout}_w"]
    assert len(names) == LAYOUTS[layout] == len(set(names))
    assert idx.shape == w.shape == (len(names), 12)
    assert idx.dtype == np.int32
    assert (w >= 0).all()
    assert (idx >= 0).all()
    assert (idx < len(body["v_template"])).all()
    np.testing.assert_allclose(w.sum(1), 1, atol=1e-5)
    points = np.einsum("lk,lkd->ld", w, body["v_template"][idx])
    for i, name in enumerate(names):
        twin = names.index(name.replace("left", "#").replace("right", "left").replace("#", "right"))
        np.testing.assert_allclose(points[twin] * FLIP, points[i], atol=2e-3 if twin == i else 1e-5)


def test_landmarks_lie_where_their_names_say(body: dict[str, Any]) -> None:
    names = [str(n) for n in body["landmark_blazepose33_names"]]
    rows = body["landmark_blazepose33_idx"], body["landmark_blazepose33_w"]
    points = dict(zip(names, np.einsum("lk,lkd->ld", rows[1], body["v_template"][rows[0]]), strict=True))
    joints = body["J_regressor"].astype(float) @ body["v_template"]
    for landmark, joint in (
        ("left_knee", "left_knee"),
        ("right_elbow", "right_elbow"),
        ("left_index", "left_index1"),
        ("right_pinky", "right_pinky1"),
        ("left_hip", "left_hip"),
        ("left_shoulder", "left_shoulder"),
    ):
        gap = np.linalg.norm(points[landmark] - joints[index(body, "joint_names", joint)])
        assert gap < 0.006, landmark
    verts = body["v_template"]
    assert points["left_heel"][2] < points["left_ankle"][2] < points["left_foot_index"][2]
    assert points["left_heel"][1] < verts[:, 1].min() + 0.06
    assert points["left_eye_inner"][0] < points["left_eye"][0] < points["left_eye_outer"][0] < points["left_ear"][0]
    assert points["nose"][2] == pytest.approx(
        verts[np.abs(verts[:, 0]) < 0.02, 2][verts[np.abs(verts[:, 0]) < 0.02, 1] > points["mouth_left"][1]].max(),
        abs=0.003,
    )
    assert points["left_eye"][1] > points["nose"][1] > points["mouth_left"][1]


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("left_elbow", (0, -1, 0)),
        ("right_elbow", (0, 1, 0)),
        ("left_knee", (1, 0, 0)),
        ("right_knee", (1, 0, 0)),
        ("left_hip", (-1, 0, 0)),
    ],
)
def test_limb_landmarks_follow_their_joints_through_bends(
    body: dict[str, Any],
    name: str,
    axis: tuple[float, float, float],
) -> None:
    row = index(body, "landmark_blazepose33_names", name)
    idx, w = body["landmark_blazepose33_idx"][row], body["landmark_blazepose33_w"][row]
    for betas in (np.zeros(10), 2 * np.eye(10)[0], -2 * np.eye(10)[1]):
        for degrees in (0, 30, 60, 90, 120):
            bend = np.radians(degrees) * np.array(axis)
            verts, joints = posed(body, {name: (bend[0], bend[1], bend[2])}, betas)
            miss = np.linalg.norm(w @ verts[idx] - joints[index(body, "joint_names", name)])
            assert miss < 0.015, f"{name} at {degrees} degrees misses by {1000 * miss:.1f} mm"


def test_betas_are_adults_and_the_first_is_taller(body: dict[str, Any]) -> None:
    stature = [np.ptp(posed(body, {}, b * np.eye(10)[0])[0][:, 1]) for b in (-2, 0, 2)]
    assert stature == sorted(stature)
    assert stature[0] > 1.45
    assert 1.60 < stature[1] < 1.80
    assert stature[2] < 2.0


def test_loads_in_smplx_and_agrees_with_the_slow_forward(body: dict[str, Any], tmp_path: Path) -> None:
    torch, smplx = pytest.importorskip("torch"), pytest.importorskip("smplx")
    folder = tmp_path / "smplh"
    folder.mkdir()
    (folder / "SMPLH_NEUTRAL.npz").write_bytes(ASSET.read_bytes())
    # smplx's own extra joints are SMPL vertex numbers; ours mean other places, so it is given harmless ones.
    extra = dict.fromkeys(
        (
            "nose",
            "reye",
            "leye",
            "rear",
            "lear",
            "rthumb",
            "rindex",
            "rmiddle",
            "rring",
            "rpinky",
            "lthumb",
            "lindex",
            "lmiddle",
            "lring",
            "lpinky",
            "LBigToe",
            "LSmallToe",
            "LHeel",
            "RBigToe",
            "RSmallToe",
            "RHeel",
        ),
        0,
    )
    model = smplx.create(str(tmp_path), model_type="smplh", ext="npz", use_pca=False, num_betas=10, vertex_ids=extra)
    bends = {"left_knee": (1.2, 0.1, 0.0), "right_shoulder": (0.1, 0.4, 0.6), "left_index1": (0.0, 0.0, -0.8)}
    pose = np.zeros((52, 3))
    for name, rotvec in bends.items():
        pose[index(body, "joint_names", name)] = rotvec
    betas = np.linspace(-1.5, 1.5, 10)

    def tensor(x: Floats) -> Any:
        return torch.tensor(np.asarray(x).reshape(1, -1), dtype=torch.float32)

    out = model(
        betas=tensor(betas),
        body_pose=tensor(pose[1:22]),
        left_hand_pose=tensor(pose[22:37]),
        right_hand_pose=tensor(pose[37:]),
    )
    verts, joints = posed(body, bends, betas)
    np.testing.assert_allclose(out.vertices[0].detach().numpy(), verts, atol=1e-5)
    np.testing.assert_allclose(out.joints[0, :52].detach().numpy(), joints, atol=1e-5)
