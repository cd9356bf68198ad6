"""The reference's renderer: pytorch3d's camera, rasteriser, Phong shader and point compositor, behind our protocol.

On the CPU pytorch3d tests every face at every pixel: a body at 1024 pixels takes minutes. The z-buffer gives the same
pictures there in milliseconds; this one is what it is compared with, and for those who want the reference's own code
on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hoirecon.contact.rendering.cameras import FIELD_OF_VIEW, Z_FAR, Z_NEAR, ViewCamera
from hoirecon.contact.rendering.points import POINT_RADIUS, POINTS_PER_PIXEL, render_cloud
from hoirecon.contact.rendering.shading import AMBIENT, DIFFUSE, SPECULAR, to_bytes
from hoirecon.contact.rendering.types import Lights, PixelMaps, RenderedViews, Surface, View, ViewTable
from hoirecon.contact.rendering.views import check_lights, drawn_views
from hoirecon.errors import require

WHITE = (1.0, 1.0, 1.0)
MAX_POINTS_PER_BIN = 50_000
"""Room of CUDA's coarse pass, as the reference sets it."""


@dataclass(frozen=True)
class PyTorch3DRenderer:
    """Draws with pytorch3d (extra ``softras``)."""

    device: str = "cpu"
    """Where it draws."""
    point_radius: float = POINT_RADIUS
    """Radius of the points of a cloud, NDC."""

    @property
    def name(self) -> str:
        """Part of a cache's key."""
        return "pytorch3d"

    def render(self, surface: Surface, table: ViewTable, lights: Lights) -> RenderedViews:
        """Draw; see :class:`hoirecon.contact.rendering.types.Renderer`.

        Raises:
            InputError: another number of lights than views.
            MissingExtraError: pytorch3d is not installed.
        """
        check_lights(table, lights)
        if surface.faces is None:
            return render_cloud(surface, table, PyTorch3DPoints(self.device, self.point_radius))
        meshes = self._meshes(surface)
        drawn = [
            self._view(meshes, view, table.size, light if surface.normals is not None else None)
            for view, light in zip(drawn_views(table), lights, strict=True)
        ]
        images, verts, bary = (np.stack(parts) for parts in zip(*drawn, strict=True))
        return RenderedViews(images, PixelMaps(verts, bary, len(surface.verts), table.names))

    def _meshes(self, surface: Surface) -> Any:
        structures = require("pytorch3d.structures", extra="softras")
        renderer = require("pytorch3d.renderer", extra="softras")
        verts, colors = (_floats(a, self.device) for a in (surface.verts, surface.colors))
        normals = None if surface.normals is None else [_floats(surface.normals, self.device)]
        faces = torch.from_numpy(np.asarray(surface.faces, np.int64)).to(self.device)
        return structures.Meshes([verts], [faces], renderer.TexturesVertex([colors]), verts_normals=normals)

    def _view(
        self, meshes: Any, view: View, size: int, light: tuple[float, float, float] | None
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Picture, vertex ids and weights (H, W, 3) of one view."""
        p3d = require("pytorch3d.renderer", extra="softras")
        cameras = look_at_cameras(view, self.device)
        bin_size = 0 if torch.device(self.device).type == "cpu" else None
        settings = p3d.RasterizationSettings(image_size=size, blur_radius=0.0, faces_per_pixel=1, bin_size=bin_size)
        fragments = p3d.MeshRasterizer(cameras=cameras, raster_settings=settings)(meshes)
        shader = p3d.HardPhongShader(
            device=self.device,
            cameras=cameras,
            lights=self._lights(p3d, light),
            blend_params=p3d.BlendParams(background_color=WHITE),
        )
        image = to_bytes(shader(fragments, meshes)[0, ..., :3])
        face, bary = fragments.pix_to_face[0, ..., 0], fragments.bary_coords[0, ..., 0, :]
        verts = torch.where(face[..., None] >= 0, meshes.faces_packed()[face.clamp_min(0)], -1)
        return image.cpu().numpy(), verts.int().cpu().numpy(), bary.float().cpu().numpy()

    def _lights(self, p3d: Any, light: tuple[float, float, float] | None) -> Any:
        if light is None:
            return p3d.AmbientLights(device=self.device)
        grey = {"ambient_color": AMBIENT, "diffuse_color": DIFFUSE, "specular_color": SPECULAR}
        colors = {name: ((value,) * 3,) for name, value in grey.items()}
        return p3d.PointLights(device=self.device, location=(light,), **colors)


@dataclass(frozen=True)
class PyTorch3DPoints:
    """pytorch3d's point rasteriser and alpha compositor."""

    device: str = "cpu"
    """Where it draws."""
    radius: float = POINT_RADIUS
    """Of a disc, NDC."""

    def draw(self, points: Tensor, colors: Tensor, camera: ViewCamera, size: int) -> tuple[Tensor, Tensor]:
        """See :class:`hoirecon.contact.rendering.points.PointDrawer`."""
        structures = require("pytorch3d.structures", extra="softras")
        p3d = require("pytorch3d.renderer", extra="softras")
        cameras = _field_of_view_cameras(camera.R[None], camera.T[None], self.device)
        settings = p3d.PointsRasterizationSettings(
            image_size=size,
            radius=self.radius,
            points_per_pixel=POINTS_PER_PIXEL,
            bin_size=0 if torch.device(self.device).type == "cpu" else None,
            max_points_per_bin=MAX_POINTS_PER_BIN,
        )
        rasterizer = p3d.PointsRasterizer(cameras=cameras, raster_settings=settings)
        cloud = structures.Pointclouds(points=[points], features=[colors])
        compositor = p3d.AlphaCompositor(background_color=WHITE)
        image = p3d.PointsRenderer(rasterizer=rasterizer, compositor=compositor)(cloud)[0, ..., :3]
        return image, rasterizer(cloud).idx[0, ..., 0]


def look_at_cameras(view: View, device: str = "cpu") -> Any:
    """pytorch3d's camera of a view, made by pytorch3d alone: what ``view_camera`` is tested against."""
    p3d = require("pytorch3d.renderer", extra="softras")
    R, T = p3d.look_at_view_transform(view.distance, view.elevation, view.azimuth)
    T = T + T.new_tensor([[view.x_shift, view.y_shift, 0.0]])
    return _field_of_view_cameras(R, T, device)


def _field_of_view_cameras(R: Tensor, T: Tensor, device: str) -> Any:
    p3d = require("pytorch3d.renderer", extra="softras")
    return p3d.FoVPerspectiveCameras(znear=Z_NEAR, zfar=Z_FAR, fov=FIELD_OF_VIEW, R=R, T=T, device=device)


def _floats(values: Any, device: str) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).to(device)
