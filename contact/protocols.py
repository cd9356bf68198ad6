"""What an estimator of contact takes and gives; implementations are interchangeable behind :class:`ContactEstimator`.

estimate = GeometricContact(body_model).estimate(observation, body, ContactObject.of(load_object("barbell")))
estimate.body, estimate.object      # ContactMap on the body, ContactMap on the object
estimate.pairs                      # (body part, object part, probability), most likely first
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hoirecon.arrays import IntArray, as_ints
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

if TYPE_CHECKING:
    from hoirecon.data.objects import Category, LibraryObject

WHOLE = "whole"
"""Object part that stands for the whole surface."""


@dataclass(frozen=True)
class ContactObject:
    """The object as an estimator sees it: a mesh, and what its category and parts are if known."""

    mesh: Mesh
    """Object frame, metres."""
    category: Category | None = None
    """Entry of the object library, with its typical interactions; None if unknown."""
    parts: Mapping[str, IntArray] = field(default_factory=dict)
    """Vertices of each named part; empty for a mesh that nobody divided."""

    def __post_init__(self) -> None:
        parts = {name: as_ints(ids, ("N",), f"part {name}") for name, ids in self.parts.items()}
        for name, ids in parts.items():
            if len(ids) and (ids.min() < 0 or ids.max() >= len(self.mesh.verts)):
                raise InputError(
                    f"part '{name}' names vertices up to {ids.max()}, but {self.mesh.name} has {len(self.mesh.verts)}"
                )
        object.__setattr__(self, "parts", parts)

    @classmethod
    def of(cls, obj: LibraryObject) -> ContactObject:
        """A mesh of the library with its category and parts."""
        return cls(obj.mesh, obj.category, {name: obj.part_verts(name) for name in obj.part_names})

    @classmethod
    def of_mesh(cls, mesh: Mesh, category: str | None = None) -> ContactObject:
        """A user's own mesh; naming its category gives it that category's interactions, but no parts.

        Raises:
            InputError: unknown category.
        """
        if category is None:
            return cls(mesh)
        from hoirecon.data.objects import get_category

        return cls(mesh, get_category(category))

    def part_verts(self, part: str) -> IntArray:
        """(N,) vertices of a part; the whole surface if the mesh does not have that part."""
        ids = self.parts.get(part)
        return ids if ids is not None and len(ids) else np.arange(len(self.mesh.verts))


@dataclass(frozen=True)
class PartPair:
    """A part of the body that touches a part of the object."""

    body_part: str
    object_part: str
    probability: float


@dataclass(frozen=True)
class ContactEstimate:
    """Contact of one body with one object."""

    body: ContactMap
    """Probability per body vertex."""
    object: ContactMap
    """Probability per object vertex."""
    pairs: tuple[PartPair, ...] = ()
    """Which part touches which, most likely first; empty if the estimator knows no parts."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Probability that each part of the body touches the object anywhere; empty if the estimator knows no parts."""
    interaction: str = ""
    """Name of the most likely typical interaction, or '' if none applies."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Probability of each typical interaction that was considered."""
    flags: tuple[str, ...] = ()
    """What a person should know before trusting it, one sentence each."""

    @property
    def hand_grip(self) -> dict[str, float]:
        """How surely each hand holds something, 0 to 1, by side; the body fit closes the fingers by it."""
        return {
            side: max((self.parts.get(f"{side}_{part}", 0.0) for part in HAND_PARTS), default=0.0)
            for side in ("left", "right")
        }


HAND_PARTS = ("palm", "thumb", "index_finger", "middle_finger", "ring_finger", "pinky_finger")
"""Body parts of one side that make a grip."""


class ContactEstimator(Protocol):
    """Says where a body and an object touch."""

    @property
    def name(self) -> str:
        """Short name that goes into ``ContactMap.source``."""
        ...

    def estimate(
        self,
        observation: Observation,
        body: SceneBody,
        obj: ContactObject,
        pose: ObjectPose | None = None,
        object_index: int = 0,
    ) -> ContactEstimate:
        """Estimate contact.

        Args:
            observation: the photograph; ``object_masks[object_index]`` is the object's.
            body: the posed body, camera frame.
            obj: the object.
            pose: where it is, if already known; sharpens the answer.
            object_index: which object of the observation it is.
        """
        ...
