"""Contact on the body's surface: where it is hallucinated or missed over all samples, and the worst samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.errors import InputError, require
from hoirecon.evaluation.closedworld.plots import EXTRA
from hoirecon.evaluation.run_plots.style import BLUE, GREEN, INK, ORANGE, SOFT, canvas, save
from hoirecon.mesh import Mesh

THRESHOLD = 0.5
SKIN = (0.86, 0.85, 0.83)
"""Colour of untouched surface."""
LIGHT = np.array([0.25, 0.45, 0.86])
LEAST_RATE = 0.01
"""Top of a colour bar is at least this share, so that one sample of many does not shine."""
WORST = 8
"""Samples of a contact sheet."""


@dataclass(frozen=True)
class Shown:
    """What body pictures need: the surface, and every sample's scores and labels."""

    mesh: Mesh
    """Rest pose, y up, metres."""
    pairs: Mapping[str, tuple[FloatArray | None, FloatArray]]
    """Id -> (prediction or None, truth), (V,) in [0, 1]."""

    def __post_init__(self) -> None:
        for name, (_, truth) in self.pairs.items():
            if len(truth) != len(self.mesh.verts):
                raise InputError(f"sample '{name}' has {len(truth)} labels, the mesh {len(self.mesh.verts)} vertices")


def error_rates(shown: Shown) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(V,) shares of samples in which a vertex truly touches, is hallucinated, is missed; failed samples miss all.

    Raises:
        InputError: no samples.
    """
    if not shown.pairs:
        raise InputError("there are no samples to draw")
    true, false_positive, false_negative = (np.zeros(len(shown.mesh.verts)) for _ in range(3))
    for prediction, truth in shown.pairs.values():
        touches = truth >= THRESHOLD
        said = np.zeros(len(truth), bool) if prediction is None else prediction >= THRESHOLD
        true += touches
        false_positive += said & ~touches
        false_negative += touches & ~said
    count = len(shown.pairs)
    return true / count, false_positive / count, false_negative / count


def error_map(shown: Shown, path: Path, title: str = "") -> Path:
    """Front and back of the body: how often each place truly touches, is hallucinated, is missed."""
    figure, axes = canvas(10.5, 2.9, 1, 6)
    colormap = require("matplotlib", EXTRA).colormaps
    normalize = require("matplotlib.colors", EXTRA).Normalize
    mappable = require("matplotlib.cm", EXTRA).ScalarMappable
    named = zip(
        ("truly touches", "hallucinated", "missed"), ("Greens", "Oranges", "Blues"), error_rates(shown), strict=True
    )
    for k, (name, colors, rate) in enumerate(named):
        top = max(float(np.quantile(rate, 0.995)), LEAST_RATE)
        scale = normalize(0.0, top)
        tint = colormap[colors](scale(rate))[:, :3]
        tint = np.where((rate > 0)[:, None], tint, SKIN)
        for side, back in ((0, False), (1, True)):
            _draw_body(axes[2 * k + side], shown.mesh, tint, back)
            axes[2 * k + side].set_title(f"{name}, {'back' if back else 'front'}", fontsize=9, color=INK)
        bar = figure.colorbar(
            mappable(scale, colors), ax=axes[2 * k : 2 * k + 2], orientation="horizontal", shrink=0.7, aspect=30
        )
        bar.set_ticks([0, top / 2, top], labels=[f"{100 * v:.2g} %" for v in (0, top / 2, top)])
        bar.ax.tick_params(labelsize=7, colors=SOFT)
        bar.set_label("share of samples", fontsize=8, color=SOFT)
    if title:
        figure.suptitle(title, fontsize=10, color=INK, x=0.01, ha="left")
    return save(figure, path)


def worst_sheet(
    shown: Shown, scores: Mapping[str, float], path: Path, higher: bool = True, count: int = WORST, name: str = ""
) -> Path:
    """Front and back of the worst samples: hits green, hallucinated orange, missed blue.

    Args:
        shown: the surface and the samples.
        scores: id -> value, by which the worst are chosen; ties by id.
        path: PNG.
        higher: whether higher is better.
        count: at most so many.
        name: of the metric, for titles.

    Raises:
        InputError: no sample has a value.
    """
    ranked = sorted((i for i in scores if i in shown.pairs), key=lambda i: (scores[i] if higher else -scores[i], i))
    if not ranked:
        raise InputError("no sample of the run has a value to rank it by")
    chosen = ranked[:count]
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, axes = canvas(2.9 * columns, 1.95 * rows + 0.35, rows, 2 * columns)
    for ax in axes[2 * len(chosen) :]:
        ax.set_visible(False)
    for k, sample in enumerate(chosen):
        prediction, truth = shown.pairs[sample]
        tint = outcome_colors(prediction, truth)
        for side, back in ((0, False), (1, True)):
            _draw_body(axes[2 * k + side], shown.mesh, tint, back)
        failed = ", failed" if prediction is None else ""
        label = sample if len(sample) <= 24 else f"…{sample[-23:]}"
        axes[2 * k].set_title(f"{label}\n{name} {scores[sample]:.3f}{failed}", fontsize=7.5, color=INK, loc="left")
    figure.suptitle("worst samples: hits green, hallucinated orange, missed blue (front, back)", fontsize=9, color=INK)
    return save(figure, path)


def outcome_colors(prediction: FloatArray | None, truth: FloatArray) -> FloatArray:
    """(V, 3) green where both touch, orange where only the prediction does, blue where only the truth does."""
    touches = truth >= THRESHOLD
    said = np.zeros(len(truth), bool) if prediction is None else prediction >= THRESHOLD
    tint = np.tile(np.asarray(SKIN), (len(truth), 1))
    for where, color in ((touches & said, GREEN), (said & ~touches, ORANGE), (touches & ~said, BLUE)):
        tint[where] = _rgb(color)
    return tint


def _rgb(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue


def _draw_body(axes: Any, mesh: Mesh, tint: FloatArray, back: bool) -> None:
    """Triangles that face the eye, the far ones first, lit a little from above."""
    collection = require("matplotlib.collections", EXTRA).PolyCollection
    verts, faces = mesh.verts * (np.array([-1.0, 1.0, -1.0]) if back else 1.0), mesh.faces
    shade, order = _visible(verts, faces)
    colors = tint[faces[order]].mean(1) * shade[order, None]
    axes.add_collection(collection(verts[faces[order]][:, :, :2], facecolors=np.clip(colors, 0, 1), edgecolors="face",
                                   linewidths=0.2))  # fmt: skip
    low, high = verts[:, :2].min(0), verts[:, :2].max(0)
    axes.set_xlim(low[0] - 0.03, high[0] + 0.03)
    axes.set_ylim(low[1] - 0.03, high[1] + 0.03)
    axes.set_aspect("equal")
    axes.axis("off")


def _visible(verts: FloatArray, faces: IntArray) -> tuple[FloatArray, IntArray]:
    """Shade of each triangle, and those that face +z from the far to the near."""
    corners = verts[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    shade: FloatArray = 0.62 + 0.38 * np.clip(normal @ LIGHT, 0, 1)
    facing = np.flatnonzero(normal[:, 2] > 0)
    order: IntArray = facing[np.argsort(corners[facing, :, 2].mean(1), kind="stable")]
    return shade, order


def worst_values(rows: Sequence[Any], metric: str) -> dict[str, float]:
    """Id -> value of the samples that have one."""
    return {row.id: float(v) for row in rows if (v := row.values.get(metric)) is not None}
