"""Named parts joined into one closed mesh with evenly spread vertices and a part label on every face."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from manifold3d import Manifold, OpType
from numpy.typing import NDArray

MAX_FACES = 4000
"""No library mesh has more faces than this: beyond it nothing is won for contact and fitting."""


@dataclass(frozen=True)
class Built:
    """A finished mesh of the library, in metres, bounding box centred at the origin."""

    verts: NDArray[np.float64]
    """(V, 3) metres, frame y up, +z front."""
    faces: NDArray[np.int64]
    """(F, 3) vertex numbers, outward."""
    part_names: tuple[str, ...]
    """Names of the parts, in the order in which they were added."""
    face_parts: NDArray[np.int64]
    """(F,) index into `part_names`."""


@dataclass
class Assembly:
    """A growing list of named solids; `build` joins them."""

    target_faces: int = 2400
    """Long edges are split until about this many faces are used, so that contact has vertices to live on."""
    longest_edge: float = 0.0
    """Metres; edges longer than this are split if `target_faces` allows; 0 means a twentieth of the diagonal."""
    solids: list[tuple[str, Manifold]] = field(default_factory=list)

    def add(self, part: str, *solids: Manifold) -> Assembly:
        """Add solids under a part's name."""
        self.solids.extend((part, s.as_original()) for s in solids)
        return self

    def cut(self, tool: Manifold, *parts: str) -> Assembly:
        """Take the tool's volume out of the named parts (of all, when none is named) added so far."""
        self.solids = [(name, (s - tool).as_original() if not parts or name in parts else s) for name, s in self.solids]
        return self

    def build(self) -> Built:
        """Join all solids into one closed surface, spread vertices, centre the bounding box.

        Raises:
            ValueError: when the result is empty or needs more than `MAX_FACES` faces.
        """
        joined = _without_cavities(Manifold.batch_boolean([s for _, s in self.solids], OpType.Add))
        low, high = np.split(np.asarray(joined.bounding_box()), 2)
        diagonal = float(np.linalg.norm(high - low))
        joined = joined.simplify(2e-4 * diagonal)
        joined = self._refined(joined, self.longest_edge or diagonal / 20)
        if not 0 < joined.num_tri() <= MAX_FACES:
            raise ValueError(f"the assembly has {joined.num_tri()} faces; expected 1 to {MAX_FACES}")
        return self._labelled(joined)

    def _refined(self, solid: Manifold, length: float) -> Manifold:
        """Split long edges; the wanted length is relaxed until the face budget holds."""
        budget = max(self.target_faces, min(int(1.4 * solid.num_tri()), MAX_FACES))
        for _ in range(24):
            fine = solid.refine_to_length(length)
            if fine.num_tri() <= budget:
                return fine
            length *= 1.2
        return solid

    def _labelled(self, solid: Manifold) -> Built:
        mesh = solid.to_mesh64()
        names = tuple(dict.fromkeys(name for name, _ in self.solids))
        part_of = {s.original_id(): names.index(name) for name, s in self.solids}
        ends = np.asarray(mesh.run_index, dtype=np.int64) // 3
        labels = np.zeros(int(ends[-1]), dtype=np.int64)
        for start, end, source in zip(ends[:-1], ends[1:], mesh.run_original_id, strict=True):
            labels[start:end] = part_of[int(source)]
        used = np.unique(labels)  # a part wholly inside another leaves no face
        verts = np.asarray(mesh.vert_properties, dtype=np.float64)[:, :3]
        return Built(
            verts=verts - (verts.max(axis=0) + verts.min(axis=0)) / 2,
            faces=np.asarray(mesh.tri_verts, dtype=np.int64),
            part_names=tuple(names[k] for k in used),
            face_parts=np.searchsorted(used, labels),
        )


def _without_cavities(solid: Manifold) -> Manifold:
    """Fill closed hollows, which nothing can touch and which are inside-out shells in the mesh."""
    shells = solid.decompose()
    outer = [shell for shell in shells if shell.volume() > 0]
    return solid if len(outer) == len(shells) else Manifold.batch_boolean(outer, OpType.Add)


Maker = Callable[..., Assembly]


@dataclass(frozen=True)
class Variant:
    """One parametric mesh: which function makes it, with which arguments."""

    category: str
    """Name of the category it belongs to."""
    name: str
    """Name within the category; the object's id is `category/name`."""
    make: Maker
    """Function that returns the assembly."""
    arguments: Mapping[str, object]
    """Keyword arguments of the function."""
    symmetry: str | None
    """Symmetry of this mesh (see `Symmetry.parse`); None: the category's."""

    @property
    def id(self) -> str:
        """The object's id in the library."""
        return f"{self.category}/{self.name}"

    def build(self) -> Built:
        """Make the mesh."""
        return self.make(**self.arguments).build()


REGISTRY: dict[str, Variant] = {}
"""Every variant by id, filled by the modules of this package when they are imported."""


def makes(category: str, symmetry: str | None = None, **variants: Mapping[str, object]) -> Callable[[Maker], Maker]:
    """Register a function as the maker of variants of a category; `symmetry` holds for all of these."""

    def register(make: Maker) -> Maker:
        for name, arguments in variants.items():
            variant = Variant(category, name, make, arguments, symmetry)
            if variant.id in REGISTRY:
                raise ValueError(f"two generators make {variant.id}")
            REGISTRY[variant.id] = variant
        return make

    return register
