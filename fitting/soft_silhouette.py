"""Differentiable silhouettes by pytorch3d, for losses of one's own and for polishing on a GPU.

The fits of this library do not need it: they are least squares on contours, because on a CPU pytorch3d's rasteriser is
a plain loop over pixels and faces (seconds per image), and because a soft silhouette is biased: with sigma 1e-4 a mesh
of 5000 faces looks several pixels too large, which moves the best depth by centimetres.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hoirecon.errors import InputError, require

# pytorch3d's frame has x to the left and y up; ours has x to the right and y down. Both look along +z.
_FLIP = (-1.0, -1.0, 1.0)


def soft_silhouette(
    verts_cam: Tensor,
    faces: Tensor,
    K: Tensor,
    size: tuple[int, int],
    *,
    sigma: float = 1e-5,
    faces_per_pixel: int = 8,
) -> Tensor:
    """Soft silhouette of a mesh, differentiable with respect to its vertices (SoftRas, Liu et al. 2019).

    Args:
        verts_cam: (B, V, 3) vertices, OpenCV camera frame, metres.
        faces: (F, 3) vertex indices, int64.
        K: (3, 3) intrinsics in pixels of ``size``.
        size: (height, width) in pixels; keep it at most 64 x 64 on a CPU.
        sigma: softness in squared NDC units; 1e-5 blurs by about a pixel at 256, 1e-4 is the literature's, and
            inflates dense meshes.
        faces_per_pixel: nearest faces that count at each pixel; fewer is faster and truncates the product.

    Returns:
        (B, H, W) coverage in [0, 1].

    Raises:
        MissingExtraError: pytorch3d is not installed (extra ``softras``).
        InputError: wrong shapes, or a vertex at or behind the camera plane.
    """
    require("pytorch3d", extra="softras")
    from pytorch3d.renderer import BlendParams, MeshRasterizer, RasterizationSettings, SoftSilhouetteShader
    from pytorch3d.structures import Meshes

    if verts_cam.ndim != 3 or verts_cam.shape[-1] != 3:
        raise InputError(f"verts_cam has shape {tuple(verts_cam.shape)}, expected (B, V, 3)")
    if not bool((verts_cam[..., 2] > 0).all()):
        raise InputError("a vertex lies at or behind the camera plane (z <= 0): move the mesh in front of the camera")
    cameras = pytorch3d_cameras(K.to(verts_cam), size, len(verts_cam))
    settings = RasterizationSettings(
        image_size=size,
        blur_radius=float(torch.log(torch.tensor(1.0 / 1e-4 - 1.0))) * sigma,
        faces_per_pixel=faces_per_pixel,
        bin_size=0 if verts_cam.device.type == "cpu" else None,  # coarse-to-fine exists on CUDA only
    )
    verts = verts_cam * verts_cam.new_tensor(_FLIP)
    meshes = Meshes(verts, faces[None].expand(len(verts), -1, -1))
    fragments = MeshRasterizer(cameras=cameras, raster_settings=settings)(meshes)
    alpha: Tensor = SoftSilhouetteShader(blend_params=BlendParams(sigma=sigma))(fragments, meshes)[..., 3]
    return alpha


def pytorch3d_cameras(K: Tensor, size: tuple[int, int], batch: int = 1) -> object:
    """pytorch3d's ``PerspectiveCameras`` for points already flipped into its axes (x left, y up, z forward).

    Args:
        K: (3, 3) intrinsics in pixels of ``size``.
        size: (height, width) in pixels.
        batch: number of equal cameras.
    """
    require("pytorch3d", extra="softras")
    from pytorch3d.renderer import PerspectiveCameras

    return PerspectiveCameras(
        focal_length=torch.stack([K[0, 0], K[1, 1]]).expand(batch, 2),
        principal_point=K[:2, 2].expand(batch, 2),
        in_ndc=False,
        image_size=torch.tensor([size], device=K.device).expand(batch, 2),
        device=K.device,
    )
