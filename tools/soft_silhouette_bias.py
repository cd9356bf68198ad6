"""Draw docs/pictures/soft-silhouettes.png and print its table: where fits to soft silhouettes end.

    python tools/soft_silhouette_bias.py [--out FILE]

Each mesh is drawn hard (a pixel counts if its centre is covered), and size and place are fitted to that mask from the
truth, at several places within a pixel: by soft silhouettes of several sigmas, by the unblurred outline, and by the
contour terms of the object fit. What remains is the bias of the loss (and the pixels of the mask).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import trimesh
from torch import Tensor

from hoirecon.camera import Camera
from hoirecon.data.objects import load_object
from hoirecon.fitting.contour import make_region
from hoirecon.fitting.fit_config import FitConfig
from hoirecon.fitting.object_problem import lighter
from hoirecon.fitting.object_state import ObjectState, View, limit_step
from hoirecon.fitting.object_terms import MaskOnOutline, OutlineOnMask
from hoirecon.fitting.objective import linearise
from hoirecon.fitting.raster import zbuffer
from hoirecon.fitting.renderers import OutlineRenderer, Renderer, WarpRenderer, silhouette_loss
from hoirecon.fitting.silhouette import edge_topology
from hoirecon.fitting.solver import LMConfig, levenberg_marquardt
from hoirecon.mesh import Mesh

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OUT = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "soft-silhouettes.png"
SIDE, FOCAL, DEPTH = 96, 200.0, 2.0
CAMERA = Camera.from_focal(FOCAL, SIDE, SIDE)
SIGMAS = (1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
SHIFTS = ((0.2, 0.15), (0.55, 0.75))
"""Places within a pixel, averaged."""
STEPS = 36


@dataclass(frozen=True)
class Shape:
    """A mesh and how large it is on the picture."""

    name: str
    verts: Tensor
    faces: Tensor
    radius_px: float
    """Half of its longest extent."""


def shapes() -> list[Shape]:
    """A disc with few and with many faces, a thin bar, and a thing of the library."""
    bar = trimesh.creation.box((0.6, 0.02, 0.02)).subdivide_to_size(0.06)
    found = [
        ("disc, 80 faces", trimesh.creation.icosphere(subdivisions=1, radius=0.25)),
        ("disc, 1280 faces", trimesh.creation.icosphere(subdivisions=3, radius=0.25)),
        ("bar, 2 px thin", bar),
        ("hammer", _light("hammer")),
        ("chair", _light("chair")),
    ]
    turns = {"bar, 2 px thin": (0.2, 0.3, 0.5), "hammer": (0.3, 0.4, 0.6), "chair": (2.8, 0.6, 0.1)}
    return [_shape(name, mesh, turns.get(name, (0.0, 0.0, 0.0))) for name, mesh in found]


def _light(category: str) -> Any:
    """A thing of the library with about a thousand faces."""
    return lighter(load_object(category).mesh, 1000).to_trimesh()


def _shape(name: str, mesh: Any, turn: tuple[float, float, float]) -> Shape:
    mesh = mesh.copy()
    mesh.apply_transform(trimesh.transformations.euler_matrix(*turn))
    verts = np.asarray(mesh.vertices) - np.asarray(mesh.bounds).mean(0)
    verts = verts * (0.25 / np.abs(verts[:, :2]).max())
    return Shape(name, torch.tensor(verts), torch.tensor(np.array(mesh.faces)), FOCAL * 0.25 / DEPTH)


def hard_mask(shape: Shape, shift: tuple[float, float]) -> Tensor:
    """(SIDE, SIDE) pixels whose centre is covered, float64."""
    xyz = shape.verts + torch.tensor([*(d * DEPTH / FOCAL for d in shift), DEPTH], dtype=torch.float64)
    xy = xyz[:, :2] / xyz[:, 2:] * FOCAL + SIDE / 2
    return torch.isfinite(zbuffer(torch.cat([xy, xyz[:, 2:]], 1)[None], shape.faces, SIDE, SIDE)[0]).double()


def placed(shape: Shape, knobs: Tensor, shift: tuple[float, float]) -> Tensor:
    """(1, V, 3) vertices for knobs (log scale, shift in pixels) from the truth; depth stays."""
    t = torch.stack([knobs[1] + shift[0], knobs[2] + shift[1]]) * DEPTH / FOCAL
    return (shape.verts * knobs[0].exp() + torch.cat([t, t.new_tensor([DEPTH])]))[None]


def fitted_by_renderer(shape: Shape, renderer: Renderer, shift: tuple[float, float]) -> Tensor:
    """(3,) log scale and shift in pixels, from the truth, that make the squared loss least."""
    target, knobs = hard_mask(shape, shift), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    unit = torch.tensor([1 / shape.radius_px, 1.0, 1.0], dtype=torch.float64)
    adam = torch.optim.Adam([knobs], lr=0.4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
    for _ in range(STEPS):
        adam.zero_grad()
        alpha = renderer.silhouettes(placed(shape, knobs * unit, shift), shape.faces, CAMERA)
        silhouette_loss(alpha, target).sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()
    return (knobs * unit).detach()


def fitted_by_contour(shape: Shape, shift: tuple[float, float]) -> Tensor:
    """The same by the two contour terms and Levenberg-Marquardt; turning and depth are held."""
    config = FitConfig()
    nobody = Mesh(np.array([[9.0, 9, 3], [9.1, 9, 3], [9, 9.1, 3]]), np.array([[0, 1, 2]]))
    mask = hard_mask(shape, shift).numpy() > 0
    region = make_region(mask, CAMERA, (np.zeros_like(mask), nobody), dtype=torch.float64)
    view = View(shape.verts, edge_topology(shape.faces.numpy(), dtype=torch.float64), region, 256, 512)
    t = placed(shape, torch.zeros(3, dtype=torch.float64), shift)[0] - shape.verts
    state = ObjectState(torch.eye(3, dtype=torch.float64)[None], t[:1], torch.zeros(1, dtype=torch.float64), view)
    terms = [
        OutlineOnMask(1.5, 6.0, 10.0, config.depth_softness),
        MaskOnOutline(*region.contour_points(400), 1.5, 6.0, 10.0, config.depth_softness),
    ]
    free = torch.tensor([0.0, 0, 0, 1, 1, 0, 1], dtype=torch.float64)

    def model(s: ObjectState) -> Any:
        quad = linearise(terms, s)
        held = torch.diag(1e6 * (1 - free))
        return replace(quad, gradient=quad.gradient * free, hessian=quad.hessian * free[:, None] * free + held)

    found = levenberg_marquardt(
        state, model, ObjectState.retract, ObjectState.select, ObjectState.merge,
        LMConfig(iterations=25, tolerance=1e-7), limit_step,
    ).state  # fmt: skip
    moved = (found.t - state.t)[0, :2] * FOCAL / DEPTH
    return torch.cat([found.log_s, moved])


def bias(shape: Shape, fit: Callable[[Shape, tuple[float, float]], Tensor]) -> tuple[float, float]:
    """Mean change of the half extent, and mean length of the shift, pixels."""
    found = torch.stack([fit(shape, shift) for shift in SHIFTS])
    growth = shape.radius_px * (found[:, 0].exp() - 1)
    return float(growth.mean()), float(found[:, 1:].norm(dim=1).mean())


def measure(shape: Shape) -> dict[str, tuple[float, float]]:
    """Every loss on one shape."""
    losses: dict[str, Callable[[Shape, tuple[float, float]], Tensor]] = {
        f"{sigma:g}": partial(_by, WarpRenderer(sigma)) for sigma in SIGMAS
    }
    losses |= {"outline": partial(_by, OutlineRenderer()), "contour": fitted_by_contour}
    return {name: bias(shape, fit) for name, fit in losses.items()}


def _by(renderer: Renderer, shape: Shape, shift: tuple[float, float]) -> Tensor:
    return fitted_by_renderer(shape, renderer, shift)


def blur_px(sigma: float) -> float:
    """Distance at which a face's border has faded to sigmoid(-1) = .27, pixels."""
    return float(np.sqrt(sigma) * SIDE / 2)


def draw(found: dict[str, dict[str, tuple[float, float]]], every: list[Shape], out: Path) -> None:
    """The figure: silhouettes above, biases below."""
    figure = plt.figure(figsize=(11, 6.6), dpi=110, layout="constrained")
    rows = figure.subfigures(2, 1, height_ratios=[1, 1.35])
    _draw_silhouettes(rows[0], every)
    size, place = rows[1].subplots(1, 2)
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    for (name, values), colour in zip(found.items(), colours, strict=False):
        for axes, k in ((size, 0), (place, 1)):
            axes.plot([blur_px(s) for s in SIGMAS], [values[f"{s:g}"][k] for s in SIGMAS], "o-", c=colour, label=name)
            axes.plot([0.032], [values["outline"][k]], "D", c=colour, ms=6, clip_on=False)
            axes.plot([0.026], [values["contour"][k]], "^", c=colour, ms=7, clip_on=False)
    for axes, title in ((size, "change of the fitted half extent, px"), (place, "length of the fitted shift, px")):
        axes.set_xscale("log")
        axes.set_xlim(0.021, 2)
        axes.axhline(0, c="k", lw=0.7)
        axes.axvline(0.039, c="0.6", lw=0.7)
        ticks = [0.05, 0.1, 0.2, 0.5, 1.0]
        axes.set_xticks([0.026, 0.032, *ticks], ["△", "◇", *(f"{t:g}" for t in ticks)])
        axes.minorticks_off()
        axes.set_xlabel("blur, px   (△ contour terms, ◇ unblurred outline)")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.25)
    size.legend(fontsize=8, loc="lower left")
    figure.savefig(out)


def _draw_silhouettes(figure: Any, every: list[Shape]) -> None:
    picked = [(every[1], 1e-4), (every[2], 1e-4), (every[4], 1e-5), (every[4], 1e-4), (every[4], 1e-3)]
    for axes, (shape, sigma) in zip(figure.subplots(1, len(picked)), picked, strict=True):
        verts = placed(shape, torch.zeros(3, dtype=torch.float64), (0.0, 0.0))
        alpha = WarpRenderer(sigma).silhouettes(verts, shape.faces, CAMERA)[0].numpy()
        axes.imshow(alpha, cmap="gray", vmin=0, vmax=1, extent=(0, SIDE, SIDE, 0))
        axes.contour(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5, hard_mask(shape, (0.0, 0.0)).numpy(), [0.5],
                     colors="#ff5030", linewidths=0.9)  # fmt: skip
        axes.set_title(f"{shape.name}\nblur {blur_px(sigma):.2f} px", fontsize=9)
        axes.set_xlim(14, 82)
        axes.set_ylim(82, 14)
        axes.set_xticks([])
        axes.set_yticks([])


def table(found: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Markdown: change of the half extent / length of the shift, pixels."""
    heads = [f"{blur_px(s):.2f}" for s in SIGMAS]
    lines = ["| shape | " + " | ".join(f"blur {h}" for h in heads) + " | unblurred outline | contour terms |"]
    lines.append("|---" * (len(SIGMAS) + 3) + "|")
    for name, values in found.items():
        cells = [f"{g:+.2f} / {s:.2f}" for g, s in values.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    every = shapes()
    found = {}
    for shape in every:
        found[shape.name] = measure(shape)
        print(shape.name, found[shape.name], file=sys.stderr, flush=True)
    print(table(found))
    draw(found, every, arguments.out)


if __name__ == "__main__":
    main()
