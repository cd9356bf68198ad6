from __future__ import annotations

import numpy as np
import pytest

from hoirecon.contact.rendering.types import View, ViewTable
from hoirecon.contact.rendering.views import (
    HUMAN_VIEWS,
    OBJECT_VIEWS,
    as_point_views,
    camera_numbers,
    check_lights,
    drawn_views,
    human_views,
    object_views,
    resized,
    view_lights,
)
from hoirecon.errors import InputError

FRONT, BEHIND = (0.0, 0.0, 3.0), (0.0, 0.0, -3.0)


def test_old_names_lead_to_the_same_table() -> None:
    assert human_views("4MV-Z_Vitru_wScene") is human_views("4MV-Z_Vitru_FootGround")


@pytest.mark.parametrize(("name", "offer"), [("4MV-Z_Vitruv", "4MV-Z_Vitru"), ("", "choose one of"), ("x" * 99, "4MV")])
def test_an_unknown_name_gets_advice(name: str, offer: str) -> None:
    with pytest.raises(InputError, match=offer):
        human_views(name)


def test_a_body_s_name_is_not_an_object_s() -> None:
    with pytest.raises(InputError, match="of objects"):
        object_views("4MV-Z_Vitru")


def test_the_first_view_of_body_and_object_is_the_same_camera() -> None:
    body, thing = camera_numbers(human_views("4MV-Z_Vitru")), camera_numbers(object_views("4MV-Z_HM"))
    np.testing.assert_array_equal(body[0], thing[0])
    assert body.shape == (4, 5)


@pytest.mark.parametrize("table", OBJECT_VIEWS.values(), ids=lambda t: str(t.name))
def test_objects_are_drawn_nearer_than_featlift_is_told(table: ViewTable) -> None:
    assert {view.distance for view in drawn_views(table)} == {1.5}
    assert {view.distance for view in table.views} == {2.0}
    assert {view.distance for view in drawn_views(as_point_views(table))} == {2.0}


def test_cameras_that_are_not_told_have_no_numbers() -> None:
    with pytest.raises(InputError, match="not told"):
        camera_numbers(object_views("4MV-XY_Fix"))


def test_lights_go_by_the_view_s_name() -> None:
    body = human_views("4MV-Z_Vitru")
    assert dict(zip(body.names, view_lights(body), strict=True)) == {
        "topfront": FRONT, "topback": BEHIND, "bottomfront": BEHIND, "bottomback": FRONT,
    }  # fmt: skip
    assert view_lights(object_views("4MV-Z_HM")) == (FRONT, FRONT, BEHIND, BEHIND)


def test_every_table_has_a_light_for_each_view() -> None:
    for table in (*HUMAN_VIEWS.values(), *OBJECT_VIEWS.values()):
        check_lights(table, view_lights(table))
        assert len(set(table.names)) == len(table.names)


def test_too_few_lights_are_refused() -> None:
    with pytest.raises(InputError, match="1 lights for 2 views"):
        check_lights(ViewTable("two", (View("a", 1, 2, 3), View("b", 1, 2, 3))), (FRONT,))


@pytest.mark.parametrize("size", [0, -5, 10_000])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(InputError, match="side from 1"):
        resized(human_views("4MV-Z_Vitru"), size)
