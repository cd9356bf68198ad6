"""Varied things: training leaves the library's meshes, validation and test do not, and names stay what they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hoirecon.contact.training import closedworld_data as data
from hoirecon.contact.training.object_means import VoxelMean
from hoirecon.contact.training.quick_scenes import QuickScene, quick_scene
from hoirecon.contact.training.scene_plans import bears_body, uses_of
from hoirecon.contact.training.scene_variety import Plan, Variety, alike, draw_plan, rounded_block
from hoirecon.data.objects import load_object
from hoirecon.errors import InputError

GOLDEN_IDS, GOLDEN_TOUCHED = ["box/large", "stool/counter"], [39, 81]
GOLDEN_CELLS, GOLDEN_AZIMUTH = [1200512814, 1528095534], [-136.66002, 41.89942]
TRAIN_ID, TRAIN_TOUCHED = "snowboard/long", [68, 68, 68, 68]
OTHERS = Variety(stand_in=1.0, block=0.0)
BLOCKS = Variety(stand_in=0.0, block=1.0)


def plans(object_id: str, variety: Variety | None, count: int = 20) -> list[Plan]:
    rng = np.random.default_rng(0)
    found = (draw_plan(object_id, rng, variety, data._shapes()) for _ in range(count))
    return [plan for plan in found if plan is not None]


# ---------------------------------------------------------------------------------------------------- what is tested on
def test_validation_is_drawn_as_ever() -> None:
    """Values that were written down before training was drawn otherwise: kept files of samples stay true."""
    found = data.draw_samples("val", 11, 2)
    assert [data.object_ids()[i] for i in found.instance] == GOLDEN_IDS
    assert found.contact(slice(None)).sum(1).tolist() == GOLDEN_TOUCHED
    assert found.cell.tolist() == GOLDEN_CELLS
    np.testing.assert_allclose(found.azimuth, GOLDEN_AZIMUTH, atol=1e-3)


def test_training_without_variety_is_drawn_as_ever() -> None:
    found = data.draw_samples("train", 11, 1)
    assert data.object_ids()[found.instance[0]] == TRAIN_ID
    assert found.contact(slice(None)).sum(1).tolist() == TRAIN_TOUCHED


def test_what_is_tested_on_is_never_varied() -> None:
    for split in ("val", "test"):
        with pytest.raises(InputError, match="only training is varied"):
            data.draw_samples(split, 0, 1, variety=Variety())  # type: ignore[arg-type]


def test_varied_samples_are_the_seeds_and_others_than_the_plain_ones() -> None:
    one, again = (data.draw_samples("train", 11, 2, variety=Variety()) for _ in range(2))
    np.testing.assert_array_equal(one.masks, again.masks)
    np.testing.assert_array_equal(one.touching, again.touching)
    plain = data.draw_samples("train", 11, 2)
    assert one.xy.shape != plain.xy.shape or not np.allclose(one.xy, plain.xy)


# -------------------------------------------------------------------------------------------------------------- variety
def test_without_variety_a_thing_is_the_librarys() -> None:
    for plan in plans("mug/tea_cup", None):
        assert not plan.varied
        assert plan.own
        np.testing.assert_array_equal(plan.thing.mesh.verts, load_object("mug/tea_cup").mesh.verts)


def test_a_share_of_zero_varies_nothing_and_of_one_everything() -> None:
    assert not any(plan.varied for plan in plans("mug/tea_cup", Variety(share=0.0)))
    assert all(plan.varied for plan in plans("mug/tea_cup", Variety()))


def test_sizes_and_proportions_spread_as_far_as_they_are_said_to() -> None:
    variety = Variety(stand_in=0.0, block=0.0)
    sides = np.log([plan.thing.mesh.extents for plan in plans("mug/tea_cup", variety, 400)])
    sides -= np.log(load_object("mug/tea_cup").mesh.extents)
    whole = sides.std(0)
    np.testing.assert_allclose(whole, np.hypot(variety.size, variety.stretch), rtol=0.2)
    between = (sides[:, 0] - sides[:, 1]).std()  # the size of the whole drops out
    assert between == pytest.approx(variety.stretch * np.sqrt(2), rel=0.2)


def test_how_a_thing_is_used_goes_by_the_size_it_has() -> None:
    axe = load_object("axe/hatchet")
    large = replace(axe, mesh=type(axe.mesh)(axe.mesh.verts * 2, axe.mesh.faces, axe.id))
    assert {kind for _, kind, _ in uses_of(axe)} >= {"hold"}
    assert "hold" not in {kind for _, kind, _ in uses_of(large)}


def test_what_stands_in_is_of_another_category_and_in_the_box_of_what_it_is_called() -> None:
    found = [plan for plan in plans("mug/tea_cup", replace(OTHERS, size=0.0, stretch=0.0)) if not plan.own]
    assert len(found) > 5
    for plan in found:
        assert plan.called == "mug/tea_cup"
        assert plan.thing.category.name != "mug"
        assert data.split_of_object(plan.thing.id) == "train"
        np.testing.assert_allclose(plan.thing.mesh.extents, load_object("mug/tea_cup").mesh.extents, rtol=1e-6)


def test_only_like_proportions_stand_in_for_one_another() -> None:
    shapes = ("broom/flat", "mop/string", "sports ball/tennis", "orange/orange")
    assert alike("sports ball/basketball", shapes) == ("orange/orange",)  # its own category is no other
    assert "sports ball/tennis" not in alike("mop/string", shapes)


def test_no_mesh_of_validation_or_test_ever_stands_in() -> None:
    assert {data.split_of_object(name) for name in data._shapes()} == {"train"}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_rounded_block_is_closed_faces_outwards_and_fills_its_box(axis: int) -> None:
    mesh = rounded_block(0.3, 0.7, axis)
    assert mesh.is_watertight
    a, b, c = (mesh.verts[mesh.faces[:, k]] for k in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 > 4.0  # cubic half sides: a ball has 4.19, a cube 8
    np.testing.assert_allclose(np.abs(mesh.verts).max(0), 1, atol=1e-9)


def test_blocks_are_held_and_sat_on() -> None:
    for name in ("mug/tea_cup", "stool/four_legs", "skateboard/classic"):
        assert any(plan.thing.part_names == ("whole",) for plan in plans(name, BLOCKS))


# --------------------------------------------------------------------------------------------------------------- scenes
def stand_in_scene() -> QuickScene:
    rng = np.random.default_rng(1)
    while True:
        scene = quick_scene("bottle/water", rng, (), OTHERS, data._shapes())
        if scene is not None and not scene.objects[0].own:
            return scene


def test_a_stand_in_bears_the_name_and_teaches_nothing_of_the_mesh_it_hides() -> None:
    scene = stand_in_scene()
    thing = scene.objects[0]
    assert thing.object_id == "bottle/water"
    assert thing.touched.any()
    assert thing.touching.any()  # true of the mesh that is there
    rows = [seen.row for seen in data._seen(scene, "train", np.random.default_rng(0))]
    assert rows
    for row in rows:
        assert data.category_names()[int(row["category"])] == "bottle"
        assert not row["touching"].any()
        assert row["touched"].any()


def test_a_varied_scene_keeps_to_cells_that_training_may_see() -> None:
    rows = [seen.row for seen in data._seen(stand_in_scene(), "train", np.random.default_rng(0))]
    assert all(row["cell"] % data.HELD_OUT != 0 for row in rows)


def test_what_bears_the_body_is_drawn_more_often() -> None:
    odds = data._odds("train", 3.0)
    names = list(data._by_category("train"))
    assert odds.sum() == pytest.approx(1)
    assert bears_body("chair")
    assert not bears_body("mug")
    assert odds[names.index("chair")] == pytest.approx(3 * odds[names.index("mug")])


def test_stand_ins_do_not_dilute_what_is_usual_on_a_category() -> None:
    found = data.draw_samples("val", 11, 3)
    none = replace(found, touching=np.zeros_like(found.touching))
    both = data.Samples.joined([none, found])
    np.testing.assert_array_equal(VoxelMean(both, 3).mean, VoxelMean(found, 3).mean)
