"""A dataset as a list of ids and a function that reads one sample, and the checks that every reader makes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.data.datasets.folder_checks import Finding, MissingFile, fingerprint
from hoirecon.data.datasets.samples import Sample
from hoirecon.data.datasets.topologies import STAND_IN, topology_of_size
from hoirecon.errors import InputError, TopologyError
from hoirecon.mesh import Mesh
from hoirecon.mesh_files import read_obj
from hoirecon.pose import ObjectPose

LONGEST_OBJECT_M = 10.0
"""An object whose longest side has more of them is not in metres."""
UNFORESEEN = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, OSError, RecursionError)
"""What values, keys and files that are not as a format states make Python raise."""
FARTHEST_M = 1000.0
"""A translation with more of them is not in metres: lenses of the field's files go to a few dozen."""


@dataclass(frozen=True, eq=False)
class ListedDataset:
    """A :class:`~hoirecon.data.datasets.samples.Dataset` made of ids and a function."""

    name: str
    version: str
    split: str
    licence: str
    ids: tuple[str, ...]
    """Ids of the samples, in the dataset's order."""
    read: Callable[[int], Sample]
    """Reads the sample of a place in the list."""
    root: Path
    label_files: tuple[Path, ...]
    """Files that the fingerprint is made of."""
    stand_in: bool = False
    problems: tuple[Finding, ...] = ()
    """What lies in the folder but is no sample, e.g. frames without a registration: counted, never silent."""

    def __post_init__(self) -> None:
        if len(set(self.ids)) < len(self.ids):
            twice = sorted({i for i in self.ids if self.ids.count(i) > 1})[:3]
            raise InputError(f"{self.root}: ids stand twice: {', '.join(twice)}: this copy is damaged or merged")

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Sample]:
        return (self._whole(k) for k in range(len(self.ids)))

    def __getitem__(self, index: int) -> Sample:
        return self._whole(range(len(self.ids))[index])

    def _whole(self, place: int) -> Sample:
        with damage_named(f"sample '{self.ids[place]}' of {self.root}"):
            return self.read(place)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the label files' names, sizes and contents, and of the ids."""
        return fingerprint(self.root, self.label_files, "\0".join((self.version, self.split, *self.ids)))


@contextmanager
def damage_named(where: str) -> Iterator[None]:
    """What a reader did not foresee of a damaged file, as an error that names the place.

    Raises:
        InputError: any error of values, keys or files within.
    """
    try:
        yield
    except InputError:
        raise
    except UNFORESEEN as err:
        raise InputError(
            f"{where} cannot be read ({type(err).__name__}: {str(err)[:120]}): is the copy whole?"
        ) from err


def body_topology(count: int, stand_in: bool, where: str) -> str:
    """Name of the body with so many vertices; in a folder of stand-ins any mesh may be one.

    Raises:
        TopologyError: no body of the field has that many.
    """
    if stand_in:
        return f"{STAND_IN}{count}"
    try:
        return topology_of_size(count)
    except TopologyError as err:
        raise TopologyError(f"{where}: {err}: is it a copy of this dataset?") from None


# --------------------------------------------------------------------------------------------------------------- checks
def need(held: Any, keys: Collection[str], where: str) -> Mapping[str, Any]:
    """A dictionary that has the keys.

    Raises:
        InputError: not a dictionary; keys that are missing, named with those that are there.
    """
    if not isinstance(held, Mapping):
        raise InputError(f"{where} holds a {type(held).__name__}, expected a dictionary with {', '.join(keys)}")
    missing = [key for key in keys if key not in held]
    if missing:
        there = ", ".join(str(k) for k in list(held)[:12]) or "nothing"
        raise InputError(f"{where} lacks {', '.join(missing)}; it has {there}: is this another version of the data?")
    return held


def rotation(value: Any, where: str) -> FloatArray:
    """(3, 3) rotation; what is wrong with others is said.

    Raises:
        InputError: left-handed, scaled, or not orthogonal.
    """
    R = as_floats(value, (3, 3), f"the rotation of {where}")
    det = float(np.linalg.det(R))
    if det < 0:
        raise InputError(f"the rotation of {where} is left-handed (det {det:.4f}): it mirrors; negate one of its axes")
    if not np.allclose(R @ R.T, np.eye(3), atol=1e-4):
        raise InputError(f"the rotation of {where} is none (det {det:.4f}, R R^T is not 1): keep the scale apart")
    return R


def rotation_of_vector(value: Any, where: str) -> FloatArray:
    """(3, 3) rotation of a rotation vector (axis times angle, radians)."""
    from scipy.spatial.transform import Rotation

    vector = as_floats(np.ravel(np.asarray(value, dtype=np.float64)), (3,), f"the rotation vector of {where}")
    found: FloatArray = Rotation.from_rotvec(vector).as_matrix()
    return found


def translation(value: Any, where: str) -> FloatArray:
    """(3,) metres, given as (3,) or (1, 3).

    Raises:
        InputError: not three numbers, NaN, or so far away that it cannot be metres.
    """
    t = as_floats(np.ravel(np.asarray(value)), (3,), f"the translation of {where}")
    if np.abs(t).max() > FARTHEST_M:
        raise InputError(f"the translation of {where} is {np.round(t, 1).tolist()}: in millimetres? give metres")
    return t


def in_metres(mesh: Mesh, where: str) -> Mesh:
    """The mesh, if its size can be that of a thing or person in metres.

    Raises:
        InputError: longer than 10 m: a copy in millimetres.
    """
    longest = float(mesh.extents.max())
    if longest > LONGEST_OBJECT_M:
        raise InputError(f"{where} is {longest:.4g} long, expected metres: in millimetres? multiply by 0.001")
    return mesh


def read_mesh_file(path: Path) -> Mesh:
    """An OBJ or PLY in metres with its vertices in the file's own order.

    Raises:
        InputError: missing, damaged, or longer than 10 m.
    """
    if path.suffix.lower() == ".obj":
        return in_metres(read_obj(path), str(path))
    from hoirecon.data.objects.prepare import read_triangles

    if not path.is_file():
        raise MissingFile(f"{path} does not exist")
    verts, faces = read_triangles(path)
    return in_metres(Mesh(verts, faces, path.stem), str(path))


def kept_mesh_file(path: Path) -> Mesh:
    """:func:`read_mesh_file`, kept for the next sample as long as the file is the same."""
    if not path.is_file():
        raise MissingFile(f"{path} does not exist")
    return _kept(path, path.stat().st_mtime_ns, path.stat().st_size)


@lru_cache(maxsize=64)
def _kept(path: Path, changed: int, size: int) -> Mesh:
    return read_mesh_file(path)


def first_file(*paths: Path) -> Path | None:
    """The first of the paths that is a file, or None."""
    return next((path for path in paths if path.is_file()), None)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture the right way up, as :func:`~hoirecon.images.read_image` gives it; from its head.

    Raises:
        InputError: missing or not a picture.
    """
    from PIL import Image

    from hoirecon.images import LYING, orientation_of

    if not path.is_file():
        raise InputError(f"{path} does not exist")
    try:
        with Image.open(path) as picture:
            lying = orientation_of(picture) in LYING
            return (picture.height, picture.width) if lying else (picture.width, picture.height)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as err:
        raise InputError(f"{path} is not a readable picture: {err}") from err


def moved(pose: ObjectPose, R: FloatArray, t: FloatArray) -> ObjectPose:
    """The pose in another frame: ``x_new = R x_old + t``."""
    return ObjectPose(R @ pose.R, R @ pose.t + t, pose.s)


def rigid_between(points: FloatArray, placed: FloatArray) -> tuple[ObjectPose, float]:
    """Pose that takes points (N, 3) onto their placed copies, in closed form, and the largest distance left, metres.

    Source: Kabsch, "A solution for the best rotation to relate two sets of vectors", 1976.
    """
    a, b = points.mean(0), placed.mean(0)
    u, _, vt = np.linalg.svd((placed - b).T @ (points - a))
    R = u @ np.diag([1.0, 1.0, float(np.sign(np.linalg.det(u @ vt)))]) @ vt
    pose = ObjectPose(R, b - R @ a)
    return pose, float(np.linalg.norm(pose.apply(points) - placed, axis=1).max())
