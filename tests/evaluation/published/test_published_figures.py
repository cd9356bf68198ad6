"""Published figures a second time, typed from the study's tables and not from the files: both must agree."""

from __future__ import annotations

import pytest

from hoirecon.evaluation.published.entries import list_published

CD = ("cd_human_cm", "cd_object_cm", "precision", "recall")
PA = ("cd_human_cm", "cd_object_cm", "cd_both_cm")
DAMON = ("f1", "precision", "recall", "geo_fp_cm")
WILD = ("cd_human_cm", "cd_object_cm", "f1", "collision")
PIAD = ("sim", "auc", "aiou", "mae")
F = ("fscore_human", "fscore_object", "fscore_both")

# task, protocol -> metrics, and a row per method.
TABLES: dict[tuple[str, str], tuple[tuple[str, ...], dict[str, tuple[float, ...]]]] = {
    ("damon/binary", "deco"): (DAMON, {
        "POSA-PIXIE": (31.0, 42.0, 34.0, 33.00), "BSTRO": (46.0, 51.0, 53.0, 38.06), "DECO": (55.0, 65.0, 57.0, 21.32),
    }),
    ("damon/binary", "interactvlm"): (DAMON, {
        "InteractVLM": (75.6, 75.2, 76.0, 2.89), "InteractVLM damon-fix": (70.32, 64.66, 75.46),
        "InteractVLM damon-fix without parts": (64.46, 65.89, 63.12),
    }),
    ("damon/binary", "unknown"): (DAMON, {"ReGenHOI": (78.4,), "DecoDINO": ()}),
    ("damon/semantic", "interactvlm-semantic"): (("f1",), {
        "Semantic-DECO": (), "InteractVLM": (), "InteractVLM damon-fix": (66.5,),
        "InteractVLM damon-fix without parts": (60.98,),
    }),
    ("lemon/human", "lemon"): (DAMON, {
        "BSTRO": (55, 57, 58, 28.58), "DECO": (69, 70, 72, 15.25), "LEMON-P": (77, 76, 81, 9.02),
        "LEMON-D": (78, 78, 82, 7.55),
    }),
    ("lemon/human", "interactvlm"): (DAMON, {"InteractVLM": (78.4, 82.5, 76.3, 6.73)}),
    ("egochoir/human", "unknown"): (("f1", "geo_fp_cm"), {"EgoChoir": (0.77, 12.62)}),
    ("piad/seen", "iagnet"): (PIAD, {"IAGNet": (54.5, 84.85, 20.51, 0.98)}),
    ("piad/seen", "interactvlm-affordance"): (PIAD, {"InteractVLM": (62.7, 86.47, 21.20, 0.81)}),
    ("piad/unseen", "iagnet"): (PIAD, {"IAGNet": (35.2, 71.84, 7.95, 1.27)}),
    ("piad/unseen", "interactvlm-affordance"): (PIAD, {"InteractVLM": (41.4, 75.45, 8.50, 0.99)}),
    ("piadv2/seen", "iagnet"): (("auc",), {"IAGNet": (89.03,), "LASO": (90.34,), "GREAT": (91.99,)}),
    ("piadv2/unseen-object", "iagnet"): (("auc",), {"IAGNet": (73.03,), "LASO": (73.32,), "GREAT": (79.57,)}),
    ("piadv2/unseen-affordance", "iagnet"): (("auc", "aiou"), {
        "IAGNet": (62.29,), "LASO": (64.07,), "GREAT": (69.81, 12.05),
    }),
    ("mow/hand", "haco"): (("precision", "recall", "f1"), {
        "POSA": (0.134, 0.128, 0.101), "BSTRO": (0.204, 0.126, 0.112), "DECO": (0.246, 0.235, 0.197),
        "HACO": (0.525, 0.607, 0.522),
    }),
    ("behave/contact-contho", "contho-contact"): (("precision", "recall"), {
        "POSA": (0.514, 0.299), "BSTRO": (0.615, 0.527), "DECO": (0.638, 0.337), "CONTHO": (0.754, 0.587),
    }),
    ("intercap/contact-contho", "contho-contact"): (("precision", "recall"), {
        "POSA": (0.561, 0.333), "BSTRO": (0.506, 0.427), "DECO": (0.635, 0.479), "CONTHO": (0.660, 0.612),
    }),
    ("behave/contho", "contho"): (CD, {
        "PHOSA": (12.17, 26.62, 0.393, 0.266), "CHORE": (5.58, 10.66, 0.587, 0.472),
        "CONTHO": (4.99, 8.42, 0.628, 0.496), "HOI-TG": (4.59, 8.00, 0.662, 0.554),
        "ScoreHOI": (4.85, 7.86, 0.634, 0.586), "CrossHOI": (4.27, 7.68, 0.687, 0.576),
    }),
    ("behave/contho", "unknown"): (CD, {"VisTracker": (5.24, 7.89)}),
    ("intercap/contho", "contho"): (CD, {
        "PHOSA": (11.20, 20.57, 0.228, 0.159), "CHORE": (7.01, 12.81, 0.339, 0.253),
        "CONTHO": (5.96, 9.50, 0.661, 0.432), "HOI-TG": (5.43, 8.68, 0.700, 0.473),
        "ScoreHOI": (5.56, 8.75, 0.627, 0.590), "CrossHOI": (5.17, 8.38, 0.724, 0.491),
    }),
    ("intercap/pico", "pico"): (PA, {
        "HDM": (17.34, 14.12, 13.60), "CONTHO": (8.16, 23.26, 12.81), "PHOSA": (10.12, 20.91, 13.28),
        "PICO-fit": (7.43, 21.85, 10.33), "PICO-fit*": (6.66, 13.34, 8.36),
        "PICO-fit*, phase 1 alone": (7.25, 24.51, 11.47), "PICO-fit*, phases 1 and 2": (6.65, 13.67, 8.40),
        "ReGenHOI": (5.42,),
    }),
    ("open3dhoi/tehor", "tehor"): (WILD, {
        "PHOSA": (5.34, 49.18, 0.243, 0.044), "LEMON + PICO": (5.95, 25.89, 0.335, 0.078),
        "InteractVLM": (5.25, 24.24, 0.392, 0.054), "HOI-Gaussian": (5.11, 19.36, 0.348, 0.070),
        "TeHOR": (4.94, 16.70, 0.412, 0.047),
    }),
    ("behave/tehor", "tehor"): (WILD, {
        "PHOSA": (5.76, 46.00, 0.257), "LEMON + PICO": (6.16, 22.59, 0.082), "InteractVLM": (5.77, 19.20, 0.379),
        "HOI-Gaussian": (5.75, 21.77, 0.371), "TeHOR": (5.62, 17.34, 0.412),
    }),
    ("open3dhoi/gshoi", "gshoi"): (("translation_cm", "scale", "rotation", "cd_object_cm"), {
        "PHOSA": (77.79, 0.39, 0.95, 49.1), "the data set's own optimiser": (38.44, 0.16, 0.41, 19.3),
    }),
    ("behave/template-free", "hdm"): (F, {
        "HDM (synthetic only)": (0.3477, 0.4351, 0.4110), "HDM (row named DDIM)": (0.3533, 0.4366, 0.4170),
    }),
    ("behave/template-free", "unknown"): (("fscore_both",), {"InterTrack": (0.5169,)}),
    ("intercap/template-free", "hdm"): (F, {"HDM (synthetic only)": (0.3851, 0.4928, 0.4530)}),
    ("behave/video", "video-category-agnostic"): (PA, {
        "InterTrack": (25.71, 47.66, 30.20), "VisTracker (template)": (13.52, 18.29, 14.22),
        "CARI4D": (7.74, 12.05, 9.23),
    }),
    ("intercap/video", "video-category-agnostic"): (PA, {
        "InterTrack": (16.12, 27.41, 20.17), "CARI4D": (11.06, 15.69, 12.88),
    }),
}  # fmt: skip

CATEGORIES = ("accessory", "daily", "food", "furniture", "kitchen", "sports", "transport")
BY_CATEGORY = {
    "InteractVLM": (61.1, 68.6, 66.4, 60.5, 71.8, 77.9, 77.8),
    "Semantic-DECO": (40.1, 26.5, 11.7, 24.5, 27.7, 36.4, 52.0),
    "InteractVLM damon-fix": (60.3, 55.0, 62.1, 58.9, 65.4, 72.4, 72.3),
}

FLAGS = {
    ("damon/binary", "InteractVLM"): ("teacher_forced",),
    ("damon/semantic", "InteractVLM"): ("teacher_forced",),
    ("lemon/human", "InteractVLM"): ("teacher_forced",),
    ("intercap/pico", "CONTHO"): ("gt_contact",),
    ("intercap/pico", "PHOSA"): ("gt_contact",),
    ("intercap/pico", "PICO-fit*"): ("gt_contact",),
    ("intercap/pico", "PICO-fit*, phase 1 alone"): ("gt_contact",),
    ("intercap/pico", "PICO-fit*, phases 1 and 2"): ("gt_contact",),
    ("behave/video", "VisTracker (template)"): ("gt_template",),
}


@pytest.mark.parametrize("key", sorted(TABLES), ids=" under ".join)
def test_values_are_as_printed(key: tuple[str, str]) -> None:
    metrics, rows = TABLES[key]
    entries = {entry.method: entry for entry in list_published(*key)}
    assert set(entries) == set(rows)
    for method, values in rows.items():
        assert dict(entries[method].values) == dict(zip(metrics, values, strict=False)), method


def test_no_table_is_left_out() -> None:
    assert {(entry.task, entry.protocol) for entry in list_published()} == set(TABLES)


def test_categories_are_as_printed() -> None:
    found = {e.method: dict(e.by_category) for e in list_published("damon/semantic") if e.by_category}
    assert found == {name: dict(zip(CATEGORIES, row, strict=True)) for name, row in BY_CATEGORY.items()}


def test_what_was_given_or_withdrawn_is_flagged_and_nothing_else() -> None:
    assert {(e.task, e.method): e.flags for e in list_published() if e.flags} == FLAGS
    superseded = {(e.task, e.method): e.superseded_by for e in list_published() if e.superseded_by}
    assert superseded == {
        ("damon/binary", "InteractVLM"): "InteractVLM damon-fix",
        ("damon/semantic", "InteractVLM"): "InteractVLM damon-fix",
    }
    for (task, _), other in superseded.items():
        assert other in {e.method for e in list_published(task)}


def test_trust_says_how_far_each_was_checked() -> None:
    for entry in list_published():
        if "third-party" in entry.source or "secondary" in entry.source:
            assert entry.trust == "note", entry
        elif "repository" in entry.source and "table" not in entry.source:
            assert entry.trust == "code", entry
        else:
            assert entry.trust == "table", entry
