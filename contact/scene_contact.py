"""InteractVLM's answers as the reconstruction wants them: contact of one fitted body with one object, and which part
of the one touches which part of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact.geometric import GeometricContact
from hoirecon.contact.inference.evidence import Evidence
from hoirecon.contact.inference.queries import Query
from hoirecon.contact.protocols import WHOLE, ContactEstimate, ContactObject, PartPair
from hoirecon.contact_map import CONTACT_THRESHOLD, ContactMap
from hoirecon.errors import TopologyError

if TYPE_CHECKING:
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.data.body import BodyModel
    from hoirecon.observation import Observation
    from hoirecon.pose import ObjectPose
    from hoirecon.scene import SceneBody

LEAST = 0.25
"""Part pairs less likely than this are not worth a mention, as in the geometric estimate."""
TOP_SHARE = 0.1
"""A part is as likely touched as its likeliest tenth of vertices on average: one vertex alone is noise."""
FROM_GEOMETRY = "these weights know nothing of contact on {what}: it was taken from the body's pose and the masks"
Side = Literal["human", "object"]
SIDES: tuple[Side, ...] = ("human", "object")


def estimate_in_scene(
    model: InteractVLM,
    observation: Observation,
    body: SceneBody,
    obj: ContactObject,
    pose: ObjectPose | None,
    object_index: int,
) -> ContactEstimate:
    """See :meth:`hoirecon.contact.estimator.InteractVLM.estimate`."""
    if body.topology != model.body_model.topology:
        raise TopologyError(
            f"the body is '{body.topology}', but the estimator answers on '{model.body_model.topology}': give the "
            f"same body model to both"
        )
    label = obj.category.name if obj.category is not None else obj.mesh.name
    learned = [side for side in SIDES if side in model.trained_for and (side == "human" or model.knows_object(label))]
    seen = Evidence.of(observation, object_index) if model.network.config.sees_evidence else observation.image
    found = model.ask([Query(side, seen, label, mesh=obj.mesh) for side in learned])
    maps = {side: result for side, result in zip(learned, found, strict=True) if isinstance(result, ContactMap)}
    guess = GeometricContact(model.body_model).estimate(observation, body, obj, pose, object_index)
    return _together(model.body_model, obj, maps, guess)


def _together(
    body_model: BodyModel, obj: ContactObject, maps: Mapping[Side, ContactMap], guess: ContactEstimate
) -> ContactEstimate:
    """What was learned, and geometry's guess for the rest: also of which part of the one touches which of the other,
    as contact maps do not say it."""
    if not maps:
        return replace(guess, flags=(*(FROM_GEOMETRY.format(what=w) for w in ("bodies", "objects")), *guess.flags))
    on_body, on_object = maps.get("human", guess.body), maps.get("object", guess.object)
    flags = list(dict.fromkeys(note for contact in maps.values() for note in contact.notes))
    if len(maps) < len(SIDES):
        flags += [FROM_GEOMETRY.format(what="objects" if "human" in maps else "bodies"), *guess.flags]
    if "human" not in maps:
        return replace(guess, object=on_object, flags=tuple(flags))
    named = body_model.parts
    parts = part_probabilities(on_body.probability, {name: named.verts_of(name) for name in named.names})
    pairs = pair_up(parts, part_probabilities(on_object.probability, obj.parts), guess.pairs)
    return ContactEstimate(on_body, on_object, pairs, parts, flags=tuple(flags))


def part_probabilities(probability: FloatArray, parts: Mapping[str, IntArray]) -> dict[str, float]:
    """How likely each part is touched anywhere: the mean of its likeliest tenth of vertices."""
    return {name: _top(probability[ids]) for name, ids in parts.items() if len(ids)}


def _top(values: FloatArray) -> float:
    count = max(int(np.ceil(TOP_SHARE * len(values))), 1)
    return float(np.sort(values)[-count:].mean())


def pair_up(
    parts: Mapping[str, float], object_parts: Mapping[str, float], guess: Sequence[PartPair] = ()
) -> tuple[PartPair, ...]:
    """Which part of the object each touched part of the body touches, most likely first.

    Contact maps say what is touched on either side, not by what. If one part of the object is touched, it is that one.
    Of several the guess decides; without a guess it is the whole object, wherever the body is nearest.
    """
    touched = [name for name, p in object_parts.items() if p > CONTACT_THRESHOLD]
    pairs = []
    for name, p in parts.items():
        guessed = [q.object_part for q in guess if q.body_part == name and (not touched or q.object_part in touched)]
        other = touched[0] if len(touched) == 1 else next(iter(guessed), WHOLE)
        pairs.append(PartPair(name, other, min(p, object_parts[other]) if other in touched else p))
    kept = [pair for pair in pairs if pair.probability >= LEAST]
    return tuple(sorted(kept, key=lambda pair: -pair.probability))
