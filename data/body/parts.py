"""Names of body parts per vertex, and groups of them: palms, single fingers, soles, buttocks, back..."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hoirecon.arrays import BoolArray, IntArray
from hoirecon.data.body.model import BodyModel
from hoirecon.errors import InputError

_FINGERS = ("thumb", "index_finger", "middle_finger", "ring_finger", "pinky_finger")
_SIDED_GROUPS = {
    "fingers": _FINGERS,
    "hand": ("palm", "hand_back", *_FINGERS),
    "arm": ("upper_arm", "elbow", "forearm"),
    "thigh": ("thigh_front", "thigh_back"),
    "lower_leg": ("shin", "calf"),
    "leg": ("thigh_front", "thigh_back", "knee", "shin", "calf"),
    "foot": ("foot_top", "sole", "toes"),
}
_MIDDLE_GROUPS = {
    "back": ("upper_back", "lower_back"),
    "neck": ("neck_front", "neck_back"),
    "torso": ("chest", "belly", "upper_back", "lower_back", "pelvis"),
    "buttocks": ("left_buttock", "right_buttock"),
    "seat": ("left_buttock", "right_buttock", "left_thigh_back", "right_thigh_back"),
}


@dataclass(frozen=True)
class BodyParts:
    """Which vertex belongs to which named part.

    A name is a part (``left_palm``), a group of one side (``left_hand`` = palm, back of the hand and fingers;
    ``left_fingers``, ``left_arm``, ``left_thigh``, ``left_lower_leg``, ``left_leg``, ``left_foot``), both sides of
    either (``both_hand``, ``both_hands``), or a group of the middle (``back``, ``neck``, ``torso``, ``buttocks``,
    ``seat``).
    """

    names: tuple[str, ...]
    """(P,) parts in the file's order."""
    ids: IntArray
    """(V,) index into ``names``; every vertex has one part."""
    approximate: bool = field(default=False)
    """True if carried over from the free body to another mesh by :mod:`hoirecon.data.body.transfer`."""

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Group name -> the parts it stands for (those that this body has)."""
        sided = {
            f"{side}_{group}": tuple(f"{side}_{p}" for p in parts)
            for side in ("left", "right")
            for group, parts in _SIDED_GROUPS.items()
        }
        groups = {**_MIDDLE_GROUPS, **sided}
        kept = {group: tuple(p for p in parts if p in self.names) for group, parts in groups.items()}
        return {group: parts for group, parts in kept.items() if parts}

    def expand(self, name: str) -> tuple[str, ...]:
        """The parts that a name stands for.

        Raises:
            InputError: no such part or group; the message offers the nearest names.
        """
        if name in self.names:
            return (name,)
        if name in self.groups:
            return self.groups[name]
        if name.startswith("both_"):
            for bare in (name[5:], name[5:].removesuffix("s"), name[5:].replace("feet", "foot")):
                if f"left_{bare}" in (*self.names, *self.groups):
                    return (*self.expand(f"left_{bare}"), *self.expand(f"right_{bare}"))
        near = difflib.get_close_matches(name, [*self.names, *self.groups], n=4, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are: {', '.join(self.names)}"
        raise InputError(f"no body part is called '{name}': {hint}")

    def mask_of(self, *names: str) -> BoolArray:
        """(V,) True on the vertices of any of the named parts or groups."""
        wanted = [self.names.index(part) for name in names for part in self.expand(name)]
        return np.isin(self.ids, wanted)

    def verts_of(self, *names: str) -> IntArray:
        """(N,) vertex indices of the named parts or groups, ascending."""
        return np.flatnonzero(self.mask_of(*names)).astype(np.int64)


def body_parts(model: BodyModel) -> BodyParts:
    """Parts of this body: from its file, or, where the file has none, carried over from the free body.

    Carried-over parts are approximate: borders may be a vertex or two off (see :mod:`hoirecon.data.body.transfer`).
    ``model.parts`` is the same, computed once per model.
    """
    if model.annotations is not None:
        return BodyParts(model.annotations.part_names, model.annotations.part_ids)
    from hoirecon.data.body.transfer import free_body, nearest_on_other

    source = free_body()
    assert source.annotations is not None
    return BodyParts(source.annotations.part_names, source.annotations.part_ids[nearest_on_other(source, model)], True)
