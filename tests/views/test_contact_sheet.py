"""The sheet of an estimate: red where contact is and only there, seen from where it can be seen, whatever comes in."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import ImageFont

from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError, TopologyError
from hoirecon.mesh import Mesh
from hoirecon.views.contact_page import COLUMN, LEAST_PHOTO, PANEL_WIDTH, contact_sheet, wrap
from hoirecon.views.contact_sides import Lookout, body_sides, object_sides, side_at, touched_groups
from hoirecon.views.palette import contact_colors, to_bytes
from hoirecon.views.shapes import MAX_FACES, balls, lighter

pytest.importorskip("open3d", reason="pictures need the extra 'render'")

PHOTO = np.full((40, 60, 3), 128, np.uint8)
SCALE = 110  # rows at the foot with the colours' scale


def ball(subdivisions: int = 3, **words: Any) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions=subdivisions)
    return Mesh(np.array(sphere.vertices), np.array(sphere.faces), words.get("name", "ball"))


BALL = ball()


def on(mesh: Mesh, touched: Any, **words: Any) -> tuple[Mesh, ContactMap]:
    return mesh, ContactMap(np.asarray(touched, float), mesh.topology, **words)


def reds(picture: np.ndarray) -> np.ndarray:
    """(H, W) the colours of sure contact, lit anyhow."""
    p = picture[:-SCALE, 28 + COLUMN :].astype(int)
    return np.asarray((p[..., 0] - p[..., 1] > 60) & (p[..., 0] - p[..., 2] > 35))


def panels(seen: np.ndarray) -> list[int]:
    """Count in each of the four columns of views."""
    width = PANEL_WIDTH + 10
    start = 20  # between the columns
    return [int(seen[:, start + k * width : start + (k + 1) * width].sum()) for k in range(4)]


def test_red_is_where_contact_is_and_only_there() -> None:
    none = contact_sheet(PHOTO, objects=[on(BALL, np.zeros(len(BALL.verts)))])
    assert reds(none).sum() == 0
    whole = contact_sheet(PHOTO, objects=[on(BALL, np.ones(len(BALL.verts)))])
    assert min(panels(reds(whole))) > 15_000
    # The upper half: both views from above show more of it than both from below, all show some.
    upper = panels(reds(contact_sheet(PHOTO, objects=[on(BALL, BALL.verts[:, 1] > 0)])))
    assert min(upper[:2]) > 2 * max(upper[2:]) > 0
    # The left half (x > 0, as the front is z): seen by the views from its left.
    left = panels(reds(contact_sheet(PHOTO, objects=[on(BALL, BALL.verts[:, 0] > 0.1)])))
    assert min(left[1], left[2]) > 2 * max(left[0], left[3])


def test_the_colour_is_that_of_the_scale() -> None:
    half = contact_sheet(PHOTO, objects=[on(BALL, np.full(len(BALL.verts), 0.5))])
    wanted = to_bytes(contact_colors(0.5)).astype(int)
    view = half[:-SCALE, 28 + COLUMN :].astype(int)
    assert (np.abs(view - wanted).max(axis=2) < 30).sum() > 20_000


def test_a_small_touched_place_gets_a_close_up_on_an_object() -> None:
    spot = BALL.verts @ [0.6, 0.0, 0.8] > 0.95
    sides = object_sides(BALL, spot.astype(float), "rest")
    assert [side.focus is None for side in sides] == [True, True, True, False]
    assert sides[3].focus is not None
    assert set(sides[3].focus) == set(np.flatnonzero(spot))
    assert sides[3].way @ [0.6, 0.0, 0.8] > 0.8
    counts = panels(reds(contact_sheet(PHOTO, objects=[on(BALL, spot)])))
    assert counts[3] > 3 * max(counts[:3])
    assert [s.focus for s in object_sides(BALL, (BALL.verts[:, 1] > 0).astype(float), "rest")] == [None] * 4


@pytest.mark.parametrize(
    "place", [(0, 0, 1), (0, 0, -1), (0, -1, 0), (0, 1, 0), (1, 0, 0), (-1, 0, 0), (0.7, -0.7, 0.1)]
)
def test_a_place_on_the_body_is_seen_wherever_it_is(place: tuple[float, float, float]) -> None:
    spot = BALL.verts @ (np.array(place) / np.linalg.norm(place)) > 0.97
    counts = panels(reds(contact_sheet(PHOTO, body=on(BALL, spot))))
    assert counts[2] > 100  # the view that shows it best
    assert counts[3] > counts[2]  # the close-up


def test_two_places_far_apart_get_a_close_up_each() -> None:
    two = np.abs(BALL.verts[:, 0]) > 0.97
    sides = body_sides(BALL, two.astype(float), "rest")
    assert [side.focus is None for side in sides] == [True, True, False, False]
    ways = sorted(float(side.way[0]) for side in sides[2:])
    assert ways[0] < -0.7
    assert ways[1] > 0.7


def test_groups_hold_every_touched_vertex_near_it_once() -> None:
    verts = np.concatenate([np.random.default_rng(k).normal(5 * k, 0.05, (20 + k, 3)) for k in range(3)])
    touched = np.arange(1, len(verts))
    groups = touched_groups(verts, touched, 1.0)
    assert [len(g) for g in groups] == [22, 21, 19]
    assert sorted(np.concatenate(groups)) == touched.tolist()


def test_a_patch_larger_than_a_group_is_one_place_and_no_rim() -> None:
    cap = np.flatnonzero(BALL.verts[:, 2] > 0.9)  # 0.45 across
    assert len(touched_groups(BALL.verts, cap, 0.3)) == 1


def test_what_stands_before_a_place_hides_it() -> None:
    wall = trimesh.creation.box([3, 3, 0.1])
    wall.apply_translation([0, 0, 2])
    small = trimesh.creation.icosphere(subdivisions=2)
    both = Mesh(np.concatenate([small.vertices, wall.vertices]), np.concatenate([small.faces, wall.faces + 162]))
    front = np.array([int(np.argmax(BALL.verts[:162] @ [0, 0, 1]))])
    seen = Lookout(both, "rest").visibility(front, [side_at(0, 10, "rest"), side_at(2, 10, "rest")])
    assert seen[0, 0] == 0
    assert Lookout(BALL, "rest").visibility(front, [side_at(0, 10, "rest")])[0, 0] > 0.9
    assert abs(Lookout(both, "rest").best_side(front).way @ [0, 0, 1]) < 0.9


def test_left_is_the_bodys_left_and_the_camera_looks_from_its_side() -> None:
    np.testing.assert_allclose(side_at(2, 10, "rest").way[[0, 2]], [np.cos(np.deg2rad(10)), 0], atol=1e-12)
    assert side_at(2, 10, "rest").caption == "left"
    assert side_at(2, 10, "rest").way[1] > 0
    near = side_at(0, 35, "camera")
    assert near.caption == "near side, from above"
    assert near.way[2] < 0
    assert near.way[1] < 0  # y points down
    assert side_at(2, -35, "camera").way[0] > 0


def test_frames_give_the_same_picture_of_the_same_thing() -> None:
    verts = BALL.verts * [1, 1.4, 0.8]
    touched = BALL.verts @ [0.5, 0.2, 0.8] > 0.6
    rest, cam = Mesh(verts, BALL.faces), Mesh(verts * [1, -1, -1], BALL.faces)
    a = reds(contact_sheet(PHOTO, body=on(rest, touched), frame="rest"))
    b = reds(contact_sheet(PHOTO, body=on(cam, touched), frame="camera"))
    assert (a != b).mean() < 1e-3


def test_the_same_input_gives_the_same_bytes() -> None:
    args = {"body": on(BALL, BALL.verts[:, 0] > 0.5, label="x"), "objects": [on(BALL, BALL.verts[:, 2] > 0)]}
    assert contact_sheet(PHOTO, **args).tobytes() == contact_sheet(PHOTO, **args).tobytes()


def test_the_users_units_do_not_matter() -> None:
    touched = BALL.verts[:, 1] > 0.5
    metres = contact_sheet(PHOTO, objects=[on(BALL, touched)])
    for unit in (1e-6, 1e6):
        other = contact_sheet(PHOTO, objects=[on(BALL.with_verts(BALL.verts * unit + unit), touched)])
        assert np.abs(metres.astype(int) - other).mean() < 0.2


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines of text, as they are drawn."""
    texts: list[str] = []
    module = importlib.import_module("hoirecon.views.contact_page")
    plain = module._written

    def spy(picture: np.ndarray, lines: Any, top: int = 0) -> np.ndarray:
        texts.extend(text for text, _, _ in lines)
        return np.asarray(plain(picture, lines, top))

    monkeypatch.setattr(module, "_written", spy)
    return texts


def test_words_are_drawn_and_long_ones_end(drawn: list[str]) -> None:
    words = {
        "label": "tennis\nracket",
        "answer": "It is [SEG].",
        "named_parts": ("left_hand",),
        "notes": ("first taken", "\x00", "first taken"),
    }
    contact_sheet(
        PHOTO, body=on(BALL, BALL.verts[:, 0] > 0.5, **words), notes=["a person's note", *map(str, range(40))]
    )
    text = "\n".join(drawn)
    assert "contact with tennis racket: on the body" in text
    assert f"{int((BALL.verts[:, 0] > 0.5).sum())} of 642 vertices above 0.5 · the answer names: left hand" in text
    assert "the model's answer, body\nIt is [SEG]." in text
    assert drawn.count("first taken") == 1
    assert "a person's note" in drawn
    assert "and 34 more notes" in drawn
    drawn.clear()
    contact_sheet(PHOTO, objects=[on(BALL, np.full(642, 0.25))])
    assert "contact on ball" in drawn
    assert "no contact: highest probability 0.25" in drawn


def test_parts_are_named_if_they_are_known(drawn: list[str]) -> None:
    spot = BALL.verts[:, 0] > 0.95
    parts = {"left_palm": np.flatnonzero(BALL.verts[:, 0] > 0.9), "sole": np.flatnonzero(BALL.verts[:, 1] < -0.5)}
    contact_sheet(PHOTO, body=on(BALL, spot, parts=parts))
    assert any("touched: left palm" in text for text in drawn)
    assert any(text.startswith("left palm, close-up") for text in drawn)


@pytest.mark.parametrize("text", ["", "a b c", "word " * 300, "x" * 5000, "short " + "y" * 400 + " end", "漢" * 200])
def test_wrapped_lines_fit_and_lose_nothing_but_the_end(text: str) -> None:
    lines = wrap(text, 200, 16, max_lines=6)
    length = ImageFont.load_default(16).getlength
    assert len(lines) <= 6
    assert all(length(line) <= 200 for line in lines)
    whole, said = text.replace(" ", ""), "".join(lines).replace(" ", "")
    assert whole == said or (said.endswith("…") and whole.startswith(said.rstrip("…")))


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2000, 3000), (17, 23)])
def test_photographs_of_any_size(size: tuple[int, int]) -> None:
    photo = np.zeros((*size, 3), np.uint8)
    photo[:] = (10, 200, 30)
    sheet = contact_sheet(photo, objects=[on(BALL, np.zeros(642))])
    green = (np.abs(sheet.astype(int) - (10, 200, 30)).max(axis=2) < 3)[:, 28 : 28 + COLUMN]
    scale = min(COLUMN / size[1], LEAST_PHOTO / size[0], 8)
    assert green.sum() >= max(1, int(size[0] * scale)) * max(1, int(size[1] * scale)) * 0.9
    assert sheet.shape[0] < 600


def test_grey_photographs_are_taken_and_what_is_none_is_refused() -> None:
    grey = contact_sheet(PHOTO[..., 0], objects=[on(BALL, np.zeros(642))])
    np.testing.assert_array_equal(grey, contact_sheet(PHOTO, objects=[on(BALL, np.zeros(642))]))
    for wrong in (PHOTO.astype(float), PHOTO[0, 0, 0], PHOTO[:0]):
        with pytest.raises(InputError, match="image"):
            contact_sheet(wrong, objects=[on(BALL, np.zeros(642))])


def test_the_room_gives_the_function_every_time() -> None:
    views = importlib.import_module("hoirecon.views")
    assert views.contact_sheet is views.contact_sheet is contact_sheet


def test_wrong_calls_get_advice() -> None:
    with pytest.raises(InputError, match="needs a body or an object"):
        contact_sheet(PHOTO)
    with pytest.raises(TopologyError, match=r"3 vertices.*ball has 642"):
        contact_sheet(PHOTO, objects=[(BALL, ContactMap([0, 0, 0], "m"))])
    with pytest.raises(InputError, match="unknown frame 'world'"):
        contact_sheet(PHOTO, objects=[on(BALL, np.zeros(642))], frame="world")


@pytest.mark.parametrize(
    "mesh",
    [
        Mesh(np.eye(3), [[0, 1, 2]]),
        Mesh(np.zeros((3, 3)), [[0, 1, 2]]),
        Mesh(np.eye(3), [[0, 0, 0]]),
        Mesh(np.eye(3) * [1, 1, 0], [[0, 1, 2]]),
    ],
)
@pytest.mark.parametrize("touched", [0, 1, 3])
def test_meshes_that_are_hardly_any_do_not_stop_it(mesh: Mesh, touched: int) -> None:
    contact = ContactMap(np.arange(3) < touched, "m")
    assert contact_sheet(PHOTO, body=(mesh, contact), objects=[(mesh, contact)]).dtype == np.uint8


def test_clouds_are_drawn_as_balls_of_their_colour() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    none = contact_sheet(PHOTO, objects=[(points, ContactMap.none(300, "cloud"))])
    assert reds(none).sum() == 0
    upper = panels(reds(contact_sheet(PHOTO, objects=[(points, ContactMap(points[:, 1] > 0, "cloud"))])))
    assert min(upper[:2]) > 1.3 * max(upper[2:]) > 0
    mesh, values = balls(points, points[:, 1] ** 2)
    assert (len(mesh.verts), len(mesh.faces), len(values)) == (300 * 12, 300 * 20, 300 * 12)
    np.testing.assert_allclose(mesh.verts.reshape(300, 12, 3).mean(axis=1), points, atol=1e-12)
    one, _ = balls(np.zeros((1, 3)), np.ones(1))
    assert one.is_watertight
    assert one.to_trimesh().volume > 0  # faces look outwards


def test_huge_meshes_keep_shape_and_contact() -> None:
    fine = ball(6)
    assert len(fine.faces) > MAX_FACES
    spot = int(np.argmax(fine.verts[:, 1]))
    light, values = lighter(fine, (np.arange(len(fine.verts)) == spot).astype(float))
    assert len(light.faces) < len(fine.faces)
    assert values.max() == 1  # one touched vertex does not vanish in a mean
    np.testing.assert_allclose(light.verts[values.argmax()], fine.verts[spot], atol=2 / 140 * 1.8)
    assert abs(np.linalg.norm(light.verts, axis=1) - 1).max() < 2 / 140
    assert light.to_trimesh().volume == pytest.approx(4 / 3 * np.pi, rel=0.02)
    same, kept = lighter(BALL, np.zeros(642))
    assert same is BALL
    assert len(kept) == 642
