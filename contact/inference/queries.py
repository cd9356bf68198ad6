"""What can be asked: one question on one photograph about one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hoirecon.contact.modeling.contact_tokens import Role
from hoirecon.errors import InputError

Kind = Literal["human", "object", "affordance", "image"]
"""Contact on the body, contact on an object, where an object is used and how, or contact in the photograph itself."""

ROLE_OF_KIND: dict[Kind, Role] = {"human": "human", "object": "object", "affordance": "object", "image": "general"}
"""Which contact token, and which mask decoder, answers each kind."""


@dataclass(frozen=True, eq=False)
class Query:
    """One question; ``InteractVLM.ask`` answers a list of them with every encoding done once."""

    kind: Kind
    """What is asked for."""
    image: Any
    """Path, RGB array, PIL image or what :meth:`InteractVLM.look` gave."""
    label: str
    """The object's name; ``scene`` asks for the ground and what else supports the person."""
    mesh: Any = None
    """For ``object`` and ``affordance``: the mesh or point cloud that contact is laid on."""
    person: Any = None
    """Which person: a box (x, y, width, height) in pixels or a mask (H, W); None takes the whole photograph."""
    question: str | None = None
    """Own words in place of the template; ``{object}`` is the name. None takes what the weights were trained with."""
    answer: str | None = None
    """An answer to take instead of generating one (one pass, the reference's teacher-forced mode): its contact
    token's state is used. ``{token}`` in it stands for the contact token. None generates."""


def meshes_of(labels: Sequence[str], meshes: Mapping[str, Any] | Sequence[Any] | None) -> list[Any]:
    """One mesh or None for each name.

    Raises:
        InputError: a mesh of an object that is not named, or not as many as names.
    """
    if isinstance(labels, str) or not labels:
        raise InputError("joint_contact takes a list of object names, with at least one")
    if meshes is None:
        return [None] * len(labels)
    if isinstance(meshes, Mapping):
        if unknown := [name for name in meshes if name not in labels]:
            raise InputError(f"there is a mesh of '{unknown[0]}', which is not among the objects {list(labels)}")
        return [meshes.get(label) for label in labels]
    if not isinstance(meshes, Sequence):
        raise InputError("meshes are given by object name, or as a list in the order of the names")
    if len(meshes) != len(labels):
        raise InputError(f"{len(labels)} objects need as many meshes (or None in their place), got {len(meshes)}")
    return list(meshes)
