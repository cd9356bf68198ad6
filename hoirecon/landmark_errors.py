"""How BlazePose errs on rendered people: the errors that the small model's evidence is spoilt with in training.

python -m hoirecon.landmark_errors --scenes 300 --out contact/training/assets/landmark_errors.npz

Quick scenes are drawn with shading, clothes and a plain background, BlazePose looks at them, and its landmarks are held
against the true ones. What it gives is kept view by view, so that errors that go together (a leg taken for the other,
a depth that leans) stay together. People of one colour each are not photographs: this measures the detector's own
habits, not what blur, cloth and crowds add.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.files import atomic_file
from hoirecon.mesh import Mesh

if TYPE_CHECKING:
    from hoirecon.contact.training.closedworld_data import View
    from hoirecon.contact.training.quick_scenes import QuickScene

SIDE_PX = 480
"""Side of the pictures."""
SEED = 77
"""Seed of the scenes that are looked at."""


@dataclass(frozen=True, eq=False)
class LandmarkErrors:
    """What a detector gave on N views; the image plane's errors are in metres at the person's depth."""

    xy: FloatArray
    """(N, 33, 2) given minus true, x to the right, y down."""
    xyz: FloatArray
    """(N, 33, 3) given minus true, both relative to the middle of the hips."""
    confidence: FloatArray
    """(N, 33)."""
    hidden: np.ndarray
    """(N, 33) behind something in truth."""
    azimuth: FloatArray
    """(N,) degrees of the camera round the person."""
    asked: int
    """Views that were looked at; of the others nobody was found in."""


def measure(scenes: int, seed: int = SEED, looks: int | None = None) -> LandmarkErrors:
    """Look at so many scenes with BlazePose.

    Args:
        scenes: how many.
        seed: of the scenes.
        looks: at each person (``BlazePoseConfig.looks``); None takes the usual number.

    Raises:
        MissingExtraError: BlazePose's runtime or open3d is not installed.
        MissingModelError: BlazePose's files are not there.
    """
    from hoirecon.contact.training.closedworld_data import View, draw_scene, landmarks_seen
    from hoirecon.perception.blazepose import BlazePose

    detector = BlazePose(threads=1) if looks is None else BlazePose(threads=1, looks=looks)
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(scenes):
        scene = draw_scene("train", rng)
        view = View.drawn(scene, rng)
        picture, to_pixels = render(scene, view, rng)
        true = landmarks_seen(scene, view)
        found = [p.keypoints for p in detector.detect(picture)[:1] if p.keypoints is not None]
        if found and found[0].xyz is not None:
            pixels, per_metre = to_pixels(true.at)
            xy = (found[0].xy - pixels) / per_metre
            rows.append((xy, found[0].xyz - true.xyz, found[0].confidence, true.hidden, view.azimuth))
    xy, xyz, confidence, hidden = (np.stack([row[k] for row in rows]) for k in range(4))
    return LandmarkErrors(xy, xyz, confidence, hidden, np.array([row[4] for row in rows]), scenes)


def render(scene: QuickScene, view: View, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    """A shaded picture of a scene, and how points of the view come to its pixels."""
    from hoirecon.data.closedworld.photograph import shaded
    from hoirecon.data.closedworld.posing import body_model

    meshes = [Mesh(scene.verts @ view.R.T + view.t, body_model().faces)]
    meshes += [Mesh(o.verts @ view.R.T + view.t, o.faces) for o in scene.objects]
    everything = np.concatenate([m.verts[:, :2] / m.verts[:, 2:] for m in meshes])
    low, high = everything.min(0), everything.max(0)
    side, centre = 1.25 * float((high - low).max()), (low + high) / 2
    steps = (np.arange(SIDE_PX) + 0.5) / SIDE_PX - 0.5
    x, y = np.meshgrid(centre[0] + side * steps, centre[1] + side * steps)
    way = np.stack([x, y, np.ones_like(x)], axis=-1)
    picture = shaded(meshes, way, rng)
    depth = float(meshes[0].verts[:, 2].mean())

    def to_pixels(points: FloatArray) -> tuple[FloatArray, float]:
        return ((points - centre) / side + 0.5) * SIDE_PX, SIDE_PX / side / depth

    return picture, to_pixels


def summary(found: LandmarkErrors) -> str:
    """The figures in words."""
    off = np.linalg.norm(found.xy, axis=2)
    count = len(found.xy)
    lines = [f"found in {count} of {found.asked} views ({count / found.asked:.3f})"]
    for name, which in (("seen", ~found.hidden), ("hidden", found.hidden)):
        q = np.quantile(off[which], [0.5, 0.9])
        depth = np.abs(found.xyz[..., 2])[which]
        lines.append(
            f"{name}: off in the picture by {q[0]:.3f} m (median), {q[1]:.3f} m (90 %); in depth by "
            f"{np.median(depth):.3f} m (median); confidence {np.median(found.confidence[which]):.2f} (median)"
        )
    lines.append(f"left and right exchanged: {_exchanged(found):.3f} of the views")
    return "\n".join(lines)


_SIDES = ((11, 12), (23, 24))
"""Left and right shoulder, left and right hip."""


def _exchanged(found: LandmarkErrors) -> float:
    """Share of views in which the way from right to left is off by more than its own length, at shoulders and hips."""
    limits = (0.35, 0.2)
    off = [np.linalg.norm(found.xyz[:, a] - found.xyz[:, b], axis=1) for a, b in _SIDES]
    return float(np.mean((off[0] > limits[0]) & (off[1] > limits[1])))


def save(found: LandmarkErrors, path: Path) -> None:
    """Write the errors, halves and bytes where they suffice."""
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, xy=found.xy.astype(np.float16), xyz=found.xyz.astype(np.float16),
            confidence=found.confidence.astype(np.float16), hidden=found.hidden,
            azimuth=found.azimuth.astype(np.float16), asked=np.int64(found.asked),
        )  # fmt: skip


def main() -> None:
    """Measure, say what came out, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--looks", type=int, help="at each person; 1 is BlazePose as published")
    options = parser.parse_args()
    found = measure(options.scenes, looks=options.looks)
    print(summary(found))
    save(found, options.out)


if __name__ == "__main__":
    main()
