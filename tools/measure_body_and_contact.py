"""Print how well bodies come back from landmarks, and how well hands that hold something are told from idle ones.

    python tools/measure_body_and_contact.py    # about two minutes on one core; --people 10 --scenes 20 for less

Bodies: random people (seeds 500...), landmarks with noise as of a good and a bad detector. Contact: random people with
an object of the library in a random turn at one palm, or pushed 35 to 60 cm aside; the body that the estimator sees is
fitted from noisy landmarks; truth is a distance under 3 cm between hand and object. Seeds under 1000 were used for
tuning.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from hoirecon.arrays import FloatArray
from hoirecon.contact.geometric import GeometricContact
from hoirecon.contact.protocols import ContactObject
from hoirecon.data.body import BodyModel, load_body
from hoirecon.data.objects import load_object
from hoirecon.errors import require
from hoirecon.fitting.body_fit import fit_body
from hoirecon.fitting.random_people import CAMERA, Person, random_person
from hoirecon.observation import Observation
from hoirecon.pose import ObjectPose

HELD = ("cell phone", "cup", "bottle", "tennis racket", "book", "umbrella", "hammer", "broom", "banana", "knife",
        "dumbbell", "handbag", "suitcase", "remote", "baseball bat")  # fmt: skip
GRIPS = ("handle", "grip", "body", "back", "strap")


@dataclass(frozen=True)
class Hand:
    """One hand of one scene."""

    probability: float
    holds: bool


def main(argv: list[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=25)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--first-seed", type=int, default=500)
    args = parser.parse_args(argv)
    model = load_body(dtype=torch.float64)
    print("noise px/mm | joint error mm median, worst | landmark error % of height | depth error % | s per fit")
    for noise_px, noise_m in ((0, 0.0), (3, 0.03), (8, 0.08)):
        print(f"{noise_px} / {1000 * noise_m:.0f} | " + bodies(model, args.people, args.first_seed, noise_px, noise_m))
    print("hands | AUC | recall, precision at 0.5 | mean probability of holding and of idle hands")
    print(contact(model, args.scenes, args.first_seed))


def bodies(model: BodyModel, people: int, first: int, noise_px: float, noise_m: float) -> str:
    """One line of the table of bodies."""
    joints, landmarks, depths, start = [], [], [], time.perf_counter()
    for seed in range(first, first + people):
        person = random_person(model, seed, noise_px=noise_px, noise_m=noise_m)
        fit = fit_body(person.keypoints, CAMERA, model)
        found, true = fit.body.joints[:22], person.body.joints[:22]
        joints.append(1000 * np.median(np.linalg.norm(found - found[0] - true + true[0], axis=1)))
        landmarks.append(100 * fit.landmark_error_relative)
        depths.append(100 * abs(found[0, 2] / true[0, 2] - 1))
    seconds = (time.perf_counter() - start) / people
    return (
        f"{np.median(joints):.0f}, {max(joints):.0f} | {np.median(landmarks):.2f} | "
        f"{np.median(depths):.1f} | {seconds:.2f}"
    )


def contact(model: BodyModel, scenes: int, first: int) -> str:
    """The line of the table of hands."""
    hands = [
        hand for seed in range(first, first + scenes) for away in (False, True) for hand in _hands(model, seed, away)
    ]
    p, holds = np.array([h.probability for h in hands]), np.array([h.holds for h in hands])
    pairs = p[holds][:, None] - p[~holds]
    auc = float(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    sure = p > 0.5
    recall, precision = (sure & holds).sum() / holds.sum(), (sure & holds).sum() / max(sure.sum(), 1)
    means = f"{p[holds].mean():.2f}, {p[~holds].mean():.2f}"
    return f"{len(p)} ({holds.sum()} hold) | {auc:.3f} | {recall:.2f}, {precision:.2f} | {means}"


def _hands(model: BodyModel, seed: int, away: bool) -> list[Hand]:
    rng = np.random.default_rng(seed)
    person = random_person(model, seed, noise_px=3, noise_m=0.03)
    thing = ContactObject.of(load_object(HELD[rng.integers(len(HELD))]))
    pose = _at_palm(person, thing, ("left", "right")[rng.integers(2)], rng)
    if away:
        aside = np.array([rng.choice([-1, 1]) * rng.uniform(0.35, 0.6), rng.uniform(-0.2, 0.2), 0.0])
        pose = ObjectPose(pose.R, pose.t + aside)
    verts = pose.apply(thing.mesh.verts)
    seen = _cast(person, verts, thing)
    if (seen == 1).sum() < 30:
        return []
    image = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    observation = Observation(image, CAMERA, person_mask=seen == 0, object_masks=(seen == 1,))
    body = fit_body(person.keypoints, CAMERA, model).body
    grip = GeometricContact(model).estimate(observation, body, thing).hand_grip
    tree = cKDTree(verts)
    near = {s: tree.query(person.body.verts[model.parts.verts_of(f"{s}_hand")])[0].min() < 0.03 for s in grip}
    return [Hand(grip[side], bool(near[side])) for side in grip]


def _at_palm(person: Person, thing: ContactObject, side: str, rng: np.random.Generator) -> ObjectPose:
    """A random turn, the grip laid against the palm from its open side."""
    ids = person.model.parts.verts_of(f"{side}_palm")
    palm, normal = person.body.verts[ids].mean(axis=0), person.body.mesh.vert_normals[ids].mean(axis=0)
    normal = normal / np.linalg.norm(normal)
    R: FloatArray = Rotation.random(rng=rng).as_matrix()
    grip = next((part for part in thing.parts if part in GRIPS), "")
    points = thing.mesh.verts[thing.part_verts(grip)] @ R.T
    centre = points.mean(axis=0)
    thickness = -min(float(((points - centre) @ normal).min()), 0.0)
    return ObjectPose(R, palm + (0.02 + 0.6 * thickness) * normal - centre)


def _cast(person: Person, verts: FloatArray, thing: ContactObject) -> FloatArray:
    """(H, W) 0 where the person is seen, 1 where the object, -1 elsewhere."""
    o3d = require("open3d", extra="render")
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    for v, f in ((person.body.verts, person.body.faces), (verts, thing.mesh.faces)):
        scene.add_triangles(v.astype(np.float32), f.astype(np.uint32))
    rows, cols = np.mgrid[: CAMERA.height, : CAMERA.width]
    through = CAMERA.unproject(np.stack([cols + 0.5, rows + 0.5], -1), np.ones(rows.shape))
    hit = scene.cast_rays(o3d.core.Tensor(np.concatenate([0 * through, through], -1).astype(np.float32)))
    ids = hit["geometry_ids"].numpy().astype(np.float64)
    return np.where(np.isfinite(hit["t_hit"].numpy()), ids, -1.0)


if __name__ == "__main__":
    main()
