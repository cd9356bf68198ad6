"""Spoil a scene's evidence to a stated level: masks, body, contact, correspondences, size and mesh."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from hoirecon.arrays import BoolArray, ByteArray, FloatArray, IntArray
from hoirecon.contact_map import ContactMap
from hoirecon.data.closedworld.bent_body import bent_body
from hoirecon.data.closedworld.landmarks import noisy_landmarks
from hoirecon.data.closedworld.levels import NoiseLevel, level_of
from hoirecon.data.closedworld.posing import body_model
from hoirecon.data.closedworld.rays import Solid
from hoirecon.data.closedworld.scene import VERSION, ClosedWorldScene, Correspondences
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.scene import SceneBody

SMOOTH_PX = 8.0
"""Correlation length of the masks' errors, pixels."""
MISMATCH = (0.10, 0.20)
"""Range of the mismatch of a mesh along each axis, as a share of its size."""


@dataclass(frozen=True, eq=False)
class NoisyObservation:
    """What a method is given; nothing in it is the truth but :attr:`true_scale`, which only scorers may read."""

    level: NoiseLevel
    observation: Observation
    """Picture, camera, masks, occluders, landmarks of the person."""
    body: SceneBody
    """The body as estimated."""
    mesh: Mesh
    """The object's mesh, at a size that is off by an unknown factor."""
    size_prior: tuple[float, float]
    """Mean and standard deviation of the logarithm of the scale that the mesh needs."""
    contacts: tuple[ContactMap, ContactMap] | None
    """Contact on body and object; None where nothing touches."""
    correspondences: Correspondences | None
    """Pairs of touching points; None where nothing touches."""
    parts: Mapping[str, IntArray]
    """Part of the object -> vertices of :attr:`mesh`."""
    category: str
    """Kind of object."""
    true_scale: float
    """Scale at which the mesh has its true size."""


def observe_scene(scene: ClosedWorldScene, level: str | NoiseLevel = "L2", seed: int = 0) -> NoisyObservation:
    """What a method is given of a scene at a noise level.

    Args:
        scene: the truth.
        level: ``L0`` to ``L3``, ``mismatch``, or a level of your own.
        seed: another draw of the same noise.

    Raises:
        InputError: unknown level.
    """
    level = level_of(level)
    rng = np.random.default_rng([VERSION, scene.seed, seed, zlib.crc32(level.name.encode())])
    observation = _masks(scene, level, rng)
    own = np.random.default_rng([VERSION, scene.seed, seed, zlib.crc32(f"{level.name} landmarks".encode())])
    observation = observation.replace(keypoints=noisy_landmarks(scene, level, own))
    params = scene.params if level.ends_m == 0 else bent_body(scene.params, level.joint_deg, level.ends_m, rng)
    body = body_model().pose(params)
    scale = float(np.exp(level.scale_log_sigma * rng.standard_normal()))
    mesh, kept = _wrong_mesh(scene, level, rng)
    mesh = mesh.with_verts(mesh.verts / scale)
    contacts = _contacts(scene, mesh, kept, level, rng)
    pairs = _pairs(scene, mesh, level, rng)
    parts = {n: np.flatnonzero(np.isin(kept, scene.thing.part_verts(n))) for n in scene.thing.part_names}
    return NoisyObservation(level, observation, body, mesh, (0.0, level.scale_log_sigma), contacts, pairs, parts,
                            scene.category, scale)  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- masks
def _masks(scene: ClosedWorldScene, level: NoiseLevel, rng: np.random.Generator) -> Observation:
    visible, occluders = scene.visible, None
    if level.cut > 0:
        occluders = _cut(visible, level.cut, rng)
        visible = visible & ~occluders
    person = scene.person
    if level.mask_px > 0:
        visible = wobbled(visible, level.mask_px, rng)
        person = wobbled(person, level.mask_px, rng) if person.any() else person
    if level.blob > 0:
        visible = visible | _blob(visible, level.blob, rng)
    if occluders is not None:
        visible, person = visible & ~occluders, person & ~occluders
    return Observation(picture(scene), scene.camera, None, (visible,), occluders).replace(person_mask=person & ~visible)


def wobbled(mask: BoolArray, pixels: float, rng: np.random.Generator) -> BoolArray:
    """A mask whose outline is off by smooth noise of a standard deviation in pixels; never less than a quarter."""
    signed = np.where(mask, 0.5 - distance_transform_edt(mask), distance_transform_edt(~mask) - 0.5)
    noise = gaussian_filter(rng.standard_normal(mask.shape), SMOOTH_PX)
    noise *= pixels / noise.std()
    for _ in range(8):
        moved: BoolArray = signed + noise < 0
        if moved.sum() * 4 >= mask.sum():
            break
        noise = noise - 0.5 * pixels  # thin things would vanish: a segmenter would rather see them thick
    return moved


def _cut(visible: BoolArray, share: float, rng: np.random.Generator) -> BoolArray:
    """Pixels of an upright or slanting bar's side of the picture that hides a share of the object, near the object."""
    rows, cols = np.nonzero(visible)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * cols + np.sin(angle) * rows
    limit = np.quantile(along, 1 - share)
    r, c = np.mgrid[: visible.shape[0], : visible.shape[1]]
    beyond = np.cos(angle) * c + np.sin(angle) * r - limit
    width = float(along.max() - limit) + 12.0
    found: BoolArray = (beyond > 0) & (beyond < width)
    return found


def _blob(visible: BoolArray, share: float, rng: np.random.Generator) -> BoolArray:
    """A false round piece that touches the mask's outline."""
    rows, cols = np.nonzero(visible & ~np.roll(visible, 1, axis=1))
    at = rng.integers(len(rows))
    radius = max(3.0, float(np.sqrt(share * visible.sum() / np.pi)))
    way = rng.uniform(0, 2 * np.pi)
    r, c = np.mgrid[: visible.shape[0], : visible.shape[1]]
    y, x = rows[at] + radius * np.sin(way), cols[at] + radius * np.cos(way)
    found: BoolArray = np.hypot(r - y, c - x) < radius
    return found


def picture(scene: ClosedWorldScene) -> ByteArray:
    """(H, W, 3) a plain shaded picture: person brown, object blue, background grey."""
    depth = np.where(np.isfinite(scene.depth), scene.depth, scene.depth[np.isfinite(scene.depth)].max())
    gy, gx = np.gradient(gaussian_filter(depth, 0.7))
    shade = np.clip(0.85 - 12 * (gx + gy), 0.35, 1.0)[..., None]
    colour = np.full((*depth.shape, 3), 205.0)
    colour[scene.person], colour[scene.visible] = (196, 150, 122), (70, 110, 190)
    seen = (scene.person | scene.visible)[..., None]
    return np.asarray(np.where(seen, colour * shade, colour), dtype=np.uint8)


# ------------------------------------------------------------------------------------------------------------- contact
def _contacts(
    scene: ClosedWorldScene, mesh: Mesh, kept: IntArray, level: NoiseLevel, rng: np.random.Generator
) -> tuple[ContactMap, ContactMap] | None:
    on_body, on_object = scene.body_contact.probability > 0, scene.object_contact.probability > 0
    if not (on_body.any() and on_object.any()):
        return None
    hands, grips = on_body.astype(np.float64), on_object.astype(np.float64)
    if level.precision < 1 or level.recall < 1:
        hands = patchy(body_model().rest_verts, on_body, level, rng)
        grips = patchy(scene.mesh.verts, on_object, level, rng)
    source, label = f"closedworld {level.name}", scene.category
    on_the_mesh = ContactMap(grips[kept], mesh.topology, source, label)
    return ContactMap(hands, scene.params.topology, source, label), on_the_mesh


def patchy(points: FloatArray, truth: BoolArray, level: NoiseLevel, rng: np.random.Generator) -> FloatArray:
    """(V,) contact probabilities with whole patches wrong, at the level's precision and recall.

    One connected patch is missing; of what is false, one half lies beside true contact and the other half anywhere. A
    surface that touches nearly all over has too few other vertices: precision is then higher than stated.
    """
    label, true = truth.copy(), np.flatnonzero(truth)
    dropped = round((1 - level.recall) * len(true))
    label[true[_around(points[true], points[rng.choice(true)], dropped)]] = False
    wanted = round(label.sum() * (1 - level.precision) / level.precision)
    others = np.flatnonzero(~truth)
    beside = others[_around(points[others], points[rng.choice(true)], wanted // 2)]
    rest = np.setdiff1d(others, beside)
    elsewhere = rest[_around(points[rest], points[rng.choice(rest)], wanted - len(beside))] if len(rest) else rest
    label[beside], label[elsewhere] = True, True
    return np.where(label, rng.uniform(0.55, 0.98, len(label)), rng.uniform(0, 0.35, len(label)))


def _around(points: FloatArray, centre: FloatArray, count: int) -> IntArray:
    order: IntArray = np.argsort(np.linalg.norm(points - centre, axis=1), kind="stable")
    return order[:count]


def _pairs(scene: ClosedWorldScene, mesh: Mesh, level: NoiseLevel, rng: np.random.Generator) -> Correspondences | None:
    """Correspondences with a patch missing, places off by the level's error, some quite false; on the given mesh."""
    pairs = scene.correspondences
    if len(pairs) == 0:
        return None
    points = pairs.points(scene.mesh)
    gone = _around(points, points[rng.integers(len(points))], round((1 - level.recall) * len(points)))
    kept = np.setdiff1d(np.arange(len(points)), gone)
    noise = (0.02 if level.ends_m is None else level.ends_m) / np.sqrt(3)
    moved = points[kept] + noise * rng.standard_normal((len(kept), 3))
    false = rng.random(len(kept)) < (1 - level.precision) / 2
    moved[false] = scene.mesh.verts[rng.integers(len(scene.mesh.verts), size=int(false.sum()))]
    stretch = mesh.extents / scene.mesh.extents  # a wrong mesh is about the true one, stretched
    _, faces, bary = Solid(mesh).closest(moved * stretch)
    return Correspondences(pairs.body_verts[kept], faces, bary)


# ---------------------------------------------------------------------------------------------------------------- mesh
def _wrong_mesh(scene: ClosedWorldScene, level: NoiseLevel, rng: np.random.Generator) -> tuple[Mesh, IntArray]:
    """The mesh that is given at true size, and which true vertex each of its vertices was."""
    everything = np.arange(len(scene.mesh.verts))
    if not level.mismatch:
        return scene.mesh, everything
    stretch = np.exp(rng.uniform(*MISMATCH, 3) * rng.choice([-1.0, 1.0], 3))
    keep = _spared(scene, rng)
    used = np.unique(scene.mesh.faces[keep])
    number = np.full(len(everything), -1)
    number[used] = np.arange(len(used))
    return Mesh(scene.mesh.verts[used] * stretch, number[scene.mesh.faces[keep]], scene.mesh.name), used


def _spared(scene: ClosedWorldScene, rng: np.random.Generator) -> BoolArray:
    """(F,) faces that stay when one of the smaller parts is missing."""
    parts = scene.thing.face_parts
    corners = scene.mesh.verts[scene.mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    share = np.bincount(parts, area, len(scene.thing.part_names)) / area.sum()
    small = np.flatnonzero((share > 0) & (share < 0.25))
    return parts != rng.choice(small) if len(small) else np.ones(len(parts), dtype=bool)
