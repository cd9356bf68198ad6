"""From any mesh to an object that a fit can take: repaired, upright, metric, with its symmetry and distances.

What takes long depends on the triangles alone (and the category's name) and is kept on disk; size and name are put on
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, as_floats
from hoirecon.data.objects.catalog import Category, get_category
from hoirecon.data.objects.library import LibraryObject
from hoirecon.data.objects.orientation import OrientationConfig, guess_orientation
from hoirecon.data.objects.prepare import read_triangles
from hoirecon.data.objects.repair import RepairConfig, repair_triangles
from hoirecon.data.objects.signed_distance import SignedGrid, signed_grid
from hoirecon.data.objects.size import MetricSize, SizeTeller, metric_size
from hoirecon.data.objects.symmetry import Symmetry
from hoirecon.data.objects.symmetry_detection import SymmetryConfig, detect_symmetry
from hoirecon.data.objects.usable_cache import ObjectCache, content_key
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

VERSION = "usable-1"
"""Changed whenever the same mesh would come out otherwise."""
UNIT_SIGMA = 0.05
"""Log-sigma of a size that a file in a known unit has."""
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
STANDING_GROUPS = ("furniture", "vehicles")
"""Groups whose members stand on the ground in nearly all photographs; what is held is turned in every way."""

Unit = Literal["m", "cm", "mm", "none"]


@dataclass(frozen=True)
class UsableConfig:
    """How a mesh becomes an object."""

    repair: RepairConfig = field(default_factory=RepairConfig)
    """Closing and decimating."""
    orientation: OrientationConfig = field(default_factory=OrientationConfig)
    """Finding up and front."""
    symmetry: SymmetryConfig = field(default_factory=SymmetryConfig)
    """Finding rotations that change nothing."""
    grid_nodes: int = 64
    """Nodes of the signed distances along the longest side; 0 for none."""


@dataclass(frozen=True)
class UsableObject:
    """An object that can be fitted, wherever its mesh came from.

    Frame: y up, +z front, origin at the centre of the bounding box, metres.
    """

    mesh: Mesh
    """Closed, at its most likely size."""
    name: str
    """What to call it."""
    size: MetricSize
    """Its longest side."""
    symmetry: Symmetry = field(default_factory=Symmetry)
    """Rotations under which it looks the same."""
    category: str | None = None
    """Canonical name of the library's category, if it is one."""
    up_obj: tuple[float, float, float] | None = None
    """Axis that usually points up in a photograph; None for what is held."""
    initial_rotations: FloatArray | None = None
    """(N, 3, 3) first guesses ``R_cam_obj``, best first."""
    grid: SignedGrid | None = None
    """Signed distances round the mesh."""
    T_obj_source: FloatArray = field(default_factory=lambda: np.eye(4))
    """(4, 4) similarity from the source's frame and unit to this frame: where its texture or its pose belong."""
    source: str = ""
    """Where the mesh is from: a file, an address, an id."""
    licence: str = ""
    """Under which licence; empty where nobody said."""
    author: str = ""
    """Who made it, if known."""
    score: float | None = None
    """How well it matched, if it was looked for."""
    notes: tuple[str, ...] = ()
    """What was mended or guessed, in words."""

    def __post_init__(self) -> None:
        if self.initial_rotations is not None:
            rotations = as_floats(self.initial_rotations, ("N", 3, 3), f"initial_rotations of {self.name}")
            object.__setattr__(self, "initial_rotations", rotations)

    @property
    def size_prior(self) -> tuple[float, float]:
        """Mean and standard deviation of the natural logarithm of the scale that the fit may give it."""
        return float(np.log(self.size.longest / self.mesh.extents.max())), self.size.log_sigma

    def fit_arguments(self) -> dict[str, Any]:
        """What ``hoirecon.fitting.ObjectToFit`` takes: ``ObjectToFit(**thing.fit_arguments())``."""
        names = ("mesh", "name", "size_prior", "up_obj", "initial_rotations")
        return {name: getattr(self, name) for name in names}

    def with_source_rotations(self, R_cam_source: Any) -> UsableObject:
        """With first guesses that are known for the mesh as its source has it, (N, 3, 3) or (3, 3)."""
        given = as_floats(np.asarray(R_cam_source, dtype=np.float64).reshape(-1, 3, 3), ("N", 3, 3), "R_cam_source")
        turn = self.T_obj_source[:3, :3]
        R_obj_source = turn / np.cbrt(np.linalg.det(turn))
        return replace(self, initial_rotations=given @ R_obj_source.T)


def usable_object(
    source: Mesh | str | Path,
    label: str | None = None,
    *,
    size: MetricSize | float | SizeTeller | None = None,
    unit: Unit = "none",
    config: UsableConfig | None = None,
    cache: ObjectCache | None = None,
) -> UsableObject:
    """Make any mesh an object that a fit can take.

    Args:
        source: a mesh, or a file (obj, ply, stl, off, glb).
        label: what it is; a name of the library brings size, up and front.
        size: longest side in metres, or a callable that is asked about the label; overrides everything.
        unit: unit of the mesh's coordinates if it can be trusted; with "none" the size comes from the label.
        config: how it is repaired and turned.
        cache: where long work is kept; ``ObjectCache(max_bytes=0)`` keeps nothing.

    Raises:
        InputError: nothing usable in the mesh, or a size that is not plausible.
        MissingExtraError: open3d is not installed (extra "render").

    Example:
        >>> import trimesh
        >>> drum = trimesh.creation.cylinder(1.0, 2.0)  # z up, in no unit
        >>> thing = usable_object(Mesh(drum.vertices, drum.faces), "barrel", cache=ObjectCache(max_bytes=0))
        >>> float(thing.mesh.extents.max().round(2)), thing.symmetry.continuous, thing.category
        (0.87, ('y',), 'barrel')
    """
    config, cache = config or UsableConfig(), cache or ObjectCache()
    if unit not in (*METRES, "none"):
        raise InputError(f"unit is {unit!r}, expected one of 'm', 'cm', 'mm', 'none'")
    if isinstance(source, Mesh):
        verts, faces, name = source.verts, source.faces, source.name
    else:
        verts, faces = read_triangles(Path(source))
        name = Path(source).name
    category = _category(label)
    shape = _cached_shape(verts, faces, name, category, config, cache)
    return _sized(shape, label or name, category, size, unit, "" if isinstance(source, Mesh) else str(source))


def usable_from_library(obj: LibraryObject, size: MetricSize | float | SizeTeller | None = None) -> UsableObject:
    """An object of the library, which needs nothing made good."""
    name = obj.category.name
    return UsableObject(
        replace(obj.mesh, name=name),
        name,
        metric_size(name, size),
        obj.symmetry,
        name,
        _usual_up(obj.category),
        source=obj.id,
        licence=obj.licence,
        author=obj.author,
    )


@dataclass(frozen=True)
class _Shape:
    """What depends on the triangles alone: longest side 1, y up."""

    mesh: Mesh
    symmetry: Symmetry
    grid: SignedGrid | None
    T_unit_source: FloatArray
    notes: tuple[str, ...]


def _cached_shape(
    verts: FloatArray, faces: Any, name: str, category: Category | None, config: UsableConfig, cache: ObjectCache
) -> _Shape:
    kind = category.name if category else ""
    key = content_key(VERSION, (config, kind), [np.asarray(verts), np.asarray(faces)])
    found = cache.read(key)
    shape = _restored(found, name) if found is not None else None
    if shape is None:
        shape = _made(verts, faces, name, category, config)
        cache.write(key, *_stored(shape))
    return shape


def _made(verts: FloatArray, faces: Any, name: str, category: Category | None, config: UsableConfig) -> _Shape:
    repaired = repair_triangles(verts, faces, name, config.repair)
    mesh, notes = repaired.mesh, list(repaired.notes)
    turn = guess_orientation(mesh, category.name if category else None, config.orientation)
    if not np.array_equal(turn.R_obj_source, np.eye(3)):
        notes.append(f"turned to y up, z front (by {turn.evidence}, margin {turn.margin:.3f})")
    turned = mesh.verts @ turn.R_obj_source.T
    center = (turned.max(0) + turned.min(0)) / 2
    scale = 1 / float(np.ptp(turned, axis=0).max())
    unit = Mesh((turned - center) * scale, mesh.faces, name=name)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = scale * turn.R_obj_source, -scale * center
    grid = signed_grid(unit, nodes=config.grid_nodes, margin=0.03) if config.grid_nodes else None
    return _Shape(unit, detect_symmetry(unit, config.symmetry), grid, T, tuple(notes))


def _sized(
    shape: _Shape,
    label: str,
    category: Category | None,
    size: MetricSize | float | SizeTeller | None,
    unit: Unit,
    source: str,
) -> UsableObject:
    if size is None and unit != "none":
        stated = METRES[unit] / float(np.cbrt(np.linalg.det(shape.T_unit_source[:3, :3])))
        metric = MetricSize(stated, UNIT_SIGMA, "unit")
    else:
        metric = metric_size(label, size)
    scale = metric.longest
    grid = shape.grid
    if grid is not None:
        grid = SignedGrid((grid.values * scale).astype(np.float32), grid.low * scale, grid.spacing * scale)
    scaling = np.diag([scale, scale, scale, 1.0])
    return UsableObject(
        Mesh(shape.mesh.verts * scale, shape.mesh.faces, name=label),
        label,
        metric,
        shape.symmetry,
        category.name if category else None,
        _usual_up(category),
        grid=grid,
        T_obj_source=scaling @ shape.T_unit_source,
        source=source,
        notes=shape.notes,
    )


def _category(label: str | None) -> Category | None:
    try:
        return get_category(label) if label else None
    except InputError:
        return None  # a name we do not know is fine when the mesh is there


def _usual_up(category: Category | None) -> tuple[float, float, float] | None:
    return (0.0, 1.0, 0.0) if category is not None and category.group in STANDING_GROUPS else None


def _stored(shape: _Shape) -> tuple[dict[str, Any], dict[str, Any]]:
    arrays: dict[str, Any] = {"verts": shape.mesh.verts, "faces": shape.mesh.faces, "T": shape.T_unit_source}
    if shape.grid is not None:
        arrays |= {"grid": shape.grid.values, "low": shape.grid.low, "spacing": shape.grid.spacing}
    discrete = [list(pair) for pair in shape.symmetry.discrete]
    return arrays, {
        "notes": list(shape.notes),
        "continuous": list(shape.symmetry.continuous),
        "discrete": discrete,
    }


def _restored(found: tuple[dict[str, Any], dict[str, Any]], name: str) -> _Shape | None:
    arrays, meta = found
    read: Callable[[str], Any] = arrays.__getitem__
    try:
        grid = SignedGrid(read("grid"), read("low"), read("spacing")) if "grid" in arrays else None
        pairs = tuple((str(axis), int(order)) for axis, order in meta["discrete"])
        symmetry = Symmetry(tuple(str(axis) for axis in meta["continuous"]), pairs)
        mesh = Mesh(read("verts"), read("faces"), name=name)
        return _Shape(mesh, symmetry, grid, read("T"), tuple(str(note) for note in meta["notes"]))
    except (KeyError, TypeError, ValueError):
        return None  # another program's file, or damaged: made anew
