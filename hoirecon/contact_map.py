"""Contact per vertex, tied to the mesh it speaks of, with the words it came with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import BoolArray, FloatArray, IntArray, as_floats, as_ints, check_shape
from hoirecon.errors import InputError, TopologyError
from hoirecon.short import counted, short

if TYPE_CHECKING:
    from torch import Tensor

Values = TypeVar("Values", FloatArray, "Tensor")

CONTACT_THRESHOLD = 0.5
PART_SHARE = 0.1
"""A body part counts as touched from this share of its vertices on; the reference's answers name parts by it."""

Floats32 = npt.NDArray[np.float32]
Layout = Literal["hoirecon", "reference"]


class NamedParts(Protocol):
    """Anything that says which vertices make a part, e.g. ``BodyModel.parts``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        ...

    def verts_of(self, *names: str) -> IntArray:
        """(N,) vertices of the named parts."""
        ...


Parts = Mapping[str, Any] | NamedParts
"""Part name -> vertex ids, or an object that knows them."""


@dataclass(frozen=True)
class PartContact:
    """Contact of one part of a body or object."""

    share: float
    """Share of the part's vertices in contact, 0 to 1."""
    highest: float
    """Highest probability among its vertices."""
    mean: float
    """Mean probability over its vertices."""
    num_verts: int
    """How many vertices the part has."""

    @property
    def touched(self) -> bool:
        """Whether at least a tenth of its vertices are in contact (:data:`PART_SHARE`)."""
        return self.share >= PART_SHARE


@dataclass(frozen=True, repr=False)
class ContactMap:
    """Probability of contact at every vertex of one topology, and what the estimator said with it.

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
    label: str = ""
    """Name of the object that the contact is with, as it was asked for."""
    answer: str = ""
    """What the model said, word for word; empty for estimators that do not speak."""
    named_parts: tuple[str, ...] = ()
    """Parts of the body that the answer names, in its order."""
    notes: tuple[str, ...] = ()
    """What a person should know before trusting it, e.g. that the answer held no contact token."""
    parts: Mapping[str, IntArray] = field(default_factory=dict)
    """Part name -> (N,) vertex ids, for :meth:`to_parts`; empty if nobody divided the mesh."""
    view_masks: Mapping[str, Floats32] | None = None
    """View name -> (H, W) probabilities in the picture from which the contact was lifted; kept on request only."""

    def __post_init__(self) -> None:
        probability = as_floats(self.probability, ("V",), "probability")
        if len(probability) == 0 or probability.min() < 0 or probability.max() > 1:
            span = (probability.min(), probability.max()) if len(probability) else ()
            raise InputError(f"contact probabilities must lie in [0, 1] and not be empty, got {span}")
        object.__setattr__(self, "probability", probability)
        for name in ("topology", "source", "label", "answer"):
            object.__setattr__(self, name, _text(getattr(self, name), name))
        for name in ("named_parts", "notes"):
            object.__setattr__(self, name, _texts(getattr(self, name), name))
        object.__setattr__(self, "parts", _part_ids(self.parts, len(probability)))
        if self.view_masks is not None:
            object.__setattr__(self, "view_masks", _masks(self.view_masks))

    def __repr__(self) -> str:
        what = f"contact with {short(self.label)} on" if self.label else "contact on"
        count, total = int(self.binary().sum()), len(self.probability)
        parts = [
            f"{what} {short(self.topology)}",
            f"{count} of {total} vertices above {CONTACT_THRESHOLD:g}, highest {self.probability.max():.2f}",
            f"from {short(self.source)}",
        ]
        if self.named_parts:
            parts.append(f"names {short(', '.join(self.named_parts), 60)}")
        if self.notes:
            parts.append(f"{counted(len(self.notes), 'note')}: {short(self.notes[0], 60)}")
        return f"<ContactMap: {'; '.join(parts)}>"

    @classmethod
    def none(cls, num_verts: int, topology: str, source: str = "unknown", **words: Any) -> ContactMap:
        """A map that says: no contact anywhere; ``words`` are further fields, such as ``notes``."""
        return cls(np.zeros(num_verts), topology, source, **words)

    @classmethod
    def merge(cls, maps: Sequence[ContactMap], **changes: Any) -> ContactMap:
        """Contact with any of several things: the highest probability at each vertex.

        Labels, sources, named parts and notes are gathered, each once; answers stand one a line; masks of views are
        left out. ``changes`` replaces fields of the result.

        Raises:
            InputError: no maps.
            TopologyError: maps on different meshes.

        Example:
            >>> bench, bottle = ContactMap([0.9, 0.1], "m", label="bench"), ContactMap([0.0, 0.4], "m", label="bottle")
            >>> both = ContactMap.merge([bench, bottle])
            >>> both.probability.tolist(), both.label
            ([0.9, 0.4], 'bench, bottle')
        """
        if not maps:
            raise InputError("there are no contact maps to merge: give at least one")
        first = maps[0]
        for k, other in enumerate(maps[1:], 1):
            first.check_on(other.topology, len(other.probability), f"map {k} to be merged with it")
        merged = cls(
            np.max([m.probability for m in maps], axis=0),
            first.topology,
            source=", ".join(_once(m.source for m in maps)),
            label=", ".join(_once(m.label for m in maps)),
            answer="\n".join(_once(m.answer for m in maps)),
            named_parts=_once(part for m in maps for part in m.named_parts),
            notes=_once(note for m in maps for note in m.notes),
            parts={name: ids for m in reversed(maps) for name, ids in m.parts.items()},
        )
        return merged.replace(**changes) if changes else merged

    def replace(self, **changes: Any) -> ContactMap:
        """The same map with some fields changed."""
        return replace(self, **changes)

    def binary(self, threshold: float = CONTACT_THRESHOLD) -> BoolArray:
        """(V,) True where the probability is above the threshold (one half by default)."""
        return np.asarray(self.probability > threshold)

    def any(self, threshold: float = CONTACT_THRESHOLD) -> bool:
        """Whether any vertex is in contact."""
        return bool(self.binary(threshold).any())

    def with_threshold_at_half(self, threshold: float) -> ContactMap:
        """The same map with its odds shifted, so that ``threshold`` becomes one half; order, 0 and 1 stay.

        Estimators choose a threshold on data of their own; whoever takes contact from one half on gets the same
        vertices this way. It is what Bayes' rule makes of another share of touched vertices.

        Args:
            threshold: between 0 and 1, ends left out.

        Raises:
            InputError: another threshold.

        Example:
            >>> ContactMap([0.0, 0.2, 0.5, 1.0], "mesh").with_threshold_at_half(0.2).probability.tolist()
            [0.0, 0.5, 0.8, 1.0]
        """
        if not 0 < threshold < 1:
            raise InputError(f"a threshold lies between 0 and 1, got {threshold}")
        return self.replace(probability=odds_shifted(self.probability, threshold))

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

    def to_parts(self, parts: Parts | None = None, threshold: float = CONTACT_THRESHOLD) -> dict[str, PartContact]:
        """Contact by part, in the order of the parts; parts without vertices are left out.

        Args:
            parts: part name -> vertex ids, or an object with ``names`` and ``verts_of`` such as ``BodyModel.parts``;
                None takes the map's own.
            threshold: a vertex is in contact above this probability.

        Raises:
            InputError: no parts are known, or they name vertices that this mesh does not have.
            TopologyError: the parts are those of a mesh with another number of vertices.

        Example:
            >>> ContactMap([0.9, 0.1, 0.8], "m").to_parts({"palm": [0, 1], "sole": [2]})["palm"]
            PartContact(share=0.5, highest=0.9, mean=0.5, num_verts=2)
        """
        known = self.parts if parts is None else self._ids_of(parts)
        if not known:
            raise InputError(
                f"no parts of '{self.topology}' are known: give them, as part name -> vertex ids or as the parts of a "
                "body (hoirecon.data.body.load_body().parts)"
            )
        return {name: self._part(ids, threshold) for name, ids in known.items() if len(ids)}

    def touched_parts(self, parts: Parts | None = None, threshold: float = CONTACT_THRESHOLD) -> tuple[str, ...]:
        """Names of the parts of which at least a tenth is in contact; arguments as of :meth:`to_parts`."""
        return tuple(name for name, part in self.to_parts(parts, threshold).items() if part.touched)

    def _ids_of(self, parts: Parts) -> dict[str, IntArray]:
        if isinstance(parts, Mapping):
            return _part_ids(parts, len(self.probability))
        if not hasattr(parts, "names") or not hasattr(parts, "verts_of"):
            raise InputError(
                f"parts must map names to vertex ids or know names and verts_of, got {type(parts).__name__}"
            )
        count = len(getattr(parts, "ids", self.probability))
        if count != len(self.probability):
            raise TopologyError(
                f"the parts are those of a mesh of {count} vertices, but the contact map is on '{self.topology}' "
                f"({len(self.probability)} vertices): give the parts of this mesh"
            )
        return _part_ids({name: parts.verts_of(name) for name in parts.names}, len(self.probability))

    def _part(self, ids: IntArray, threshold: float) -> PartContact:
        values = self.probability[ids]
        return PartContact(float((values > threshold).mean()), float(values.max()), float(values.mean()), len(ids))

    def to_dict(self) -> dict[str, Any]:
        """Plain values but the probabilities, parts and masks, for ``scene.json``."""
        return {
            "topology": self.topology,
            "source": self.source,
            "num_verts": len(self.probability),
            "num_contact": int(self.binary().sum()),
            "label": self.label,
            "answer": self.answer,
            "named_parts": list(self.named_parts),
            "notes": list(self.notes),
        }

    def save(self, path: str | Path, layout: Layout = "hoirecon", smplx: ContactMap | None = None) -> Path:
        """Write an ``.npz`` and give its path; see :func:`hoirecon.contact_io.save_contact`."""
        from hoirecon.contact_io import save_contact

        return save_contact(self, path, layout, smplx)

    @classmethod
    def load(cls, path: str | Path, topology: str | None = None) -> ContactMap:
        """Read an ``.npz`` of either layout; see :func:`hoirecon.contact_io.load_contact`."""
        from hoirecon.contact_io import load_contact

        return load_contact(path, topology)


def odds_shifted(probability: Values, threshold: float) -> Values:
    """Probabilities whose odds are shifted so that ``threshold`` becomes one half; order, 0 and 1 stay.

    Of arrays and of tensors alike; see :meth:`ContactMap.with_threshold_at_half`.
    """
    touched, free = probability * (1 - threshold), (1 - probability) * threshold
    return touched / (touched + free)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{name} of a contact map must be text, got {type(value).__name__}")
    return value.encode("utf-8", "replace").decode("utf-8")  # halves of a surrogate pair fit in no file


def _texts(values: Any, name: str) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"{name} of a contact map must be a list of texts, got {type(values).__name__}")
    return tuple(_text(value, f"each of the {name}") for value in values)


def _part_ids(parts: Any, num_verts: int) -> dict[str, IntArray]:
    if not isinstance(parts, Mapping):
        raise InputError(f"parts of a contact map must map names to vertex ids, got {type(parts).__name__}")
    known = {}
    for name, given in parts.items():
        ids = as_ints(given, ("N",), f"part {name}") if len(given) else np.zeros(0, dtype=np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= num_verts):
            raise InputError(f"part '{name}' names vertices {ids.min()}..{ids.max()}, but there are only {num_verts}")
        known[_text(name, "the name of a part")] = np.unique(ids)  # a vertex given twice would count twice
    return known


def _masks(masks: Any) -> dict[str, Floats32]:
    if not isinstance(masks, Mapping):
        raise InputError(f"view_masks must map names of views to (H, W) probabilities, got {type(masks).__name__}")
    kept = {}
    for name, given in masks.items():
        mask = np.array(given.detach().cpu() if hasattr(given, "detach") else given, dtype=np.float32)
        check_shape(mask, ("H", "W"), f"mask of view {name}")
        if not (np.isfinite(mask).all() and (mask >= 0).all() and (mask <= 1).all()):
            raise InputError(f"the mask of view '{name}' must hold probabilities in [0, 1]: apply the sigmoid first")
        kept[_text(name, "the name of a view")] = mask
    return kept


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
