"""Quick scenes: what they say touches does, splits share nothing, and the same seed gives the same samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hoirecon.contact.training import closedworld_data as data
from hoirecon.contact.training.quick_scenes import BAND_M, QuickScene, reach
from hoirecon.contact.training.scene_plans import categories, draw_recipe
from hoirecon.data.body.skeleton import joint_index
from hoirecon.data.closedworld.posing import Figure, Reach, body_model, palm_of
from hoirecon.errors import InputError


@pytest.fixture(scope="module")
def scene() -> QuickScene:
    return data.draw_scene("train", np.random.default_rng(3))


def test_touched_vertices_lie_within_the_band_of_the_surface(scene: QuickScene) -> None:
    for thing in scene.objects:
        corners = thing.verts[thing.faces]
        sampled = np.concatenate([thing.verts, corners.mean(1)])
        rows = np.flatnonzero(thing.touched)[::25]
        nearest = np.array([np.linalg.norm(sampled - scene.verts[r], axis=1).min() for r in rows])
        # samples are sparser than the surface, so they can only be farther; inside the object any depth touches
        assert (thing.distance[rows] < BAND_M).all()
        assert (nearest >= np.abs(thing.distance[rows]) - 1e-6).all()


def test_touching_object_vertices_have_a_body_vertex_near(scene: QuickScene) -> None:
    thing = scene.objects[0]
    for row in np.flatnonzero(thing.touching)[::10]:
        assert np.linalg.norm(scene.verts - thing.verts[row], axis=1).min() < BAND_M


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_arm_posed_in_closed_form_brings_the_palm_where_it_was_wanted(side: str) -> None:
    figure = Figure.drawn("stand", np.random.default_rng(0))
    g = 1.0 if side == "left" else -1.0
    shoulder = figure.frame(joint_index(f"{side}_shoulder"))[1]
    goal = Reach(shoulder + np.array([g * 0.1, -0.15, 0.35]), np.array([-g, 0.0, 0.0]))
    assert reach(figure, side, goal) < 1e-9
    R, t = figure.frame(joint_index(f"{side}_wrist"))
    np.testing.assert_allclose(t + R @ palm_of(side).point, goal.point, atol=1e-6)
    np.testing.assert_allclose(-R[:, 1], goal.facing, atol=1e-6)


def test_a_goal_out_of_reach_is_missed_by_what_is_missing() -> None:
    figure = Figure.drawn("stand", np.random.default_rng(0))
    assert reach(figure, "left", Reach(np.array([3.0, 1.0, 0.0]), np.array([-1.0, 0.0, 0.0]))) > 1.5


def test_samples_are_the_seeds_and_hold_what_they_say() -> None:
    one, again = (data.draw_samples("val", 11, 2) for _ in range(2))
    assert len(one) >= 1
    for name in ("xy", "xyz", "masks", "touched", "category"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert one.contact(slice(None)).shape == (len(one), body_model().num_verts)
    pictures = one.pictures(slice(None))
    assert (pictures.sum(1) <= 1).all()  # a pixel is nobody's or somebody's
    np.testing.assert_allclose(one.xyz[:, list(data.HIPS)].mean(1), 0, atol=1e-5)


def test_samples_come_back_from_a_file(tmp_path: Path) -> None:
    one = data.draw_samples("val", 11, 1)
    one.save(tmp_path / "s.npz")
    np.testing.assert_array_equal(data.Samples.load(tmp_path / "s.npz").masks, one.masks)
    assert len(data.Samples.joined([one, one])) == 2 * len(one)


def test_splits_have_no_object_and_no_cell_in_common() -> None:
    by_split = {split: {i for i in data.object_ids() if data.split_of_object(i) == split} for split in data.SPLITS}
    assert not by_split["train"] & by_split["test"]
    assert not by_split["val"] & by_split["test"]
    assert min(len(things) for things in by_split.values()) > 40
    held, trained = (data.draw_samples(split, 2, 2) for split in ("val", "train"))
    assert (held.cell[~held.several] % data.HELD_OUT == 0).all()  # a second thing's cell is beside the point
    assert (trained.cell[~trained.several] % data.HELD_OUT != 0).all()


def test_mending_fills_holes_of_the_person_only() -> None:
    whose = np.zeros((9, 9), dtype=int)
    whose[4, 4], whose[2, 2], whose[:, 0] = -1, 1, -1
    mended = data._mended(whose)
    assert mended[4, 4] == 0
    assert mended[2, 2] == 1
    assert (mended[:, 0] == -1).all()


def test_every_category_can_be_drawn() -> None:
    assert len(categories()) > 150
    rng = np.random.default_rng(0)
    for name in categories()[::12]:
        things = [i for i in data.object_ids() if i.split("/")[0] == name]
        assert any(draw_recipe(name, thing, rng) is not None for thing in things)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(InputError, match="one of train, val, test"):
        data.draw_samples("dev", 0, 1)
