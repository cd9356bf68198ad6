"""What each metric is: unit, direction, floor of a perfect prediction, formula and source."""

from __future__ import annotations

from dataclasses import dataclass

from hoirecon.errors import InputError
from hoirecon.evaluation.metrics.regions import REGIONS

DECO = "Tripathi et al., DECO, ICCV 2023"
BSTRO = "Huang et al., BSTRO/RICH, CVPR 2022"
IAGNET = "Yang et al., IAGNet, ICCV 2023"
CHORE = "Xie et al., CHORE, ECCV 2022"
BOP = "Hodan et al., BOP Challenge 2020"
HDM = "Xie et al., HDM, CVPR 2024"
OURS = "hoirecon"


@dataclass(frozen=True)
class MetricInfo:
    """One metric."""

    name: str
    """Key of scores and tables; errors end in their unit."""
    unit: str
    """``""`` for shares in [0, 1]."""
    higher_is_better: bool
    floor: float | None
    """Value of a perfect prediction; None where it depends on the sample (the formula says on what)."""
    worst: float | None
    """What a failed sample counts as; None for the body's diameter or infinity, as the preset says."""
    formula: str
    citation: str


def list_metrics() -> tuple[MetricInfo, ...]:
    """All metrics that presets report, in the order of the page."""
    return METRICS


def get_metric(name: str) -> MetricInfo:
    """One metric by name.

    Raises:
        InputError: no such metric.

    Example:
        >>> get_metric("geo_fp_cm").higher_is_better
        False
    """
    for metric in METRICS:
        if metric.name == name:
            return metric
    raise InputError(f"no metric {name!r}; there are {', '.join(m.name for m in METRICS)}")


def _share(name: str, formula: str, citation: str, floor: float | None = 1.0) -> MetricInfo:
    return MetricInfo(name, "", True, floor, 0.0, formula, citation)


def _error(
    name: str, unit: str, worst: float | None, formula: str, citation: str, floor: float | None = 0.0
) -> MetricInfo:
    return MetricInfo(name, unit, False, floor, worst, formula, citation)


_FP = "mean over predicted vertices of the distance along the surface to the nearest true vertex (hits count as 0)"
_FN = "mean over true vertices of the distance along the surface to the nearest predicted vertex"
_CD = (
    "mean distance of A's samples to B's nearest plus the same back: not squared, not halved; floor 1/sqrt(samples/m2)"
)

_WITHIN = "contact nearer than {} to the surface, both shapes measured alike: F1"


def _of_regions() -> tuple[MetricInfo, ...]:
    told = "{} among the region's vertices, over samples in which truth or prediction touches there"
    each = [
        _share(f"{score}_{region}", told.format(score), OURS)
        for score in ("f1", "precision", "recall")
        for region in REGIONS
    ]
    return _share("f1_regions", "mean over the touched regions of the F1 of each", OURS), *each


METRICS: tuple[MetricInfo, ...] = (
    _share("precision", "tp / predicted", DECO),
    _share("recall", "tp / positive", DECO),
    _share("f1", "2 P R / (P + R) per sample", DECO),
    _share("f1_of_means", "2 P R / (P + R) of mean P and mean R", "Xie et al., ScoreHOI, ICCV 2025"),
    _error("geo_fp_cm", "cm", None, _FP, DECO),
    _error("geo_fn_cm", "cm", None, _FN, BSTRO),
    _error("geo_fp_m", "m", None, _FP, "Yang et al., LEMON, CVPR 2024"),
    _error("geo_m", "m", None, _FN + " (as called: prediction == 1 exactly)", "Dwivedi et al., InteractVLM, CVPR 2025"),
    _error("geo_cm", "cm", None, "mean of geo_fp_cm and geo_fn_cm; one set empty: the body's diameter", OURS),
    _error("geo_fp_only_cm", "cm", None, "mean distance of false positives alone to the nearest true vertex", OURS),
    _error("geo_p95_cm", "cm", None, "larger 95th percentile of the two directions", OURS),
    *_of_regions(),
    _share("average_precision", "sum over distinct scores of (R_k - R_k-1) P_k; only where something touches", OURS),
    _share("f1_best", "greatest mean F1 of one threshold for all samples, chosen on their truth: an upper bound", OURS),
    _error(
        "ece", "", 1.0, "|mean score - share of contact| of ten bins of all vertices, by count", "Guo et al., ICML 2017"
    ),
    _share("sim", "sum of min(p / sum p, g / sum g)", IAGNET),
    _share("auc", "area under the ROC curve, truth cut at 0.5; ties count half", IAGNET),
    _share("aiou", "mean over 20 thresholds 0..1 of the IoU, truth cut at 0.5; < 1 even for the truth", IAGNET, None),
    _share("aiou_of_ceiling", "aIoU divided by that of the truth's own hard map; a soft truth stays < 1", OURS, None),
    _error("mae", "", 1.0, "sum |p - g| / 2048, whatever the number of points", IAGNET),
    _error("cd_human_cm", "cm", 100.0, _CD, CHORE, None),
    _error("cd_object_cm", "cm", 100.0, _CD, CHORE, None),
    _error("cd_both_cm", "cm", 100.0, _CD, CHORE, None),
    _error("cd_human_mm", "mm", 1000.0, _CD, CHORE, None),
    _error("cd_object_mm", "mm", 1000.0, _CD, CHORE, None),
    _error(
        "surface_human_cm", "cm", 100.0, "mean exact distance of A's samples to B's surface, both ways, halved", OURS
    ),
    _error(
        "surface_object_cm", "cm", 100.0, "mean exact distance of A's samples to B's surface, both ways, halved", OURS
    ),
    _share("fscore_human", "2 P R / (P + R) of shares of points nearer than 0.01", HDM),
    _share("fscore_object", "2 P R / (P + R) of shares of points nearer than 0.01", HDM),
    _share("fscore_both", "2 P R / (P + R) of shares of points nearer than 0.01", HDM),
    _error("collision", "", 1.0, "share of body vertices inside the object", "TeHOR, CVPR 2026", None),
    _error("penetration_cm", "cm", 100.0, "greatest depth of a body vertex below the object's surface", OURS, None),
    _error("penetration_mean_cm", "cm", 100.0, "mean depth of the body's vertices inside; 0 without any", OURS, None),
    _error("volume_cm3", "cm3", 100_000.0, "volume inside both, counted in cubes of 1 cm", OURS, None),
    _share("f1_5mm", _WITHIN.format("5 mm"), OURS),
    _share("f1_2cm", _WITHIN.format("2 cm"), OURS),
    _share("f1_5cm", _WITHIN.format("5 cm"), OURS),
    _share("success", "share with ADD-S below 5 cm and a rotation error below 15 degrees", OURS),
    _share("adds_auc", "area under the share of samples with ADD-S below 0..10 cm", "Xiang et al., PoseCNN, RSS 2018"),
    _error("add_cm", "cm", 100.0, "mean distance of corresponding vertices", BOP),
    _error("adds_cm", "cm", 100.0, "mean distance of each true vertex to the nearest placed one", BOP),
    _error("mssd_cm", "cm", 100.0, "least over symmetries of the greatest distance of corresponding vertices", BOP),
    _error("mspd_px", "px", 1000.0, "least over symmetries of the greatest distance of projected vertices", BOP),
    _error("rotation_deg", "deg", 180.0, "least angle over the object's symmetries", BOP),
    _error("translation_cm", "cm", 100.0, "distance of the object's origins", BOP),
    _error("scale", "", 1.0, "|scale / true scale - 1|", "Wen et al., Open3DHOI, CVPR 2025"),
    _share("average_recall", "mean of the MSSD, MSPD and rotation recalls over 5..50 %", BOP),
    _error("mpjpe_mm", "mm", 1000.0, "mean distance of joints, roots moved together", "Ionescu et al., PAMI 2014"),
    _error(
        "pa_mpjpe_mm", "mm", 1000.0, "mean distance of joints after the best similarity", "Kanazawa et al., CVPR 2018"
    ),
    _error("v2v_mm", "mm", 1000.0, "mean distance of vertices, roots moved together", "Kanazawa et al., CVPR 2018"),
    _error("v2v_human_mm", "mm", 1000.0, "mean distance of body vertices after a window's similarity", "RHOBIN 2024"),
    _error(
        "v2v_object_mm", "mm", 1000.0, "mean distance of object vertices after a window's similarity", "RHOBIN 2024"
    ),
    _share("pck_auc", "area under the share of joints nearer than 0..200 mm", "Mehta et al., 3DV 2017"),
    _share("iou", "intersection over union of masks; in `reconstruction` of the two objects' whole silhouettes", OURS),
)
"""Every metric, once."""
