"""The catalogue of categories: names, sizes, interactions."""

from __future__ import annotations

import math

import pytest

from hoirecon.data.body import load_body
from hoirecon.data.objects import Category, get_category, list_categories, list_objects
from hoirecon.data.objects.catalog import normalise
from hoirecon.data.objects.index import WHOLE, entries
from hoirecon.errors import InputError

COCO_TOUCHED = """bicycle, motorcycle, boat, bench, horse, backpack, umbrella, handbag, tie, suitcase, frisbee, skis,
snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass,
cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, hot dog, pizza, donut, cake, chair, couch,
potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, book, clock, vase, scissors,
teddy bear, hair drier, toothbrush""".replace("\n", " ").split(", ")

ALL = [get_category(name) for name in list_categories()]


def test_there_are_enough_categories_and_cocos_are_among_them() -> None:
    assert len(ALL) >= 50
    for name in COCO_TOUCHED:
        assert get_category(name).name == name
        assert get_category(name).coco, name
    assert {c.name for c in ALL if c.coco} == set(COCO_TOUCHED)
    wanted = "barbell dumbbell box stool ladder basket guitar broom tablet kettlebell monitor desk hammer bucket crutch"
    assert set(wanted.split()) <= set(list_categories())


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Cell_Phone", "cell phone"),
        ("SMARTPHONE", "cell phone"),
        ("mobile-phone", "cell phone"),
        ("  sofa ", "couch"),
        ("racquet", "tennis racket"),
        ("bikes", "bicycle"),
        ("weightlifting bar", "barbell"),
        ("glasses", "sunglasses"),
    ],
)
def test_names_are_found_however_they_are_written(written: str, name: str) -> None:
    assert get_category(written).name == name


def test_every_alias_names_one_category() -> None:
    owner: dict[str, str] = {}
    for category in ALL:
        for alias in (category.name, *category.aliases):
            assert owner.setdefault(normalise(alias), category.name) == category.name, alias
            assert get_category(alias) is category


@pytest.mark.parametrize(("written", "offered"), [("barbel", "barbell"), ("gitar", "guitar"), ("tablett", "tablet")])
def test_an_unknown_name_offers_the_nearest(written: str, offered: str) -> None:
    with pytest.raises(InputError, match=f"did you mean .*{offered}"):
        get_category(written)


@pytest.mark.parametrize("hostile", ["", "   ", "\x00", "../../etc/passwd", "x" * 5000, "🛋", "chair/../../x"])
def test_hostile_names_end_in_advice(hostile: str) -> None:
    with pytest.raises(InputError, match="unknown object"):
        get_category(hostile)


def test_every_body_and_object_part_of_an_interaction_exists() -> None:
    body_parts = set(load_body().parts.names)
    for category in ALL:
        _check_interactions(category, body_parts)


def _check_interactions(category: Category, body_parts: set[str]) -> None:
    assert category.interactions, category.name
    for interaction, pairs in category.interactions.items():
        assert pairs
        assert len(set(pairs)) == len(pairs), f"{interaction} names a pair twice"
        for body, part in pairs:
            assert body in body_parts, f"{category.name}, {interaction}: the body has no {body}"
            assert part in category.parts or part == WHOLE, f"{interaction}: no mesh has {part}"


def test_interactions_expand_sides_and_groups() -> None:
    pairs = get_category("barbell").interactions["on_shoulders"]
    assert ("left_palm", "bar_left") in pairs
    assert ("right_thumb", "bar_right") in pairs
    assert ("left_palm", "bar_right") not in pairs
    phone = get_category("phone").interactions
    assert ("right_ear", "screen") in phone["call_right"]
    assert ("left_ear", "screen") in phone["call_left"]
    assert not any(body.startswith("left") for body, _ in phone["call_right"])


def test_sizes_are_believable_and_explained() -> None:
    for category in ALL:
        assert 0.03 <= category.size_median <= 4, category.name
        assert 0.02 <= category.size_log_sigma <= 0.6, category.name
        assert len(category.size_source) > 10, category.name


def test_size_range_is_log_symmetric() -> None:
    category = get_category("barbell")
    low, high = category.size_range(2.0)
    assert low * high == pytest.approx(category.size_median**2)
    assert math.log(high / low) == pytest.approx(4 * category.size_log_sigma)


def test_every_mesh_fits_its_size_prior() -> None:
    for entry in list_objects():
        category = get_category(entry.category)
        longest = max(entry.extents)
        assert abs(math.log(longest / category.size_median)) <= 3 * category.size_log_sigma, entry.id


def test_every_category_has_a_mesh_and_its_default_exists() -> None:
    for category in ALL:
        assert category.default_id in entries(), category.name
        assert list_objects(category.name)
