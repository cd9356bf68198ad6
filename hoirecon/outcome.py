"""The stages' results put together: one scene, with every residual in px or mm, and what to know before trusting it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hoirecon.contact.protocols import ContactEstimate
from hoirecon.data.body import body_landmarks
from hoirecon.fitting.body_types import BodyFit
from hoirecon.fitting.object_types import ObjectFit
from hoirecon.observation import Observation
from hoirecon.requests import Thing
from hoirecon.scene import Measure, Scene, SceneBody, SceneObject, ScenePair


def assemble_scene(
    observation: Observation,
    fit: BodyFit,
    things: Sequence[Thing],
    fits: Sequence[ObjectFit],
    estimates: Sequence[ContactEstimate],
    config: dict[str, Any],
    seconds: dict[str, float],
) -> Scene:
    """One scene from what the stages found; ``things``, ``fits`` and ``estimates`` belong together in order."""
    from hoirecon.doctor import versions

    objects = tuple(
        SceneObject(
            thing.name,
            thing.contact.category.name if thing.contact.category else "",
            thing.contact.mesh,
            found.pose,
            thing.licence,
            thing.author,
            alternatives=tuple(other.pose for other in found.alternatives),
            alternative_energies=tuple(other.energy - found.energy for other in found.alternatives),
        )
        for thing, found in zip(things, fits, strict=True)
    )
    pairs = tuple(ScenePair(0, i, e.body, e.object) for i, e in enumerate(estimates))
    common = _common(estimates)
    flags = [*observation.notes, *fit.flags, *(f"every object: {text}" for text in common)]
    for thing, found, estimate in zip(things, fits, estimates, strict=True):
        flags += [f"{thing.name}: {text}" for text in (*estimate.flags, *found.flags) if text not in common]
    return Scene(
        observation,
        (_with_landmarks(fit, observation),),
        objects,
        pairs,
        measures=_measures(fit, things, fits, estimates, seconds),
        flags=tuple(dict.fromkeys(flags)),
        versions=versions(),
        config=config,
    )


def _common(estimates: Sequence[ContactEstimate]) -> list[str]:
    """What is said of every one of several objects (e.g. what the weights know) is said once."""
    if len(estimates) < 2:
        return []
    return [text for text in dict.fromkeys(estimates[0].flags) if all(text in e.flags for e in estimates)]


def _with_landmarks(fit: BodyFit, observation: Observation) -> SceneBody:
    """The body with its landmarks in the order of the photograph's; views can draw them without the body model."""
    assert observation.keypoints is not None  # the body was fitted to them
    found = body_landmarks(fit.evidence.model, observation.keypoints.layout)
    return replace(fit.body, landmarks=np.einsum("lk,lkc->lc", found.w, fit.body.verts[found.idx]))


def _measures(
    fit: BodyFit,
    things: Sequence[Thing],
    fits: Sequence[ObjectFit],
    estimates: Sequence[ContactEstimate],
    seconds: dict[str, float],
) -> dict[str, Measure]:
    measures = {
        "body/landmark_error": Measure(fit.landmark_error_px, "px", "median distance of landmarks, reprojected"),
        "body/landmark_error_relative": Measure(
            fit.landmark_error_relative, "ratio", "the same over the person's height in pixels"
        ),
    }
    for thing, found, estimate in zip(things, fits, estimates, strict=True):
        measures |= _object_measures(thing, found, estimate)
    measures |= {f"seconds/{name}": Measure(value, "s", "wall clock") for name, value in seconds.items()}
    return measures


def _object_measures(thing: Thing, found: ObjectFit, estimate: ContactEstimate) -> dict[str, Measure]:
    scaled = float(thing.contact.mesh.extents.max() * found.pose.s)
    measures = {
        f"{thing.name}/iou_visible": Measure(
            found.iou_visible, "ratio", "overlap of mask and object on visible pixels"
        ),
        f"{thing.name}/penetration": Measure(found.max_penetration_mm, "mm", "deepest penetration of body and object"),
        f"{thing.name}/longest_side": Measure(scaled, "m", "fitted size"),
    }
    units = {"px": "px", "mm": "mm", "deg": "deg", "ratio": "ratio"}
    for name, report in found.terms.items():
        if report.unit in units:
            measures[f"{thing.name}/{name}"] = Measure(report.median, report.unit, "median residual")  # type: ignore[arg-type]
    for pair in estimate.pairs:
        measures[f"{thing.name}/{pair.body_part} at {pair.object_part}"] = Measure(
            pair.probability, "ratio", "probability of this contact"
        )
    return measures
