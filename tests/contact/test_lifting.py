"""Lifting against slow readable twins, exact gradients, and what must hold for any maps."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hoirecon.contact import lifting
from hoirecon.contact.lifting import (
    Lifter,
    coverage,
    lift_human,
    lift_object_mesh,
    lift_object_points,
    lifter,
    visibility,
)
from hoirecon.contact.rendering.types import PixelMaps, PointMaps
from hoirecon.errors import InputError

NUM_VERTS = 12
SHAPE = (3, 5, 7)


def random_maps(seed: int = 0) -> PixelMaps:
    """Half background, some ids out of range, some zero weights; the last vertex is never named."""
    rng = np.random.default_rng(seed)
    verts = rng.integers(0, NUM_VERTS - 1, (*SHAPE, 3))
    bary = rng.dirichlet(np.ones(3), SHAPE)
    bary[rng.random(SHAPE) < 0.2] = (1, 0, 0)
    out = rng.random(SHAPE) < 0.4
    verts[out], bary[out] = -1, -1
    verts[0, 0, 0], verts[1, 2, 3, 1], verts[2, 4, 6, 2] = (NUM_VERTS, 1, 2), NUM_VERTS + 5, -1
    return PixelMaps(verts.astype(np.int32), bary.astype(np.float32), NUM_VERTS, ("a", "b", "c"))


def random_points(seed: int = 0) -> PointMaps:
    rng = np.random.default_rng(seed)
    points = rng.integers(-3, NUM_VERTS + 1, SHAPE)
    points[points == 4] = -1  # a point that nobody sees
    return PointMaps(points.astype(np.int32), NUM_VERTS, ("a", "b", "c"))


def random_masks(batch: int = 2, seed: int = 0, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hits(maps: PixelMaps) -> list[tuple[int, int, int, list[int], list[float]]]:
    """(view, row, column, vertices, weights) of the pixels whose three ids all exist."""
    found = []
    for view, row, column in np.ndindex(maps.verts.shape[:3]):
        ids = maps.verts[view, row, column].tolist()
        if all(0 <= i < maps.num_verts for i in ids):
            found.append((view, row, column, ids, maps.bary[view, row, column].astype(np.float64).tolist()))
    return found


def sigmoid(x: float) -> float:
    return 1 / (1 + float(np.exp(-x)))


def slow_mean(maps: PixelMaps, value: Any, speaks: Any) -> list[float]:
    """Weighted mean per view over the speaking pixels, then over the views that spoke."""
    answer = []
    for vertex in range(maps.num_verts):
        per_view = []
        for view in range(len(maps.verts)):
            said = weight = 0.0
            for v, row, column, ids, weights in hits(maps):
                for corner in range(3):
                    if v == view and ids[corner] == vertex and speaks(v, row, column):
                        said += weights[corner] * value(v, row, column)
                        weight += weights[corner]
            if weight > 0:
                per_view.append(said / weight)
        answer.append(float(np.mean(per_view)) if per_view else 0.0)
    return answer


def slow_legacy(maps: PixelMaps, logits: Any) -> list[float]:
    weight, count = np.zeros(maps.num_verts), np.zeros(maps.num_verts)
    for view, row, column, ids, weights in hits(maps):
        if logits[view, row, column] > 0.3:
            for corner in range(3):
                weight[ids[corner]] += weights[corner]
                count[ids[corner]] += 1
    return [float(c > 0 and w / c > 0.3) for w, c in zip(weight, count, strict=True)]


def slow_points(maps: PointMaps, values: Any) -> list[float]:
    answer = []
    for point in range(maps.num_points):
        views = [values[v][maps.points[v] == point] for v in range(len(maps.points))]
        answer.append(float(np.mean([v.mean() for v in views if len(v)] or [0])))
    return answer


@pytest.mark.parametrize("seed", range(3))
def test_every_form_equals_its_slow_twin(seed: int) -> None:
    maps, points, masks = random_maps(seed), random_points(seed), random_masks(seed=seed)
    soft, legacy = lift_human(masks, maps), lift_human(masks, maps, form="legacy")
    thing, cloud = lift_object_mesh(masks, maps), lift_object_points(masks, points)
    for row, mask in enumerate(masks.numpy()):

        def value(*at: int, mask: Any = mask) -> float:
            return sigmoid(float(np.clip(mask[at], -20, 20)))

        def above(*at: int, mask: Any = mask) -> bool:
            return sigmoid(float(mask[at])) > 0.3

        np.testing.assert_allclose(soft[row], slow_mean(maps, value, lambda *_: True), atol=1e-12)
        np.testing.assert_allclose(thing[row], slow_mean(maps, value, above), atol=1e-12)
        np.testing.assert_array_equal(legacy[row], slow_legacy(maps, mask))
        np.testing.assert_allclose(cloud[row], slow_points(points, mask), atol=1e-12)
    assert 0 < float(legacy.mean()) < 1


def test_gradients_are_exact() -> None:
    maps, points = random_maps(), random_points()
    masks = random_masks(batch=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: lift_human(m, maps), masks)
    assert torch.autograd.gradcheck(lambda m: lift_object_mesh(m, maps), masks)
    assert torch.autograd.gradcheck(lambda m: lift_object_points(m, points), masks)


def test_points_are_linear_and_saturated_logits_have_no_gradient() -> None:
    one, other, points = random_masks(seed=1), random_masks(seed=2), random_points()
    both = lift_object_points(2 * one - 3 * other, points)
    torch.testing.assert_close(both, 2 * lift_object_points(one, points) - 3 * lift_object_points(other, points))
    masks = torch.full((1, *SHAPE), 25.0, requires_grad=True)
    lift_human(masks, random_maps()).sum().backward()  # type: ignore[no-untyped-call]
    assert masks.grad is not None
    assert not masks.grad.any()


def test_an_object_pixel_below_the_threshold_changes_nothing() -> None:
    maps, masks = random_maps(), random_masks()
    low = torch.where(masks.sigmoid() > 0.3, masks, torch.full_like(masks, -9.0))
    assert not torch.equal(low, masks)
    torch.testing.assert_close(lift_object_mesh(masks, maps), lift_object_mesh(low, maps), rtol=0, atol=0)
    lifted = lift_object_mesh(masks, maps)
    assert float(lifted[lifted > 0].min()) > 0.3
    assert not lift_object_mesh(masks, maps, threshold=1.0).any()


def test_a_constant_mask_gives_a_constant_on_all_that_is_seen() -> None:
    maps = random_maps()
    lifted = lift_human(torch.full((1, *SHAPE), 0.8), maps)[0]
    seen = torch.tensor(visibility(maps).any(axis=0))
    torch.testing.assert_close(lifted[seen], torch.full_like(lifted[seen], sigmoid(0.8)))
    assert not lifted[~seen].any()
    assert coverage(maps) == pytest.approx(float(seen.double().mean()))
    assert coverage(maps) < 1


def test_visibility_names_the_views_that_show_a_vertex() -> None:
    maps = random_maps()
    want = np.zeros((3, NUM_VERTS), bool)
    for view, _, _, ids, weights in hits(maps):
        for vertex, weight in zip(ids, weights, strict=True):
            want[view, vertex] |= weight > 0
    np.testing.assert_array_equal(visibility(maps), want)
    points = random_points()
    np.testing.assert_array_equal(visibility(points)[1], np.isin(np.arange(NUM_VERTS), points.points[1]))


def test_a_batch_gives_what_single_rows_give() -> None:
    maps, masks = random_maps(), random_masks(batch=4).float()
    for lift in (lift_human, lift_object_mesh):
        torch.testing.assert_close(lift(masks, maps), torch.cat([lift(m[None], maps) for m in masks]), rtol=0, atol=0)


def test_halves_are_lifted_in_full_precision_under_autocast_too() -> None:
    maps, masks = random_maps(), random_masks().bfloat16()
    want = lift_human(masks.float(), maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = lift_human(masks, maps)
        points = lift_object_points(masks, random_points())
    assert got.dtype == points.dtype == torch.float32
    torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_maps_that_show_nothing_give_no_contact() -> None:
    shape = (1, 2, 2)
    empty = PixelMaps(np.full((*shape, 3), -1, np.int32), np.full((*shape, 3), -1, np.float32), 4, ("a",))
    masks = torch.full((2, *shape), 5.0, requires_grad=True)
    for form in ("soft", "legacy"):
        assert not lift_human(masks, empty, form=form).any()
    lift_object_mesh(masks, empty).sum().backward()  # type: ignore[no-untyped-call]
    assert masks.grad is not None
    assert not masks.grad.any()
    assert coverage(empty) == 0


def test_masks_of_another_size_and_unknown_forms_are_refused() -> None:
    maps = random_maps()
    with pytest.raises(InputError, match=r"\(2, 3, 7, 5\).*give \(batch, 3, 5, 7\)"):
        lift_human(torch.zeros(2, 3, 7, 5), maps)
    with pytest.raises(InputError, match="shape"):
        lift_object_points(torch.zeros(*SHAPE), random_points())
    with pytest.raises(InputError, match="choose soft or legacy"):
        lift_human(random_masks(), maps, form="hard")


def test_maps_are_prepared_once_and_forgotten_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Lifter] = []
    prepare = Lifter.of.__func__  # type: ignore[attr-defined]

    def counting(cls: type[Lifter], *args: Any) -> Lifter:
        made.append(prepare(cls, *args))
        return made[-1]

    monkeypatch.setattr(Lifter, "of", classmethod(counting))
    gc.collect()
    maps = random_maps()
    before = len(lifting._kept)
    for _ in range(3):
        lift_human(random_masks().float(), maps)
    assert len(made) == 1
    lift_human(random_masks(), maps)  # another dtype
    assert len(made) == 2
    assert len(lifting._kept) == before + 2
    del maps
    gc.collect()
    assert len(lifting._kept) == before


def test_threads_share_one_lifter() -> None:
    maps, found = random_maps(), []
    threads = [threading.Thread(target=lambda: found.append(lifter(maps))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert lifter(maps) is lifter(maps)
    for other in found:
        torch.testing.assert_close(other.total, found[0].total)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_what_the_cpu_gives() -> None:
    maps, masks = random_maps(), random_masks().float()
    for lift in (lift_human, lift_object_mesh):
        here, there = masks.clone().requires_grad_(), masks.cuda().requires_grad_()
        lift(here, maps).square().sum().backward()  # type: ignore[no-untyped-call]
        lift(there, maps).square().sum().backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(lift(there, maps).cpu(), lift(here, maps))
        assert here.grad is not None
        assert there.grad is not None
        torch.testing.assert_close(there.grad.cpu(), here.grad)
