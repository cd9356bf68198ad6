"""Lifting gives the reference's numbers and gradients: ``components/*_lifting`` on the tables of ``maps/``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hoirecon.contact.lifting import lift_human, lift_object_mesh, lift_object_points
from hoirecon.contact.rendering.types import PixelMaps, PointMaps
from tests.contact import parity_data


def views_of(arrays: dict[str, Any], prefix: str) -> tuple[str, ...]:
    return tuple(key.removeprefix(prefix) for key in arrays if key.startswith(prefix))


def pixel_maps(name: str) -> PixelMaps:
    arrays = parity_data.arrays(f"maps/{name}")
    names = views_of(arrays, "p2v__")
    return PixelMaps(
        np.stack([arrays[f"p2v__{view}"] for view in names]).astype(np.int32),
        np.stack([arrays[f"bary__{view}"] for view in names]).astype(np.float32),
        len(arrays["vertices"]),
        names,
    )


def point_maps() -> PointMaps:
    arrays = parity_data.arrays("maps/object_point_views")
    names = views_of(arrays, "p2p__")
    points = np.stack([arrays[f"p2p__{view}"] for view in names]).astype(np.int32)
    return PointMaps(points, int(arrays["num_points"]), names)


def gradient(lifted: Tensor, weight: Tensor, masks: Tensor) -> Tensor:
    return torch.autograd.grad((lifted * weight).sum(), masks)[0]


def same_gradient(got: Tensor, want: Tensor, relative: float = 1e-4) -> None:
    assert float(want.abs().max()) > 0
    assert float((got - want).norm() / want.norm()) <= relative
    torch.testing.assert_close(got, want, rtol=0, atol=relative * float(want.abs().max()))


def without_threshold_cases(case: str, values: Tensor) -> Tensor:
    """Columns whose vertex no pixel within rounding of the hard threshold touches."""
    doubtful = parity_data.values("maps/threshold_margins").get(case, {}).get("vertices", [])
    keep = [i for i in range(values.shape[-1]) if i not in doubtful]
    assert len(keep) > values.shape[-1] / 2
    return values[..., keep]


def test_human_lifting() -> None:
    read, maps = parity_data.tensors("components/human_lifting"), pixel_maps("human_views")
    masks = read["seg_maps"].clone().requires_grad_()
    batch = len(masks)
    filled = torch.cat([torch.full_like(masks[:1], 30.0), torch.full_like(masks[:1], -30.0)])
    lifted = lift_human(torch.cat([masks, filled]), maps)
    torch.testing.assert_close(lifted, read["contact"], rtol=0, atol=1e-5)
    weight = read["contact_weight_for_grad"]
    same_gradient(gradient(lifted[:batch], weight[:batch], masks), read["grad_seg_maps"])


def test_saturated_masks_have_no_gradient() -> None:
    read, maps = parity_data.tensors("components/human_lifting"), pixel_maps("human_views")
    shape = (1, *read["seg_maps"].shape[1:])
    for fill, expected in zip((30.0, -30.0), read["grad_absmax_saturated"], strict=True):
        masks = torch.full(shape, fill, requires_grad=True)
        got = gradient(lift_human(masks, maps), read["contact_weight_for_grad"][:1], masks)
        assert float(got.abs().max()) == float(expected)


def test_rows_that_are_lifted_beside_others_are_the_same_alone() -> None:
    """The reference leaves rows of other data sets 0; the names are the caller's matter, the numbers are not."""
    read, maps = parity_data.tensors("components/human_lifting"), pixel_maps("human_views")
    mixed = read["contact_mixed_names"]
    lifted = lift_human(read["seg_maps"], maps)
    compared = 0
    for row, want in enumerate(mixed[: len(lifted)]):
        if want.any():
            torch.testing.assert_close(lifted[row], want, rtol=0, atol=1e-5)
            compared += 1
    assert compared


def test_human_lifting_on_irregular_tables() -> None:
    read = parity_data.tensors("components/human_lifting_irregular")
    maps = PixelMaps(
        read["pixel_to_vertex"].numpy().astype(np.int32),
        read["bary"].numpy(),
        int(read["num_vertices"]),
        tuple(str(i) for i in range(len(read["bary"]))),
    )
    masks = read["seg_maps"].clone().requires_grad_()
    lifted = lift_human(masks, maps)
    torch.testing.assert_close(lifted, read["contact"], rtol=0, atol=1e-5)
    same_gradient(gradient(lifted, read["contact_weight_for_grad"], masks), read["grad_seg_maps"])


@pytest.mark.parametrize("path", ["contact_inference", "contact_training_path"])
def test_object_mesh_lifting(path: str) -> None:
    read, maps = parity_data.tensors("components/object_mesh_lifting"), pixel_maps("object_views")
    masks = read["seg_maps"][None].clone().requires_grad_()
    lifted, case = lift_object_mesh(masks, maps), "components/object_mesh_lifting"
    got, want = (without_threshold_cases(case, values) for values in (lifted, read[path]))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
    same_gradient(gradient(lifted, read["contact_weight_for_grad"], masks)[0], read["grad_seg_maps"])


def test_object_mesh_lifting_of_one_pixel_and_of_none() -> None:
    read, maps = parity_data.tensors("components/object_mesh_lifting"), pixel_maps("object_views")
    masks = torch.full((2, *read["seg_maps"].shape), -5.0)
    height, width = masks.shape[-2:]
    masks[0, 2, height // 2, width // 2] = 1.0
    one, none = lift_object_mesh(masks, maps)
    assert read["contact_one_pixel"].any()
    torch.testing.assert_close(one[None], read["contact_one_pixel"], rtol=0, atol=1e-5)
    torch.testing.assert_close(none[None], read["contact_none"], rtol=0, atol=0)


def test_object_point_lifting() -> None:
    read = parity_data.tensors("components/object_point_lifting")
    masks = read["seg_maps"].clone().requires_grad_()
    lifted = lift_object_points(masks, point_maps())
    torch.testing.assert_close(lifted, read["affordance"], rtol=1e-5, atol=1e-5)
    got = gradient(lifted, read["contact_weight_for_grad"], masks)
    same_gradient(got, read["grad_seg_maps"], relative=1e-3)  # stored as float16
