"""Pixel maps, contact masks and view tables against those drawn by the reference's own rasterising routine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.contact.rendering.pytorch3d_renderer import PyTorch3DRenderer
from hoirecon.contact.rendering.types import PixelMaps, Renderer, Surface, View, ViewTable
from hoirecon.contact.rendering.views import HUMAN_VIEWS, OBJECT_VIEWS, camera_numbers, human_views, object_views
from hoirecon.contact.rendering.views import view_lights as lights_of
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from hoirecon.contact.training.public.targets import view_masks
from tests.contact.parity_data import arrays, tensors, values

FILES = ("human_views", "object_views")
EDGE = 1e-3
"""A weight smaller than this says that the pixel's centre lies on an edge, where rounding chooses the triangle."""


def stored_maps(name: str) -> PixelMaps:
    """The maps of a file of the set."""
    read = arrays(f"maps/{name}")
    names = tuple(key.removeprefix("p2v__") for key in read if key.startswith("p2v__"))
    verts, bary = (np.stack([read[f"{kind}__{view}"] for view in names]) for kind in ("p2v", "bary"))
    return PixelMaps(verts.astype(np.int32), bary.astype(np.float32), len(read["vertices"]), names)


def drawn_maps(name: str, renderer: Renderer) -> PixelMaps:
    """The same mesh from the same cameras, drawn by us."""
    read, stored = arrays(f"maps/{name}"), stored_maps(name)
    views = tuple(View(view, *(float(x) for x in read[f"cam__{view}"])) for view in stored.names)
    table = ViewTable(name, views, size=stored.verts.shape[1])
    surface = Surface(read["vertices"], read["faces"].astype(np.int64), np.full(read["vertices"].shape, 0.5))
    maps = renderer.render(surface, table, lights_of(table)).maps
    assert isinstance(maps, PixelMaps)
    return maps


def on_edge(maps: PixelMaps) -> Any:
    """(V, H, W) whether a pixel's centre lies on an edge of the triangle it shows."""
    return maps.foreground & (maps.bary.min(axis=-1) < EDGE)


@pytest.mark.parametrize("renderer", [ZBufferRenderer(), PyTorch3DRenderer()], ids=lambda r: str(r.name))
@pytest.mark.parametrize("name", FILES)
def test_every_pixel_shows_the_reference_s_triangle_but_on_edges(name: str, renderer: Renderer) -> None:
    if renderer.name == "pytorch3d":
        pytest.importorskip("pytorch3d")
    stored, drawn = stored_maps(name), drawn_maps(name, renderer)
    differ = (stored.verts != drawn.verts).any(axis=-1)
    assert not (differ & ~on_edge(stored) & ~on_edge(drawn)).any()
    assert differ.sum() <= 0.001 * stored.foreground.sum(), f"{differ.sum()} pixels differ"
    np.testing.assert_allclose(drawn.bary[~differ], stored.bary[~differ], atol=1e-4)
    assert stored.foreground.sum() > 1000
    assert drawn.num_verts == stored.num_verts


@pytest.mark.parametrize("min_verts", [2, 3])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("maps_of", [stored_maps, lambda name: drawn_maps(name, ZBufferRenderer())],
                         ids=["stored maps", "own maps"])  # fmt: skip
def test_contact_masks(name: str, min_verts: int, maps_of: Callable[[str], PixelMaps]) -> None:
    read, maps = arrays(f"maps/{name}"), maps_of(name)
    touched = np.isin(np.arange(maps.num_verts), read["contact_vertices"]).astype(np.float64)
    drawn = np.where(view_masks(touched, maps, min_verts).numpy() == 1, 255, 0)
    expected = np.stack([read[f"mask_min{min_verts}__{view}"] for view in maps.names])
    sure = ~on_edge(maps)
    assert (expected == 255).any()
    np.testing.assert_array_equal(drawn[sure], expected[sure])


def test_view_tables_are_those_of_the_reference() -> None:
    tables = values("components/view_tables")
    assert set(tables["HUMAN"]) == set(HUMAN_VIEWS)
    assert set(tables["OBJS"]) == set(OBJECT_VIEWS)
    for kind, find in (("HUMAN", human_views), ("OBJS", object_views)):
        for name, expected in tables[kind].items():
            table = find(name)
            assert list(table.names) == expected["names"], name
            if expected["mask_size"] is not None:
                assert table.size == expected["mask_size"], name
            cameras = [expected["cam_params"][view] for view in table.names]
            assert table.conditioned == (None not in cameras), name
            if table.conditioned:
                np.testing.assert_array_equal(camera_numbers(table), np.array(cameras, np.float32))


@pytest.mark.parametrize("kind", ["human", "object"])
def test_camera_vectors_after_scaling(kind: str) -> None:
    from hoirecon.contact.modeling.feat_lift import normalize_cameras

    table = human_views("4MV-Z_Vitru") if kind == "human" else object_views("4MV-Z_HM")
    expected = tensors("components/camera_normalisation")[f"normalized_{kind}"]
    scaled = normalize_cameras(torch.from_numpy(camera_numbers(table)))
    torch.testing.assert_close(scaled, expected, atol=1e-6, rtol=0)
