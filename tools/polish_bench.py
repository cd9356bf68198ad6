"""Print what the silhouette polish changes on tuning scenes of the closed world, by noise level and renderer.

    python tools/polish_bench.py [--seeds 0:12] [--levels L0,L2] [--losses region,warp]

``region`` is the edge-region loss alone, ``warp`` the soft rasteriser's squared loss alone, ``both`` both, ``outline``
the squared loss of the unblurred silhouette.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hoirecon.data.closedworld import load_scene, observe_scene, split_of_seed
from hoirecon.evaluation.metrics import chamfer_cm, surface_samples
from hoirecon.fitting import ObjectToFit, fit_objects
from hoirecon.fitting.silhouette_polish import PolishConfig, PolishedObject, polish
from hoirecon.pose import ObjectPose

VARIANTS = {
    "region": (None, PolishConfig()),
    "outline": ("outline", PolishConfig(region=0.0)),
    "warp": ("warp", PolishConfig(region=0.0)),
    "both": ("warp", PolishConfig()),
}


def one_scene(seed: int, level: str, variants: Sequence[str]) -> list[dict[str, Any]]:
    """Fit a scene, then polish the fit by each variant."""
    scene = load_scene(seed, split_of_seed(seed))
    given = observe_scene(scene, level)
    thing = ObjectToFit(given.mesh, given.category, given.size_prior)
    fits = fit_objects(given.observation, given.body, [thing], [given.contacts])
    true = surface_samples(scene.mesh.with_verts(scene.pose.apply(scene.mesh.verts)))
    samples = surface_samples(given.mesh)

    def chamfer(pose: ObjectPose) -> float:
        return chamfer_cm(pose.apply(samples), true)

    rows = []
    for name in variants:
        renderer, config = VARIANTS[name]
        done = polish(fits, given.observation, [thing], given.body, [given.contacts], renderer=renderer, config=config)
        best: PolishedObject = done.objects[0]
        row = {"seed": seed, "level": level, "variant": name, "accepted": best.accepted, "seconds": done.seconds}
        row |= {"iou": (best.iou_before, best.iou_after), "chamfer": (chamfer(fits[0].pose), chamfer(best.pose))}
        print(f"{seed} {level} {name}: {best.reason}; IoU {best.iou_before:.3f} -> {best.iou_after:.3f}, Chamfer "
              f"{row['chamfer'][0]:.2f} -> {row['chamfer'][1]:.2f} cm, {done.seconds:.1f} s", flush=True)  # fmt: skip
        rows.append(row)
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """One line of the table."""
    taken = [r for r in rows if r["accepted"]]
    iou = np.array([r["iou"] for r in rows])
    kept = np.where([r["accepted"] for r in rows], iou[:, 1], iou[:, 0])
    chamfer = np.array([r["chamfer"] for r in rows])
    change = chamfer[:, 1] - chamfer[:, 0]
    better, worse = int((change < -0.05).sum()), int((change > 0.05).sum())
    return (
        f"| {rows[0]['level']} | {rows[0]['variant']} | {len(taken)} of {len(rows)} "
        f"| {np.median(iou[:, 0]):.3f} → {np.median(kept):.3f} "
        f"| {np.median(chamfer[:, 0]):.2f} → {np.median(chamfer[:, 1]):.2f} | {change.mean():+.2f} "
        f"| {better} : {worse} | {np.median([r['seconds'] for r in rows]):.1f} |"
    )


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0:12", help="first:last+1, tuning seeds")
    parser.add_argument("--levels", default="L0,L2")
    parser.add_argument("--losses", default="region,warp")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    first, last = (int(v) for v in arguments.seeds.split(":"))
    variants, table = arguments.losses.split(","), []
    for level in arguments.levels.split(","):
        rows = [row for seed in range(first, last) for row in one_scene(seed, level, variants)]
        table += [summary([r for r in rows if r["variant"] == name]) for name in variants]
    print("| level | loss | accepted | visible IoU | Chamfer cm | mean change | better : worse | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(table))


if __name__ == "__main__":
    main()
