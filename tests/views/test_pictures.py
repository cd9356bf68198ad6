"""The pictures of a toy scene: what must be seen is seen where it must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.scene import Scene
from hoirecon.views.contact import contact_picture, object_directions, touched_side
from hoirecon.views.ground import make_ground
from hoirecon.views.look import all_points, body_contact, object_contact, part_names, scene_surfaces
from hoirecon.views.overlay import FIT_COLOR, SEEN_COLOR, overlay_picture
from hoirecon.views.palette import contact_colors, to_bytes, to_oklab
from hoirecon.views.turntable import turntable_picture, turntable_views

pytest.importorskip("open3d", reason="pictures need the extra 'render'")

PANEL = 320  # what conftest sets


def hue_share(picture: np.ndarray, warm: bool) -> float:
    """Share of pixels that are clearly warm (or cool)."""
    lab = to_oklab(picture[::3, ::3] / 255.0)
    return float((lab[..., 2] > 0.05).mean() if warm else (lab[..., 2] < -0.025).mean())


def test_the_overlay_shows_body_and_object_only_on_the_right(scene: Scene) -> None:
    picture = overlay_picture(scene)
    middle = picture.shape[1] // 2
    left, right = picture[: PANEL - 50, :middle], picture[: PANEL - 50, middle:]
    assert hue_share(left, warm=False) < 0.002
    assert hue_share(left, warm=True) < 0.002
    assert hue_share(right, warm=False) > 0.05
    assert hue_share(right, warm=True) > 0.01


def test_the_overlay_puts_a_part_where_the_camera_sees_it(scene: Scene) -> None:
    bare = replace(scene.observation, person_mask=None, object_masks=(), keypoints=None)
    flat = replace(bare, image=np.full_like(bare.image, 128))
    picture = overlay_picture(replace(scene, observation=flat))
    panel_width = round(96 * PANEL / 128)
    left = picture.shape[1] - 28 - panel_width  # the margin of a sheet is 28
    top = 28 + 29  # margin and title
    grey = np.abs(picture[top : top + PANEL, left : left + panel_width].astype(int) - 128).max(axis=2) < 3
    seen = ~grey
    expected = scene.camera.project(all_points(scene)) * PANEL / 128
    rows, columns = np.nonzero(seen)
    assert abs(rows.min() - expected[:, 1].min()) < 5  # an outline's width
    assert abs(rows.max() - expected[:, 1].max()) < 5
    assert abs(columns.max() - expected[:, 0].max()) < 5


def test_landmarks_are_drawn_if_they_are_sure(scene: Scene) -> None:
    points = scene.observation.keypoints
    assert points is not None
    unsure = replace(points, confidence=np.full(33, 0.1))
    fitted = replace(scene, bodies=(replace(scene.body, landmarks=np.tile([0.0, 0, 3], (33, 1))),))
    with_dots = overlay_picture(fitted)
    without = overlay_picture(replace(scene, observation=replace(scene.observation, keypoints=unsure)))

    def dots(picture: np.ndarray, color: np.ndarray = SEEN_COLOR) -> int:
        panel = picture[28 + 29 : 28 + 29 + PANEL].astype(int)  # without title and legend
        return int((np.abs(panel - to_bytes(color)).max(axis=2) < 12).sum())

    assert dots(with_dots) > 33 * 5
    assert dots(with_dots, FIT_COLOR) > 33 * 5  # a line from each dot to the body's
    assert dots(overlay_picture(scene), FIT_COLOR) == 0
    assert dots(without) == 0


def test_contact_colours_appear_only_where_something_is_touched(scene: Scene) -> None:
    def reds(picture: np.ndarray) -> int:
        strip = picture[:250].astype(int)  # without the legend
        return int(((strip[..., 0] - strip[..., 2]) > 60).sum())

    nothing = tuple(
        replace(
            pair,
            body_contact=replace(pair.body_contact, probability=0 * pair.body_contact.probability),
            object_contact=replace(pair.object_contact, probability=0 * pair.object_contact.probability),
        )
        for pair in scene.contacts
    )
    assert reds(contact_picture(scene)) > 300
    assert reds(contact_picture(replace(scene, contacts=nothing))) == 0
    assert reds(contact_picture(replace(scene, contacts=()))) == 0


def test_the_turntable_is_the_same_each_time(scene: Scene) -> None:
    first, second = (turntable_picture(scene, views=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert hue_share(first, warm=False) > 0.02


@pytest.mark.parametrize("views", [0, -1, 2.5, "8"])
def test_a_turntable_without_sides_is_refused(scene: Scene, views: Any) -> None:
    with pytest.raises(InputError, match=r"the turntable has .* views: give a whole number of sides, 1 or more"):
        turntable_picture(scene, views=views)


def test_all_turntable_views_share_one_scale_and_hold_everything(scene: Scene) -> None:
    points = all_points(scene)
    views = turntable_views(points, [0, 45, 180])
    assert len({view.camera.focal for view in views}) == 1
    for view in views:
        pixels = view.project(points)
        assert (pixels > 0).all()
        assert (pixels < [view.camera.width, view.camera.height]).all()
    to_camera = -np.linalg.inv(views[0].T_view_cam)[:3, 2]
    assert to_camera[2] < -0.9  # the first view is from the camera's side


def test_the_ground_lies_under_everything_and_is_darker_below(scene: Scene) -> None:
    surfaces = scene_surfaces(scene)
    ground = make_ground(surfaces)
    np.testing.assert_allclose(ground.centre[1], all_points(scene)[:, 1].max())
    middle = len(ground.shadow) // 2
    assert ground.shadow[middle, middle] < 0.85
    assert ground.shadow[0, 0] > 0.98
    view = turntable_views(all_points(scene), [0.0])[0]
    drawn = to_bytes(ground.draw(view))
    np.testing.assert_array_equal(drawn[0, 0], drawn[0, -1])  # the page's background at the corners


def test_scenes_without_extras_can_be_drawn(make_scene: Callable[..., Scene]) -> None:
    bare = make_scene(objects=(), contacts=(), flags=(), measures={})
    bare = replace(bare, observation=replace(bare.observation, person_mask=None, object_masks=(), keypoints=None))
    assert overlay_picture(bare).ndim == 3
    assert contact_picture(bare).ndim == 3
    assert turntable_picture(bare, views=2).ndim == 3


def test_two_bodies_and_names_that_repeat(scene: Scene) -> None:
    twice = replace(scene, bodies=scene.bodies * 2, objects=(*scene.objects, replace(scene.objects[0], name="body")))
    assert part_names(twice) == ["body", "body 2", "red <b>box</b>", "body 3"]
    assert body_contact(twice, 1).max() == 0
    assert object_contact(twice, 1).max() == 0
    assert contact_picture(twice).shape[0] > contact_picture(scene).shape[0] + 250


def test_contact_of_several_pairs_is_their_highest(scene: Scene) -> None:
    pair = scene.contacts[0]
    other = replace(pair, body_contact=replace(pair.body_contact, probability=1 - pair.body_contact.probability))
    both = body_contact(replace(scene, contacts=(pair, other)), 0)
    p = pair.body_contact.probability
    np.testing.assert_array_equal(both, np.maximum(p, 1 - p))


def test_the_touched_side_is_the_mean_normal(scene: Scene) -> None:
    mesh = scene.objects[0].mesh
    split = Mesh(mesh.verts[mesh.faces].reshape(-1, 3), np.arange(mesh.faces.size).reshape(-1, 3))
    lower = (np.repeat(mesh.face_normals, 3, axis=0)[:, 1] > 0.5).astype(float)
    side = touched_side(split, lower)
    assert side is not None
    np.testing.assert_allclose(side, [0, 1, 0], atol=1e-9)
    near, far = object_directions(split, lower)
    assert near[1] > 0.5  # from below: y points down
    assert far[1] < 0
    assert touched_side(split, np.ones(len(split.verts))) is None
    assert touched_side(split, np.zeros(len(split.verts))) is None


def test_the_scale_in_the_picture_is_the_scale_of_the_colours(scene: Scene) -> None:
    picture = contact_picture(scene)
    ends = to_bytes(contact_colors([0.0, 1.0]))
    for color in ends:
        assert (picture == color).all(axis=2).any()
