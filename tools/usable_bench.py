"""How well found meshes become usable objects, measured on library meshes whose truth is known.

    python tools/usable_bench.py shell     library meshes damaged on purpose: closed? how far from the original?
    python tools/usable_bench.py symmetry  rotations found against the rotations that the library states
    python tools/usable_bench.py up        up axis and front of meshes turned by right angles (--fit: the weights)

Choices (tolerances, weights) were made on every third mesh of the library; symmetry and up report on the others.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import trimesh
from scipy.optimize import minimize

from hoirecon.data.objects import LibraryObject, Symmetry, list_objects, load_object
from hoirecon.data.objects.orientation import (
    Orientation,
    OrientationConfig,
    guess_orientation,
    right_angle_turns,
    upright_features,
)
from hoirecon.data.objects.repair import repair_mesh
from hoirecon.data.objects.signed_distance import ray_scene, unsigned_distance
from hoirecon.data.objects.symmetry_detection import detect_symmetry
from hoirecon.mesh import Mesh

KINDS = ("dropped", "flipped", "soup")


def damaged(mesh: Mesh, kind: str, rng: np.random.Generator) -> Mesh:
    """A tenth of the faces dropped; or half of them turned round; or all apart, shaken and half of them turned."""
    faces = mesh.faces.copy()
    if kind == "dropped":
        return Mesh(mesh.verts, faces[rng.random(len(faces)) > 0.1], name=mesh.name)
    turned = rng.random(len(faces)) < 0.5
    faces[turned] = faces[turned][:, ::-1]
    if kind == "flipped":
        return Mesh(mesh.verts, faces, name=mesh.name)
    corners = mesh.verts[faces] + rng.normal(0, 2e-4 * mesh.diagonal, (len(faces), 1, 3))
    return Mesh(corners.reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3), name=mesh.name)


def hausdorff(a: Mesh, b: Mesh) -> tuple[float, float, float]:
    """Largest distance of points of a to b and of b to a, and the mean of all, in percent of a's diagonal."""
    found = []
    for one, other in ((a, b), (b, a)):
        points = trimesh.sample.sample_surface(one.to_trimesh(), 10_000, seed=1)[0]
        found.append(100 * unsigned_distance(ray_scene(other), np.asarray(points)) / a.diagonal)
    return float(found[0].max()), float(found[1].max()), float(np.concatenate(found).mean())


def bench_shell(count: int, first: int) -> None:
    entries = list_objects()
    chosen = [entries[i] for i in np.linspace(0, len(entries) - 1, count).astype(int)][first:]
    rows: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
    for entry in chosen:
        mesh = load_object(entry.id).mesh
        for kind in KINDS:
            broken = damaged(mesh, kind, np.random.default_rng(0))
            start = time.process_time()
            repaired = repair_mesh(broken).mesh
            seconds = time.process_time() - start
            volume = repaired.to_trimesh().volume / mesh.to_trimesh().volume
            rows[kind].append((repaired.is_watertight, *hausdorff(mesh, repaired), seconds, volume))
            print(entry.id, kind, *(f"{v:.3f}" for v in rows[kind][-1]), flush=True)
    print("kind | n | closed | Hausdorff original to result, result to original, mean (% of diagonal), CPU s, volume")
    for kind, values in rows.items():
        table = np.array(values, dtype=float)
        cells = [f"{np.median(c):.2f} ({np.quantile(c, 0.9):.2f}, {c.max():.2f})" for c in table[:, 1:].T]
        print(f"{kind} | {len(table)} | {table[:, 0].mean():.3f} | " + " | ".join(cells) + "  [median (90 %, worst)]")


def group_of(symmetry: Symmetry) -> Any:
    """Something equal for equal groups."""
    if len(symmetry.continuous) == 3:
        return "ball"
    if symmetry.continuous:
        axis = symmetry.continuous[0]
        return axis, any(a != axis and n % 2 == 0 for a, n in symmetry.discrete)
    return frozenset(tuple(np.round(R, 3).ravel() + 0.0) for R in symmetry.rotations())


def contains(large: Symmetry, small: Symmetry) -> bool:
    """Whether all rotations of one group are in another (continuous ones at the angles of the smaller)."""
    if len(large.continuous) == 3:
        return True
    if len(small.continuous) == 3:
        return False
    group = np.concatenate([large.rotations(steps) for steps in (7, 24)])
    return all(np.abs(group - R).max(axis=(1, 2)).min() < 1e-6 for R in small.rotations(7))


def bench_symmetry() -> None:
    objects = [load_object(e.id) for i, e in enumerate(list_objects()) if i % 3]
    start = time.process_time()
    found = [detect_symmetry(o.mesh) for o in objects]
    seconds = (time.process_time() - start) / len(objects)
    stated = [not o.symmetry.is_trivial for o in objects]
    said = [not s.is_trivial for s in found]
    whole = sum(contains(s, o.symmetry) for o, s, t in zip(objects, found, stated, strict=True) if t)
    only = sum(contains(o.symmetry, s) for o, s, t in zip(objects, found, said, strict=True) if t)
    same = sum(group_of(o.symmetry) == group_of(s) for o, s in zip(objects, found, strict=True))
    print(f"n {len(objects)}, {seconds:.3f} CPU s each; the same group: {same}")
    print(f"recall (all that the library states is found): {whole} of {sum(stated)}")
    print(f"precision (nothing is found that it does not state): {only} of {sum(said)}")
    extra = [
        f"{o.id}: {s.continuous}{s.discrete}"
        for o, s in zip(objects, found, strict=True)
        if not contains(o.symmetry, s)
    ]
    print("more than stated:", "; ".join(extra))


def bench_up(count: int) -> None:
    """Each mesh as filed, and turned by one of 24 rotations; its own mesh is not among those it is laid over."""
    rows: list[tuple[float, ...]] = []
    rng = np.random.default_rng(0)
    unseen = [entry for i, entry in enumerate(list_objects()) if i % 3]
    for i in np.unique(np.linspace(0, len(unseen) - 1, count).astype(int)):
        entry, turn = unseen[i], right_angle_turns()[rng.integers(24)]
        obj = load_object(entry.id)
        siblings = len(list_objects(entry.category)) > 1
        standing = obj.category.group in ("furniture", "vehicles")
        row: list[float] = [standing, siblings]
        for R in (turn, np.eye(3)):
            mesh = obj.mesh.with_verts(obj.mesh.verts @ R.T)
            ignorant = OrientationConfig(file_up=1 / 6 if R is turn else 0.9)
            row += right(guess_orientation(mesh, entry.category, leave_out=(entry.id,)), R, obj)
            row += right(guess_orientation(mesh, None, ignorant), R, obj)
        rows.append(tuple(row))
    table = np.array(rows, dtype=float)
    for name, mine in (("furniture, vehicles", table[:, 0] == 1), ("what is held", table[:, 0] == 0)):
        part, with_siblings = table[mine], table[mine & (table[:, 1] == 1)]
        for k, state in ((2, "turned"), (6, "as filed")):
            by_name, by_shape = with_siblings[:, k : k + 2].mean(0), part[:, k + 2 : k + 4].mean(0)
            print(f"{name}, {state}: by category (n {len(with_siblings)}) up {by_name[0]:.3f}, up and front "
                  f"{by_name[1]:.3f}; by geometry (n {len(part)}) up {by_shape[0]:.3f}")  # fmt: skip


def right(guess: Orientation, R: np.ndarray[Any, Any], obj: LibraryObject) -> tuple[float, float]:
    """Whether up, and all of the orientation, is right up to the object's own symmetry."""
    total = guess.R_obj_source @ R
    group = obj.symmetry.rotations(4)
    return (
        any(np.allclose((S.T @ total)[1], [0, 1, 0]) for S in group),
        any(np.allclose(total, S) for S in group),
    )


def fit_up() -> None:
    """Conditional logit over the six axes, on every third mesh."""
    ups = np.unique(right_angle_turns()[:, 1], axis=0)
    features, truth = [], []
    for entry in list_objects()[::3]:
        obj = load_object(entry.id)
        features.append(upright_features(obj.mesh, ups))
        truth.append([any(np.allclose(S.T @ u, [0, 1, 0]) for S in obj.symmetry.rotations(4)) for u in ups])
    x, y = np.array(features), np.array(truth, dtype=float)

    def cost(weights: np.ndarray[Any, Any]) -> float:
        z = x @ weights
        p = np.exp(z - z.max(1, keepdims=True))
        return float(-np.log((p * y).sum(1) / p.sum(1)).mean() + 0.01 * (weights**2).sum())

    print("FEATURE_WEIGHTS =", tuple(float(w) for w in minimize(cost, np.zeros(x.shape[2])).x.round(2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("shell", "symmetry", "up"))
    parser.add_argument("--count", type=int, default=40, help="meshes to damage, or to turn")
    parser.add_argument("--first", type=int, default=0, help="leave out so many of those meshes")
    parser.add_argument("--fit", action="store_true", help="fit the weights of the up axis instead")
    options = parser.parse_args()
    if options.what == "shell":
        bench_shell(options.count, options.first)
    elif options.what == "symmetry":
        bench_symmetry()
    elif options.fit:
        fit_up()
    else:
        bench_up(options.count)


if __name__ == "__main__":
    main()
