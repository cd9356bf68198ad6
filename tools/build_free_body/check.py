"""Figures of a built body: size, symmetry, joints, landmarks under bending, volume and self-intersection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pymeshlab  # type: ignore[import-not-found]  # GPL, build time only
import trimesh

from tools.build_free_body.build import Built, shape_figures
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

REGIONS = {
    "hands": ("wrist", "index", "middle", "ring", "pinky", "thumb"),
    "head": ("head",),
    "feet": ("ankle", "foot"),
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
    _print_surface(built.body, path)
    _print_joints(built)
    _print_shapes(built)
    _print_landmarks(built.body)
    _print_poses(built.body)


def _litres(verts: Floats, faces: Ints) -> float:
    return float(trimesh.Trimesh(verts, faces, process=False).volume) * 1000


def _print_surface(body: dict[str, Any], path: Path) -> None:
    verts = body["v_template"].astype(float)
    mesh = trimesh.Trimesh(verts, body["f"].astype(np.int64), process=False)
    angles = np.degrees(mesh.face_angles.min(1))
    print(f"file {path.stat().st_size / 1e6:.2f} MB, {len(verts)} vertices, {len(mesh.faces)} faces")
    print(f"watertight {mesh.is_watertight}, Euler {mesh.euler_number}, least angle {angles.min():.1f} deg")
    print("mirror error", np.abs(verts[body["mirror"]] * [-1, 1, 1] - verts).max())
    owner = [JOINTS[j].removeprefix("left_").removeprefix("right_").rstrip("123") for j in body["weights"].argmax(1)]
    for region, stems in REGIONS.items():
        print(f"{region}: {100 * np.isin(owner, stems).mean():.1f} % of the vertices")


def _print_joints(built: Built) -> None:
    error = built.joint_error * 1000
    print(f"held-out joints: mean {error.mean():.2f} mm, max {error.max():.2f} mm ({JOINTS[error.max(0).argmax()]})")
    print(f"vertices a regressor row: {(built.body['J_regressor'] > 0).sum(1).mean():.1f}")
    drift = (built.adults.drift.mean(0) * 1000).round(1).tolist()
    print("mean distance from MakeHuman's joint cubes, mm:", dict(zip(JOINTS[:22], drift[:22], strict=True)))


def _print_shapes(built: Built) -> None:
    body, faces = built.body, built.body["f"].astype(np.int64)
    print("explained variance, cumulative", built.explained.cumsum().round(4).tolist())
    for name, (size, spread, volume, wide) in shape_figures(built.adults).items():
        print(f"{name}: stature {size:.3f} +- {spread:.3f} m, volume {volume:.1f} +- {wide:.1f} L")
    for k in range(10):
        for scale in (-2, 2):
            verts, _ = forward(body, {}, scale * np.eye(10)[k])
            height, litres = np.ptp(verts[:, 1]), _litres(verts, faces)
            crossing = self_intersections(verts, faces)
            print(f"beta {k} = {scale}: stature {height:.3f} m, {litres:.1f} L, self-intersecting faces {crossing}")


def _print_landmarks(body: dict[str, Any]) -> None:
    sweep = np.arange(0, 121, 15)
    shapes = [np.zeros(10), *(2 * np.eye(10)[:3]), *(-2 * np.eye(10)[:3])]
    for joint in BENDS:
        worst = [bend_errors(body, joint, sweep, betas).max() * 1000 for betas in shapes]
        print(f"landmark {joint} to joint, 0 to 120 deg: mean shape {worst[0]:.1f} mm, +-2 sd: {max(worst):.1f} mm")


def _print_poses(body: dict[str, Any]) -> None:
    faces, plain = body["f"].astype(np.int64), body | {"posedirs": np.zeros(1)}
    for name, pose in POSES.items():
        verts, bare = forward(body, pose)[0], forward(plain, pose)[0]
        print(
            f"pose {name}: {_litres(verts, faces):.1f} L, self-intersecting faces {self_intersections(verts, faces)}; "
            f"without correctives {_litres(bare, faces):.1f} L, {self_intersections(bare, faces)}"
        )
