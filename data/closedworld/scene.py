"""Seeded closed-world scenes: a posed person and a thing, seen by a camera, everything exact and known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray, IntArray
from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.data.body import BodyModel
from hoirecon.data.closedworld.building import DEEPEST_M, Placed, attempt, judge
from hoirecon.data.closedworld.posing import body_model
from hoirecon.data.closedworld.rays import Solid
from hoirecon.data.closedworld.recipes import Recipe, Split, recipe_of, split_of_seed
from hoirecon.data.objects import LibraryObject, load_object
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

VERSION = 1
"""Goes up when the same seed would give another scene."""
BAND_M = 0.02
"""Surfaces nearer than this are labelled as touching, metres."""
SIZE = (640, 480)
"""Width and height of the pictures, pixels."""
FOCAL_PX = (500.0, 1500.0)
"""Range of the focal length, pixels."""
DISTANCE_M = (2.0, 4.5)
"""Range of the camera's distance, metres."""
MOST_OCCLUDED = 0.65
"""Largest share of the object that may be hidden."""
LEAST_PIXELS = 300
"""Fewest pixels of the object that must be seen."""
TRIES, VIEWS = 60, 120
"""Most tries at a scene, and cameras tried for each."""
HEAVY = (0.35, 0.30, 60)
"""A share of the scenes looks for a camera from which at least so much is hidden, for so many tries."""


@dataclass(frozen=True)
class Correspondences:
    """Pairs of points that touch: a body vertex and a place on the object."""

    body_verts: IntArray
    """(N,) vertices of the body."""
    faces: IntArray
    """(N,) faces of the object."""
    bary: FloatArray
    """(N, 3) weights of the faces' corners."""

    def __len__(self) -> int:
        return len(self.body_verts)

    def points(self, mesh: Mesh) -> FloatArray:
        """(N, 3) places on the object."""
        found: FloatArray = np.einsum("nk,nkc->nc", self.bary, mesh.verts[mesh.faces[self.faces]])
        return found


@dataclass(frozen=True, eq=False)
class ClosedWorldScene:
    """One exact scene; camera frame, metres."""

    seed: int
    split: Split
    interaction: str
    """E.g. ``two_hand_carry``, ``sit``, ``no_contact``."""
    object_id: str
    """Mesh of the object library."""
    camera: Camera
    params: BodyParams
    """True body."""
    body_verts: FloatArray
    """(V, 3)."""
    mesh: Mesh
    """Object at its true size, object frame."""
    pose: ObjectPose
    """True pose, scale 1."""
    visible: BoolArray
    """(H, W) pixels in which the object is seen."""
    full: BoolArray
    """(H, W) pixels that the object would fill if nothing hid it."""
    person: BoolArray
    """(H, W) pixels in which the person is seen."""
    depth: FloatArray
    """(H, W) depth of what is seen, metres; infinite in the background."""
    body_distance: FloatArray
    """(V,) signed distance of the body's vertices to the object, negative inside."""
    object_distance: FloatArray
    """(Vo,) signed distance of the object's vertices to the body."""
    correspondences: Correspondences
    """Nearest place on the object of every touching body vertex."""
    redrawn: int
    """How many tries were thrown away before this one."""

    @property
    def name(self) -> str:
        """Short name, e.g. ``42-sit-chair``."""
        return f"{self.seed}-{self.interaction}-{self.category}".replace(" ", "_")

    @property
    def category(self) -> str:
        """Category of the object."""
        return self.object_id.split("/")[0]

    @cached_property
    def thing(self) -> LibraryObject:
        """Parts, symmetry and size prior of the object."""
        return load_object(self.object_id)

    @property
    def body_model(self) -> BodyModel:
        """The free body."""
        return body_model()

    @property
    def body(self) -> SceneBody:
        """The true body with its mesh."""
        return body_model().pose(self.params)

    @property
    def occluded(self) -> float:
        """Share of the object's pixels that the person hides."""
        return 1.0 - float(self.visible.sum()) / max(int(self.full.sum()), 1)

    @property
    def symmetry(self) -> FloatArray:
        """(G, 3, 3) rotations that map the object to itself, continuous axes in steps of 5 degrees."""
        return self.thing.symmetry.rotations(72)

    @property
    def body_contact(self) -> ContactMap:
        """Vertices of the body within the band, as 0 and 1."""
        return ContactMap(
            (self.body_distance < BAND_M).astype(np.float64), self.params.topology, "truth", label=self.category
        )

    @property
    def object_contact(self) -> ContactMap:
        """Vertices of the object within the band, as 0 and 1."""
        return ContactMap(
            (self.object_distance < BAND_M).astype(np.float64), self.mesh.topology, "truth", label=self.category
        )


def make_scene(seed: int, split: Split | None = None) -> ClosedWorldScene:
    """Make the scene of a seed.

    Tries in which body and object sink into one another, do not touch where they should, or that no camera sees well
    are thrown away; the next sub-seed is drawn and the count is kept.

    Args:
        seed: 0 to 999 for tuning, from 1000 for reporting.
        split: ``tune`` and ``report`` have no category in common; None takes the seed's own half.

    Raises:
        InputError: a negative seed, an unknown split.
        MissingExtraError: open3d is not installed.
    """
    if seed < 0:
        raise InputError(f"scene seeds are 0 or more, got {seed}")
    split = split_of_seed(seed) if split is None else split
    recipe = recipe_of(seed, split)
    for redrawn in range(TRIES):
        rng = np.random.default_rng([VERSION, seed, redrawn])
        placed = attempt(recipe, rng)
        if judge(placed).holds:
            scene = _seen(placed, recipe, seed, split, redrawn, rng)
            if scene is not None:
                return scene
    raise RuntimeError(f"no scene of {recipe.interaction} with {recipe.objects[0]} came out of seed {seed}")


def _seen(
    placed: Placed, recipe: Recipe, seed: int, split: Split, redrawn: int, rng: np.random.Generator
) -> ClosedWorldScene | None:
    """The scene as a camera sees it, or None if none sees it well or the labels would be empty."""
    person, thing = _solids(placed)
    view = _camera(placed, person, thing, rng)
    if view is None:
        return None
    camera, Rc, tc = view
    near, far = thing.depth(camera, Rc, tc), person.depth(camera, Rc, tc)
    visible = np.isfinite(near) & (near < far)
    params, verts = _in_camera(placed, Rc, tc)
    mesh = Mesh(placed.mesh.verts, placed.mesh.faces, placed.thing.id)
    pose = ObjectPose(Rc @ placed.R, Rc @ placed.t + tc)
    on_body, on_object = placed.distance(placed.figure.verts), person.signed_distance(thing.mesh.verts)
    if recipe.touching and min((on_body < BAND_M).sum(), (on_object < BAND_M).sum()) < 4:
        return None
    hidden = 1 - visible.sum() / np.isfinite(near).sum()
    if hidden > MOST_OCCLUDED or min(on_body.min(), on_object.min()) <= -DEEPEST_M:
        return None  # what the smaller picture and the samples on the surfaces let through
    return ClosedWorldScene(
        seed, split, recipe.interaction, placed.thing.id, camera, params, verts, mesh, pose, visible, np.isfinite(near),
        np.isfinite(far) & ~visible, np.minimum(near, far), on_body, on_object,
        _correspond(mesh, pose, verts, np.flatnonzero(on_body < BAND_M)), redrawn,
    )  # fmt: skip


def _solids(placed: Placed) -> tuple[Solid, Solid]:
    person = Solid(Mesh(placed.figure.verts, body_model().faces))
    return person, Solid(placed.mesh.with_verts(placed.mesh.verts @ placed.R.T + placed.t))


def _in_camera(placed: Placed, Rc: FloatArray, tc: FloatArray) -> tuple[BodyParams, FloatArray]:
    """Body parameters and vertices in the camera frame: the root turns about the pelvis joint, so that moves along."""
    from scipy.spatial.transform import Rotation

    pelvis = placed.figure.rest_joints[0]
    turned = (Rotation.from_matrix(Rc) * Rotation.from_rotvec(placed.figure.rotvecs[0])).as_rotvec()
    params = placed.figure.params().replace(global_orient=turned, transl=Rc @ pelvis + tc - pelvis)
    return params, placed.figure.verts @ Rc.T + tc


def _camera(
    placed: Placed, person: Solid, thing: Solid, rng: np.random.Generator
) -> tuple[Camera, FloatArray, FloatArray] | None:
    """A camera that has the object wholly in the picture, not hidden too much and not too small."""
    shrink, heavy = 4, rng.random() < HEAVY[0] and bool(placed.recipe.touching)
    for number in range(VIEWS):
        focal = float(rng.uniform(*FOCAL_PX))
        camera = Camera.from_focal(focal, *SIZE)
        Rc, tc = _view(person.mesh.verts, thing.mesh.verts, rng)
        if not _framed(camera, person.mesh.verts @ Rc.T + tc, thing.mesh.verts @ Rc.T + tc):
            continue
        small = camera.resized(SIZE[0] // shrink, SIZE[1] // shrink)
        near, far = thing.depth(small, Rc, tc), person.depth(small, Rc, tc)
        full, seen = np.isfinite(near).sum(), (np.isfinite(near) & (near < far)).sum()
        if heavy and number < HEAVY[2] and seen > (1 - HEAVY[1]) * full:
            continue
        if seen * shrink**2 >= LEAST_PIXELS and seen >= (1 - MOST_OCCLUDED) * full:
            return camera, Rc, tc
    return None


def _view(person: FloatArray, thing: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """A camera frame somewhere round the two."""
    azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(-0.08, 0.45)
    away = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
    right = np.cross(-away, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    Rc = np.stack([right, np.cross(-away, right), -away])
    share = rng.uniform(0.2, 1.0)
    middle = share * (thing.min(0) + thing.max(0)) / 2 + (1 - share) * (person.min(0) + person.max(0)) / 2
    return Rc, np.array([*rng.uniform(-0.2, 0.2, 2), rng.uniform(*DISTANCE_M)]) - Rc @ middle


def _framed(camera: Camera, person_cam: FloatArray, thing_cam: FloatArray) -> bool:
    size = np.array([camera.width, camera.height])
    if min(person_cam[:, 2].min(), thing_cam[:, 2].min()) < 0.3:
        return False
    pixels, body = camera.project(thing_cam), camera.project(person_cam)
    inside = float(((body > 0) & (body < size)).all(1).mean())
    return bool((pixels > 3).all() and (pixels < size - 3).all()) and inside > 0.5


def _correspond(mesh: Mesh, pose: ObjectPose, verts: FloatArray, touching: IntArray) -> Correspondences:
    if len(touching) == 0:
        return Correspondences(touching.astype(np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, 3)))
    _, faces, bary = Solid(mesh).closest(pose.apply_inverse(verts[touching]))
    return Correspondences(touching.astype(np.int64), faces, bary)
