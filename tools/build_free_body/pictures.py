"""Check pictures: poses, hands, feet, head, shapes, parts and landmarks (needs open3d or embreex for fast rays)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import trimesh
from PIL import Image

from tools.build_free_body.makehuman import Floats, Ints
from tools.build_free_body.poses import POSES, forward
from tools.build_free_body.rig import INDEX

Picture = npt.NDArray[np.uint8]
SKIN = np.array([205.0, 190.0, 175.0])


def view_matrix(yaw: float, pitch: float) -> Floats:
    """Rotation (3, 3) that turns the body by yaw (about y) and pitch (about x), degrees, before looking along -z."""
    a, b = np.radians(yaw), np.radians(pitch)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return np.asarray(tilt @ turn)


def render(
    verts: Floats,
    faces: Ints,
    yaw: float = 0,
    pitch: float = 0,
    half: float = 1.0,
    centre: Floats | None = None,
    colours: Floats | None = None,
    points: Floats | None = None,
    size: int = 480,
) -> Picture:
    """An orthographic picture (size, size, 3) uint8; back faces show red, points as blue squares (seen through)."""
    middle = (verts.min(0) + verts.max(0)) / 2 if centre is None else centre
    turn = view_matrix(yaw, pitch)
    mesh = trimesh.Trimesh((verts - middle) @ turn.T, faces, process=False)
    grid = ((np.arange(size) + 0.5) / size * 2 - 1) * half
    x, y = np.meshgrid(grid, -grid)
    origins = np.stack([x.ravel(), y.ravel(), np.full(x.size, 5.0)], axis=1)
    face = mesh.ray.intersects_first(origins, np.tile([0.0, 0.0, -1.0], (len(origins), 1)))
    hit = face >= 0
    normal = mesh.face_normals[face]
    shade = 0.3 + 0.7 * np.clip(normal @ np.array([0.3, 0.5, 0.81]), 0, 1)
    paint = np.tile(SKIN, (len(faces), 1)) if colours is None else colours
    image = np.full((len(origins), 3), 255.0)
    image[hit] = (shade[:, None] * paint[face])[hit]
    image[hit & (normal[:, 2] < 0)] = [255, 0, 0]
    picture = image.reshape(size, size, 3)
    for px, py in ((points - middle) @ turn.T)[:, :2] if points is not None else []:
        c, r = int((px / half + 1) / 2 * size), int((1 - py / half) / 2 * size)
        if 2 <= r < size - 2 and 2 <= c < size - 2:
            picture[r - 2 : r + 3, c - 2 : c + 3] = [20, 40, 255]
    return picture.astype(np.uint8)


def sheet(rows: list[list[Picture]], path: Path) -> None:
    Image.fromarray(np.concatenate([np.concatenate(r, axis=1) for r in rows])).save(path)


def part_colours(body: dict[str, Any], faces: Ints) -> Floats:
    """(F, 3) a fixed colour per part name, the same on both sides."""
    stems = [n.removeprefix("left_").removeprefix("right_") for n in body["part_names"]]
    order = sorted(set(stems))
    wheel = np.random.default_rng(3).permutation(len(order))
    hue = np.array([wheel[order.index(s)] for s in stems]) / len(order)
    rgb = 255 * np.clip(np.abs((hue[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0.15, 0.95)
    return np.asarray(rgb[body["part_ids"][faces[:, 0]]])


CLOSE_UPS: list[tuple[str, tuple[float, float, float], float, float, float]] = [
    # joint, offset from it, half size (metres), yaw, pitch (degrees)
    ("left_middle1", (0, 0, 0), 0.14, 0, 90),
    ("left_middle1", (0, 0, 0), 0.14, 0, -90),
    ("left_middle1", (0, 0, 0), 0.14, 0, 0),
    ("left_foot", (0, 0, -0.05), 0.16, 0, -90),
    ("left_foot", (0, 0, -0.05), 0.16, 90, 0),
    ("left_foot", (0, 0, -0.05), 0.16, -40, 40),
    ("head", (0, 0.08, 0.03), 0.17, 0, 0),
    ("head", (0, 0.08, 0.03), 0.17, -60, 0),
]
FIST_VIEWS = [(0, 0), (60, 0), (180, 0), (0, 90), (0, -90)]


def draw_all(body: dict[str, Any], folder: Path) -> None:
    """Writes the check sheets into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    faces = body["f"].astype(np.int64)
    rest, joints = forward(body, {})
    colours = part_colours(body, faces)
    rows = body["landmark_blazepose33_idx"], body["landmark_blazepose33_w"].astype(float)
    marks = np.einsum("lk,lkd->ld", rows[1], rest[rows[0]])

    posed = [forward(body, p)[0] for p in POSES.values()]
    sheet([[render(v, faces, yaw) for v in posed] for yaw in (0, 60, 180)], folder / "poses.png")
    close: list[list[Picture]] = [[], [], []]
    for joint, offset, half, yaw, pitch in CLOSE_UPS:
        centre = joints[INDEX[joint]] + offset
        close[0].append(render(rest, faces, yaw, pitch, half, centre))
        close[1].append(render(rest, faces, yaw, pitch, half, centre, colours=colours))
        close[2].append(render(rest, faces, yaw, pitch, half, centre, points=marks))
    sheet(close, folder / "close.png")
    hand, hand_joints = forward(body, POSES["grasp"])
    knuckle = hand_joints[INDEX["left_middle1"]]
    sheet([[render(hand, faces, yaw, pitch, 0.14, knuckle) for yaw, pitch in FIST_VIEWS]], folder / "fist.png")
    whole = [[render(rest, faces, yaw, colours=colours, size=700) for yaw in (0, 90, 180)]]
    whole.append([render(rest, faces, yaw, points=marks, size=700) for yaw in (0, 90, 180)])
    sheet(whole, folder / "parts.png")
    units = np.eye(10)
    ends = [[forward(body, {}, s * unit)[0] for unit in units] for s in (-2, 2)]
    sheet([[render(v, faces, yaw, size=240) for v in row] for row in ends for yaw in (0, 60)], folder / "shapes.png")
