"""Soft silhouettes by a rasteriser of our own: every face counts at every pixel it reaches, and it is fast on a CPU.

The value is SoftRas's (Liu et al. 2019), alpha = 1 - prod_f (1 - sigmoid(-d_f / sigma)), with d_f the squared distance
of the pixel's centre to face f, negative inside, cut off at a blur radius: the same as pytorch3d's when its list of
faces per pixel is long enough. Written as alpha = 1 - exp(-S) with S = sum_f softplus(-d_f / sigma), its gradient needs
S alone, so no list is kept (pytorch3d's list truncates the product on dense meshes) and a pixel that is full stops
counting. Soft silhouettes are biased: see :mod:`hoirecon.fitting.soft_silhouette`.

On CUDA the sums run in no fixed order, so results there repeat to rounding only; on the CPU they repeat exactly.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from hoirecon.errors import InputError, require

CUT = math.log(1.0 / 1e-4 - 1.0)
"""A face is forgotten where it would cover less than 1e-4 of the pixel, as in pytorch3d's examples."""
DEGENERATE = 1e-8
"""Squared NDC units under which a face has no area (pytorch3d's constant)."""


class DrawSoftly(Protocol):
    """A function that draws soft silhouettes: :func:`soft_raster` here, or ``soft_silhouette`` by pytorch3d.

    The baselines take one, because each changes sigma as its paper does; everybody else takes a
    :class:`hoirecon.fitting.renderers.Renderer`.
    """

    def __call__(
        self, verts_cam: Tensor, faces: Tensor, K: Tensor, size: tuple[int, int], *, sigma: float = 1e-5
    ) -> Tensor:
        """(B, V, 3) vertices in the camera frame to (B, H, W) coverage in [0, 1]; arguments as :func:`soft_raster`."""


Renderer = DrawSoftly
"""Former name of :class:`DrawSoftly`."""


def soft_raster(verts_cam: Tensor, faces: Tensor, K: Tensor, size: tuple[int, int], *, sigma: float = 1e-5) -> Tensor:
    """Soft silhouette of a mesh, differentiable with respect to its vertices.

    Args:
        verts_cam: (B, V, 3) vertices, OpenCV camera frame, metres, float32 or float64.
        faces: (F, 3) vertex indices.
        K: (3, 3) intrinsics in pixels of ``size``.
        size: (height, width) in pixels.
        sigma: softness in squared NDC units, in which the image's shorter side is 2; 1e-4 is the literature's.

    Returns:
        (B, H, W) coverage in [0, 1].

    Raises:
        MissingExtraError: Warp is not installed (extra ``warp``).
        InputError: wrong shapes or type, or a vertex at or behind the camera plane.
    """
    if verts_cam.ndim != 3 or verts_cam.shape[-1] != 3:
        raise InputError(f"verts_cam has shape {tuple(verts_cam.shape)}, expected (B, V, 3)")
    if verts_cam.dtype not in (torch.float32, torch.float64):
        raise InputError(f"verts_cam is {verts_cam.dtype}, expected float32 or float64")
    if not bool((verts_cam[..., 2] > 0).all()):
        raise InputError("a vertex lies at or behind the camera plane (z <= 0): move the mesh in front of the camera")
    K = K.to(verts_cam)
    xy = verts_cam[..., :2] / verts_cam[..., 2:] * torch.stack([K[0, 0], K[1, 1]]) + K[:2, 2]
    return soft_raster_px(xy, faces, size, sigma=sigma)


def soft_raster_px(xy: Tensor, faces: Tensor, size: tuple[int, int], *, sigma: float = 1e-5) -> Tensor:
    """(B, H, W) coverage of projected vertices (B, V, 2), pixels; see :func:`soft_raster`."""
    check_faces(faces, xy.shape[1])
    if not sigma > 0 or min(size) < 1:
        raise InputError(f"sigma and size must be positive, got {sigma} and {size}")
    per_ndc2 = (min(size) / 2) ** 2
    total: Tensor = _Softplus.apply(xy.contiguous(), faces, size, sigma * per_ndc2, DEGENERATE * per_ndc2)  # type: ignore[no-untyped-call]
    return -torch.expm1(-total)


def check_faces(faces: Tensor, verts: int) -> None:
    """Raise :class:`InputError` unless faces are (F, 3) and name existing vertices: kernels do not look."""
    if faces.ndim != 2 or faces.shape[-1] != 3 or faces.is_floating_point():
        raise InputError(f"faces are {tuple(faces.shape)} of {faces.dtype}, expected (F, 3) integers")
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < verts:
        raise InputError(f"faces name vertices {int(faces.min())}..{int(faces.max())}, but there are only {verts}")


class _Softplus(torch.autograd.Function):
    """Projected vertices (B, V, 2) to the sum over faces of softplus(-d / sigma), (B, H, W); all lengths in pixels."""

    @staticmethod
    def forward(ctx: Any, xy: Tensor, faces: Tensor, size: tuple[int, int], sigma: float, tiny: float) -> Tensor:
        ctx.scalars = (sigma, CUT * sigma, tiny)
        faces = faces.to(torch.int32).contiguous()
        total = xy.new_zeros((len(xy), *size))
        _launch(0, xy, faces, ctx.scalars, total)
        ctx.save_for_backward(xy, faces, total)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        xy, faces, total = ctx.saved_tensors
        grad_xy = torch.zeros_like(xy, memory_format=torch.contiguous_format)
        _launch(1, xy, faces, ctx.scalars, total, grad.contiguous(), grad_xy)
        return grad_xy, None, None, None, None


def _launch(which: int, xy: Tensor, faces: Tensor, scalars: tuple[float, float, float], *arrays: Tensor) -> None:
    """Run the forward (0) or backward (1) kernel on the device, and the stream, of its inputs."""
    wp = require("warp", extra="warp")
    from hoirecon.fitting.soft_raster_kernels import kernels

    real, vec2 = (wp.float32, wp.vec2) if xy.dtype == torch.float32 else (wp.float64, wp.vec2d)
    types = (vec2, wp.int32, real, real, vec2)
    with wp.ScopedLogLevel(wp.LOG_WARNING):  # Warp reports what it loads on standard output, where commands print JSON
        wp.init()
        tensors = [
            wp.from_torch(a.detach(), dtype=t, requires_grad=False)
            for a, t in zip((xy, faces, *arrays), types, strict=False)
        ]
        stream = wp.stream_from_torch(torch.cuda.current_stream(xy.device)) if xy.is_cuda else None
        inputs = [*tensors[:2], *scalars, *tensors[2:]]
        device = wp.device_from_torch(xy.device)
        wp.launch(kernels(xy.dtype)[which], (len(xy), len(faces)), inputs, device=device, stream=stream)
