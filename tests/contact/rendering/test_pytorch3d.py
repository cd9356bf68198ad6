"""Both renderers see the same: within one grey level on 99.9 % of pixels, and the same triangles but on edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hoirecon.contact.rendering.pytorch3d_renderer import PyTorch3DRenderer
from hoirecon.contact.rendering.surfaces import body_surface, object_surface
from hoirecon.contact.rendering.types import Surface, ViewTable
from hoirecon.contact.rendering.views import human_views, object_views, resized, view_lights
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from tests.contact.rendering.shapes import SHAPES, assert_same_views, bodylike

pytest.importorskip("pytorch3d")


def compare(surface: Surface, table: ViewTable, device: str = "cpu") -> None:
    lights = view_lights(table)
    ours, theirs = (r.render(surface, table, lights) for r in (ZBufferRenderer(device), PyTorch3DRenderer(device)))
    assert_same_views(ours, theirs, surface, table)


@pytest.mark.parametrize("size", [96, 125])
@pytest.mark.parametrize("table", [human_views("4MV-Z_Vitru"), object_views("4MV-Z_HM")], ids=lambda t: str(t.name))
@pytest.mark.parametrize("name", SHAPES)
def test_equal(name: str, table: ViewTable, size: int) -> None:
    compare(SHAPES[name], resized(table, size))


def test_equal_from_ten_views() -> None:
    compare(SHAPES["box"], resized(object_views("10MV-Z_HM"), 100))


def test_equal_on_a_shifted_view_and_on_a_library_object() -> None:
    from hoirecon.data.objects import load_object

    table = resized(object_views("4MV-Z_HM"), 96)
    table = replace(table, views=tuple(replace(v, x_shift=0.2, y_shift=-0.1) for v in table.views[:2]))
    compare(object_surface(load_object("chair")), table)


def test_equal_without_lights() -> None:
    table = resized(human_views("4MV-Z_Vitru"), 96)
    compare(replace(bodylike(), normals=None), table)


def test_a_comparison_that_must_fail() -> None:
    """What is compared here would see a light from the other side, or a view that is mirrored."""
    surface, table = bodylike(), resized(human_views("4MV-Z_Vitru"), 96)
    right = ZBufferRenderer().render(surface, table, view_lights(table))
    turned = ZBufferRenderer().render(surface, table, tuple((x, y, -z) for x, y, z in view_lights(table)))
    mirrored = replace(right, images=np.ascontiguousarray(right.images[:, :, ::-1]))
    for wrong in (turned, mirrored):
        with pytest.raises(AssertionError):
            assert_same_views(wrong, right, surface, table)


@pytest.mark.slow
def test_equal_on_the_whole_free_body() -> None:
    from hoirecon.data.body import load_body

    model = load_body()
    table = resized(human_views("4MV-Z_Vitru"), 256)
    compare(body_surface(model.rest_verts, model.faces), table)


@pytest.mark.gpu
def test_equal_on_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for surface in SHAPES.values():
        compare(surface, resized(object_views("4MV-Z_HM"), 256), "cuda")
