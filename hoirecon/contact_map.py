"""Contact per vertex, tied to the mesh it speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hoirecon.arrays import BoolArray, FloatArray, as_floats
from hoirecon.errors import InputError, TopologyError

CONTACT_THRESHOLD = 0.5


@dataclass(frozen=True)
class ContactMap:
    """Probability of contact at every vertex of one topology.

    Example:
        >>> ContactMap([0.1, 0.9, 0.6], "triangle").binary().tolist()
        [False, True, True]
    """

    probability: FloatArray
    """(V,) in [0, 1]."""
    topology: str
    """Name of the mesh: ``Mesh.topology`` of an object, ``BodyModel.topology`` of a body."""
    source: str = "unknown"
    """Who estimated it, e.g. ``geometric`` or ``interactvlm``."""

    def __post_init__(self) -> None:
        probability = as_floats(self.probability, ("V",), "probability")
        if len(probability) == 0 or probability.min() < 0 or probability.max() > 1:
            span = (probability.min(), probability.max()) if len(probability) else ()
            raise InputError(f"contact probabilities must lie in [0, 1] and not be empty, got {span}")
        object.__setattr__(self, "probability", probability)

    @classmethod
    def none(cls, num_verts: int, topology: str, source: str = "unknown") -> ContactMap:
        """A map that says: no contact anywhere."""
        return cls(np.zeros(num_verts), topology, source)

    def binary(self, threshold: float = CONTACT_THRESHOLD) -> BoolArray:
        """(V,) True where the probability is above the threshold (one half by default)."""
        return np.asarray(self.probability > threshold)

    def any(self, threshold: float = CONTACT_THRESHOLD) -> bool:
        """Whether any vertex is in contact."""
        return bool(self.binary(threshold).any())

    def check_on(self, topology: str, num_verts: int, name: str) -> ContactMap:
        """Return self if it speaks of this mesh.

        Raises:
            TopologyError: another topology or another number of vertices.
        """
        if self.topology != topology or len(self.probability) != num_verts:
            raise TopologyError(
                f"the contact map is on '{self.topology}' ({len(self.probability)} vertices), but {name} is "
                f"'{topology}' ({num_verts} vertices): estimate it on this mesh or transfer it first"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values but the probabilities, for ``scene.json``."""
        return {
            "topology": self.topology,
            "source": self.source,
            "num_verts": len(self.probability),
            "num_contact": int(self.binary().sum()),
        }
