"""A toy estimator that says what it was told, and what it is asked about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hoirecon.arrays import ByteArray
from hoirecon.contact.estimator import EstimatorConfig, InteractVLM
from hoirecon.contact.inference.queries import Kind, Query
from hoirecon.contact.toy import teach_answers, toy_model
from hoirecon.mesh import Mesh

SAYS: dict[Kind, str] = {
    "human": "The contacting body parts are left_palm, right_palm, and the contact region is {token}.",
    "object": "It is {token}.",
    "affordance": "The affordance type is grasp, and the contact region is {token}.",
    "image": "Sure, {token}.",
}
"""What the toy answers to each kind of question."""


def photograph(seed: int = 0, size: tuple[int, int] = (60, 90)) -> ByteArray:
    """Noise in blocks, which survives resizing."""
    blocks = np.random.default_rng(seed).integers(0, 256, (size[0] // 10, size[1] // 10, 3), dtype=np.uint8)
    return blocks.repeat(10, axis=0).repeat(10, axis=1)


def ball(height: float = 1.0) -> Mesh:
    """A stretched icosphere, 162 vertices."""
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=2)
    return Mesh(sphere.vertices * [1.0, height, 0.7], sphere.faces, name="ball")


def queries_on(image: Any, label: str = "bottle", mesh: Any = None) -> list[Query]:
    """One question of each kind."""
    mesh = ball() if mesh is None else mesh
    return [Query(kind, image, label, mesh=mesh if kind in ("object", "affordance") else None) for kind in SAYS]


def told(image: Any = None, says: Mapping[Kind, str] = SAYS, label: str = "bottle", **options: Any) -> InteractVLM:
    """A toy that gives these answers on this photograph."""
    model = toy_model(**({"object_questions": "simple"} | options))
    queries = [q for q in queries_on(photograph() if image is None else image, label) if q.kind in says]
    teach_answers(model, {query: says[query.kind] for query in queries})
    model.looker.forget()
    return model


def like(model: InteractVLM, config: EstimatorConfig | None = None, **options: Any) -> InteractVLM:
    """Another estimator of the same network, which has seen nothing."""
    return InteractVLM(model.network, model.tokenizer, **({"cache": None, "config": config} | options))


def gap(a: Any, b: Any) -> float:
    """Largest difference of two results' probabilities."""
    return float(np.abs(a.probability - b.probability).max())
