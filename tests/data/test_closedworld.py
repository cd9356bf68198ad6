"""Closed-world scenes: they hold what they say, the same seed gives the same scene, the noise is as stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hoirecon.data.closedworld import (
    LEVELS,
    RECIPES,
    ClosedWorldScene,
    NoiseLevel,
    load_scene,
    make_scene,
    observe_scene,
    split_of_seed,
)
from hoirecon.data.closedworld.bent_body import bent_body
from hoirecon.data.closedworld.building import DEEPEST_M
from hoirecon.data.closedworld.noise import patchy, wobbled
from hoirecon.data.closedworld.posing import Figure, Reach, body_model, palm_of, rotation
from hoirecon.data.closedworld.rays import Solid
from hoirecon.data.closedworld.recipes import recipe_of
from hoirecon.data.closedworld.scene import BAND_M, MOST_OCCLUDED
from hoirecon.data.closedworld.storage import pack, unpack
from hoirecon.data.objects import load_object
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

pytest.importorskip("open3d")


@pytest.fixture(scope="module")
def scene() -> ClosedWorldScene:
    """A person and a box."""
    return make_scene(0)


@pytest.fixture(scope="module")
def cube() -> Solid:
    """A cube of one metre, from -0.5 to 0.5."""
    import trimesh

    box = trimesh.creation.box((1.0, 1.0, 1.0))
    return Solid(Mesh(box.vertices, box.faces))


# ------------------------------------------------------------------------------------------------------------ the table
def test_tuning_and_reporting_share_no_category_and_both_are_rich() -> None:
    tune, report = (frozenset().union(*(r.categories for r in RECIPES[s])) for s in ("tune", "report"))
    assert not tune & report
    assert len(tune) + len(report) >= 28
    assert min(len(tune), len(report)) >= 14
    for split in ("tune", "report"):
        assert len({r.interaction for r in RECIPES[split]}) >= 12


def test_every_object_and_part_of_the_table_exists() -> None:
    for recipe in RECIPES["all"]:
        for name in recipe.objects:
            thing = load_object(name)
            wanted = {g.spot.part for g in recipe.hands.values()} | {recipe.pin.part}
            if thing.part_names != ("whole",):
                assert wanted - {""} <= set(thing.part_names), (name, wanted, thing.part_names)


def test_a_splits_recipes_come_round_equally_often() -> None:
    n = len(RECIPES["tune"])
    assert len({id(recipe_of(seed)) for seed in range(n)}) == n
    assert recipe_of(3) is recipe_of(3 + n)
    assert (split_of_seed(999), split_of_seed(1000)) == ("tune", "report")


def test_mirroring_twice_changes_nothing() -> None:
    for recipe in RECIPES["all"]:
        twice = recipe.mirrored().mirrored()
        assert twice.hands == recipe.hands
        assert (twice.anchor, twice.offset, twice.euler, twice.pin) == (
            recipe.anchor, recipe.offset, recipe.euler, recipe.pin
        )  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- pieces
def test_signed_distance_of_a_cube_is_the_closed_form(cube: Solid) -> None:
    points = np.random.default_rng(0).uniform(-0.9, 0.9, (300, 3))
    q = np.abs(points) - 0.5
    exact = np.linalg.norm(np.clip(q, 0, None), axis=1) + np.clip(q.max(1), None, 0)
    assert np.allclose(cube.signed_distance(points), exact, atol=1e-5)


def test_closest_gives_weights_of_the_place_itself(cube: Solid) -> None:
    points = np.random.default_rng(1).uniform(-0.9, 0.9, (50, 3))
    places, faces, bary = cube.closest(points)
    assert np.allclose(np.einsum("nk,nkc->nc", bary, cube.mesh.verts[cube.mesh.faces[faces]]), places, atol=1e-5)


def test_depth_of_a_cube_ahead_is_along_the_axis(cube: Solid) -> None:
    from hoirecon import Camera

    depth = cube.depth(Camera.from_focal(100, 64, 48), np.eye(3), np.array([0.0, 0.0, 3.0]))
    assert np.allclose(depth[np.isfinite(depth)], 2.5, atol=1e-5)
    assert abs(np.isfinite(depth).sum() - 40 * 40) <= 2 * 40  # 1 m at 2.5 m and 100 px


def test_frames_of_the_arms_are_the_models_own() -> None:
    figure = Figure.drawn("stride", np.random.default_rng(2))
    joints = body_model().pose(figure.params()).joints
    for joint in (0, 9, 18, 20, 21, 30):
        assert np.allclose(figure.frame(joint)[1], joints[joint], atol=1e-9)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_palm_comes_to_a_point_within_reach(side: str) -> None:
    figure = Figure.drawn("stand", np.random.default_rng(3))
    g = 1.0 if side == "left" else -1.0
    goal = Reach(np.array([0.2 * g, 0.15, 0.35]), np.array([-g, 0.0, 0.0]))
    assert figure.reach(side, goal) < 0.01
    R, t = figure.frame(20 if side == "left" else 21)
    assert np.linalg.norm(R @ palm_of(side).point + t - goal.point) < 0.01
    assert -R[:, 1] @ goal.facing > 0.9


def test_rotation_of_a_vector_is_scipys() -> None:
    from scipy.spatial.transform import Rotation

    for v in np.random.default_rng(4).standard_normal((20, 3)):
        assert np.allclose(rotation(v), Rotation.from_rotvec(v).as_matrix())
    assert np.array_equal(rotation(np.zeros(3)), np.eye(3))


def test_a_closing_hand_does_not_sink_into_a_rod() -> None:
    import trimesh

    figure = Figure.drawn("stand", np.random.default_rng(5))
    R, t = figure.frame(21)
    palm = R @ palm_of("right").point + t
    along, down = R[:, 2], -R[:, 1]
    middle = palm + 0.022 * down  # a rod of 2 cm radius lies in the palm
    rod = trimesh.creation.cylinder(0.02, segment=[middle - 0.3 * along, middle + 0.3 * along])
    solid = Solid(Mesh(rod.vertices, rod.faces))
    open_hand = solid.signed_distance(figure.verts[body_model().parts.verts_of("right_fingers")])
    figure.close_hand("right", solid.signed_distance, 0.3)
    closed = solid.signed_distance(figure.verts[body_model().parts.verts_of("right_fingers")])
    assert closed.min() > -0.008
    assert (closed < 0.01).sum() > (open_hand < 0.01).sum()


# --------------------------------------------------------------------------------------------------------------- scenes
def test_a_scene_says_the_truth_about_itself(scene: ClosedWorldScene) -> None:
    assert np.allclose(scene.body.verts, scene.body_verts, atol=1e-9)
    placed = Solid(scene.mesh.with_verts(scene.pose.apply(scene.mesh.verts)))
    person = Solid(Mesh(scene.body_verts, body_model().faces))
    assert np.allclose(placed.signed_distance(scene.body_verts), scene.body_distance, atol=1e-5)
    assert np.allclose(person.signed_distance(placed.mesh.verts), scene.object_distance, atol=1e-5)
    assert min(scene.body_distance.min(), scene.object_distance.min()) > -DEEPEST_M
    assert scene.body_contact.binary().sum() > 10
    assert scene.object_contact.binary().sum() > 3


def test_masks_and_depth_are_of_the_same_picture(scene: ClosedWorldScene) -> None:
    assert not (scene.visible & scene.person).any()
    assert not (scene.visible & ~scene.full).any()
    assert np.array_equal(np.isfinite(scene.depth), scene.visible | scene.person)
    pixels = scene.camera.project(scene.pose.apply(scene.mesh.verts))
    rows, cols = np.nonzero(scene.full)
    low, high = np.array([cols.min(), rows.min()]), np.array([cols.max(), rows.max()]) + 1
    assert np.abs(pixels.min(0) - low).max() < 1.5
    assert np.abs(pixels.max(0) - high).max() < 1.5
    assert scene.occluded == pytest.approx(1 - scene.visible.sum() / scene.full.sum())


def test_correspondences_touch(scene: ClosedWorldScene) -> None:
    places = scene.pose.apply(scene.correspondences.points(scene.mesh))
    gaps = np.linalg.norm(places - scene.body_verts[scene.correspondences.body_verts], axis=1)
    assert len(scene.correspondences) == (scene.body_distance < BAND_M).sum()
    assert np.allclose(gaps, np.abs(scene.body_distance[scene.correspondences.body_verts]), atol=1e-5)


def test_the_same_seed_gives_the_same_scene_through_the_store(scene: ClosedWorldScene, tmp_path: Path) -> None:
    again = load_scene(0, folder=tmp_path)
    kept = load_scene(0, folder=tmp_path)
    for other in (again, kept):
        assert np.allclose(other.pose.R, scene.pose.R)
        assert np.allclose(other.body_verts, scene.body_verts, atol=1e-6)
        assert np.array_equal(other.visible, scene.visible)
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(b"damaged")
    assert np.array_equal(load_scene(0, folder=tmp_path).visible, scene.visible)


def test_packing_loses_nothing_that_counts(scene: ClosedWorldScene) -> None:
    back = unpack(pack(scene))
    assert (back.name, back.object_id, back.split) == (scene.name, scene.object_id, scene.split)
    assert np.array_equal(back.mesh.verts, scene.mesh.verts)
    assert np.allclose(back.body.verts, scene.body_verts)


def test_bad_seeds_and_names_are_refused() -> None:
    with pytest.raises(InputError, match="0 or more"):
        make_scene(-1)
    with pytest.raises(InputError, match="tune, report, all"):
        load_scene(1, "test")
    with pytest.raises(InputError, match="L0, L1"):
        observe_scene(make_scene(13), "L9")


@pytest.mark.slow
def test_every_recipe_gives_a_scene() -> None:
    for seed in [*range(len(RECIPES["tune"])), *range(1000, 1000 + len(RECIPES["report"]))]:
        made = make_scene(seed)
        assert min(made.body_distance.min(), made.object_distance.min()) > -DEEPEST_M
        assert made.occluded <= MOST_OCCLUDED
        assert made.redrawn < 40


# ---------------------------------------------------------------------------------------------------------------- noise
def test_level_zero_is_the_truth_at_an_unknown_size(scene: ClosedWorldScene) -> None:
    given = observe_scene(scene, "L0")
    assert np.array_equal(given.observation.object_masks[0], scene.visible)
    assert np.array_equal(given.body.verts, scene.body.verts)
    assert np.allclose(given.mesh.verts * given.true_scale, scene.mesh.verts)
    assert given.size_prior == (0.0, 0.1)
    assert given.contacts is not None
    assert np.array_equal(given.contacts[0].probability, scene.body_contact.probability)
    assert given.correspondences is not None
    assert np.allclose(
        given.correspondences.points(given.mesh) * given.true_scale, scene.correspondences.points(scene.mesh), atol=1e-4
    )


@pytest.mark.parametrize("name", ["L1", "L2", "L3"])
def test_contact_errors_have_the_stated_precision_and_recall(scene: ClosedWorldScene, name: str) -> None:
    level, given = LEVELS[name], observe_scene(scene, name)
    assert given.contacts is not None
    for found, truth in zip(given.contacts, (scene.body_contact, scene.object_contact), strict=True):
        said, true = found.binary(), truth.binary()
        hits = (said & true).sum()
        assert hits / true.sum() == pytest.approx(level.recall, abs=1.0 / true.sum())
        assert hits / said.sum() == pytest.approx(level.precision, abs=2.0 / said.sum())


def test_contact_errors_are_patches() -> None:
    rng = np.random.default_rng(6)
    points = rng.uniform(-1, 1, (4000, 3)) * [1, 1, 0]
    truth = np.linalg.norm(points - [0.5, 0, 0], axis=1) < 0.3
    label = patchy(points, truth, NoiseLevel("x", 0.65, 0.75), rng) > 0.5
    from scipy.spatial import cKDTree

    nearest = cKDTree(points).query(points, 2)[1][:, 1]
    for wrong in (truth & ~label, label & ~truth):
        assert wrong[nearest[wrong]].mean() > 0.7  # neighbours of errors are errors; a share of 0.1 if by chance


@pytest.mark.parametrize("pixels", [1.0, 2.0, 4.0])
def test_mask_noise_has_the_stated_size(pixels: float) -> None:
    r, c = np.mgrid[:300, :300]
    mask = np.hypot(r - 150, c - 150) < 100
    moved = np.zeros(0)
    for seed in range(4):
        wrong = wobbled(mask, pixels, np.random.default_rng(seed))
        angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
        along = np.arange(150)
        radii = [
            wrong[(150 + along * np.sin(a)).astype(int), (150 + along * np.cos(a)).astype(int)].sum() for a in angles
        ]
        moved = np.append(moved, np.array(radii) - 100)
    assert moved.std() == pytest.approx(pixels, rel=0.35, abs=0.4)


def test_thin_masks_do_not_vanish() -> None:
    mask = np.zeros((100, 100), dtype=bool)
    mask[50:52, 10:90] = True
    for seed in range(5):
        assert wobbled(mask, 4.0, np.random.default_rng(seed)).sum() * 4 >= mask.sum()


@pytest.mark.parametrize(("degrees", "ends"), [(2.5, 0.01), (5.0, 0.02), (10.0, 0.04)])
def test_hands_are_off_as_stated(scene: ClosedWorldScene, degrees: float, ends: float) -> None:
    joints = [25, 40, 10, 11]
    true = scene.body.joints[joints]
    errors = []
    for seed in range(12):
        bent = body_model().pose(bent_body(scene.params, degrees, ends, np.random.default_rng(seed)))
        errors.append(((bent.joints[joints] - true) ** 2).sum(1))
    assert np.sqrt(np.mean(errors)) == pytest.approx(ends, rel=0.25)


def test_without_the_correction_errors_add_up_along_the_arm(scene: ClosedWorldScene) -> None:
    free = [body_model().pose(bent_body(scene.params, 5.0, None, np.random.default_rng(s))) for s in range(8)]
    assert np.median([np.linalg.norm((b.joints - scene.body.joints)[[25, 40]], axis=1) for b in free]) > 0.035


def test_a_mismatched_mesh_keeps_its_labels_in_order(scene: ClosedWorldScene) -> None:
    given = observe_scene(scene, "mismatch")
    ratio = given.mesh.extents * given.true_scale / scene.mesh.extents
    assert (np.abs(np.log(ratio)) < 0.21).all()
    assert np.abs(np.log(ratio)).max() > 0.09
    assert given.contacts is not None
    assert len(given.contacts[1].probability) == len(given.mesh.verts)
    assert max(ids.max(initial=0) for ids in given.parts.values()) < len(given.mesh.verts)


def test_the_hardest_level_hides_a_third_behind_a_stated_occluder(scene: ClosedWorldScene) -> None:
    given = observe_scene(scene, "L3").observation
    assert given.occluders is not None
    assert not (given.object_masks[0] & given.occluders).any()
    assert (scene.visible & given.occluders).sum() == pytest.approx(0.3 * scene.visible.sum(), rel=0.15)


def test_noise_is_repeatable_and_differs_by_seed(scene: ClosedWorldScene) -> None:
    a, b, c = (observe_scene(scene, "L2", s) for s in (0, 0, 1))
    assert np.array_equal(a.observation.object_masks[0], b.observation.object_masks[0])
    assert np.array_equal(a.body.verts, b.body.verts)
    assert not np.array_equal(a.body.verts, c.body.verts)


def test_a_forearm_through_the_head_is_noticed() -> None:
    from hoirecon.data.closedworld.building import arms_clear

    figure = Figure.drawn("stand", np.random.default_rng(7))
    assert arms_clear(figure)
    figure.reach("right", Reach(figure.frame(15)[1] + [0.12, 0.1, 0.0], np.array([1.0, 0.0, 0.0])))
    assert not arms_clear(figure)
