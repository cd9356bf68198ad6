"""What a retriever gives: objects that were found, each with its mesh read when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from hoirecon.arrays import FloatArray
from hoirecon.data.objects.size import MetricSize
from hoirecon.data.objects.usable import UsableObject
from hoirecon.mesh import Mesh
from hoirecon.retrieval.index.object_index import Hit


@dataclass(frozen=True)
class FoundObject:
    """One object that was found.

    What needs no mesh (score, licence, size) is there at once; ``usable``, and all that comes from it, reads the mesh
    and makes it closed, upright and metric the first time, which takes seconds for a mesh from outside the library.
    """

    hit: Hit
    """Record, score and place in the index."""
    size: MetricSize
    """Longest side, metres, and how surely it is known; by the name, unless the caller said otherwise."""
    label: str | None
    """What it is: the name that was looked for if the gallery has it, else the record's own."""
    make: Callable[[], UsableObject] = field(repr=False, compare=False)
    """Reads the mesh and makes it usable."""
    notes: tuple[str, ...] = ()
    """What to know before trusting it, such as that the name is not known."""

    @property
    def id(self) -> str:
        """Its name in the gallery."""
        return self.hit.record.id

    @property
    def score(self) -> float:
        """How well it matches: higher is better, and comparable within one search (an index's is a cosine)."""
        return self.hit.score

    @property
    def licence(self) -> str:
        """Under which licence its mesh is; empty if nobody said."""
        return self.hit.record.licence or ""

    @property
    def source(self) -> str:
        """Where its mesh is: a file, an address, or "library:" and an id."""
        return self.hit.record.source or self.id

    @cached_property
    def usable(self) -> UsableObject:
        """The object, ready for a fit.

        Raises:
            InputError: the mesh cannot be brought, or nothing in it can be used.
        """
        return self.make()

    @property
    def mesh(self) -> Mesh:
        """Closed mesh, y up, +z front, metres, at its most likely size."""
        return self.usable.mesh

    @property
    def size_prior(self) -> tuple[float, float]:
        """Mean and standard deviation of the natural logarithm of the scale that a fit may give ``mesh``."""
        return self.usable.size_prior

    @property
    def up(self) -> str:
        """Axis of ``mesh`` that points up when the object stands."""
        return "+y"

    @property
    def rotations(self) -> FloatArray | None:
        """(N, 3, 3) first guesses ``R_cam_obj`` of how ``mesh`` is turned, best first; None where nothing is known."""
        return self.usable.initial_rotations
