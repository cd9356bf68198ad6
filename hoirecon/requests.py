"""What the user asks for, made into what every stage needs: objects with meshes, priors, parts and places.

A mesh that the user gives is prepared at once. Which of the library's meshes (or of an index) is taken is decided when
the object's mask is there: a retriever looks at it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray
from hoirecon.contact.protocols import ContactObject
from hoirecon.data.objects import LibraryObject, get_category, list_categories, load_object, prepare_mesh
from hoirecon.data.objects.catalog import normalise
from hoirecon.data.objects.prepare import FORMATS, unit_scale
from hoirecon.data.objects.usable import UsableObject, usable_from_library
from hoirecon.errors import InputError
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.mesh import Mesh
from hoirecon.observation import Box, Observation
from hoirecon.perception.protocols import MaskPrompt
from hoirecon.retrieval.hits import FoundObject
from hoirecon.retrieval.mesh_folders import label_of
from hoirecon.retrieval.protocols import ImageQuery
from hoirecon.retrieval.sources import LIBRARY, GivenMesh, ObjectSource

if TYPE_CHECKING:
    from hoirecon.perception.text_boxes import TextBoxFinder

ObjectMesh = Mesh | str | Path | UsableObject | FoundObject | ObjectSource
"""What may be given as an object's mesh: a mesh or its file, an object that is ready or was found, or whoever brings
one when the mask is known (a ``Retriever``, ``GeneratedObjects``)."""

MESH_UNITS = ("m", "cm", "mm", "auto", "none")
"""What may be said of the unit of an object's mesh."""

MISSPELT = 0.8
"""A name that is not known but as similar to a known one as this (``difflib``'s ratio) is taken for a slip."""


@dataclass(frozen=True)
class ObjectRequest:
    """One object to reconstruct: what it is and where it is seen."""

    name: str
    """Name or alias of a category (``barbell``), an id (``chair/plain``), or, with ``mesh``, anything."""
    box: Box | None = None
    """x, y, width, height in pixels round the visible object."""
    mask: Any = None
    """(H, W) mask of visible pixels, or the path of a mask file; taken as it is."""
    prompt: MaskPrompt | None = None
    """Box, points and strokes for the segmenter."""
    mesh: ObjectMesh | None = None
    """The user's own mesh (a trimesh becomes a :class:`Mesh` with the same vertices), a hit, or a source of meshes;
    None: ``Retriever.default()`` chooses among the library's."""
    mesh_unit: Literal["m", "cm", "mm", "auto", "none"] = "m"
    """Unit of the mesh or its file; ``auto`` guesses it from the size. With ``none`` the name says how large it is, and
    the mesh is also repaired and turned upright."""

    def __post_init__(self) -> None:
        if self.mesh_unit not in MESH_UNITS:
            raise InputError(f"mesh_unit of the {self.name} is {self.mesh_unit!r}: give one of {', '.join(MESH_UNITS)}")
        if self.mesh is not None and not isinstance(self.mesh, ObjectMesh):
            object.__setattr__(self, "mesh", _from_other(self.mesh, self.name))

    def where(self) -> Any:
        """The prompt for perception.

        Raises:
            InputError: none or several of box, mask and prompt are given.
        """
        given = [value for value in (self.box, self.mask, self.prompt) if value is not None]
        if len(given) != 1:
            raise InputError(
                f"say where the {self.name} is by exactly one of box, mask or prompt; {len(given)} were given"
            )
        return given[0]


@dataclass(frozen=True)
class Thing:
    """An object as every stage needs it."""

    name: str
    contact: ContactObject
    to_fit: ObjectToFit
    symmetry: FloatArray
    """(N, 3, 3) rotations under which it looks the same, the identity first."""
    licence: str = ""
    author: str = ""


def read_requests(
    objects: str | Path | UsableObject | FoundObject | ObjectRequest | Sequence[ObjectRequest],
    box: Any,
    mask: Any,
    prompt: Any,
    mesh: Any,
) -> list[ObjectRequest]:
    """The requests of a call, whether it named one object, gave one, or listed several.

    Raises:
        InputError: nothing is asked for, or places are given beside a list.
    """
    if isinstance(objects, str | Path | UsableObject | FoundObject):
        return [_one_request(objects, box, mask, prompt, mesh)]
    given = [objects] if isinstance(objects, ObjectRequest) else objects
    requests = list(given) if isinstance(given, Sequence) else []
    if not requests or not all(isinstance(request, ObjectRequest) for request in requests):
        raise InputError(
            f"give the name of an object (its own mesh goes with the name, as object_mesh), or a list of "
            f"ObjectRequest(name, box=...) with at least one; got {_kinds(objects)}"
        )
    if any(value is not None for value in (box, mask, prompt, mesh)):
        raise InputError("object_box, object_mask, object_prompt and object_mesh go with one object's name only")
    return requests


def _kinds(value: Any) -> str:
    """What was given, by its kind; of a list also the kinds in it."""
    kind = type(value).__name__
    held = sorted({type(v).__name__ for v in value}) if isinstance(value, Sequence) else []
    return f"{kind} of {', '.join(held)}" if held else kind


def _from_other(mesh: Any, name: str) -> Mesh:
    """A mesh of trimesh, or of another library that says ``vertices`` and ``faces``, as ours."""
    if not (hasattr(mesh, "vertices") and hasattr(mesh, "faces")):
        raise InputError(
            f"the mesh of the {name} is of type {type(mesh).__name__}: give a Mesh, a trimesh, a mesh file, a hit or a "
            f"source of meshes"
        )
    return Mesh(mesh.vertices, mesh.faces, name)


def _one_request(thing: Any, box: Any, mask: Any, prompt: Any, mesh: Any) -> ObjectRequest:
    is_file = isinstance(thing, str | Path) and Path(thing).suffix.lower() in FORMATS
    if isinstance(thing, str) and not is_file:
        return ObjectRequest(thing, box, mask, prompt, mesh)
    if mesh is not None:
        raise InputError("the object is given twice: give its mesh or file first, or its name and object_mesh")
    if is_file:
        return ObjectRequest(label_of(Path(thing).name) or Path(thing).stem, box, mask, prompt, thing, "none")
    if isinstance(thing, Path):
        raise InputError(f"{thing} is no mesh file ({', '.join(FORMATS)}): give one, or an object's name")
    name = thing.name if isinstance(thing, UsableObject) else thing.label or thing.id
    return ObjectRequest(name, box, mask, prompt, thing)


def prepare_things(requests: Sequence[ObjectRequest]) -> list[Thing]:
    """All objects, with names that tell them apart ("cup", "cup 2"); of the library, each category's usual mesh.

    Raises:
        InputError: unknown name, or a mesh that cannot be used.
    """
    return told_apart([prepare_thing(request) for request in requests])


def told_apart(things: Sequence[Thing]) -> list[Thing]:
    """The same things; those of equal names get numbers."""
    asked, told = {thing.name for thing in things}, list[str]()
    for thing in things:
        numbered = (f"{thing.name} {n}" for n in count(2))
        free = (name for name in numbered if name not in asked and name not in told)
        told.append(next(free) if thing.name in told else thing.name)
    return [t if t.name == name else replace(t, name=name) for t, name in zip(things, told, strict=True)]


def prepare_thing(request: ObjectRequest) -> Thing:
    """Load and prepare an object of the library, or the user's own mesh.

    Raises:
        InputError: unknown name, or a mesh that cannot be used.
    """
    if request.mesh is None:
        return _library_thing(load_object(request.name), request.name)
    if isinstance(request.mesh, FoundObject):
        return usable_thing(request.mesh.usable, request.name)
    if isinstance(request.mesh, UsableObject):
        return usable_thing(request.mesh, request.name)
    if isinstance(request.mesh, ObjectSource):
        raise InputError(f"which mesh the {request.name} has is known when its mask is: reconstruct does so")
    if request.mesh_unit == "none":
        given = GivenMesh(request.mesh, "none").objects(ImageQuery(label=request.name))[0]
        return usable_thing(given, request.name)
    return _own_thing(request)


def prepare_early(requests: Sequence[ObjectRequest]) -> list[Thing | None]:
    """What can be prepared before the photograph is looked at; None where the mask is to choose.

    Raises:
        InputError: a name that looks misspelt, or a mesh that cannot be used.
    """
    return [None if _waits_for_mask(request) else prepare_thing(request) for request in requests]


def choose_things(
    requests: Sequence[ObjectRequest], early: Sequence[Thing | None], seen: Observation
) -> tuple[list[Thing], list[str]]:
    """All objects, those that waited for their masks chosen by them, and what to know of the choice.

    Args:
        requests: what was asked for.
        early: what :func:`prepare_early` gave.
        seen: the photograph; its object masks are in the order of the requests.

    Raises:
        InputError: nothing can be found for one of them.
    """
    default: ObjectSource | None = None
    things, notes = [], []
    for i, (request, thing) in enumerate(zip(requests, early, strict=True)):
        if thing is None:
            source = request.mesh
            if source is None:
                default = default or _default_source()
                source = default
            assert isinstance(source, ObjectSource)
            found = source.objects(ImageQuery(seen.image, seen.object_masks[i], request.name))[0]
            thing = usable_thing(found, request.name)
            notes += [f"{thing.name}: {text}" for text in (_chosen(found), *found.notes) if text]
        things.append(thing)
    return told_apart(things), notes


def _default_source() -> ObjectSource:
    from hoirecon.retrieval.retriever import Retriever

    return Retriever.default()


def _chosen(found: UsableObject) -> str:
    source = found.source.removeprefix(LIBRARY)
    if not source:
        return ""
    score = "" if found.score is None else f", score {found.score:.2f}"
    return f"its mesh is {source}{score}"


def _waits_for_mask(request: ObjectRequest) -> bool:
    """Whether a retriever chooses the mesh: for a category's name, and for names that are not known at all."""
    if request.mesh is not None:
        return isinstance(request.mesh, ObjectSource)
    if "/" in request.name:  # an id says which
        return False
    try:
        get_category(request.name)
    except InputError:
        key = normalise(request.name)
        names = [name for known in list_categories() for name in (known, *get_category(known).aliases)]
        if not key or difflib.get_close_matches(key, [normalise(n) for n in names], n=1, cutoff=MISSPELT):
            raise
    return True


def usable_thing(found: UsableObject, name: str) -> Thing:
    """An object of any source as every stage needs it; the library's keep their parts.

    Args:
        found: the object.
        name: what it was asked for as.
    """
    rotations = found.initial_rotations
    if found.source.startswith(LIBRARY):
        obj = load_object(found.source.removeprefix(LIBRARY))
        thing = _library_thing(obj, name, found)
        return replace(thing, to_fit=replace(thing.to_fit, initial_rotations=rotations))
    mesh = replace(found.mesh, name=name)  # not its file's: estimators are asked about it by name
    to_fit = ObjectToFit(mesh, name, found.size_prior, found.up_obj, rotations)
    contact = ContactObject.of_mesh(mesh, found.category)
    return Thing(name, contact, to_fit, found.symmetry.rotations(), found.licence, found.author)


def _library_thing(obj: LibraryObject, name: str, found: UsableObject | None = None) -> Thing:
    found = found or usable_from_library(obj)
    to_fit = ObjectToFit(obj.mesh, name, size_prior=found.size_prior, up_obj=found.up_obj)
    try:
        called = get_category(name.split("/")[0]).name
    except InputError:
        called = name  # another kind of thing that only looks like this one
    return Thing(called, ContactObject.of(obj), to_fit, obj.symmetry.rotations(), obj.licence, obj.author)


def _own_thing(request: ObjectRequest) -> Thing:
    assert isinstance(request.mesh, Mesh | str | Path)
    assert request.mesh_unit != "none"
    mesh = request.mesh
    if not isinstance(mesh, Mesh):
        mesh = prepare_mesh(mesh, unit=request.mesh_unit)
    else:  # only scaled: contact of the user's own may be on these very vertices
        scale = unit_scale(mesh.verts, request.mesh_unit, f"the mesh of the {request.name}")
        mesh = mesh.with_verts(mesh.verts * scale)
    mesh = replace(mesh, name=request.name)  # not its file's: estimators are asked about it by name
    try:
        category: str | None = get_category(request.name).name
    except InputError:
        category = None  # a name we do not know is fine when the mesh is given
    to_fit = ObjectToFit(mesh, request.name, size_prior=(0.0, 0.1))
    return Thing(request.name, ContactObject.of_mesh(mesh, category), to_fit, np.eye(3)[None])


def locate(
    requests: list[ObjectRequest], image: ByteArray, finder: TextBoxFinder | None
) -> tuple[list[ObjectRequest], list[str]]:
    """The requests with a place each; those without one are looked for by name."""
    notes, located = [], []
    for request in requests:
        if finder is not None and request.box is None and request.mask is None and request.prompt is None:
            found = finder.find(image, request.name, most=1)
            if not found:
                raise InputError(f"no {request.name} was found in the photograph by name: give its box or mask")
            notes.append(f"the box of the {request.name} was found by its name (score {found[0].score:.2f})")
            request = replace(request, box=found[0].box)
        located.append(request)
    return located, notes
