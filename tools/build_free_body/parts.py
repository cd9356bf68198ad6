"""A body part for every vertex, from skinning weights, rest-pose positions and normals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from tools.build_free_body.makehuman import Floats, Ints
from tools.build_free_body.rig import INDEX

MIDDLE = ["head", "face", "neck_front", "neck_back", "chest", "belly", "upper_back", "lower_back", "pelvis"]
SIDED = [
    "ear",
    "shoulder",
    "upper_arm",
    "elbow",
    "forearm",
    "palm",
    "hand_back",
    "thumb",
    "index_finger",
    "middle_finger",
    "ring_finger",
    "pinky_finger",
    "hip",
    "buttock",
    "thigh_front",
    "thigh_back",
    "knee",
    "shin",
    "calf",
    "foot_top",
    "sole",
    "toes",
]
PARTS = MIDDLE + [f"{s}_{p}" for s in ("left", "right") for p in SIDED]
SWAP = np.array([PARTS.index(n.replace("left_", "#").replace("right_", "left_").replace("#", "right_")) for n in PARTS])
Bools = npt.NDArray[np.bool_]


def vertex_normals(verts: Floats, faces: Ints) -> Floats:
    """Area-weighted unit normals (V, 3)."""
    a, b, c = (verts[faces[:, i]] for i in range(3))
    normals = np.zeros_like(verts)
    for i in range(3):
        np.add.at(normals, faces[:, i], np.cross(b - a, c - a))
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def smooth_normals(verts: Floats, faces: Ints, rounds: int) -> Floats:
    """Normals averaged over neighbours, so that small creases do not flip front and back."""
    normals = vertex_normals(verts, faces)
    e = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    near = csr_matrix((np.ones(len(e)), (e[:, 0], e[:, 1])), shape=(len(verts), len(verts)))
    for _ in range(rounds):
        normals = normals + near @ normals
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals


class Labeller:
    """Paints parts on the left half, later rules over earlier ones, then mirrors."""

    def __init__(self, verts: Floats, faces: Ints, weights: Floats, joints: Floats, mirror: Ints) -> None:
        self.v, self.w, self.j, self.mirror = verts, weights, joints, mirror
        self.n = smooth_normals(verts, faces, 2)
        self.labels = np.full(len(verts), -1)
        self.left = verts[:, 0] > 1e-6

    def weight(self, *joints: str) -> Floats:
        """Summed skinning weight; names without a side mean the left one and the middle."""
        return np.asarray(sum(self.w[:, INDEX[n]] for n in joints))

    def at(self, joint: str) -> Floats:
        return np.asarray(self.j[INDEX[joint]])

    def paint(self, part: str, where: Bools) -> None:
        if part in MIDDLE:
            self.labels[where] = PARTS.index(part)
        else:
            self.labels[where & self.left] = PARTS.index(f"left_{part}")

    def finish(self, faces: Ints) -> npt.NDArray[np.uint8]:
        right = self.v[:, 0] < -1e-6
        self.labels[right] = SWAP[self.labels[self.mirror[right]]]
        if (self.labels < 0).any():
            raise RuntimeError(f"{(self.labels < 0).sum()} vertices have no part")
        return self.labels.astype(np.uint8)


def label_parts(
    verts: Floats,
    faces: Ints,
    weights: Floats,
    joints: Floats,
    mirror: Ints,
    ear: Bools,
    eye_y: float,
) -> npt.NDArray[np.uint8]:
    """(V,) uint8 index into PARTS.

    Args:
        ear: (V,) vertices of the left ear.
        eye_y: height of the eyes, metres.
    """
    lab = Labeller(verts, faces, weights, joints, mirror)
    _paint_torso(lab)
    _paint_head(lab, ear, eye_y)
    _paint_arm(lab)
    _paint_leg(lab)
    return lab.finish(faces)


def _paint_torso(lab: Labeller) -> None:
    y, front = lab.v[:, 1], lab.n[:, 2] > 0
    ribs = lab.at("spine2")[1] + 0.35 * (lab.at("spine3")[1] - lab.at("spine2")[1])  # lower edge of the ribs
    waist = lab.at("pelvis")[1] - 0.01
    lab.paint("chest", front & (y >= ribs))
    lab.paint("upper_back", ~front & (y >= ribs))
    lab.paint("belly", front & (y < ribs))
    lab.paint("lower_back", ~front & (y < ribs))
    lab.paint("pelvis", y < waist)
    low = y < waist
    side = np.abs(lab.n[:, 0]) > 0.75
    lab.paint("hip", low & side & (np.abs(lab.v[:, 0]) > 0.09))
    lab.paint("hip", low & front & (lab.v[:, 0] > 0.09))
    lab.paint("buttock", low & ~front & ~side & (y > lab.at("left_hip")[1] - 0.13))


def _paint_head(lab: Labeller, ear: Bools, eye_y: float) -> None:
    neck, head = lab.weight("neck"), lab.weight("head")
    y, front = lab.v[:, 1], lab.n[:, 2] > -0.1
    lab.paint("neck_front", (neck > 0.5) & front)
    lab.paint("neck_back", (neck > 0.5) & ~front)
    on_head = (head >= 0.5) & (neck <= 0.5)
    lab.paint("head", on_head)
    centre = lab.at("head")
    lab.paint("face", on_head & (lab.v[:, 2] > centre[2] + 0.01) & (y < eye_y + 0.055))
    under = (head >= 0.5) & (lab.n[:, 1] < -0.55) & (y < eye_y - 0.09) & (lab.v[:, 2] < centre[2] + 0.05)
    lab.paint("neck_front", under & (lab.v[:, 2] > centre[2] - 0.03))
    lab.paint("neck_back", on_head & (lab.v[:, 2] < centre[2]) & (y < eye_y - 0.075) & ~ear)
    lab.paint("ear", ear)


def _paint_arm(lab: Labeller) -> None:
    x = lab.v[:, 0]
    shoulder, elbow, wrist = (lab.at(f"left_{n}")[0] for n in ("shoulder", "elbow", "wrist"))
    arm = lab.weight("left_shoulder", "left_elbow", "left_wrist") + lab.weight(
        *(f"left_{f}{k}" for f in ("index", "middle", "ring", "pinky", "thumb") for k in (1, 2, 3))
    )
    lab.paint(
        "shoulder",
        ((arm > 0.5) & (x < shoulder + 0.06))
        | ((x > shoulder - 0.05) & (lab.v[:, 1] > lab.at("left_shoulder")[1] - 0.01)),
    )
    lab.paint("upper_arm", (arm > 0.5) & (x >= shoulder + 0.06))
    lab.paint("elbow", (arm > 0.5) & (np.abs(x - elbow) < 0.04))
    lab.paint("forearm", (arm > 0.5) & (x >= elbow + 0.04))
    hand = (arm > 0.5) & (x > wrist + 0.005)
    lab.paint("hand_back", hand & (lab.n[:, 1] > 0))
    lab.paint("palm", hand & (lab.n[:, 1] <= 0))
    for finger in ("index", "middle", "ring", "pinky", "thumb"):
        chain = lab.weight(*(f"left_{finger}{k}" for k in ((2, 3) if finger == "thumb" else (1, 2, 3))))
        lab.paint(finger if finger == "thumb" else f"{finger}_finger", chain > 0.5)


def _paint_leg(lab: Labeller) -> None:
    y, nz = lab.v[:, 1], lab.n[:, 2]
    hip, knee = lab.at("left_hip")[1], lab.at("left_knee")[1]
    leg = lab.weight("left_hip", "left_knee", "left_ankle", "left_foot") > 0.5
    top = hip - 0.07
    lab.paint("thigh_front", leg & (y < top) & (nz >= 0))
    lab.paint("thigh_back", leg & (y < hip - 0.13) & (nz < 0))
    lab.paint("hip", leg & (y < top) & (y >= hip - 0.13) & (lab.n[:, 0] > 0.6))
    lab.paint("shin", leg & (y < knee) & (nz >= 0))
    lab.paint("calf", leg & (y < knee) & (nz < 0))
    lab.paint("knee", leg & (np.abs(y - knee) < 0.06))
    foot = lab.weight("left_ankle", "left_foot") > 0.5
    lab.paint("foot_top", foot)
    lab.paint("sole", foot & (lab.n[:, 1] < -0.6))
    lab.paint("toes", lab.weight("left_foot") > 0.5)
    lab.paint(
        "sole", (lab.weight("left_foot") > 0.5) & (lab.v[:, 2] < lab.at("left_foot")[2] + 0.01) & (lab.n[:, 1] < -0.6)
    )
