"""One way to draw differentiable silhouettes, several to do it: for losses of one's own, and for the polish.

    renderer = choose_renderer()  # or "warp", "pytorch3d", "outline"
    alpha = renderer.silhouettes(verts_cam, faces, camera)  # (B, H, W), differentiable by the vertices
    loss = silhouette_loss(alpha, target, keep)

The two soft rasterisers blur, and their optimum lies beside the truth (docs/soft-silhouettes.md shows how far);
:class:`OutlineRenderer` does not, but only what lies along the outline pulls at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

from hoirecon.camera import Camera
from hoirecon.errors import InputError, require
from hoirecon.fitting.edge_region import pixel_coverage, project_checked
from hoirecon.fitting.soft_raster import check_faces, soft_raster
from hoirecon.fitting.soft_silhouette import soft_silhouette

AUTO = ("warp", "pytorch3d", "outline")
"""Renderers in the order in which ``"auto"`` takes the first that is installed."""


class Renderer(Protocol):
    """What draws silhouettes that can be differentiated."""

    @property
    def name(self) -> str:
        """Short name for reports."""
        ...

    def silhouettes(self, verts_cam: Tensor, faces: Tensor, camera: Camera) -> Tensor:
        """Draw one mesh in B places.

        Args:
            verts_cam: (B, V, 3) vertices, camera frame, metres; float32 or float64.
            faces: (F, 3) vertex indices.
            camera: intrinsics and size of the picture; crop it to the object, cost follows the covered area.

        Returns:
            (B, H, W) coverage of each pixel in [0, 1].

        Raises:
            InputError: wrong shapes, or a vertex at or behind the camera plane.
            MissingExtraError: the renderer's package is not installed.
        """
        ...


@dataclass(frozen=True)
class WarpRenderer:
    """Our soft rasteriser: every face counts at every pixel; CPU and CUDA, float32 and float64."""

    sigma: float = 1e-5
    """Softness in squared NDC units (the shorter side is 2): the blur is ``sqrt(sigma) * side / 2`` pixels."""
    name: str = "warp"

    def silhouettes(self, verts_cam: Tensor, faces: Tensor, camera: Camera) -> Tensor:
        """See :class:`Renderer`."""
        return soft_raster(verts_cam, faces, _K(camera), (camera.height, camera.width), sigma=self.sigma)


@dataclass(frozen=True)
class Pytorch3dRenderer:
    """pytorch3d's soft rasteriser: the nearest faces count at each pixel; slow on a CPU, float32 alone."""

    sigma: float = 1e-5
    """As :attr:`WarpRenderer.sigma`."""
    faces_per_pixel: int = 50
    """Where more faces overlap, the others are forgotten."""
    name: str = "pytorch3d"

    def silhouettes(self, verts_cam: Tensor, faces: Tensor, camera: Camera) -> Tensor:
        """See :class:`Renderer`."""
        check_faces(faces, verts_cam.shape[-2])
        size, count = (camera.height, camera.width), self.faces_per_pixel
        alpha = soft_silhouette(
            verts_cam.float(), faces, _K(camera).float(), size, sigma=self.sigma, faces_per_pixel=count
        )
        return alpha.to(verts_cam)


@dataclass(frozen=True)
class OutlineRenderer:
    """The share of each pixel that the silhouette covers, unblurred, with its exact gradient along the outline.

    Needs no extra. A loss that is a weighted sum of pixels is
    :func:`~hoirecon.fitting.edge_region.region_integral`.
    """

    spacing: float = 0.25
    """Longest piece of the outline, pixels."""
    name: str = "outline"

    def silhouettes(self, verts_cam: Tensor, faces: Tensor, camera: Camera) -> Tensor:
        """See :class:`Renderer`."""
        xy = project_checked(verts_cam, faces, _K(camera))
        size = (camera.height, camera.width)
        drawn = [pixel_coverage(points, faces, size, self.spacing) for points in xy]
        return torch.stack(drawn) if drawn else xy.new_zeros((0, *size))


def choose_renderer(name: str = "auto", sigma: float = 1e-5) -> Renderer:
    """A renderer by name.

    Args:
        name: ``warp`` (ours), ``pytorch3d``, ``outline`` (unblurred), or ``auto``: the first of these that is
            installed.
        sigma: softness of the soft ones, squared NDC units.

    Raises:
        InputError: an unknown name, or a sigma that is not positive.
        MissingExtraError: the renderer's package is not installed; says which extra brings it.

    Example:
        >>> choose_renderer("outline").name
        'outline'
    """
    if not sigma > 0:
        raise InputError(f"sigma must be positive, got {sigma}: 1e-5 is sharp, 1e-4 the literature's")
    if name == "auto":
        name = next(n for n in AUTO if n == "outline" or find_spec(n) is not None)
    if name == "warp":
        require("warp", extra="warp")
        return WarpRenderer(sigma)
    if name == "pytorch3d":
        require("pytorch3d", extra="softras")
        return Pytorch3dRenderer(sigma)
    if name == "outline":
        return OutlineRenderer()
    raise InputError(f"there is no renderer '{name}': take {', '.join(AUTO)} or auto")


def silhouette_loss(alpha: Tensor, target: Tensor, keep: Tensor | None = None) -> Tensor:
    """(B,) squared difference of coverage and mask, per pixel of the mask.

    Args:
        alpha: (B, H, W) coverage.
        target: (H, W) mask or coverage, 0..1.
        keep: (H, W) or (B, H, W) how much each pixel counts, 0..1: 0 where something may hide the object.
    """
    target = target.to(alpha)
    weight = torch.ones_like(target) if keep is None else keep.to(alpha)
    return (weight * (alpha - target).square()).sum((-2, -1)) / (weight * target).sum((-2, -1)).clamp_min(1.0)


def _K(camera: Camera) -> Tensor:
    return torch.from_numpy(camera.K.copy())
