"""What is measured on one pair of reconstructions; presets pick from these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hoirecon.arrays import FloatArray, IntArray, as_floats, as_ints
from hoirecon.camera import Camera
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.alignment import Align, Similarity, pair_alignment
from hoirecon.evaluation.metrics.body import mpjpe, pa_mpjpe, pck_auc, v2v, window_alignment
from hoirecon.evaluation.metrics.chamfer import chamfer, sampled_chamfer, surface_chamfer
from hoirecon.evaluation.metrics.contact import EmptyPolicy, precision_recall_f1
from hoirecon.evaluation.metrics.counts import contact_counts, vertex_areas
from hoirecon.evaluation.metrics.fscore import fscore
from hoirecon.evaluation.metrics.pose import (
    Symmetries,
    add,
    add_s,
    mspd,
    mssd,
    pose_recalls,
    rotation_error,
    scale_ratio,
    translation_error,
)
from hoirecon.evaluation.metrics.preset_types import Labels, Pair
from hoirecon.evaluation.metrics.reconstruction import CONTACT_WITHIN_M, contact_distance, penetration, share_inside
from hoirecon.evaluation.metrics.silhouettes import silhouette_iou
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

SUCCESS_M, SUCCESS_DEG = 0.05, 15.0
"""An object is found if ADD-S and the rotation error lie below these."""
MOST_PX = 1000.0
"""What MSPD counts at most: an object behind the camera is infinitely far off, which no mean survives."""
DECIDES = 10
"""Every so many frames of a window decide its alignment."""
ADDS_AUC_M = 0.1
"""The area under the curve of ADD-S runs from 0 to here (PoseCNN)."""


@dataclass(frozen=True)
class Reconstruction:
    """Person and object in one frame; what a protocol does not read may be left out."""

    body_verts: FloatArray | None = None
    """(V, 3) metres; or the person's points."""
    object_verts: FloatArray | None = None
    """(W, 3) metres; or the object's points."""
    body_faces: IntArray | None = None
    """(F, 3); a prediction without takes the truth's."""
    object_faces: IntArray | None = None
    """(G, 3); a prediction without takes the truth's."""
    body_contact: FloatArray | None = None
    """(V,) contact labels of a truth. A truth without is measured like the prediction."""
    body_joints: FloatArray | None = None
    """(J, 3) metres, the root first."""
    object_pose: ObjectPose | None = None
    """From the template's frame."""
    template: FloatArray | None = None
    """(W, 3) vertices in the object's own frame, of a truth with pose."""
    symmetry: Symmetries = None
    """Of the template, of a truth."""
    camera: Camera | None = None
    """Of a truth, for pixel errors."""

    def __post_init__(self) -> None:
        for name in ("body_verts", "object_verts", "body_joints", "template"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_floats(getattr(self, name), ("N", 3), name))
        for name in ("body_faces", "object_faces"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_ints(getattr(self, name), ("F", 3), name))

    def need(self, name: str) -> Any:
        """One of the fields.

        Raises:
            InputError: it is None.
        """
        value = getattr(self, name)
        if value is None:
            raise InputError(f"the protocol reads `{name}` of a reconstruction, but it is None")
        return value

    def moved(self, move: Similarity) -> Reconstruction:
        """Vertices and joints moved; pose and contact stay."""
        body, thing, joints = (
            None if points is None else move.apply(points)
            for points in (self.body_verts, self.object_verts, self.body_joints)
        )
        return replace(self, body_verts=body, object_verts=thing, body_joints=joints)


@dataclass(frozen=True)
class Rules:
    """What a preset says to a measure."""

    sample: str
    """Id, for the seeds."""
    move: Similarity
    """Alignment of the prediction."""
    samples: int
    contact_within_m: float
    contact_to: Literal["surface", "verts"]
    contact_empty: EmptyPolicy


def alignments(
    pairs: Sequence[Pair], labels: Labels, how: Align, area_weighted: bool, window: int
) -> list[Similarity | None]:
    """The transform of each sample; None of failed ones."""
    if window:
        return _window_alignments(pairs, labels, window)
    moves: list[Similarity | None] = []
    for (prediction, truth), name in zip(pairs, labels.ids, strict=True):
        if prediction is None:
            moves.append(None)
            continue
        try:
            moves.append(_alignment(prediction, truth, how, area_weighted))
        except InputError as error:
            raise InputError(f"sample {name}, alignment: {error}") from error
    return moves


def _alignment(prediction: Reconstruction, truth: Reconstruction, how: Align, area_weighted: bool) -> Similarity:
    if how == "none":
        return Similarity.identity()
    hips = (prediction.need("body_joints")[0], truth.need("body_joints")[0]) if how == "hip" else None
    weights = None
    if area_weighted:
        each = [vertex_areas(truth.need(f"{part}_verts"), truth.need(f"{part}_faces")) for part in ("body", "object")]
        weights = np.concatenate(each)
    ours, theirs = ((one.need("body_verts"), one.need("object_verts")) for one in (prediction, truth))
    return pair_alignment(*ours, *theirs, how, weights, hips)


def _window_alignments(pairs: Sequence[Pair], labels: Labels, window: int) -> list[Similarity | None]:
    moves: list[Similarity | None] = [None] * len(pairs)
    for group in dict.fromkeys(labels.groups):
        frames = [i for i, g in enumerate(labels.groups) if g == group]
        for start in range(0, len(frames), window):
            part = frames[start : start + window]
            answered = [i for i in part if pairs[i][0] is not None]
            # Counted before failures are left out: which frames decide must not hang on what was answered.
            deciding = [i for i in part[::DECIDES] if pairs[i][0] is not None] or answered
            if deciding:
                ours, theirs = zip(*(_paired_verts(pairs[i], labels.ids[i]) for i in deciding), strict=True)
                move = window_alignment(np.stack(ours), np.stack(theirs), every=1)
                for i in answered:
                    moves[i] = move
    return moves


def _paired_verts(pair: Pair, name: str) -> tuple[FloatArray, FloatArray]:
    ours, theirs = (_joint_verts(one) for one in pair)
    if len(ours) != len(theirs):
        raise InputError(
            f"sample {name}: its body and object have {len(ours)} vertices together, the truth's {len(theirs)}: a "
            "track is aligned vertex by vertex, so give the data's own body and template"
        )
    return ours, theirs


def _joint_verts(one: Reconstruction) -> FloatArray:
    return np.concatenate([one.need("body_verts"), one.need("object_verts")])


def _chamfer_of(part: str, scale: float, name: str) -> Callable[..., dict[str, float]]:
    def measure(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
        ours = rules.move.apply(prediction.need(f"{part}_verts"))
        theirs = truth.need(f"{part}_verts")
        if not rules.samples:
            return {name: scale * chamfer(ours, theirs)}
        faces = truth.need(f"{part}_faces")
        own = getattr(prediction, f"{part}_faces")
        own = faces if own is None else own
        return {name: scale * sampled_chamfer(ours, own, theirs, faces, rules.samples, sample=rules.sample, part=part)}

    return measure


def _chamfer_both(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    ours, faces = _joint_mesh(prediction, truth)
    theirs, true_faces = _joint_mesh(truth, truth)
    moved = rules.move.apply(ours)
    value = sampled_chamfer(moved, faces, theirs, true_faces, rules.samples, sample=rules.sample, part="both")
    return {"cd_both_cm": 100 * value}


def _joint_mesh(one: Reconstruction, truth: Reconstruction) -> tuple[FloatArray, IntArray]:
    body, thing = one.need("body_verts"), one.need("object_verts")
    faces = [truth.need(f"{p}_faces") if getattr(one, f"{p}_faces") is None else getattr(one, f"{p}_faces")
             for p in ("body", "object")]  # fmt: skip
    return np.concatenate([body, thing]), np.concatenate([faces[0], faces[1] + len(body)])


def _joined(*measures: Callable[..., dict[str, float]]) -> Callable[..., dict[str, float]]:
    def measure(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
        row: dict[str, float] = {}
        for each in measures:
            row |= each(prediction, truth, rules)
        return row

    return measure


def _surface(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    row = {}
    for part, name in (("body", "surface_human_cm"), ("object", "surface_object_cm")):
        faces, own = truth.need(f"{part}_faces"), getattr(prediction, f"{part}_faces")
        moved, theirs = rules.move.apply(prediction.need(f"{part}_verts")), truth.need(f"{part}_verts")
        value = surface_chamfer(
            moved, faces if own is None else own, theirs, faces, rules.samples, sample=rules.sample, part=part
        )
        row[name] = 100 * value
    return row


def _contact(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    """Before alignment: contact is between the two predicted shapes."""
    said = _reach(prediction, truth, rules) < rules.contact_within_m
    if truth.body_contact is None:
        return _contact_scores(said, _reach(truth, truth, rules) < rules.contact_within_m, rules)
    return _contact_scores(said, np.asarray(truth.body_contact) == 1, rules)


def _contact_at(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    """As `contact`, and the F1 of contact that both shapes have at 5 mm, 2 cm and 5 cm, whatever the labels say."""
    said, true = _reach(prediction, truth, rules), _reach(truth, truth, rules)
    labels = true < rules.contact_within_m if truth.body_contact is None else np.asarray(truth.body_contact) == 1
    row = _contact_scores(said < rules.contact_within_m, labels, rules)
    for name, within in CONTACT_WITHIN_M.items():
        counts = contact_counts(said < within, true < within)
        row[f"f1_{name}"] = float(precision_recall_f1(counts, rules.contact_empty).f1[0])
    return row


def _contact_scores(said: Any, true: Any, rules: Rules) -> dict[str, float]:
    scores = precision_recall_f1(contact_counts(said, true), rules.contact_empty)
    row = {name: float(getattr(scores, name)[0]) for name in ("precision", "recall", "f1")}
    return row | {"empty_prediction": float(not said.any()), "empty_truth": float(not true.any())}


def _reach(one: Reconstruction, truth: Reconstruction, rules: Rules) -> FloatArray:
    """(V,) distance of the body's vertices to its own object, metres."""
    faces = truth.object_faces if one.object_faces is None else one.object_faces
    if rules.contact_to == "surface" and faces is None:
        raise InputError("contact with a surface reads `object_faces`, but it is None")
    return contact_distance(one.need("body_verts"), one.need("object_verts"), faces, rules.contact_to)


def _collision(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    return {"collision": share_inside(prediction.need("body_verts"), _object_mesh(prediction, truth))}


def _penetration(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    faces = truth.need("body_faces") if prediction.body_faces is None else prediction.body_faces
    body = Mesh(prediction.need("body_verts"), faces, "predicted body")
    found = penetration(body, _object_mesh(prediction, truth))
    return {
        "collision": found.share_inside,
        "penetration_cm": 100 * found.max_m,
        "penetration_mean_cm": 100 * found.mean_m,
        "volume_cm3": 1e6 * found.volume_m3,
    }


def _silhouette(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    """Of truths with a camera: overlap of the two objects' whole silhouettes, nothing hiding them."""
    if truth.camera is None:
        return {}
    placed = Mesh(truth.need("object_verts"), truth.need("object_faces"), "true object")
    return {"iou": silhouette_iou(_object_mesh(prediction, truth), placed, truth.camera)}


def _object_mesh(one: Reconstruction, truth: Reconstruction) -> Mesh:
    faces = truth.need("object_faces") if one.object_faces is None else one.object_faces
    return Mesh(one.need("object_verts"), faces, "predicted object")


def _pose(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    pose, true, template = prediction.need("object_pose"), truth.need("object_pose"), truth.need("template")
    nearest, turned = add_s(pose, true, template), rotation_error(pose, true, truth.symmetry)
    row = {
        "add_cm": 100 * add(pose, true, template),
        "adds_cm": 100 * nearest,
        "adds_auc": max(0.0, 1 - nearest / ADDS_AUC_M),
        "mssd_cm": 100 * mssd(pose, true, template, truth.symmetry),
        "rotation_deg": turned,
        "translation_cm": 100 * translation_error(pose, true),
        "scale": abs(scale_ratio(pose, true) - 1),
        "success": float(nearest < SUCCESS_M and turned < SUCCESS_DEG),
    }
    if truth.camera is not None:
        row["mspd_px"] = min(mspd(pose, true, template, truth.camera, truth.symmetry), MOST_PX)
    return row


def _recall(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    """Of truths with a camera: one of the three recalls counts pixels."""
    if truth.camera is None:
        return {}
    recalls = pose_recalls(
        prediction.need("object_pose"),
        truth.need("object_pose"),
        truth.need("template"),
        truth.camera,
        truth.symmetry,
    )
    return {"average_recall": recalls.average}


def _body(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    ours, theirs = prediction.need("body_joints")[None], truth.need("body_joints")[None]
    row = {
        "mpjpe_mm": 1000 * float(mpjpe(ours, theirs)[0]),
        "pa_mpjpe_mm": 1000 * float(pa_mpjpe(ours, theirs)[0]),
        "pck_auc": float(pck_auc(ours, theirs)[0]),
    }
    if prediction.body_verts is not None and truth.body_verts is not None:
        verts = prediction.body_verts[None], truth.body_verts[None]
        row["v2v_mm"] = 1000 * float(v2v(*verts, ours, theirs, turn=True)[0])
    return row


def _v2v(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    row = {}
    for part, name in (("body", "v2v_human_mm"), ("object", "v2v_object_mm")):
        moved, theirs = rules.move.apply(prediction.need(f"{part}_verts")), truth.need(f"{part}_verts")
        row[name] = 1000 * float(v2v(moved[None], theirs[None])[0])
    return row


def _fscore(prediction: Reconstruction, truth: Reconstruction, rules: Rules) -> dict[str, float]:
    moved = prediction.moved(rules.move)
    return {
        "fscore_human": fscore(moved.need("body_verts"), truth.need("body_verts")).f,
        "fscore_object": fscore(moved.need("object_verts"), truth.need("object_verts")).f,
        "fscore_both": fscore(_joint_verts(moved), _joint_verts(truth)).f,
    }


MEASURES: dict[str, Callable[[Reconstruction, Reconstruction, Rules], dict[str, float]]] = {
    "cd_cm": _joined(_chamfer_of("body", 100.0, "cd_human_cm"), _chamfer_of("object", 100.0, "cd_object_cm")),
    "cd_mm": _joined(_chamfer_of("body", 1000.0, "cd_human_mm"), _chamfer_of("object", 1000.0, "cd_object_mm")),
    "cd_object_cm": _chamfer_of("object", 100.0, "cd_object_cm"),
    "cd_both_cm": _chamfer_both,
    "surface_cm": _surface,
    "contact": _contact,
    "contact_at": _contact_at,
    "collision": _collision,
    "penetration": _penetration,
    "silhouette": _silhouette,
    "pose": _pose,
    "recall": _recall,
    "body": _body,
    "v2v": _v2v,
    "fscore": _fscore,
}
"""By name; each gives metrics of one pair."""
NEEDS_CAMERA = ("mspd_px", "iou", "average_recall")
"""Metrics that samples have whose truth has a camera; others have none, failed or not."""
