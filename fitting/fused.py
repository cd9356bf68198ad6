"""The object fit's terms in compiled loops: what torch does in many small steps, a Warp kernel does pose by pose.

A twin for CPUs of the outline and of the normal equations of each term, in float32. It is taken where Warp is
installed, nothing is differentiated and the state's view allows it; everywhere else (CUDA, float64, autograd, no Warp)
the torch functions run, which are the reference. Kernels are compiled at first use and kept on disk by Warp.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hoirecon.fitting.objective import Quadratic

if TYPE_CHECKING:
    from hoirecon.fitting.contour import Region
    from hoirecon.fitting.object_state import ObjectState
    from hoirecon.fitting.sdf import DistanceGrid
    from hoirecon.fitting.silhouette import EdgeTopology

POSES = 8
"""Poses that share one scratch space: it stays in the cache."""
SIZE = 57
"""Cost, gradient (7) and Hessian (7 x 7) of a pose."""


@cache
def warp() -> Any:
    """Warp with the kernels loaded, or None if it is not installed or cannot compile."""
    try:
        import warp as wp

        with wp.ScopedLogLevel(wp.LOG_ERROR):  # Warp reports what it loads on standard output, and that CUDA is absent
            wp.init()
            import hoirecon.fitting.fused_kernels as fused_kernels

            wp.load_module(fused_kernels, device="cpu")
    except ImportError:
        return None
    except Exception as err:  # a cache folder that cannot be written, a compiler that is not there
        logging.getLogger(__name__).warning("Warp cannot compile for this CPU (%s): fitting without it, slower", err)
        return None
    return wp


@dataclass(frozen=True)
class PoseArrays:
    """Poses as Warp arrays; several kernels read them."""

    R: Any
    scaled_rotation: Any
    log_s: Any
    t: Any

    @classmethod
    def of(cls, R: Tensor, scaled_rotation: Tensor, log_s: Tensor, t: Tensor) -> PoseArrays:
        """From tensors (B, 3, 3), (B, 3, 3), (B,) and (B, 3)."""
        return cls(matrices(R), matrices(scaled_rotation), numbers(log_s), vectors(t))


def usable(*tensors: Tensor) -> bool:
    """Whether compiled loops can take the place of torch for these tensors."""
    plain = all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
    graph = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return plain and not graph and warp() is not None


def outline(state: ObjectState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points (B, N, 3), cells (B, N, 2), outer (B, N) and along (B, N, 2), as ``ObjectState.outline`` has them."""
    view, topology = state.view, state.view.topology
    batch, count = len(state), view.samples
    points, cells, along = (torch.empty(batch, count, k) for k in (3, 2, 2))
    outer = torch.empty(batch, count, dtype=torch.uint8)
    wp, slots = warp(), min(batch, POSES)
    vec2, vec3 = wp.vec2, wp.vec3
    scratch = (
        _of(torch.empty(slots, len(view.verts), 2), vec2),
        _of(torch.empty(slots, 2 * len(topology.faces) + 1, dtype=torch.int32)),
        _of(torch.empty(slots, view.raster, view.raster + 1, dtype=torch.int32)),
        _of(torch.empty(slots, len(topology.edges), 2, dtype=torch.int32), wp.vec2i),
    )
    pose = (state.arrays.scaled_rotation, state.arrays.t)
    where = (view.region.compiled["camera"], view.raster / view.region.cells, view.raster)
    out = (_of(points, vec3), _of(cells, vec2), _of(outer), _of(along, vec2))
    kernel = _kernels().outline
    for begin in range(0, batch, POSES):
        inputs = [begin, *pose, *view.arrays, *where, *scratch, *out]
        wp.launch(kernel, min(POSES, batch - begin), inputs, device="cpu")
    return points, cells, outer.view(torch.bool), along


def mesh_arrays(verts: Tensor, topology: EdgeTopology) -> tuple[Any, ...]:
    """A view's mesh as Warp arrays: vertices, faces, edges and where each edge finds how its faces turn."""
    wp, whole = warp(), torch.int32
    sides = len(topology.faces) + topology.edge_signs.to(whole) * (topology.edge_faces.to(whole) + 1)
    pairs = (_of(topology.faces.to(whole), wp.vec3i), _of(topology.edges.to(whole), wp.vec2i))
    return (vectors(verts), *pairs, _of(sides.t().to(whole)))


def region_arrays(region: Region) -> dict[str, Any]:
    """A region's fields as Warp arrays."""
    wp = warp()
    return {
        "kind": _of(region.kind.to(torch.uint8).reshape(-1)),
        "distance": _of(region.distance),
        "front": _of(region.front.reshape(-1)),
        "backdrop": _of(region.backdrop.reshape(-1)),
        "camera": wp.vec4(*region.camera.focal, *region.camera.centre),
    }


def quadratic(name: str, batch: int, *inputs: Any) -> Quadratic:
    """The normal equations that kernel ``name`` writes for each pose.

    Args:
        name: of the kernel.
        batch: poses.
        inputs: what the kernel takes before its output; tensors are passed without a copy.
    """
    out = torch.empty(batch, SIZE)
    arrays = [_of(i) if isinstance(i, Tensor) else i for i in inputs]
    warp().launch(getattr(_kernels(), name), batch, [*arrays, _of(out)], device="cpu")
    return Quadratic(out[:, 0], out[:, 1:8], out[:, 8:].view(batch, 7, 7), {})


def vectors(tensor: Tensor) -> Any:
    """A tensor (..., 2) or (..., 3) as a Warp array of vectors."""
    return _of(tensor, warp().vec3 if tensor.shape[-1] == 3 else warp().vec2)


def matrices(tensor: Tensor) -> Any:
    """A tensor (B, 3, 3) as a Warp array of matrices."""
    return _of(tensor, warp().mat33)


def numbers(tensor: Tensor) -> Any:
    """A tensor as a Warp array of numbers."""
    return _of(tensor)


def grid_arrays(grid: DistanceGrid) -> tuple[Any, Any, Any]:
    """Values, first node and spacing of a distance grid for Warp."""
    vec3 = warp().vec3
    return _of(grid.values), vec3(*grid.low.tolist()), vec3(*grid.spacing.tolist())


def scratch(batch: int, count: int, components: int = 0) -> Any:
    """Room (batch, count) for a kernel: vectors of 2 or 3 components, floats (1) or whole numbers (0)."""
    if components == 0:
        return _of(torch.empty(batch, count, dtype=torch.int32))
    room = torch.empty(batch, count, components)
    return vectors(room) if components > 1 else _of(room[..., 0])


def flags(tensor: Tensor) -> Any:
    """A bool tensor as a Warp array of bytes."""
    return _of(tensor.view(torch.uint8))


def _of(tensor: Tensor, dtype: Any = None) -> Any:
    return warp().from_torch(tensor.detach().contiguous(), dtype=dtype, requires_grad=False)


@cache
def _kernels() -> Any:
    import hoirecon.fitting.fused_kernels as fused_kernels

    return fused_kernels


def zbuffer(points: Tensor, faces: Tensor, height: int, width: int, near: float) -> Tensor:
    """(B, height, width) depth as :func:`hoirecon.fitting.raster.zbuffer` has it."""
    depth = torch.full((len(points), height, width), torch.inf)
    inputs = [vectors(points), _of(faces.to(torch.int32)), near, _of(depth)]
    warp().launch(_kernels().zbuffer, len(points), inputs, device="cpu")
    return depth
