"""What the user asks for, made into what every stage needs: objects with meshes, priors, parts and places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray
from hoirecon.contact.protocols import ContactObject
from hoirecon.data.objects import get_category, load_object, prepare_mesh
from hoirecon.errors import InputError
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.mesh import Mesh
from hoirecon.observation import Box
from hoirecon.perception.protocols import MaskPrompt

if TYPE_CHECKING:
    from hoirecon.perception.text_boxes import TextBoxFinder


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
    mesh: Mesh | str | Path | None = None
    """The user's own mesh; None takes the library's."""
    mesh_unit: Literal["m", "cm", "mm", "auto"] = "m"
    """Unit of the mesh's file; ``auto`` guesses it from the size."""

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
    objects: str | ObjectRequest | Sequence[ObjectRequest], box: Any, mask: Any, prompt: Any, mesh: Any
) -> list[ObjectRequest]:
    """The requests of a call, whether it named one object or listed several.

    Raises:
        InputError: nothing is asked for, or places are given beside a list.
    """
    if isinstance(objects, str):
        return [ObjectRequest(objects, box, mask, prompt, mesh)]
    if any(value is not None for value in (box, mask, prompt, mesh)):
        raise InputError("object_box, object_mask, object_prompt and object_mesh go with one object's name only")
    requests = [objects] if isinstance(objects, ObjectRequest) else list(objects)
    if not requests or not all(isinstance(request, ObjectRequest) for request in requests):
        raise InputError("give the name of an object, or a list of ObjectRequest(name, box=...) with at least one")
    return requests


def prepare_things(requests: Sequence[ObjectRequest]) -> list[Thing]:
    """All objects, with names that tell them apart ("cup", "cup 2").

    Raises:
        InputError: unknown name, or a mesh that cannot be used.
    """
    things = [prepare_thing(request) for request in requests]
    names = [thing.name for thing in things]
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [t if n == 1 else replace(t, name=f"{t.name} {n}") for t, n in zip(things, counts, strict=True)]


def prepare_thing(request: ObjectRequest) -> Thing:
    """Load and prepare an object of the library, or the user's own mesh.

    Raises:
        InputError: unknown name, or a mesh that cannot be used.
    """
    if request.mesh is not None:
        return _own_thing(request)
    obj = load_object(request.name)
    log_ratio = float(np.log(obj.category.size_median / obj.mesh.extents.max()))
    to_fit = ObjectToFit(
        obj.mesh,
        request.name,
        size_prior=(log_ratio, obj.category.size_log_sigma),
        up_obj=_usual_up(obj.category.group),
    )
    return Thing(obj.category.name, ContactObject.of(obj), to_fit, obj.symmetry.rotations(), obj.licence, obj.author)


def _own_thing(request: ObjectRequest) -> Thing:
    assert request.mesh is not None
    mesh = request.mesh if isinstance(request.mesh, Mesh) else prepare_mesh(request.mesh, unit=request.mesh_unit)
    mesh = replace(mesh, name=request.name)  # not its file's: estimators are asked about it by name
    try:
        category: str | None = get_category(request.name).name
    except InputError:
        category = None  # a name we do not know is fine when the mesh is given
    to_fit = ObjectToFit(mesh, request.name, size_prior=(0.0, 0.1))
    return Thing(request.name, ContactObject.of_mesh(mesh, category), to_fit, np.eye(3)[None])


def _usual_up(group: str) -> tuple[float, float, float] | None:
    # Furniture and vehicles stand on the ground in nearly all photographs; what is held is turned in every way.
    return (0.0, 1.0, 0.0) if group in ("furniture", "vehicles") else None


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
