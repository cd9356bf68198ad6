"""InteractVLM's answers as the reconstruction wants them: contact of one fitted body with one object, and which part
of the one touches which part of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact.geometric import GeometricContact
from hoirecon.contact.inference.queries import Query
from hoirecon.contact.protocols import WHOLE, ContactEstimate, ContactObject, PartPair
from hoirecon.contact_map import CONTACT_THRESHOLD, ContactMap
from hoirecon.errors import TopologyError

if TYPE_CHECKING:
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.observation import Observation
    from hoirecon.pose import ObjectPose
    from hoirecon.scene import SceneBody

LEAST = 0.2
"""Part pairs less likely than this are not worth a mention."""
TOP_SHARE = 0.1
"""A part is as likely touched as its likeliest tenth of vertices on average: one vertex alone is noise."""
FROM_GEOMETRY = "these weights know nothing of contact on {what}: it was taken from the body's pose and the masks"


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
    learned = {"human", "object"} & model.trained_for
    queries = {
        "human": Query("human", observation.image, label),
        "object": Query("object", observation.image, label, mesh=obj.mesh),
    }
    asked = [name for name in queries if name in learned]
    found = model.ask([queries[name] for name in asked])
    maps = {name: result for name, result in zip(asked, found, strict=True) if isinstance(result, ContactMap)}
    guess = None
    if len(maps) < 2:
        guess = GeometricContact(model.body_model).estimate(observation, body, obj, pose, object_index)
    return _together(model, obj, maps, guess)


def _together(
    model: InteractVLM, obj: ContactObject, maps: Mapping[str, ContactMap], guess: ContactEstimate | None
) -> ContactEstimate:
    flags = [note for contact in maps.values() for note in contact.notes]
    if guess is not None:
        flags += [FROM_GEOMETRY.format(what={"human": "bodies", "object": "objects"}[name])
                  for name in ("human", "object") if name not in maps]  # fmt: skip
    on_body = maps["human"] if "human" in maps or guess is None else guess.body
    on_object = maps["object"] if "object" in maps or guess is None else guess.object
    names = model.body_model.parts
    parts = part_probabilities(on_body.probability, {name: names.verts_of(name) for name in names.names})
    object_parts = part_probabilities(on_object.probability, obj.parts)
    pairs = guess.pairs if guess is not None and "human" not in maps else pair_up(parts, object_parts, guess)
    base = guess or ContactEstimate(on_body, on_object)
    return replace(base, body=on_body, object=on_object, pairs=pairs, parts=parts, flags=(*flags, *base.flags))


def part_probabilities(probability: FloatArray, parts: Mapping[str, IntArray]) -> dict[str, float]:
    """How likely each part is touched anywhere: the mean of its likeliest tenth of vertices."""
    return {name: _top(probability[ids]) for name, ids in parts.items() if len(ids)}


def _top(values: FloatArray) -> float:
    count = max(int(np.ceil(TOP_SHARE * len(values))), 1)
    return float(np.sort(values)[-count:].mean())


def pair_up(
    parts: Mapping[str, float], object_parts: Mapping[str, float], guess: ContactEstimate | None = None
) -> tuple[PartPair, ...]:
    """Which part of the body touches which part of the object, most likely first.

    Contact maps say what is touched on either side, not by what. A geometric estimate's pairs decide where there is
    one; otherwise every touched part of the body goes with every touched part of the object, or with the whole of it.
    """
    hint: dict[str, list[str]] = {}
    for pair in guess.pairs if guess is not None else ():
        hint.setdefault(pair.body_part, []).append(pair.object_part)
    touched = [name for name, p in object_parts.items() if p > CONTACT_THRESHOLD]
    pairs = []
    for name, p in parts.items():
        others = hint.get(name, [])[:1] or touched or [WHOLE]
        pairs += [PartPair(name, other, min(p, object_parts.get(other, 1.0) if touched else 1.0)) for other in others]
    kept = [pair for pair in pairs if pair.probability >= LEAST]
    return tuple(sorted(kept, key=lambda pair: -pair.probability))
