"""Lift: contact seen in the views' masks becomes contact per vertex or point ("Render-Localize-Lift").

lift_human(logits, maps)             # (B, V, H, W) logits of the masks and PixelMaps of the body -> (B, N) probability
lift_object_mesh(logits, maps)       # likewise for an object's mesh; only pixels above the threshold speak
lift_object_points(values, maps)     # likewise for a point cloud, values taken as they are

Dwivedi et al., "InteractVLM" (CVPR 2025), section 3.2. A pixel that shows a triangle tells its value to the three
corners by barycentric weight. All pixels and views go in one sparse sum, prepared once per maps (`Lifter`).
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray
from hoirecon.contact.rendering.types import Maps, PixelMaps, PointMaps
from hoirecon.errors import InputError

LiftForm = Literal["soft", "legacy"]
"""``soft``: of the models trained with it (released names with ``-fix``, ``-noParts``); has a gradient. ``legacy``: a
hard 0/1 answer, of the models released before."""

SOFT_CLAMP = 20.0
"""Logits beyond it are saturated and get no gradient (soft human lifting)."""
LEGACY_THRESHOLD = 0.3
"""The legacy form's threshold of raw logits and of the mean barycentric weight."""
OBJECT_THRESHOLD = 0.3
"""Probability above which a pixel speaks for an object's vertices."""


@dataclass(frozen=True, eq=False)
class Lifter:
    """Which pixels speak to which vertices and how loudly, prepared for one device and dtype.

    Pixels with a vertex id outside the mesh (-1 is the background) are left out whole.
    """

    size: tuple[int, int, int]
    """Views, rows, columns of the masks."""
    num_verts: int
    """N vertices or points."""
    pixels: Tensor
    """(P,) indices of the speaking pixels in the flattened masks."""
    rows: Tensor
    """(P, K) for each of its K corners ``view * N + vertex``."""
    weights: Tensor
    """(P, K) barycentric weights; 1 for points."""
    hit_pixels: Tensor
    """(P K,) the pixel of every hit, hits in the order of their rows."""
    hit_weights: Tensor
    """(P K,) its weight."""
    lengths: Tensor
    """(V N,) hits per row."""
    total: Tensor
    """(V, N) sum of the weights that a vertex gets in a view."""

    @classmethod
    def of(cls, maps: Maps, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Lifter:
        """Prepare; takes a second for four views of 1024 x 1024. Use :func:`lifter` to have it kept."""
        ids, weights, num_verts = _table(maps)
        views = len(ids)
        good = np.flatnonzero(((ids >= 0) & (ids < num_verts)).all(axis=-1).reshape(-1))
        corners = ids.reshape(-1, ids.shape[-1])[good].astype(np.int64)
        weights = weights.reshape(-1, ids.shape[-1])[good]
        rows = corners + (good // ids[0, ..., 0].size)[:, None] * num_verts
        order = np.argsort(rows, axis=None, kind="stable")
        count = views * num_verts
        total = np.bincount(rows.reshape(-1), weights.reshape(-1).astype(np.float64), count)

        def numbers(array: npt.NDArray[Any]) -> Tensor:
            return torch.tensor(array, dtype=dtype, device=device)

        def whole(array: npt.NDArray[Any]) -> Tensor:
            return torch.tensor(array, dtype=torch.int64, device=device)

        return cls(
            size=(views, ids.shape[1], ids.shape[2]),
            num_verts=num_verts,
            pixels=whole(good),
            rows=whole(rows),
            weights=numbers(weights),
            hit_pixels=whole(order // ids.shape[-1]),
            hit_weights=numbers(weights.reshape(-1)[order]),
            lengths=whole(np.bincount(rows.reshape(-1), minlength=count)),
            total=numbers(total.reshape(views, num_verts)),
        )

    def gather(self, masks: Tensor) -> Tensor:
        """(B, P) values of the speaking pixels of (B, V, H, W) masks."""
        if masks.ndim != 4 or tuple(masks.shape[1:]) != self.size:
            raise InputError(
                f"masks have shape {tuple(masks.shape)}, but the maps are of (views, rows, columns) {self.size}: "
                f"give (batch, {', '.join(map(str, self.size))})"
            )
        return masks.flatten(1).index_select(1, self.pixels)

    def sum(self, values: Tensor) -> Tensor:
        """(C, V, N) weighted sums per view and vertex of (C, P) values; differentiable."""
        sums: Tensor = _SparseSum.apply(values, self)  # type: ignore[no-untyped-call]
        return sums.reshape(-1, self.size[0], self.num_verts)

    def count(self, chosen: Tensor) -> Tensor:
        """(C, V, N) how many corners of the chosen pixels (C, P) fall on each vertex, weight or not."""
        counts = [_segment_sum(row.index_select(0, self.hit_pixels), self.lengths) for row in chosen]
        return torch.stack(counts).reshape(-1, self.size[0], self.num_verts)

    def mean(self, values: Tensor) -> Tensor:
        """(C, N) weighted mean per view, then plain mean over the views that see the vertex; 0 if none does."""
        seen = self.total > 0
        per_view = self.sum(values) / torch.where(seen, self.total, 1)
        return _mean_over_views(per_view, seen)


class _SparseSum(torch.autograd.Function):
    """Sparse matrix times dense, (C, P) -> (C, V N): segments forward, three corners per pixel backward.

    Torch's own sparse product needs MKL, and its gradient sorts the matrix again at every call. Segments are summed in
    one order on every device, unlike atomic additions. One row at a time is faster than all together.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, lift: Lifter) -> Tensor:
        ctx.lift = lift
        hits = [row.index_select(0, lift.hit_pixels).mul_(lift.hit_weights) for row in values]
        return torch.stack([_segment_sum(row, lift.lengths) for row in hits])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        rows, weights = ctx.lift.rows, ctx.lift.weights
        terms = [grad.index_select(0, rows.reshape(-1)).reshape(rows.shape) for grad in grads[0]]
        return torch.stack([term.mul_(weights).sum(dim=1) for term in terms]), None


def lift_human(logits: Tensor, maps: PixelMaps, form: LiftForm = "soft") -> Tensor:
    """Contact per body vertex from the masks of all views.

    ``soft``: the sigmoid of the clamped logits, averaged by barycentric weight per view, then over the views that see
    the vertex. ``legacy``: 1 where the mean barycentric weight of the hits of all pixels with a logit above 0.3 is
    itself above 0.3, else 0.

    Args:
        logits: (B, V, H, W) of the views' masks; background pixels are not looked at.
        maps: what each pixel shows.
        form: which of the reference's two forms; the one that the model was released with gives its figures.

    Returns:
        (B, N) probability in [0, 1], float32 (float64 for float64); 0 where no view sees the vertex. The soft form
        has a gradient but for saturated logits.

    Raises:
        InputError: masks that do not fit the maps, or an unknown form.
    """
    if form not in ("soft", "legacy"):
        raise InputError(f"there is no form of lifting '{form}': choose soft or legacy")
    with _full_precision(logits):
        lift, values = _prepared(logits, maps)
        if form == "soft":
            return lift.mean(values.clamp(-SOFT_CLAMP, SOFT_CLAMP).sigmoid()).clamp(0, 1)
        chosen = (values > LEGACY_THRESHOLD).to(values.dtype)
        weight, hits = lift.sum(chosen).sum(1), lift.count(chosen).sum(1)
        return (weight / hits.clamp(min=1) > LEGACY_THRESHOLD).to(values.dtype)


def lift_object_mesh(logits: Tensor, maps: PixelMaps, threshold: float = OBJECT_THRESHOLD) -> Tensor:
    """Contact per object vertex from the masks of all views.

    Only pixels with a probability above the threshold speak: a vertex has their barycentric mean per view, averaged
    over the views in which any of them reached it. So low pixels never lower a vertex, and every value but 0 is above
    the threshold. The reference takes one sample at a time; here any number of them on the same maps.

    Args:
        logits: (B, V, H, W) of the views' masks.
        maps: what each pixel shows.
        threshold: probability above which a pixel speaks.

    Returns:
        (B, N) probability in [0, 1], float32 (float64 for float64); 0 where nothing spoke. The gradient reaches the
        speaking pixels alone.

    Raises:
        InputError: masks that do not fit the maps.
    """
    with _full_precision(logits):
        lift, values = _prepared(logits, maps)
        probability = values.sigmoid()
        chosen = (probability > threshold).to(values.dtype)
        sums = lift.sum(torch.cat([probability * chosen, chosen]))
        said, weight = sums[: len(logits)], sums[len(logits) :]
        spoken = weight > 0
        return _mean_over_views(said / torch.where(spoken, weight, 1), spoken).clamp(0, 1)


def lift_object_points(values: Tensor, maps: PointMaps) -> Tensor:
    """Affordance per point: the mean of its pixels per view, then over the views that see it.

    Args:
        values: (B, V, H, W), averaged as they are: give probabilities to get probabilities.
        maps: which point each pixel shows.

    Returns:
        (B, N), float32 (float64 for float64); 0 where no view sees the point. Linear in the values.

    Raises:
        InputError: values that do not fit the maps.
    """
    with _full_precision(values):
        lift, seen = _prepared(values, maps)
        return lift.mean(seen)


def visibility(maps: Maps) -> BoolArray:
    """(V, N) which vertices each view shows, with any weight above 0."""
    return np.asarray((lifter(maps).total > 0).numpy())


def coverage(maps: Maps) -> float:
    """Share of the vertices that at least one view shows; the others can never get contact."""
    return float(visibility(maps).any(axis=0).mean())


_kept: dict[tuple[int, torch.device, torch.dtype], Lifter] = {}
_keeping = threading.Lock()


def lifter(maps: Maps, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Lifter:
    """The :class:`Lifter` of these maps, prepared at the first call and kept as long as the maps live."""
    key = (id(maps), torch.device(device), dtype)
    with _keeping:
        kept = _kept.get(key)
    if kept is not None:
        return kept
    made = Lifter.of(maps, device, dtype)
    with _keeping:
        if key not in _kept:
            _kept[key] = made
            weakref.finalize(maps, _forget, key)  # before the id can belong to another object
    return made


def _forget(key: tuple[int, torch.device, torch.dtype]) -> None:
    _kept.pop(key, None)  # without the lock: a finalizer may run inside it; a dict's pop is atomic


def _prepared(masks: Tensor, maps: Maps) -> tuple[Lifter, Tensor]:
    """The lifter on the masks' device, and the (B, P) values of its pixels in full precision."""
    dtype = masks.dtype if masks.dtype == torch.float64 else torch.float32
    lift = lifter(maps, masks.device, dtype)
    return lift, lift.gather(masks).to(dtype)


def _full_precision(masks: Tensor) -> torch.autocast:
    """Sums of thousands of halves would lose the answer, so autocast does not reach in here."""
    return torch.autocast(masks.device.type, enabled=False)


def _mean_over_views(per_view: Tensor, counted: Tensor) -> Tensor:
    """(C, N) mean of (C, V, N) over the counted views, 0 where none is."""
    views = counted.to(per_view.dtype).sum(dim=-2)
    return torch.where(counted, per_view, 0).sum(dim=1) / views.clamp(min=1)


def _segment_sum(values: Tensor, lengths: Tensor) -> Tensor:
    if not len(values):
        return values.new_zeros(len(lengths))
    return torch.segment_reduce(values, "sum", lengths=lengths, unsafe=True)


def _table(maps: Maps) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], int]:
    """(V, H, W, K) ids and weights, and the number of vertices."""
    if isinstance(maps, PixelMaps):
        return maps.verts, maps.bary, maps.num_verts
    return maps.points[..., None], np.ones((*maps.points.shape, 1), np.float32), maps.num_points
