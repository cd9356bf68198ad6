"""The body as its views show it: where it stands, how its legs are turned, and that no view cuts it off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hoirecon.contact.rendering.body_views import SMPLH_PELVIS, render_body, vitruvian_pose
from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.contact.rendering.view_cache import ViewCache
from hoirecon.contact.rendering.views import HUMAN_VIEWS, human_views, resized, view_lights
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from hoirecon.data.body import BodyModel, load_body


@pytest.fixture(scope="module")
def free() -> BodyModel:
    return load_body()


@pytest.fixture(scope="module")
def small() -> ZBufferRenderer:
    return ZBufferRenderer()


def test_each_leg_is_turned_thirty_degrees_outwards_and_nothing_else(free: BodyModel) -> None:
    verts, parts = vitruvian_pose(free), free.parts
    placed = free.rest_verts + (np.array(SMPLH_PELVIS) - free.rest_joints(free.full_betas(None))[0, 0].numpy())
    for side, sign in (("left", 1), ("right", -1)):
        for still in ("hand", "arm"):
            ids = parts.verts_of(f"{side}_{still}")
            np.testing.assert_allclose(verts[ids], placed[ids], atol=1e-5)
        ids = parts.verts_of(f"{side}_foot")
        rest, posed = (np.ptp(v[ids], axis=0) for v in (placed, verts))
        assert posed[2] == pytest.approx(rest[2], abs=1e-3)  # turned about the axis to the front
        foot, knee = (verts[parts.verts_of(f"{side}_{part}")].mean(axis=0) for part in ("foot", "knee"))
        was = placed[parts.verts_of(f"{side}_foot")].mean(axis=0) - placed[parts.verts_of(f"{side}_knee")].mean(axis=0)
        now = foot - knee
        turned = np.degrees(np.arctan2(now[0], -now[1]) - np.arctan2(was[0], -was[1]))
        assert turned == pytest.approx(30 * sign, abs=0.1)
    left = verts[parts.verts_of("left_foot")].mean(axis=0)
    assert left[0] > 0.4  # the body's left is at +x


def test_smplh_stays_where_its_file_puts_it_and_others_get_its_pelvis(free: BodyModel) -> None:
    as_smplh = replace(free, topology="smplh")
    raised = replace(
        free, topology="raised", v_template=free.v_template + 1.0, joint_template=free.joint_template + 1.0
    )
    pelvis = as_smplh.joint_template[0].numpy()
    shift = vitruvian_pose(free) - vitruvian_pose(as_smplh)
    np.testing.assert_allclose(shift, np.tile(np.array(SMPLH_PELVIS) - pelvis, (len(shift), 1)), atol=1e-6)
    np.testing.assert_allclose(vitruvian_pose(raised), vitruvian_pose(free), atol=1e-5)


@pytest.mark.parametrize("name", sorted(HUMAN_VIEWS))
def test_no_view_cuts_the_body_off_and_together_they_see_nearly_all_of_it(
    free: BodyModel, small: ZBufferRenderer, name: str
) -> None:
    views = render_body(free, resized(human_views(name), 256), small)
    maps = views.maps
    assert isinstance(maps, PixelMaps)
    assert maps.num_verts == free.num_verts
    for seen in maps.foreground:
        assert 0.05 < seen.mean() < 0.3
        border = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
        assert not border.any()
    assert len(np.unique(maps.verts[maps.foreground])) > 0.85 * free.num_verts
    assert (views.images[~maps.foreground] == 255).all()


def test_front_views_see_the_face_and_back_views_the_back(free: BodyModel, small: ZBufferRenderer) -> None:
    views = render_body(free, resized(human_views("4MV-Z_Vitru"), 256), small)
    maps = views.maps
    assert isinstance(maps, PixelMaps)
    seen = {name: set(np.unique(maps.verts[k])) for k, name in enumerate(maps.names)}

    def share(view: str, part: str) -> float:
        ids = free.parts.verts_of(part)
        return len(seen[view] & set(ids.tolist())) / len(ids)

    assert share("topfront", "face") > 0.4
    assert share("topback", "face") < 0.2
    assert share("topback", "upper_back") > 0.5 > 0.1 > share("topfront", "upper_back")
    for view, side in (("bottomfront", "right"), ("bottomback", "left")):  # the side on which the camera stands
        assert share(view, f"{side}_sole") > 0.5 > share("topfront", f"{side}_sole")


def test_views_come_from_the_cache_the_second_time(free: BodyModel, small: ZBufferRenderer, tmp_path: Path) -> None:
    table, cache = resized(human_views("4MV-Z_Vitru"), 64), ViewCache(tmp_path)
    first = render_body(free, table, small, cache)
    assert len(list(tmp_path.iterdir())) == 1
    again = render_body(free.to(dtype=torch.float32), table, small, cache)
    np.testing.assert_array_equal(again.images, first.images)
    plain = render_body(free, table, small)
    np.testing.assert_array_equal(again.images, plain.images)
    assert isinstance(again.maps, PixelMaps)
    assert isinstance(plain.maps, PixelMaps)
    np.testing.assert_array_equal(again.maps.bary, plain.maps.bary)


def test_there_is_a_light_for_every_view() -> None:
    lights = view_lights(human_views("4MV-Z_Vitru"))
    assert lights == ((0, 0, 3), (0, 0, -3), (0, 0, -3), (0, 0, 3))
