"""Seeded closed-world scenes for tuning and testing the object fit: a posed body holds or carries or sits on a thing.

Everything is exact and known: pose, masks by ray casting, contact bands. :func:`observe` then spoils it (level L2):
structured contact errors (a patch missing, a false patch), masks with smooth boundary noise, joint angles off by 5
degrees, unknown scale. ``hoirecon.data.closedworld`` will replace this; until then it serves tests and tuning.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open3d as o3d
import trimesh
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.optimize import least_squares, minimize
from scipy.spatial.transform import Rotation

from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Pose = dict[str, Any]
"""Joint name -> rotation vector."""

CAMERA = Camera.from_focal(600.0, 640, 480)
X, Y, Z = np.eye(3)
SIT: Pose = {"left_hip": (-1.45, 0.15, 0), "right_hip": (-1.45, -0.15, 0), "left_knee": (1.45, 0, 0),
             "right_knee": (1.45, 0, 0)}  # fmt: skip
LUNGE: Pose = {"left_hip": (-0.9, 0, 0), "left_knee": (1.0, 0, 0), "right_hip": (0.3, 0, 0), "right_knee": (0.6, 0, 0)}
ARMS_DOWN: Pose = {"left_shoulder": (0, 0, -1.25), "right_shoulder": (0, 0, 1.25)}


# ------------------------------------------------------------------------------------------------------------ body
class FreeBody:
    """Plain linear blend skinning of the free body's mean shape (no pose blend shapes: the scenes do not need them)."""

    def __init__(self) -> None:
        import hoirecon.data.body

        own = Path(hoirecon.data.body.__file__).parent / "assets" / "free_body.npz"
        path = Path(os.environ.get("FIT_SCENES_BODY", own))  # pin a body to compare fits while the body changes
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        with np.load(path, allow_pickle=False) as data:
            self.names = [str(n) for n in data["joint_names"]]
            self.rest = data["v_template"].astype(np.float64)
            self.joints = data["J_regressor"].astype(np.float64) @ self.rest
            self.weights = data["weights"].astype(np.float64)
            self.parents = [int(p) for p in data["kintree_table"][0]]
            self.faces = data["f"].astype(np.int64)
        self.index = {n: i for i, n in enumerate(self.names)}
        self.part = self.weights.argmax(1)

    def joint_frames(self, pose: Pose, count: int = 52) -> Floats:
        """(count, 4, 4) frames of the joints."""
        frames = np.zeros((count, 4, 4))
        for i in range(count):
            local = np.eye(4)
            local[:3, :3] = Rotation.from_rotvec(pose.get(self.names[i], (0, 0, 0))).as_matrix()
            parent = self.parents[i]
            local[:3, 3] = self.joints[i] - (self.joints[parent] if i else 0)
            frames[i] = local if i == 0 else frames[parent] @ local
        return frames

    def verts(self, pose: Pose) -> Floats:
        """(V, 3) posed vertices, pelvis at the origin."""
        frames = self.joint_frames(pose)
        frames[:, :3, 3] -= np.einsum("jab,jb->ja", frames[:, :3, :3], self.joints)
        blended = np.einsum("vj,jab->vab", self.weights, frames[:, :3])
        posed: Floats = np.einsum("vab,vb->va", blended[:, :, :3], self.rest) + blended[:, :, 3]
        return posed

    def palm(self, frames: Floats, side: str) -> tuple[Floats, Floats]:
        """Centre of the palm and the direction it faces."""
        wrist, knuckle = self.index[f"{side}_wrist"], self.index[f"{side}_middle1"]
        centre = 0.25 * self.joints[wrist] + 0.75 * self.joints[knuckle] + [0, -0.027, 0]
        R, t = frames[wrist][:3, :3], frames[wrist][:3, 3]
        return R @ (centre - self.joints[wrist]) + t, R @ [0, -1.0, 0]

    def hand_parts(self, side: str) -> list[int]:
        """Joints of the wrist and fingers of one side."""
        return [i for i, n in enumerate(self.names) if n.startswith(side) and (i >= 22 or "wrist" in n)]


@cache
def free_body() -> FreeBody:
    """The body, read once."""
    return FreeBody()


def reach(pose: Pose, targets: dict[str, tuple[Floats, Floats]]) -> Pose:
    """Inverse kinematics of the arms: palm centres to points, palms facing directions."""
    pose = dict(pose)
    for side, (point, facing) in targets.items():
        pose = min((_reach_from(pose, side, point, facing, start) for start in _arm_starts(side)), key=lambda r: r[0])[
            1
        ]
    return pose


def _arm_starts(side: str) -> list[Floats]:
    g = 1.0 if side == "left" else -1.0
    return [np.array(x) for x in ([0, -0.9 * g, -0.6 * g, 0.8, 0, 0, 0], [0, 0, -1.2 * g, 0.6, 0, 0, 0],
                                  [0, -0.5 * g, 0.7 * g, 0.8, 0, 0, 0])]  # fmt: skip


def _reach_from(pose: Pose, side: str, point: Floats, facing: Floats, start: Floats) -> tuple[float, Pose]:
    body, g = free_body(), 1.0 if side == "left" else -1.0

    def posed(x: Floats) -> Pose:
        return {**pose, f"{side}_shoulder": x[:3], f"{side}_elbow": (0, -g * x[3], 0), f"{side}_wrist": x[4:7]}

    def residual(x: Floats) -> Floats:
        centre, normal = body.palm(body.joint_frames(posed(x), 38 if side == "left" else 52), side)
        stay = [0.12 * (x[:3] - start[:3]), [0.05 * (x[3] - 0.8)], 0.35 * x[4:7]]
        return np.concatenate([(centre - point) * 30, normal - facing, *stay])

    limits = ([-3.0] * 3 + [0.02] + [-1.2] * 3, [3.0] * 3 + [2.5] + [1.2] * 3)
    best = least_squares(residual, start, bounds=limits, max_nfev=25)
    return float(best.cost), posed(best.x)


def curl_fingers(pose: Pose, side: str, angle: float) -> Pose:
    """Close a hand by an angle per finger joint."""
    g = 1 if side == "left" else -1
    curled = {f"{side}_{f}{j}": (0, 0, -g * angle) for f in ("index", "middle", "ring", "pinky") for j in (1, 2, 3)}
    return {**pose, **curled, f"{side}_thumb1": (0.3 * angle, -0.4 * g * angle, 0)}


# --------------------------------------------------------------------------------------------------------- objects
def _box(centre: Sequence[float], size: Sequence[float]) -> Any:
    return trimesh.creation.box(extents=size, transform=trimesh.transformations.translation_matrix(centre))


def _rod(a: Sequence[float], b: Sequence[float], radius: float, sections: int = 12) -> Any:
    return trimesh.creation.cylinder(radius=radius, segment=[a, b], sections=sections)


def _turned(profile: Sequence[Sequence[float]], sections: int) -> Any:
    part = trimesh.creation.revolve(np.array(profile, dtype=float), sections=sections)
    part.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, [1, 0, 0]))
    return part


def _build(parts: list[Any], edge: float) -> Mesh:
    for part in parts:
        part.merge_vertices()
        part.fix_normals()
    union = trimesh.boolean.union(parts, engine="manifold") if len(parts) > 1 else parts[0]
    union = union.subdivide_to_size(edge)
    union.merge_vertices()
    union.update_faces(union.nondegenerate_faces())
    union.remove_unreferenced_vertices()
    return Mesh(union.vertices, union.faces)


def _axial(axis: Floats, flip: bool) -> Floats:
    turns = [Rotation.from_rotvec(axis * a).as_matrix() for a in np.arange(0, 2 * np.pi, np.pi / 18)]
    over = Rotation.from_rotvec(np.roll(axis, 1) * np.pi).as_matrix()
    return np.array(turns + [t @ over for t in turns] if flip else turns)


@cache
def objects() -> dict[str, tuple[Mesh, Floats]]:
    """Name -> (mesh, symmetry group (G, 3, 3))."""
    half_turns = np.array([np.diag(d) for d in ([1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1])], dtype=float)
    none = np.eye(3)[None]
    legs = [_box((x, -0.22, z), (0.045, 0.42, 0.045)) for x in (0.19, -0.19) for z in (0.18, -0.18)]
    chair = [_box((0, 0, 0), (0.44, 0.05, 0.42)), _box((0, 0.26, -0.19), (0.42, 0.48, 0.04)), *legs]
    bottle = _turned(
        [[0, -0.14], [0.042, -0.14], [0.042, 0.04], [0.036, 0.07], [0.016, 0.10], [0.016, 0.15], [0, 0.15]], 20
    )
    barbell = [_rod((-0.62, 0, 0), (0.62, 0, 0), 0.016, 10)]
    barbell += [_rod((x - 0.03, 0, 0), (x + 0.03, 0, 0), 0.15, 20) for x in (0.5, -0.5)]
    cap = _turned(
        [[0, 0.42], [0.14, 0.40], [0.30, 0.32], [0.42, 0.20], [0.42, 0.185], [0.30, 0.305], [0.14, 0.385], [0, 0.405]],
        16,
    )
    umbrella = [cap, _rod((0, -0.45, 0), (0, 0.44, 0), 0.013, 8), _rod((0, -0.45, 0), (0.05, -0.49, 0), 0.014, 8),
                _rod((0.05, -0.49, 0), (0.10, -0.44, 0), 0.014, 8)]  # fmt: skip
    suitcase = [_box((0, 0, 0), (0.48, 0.40, 0.17)), _box((0, 0.25, 0), (0.15, 0.025, 0.03))]
    suitcase += [_box((x, 0.22, 0), (0.025, 0.06, 0.03)) for x in (0.065, -0.065)]
    screen = _box((0, 0.115, 0), (0.35, 0.23, 0.015))
    screen.apply_transform(trimesh.transformations.rotation_matrix(-np.radians(18), [1, 0, 0]))
    screen.apply_translation((0, 0, -0.12))
    return {
        "box": (_build([_box((0, 0, 0), (0.42, 0.30, 0.34))], 0.05), half_turns),
        "chair": (_build(chair, 0.06), none),
        "bottle": (_build([bottle], 0.04), _axial(Y, False)),
        "barbell": (_build(barbell, 0.06), _axial(X, True)),
        "umbrella": (_build(umbrella, 0.07), none),
        "suitcase": (_build(suitcase, 0.05), half_turns[[0, 2]]),
        "laptop": (_build([_box((0, 0, 0), (0.35, 0.022, 0.245)), screen], 0.045), none),
    }


@dataclass(frozen=True)
class Interaction:
    """How a body and an object meet, in the body's frame (y up, z to the front)."""

    obj: str
    name: str
    euler: tuple[float, float, float]
    """Object rotation, degrees, xyz."""
    place: tuple[float, float, float]
    """Object position, metres."""
    hands: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """Side -> (point, direction the palm faces) in the object frame."""
    curl: float = 0.0
    base: Pose = field(default_factory=dict)


def interactions() -> list[Interaction]:
    """The 28 scenes: seven objects, four interactions each."""
    L, R, grip = "left", "right", Y * 0.5 + Z * 0.86
    diag_r, diag_l = (X + Z) / 2**0.5, (Z - X) / 2**0.5

    def sides(w: float) -> dict[str, tuple[Any, Any]]:
        return {L: ((w, 0, 0), -X), R: ((-w, 0, 0), X)}

    def both(a: Any, b: Any, facing: Any) -> dict[str, tuple[Any, Any]]:
        return {L: (a, facing), R: (b, facing)}

    edge = {L: ((0.21, 0, 0.05), -X), R: ((-0.21, 0, 0.05), X)}
    I = Interaction  # noqa: E741
    return [
        I("box", "carry", (10, 8, 0), (0, 0.15, 0.36), sides(0.21), 0.15),
        I("box", "overhead", (0, 20, 5), (0, 0.95, 0.12), sides(0.21), 0.15),
        I("box", "hip", (0, 75, 5), (-0.36, 0.12, 0.10), {R: ((0, -0.02, 0.17), -Z)}, 0.2),
        I("box", "sit", (0, 15, 0), (0, -0.26, -0.03), base=SIT),
        I("chair", "carry", (20, 170, 0), (0, 0.1, 0.42), sides(0.21), 0.3),
        I("chair", "sit", (0, 6, 0), (0, -0.12, 0.02), base=SIT),
        I("chair", "back", (0, 160, 0), (-0.32, -0.52, 0.32), {R: ((0, 0.50, -0.19), -Y)}, 0.5),
        I("chair", "overhead", (150, 15, 0), (0, 0.98, 0.25), edge, 0.3),
        I("bottle", "drink", (30, 0, 40), (-0.16, 0.40, 0.38), {R: ((0, -0.02, -0.042), Z)}, 0.7),
        I("bottle", "side", (5, 40, 10), (-0.40, -0.02, 0.18), {R: ((-0.03, 0, -0.03), diag_r)}, 0.7),
        I("bottle", "two", (15, 0, -20), (0, 0.25, 0.38),
          {L: ((0.03, 0.04, -0.03), diag_l), R: ((-0.03, -0.06, -0.03), diag_r)}, 0.6),
        I("bottle", "sit", (0, 0, 15), (0.22, 0.02, 0.40), {L: ((0.042, -0.03, 0), -X)}, 0.7, SIT),
        I("barbell", "overhead", (0, 5, 4), (0, 1.0, 0.12), both((0.28, 0, -0.016), (-0.28, 0, -0.016), grip), 0.9),
        I("barbell", "hang", (0, -6, 3), (0, -0.05, 0.22), both((0.26, 0, 0.016), (-0.26, 0, 0.016), -Z), 0.9),
        I("barbell", "chest", (0, 10, -4), (0, 0.45, 0.25), both((0.25, -0.016, 0), (-0.25, -0.016, 0), Y), 0.8),
        I("barbell", "lunge", (0, 12, 8), (0, 0.12, 0.40), both((0.22, 0.016, 0), (-0.22, 0.016, 0), -Y), 0.9, LUNGE),
        I("umbrella", "up", (5, 30, 5), (-0.20, 0.72, 0.30), {R: ((0, -0.36, -0.013), Z)}, 0.9),
        I("umbrella", "shoulder", (-35, 60, 0), (0.15, 0.68, 0.05), {L: ((0, -0.30, 0.013), -Z)}, 0.9),
        I("umbrella", "two", (30, -20, -5), (0, 0.62, 0.45),
          {L: ((0.013, -0.33, 0), -X), R: ((-0.013, -0.22, 0), X)}, 0.9),
        I("umbrella", "sit", (10, 0, -15), (0.28, 0.66, 0.28), {L: ((0.01, -0.34, -0.01), Z)}, 0.9, SIT),
        I("suitcase", "hang", (0, 80, 0), (-0.33, -0.38, 0.05), {R: ((0, 0.262, 0), -Y)}, 0.9),
        I("suitcase", "carry", (10, 10, 3), (0, 0.14, 0.46), sides(0.24), 0.15),
        I("suitcase", "sit", (0, 12, 0), (0, -0.32, -0.02), base=SIT),
        I("suitcase", "overhead", (75, 10, 0), (0, 0.92, 0.12), sides(0.24), 0.15),
        I("laptop", "carry", (5, 180, 0), (0, 0.18, 0.36), sides(0.175), 0.2),
        I("laptop", "lap", (-5, 180, 3), (0, 0.135, 0.30), both((0.05, 0.011, 0.06), (-0.06, 0.011, 0.07), -Y), 0.1,
          SIT),
        I("laptop", "under", (10, 100, 80), (-0.34, 0.12, 0.08), {R: ((0, -0.011, 0), Y)}, 0.2),
        I("laptop", "hold", (20, 170, 0), (-0.1, 0.2, 0.38), {R: ((0, -0.011, 0), Y), L: ((0, 0.2, -0.19), -Z)}, 0.2),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- scenes
@dataclass(frozen=True)
class ClosedScene:
    """One exact scene; everything in the camera frame unless said, metres."""

    name: str
    obj: str
    R: Floats
    """(3, 3) true ``R_cam_obj``."""
    t: Floats
    R_cam_body: Floats
    """(3, 3) from the body's own frame to the camera's."""
    t_cam_body: Floats
    pose: Floats
    """(52, 3) rotation vectors of the body."""
    body: Floats
    """(V, 3) body vertices."""
    visible: Bools
    """(H, W) pixels of the object."""
    person: Bools
    """(H, W) pixels of the person."""
    body_distance: Floats
    """(V,) distance of body vertices to the object, negative inside."""
    object_distance: Floats
    """(V,) distance of object vertices to the body."""
    occluded: float
    """Share of the object's pixels behind the person."""

    @property
    def mesh(self) -> Mesh:
        """The object at its true size."""
        return objects()[self.obj][0]

    @property
    def symmetry(self) -> Floats:
        """(G, 3, 3) rotations that map the object to itself."""
        return objects()[self.obj][1]


@dataclass(frozen=True)
class Given:
    """What a fitter is given."""

    observation: Observation
    body: Mesh
    """The posed body, right or not."""
    mesh: Mesh
    """The object, perhaps at a wrong size."""
    contact: tuple[ContactMap, ContactMap]
    scale: float
    """True scale: what the fit should find."""


def make_scene(index: int, seed: int = 0, heavy: bool = False) -> ClosedScene:
    """Make scene ``index`` (0..27) of a seed; ``heavy`` looks for a camera from which 30 to 65 % are hidden."""
    kind, body = interactions()[index], free_body()
    mesh = objects()[kind.obj][0]
    for attempt in range(12):  # a jitter may leave hands inside the object: such a truth is no truth
        rng = np.random.default_rng([seed, index, int(heavy), attempt])
        R, t, pose, verts = _pose_and_settle(kind, mesh, rng)
        inside = -signed_distance(mesh.with_verts(mesh.verts @ R.T + t), verts).min()
        if inside < 0.012:
            break
    Rc, tc, visible, person, occluded = _find_camera(verts, R, t, mesh, rng, heavy)
    rotvecs = np.array([np.asarray(pose.get(n, (0, 0, 0)), dtype=float) for n in body.names])
    placed = mesh.with_verts(mesh.verts @ R.T + t)
    return ClosedScene(
        f"{kind.obj}/{kind.name}", kind.obj, Rc @ R, Rc @ t + tc, Rc, tc, rotvecs, verts @ Rc.T + tc, visible, person,
        signed_distance(placed, verts), signed_distance(Mesh(verts, body.faces), placed.verts), occluded,
    )  # fmt: skip


def _pose_and_settle(kind: Interaction, mesh: Mesh, rng: np.random.Generator) -> tuple[Floats, Floats, Pose, Floats]:
    R, t, pose = _jittered(kind, rng)
    pose = reach(pose, {s: (R @ np.array(p) + t, R @ np.array(d)) for s, (p, d) in kind.hands.items()})
    for side in kind.hands:
        pose = curl_fingers(pose, side, kind.curl)
    verts = free_body().verts(pose)
    return R, _settle(verts, mesh, R, t, list(kind.hands)), pose, verts


def _jittered(kind: Interaction, rng: np.random.Generator) -> tuple[Floats, Floats, Pose]:
    seat = kind.name == "sit" and not kind.hands
    tilt = rng.standard_normal(3) * ((3, 10, 3) if seat else (8, 15, 8))
    R = Rotation.from_euler("xyz", np.array(kind.euler) + tilt, degrees=True).as_matrix()
    t = np.array(kind.place) + rng.standard_normal(3) * (0.01 if seat else 0.02)
    pose = {**ARMS_DOWN, **kind.base}
    for joint in ("spine1", "spine2", "neck", "left_hip", "right_hip", "left_knee", "right_knee"):
        pose[joint] = np.array(pose.get(joint, (0, 0, 0.0))) + rng.standard_normal(3) * 0.045
    for joint in ("left_shoulder", "right_shoulder"):
        pose[joint] = np.array(pose[joint]) + rng.standard_normal(3) * 0.1
    return R, t, pose


def signed_distance(mesh: Mesh, points: Floats) -> Floats:
    """(N,) distance of points to a watertight mesh, negative inside (open3d)."""
    scene = _ray_scene(mesh)
    return np.asarray(scene.compute_signed_distance(o3d.core.Tensor(points.astype(np.float32))).numpy(), dtype=float)


def _ray_scene(mesh: Mesh) -> Any:
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(mesh.verts.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    return scene


def _settle(verts: Floats, mesh: Mesh, R: Floats, t: Floats, sides: list[str]) -> Floats:
    """Move the object a little so that it touches the hands (or the seat) without going in."""
    body, scene = free_body(), _ray_scene(mesh)
    groups = [body.hand_parts(s) for s in sides] or [[body.index[n] for n in ("pelvis", "left_hip", "right_hip")]]
    touching = [np.nonzero(np.isin(body.part, g))[0] for g in groups]

    def distance(points: Floats, shift: Floats) -> Floats:
        local = ((points - t - shift) @ R).astype(np.float32)
        return np.asarray(scene.compute_signed_distance(o3d.core.Tensor(local)).numpy(), dtype=float)

    near = verts[distance(verts, np.zeros(3)) < 0.15]

    def cost(shift: Floats) -> float:
        deep = 4e3 * float(np.sum(np.clip(-distance(near, shift) - 0.004, 0, None) ** 2))
        for index in touching:
            closest = np.sort(distance(verts[index], shift))[:12]
            deep += 6e3 * float(np.clip(closest - 0.002, 0, None).mean()) ** 2
        return deep + 2 * float(np.sum(shift**2))

    simplex = np.vstack([np.zeros(3), np.eye(3) * 0.03])
    shift = minimize(cost, np.zeros(3), method="Nelder-Mead", options={"maxfev": 120, "initial_simplex": simplex}).x
    return np.asarray(t + shift)


def depth_image(verts_cam: Floats, faces: npt.NDArray[np.int64], camera: Camera = CAMERA) -> Floats:
    """(H, W) depth along z by ray casting, infinite where nothing is hit."""
    scene = _ray_scene(Mesh(verts_cam, faces))
    rows, cols = np.mgrid[: camera.height, : camera.width] + 0.5
    rays = camera.unproject(np.stack([cols, rows], -1), np.ones(rows.shape))
    rays = np.concatenate([np.zeros_like(rays), rays], -1).astype(np.float32)
    return np.asarray(scene.cast_rays(o3d.core.Tensor(rays))["t_hit"].numpy(), dtype=float)


def _views(verts: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, float, float]:
    azimuth = rng.uniform(-np.pi, np.pi) if rng.random() < 1 / 3 else rng.uniform(-1.2, 1.2)
    height, distance = rng.uniform(-0.05, 0.4), rng.uniform(2.4, 4.0)
    away = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
    right = np.cross(-away, Y) / np.linalg.norm(np.cross(-away, Y))
    Rc = np.stack([right, np.cross(-away, right), -away])
    middle = np.array([0, (verts[:, 1].min() + verts[:, 1].max()) / 2, 0])
    return Rc, np.array([rng.uniform(-0.15, 0.15), 0, distance]) - Rc @ middle, azimuth, distance


def _find_camera(
    verts: Floats, R: Floats, t: Floats, mesh: Mesh, rng: np.random.Generator, heavy: bool
) -> tuple[Floats, Floats, Bools, Bools, float]:
    small, faces = CAMERA.resized(160, 120), free_body().faces
    low, high = (0.3, 0.65) if heavy else (0.05, 0.6)
    best: tuple[float, Floats, Floats] | None = None
    for _ in range(60):
        Rc, tc, _, _ = _views(verts, rng)
        placed = (mesh.verts @ R.T + t) @ Rc.T + tc
        pixels = CAMERA.project(placed)
        if not (np.all(pixels > 4) and np.all(pixels < [CAMERA.width - 4, CAMERA.height - 4])):
            continue
        obj, person = depth_image(placed, mesh.faces, small), depth_image(verts @ Rc.T + tc, faces, small)
        occluded = float((person < obj)[np.isfinite(obj)].mean()) if np.isfinite(obj).any() else 1.0
        miss = max(low - occluded, occluded - high, 0.0)
        if best is None or miss < best[0]:
            best = (miss, Rc, tc)
        if miss == 0:
            break
    if best is None:
        raise RuntimeError("no camera sees the whole object")
    Rc, tc = best[1:]
    obj = depth_image((mesh.verts @ R.T + t) @ Rc.T + tc, mesh.faces)
    person = depth_image(verts @ Rc.T + tc, faces)
    visible = np.isfinite(obj) & (obj < person)
    return Rc, tc, visible, np.isfinite(person) & ~visible, float((person < obj)[np.isfinite(obj)].mean())


# ----------------------------------------------------------------------------------------------------------- noise
def observe(scene: ClosedScene, level: str, seed: int = 0) -> Given:
    """What a fitter sees: ``L0`` exact, ``L2`` with today's errors of contact, mask, body and size."""
    if level == "L0":
        return _given(scene, scene.visible, scene.person, scene.body, 1.0,
                      (scene.body_distance < 0.02) * 1.0, (scene.object_distance < 0.02) * 1.0)  # fmt: skip
    rng = np.random.default_rng([seed, zlib.crc32(scene.name.encode())])
    visible = _wobble(scene.visible, 2.0, rng)
    person = _wobble(scene.person, 2.0, rng) & ~visible
    body = _bent_body(scene, np.radians(5), 0.02, rng)
    hands = _patchy(free_body().rest, scene.body_distance, rng)
    grips = _patchy(scene.mesh.verts, scene.object_distance, rng)
    return _given(scene, visible, person, body, float(np.exp(0.2 * rng.standard_normal())), hands, grips)


def _given(
    scene: ClosedScene, visible: Bools, person: Bools, body: Floats, scale: float, hands: Floats, grips: Floats
) -> Given:
    mesh = Mesh(scene.mesh.verts / scale, scene.mesh.faces, name=scene.obj)
    image = np.zeros((CAMERA.height, CAMERA.width, 3), dtype=np.uint8)
    observation = Observation(image, CAMERA, person_mask=person, object_masks=(visible,))
    body_mesh = Mesh(body, free_body().faces, name="body")
    maps = ContactMap(hands, body_mesh.topology), ContactMap(grips, mesh.topology)
    return Given(observation, body_mesh, mesh, maps, scale)


def _wobble(mask: Bools, pixels: float, rng: np.random.Generator) -> Bools:
    signed = np.where(mask, 0.5 - distance_transform_edt(mask), distance_transform_edt(~mask) - 0.5)
    noise = gaussian_filter(rng.standard_normal(mask.shape), 8)
    wobbled: Bools = signed + pixels * noise / noise.std() < 0
    return wobbled


def _bent_body(scene: ClosedScene, angle: float, shift: float, rng: np.random.Generator) -> Floats:
    rotvecs = scene.pose.copy()
    for j in range(1, 22):
        axis = rng.standard_normal(3)
        turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle)
        rotvecs[j] = (Rotation.from_rotvec(rotvecs[j]) * turn).as_rotvec()
    pose = dict(zip(free_body().names, rotvecs, strict=True))
    offset = rng.standard_normal(3)
    return np.asarray(
        free_body().verts(pose) @ scene.R_cam_body.T + scene.t_cam_body + offset / np.linalg.norm(offset) * shift
    )


def _patchy(
    points: Floats, distance: Floats, rng: np.random.Generator, recall: float = 0.75, precision: float = 0.65
) -> Floats:
    """Contact probabilities with one connected patch dropped and one false patch added."""
    label = distance < 0.02
    true = np.nonzero(label)[0]
    if len(true) >= 4:
        order = np.argsort(np.linalg.norm(points[true] - points[rng.choice(true)], axis=1))
        label[true[order[: round((1 - recall) * len(true))]]] = False
        far = np.nonzero(distance > 0.04)[0]
        order = np.argsort(np.linalg.norm(points[far] - points[rng.choice(far)], axis=1))
        label[far[order[: round(label.sum() * (1 - precision) / precision)]]] = True
    return np.where(label, rng.uniform(0.55, 0.98, len(label)), rng.uniform(0, 0.35, len(label)))


# --------------------------------------------------------------------------------------------------------- measures
def chamfer_cm(scene: ClosedScene, pose: ObjectPose, scale: float, count: int = 1500) -> float:
    """Mean of the two one-way mean surface distances between fitted and true object, centimetres."""
    from scipy.spatial import cKDTree

    samples = np.asarray(trimesh.sample.sample_surface_even(scene.mesh.to_trimesh(), count, seed=0)[0])
    true = samples @ scene.R.T + scene.t
    fitted = pose.apply(samples / scale)
    there, back = cKDTree(true).query(fitted)[0], cKDTree(fitted).query(true)[0]
    return float(50 * (there.mean() + back.mean()))


def rotation_error_deg(scene: ClosedScene, R: Floats) -> float:
    """Angle to the nearest of the equivalent true rotations, degrees."""
    traces = np.einsum("ij,kij->k", R, scene.R @ scene.symmetry)
    return float(np.degrees(np.arccos(np.clip((traces.max() - 1) / 2, -1, 1))))


def cached(folder: Path, key: str, make: Callable[[], ClosedScene]) -> ClosedScene:
    """The scene from a folder, made and stored there the first time, and again when the body's file has changed."""
    path = folder / f"{key}_{free_body().digest}.npz"
    if not path.exists():
        scene = make()
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **{f.name: getattr(scene, f.name) for f in fields(scene)})
    with np.load(path, allow_pickle=False) as data:
        values = {f.name: data[f.name] for f in fields(ClosedScene)}
    for name in ("name", "obj"):
        values[name] = str(values[name])
    return ClosedScene(**{**values, "occluded": float(values["occluded"])})
