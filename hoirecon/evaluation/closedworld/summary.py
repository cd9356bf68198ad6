"""From one row per scene to the figures of a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hoirecon.evaluation.metrics import as_json, auc, median_interval, share_below

WORST: Mapping[str, Any] = {
    "chamfer_object_cm": 100.0,
    "chamfer_best_cm": 100.0,
    "adds_cm": 100.0,
    "rotation_deg": 180.0,
    "translation_cm": 200.0,
    "abs_log_scale": 1.0,
    "iou_visible": 0.0,
    "iou_full": 0.0,
    "penetration_mm": 100.0,
    "penetration_cm3": 1000.0,
    "contact_precision": 0.0,
    "contact_recall": 0.0,
    "contact_f1": 0.0,
    "touching_given_cm": None,
    "touching_cm": None,
    "landmarks_given_cm": None,
    "landmarks_cm": None,
    "landmark_given_px": None,
    "landmark_px": None,
    "landmark_seen_given_px": None,
    "landmark_seen_px": None,
    "nse_per_dof": None,
    "chance_far": None,
    "predicted_error_cm": None,
    "flags": ["failed"],
}
"""What a scene counts on which a method fails; no CPU time, which would flatter it."""

MEDIANS = ("rotation_deg", "translation_cm", "abs_log_scale", "adds_cm", "iou_visible", "iou_full", "contact_precision",
           "contact_recall", "contact_f1", "touching_given_cm", "touching_cm", "landmarks_given_cm", "landmarks_cm",
           "landmark_given_px", "landmark_px", "landmark_seen_given_px", "landmark_seen_px", "penetration_cm3",
           "nse_per_dof")  # fmt: skip
OF_GROUPS = ("iou_visible", "touching_given_cm", "touching_cm", "landmarks_given_cm", "landmarks_cm",
             "landmark_given_px", "landmark_px", "nse_per_dof")  # fmt: skip
"""Figures of which groups of scenes have medians too, besides Chamfer, penetration and time."""
OCCLUSION = (("<=0.15", -1.0, 0.15), ("0.15-0.30", 0.15, 0.30), (">0.30", 0.30, 1.01))
"""Names and limits of the groups by hidden share, of scenes with contact."""
CLOSE_CM, VERY_CLOSE_CM = 5.0, 2.5
"""Chamfer distances that count as success."""


def summary(rows: Sequence[Mapping[str, Any]], oracle: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Figures of one method.

    Args:
        rows: one per scene.
        oracle: rows of the method that starts at the truth, on the same scenes, for ``oracle_gap``.
    """
    touching = [r for r in rows if r["interaction"] != "no_contact"]
    apart = [r for r in rows if r["interaction"] == "no_contact"]
    hidden = {name: [r for r in touching if low < r["occluded"] <= high] for name, low, high in OCCLUSION}
    return {
        "n": len(rows),
        "n_failed": sum(r["failed"] is not None for r in rows),
        "failures": {r["scene"]: r["failed"] for r in rows if r["failed"] is not None},
        **group_figures(rows),
        **{name: as_json(median_interval(_values(rows, name))) for name in MEDIANS},
        "by_occlusion": {name: group_figures(group) for name, group in hidden.items() if group},
        "with_contact": group_figures(touching) if touching else None,
        "without_contact": group_figures(apart) if apart else None,
        "by_category": by(rows, "category"),
        "by_interaction": by(rows, "interaction"),
        "oracle_gap": _gap(rows, oracle),
    }


def group_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures that every group of scenes has."""
    depth, seconds = _values(rows, "penetration_mm"), _values(rows, "cpu_seconds")
    return {
        "n": len(rows),
        **_chamfer(rows),
        **{name: as_json(median_interval(_values(rows, name))) for name in OF_GROUPS},
        "penetration_mm": {**(as_json(median_interval(depth)) or {}), "p90": _quantile(depth, 0.9)},
        "cpu_seconds": {**(as_json(median_interval(seconds)) or {}), "p90": _quantile(seconds, 0.9)},
        "oracle_gap": _gap(rows, None),
        "ambiguous": _ambiguous(rows),
    }


def by(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any]:
    """Chamfer figures of the rows of each value of a key, values in order."""
    values = sorted({str(r[key]) for r in rows})
    groups = {value: [r for r in rows if str(r[key]) == value] for value in values}
    return {value: _chamfer(group) | {"n": len(group)} for value, group in groups.items()}


def _chamfer(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = _values(rows, "chamfer_object_cm")
    return {
        "chamfer_object_cm": as_json(median_interval(values)),
        "share_below_5cm": round(share_below(values, CLOSE_CM), 4),
        "share_below_2_5cm": round(share_below(values, VERY_CLOSE_CM), 4),
    }


def _gap(rows: Sequence[Mapping[str, Any]], oracle: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    """What choosing among the returned poses lost, and what starting at the truth would have given."""
    chosen, best = _values(rows, "chamfer_object_cm"), _values(rows, "chamfer_best_cm")
    found = {
        "best_returned": as_json(median_interval(best)),
        "best_share_below_5cm": round(share_below(best, CLOSE_CM), 4),
        "median_loss": round(float(np.median(chosen) / max(float(np.median(best)), 1e-9) - 1), 4),
        "share_loss": round(share_below(best, CLOSE_CM) - share_below(chosen, CLOSE_CM), 4),
    }
    if oracle is not None:
        found["from_truth"] = _chamfer(oracle)
    return found


def _ambiguous(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How well the flag ``ambiguous`` warns of results farther than 5 cm."""
    flagged = np.array(["ambiguous" in r["flags"] for r in rows], dtype=bool)
    wrong = np.array([r["chamfer_object_cm"] >= CLOSE_CM for r in rows], dtype=bool)
    return {
        "share_of_failures_flagged": round(float(flagged[wrong].mean()), 4) if wrong.any() else None,
        "share_of_successes_flagged": round(float(flagged[~wrong].mean()), 4) if (~wrong).any() else None,
        "failures": int(wrong.sum()),
        **_stated_chances(rows),
    }


def _stated_chances(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """What a stated chance of being far off is worth: how often a failure has the larger one of a failure and a success
    (area under the curve, 0.5 is guessing), and the chances' sum, which is how many failures it expects."""
    told = [r for r in rows if r.get("chance_far") is not None]
    chance = np.array([r["chance_far"] for r in told], dtype=np.float64)
    wrong = np.array([r["chamfer_object_cm"] >= CLOSE_CM for r in told], dtype=bool)
    both = wrong.any() and not wrong.all()
    return {
        "chance_auc": round(auc(chance, wrong), 4) if both else None,
        "failures_expected": round(float(chance.sum()), 2) if len(told) else None,
    }


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float(r[name]) for r in rows if r.get(name) is not None]


def _quantile(values: Sequence[float], q: float) -> float | None:
    return round(float(np.quantile(values, q)), 3) if len(values) else None
