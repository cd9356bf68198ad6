"""What a method sees of a question: pixels, masks, landmarks and a body, as handed out or as found in the picture.

Everything here raises :class:`InputError` where the data withholds what is needed; the sample has then failed and says
why. Nothing here can see the truth.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hoirecon.arrays import BoolArray
from hoirecon.camera import Camera
from hoirecon.data.datasets.samples import Question
from hoirecon.errors import InputError
from hoirecon.observation import Observation
from hoirecon.scene import SceneBody

if TYPE_CHECKING:
    from hoirecon.contact.protocols import ContactObject
    from hoirecon.data.body.model import BodyModel

LENS = 1.2
"""Focal length over the longer side where nothing is known: about 43 mm."""


def look(question: Question, landmarks: bool = True) -> Observation:
    """The observation that the data hands out (closed world), or the photograph looked at.

    Args:
        question: what is asked.
        landmarks: find the person's landmarks, by BlazePose; without them only files are read.

    Raises:
        InputError: no photograph, no mask or box of the object, or no person in it.
        MissingModelError: BlazePose's files are not on this machine (``hoirecon models fetch``).
    """
    given = question.extra.get("observation")
    if isinstance(given, Observation):
        return given
    if question.image is None:
        raise InputError("the data hands out no image")
    if question.object_mask is None and question.object_box is None:
        raise InputError("the data hands out no object mask or box, so that nothing says where the object is")
    person = person_of(question)
    thing = None if question.object_mask is None else mask_of(question.object_mask)
    if not landmarks and thing is not None:
        return _as_given(question, person, thing)
    from hoirecon.perception import observe

    return observe(
        question.image,
        [question.object_box if thing is None else thing],
        camera=question.camera,
        person=question.person_box or "auto",
        person_mask=person,
    )


def _as_given(question: Question, person: BoolArray | None, thing: BoolArray) -> Observation:
    from hoirecon.images import read_image

    assert question.image is not None
    rgb = read_image(question.image).rgb
    camera = question.camera or usual_camera(rgb.shape[1], rgb.shape[0])
    return Observation(rgb, camera, person, (thing,), person_box=question.person_box)


def person_of(question: Question) -> BoolArray | None:
    """(H, W) the person's visible pixels, as the data hands them out.

    None where it hands out none, and where the mask is empty or the whole picture: that says nothing of the person, and
    perception refuses it. The person is then found by the box, or by touching the object.
    """
    if question.person_mask is None:
        return None
    mask = mask_of(question.person_mask)
    return mask if mask.any() and not mask.all() else None


def mask_of(path: Path) -> BoolArray:
    """Pixels of a picture that are brighter than half (JPEG blurs masks, so that they hold every grey), or opaque; see
    :func:`~hoirecon.perception.importers.read_mask`.
    """
    from hoirecon.perception.importers import read_mask

    return read_mask(path)


def usual_camera(width: int, height: int) -> Camera:
    """A camera for pictures of which nothing is known."""
    focal = LENS * max(width, height)
    return Camera(np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]), width, height)


def body_of(question: Question, seen: Observation, model: BodyModel) -> SceneBody:
    """The body that the data hands out, or one fitted to the landmarks and brought onto the mask.

    Raises:
        InputError: landmarks that tell too little.
    """
    given = question.extra.get("body")
    if isinstance(given, SceneBody) and given.topology == model.topology:
        return given
    if question.body is not None and question.body.topology == model.topology:
        return model.pose(question.body)
    from hoirecon.fitting import body_on_mask, fit_body

    return body_on_mask(fit_body(seen, body_model=model), seen).body


def with_depth(seen: Observation, body: SceneBody, model: BodyModel) -> Observation:
    """Landmarks that came in the picture alone, with the third dimension of the body's own landmarks.

    Raises:
        InputError: no landmarks at all, or of a layout that the body does not know.
    """
    points = seen.keypoints
    if points is None or points.xyz is not None:
        return seen
    known = {} if model.annotations is None else model.annotations.landmarks
    if points.layout not in known:
        raise InputError(f"the body has no landmarks of layout '{points.layout}' to give the third dimension")
    marks = known[points.layout]
    places = np.einsum("lk,lkc->lc", marks.w, body.verts[marks.idx])
    hips = places[[marks.names.index(f"{side}_hip") for side in ("left", "right")]].mean(0)
    return seen.replace(keypoints=replace(points, xyz=places - hips))


def has_body(question: Question, model: BodyModel) -> bool:
    """Whether the data hands out a body of this model, so that no landmarks are needed."""
    given = question.extra.get("body") or question.body
    return given is not None and getattr(given, "topology", "") == model.topology


def thing_of(question: Question) -> ContactObject:
    """The object: the question's mesh, or the library's mesh of that name.

    Raises:
        InputError: no mesh, and a name that the library does not know.
    """
    from hoirecon.contact import ContactObject
    from hoirecon.data.objects import get_category, load_object

    if question.object_mesh is None:
        return ContactObject.of(load_object(question.label))
    try:
        category: Any = get_category(question.label).name
    except InputError:
        category = None
    return ContactObject.of_mesh(question.object_mesh, category)
