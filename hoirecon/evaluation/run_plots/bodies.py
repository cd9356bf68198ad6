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
from hoirecon.evaluation.run_plots.style import BLUE, GREEN, INK, ORANGE, SOFT, save
from hoirecon.mesh import Mesh

THRESHOLD = 0.5
SKIN = (0.86, 0.85, 0.83)
"""Colour of untouched surface."""
LIGHT = np.array([0.25, 0.45, 0.86])
LEAST_RATE = 0.01
"""Top of a colour bar is at least this share, so that one sample of many does not shine."""
WORST = 8
"""Samples of a contact sheet."""
WHOLE_BODY_M = 1.0
"""A surface wider than this has arms stretched out: its palms and soles are drawn apart."""
PALM_M, SOLE_M = 0.19, 0.08
"""How much of the ends is drawn as palms and soles."""
_BELOW = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
"""Seen from below, the front upwards."""
VIEWS = {
    "front": np.eye(3),
    "back": np.diag([-1.0, 1.0, -1.0]),
    "right palm": _BELOW,
    "soles": _BELOW,
    "left palm": _BELOW,
}
"""View -> rotation of the rest pose to x right, y up, z to the eye."""


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
    """How often each place truly touches, is hallucinated, is missed: front, back, palms and soles from below."""
    figure = require("matplotlib.figure", EXTRA).Figure(figsize=(10.5, 4.1), layout="constrained")
    colormap = require("matplotlib", EXTRA).colormaps
    normalize = require("matplotlib.colors", EXTRA).Normalize
    mappable = require("matplotlib.cm", EXTRA).ScalarMappable
    named = zip(
        ("truly touches", "hallucinated", "missed"), ("Greens", "Oranges", "Blues"), error_rates(shown), strict=True
    )
    for part, (name, colors, rate) in zip(figure.subfigures(1, 3), named, strict=True):
        top = max(float(np.quantile(rate, 0.995)), LEAST_RATE)
        scale = normalize(0.0, top)
        tint = np.where((rate > 0)[:, None], colormap[colors](scale(rate))[:, :3], SKIN)
        axes = _draw_views(part, shown.mesh, tint, told=True)
        part.suptitle(name, fontsize=10, color=INK)
        bar = part.colorbar(mappable(scale, colors), ax=axes, orientation="horizontal", shrink=0.7, aspect=30)
        bar.set_ticks([0, top / 2, top], labels=[f"{100 * v:.2g} %" for v in (0, top / 2, top)])
        bar.ax.tick_params(labelsize=7, colors=SOFT)
        bar.set_label(
            "share of samples" + ("; the darkest: or more" if rate.max() > top else ""), fontsize=8, color=SOFT
        )
    if title:
        figure.suptitle(title, fontsize=10, color=INK, x=0.01, ha="left")
    return save(figure, path)


def worst_sheet(
    shown: Shown, scores: Mapping[str, float], path: Path, higher: bool = True, count: int = WORST, name: str = ""
) -> Path:
    """Front, back, palms and soles of the worst samples: hits green, hallucinated orange, missed blue.

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
    size = (max(3.0 * columns, 5.5), 2.7 * rows + 0.4)
    figure = require("matplotlib.figure", EXTRA).Figure(figsize=size, layout="constrained")
    parts = np.atleast_1d(np.asarray(figure.subfigures(rows, columns), dtype=object)).ravel()
    for part, sample in zip(parts, chosen, strict=False):
        prediction, truth = shown.pairs[sample]
        _draw_views(part, shown.mesh, outcome_colors(prediction, truth))
        failed = ", failed" if prediction is None else ""
        label = sample if len(sample) <= 24 else f"…{sample[-23:]}"
        part.suptitle(f"{label}: {name} {scores[sample]:.3f}{failed}", fontsize=8, color=INK)
    head = f"the {len(chosen)} worst of {len(ranked)} samples: hits green, hallucinated orange, missed blue"
    figure.suptitle(f"{head}\n(front, back; below: right palm, soles, left palm)", fontsize=9, color=INK)
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


def _draw_views(part: Any, mesh: Mesh, tint: FloatArray, told: bool = False) -> list[Any]:
    """Front and back, and of a whole body palms and soles from below, where people mostly touch."""
    whole = np.ptp(mesh.verts[:, 0]) > WHOLE_BODY_M
    rows = [["front"] * 3 + ["back"] * 3] + ([["right palm"] * 2 + ["soles"] * 2 + ["left palm"] * 2] if whole else [])
    axes = part.subplot_mosaic(rows, gridspec_kw={"height_ratios": [3, 1.25][: len(rows)]})
    for name, place in axes.items():
        _draw_body(place, mesh, tint, name)
        if told:
            place.set_title(name, fontsize=7.5, color=SOFT, pad=2)
    return list(axes.values())


def _draw_body(axes: Any, mesh: Mesh, tint: FloatArray, view: str) -> None:
    """Triangles that face the eye, the far ones first, lit a little from above."""
    collection = require("matplotlib.collections", EXTRA).PolyCollection
    verts, faces = mesh.verts @ VIEWS[view].T, mesh.faces
    near = _close_up(mesh.verts, view)
    shade, order = _visible(verts, faces[near[faces].all(axis=1)])
    faces = faces[near[faces].all(axis=1)]
    colors = tint[faces[order]].mean(1) * shade[order, None]
    axes.add_collection(collection(verts[faces[order]][:, :, :2], facecolors=np.clip(colors, 0, 1), edgecolors="face",
                                   linewidths=0.2))  # fmt: skip
    low, high = verts[near, :2].min(0), verts[near, :2].max(0)
    margin = 0.03 * float((high - low).max())
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)
    axes.set_aspect("equal")
    axes.axis("off")


def _close_up(verts: FloatArray, view: str) -> Any:
    """(V,) which vertices a view shows; x to the person's left, y up."""
    low, high = verts.min(0), verts.max(0)
    if view == "right palm":
        return verts[:, 0] < low[0] + PALM_M
    if view == "left palm":
        return verts[:, 0] > high[0] - PALM_M
    if view == "soles":
        return verts[:, 1] < low[1] + SOLE_M
    return np.ones(len(verts), dtype=bool)


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
