"""What can be asked: one question on one photograph about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hoirecon.contact.modeling.contact_tokens import Role

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
    token's state is used. None generates."""
