"""Bodies by their number of vertices: what the field's files label, and free stand-ins for them."""

from __future__ import annotations

from hoirecon.errors import TopologyError

TOPOLOGY_SIZES = {"smpl": 6890, "smplx": 10475, "mano": 778, "metro-1723": 1723, "metro-431": 431}
"""Name -> vertices of the licensed bodies that datasets label."""

SAME_ORDER = {"smpl": "smplh"}
"""Topologies whose vertices are those of another, in its order."""

STAND_IN = "standin-"
"""What the topology of a free stand-in begins with, e.g. ``standin-6890``."""


def topology_of_size(num_verts: int, stand_in: bool = False) -> str:
    """Name of the topology with that many vertices.

    Args:
        num_verts: vertices of the labels.
        stand_in: whether the file says that a free mesh stands in for the licensed one.

    Raises:
        TopologyError: no known body has that many.
    """
    for name, size in TOPOLOGY_SIZES.items():
        if size == num_verts:
            return f"{STAND_IN}{size}" if stand_in else name
    known = ", ".join(f"{name} {size}" for name, size in TOPOLOGY_SIZES.items())
    raise TopologyError(f"no body of this field has {num_verts} vertices; known are {known}")


def is_stand_in(topology: str) -> bool:
    """Whether the name is a stand-in's.

    Example:
        >>> is_stand_in("standin-6890"), is_stand_in("smpl")
        (True, False)
    """
    return topology.startswith(STAND_IN)
