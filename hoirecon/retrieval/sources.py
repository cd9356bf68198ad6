"""Where an object's mesh comes from: the user, an index, or a model that makes one; all give the same thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.data.objects.library import load_object
from hoirecon.data.objects.size import MetricSize, SizeTeller, metric_size
from hoirecon.data.objects.usable import Unit, UsableConfig, UsableObject, usable_from_library, usable_object
from hoirecon.data.objects.usable_cache import ObjectCache
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.retrieval.generated import GeneratedShape, ImageTo3D
from hoirecon.retrieval.index.object_index import Hit
from hoirecon.retrieval.index.records import ObjectRecord
from hoirecon.retrieval.protocols import ImageQuery

DEPTH_SIGMA = 0.3
"""Log-sigma of the size that a model's own depth gives a generated shape."""

LIBRARY = "library:"
"""What sources of the object library's meshes begin with; their id follows ("library:chair/plain")."""

Fetched = Mesh | str | Path | UsableObject
"""What fetching a record may give; a path is read, a usable object taken as it is."""
Search = Callable[[ImageQuery, int], Sequence[Hit]]
"""Query and k to hits, best first: ``lambda query, k: index.search_with(encoder, [query], k)[0]``."""


@runtime_checkable
class ObjectSource(Protocol):
    """Gives objects for what is looked for, ready for the fit."""

    def objects(self, query: ImageQuery, k: int = 1) -> list[UsableObject]:
        """At most ``k`` objects, best first; at least one, or an :class:`InputError` that says why not."""
        ...


@dataclass(frozen=True)
class Preparation:
    """What the three sources have in common."""

    size: MetricSize | float | SizeTeller | None = None
    """Longest side in metres, or who is asked about the name; None: the category's usual size."""
    config: UsableConfig = field(default_factory=UsableConfig)
    """How meshes are repaired and turned."""
    cache: ObjectCache = field(default_factory=ObjectCache)
    """Where long work is kept."""


@dataclass(frozen=True)
class GivenMesh:
    """The user's own mesh.

    Example:
        >>> import trimesh
        >>> box = trimesh.creation.box((0.3, 0.2, 0.1))
        >>> keep = Preparation(cache=ObjectCache(max_bytes=0))
        >>> source = GivenMesh(Mesh(box.vertices, box.faces), unit="m", preparation=keep)
        >>> thing = source.objects(ImageQuery(label="parcel"))[0]
        >>> thing.name, round(thing.size.longest, 3), thing.size.evidence
        ('parcel', 0.3, 'unit')
    """

    mesh: Mesh | str | Path
    """Or its file."""
    unit: Unit = "none"
    """Unit of its coordinates; with "none" the name says how large it is."""
    preparation: Preparation = field(default_factory=Preparation)
    """Size, repair, cache."""
    licence: str = ""
    """Of the mesh, if it is known."""

    def objects(self, query: ImageQuery, k: int = 1) -> list[UsableObject]:
        """The mesh, whatever the photograph."""
        check_count(k)
        p = self.preparation
        made = usable_object(self.mesh, query.label, size=p.size, unit=self.unit, config=p.config, cache=p.cache)
        return [replace(made, licence=self.licence)]


@dataclass(frozen=True)
class RetrievedObjects:
    """Objects that an index finds."""

    search: Search
    """Finds records."""
    fetch: Callable[[ObjectRecord], Fetched] | None = None
    """Brings the mesh of a record; None: its source is a path, or an id of the library ("library:chair/plain")."""
    view_rotations: FloatArray | None = None
    """(R, 3, 3) R_cam_source of each row of a gallery of views: the best row is then the first guess."""
    preparation: Preparation = field(default_factory=Preparation)
    """Size, repair, cache."""

    def objects(self, query: ImageQuery, k: int = 1) -> list[UsableObject]:
        """The best hits that can be used; one that cannot makes room for the next.

        Raises:
            InputError: nothing was found, or nothing of it can be used; the message has the first reason.
        """
        check_count(k)
        hits = self.search(query, looked_at(k))
        makers = [(hit.record.id, partial(self._usable, hit, query.label)) for hit in hits]
        return first_usable(makers, k, query.label)

    def _usable(self, hit: Hit, label: str | None) -> UsableObject:
        if self.view_rotations is not None and hit.row < len(self.view_rotations):
            hit = replace(hit, rotations=self.view_rotations[hit.row][None])
        return usable_hit(hit, label, self.fetch, self.preparation)


@dataclass(frozen=True)
class GeneratedObjects:
    """Objects that an image-to-3D model makes from the photograph."""

    model: ImageTo3D
    """Makes them; it is called once for each query."""
    preparation: Preparation = field(default_factory=Preparation)
    """Size, repair, cache."""

    def objects(self, query: ImageQuery, k: int = 1) -> list[UsableObject]:
        """One object, with the pose that the model saw it in as the first guess."""
        check_count(k)
        shape = self.model.generate(query)
        p = self.preparation
        size = p.size if p.size is not None else _generated_size(shape, query.label)
        made = usable_object(shape.mesh, query.label, size=size, config=p.config, cache=p.cache)
        if shape.R_cam_source is not None:
            made = made.with_source_rotations(shape.R_cam_source)
        return [replace(made, source=shape.model, licence=shape.licence)]


def _generated_size(shape: GeneratedShape, label: str | None) -> MetricSize | None:
    """What the model's depth says, with what the name says; None where the model does not say."""
    if shape.scale is None:
        return None
    longest = float(shape.mesh.extents.max()) * shape.scale
    try:
        by_depth = MetricSize(longest, DEPTH_SIGMA, "generated")
    except InputError:
        return None  # depth gone astray: the name alone counts
    by_name = metric_size(label)
    return by_depth if by_name.evidence == "unknown" else by_name.with_other(by_depth)


def looked_at(k: int) -> int:
    """How many hits to ask for where ``k`` objects are wanted and some may not be usable."""
    return 2 * k + 3


def first_usable(
    makers: Iterable[tuple[str, Callable[[], UsableObject]]], k: int, label: str | None
) -> list[UsableObject]:
    """The first ``k`` objects that can be made; one that cannot makes room for the next and is named in the notes.

    Args:
        makers: id of each object and what makes it, best first.
        k: at most so many.
        label: what was looked for, for the error.

    Raises:
        InputError: there is none, or none can be used; the message has the first reason.
    """
    found: list[UsableObject] = []
    reasons: list[str] = []
    for name, make in makers:
        try:
            found.append(make())
        except InputError as err:
            reasons.append(f"{name}: {err}")
        if len(found) == k:
            break
    if not found:
        reason = f" ({reasons[0]})" if reasons else ""
        raise InputError(f"no mesh for {label or 'the object'} was found{reason}: give a mesh or a name")
    return [replace(found[0], notes=(*found[0].notes, *(f"not usable: {r}" for r in reasons))), *found[1:]]


def usable_hit(
    hit: Hit, label: str | None, fetch: Callable[[ObjectRecord], Fetched] | None, preparation: Preparation
) -> UsableObject:
    """The object of one hit, with the hit's score, licence, source and rotations.

    Args:
        hit: what was found.
        label: what was looked for; None takes the record's label, which then says the size.
        fetch: brings the mesh of the record; None: its source is a path or an id of the library.
        preparation: size, repair, cache.

    Raises:
        InputError: the mesh cannot be brought or used.
    """
    record, p = hit.record, preparation
    name = label or record.label
    fetched = fetch(record) if fetch is not None else _from_source(record)
    if isinstance(fetched, UsableObject):
        made = fetched if p.size is None else replace(fetched, size=metric_size(name, p.size))
    else:
        made = usable_object(fetched, name, size=p.size, config=p.config, cache=p.cache)
    if hit.rotations is not None:
        made = made.with_source_rotations(hit.rotations)
    return replace(
        made,
        name=name or made.name,
        source=record.source or made.source or record.id,
        licence=record.licence or made.licence,
        score=hit.score,
    )


def _from_source(record: ObjectRecord) -> Fetched:
    source = record.source or ""
    if source.startswith(LIBRARY):
        return usable_from_library(load_object(source.removeprefix(LIBRARY)))
    if not source or "://" in source:
        raise InputError(f"its mesh lies at {source or 'no known place'}: give `fetch`, which brings meshes of records")
    return Path(source)


def check_count(k: int) -> None:
    """Raise :class:`InputError` unless ``k`` objects can be asked for."""
    if not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k is {k!r}, expected a whole number of at least 1")
