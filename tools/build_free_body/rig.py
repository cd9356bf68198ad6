"""From MakeHuman's 163 bones to SMPL-H's 52 joints, and from MakeHuman's A-pose to the T-pose."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial.transform import Rotation

from tools.build_free_body.makehuman import Floats, Human, Ints, bone_heads

FINGERS = {"index": 2, "middle": 3, "pinky": 5, "ring": 4, "thumb": 1}
BODY_JOINTS = [
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
]
BODY_PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
JOINTS = BODY_JOINTS + [f"{s}_{f}{k}" for s in ("left", "right") for f in FINGERS for k in (1, 2, 3)]
PARENTS = BODY_PARENTS + [
    (20 if s == "left" else 21) if k == 1 else 22 + 15 * (s == "right") + 3 * i + k - 2
    for s in ("left", "right")
    for i in range(5)
    for k in (1, 2, 3)
]
INDEX = {name: i for i, name in enumerate(JOINTS)}
MIRROR_JOINTS = np.array([INDEX[n.replace("left", "#").replace("right", "left").replace("#", "right")] for n in JOINTS])

# Bones whose skinning weights a joint takes over; what is not named here goes to the nearest named ancestor.
_SIDE_BONES = {
    "hip": ["upperleg01", "upperleg02"],
    "knee": ["lowerleg01", "lowerleg02"],
    "ankle": ["foot"],
    "foot": ["toe1-1", "toe2-1", "toe3-1", "toe4-1", "toe5-1"],
    "collar": ["clavicle", "shoulder01"],
    "shoulder": ["upperarm01", "upperarm02"],
    "elbow": ["lowerarm01", "lowerarm02"],
    "wrist": ["wrist"],
}
_MIDDLE_BONES = {
    "pelvis": ["root", "spine05", "spine04", "pelvis.L", "pelvis.R"],
    "spine1": ["spine03"],
    "spine2": ["spine02"],
    "spine3": ["spine01"],
    "neck": ["neck01", "neck02", "neck03"],
    "head": ["head"],
}
# A joint lies at the mean of these bones' heads.
_SIDE_HEADS = {
    "hip": ["upperleg01"],
    "knee": ["lowerleg01"],
    "ankle": ["foot"],
    "foot": _SIDE_BONES["foot"],
    "collar": ["clavicle"],
    "shoulder": ["upperarm01"],
    "elbow": ["lowerarm01"],
    "wrist": ["wrist"],
}
_MIDDLE_HEADS = {
    "pelvis": ["spine04"],
    "spine1": ["spine03"],
    "spine2": ["spine02"],
    "spine3": ["spine01"],
    "neck": ["neck01"],
    "head": ["head"],
}


def _expand(side: dict[str, list[str]], middle: dict[str, list[str]]) -> dict[str, list[str]]:
    table = dict(middle)
    for name, letter in (("left", "L"), ("right", "R")):
        table |= {f"{name}_{joint}": [f"{b}.{letter}" for b in bones] for joint, bones in side.items()}
        table |= {f"{name}_{f}{k}": [f"finger{n}-{k}.{letter}"] for f, n in FINGERS.items() for k in (1, 2, 3)}
    return table


def bone_joints(human: Human) -> dict[str, int]:
    """The SMPL-H joint that each bone follows."""
    owner = {b: INDEX[j] for j, bones in _expand(_SIDE_BONES, _MIDDLE_BONES).items() for b in bones}
    out = {}
    for name in human.bones:
        bone = name
        while bone not in owner:
            bone = human.bones[bone]["parent"]
        out[name] = owner[bone]
    return out


def base_weights(human: Human) -> Floats:
    """(B, 52) skinning weights of the base vertices (zero rows where the rig says nothing)."""
    weights = np.zeros((len(human.verts), 52))
    for bone, joint in bone_joints(human).items():
        idx, w = human.weights.get(bone, (np.zeros(0, np.int64), np.zeros(0)))
        np.add.at(weights[:, joint], idx, w)
    return weights


def surface_weights(weights: Floats, mirror: Ints, influences: int = 4) -> Floats:
    """Symmetric rows of at most `influences` joints that sum to 1."""
    weights = 0.5 * (weights + weights[mirror][:, MIRROR_JOINTS])
    weights /= weights.sum(1, keepdims=True)
    weights[weights < 5e-3] = 0
    # What ties with the first joint too many goes as well, so that left and right are cut alike on the middle plane.
    too_many = np.sort(weights, axis=1)[:, -influences - 1][:, None]
    weights = np.where(weights > too_many, weights, 0)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def joint_rows(human: Human) -> sparse.csr_matrix:
    """(52, B) rows that give each joint in MakeHuman's pose as a mean of base vertices."""
    heads = bone_heads(human)
    rows = np.zeros((52, len(human.verts)))
    for joint, bones in _expand(_SIDE_HEADS, _MIDDLE_HEADS).items():
        for bone in bones:
            rows[INDEX[joint], heads[bone]] += 1 / (len(bones) * len(heads[bone]))
    return sparse.csr_matrix(rows)


def place_hips(joints: Floats) -> Floats:
    """Moves the hip joints sideways to where published anatomy puts them.

    MakeHuman's upper-leg bones start 11 to 12 cm from the middle plane. Hara, McGinley, Briggs, Baker & Sangeux 2016
    (Scientific Reports 6, 37707) give the hip-joint centre from the leg length LL (iliac spine to ankle) alone:
    8 mm + 0.086 LL sideways and 9 mm + 0.078 LL below the iliac spine. LL follows from hip and ankle height:
    LL = (hip - ankle + 9 mm) / (1 - 0.078). Height and depth stay MakeHuman's.
    """
    joints = joints.copy()
    for side, sign in (("left", 1), ("right", -1)):
        hip, ankle = joints[..., INDEX[f"{side}_hip"], :], joints[..., INDEX[f"{side}_ankle"], 1]
        leg = (hip[..., 1] - ankle + 0.009) / (1 - 0.078)
        hip[..., 0] = sign * (0.008 + 0.086 * leg)
    return joints


def rotation_between(a: Floats, b: Floats) -> Floats:
    """The smallest rotation (3, 3) that turns direction a onto direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / (1 + a @ b))


def tpose_rotations(joints: Floats) -> Floats:
    """(52, 3, 3) world rotation of each joint that takes MakeHuman's A-pose to the T-pose, from mean joints (52, 3)."""
    world = np.tile(np.eye(3), (52, 1, 1))
    _pose_arm(world, joints)
    _pose_fingers(world, joints)
    _pose_leg(world, joints)
    flip = np.diag([-1.0, 1.0, 1.0])
    for left, right in enumerate(MIRROR_JOINTS):
        if JOINTS[left].startswith("left"):
            world[right] = flip @ world[left] @ flip
    return world


def _between(joints: Floats, a: str, b: str) -> Floats:
    return np.asarray(joints[INDEX[f"left_{b}"]] - joints[INDEX[f"left_{a}"]])


def _pose_arm(world: Floats, joints: Floats) -> None:
    """Left arm along +x, palm down; the collar takes a fifth of the lift, the forearm half of the roll."""
    along = np.array([1.0, 0, 0])
    upper = rotation_between(_between(joints, "shoulder", "elbow"), along)
    world[INDEX["left_collar"]] = Rotation.from_rotvec(Rotation.from_matrix(upper).as_rotvec() * 0.2).as_matrix()
    world[INDEX["left_shoulder"]] = upper
    lower = rotation_between(upper @ _between(joints, "elbow", "wrist"), along) @ upper
    hand = 0.5 * (_between(joints, "wrist", "middle1") + _between(joints, "wrist", "ring1"))
    wrist = rotation_between(lower @ hand, along) @ lower
    knuckles = wrist @ _between(joints, "pinky1", "index1")  # must point forward
    roll = np.arctan2(knuckles[1], knuckles[2])
    world[INDEX["left_elbow"]] = Rotation.from_rotvec([roll * 0.5, 0, 0]).as_matrix() @ lower
    world[INDEX["left_wrist"]] = Rotation.from_rotvec([roll, 0, 0]).as_matrix() @ wrist


def _pose_fingers(world: Floats, joints: Floats) -> None:
    """Straightens the four fingers: 15 % of their droop and 40 % of their splay stay; the thumb stays.

    With nearly parallel fingers, one axis (across the palm) curls all of them, as in other SMPL-H models.
    """
    for finger in FINGERS:
        before = world[INDEX["left_wrist"]]
        for k in (1, 2, 3):
            turn = before
            if finger != "thumb" and k < 3:
                bone = before @ _between(joints, f"{finger}{k}", f"{finger}{k + 1}")
                turn = rotation_between(bone, bone * [1, 0.15, 0.4]) @ before
            world[INDEX[f"left_{finger}{k}"]] = before = turn


def _pose_leg(world: Floats, joints: Floats) -> None:
    """Left leg down and slightly outwards, foot forward and flat."""
    thigh = rotation_between(_between(joints, "hip", "knee"), np.array([0.07, -1.0, 0.0]))
    shank = rotation_between(thigh @ _between(joints, "knee", "ankle"), np.array([0.05, -1.0, -0.06])) @ thigh
    foot = shank @ _between(joints, "ankle", "foot")
    level = rotation_between(
        foot,
        np.array([0.12 * np.hypot(foot[0], foot[2]), _between(joints, "ankle", "foot")[1], np.hypot(foot[0], foot[2])]),
    )
    world[INDEX["left_hip"]], world[INDEX["left_knee"]] = thigh, shank
    world[INDEX["left_ankle"]] = world[INDEX["left_foot"]] = level @ shank


def bake(verts: Floats, joints: Floats, weights: Floats, world: Floats) -> tuple[Floats, Floats]:
    """Skins N shapes (N, V, 3) with joints (N, 52, 3) into the pose of the world rotations (52, 3, 3)."""
    posed = joints.copy()
    for j in range(1, 52):
        p = PARENTS[j]
        posed[:, j] = posed[:, p] + (joints[:, j] - joints[:, p]) @ world[p].T
    shift = posed - np.einsum("jab,njb->nja", world, joints)
    blend = np.einsum("vj,jab->vab", weights, world)
    return np.einsum("vab,nvb->nva", blend, verts) + np.einsum("vj,nja->nva", weights, shift), posed
