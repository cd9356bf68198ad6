"""Precision over recall as the threshold moves, with the threshold that was scored and the best one marked as such."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import contact_counts, precision_recall_f1
from hoirecon.evaluation.metrics.counts import Counts
from hoirecon.evaluation.run_plots.style import BLUE, GREEN, INK, ORANGE, SOFT, canvas, frame, save

THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(1, 20))
SCORED_AT = 0.5
"""Threshold of the honest default and of most protocols."""
LEVELS = (0.2, 0.4, 0.6, 0.8)
"""Of F1, drawn as thin curves."""


def sweep_table(pairs: Mapping[str, tuple[FloatArray | None, FloatArray]]) -> FloatArray:
    """(T, 3) mean precision, recall and F1 at each threshold, honest rules; a failed sample counts 0 in all.

    Raises:
        InputError: no samples.
    """
    if not pairs:
        raise InputError("there are no samples to draw")
    total = np.zeros((len(THRESHOLDS), 3))
    for said, true in pairs.values():
        if said is None:
            continue
        found = precision_recall_f1(Counts.joined([contact_counts(said, true, cut) for cut in THRESHOLDS]), "symmetric")
        total += np.stack([found.precision, found.recall, found.f1], axis=1)
    mean: FloatArray = total / len(pairs)
    return mean


def precision_recall_plot(
    pairs: Mapping[str, tuple[FloatArray | None, FloatArray]], path: Path, title: str = ""
) -> Path:
    """Mean precision over mean recall at 19 thresholds; the best one is chosen on the truth and says so.

    Args:
        pairs: id -> (prediction or None, truth), (V,) in [0, 1].
        path: PNG.
        title: who was measured.
    """
    table = sweep_table(pairs)
    figure, (axes,) = canvas(5.0, 4.4)
    _levels(axes)
    axes.plot(table[:, 1], table[:, 0], "-", color=BLUE, linewidth=1.6, zorder=3)
    axes.plot(table[:, 1], table[:, 0], ".", color=BLUE, markersize=5, zorder=3)
    best, scored = int(table[:, 2].argmax()), THRESHOLDS.index(SCORED_AT)
    _mark(axes, table[scored], ORANGE, "o", f"scored at {SCORED_AT}: F1 {table[scored, 2]:.3f}")
    chosen = f"best at {THRESHOLDS[best]:g}: F1 {table[best, 2]:.3f}\n(chosen on this truth: an upper bound)"
    _mark(axes, table[best], GREEN, "D", chosen)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.01)
    axes.legend(fontsize=8, frameon=True, framealpha=0.9, edgecolor="white", labelcolor=INK, loc="upper right")
    lost = sum(said is None for said, _ in pairs.values())
    count = f"{len(pairs)} samples" + (f", {lost} failed" if lost else "")
    head = f"{title}, {count}" if title else count
    said = f"{head}\nmeans over samples at thresholds {THRESHOLDS[0]:g} to {THRESHOLDS[-1]:g}; thin lines: equal F1"
    frame(axes, "mean recall", "mean precision (0 where nothing is predicted)")
    axes.set_title(said, color=INK, fontsize=8.5, loc="left")
    return save(figure, path)


def _mark(axes: Any, row: FloatArray, color: str, sign: str, label: str) -> None:
    axes.plot([row[1]], [row[0]], sign, color=color, markersize=8, label=label, zorder=4, linestyle="none")


def _levels(axes: Any) -> None:
    """Curves of equal F1 of the two means; the mean of F1 lies near them, not on them."""
    recall = np.linspace(0.001, 1.0, 400)
    for level in LEVELS:
        across = recall[recall > level / (2 - level)]
        axes.plot(across, level * across / (2 * across - level), color=SOFT, linewidth=0.6, alpha=0.6, zorder=1)
        axes.text(1.0, level / (2 - level), f"{level:g}", fontsize=7, color=SOFT, ha="right", va="bottom")
