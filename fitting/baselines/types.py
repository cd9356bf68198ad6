"""What every baseline is given and what it gives back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from hoirecon.arrays import BoolArray, FloatArray, as_floats
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.fitting.evidence_checks import check_evidence
from hoirecon.fitting.object_problem import check_body, check_mesh
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation, box_of_mask
from hoirecon.pose import ObjectPose


@dataclass(frozen=True)
class BaselineProblem:
    """One object to place beside one posed body."""

    camera: Camera
    object_mask: BoolArray
    """(H, W) visible pixels of the object."""
    person_mask: BoolArray
    """(H, W) visible pixels of the person."""
    body: Mesh
    """The posed body, camera frame, metres; no baseline moves it."""
    mesh: Mesh
    """The object in its own frame (y up, z to the front), metres."""
    body_contact: FloatArray
    """(V,) contact probability per body vertex; all zero if nothing is known."""
    object_contact: FloatArray
    """(V,) contact probability per object vertex; likewise."""
    correspondences: tuple[FloatArray, FloatArray] | None = None
    """(N, 3) body points in the camera frame and the (N, 3) object points, object frame, that touch them."""
    scale_prior: tuple[float, float] = (0.0, 0.2)
    """Mean and standard deviation of the logarithm of the scale; deviation 0 means that the size is known."""

    def __post_init__(self) -> None:
        check_mesh(self.mesh)
        check_body(self.body)
        shape = (self.camera.height, self.camera.width)
        for name in ("object_mask", "person_mask"):
            if getattr(self, name).shape != shape:
                raise InputError(f"{name} is {getattr(self, name).shape}, the camera says {shape}")
        if not self.object_mask.any():
            raise InputError("object_mask is empty: there is nothing to place the object by")
        for name, mesh in (("body_contact", self.body), ("object_contact", self.mesh)):
            object.__setattr__(self, name, as_floats(getattr(self, name), (len(mesh.verts),), name))
        if self.correspondences is not None:
            _check_pairs(*self.correspondences)

    @property
    def scale(self) -> float:
        """The expected scale."""
        return float(np.exp(self.scale_prior[0]))

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """Box (x, y, width, height) of the object's mask, pixels; found once, as thousands of starts ask for it."""
        return box_of_mask(self.object_mask)

    def touching(self, body_threshold: float = 0.5, object_threshold: float = 0.5) -> tuple[FloatArray, FloatArray]:
        """Contact vertices (A, 3) of the body, camera frame, and (B, 3) of the object, object frame."""
        on_body = self.body.verts[self.body_contact > body_threshold]
        return on_body, self.mesh.verts[self.object_contact > object_threshold]


@dataclass(frozen=True)
class BaselineResult:
    """Where a baseline puts the object."""

    pose: ObjectPose
    iterations: int
    """Optimiser steps (or rounds) spent, all hypotheses together."""
    seconds: float
    """CPU seconds of this process."""


Baseline = Callable[[BaselineProblem], BaselineResult]
"""A baseline in some settings."""


def baseline_problem(
    observation: Observation,
    body_mesh_cam: Mesh,
    obj: ObjectToFit,
    contact: tuple[ContactMap, ContactMap] | None,
    index: int = 0,
    correspondences: tuple[FloatArray, FloatArray] | None = None,
) -> BaselineProblem:
    """State the problem of object ``index`` of an observation, from what :func:`hoirecon.fitting.fit_objects` takes."""
    if contact is not None:
        contact[0].check_on(body_mesh_cam.topology, len(body_mesh_cam.verts), "the body")
        contact[1].check_on(obj.mesh.topology, len(obj.mesh.verts), obj.name)
    mask = observation.object_masks[index]
    pairs = {} if contact is None else {(0, 0): contact}
    check_evidence(observation.replace(object_masks=(mask,)), [body_mesh_cam], [obj], pairs)
    on_body, on_object = _touching(body_mesh_cam, obj.mesh, contact, correspondences)
    return BaselineProblem(
        camera=observation.camera,
        object_mask=mask,
        person_mask=np.zeros_like(mask) if observation.person_mask is None else observation.person_mask,
        body=body_mesh_cam,
        mesh=obj.mesh,
        body_contact=on_body,
        object_contact=on_object,
        correspondences=correspondences,
        scale_prior=obj.size_prior,
    )


def _touching(
    body: Mesh, mesh: Mesh, contact: tuple[ContactMap, ContactMap] | None, pairs: tuple[FloatArray, FloatArray] | None
) -> tuple[FloatArray, FloatArray]:
    """Contact probabilities on body and object; from the ends of the correspondences if only those are known."""
    if contact is not None:
        return contact[0].probability, contact[1].probability
    touched = np.zeros(len(body.verts)), np.zeros(len(mesh.verts))
    if pairs is not None:
        for probability, verts, ends in zip(touched, (body.verts, mesh.verts), pairs, strict=True):
            probability[cKDTree(verts).query(np.asarray(ends))[1]] = 1.0
    return touched


def timed(place: Callable[[], tuple[ObjectPose, int]]) -> BaselineResult:
    """Run a baseline and note its CPU time."""
    start = time.process_time()
    pose, iterations = place()
    return BaselineResult(pose, iterations, time.process_time() - start)


def _check_pairs(on_body: FloatArray, on_object: FloatArray) -> None:
    if len(on_body) == 0 or as_floats(on_body, ("N", 3), "body points").shape != np.shape(on_object):
        raise InputError(
            f"correspondences are {np.shape(on_body)} body and {np.shape(on_object)} object points: give as many of "
            f"the one as of the other, at least one"
        )
