"""Figures of a built body: size, symmetry, joints, landmarks under bending, volume and self-intersection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pymeshlab
import trimesh

from tools.build_free_body.build import Built
from tools.build_free_body.makehuman import Floats, Ints
from tools.build_free_body.poses import POSES, Pose, forward
from tools.build_free_body.rig import INDEX, JOINTS

BENDS: dict[str, tuple[float, float, float]] = {  # axis of the natural bend of each left joint
    "left_elbow": (0, -1, 0),
    "left_knee": (1, 0, 0),
    "left_hip": (-1, 0, 0),
    "left_shoulder": (0, 0, -1),
    "left_wrist": (0, 0, -1),
    "left_ankle": (1, 0, 0),
}


def self_intersections(verts: Floats, faces: Ints) -> int:
    """Number of faces that cross another one."""
    mesh = pymeshlab.MeshSet(verbose=False)
    mesh.add_mesh(pymeshlab.Mesh(verts, faces))
    mesh.compute_selection_by_self_intersections_per_face()
    return int(mesh.current_mesh().selected_face_number())


def landmark(body: dict[str, Any], verts: Floats, name: str) -> Floats:
    i = list(body["landmark_blazepose33_names"]).index(name)
    return np.asarray(body["landmark_blazepose33_w"][i].astype(float) @ verts[body["landmark_blazepose33_idx"][i]])


def bend_errors(body: dict[str, Any], joint: str, angles: Ints, betas: Floats) -> Floats:
    """Distance (len(angles),) in metres between a landmark on the posed surface and the posed joint."""
    out = []
    for angle in angles:
        pose: Pose = {joint: tuple(np.radians(angle) * np.array(BENDS[joint]))}
        verts, joints = forward(body, pose, betas)
        out.append(np.linalg.norm(landmark(body, verts, joint) - joints[INDEX[joint]]))
    return np.array(out)


def report(built: Built, path: Path) -> None:
    """Prints every figure that the model card quotes."""
    body, faces = built.body, built.body["f"].astype(np.int64)
    verts = body["v_template"].astype(float)
    mesh = trimesh.Trimesh(verts, faces, process=False)
    angles = np.degrees(mesh.face_angles.min(1))
    print(
        f"file {path.stat().st_size / 1e6:.2f} MB, {len(verts)} vertices, {len(faces)} faces, watertight "
        f"{mesh.is_watertight}, Euler {mesh.euler_number}, least angle {angles.min():.1f} deg (1 % {np.percentile(angles, 1):.1f})"
    )
    print("mirror error", np.abs(verts[body["mirror"]] * [-1, 1, 1] - verts).max())
    owner = np.array(JOINTS)[body["weights"].argmax(1)]
    stem = np.array([n.removeprefix("left_").removeprefix("right_").rstrip("123") for n in owner])
    for region, stems in {
        "hands": ("wrist", "index", "middle", "ring", "pinky", "thumb"),
        "head": ("head",),
        "feet": ("ankle", "foot"),
    }.items():
        print(f"{region}: {100 * np.isin(stem, stems).mean():.1f} % of the vertices")
    error = built.joint_error * 1000
    print(
        f"held-out joints: mean {error.mean():.2f} mm, max {error.max():.2f} mm ({JOINTS[error.max(0).argmax()]}); "
        f"vertices a row {(body['J_regressor'] > 0).sum(1).mean():.1f}"
    )
    drift = built.joint_drift.mean(0) * 1000
    print(
        "mean distance from MakeHuman's joint cubes, mm:", {n: round(float(d), 1) for n, d in zip(JOINTS[:22], drift)}
    )
    print("explained variance, cumulative", built.explained.cumsum().round(4).tolist())
    for value, name in ((0, "men"), (1, "women")):
        pick = built.gender == value
        print(
            f"{name}: stature {built.stature[pick].mean():.3f} +- {built.stature[pick].std():.3f} m, "
            f"volume {built.volume[pick].mean():.1f} +- {built.volume[pick].std():.1f} L"
        )
    for k in range(10):
        ends = [forward(body, {}, s * np.eye(10)[k])[0] for s in (-2, 2)]
        print(
            f"beta {k} at -2, +2: stature",
            [round(float(np.ptp(x[:, 1])), 3) for x in ends],
            "volume",
            [round(float(trimesh.Trimesh(x, faces, process=False).volume) * 1000, 1) for x in ends],
            "self-intersecting",
            [self_intersections(x, faces) for x in ends],
        )
    sweep = np.arange(0, 121, 15)
    for joint in BENDS:
        worst = [
            bend_errors(body, joint, sweep, b).max() * 1000
            for b in (np.zeros(10), *(2 * np.eye(10)[:3]), *(-2 * np.eye(10)[:3]))
        ]
        print(
            f"landmark {joint} to posed joint, bends to 120 deg: mean shape {worst[0]:.1f} mm, shapes +-2: {max(worst):.1f} mm"
        )
    for name, pose in POSES.items():
        posed, _ = forward(body, pose)
        print(
            f"pose {name}: volume {trimesh.Trimesh(posed, faces, process=False).volume * 1000:.1f} L, "
            f"self-intersecting faces {self_intersections(posed, faces)}"
        )
