"""The page: self-contained, escaped."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoirecon.scene import Scene
from hoirecon.views.look import cautions, ghosts, remarks
from hoirecon.views.report import _warnings, common_start, ghost_label, report_page

pytest.importorskip("viser", reason="the page needs the extra 'viewer'")


@pytest.fixture(scope="module")
def page(scene: Scene) -> str:
    picture = np.full((40, 60, 3), 200, dtype=np.uint8)
    return report_page(scene, {"a <caption>": picture})


class Outline(HTMLParser):
    """Collects tags, text and every address a document names."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    reader = Outline()
    reader.feed(page)
    return reader


def test_the_page_names_no_address(outline: Outline) -> None:
    assert outline.addresses
    assert all(address.startswith("data:") for address in outline.addresses)


def test_names_and_flags_are_text_not_markup(outline: Outline) -> None:
    assert "b" not in outline.tags
    assert "i" in outline.tags  # our own swatches
    assert "red <b>box</b>" in outline.text
    assert "the focal length is <i>assumed</i>" in outline.text
    assert "nobody & co" in outline.text


def test_cautions_and_remarks_stand_once_and_apart(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(flags=("camera: given", "look twice", "look twice", "second"))
    noted = replace(scene, observation=scene.observation.replace(notes=("camera: given", "third")))
    assert cautions(noted) == ["look twice", "second"]
    assert remarks(noted) == ["camera: given", "third"]
    before, after = _warnings(noted).split("What it rests on")
    assert "Before you trust it" in before
    assert (before.count("<li>"), after.count("<li>")) == (2, 2)
    assert _warnings(make_scene(flags=())) == ""


def test_other_poses_are_listed_and_hidden_at_first(page: str, outline: Outline) -> None:
    for text in ("red <b>box</b>, pose 2 (+2.5)", "Other poses that objects may have", "30.0", "180", "1.100"):
        assert text in outline.text  # moved 30 cm down, turned by half a turn, a tenth larger
    boxes = re.findall(r"<input type=checkbox[^>]*>", page)
    assert [" checked" in box for box in boxes] == [True, True, False]
    assert 'data-node="/red &lt;b&gt;box&lt;-b&gt;, pose 2"' in boxes[2]


def test_a_pose_without_energy_has_no_number(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    bare = replace(scene, objects=(replace(scene.objects[0], alternative_energies=()),))
    (ghost,) = ghosts(bare)
    assert ghost_label(ghost) == "red <b>box</b>, pose 2"
    np.testing.assert_array_equal(ghost.mesh.verts, bare.objects[0].alternatives[0].apply(bare.objects[0].mesh.verts))


def test_numbers_have_units(outline: Outline) -> None:
    assert "landmark error" in outline.text
    assert "3.14" in outline.text
    assert "150.0, 150.0" in outline.text


def test_the_page_is_small_and_holds_the_client_once(page: str) -> None:
    assert len(page.encode()) < 4 << 20
    assert page.count('\\"Viser client\\"') == 1


def test_nothing_in_the_data_ends_the_script(page: str) -> None:
    script = page[page.index("<script>const VIEW=") :]
    assert len(re.findall("</script>", script)) == 1


@given(st.lists(st.text("ab", max_size=6), min_size=1, max_size=4))
def test_common_start_equals_the_standard_librarys(texts: list[str]) -> None:
    assert common_start(texts) == os.path.commonprefix(texts)  # noqa: RUF071 - characters are meant
