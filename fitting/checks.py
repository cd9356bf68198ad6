"""What the fits are given, checked in one place before any work starts; every refusal says what to do.

Kinds, counts and settings are looked at here, the evidence itself in :mod:`hoirecon.fitting.evidence_checks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch

from hoirecon.contact.protocols import ContactEstimate
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.fitting.body_types import BodyFit
from hoirecon.fitting.evidence_checks import Pair, Pairs, check_evidence, check_finite
from hoirecon.fitting.fit_config import FitConfig
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_person import PersonToFit
from hoirecon.fitting.object_types import ObjectToFit
from hoirecon.mesh import Mesh
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose
from hoirecon.scene import SceneBody

AnyBody = PersonToFit | BodyFit | SceneBody

POSITIVE = ("_sigma", "_sigma_px", "_scale", "_softness", "_points", "_cells", "_faces", "samples", "raster", "chunk",
            "keep", "finish", "best", "carried", "anchor", "anchor_transl", "temperature", "iterations",
            "contact_scale")  # fmt: skip
"""Endings of the names of settings that must be above 0; the others only must not be negative."""


# ------------------------------------------------------------------------------------------------- kinds and counts
def check_object_fit(
    observation: Any, body: Any, objects: Any, contacts: Any, config: Any, device: Any
) -> tuple[Mesh, list[Pair | None], FitConfig]:
    """What :func:`~hoirecon.fitting.object_fit.fit_objects` is given.

    Returns:
        The body as a mesh, the contact of each object, and the settings.

    Raises:
        InputError: see :func:`check_evidence`; also lists of different lengths and wrong kinds of things.
        TopologyError: contact on another mesh.
    """
    _kind(observation, (Observation,), "the observation")
    _kind(body, (Mesh, SceneBody), "the body")
    things = _list_of(objects, ObjectToFit, "objects")
    config = FitConfig() if config is None else _kind(config, (FitConfig,), "the config of fit_objects")
    pairs = contact_list(contacts)
    counts = (len(things), len(pairs), len(observation.object_masks))
    if len(set(counts)) != 1 or counts[0] == 0:
        raise InputError(
            f"got {counts[0]} objects, {counts[1]} contacts and {counts[2]} object masks: give one mask and one "
            f"contact (or None) for each object"
        )
    check_config(config)
    check_device(device)
    _check_rotations(things, config)
    mesh = body.mesh if isinstance(body, SceneBody) else body
    found = {(0, k): pair for k, pair in enumerate(pairs) if pair is not None}
    _check_topology([(body.topology, len(mesh.verts))], things, found)
    check_evidence(observation, [mesh], things, found)
    return mesh, pairs, config


def check_fit(
    observation: Any, body: Any, objects: Any, contacts: Any, config: Any, terms: Any, starts: Any, device: Any,
    dtype: Any,
) -> tuple[list[PersonToFit], Pairs, JointConfig]:  # fmt: skip
    """What :func:`~hoirecon.fitting.joint_fit.fit` is given.

    Returns:
        The persons, the contact of each (body, object) that has any, and the settings.

    Raises:
        InputError: see :func:`check_evidence`; also lists of different lengths and wrong kinds of things.
        TopologyError: contact on another mesh.
    """
    _kind(observation, (Observation,), "the observation")
    bodies: list[Any] = [body] if isinstance(body, AnyBody | Mesh | np.ndarray) else _sequence(body, "the bodies")
    bodies = [_kind(b, (PersonToFit, BodyFit, SceneBody), f"body {i}") for i, b in enumerate(bodies)]
    people = [PersonToFit.of(b) for b in bodies]
    things = _list_of(objects, ObjectToFit, "objects")
    config = FitConfig() if config is None else _kind(config, (FitConfig, JointConfig), "the config of fit")
    config = config if isinstance(config, JointConfig) else JointConfig(objects=config)
    pairs = _pairs(observation, people, things, contacts)
    check_config(config)
    check_device(device, dtype)
    check_terms_given(terms)
    _check_starts(starts, things)
    if starts is None:
        _check_rotations(things, config.objects)
    _check_topology([(p.body.topology, len(p.body.verts)) for p in people], things, pairs)
    check_evidence(observation, [p.body.mesh for p in people], things, pairs)
    return people, pairs, config


def _kind(value: Any, kinds: tuple[type, ...], name: str) -> Any:
    if not isinstance(value, kinds):
        wanted = " or ".join(k.__name__ for k in kinds)
        raise InputError(f"{name} must be of type {wanted}, got {type(value).__name__}: make it one first")
    return value


def _sequence(value: Any, name: str) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise InputError(f"{name} must be a list, got {type(value).__name__}: put it in brackets, [..]")
    return list(value)


def _list_of(value: Any, kind: type, name: str) -> list[Any]:
    return [_kind(v, (kind,), f"{name}[{k}]") for k, v in enumerate(_sequence(value, name))]


def contact_list(contacts: Any) -> list[Pair | None]:
    """One pair or None per object, in order; an estimate counts as its pair.

    Raises:
        InputError: no list, or something else in it.
    """
    if contacts is None:
        raise InputError(
            "contacts are None: give one entry for each object, (on_body, on_object), or None where nothing is known, "
            "e.g. contacts=[None] for one object"
        )
    return [
        None if pair is None else _pair(pair, f"contacts[{k}]")
        for k, pair in enumerate(_sequence(contacts, "contacts"))
    ]


def _pair(pair: Any, name: str) -> Pair:
    if isinstance(pair, ContactEstimate):
        pair = (pair.body, pair.object)
    if isinstance(pair, ContactMap) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise InputError(
            f"{name} must be two ContactMaps (on the body, on the object) or None, got {type(pair).__name__}: give "
            f"contacts=[(on_body, on_object)]"
        )
    return _kind(pair[0], (ContactMap,), f"{name}[0]"), _kind(pair[1], (ContactMap,), f"{name}[1]")


def _pairs(observation: Observation, people: list[PersonToFit], things: list[ObjectToFit], contacts: Any) -> Pairs:
    """The pairs that touch, by (body, object)."""
    if not people or not things or len(things) != len(observation.object_masks):
        raise InputError(
            f"got {len(people)} bodies, {len(things)} objects and {len(observation.object_masks)} object masks: give "
            f"at least one of each and one mask for each object"
        )
    if not isinstance(contacts, Mapping):
        listed = contact_list(contacts)
        if len(people) > 1:
            raise InputError(
                "with several bodies say who touches what: contacts={(body, object): (on_body, on_object)}"
            )
        if len(listed) != len(things):
            raise InputError(f"got {len(listed)} contacts for {len(things)} objects: give one (or None) for each")
        return {(0, k): pair for k, pair in enumerate(listed) if pair is not None}
    for key in contacts:
        if not (isinstance(key, tuple) and len(key) == 2 and all(isinstance(n, (int, np.integer)) for n in key)):
            raise InputError(f"contacts are named by (index of the body, index of the object), got {key!r}")
        if not (0 <= key[0] < len(people) and 0 <= key[1] < len(things)):
            raise InputError(
                f"contacts speak of body {key[0]} and object {key[1]}, which are not there: there are {len(people)} "
                f"bodies and {len(things)} objects, counted from 0"
            )
    return {key: _pair(pair, f"contacts[{key}]") for key, pair in contacts.items() if pair is not None}


def _check_topology(
    bodies: Sequence[tuple[str, int]], things: Sequence[ObjectToFit], pairs: Mapping[tuple[int, int], Pair]
) -> None:
    for (i, k), (on_body, on_object) in pairs.items():
        on_body.check_on(*bodies[i], "the body")
        on_object.check_on(things[k].mesh.topology, len(things[k].mesh.verts), things[k].name)


def check_terms_given(terms: Any) -> None:
    """Raise :class:`InputError` unless the user's terms are terms with names of their own."""
    given = _sequence(terms, "terms")
    for n, term in enumerate(given):
        lacking = [a for a in ("name", "weight", "robust", "residuals") if not hasattr(term, a)]
        if lacking:
            raise InputError(
                f"terms[{n}] is {term!r}, which has no {', '.join(lacking)}: a term has a name, a weight, a "
                f"robust scale and residuals(view); the fit's own terms are not named here, their weights are settings"
            )
        if not term.weight >= 0:
            raise InputError(f"the weight of the term '{term.name}' must be 0 or more, got {term.weight}")
    names = [term.name for term in given]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"two terms are called '{twice[0]}': give each its own name")


def _check_starts(starts: Any, things: Sequence[ObjectToFit]) -> None:
    if starts is None:
        return
    rows = _sequence(starts, "starts")
    if not rows or any(len(_sequence(row, f"starts[{n}]")) != len(things) for n, row in enumerate(rows)):
        raise InputError(f"starts need at least one hypothesis, each with {len(things)} poses, one per object")
    for n, row in enumerate(rows):
        for pose, obj in zip(row, things, strict=True):
            _kind(pose, (ObjectPose,), f"a pose of starts[{n}]")
            check_finite(f"the pose of {obj.name} in starts[{n}]", pose.R, pose.t, pose.s)
            depth = float(np.median(pose.apply(obj.mesh.verts)[:, 2]))
            if depth <= 0:
                raise InputError(
                    f"starts[{n}] puts {obj.name} behind the camera (median depth {depth:.2f} m): poses go to the "
                    f"camera frame, z forward"
                )


def _check_rotations(things: Sequence[ObjectToFit], config: FitConfig) -> None:
    for obj in things:
        given = obj.initial_rotations
        if config.hypotheses == 0 and (given is None or len(given) == 0):
            raise InputError(f"{obj.name} has no start rotation: give initial_rotations or hypotheses > 0")
        if given is not None and len(given) and float(np.linalg.det(given).min()) < 0:
            raise InputError(
                f"initial_rotations of {obj.name} must be rotations, one of them mirrors (det -1): flip one axis"
            )


def check_device(device: Any, dtype: Any = torch.float32) -> None:
    """Raise :class:`InputError` unless tensors of this kind can live there."""
    try:
        where = torch.device(device)
    except (RuntimeError, TypeError) as err:
        raise InputError(f"the device is 'cpu' or 'cuda' (or 'cuda:1'), got {device!r}") from err
    if where.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device '{device}' needs a CUDA graphics card, which torch finds none of: use device='cpu'")
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"the fit computes in torch.float32 or torch.float64, got {dtype}")


def check_config(config: FitConfig | JointConfig) -> None:
    """Raise :class:`InputError` for settings with which nothing can be computed: NaN, below 0, 0 where it counts."""
    wrong = list(_wrong_settings(config, ""))
    if wrong:
        raise InputError(f"{type(config).__name__} cannot be used: {'; '.join(wrong)}")


def _wrong_settings(config: Any, prefix: str) -> list[str]:
    found: list[str] = []
    for field in fields(config):
        name, value = prefix + field.name, getattr(config, field.name)
        if is_dataclass(value):
            found += _wrong_settings(value, f"{name}.")
        elif not isinstance(value, bool) and isinstance(value, (int, float, tuple, np.number)):
            found += _wrong_numbers(name, value, whole=field.type == "int")
    return found


def _wrong_numbers(name: str, value: Any, whole: bool) -> list[str]:
    try:
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        return []
    above = name.endswith(POSITIVE) and name != "chain.iterations"  # without a chain stage there are two stages
    bad = ~(numbers > 0) if above else ~(numbers >= 0)
    if bad.any():
        return [f"{name} must be {'above 0' if above else '0 or more'}, got {value}"]
    return [f"{name} must be a whole number, got {value}"] if whole and (numbers % 1 != 0).any() else []
