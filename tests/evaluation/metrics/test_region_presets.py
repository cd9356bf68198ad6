"""Contact by region of the body: by hand on seven vertices, on the free body, and carried over to another mesh."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hoirecon.data.body import load_body
from hoirecon.errors import InputError
from hoirecon.evaluation.metrics import REGIONS, BodyRegions, MeshDistances, get_preset, list_metrics, region_counts
from hoirecon.evaluation.metrics.regions import parts_of_region

HANDS, FEET = REGIONS.index("hands"), REGIONS.index("feet")
# Seven vertices: three of hands, two of feet, one of the head, one of no region.
BODY = BodyRegions(np.array([HANDS, HANDS, HANDS, FEET, FEET, REGIONS.index("head"), -1]))
NAN = float("nan")


class _Known:
    """Distances are not asked for; regions are."""

    num_verts, diameter_m, regions = 7, 1.0, BODY


def _at(*verts: int) -> Any:
    return np.isin(np.arange(7), verts).astype(float)


def test_each_sample_by_hand() -> None:
    """a: hands tp 1, predicted 2, true 1: P 1/2, R 1, F 2/3; feet only true: 0. b: head only predicted: 0.
    c: nothing anywhere. d: failed, hands true. e: vertex of no region."""
    pairs = [(_at(0, 1), _at(1, 3)), (_at(5), _at()), (_at(), _at()), (None, _at(0)), (_at(6), _at(6))]
    scores = get_preset("regions", of=("f1", "precision", "recall")).evaluate(pairs, distances=_Known())
    per = scores.per_sample
    assert per["f1_hands"] == pytest.approx([2 / 3, NAN, NAN, 0, NAN], nan_ok=True)
    assert per["precision_hands"] == pytest.approx([1 / 2, NAN, NAN, 0, NAN], nan_ok=True)
    assert per["recall_hands"] == pytest.approx([1, NAN, NAN, 0, NAN], nan_ok=True)
    assert per["f1_feet"] == pytest.approx([0, NAN, NAN, NAN, NAN], nan_ok=True)
    assert per["f1_head"] == pytest.approx([NAN, 0, NAN, NAN, NAN], nan_ok=True)
    assert np.isnan(per["f1_seat"]).all()
    assert per["f1_regions"] == pytest.approx([1 / 3, 0, 1, 0, 1])
    assert scores.aggregate["f1_hands"] == pytest.approx(1 / 3)
    assert np.isnan(scores.aggregate["f1_seat"])
    assert scores.counts == {"n": 5, "n_failed": 1}


def test_counts_of_regions_add_up_to_those_of_the_body() -> None:
    rng = np.random.default_rng(0)
    body = load_body()
    regions = BodyRegions.of_parts(body.parts)
    assert (regions.ids >= 0).all()
    assert sorted(set(regions.ids.tolist())) == list(range(len(REGIONS)))
    said, true = rng.random((2, body.num_verts)) < 0.3
    counts = region_counts(said, true, regions)
    assert (counts.tp.sum(), counts.predicted.sum(), counts.positive.sum()) == (
        (said & true).sum(), said.sum(), true.sum(),
    )  # fmt: skip


def test_every_part_belongs_to_one_region_and_lies_where_its_name_says() -> None:
    body = load_body()
    told = [part for name in REGIONS for part in parts_of_region(name)]
    assert sorted(told) == sorted(body.parts.names)
    regions, verts = BodyRegions.of_parts(body.parts), body.rest_verts
    assert np.array_equal(regions.mask_of("hands"), body.parts.mask_of("both_hands"))
    assert np.array_equal(regions.mask_of("feet"), body.parts.mask_of("both_feet"))
    assert np.array_equal(regions.mask_of("seat"), body.parts.mask_of("seat"))
    height = {name: verts[regions.mask_of(name), 1].mean() for name in REGIONS}
    assert height["head"] > height["torso"] > height["seat"] > height["legs"] > height["feet"]


def test_regions_carry_over_to_a_finer_mesh_of_the_same_shape() -> None:
    from hoirecon.data.datasets.stand_in_body import stand_in_mesh

    body, other = load_body(), stand_in_mesh("standin-6890")
    regions = BodyRegions.of_parts(body.parts)
    carried = regions.carried_to(body.rest_verts, other.verts)
    assert (carried.num_verts, carried.approximate) == (6890, True)
    for name in REGIONS:
        here, there = body.rest_verts[regions.mask_of(name)].mean(0), other.verts[carried.mask_of(name)].mean(0)
        assert np.abs(here - there).max() < 0.02, name


def test_perfect_is_1_and_all_names_are_registered() -> None:
    known = {m.name for m in list_metrics()}
    preset = get_preset("regions")
    assert {m.name for m in preset.metrics} == {"f1_regions", *(f"f1_{r}" for r in REGIONS)} <= known
    scores = preset.evaluate([(_at(0, 5), _at(0, 5)), (_at(), _at())], distances=_Known())
    assert scores.aggregate["f1_regions"] == scores.aggregate["f1_hands"] == 1.0


def test_unknown_regions_leave_no_figures_and_another_body_is_named() -> None:
    preset = get_preset("regions")
    mesh = MeshDistances(np.eye(3), [[0, 1, 2]])
    bare = preset.evaluate([([1.0, 0, 0], [1, 0, 0])], distances=mesh)
    assert bare.aggregate == {}
    assert bare.counts == {"n": 1, "n_failed": 0}
    with pytest.raises(InputError, match=r"sample a: the maps have 3 vertices.*7"):
        preset.evaluate([([1.0, 0, 0], [1, 0, 0])], ids=["a"], distances=_Known())
    with pytest.raises(InputError, match="NaN"):
        preset.evaluate([([NAN, 0, 0], [1, 0, 0])], distances=_Known())
    for ask in (BODY.mask_of, parts_of_region):
        with pytest.raises(InputError, match="no region is called 'tail'"):
            ask("tail")
    with pytest.raises(InputError, match="3 vertices and the truth 2"):
        region_counts(np.ones(3, bool), np.ones(2, bool), BODY)
