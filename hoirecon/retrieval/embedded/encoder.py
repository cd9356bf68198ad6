"""The embedded encoder: masks (and normals), meshes by their views, and meshes by their points, in one space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from hoirecon.arrays import BoolArray, as_floats, as_mask
from hoirecon.errors import InputError
from hoirecon.files import atomic_file
from hoirecon.retrieval.embedded.dataset import GALLERY_VIEWS, unit_cloud
from hoirecon.retrieval.embedded.network import POINT_NET, ViewNet, ViewNetConfig
from hoirecon.retrieval.embedded.shape_views import ShapeViews
from hoirecon.retrieval.embedded.silhouettes import shape_silhouettes
from hoirecon.retrieval.embedded.unlearned import cropped
from hoirecon.retrieval.embedded.views import SIZE, Float32Array, Views, render
from hoirecon.retrieval.hashing import file_hash
from hoirecon.retrieval.modeling.point_bert import build_point_encoder
from hoirecon.retrieval.protocols import EncoderId, ImageQuery, Shape, unit_rows
from hoirecon.retrieval.surfaces import Surface, as_surface
from hoirecon.tensor_files import plain_tensors, read_tensor_table

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the weights that come with the package, float16."""
VIEW_FILE, POINT_FILE = "views.safetensors", "points.safetensors"
"""Its files."""
NAME = "hoirecon-embedded"
CLOUD_POINTS = 1024
"""Points of a mesh that the network of points sees."""
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class EmbeddedEncoder:
    """Encoder of shapes and of queries, without colours: it looks at masks, and at normals where there are any.

    It fits :class:`~hoirecon.retrieval.protocols.ShapeEncoder` and
    :class:`~hoirecon.retrieval.protocols.QueryEncoder`; a query must have a mask.

    Example:
        encoder = load_embedded()
        index = ObjectIndex.build(encoder, meshes, records)
        hits = index.search_with(encoder, [ImageQuery(image, mask)], k=5)
    """

    view_net: ViewNet
    """Network of pictures."""
    point_net: torch.nn.Module
    """Network of points, a small PointBERT."""
    weights_sha256: str
    """Of the hashes of both files, one after the other."""
    shapes_by: Literal["views", "points"] = "views"
    """What :meth:`embed_shapes` gives of a shape: its 36 views, or one vector of its points (no pictures are drawn)."""

    @property
    def encoder_id(self) -> EncoderId:
        """Both kinds of rows lie in one space, but one index holds one kind."""
        return EncoderId(f"{NAME}-{self.shapes_by}", self.view_net.config.embed_dim, self.weights_sha256)

    @property
    def rows_per_shape(self) -> int:
        """36 views, or 1."""
        return len(GALLERY_VIEWS) if self.shapes_by == "views" else 1

    def embed_shapes(self, shapes: Sequence[Shape]) -> Float32Array:
        """(S, rows_per_shape, D) unit vectors of meshes, y up."""
        embed = self.embed_views if self.shapes_by == "views" else self.embed_points
        rows = np.zeros((len(shapes), self.rows_per_shape, self.encoder_id.dim), np.float32)
        for i, shape in enumerate(shapes):
            rows[i] = embed(as_surface(shape))
        return rows

    def embed_queries(self, queries: Sequence[ImageQuery]) -> Float32Array:
        """(Q, D) unit vectors of the queries' masks; labels and colours are not looked at.

        Raises:
            InputError: a query without a mask.
        """
        if any(query.mask is None for query in queries):
            raise InputError("the embedded encoder looks at masks only: give every query the object's mask")
        rows = [self.encode_query(query.mask) for query in queries]
        return np.stack(rows) if rows else np.zeros((0, self.encoder_id.dim), np.float32)

    def encode_query(self, mask: Any, normals: Any = None) -> Float32Array:
        """(D,) unit vector of an object in a photograph.

        Args:
            mask: (H, W) its visible pixels; any size, not empty.
            normals: (H, W, 3) unit normals in the camera frame (x right, y down, z forward), if something estimates
                them; None: the mask alone.

        Raises:
            InputError: an empty mask, or normals of another size.
        """
        checked = checked_mask(mask)
        picture = np.zeros((*checked.shape, 4), np.float32)
        picture[..., 0] = checked
        if normals is not None:
            picture[..., 1:] = as_floats(normals, (*checked.shape, 3), "normals") * checked[..., None]
        row: Float32Array = self.embed_pictures(cropped(picture, SIZE)[None])[0]
        return row

    def encode_shape(self, mesh: Shape, name: str = "") -> ShapeViews:
        """All that the gallery keeps of a mesh, y up: embeddings of its views and points, and its silhouettes.

        Raises:
            InputError: a mesh without extent or area.
        """
        surface = as_surface(mesh)
        pictures = gallery_pictures(surface)
        masks = pictures.copy()
        masks[..., 1:] = 0
        return ShapeViews(
            name=name or surface.name,
            by_mask=self.embed_pictures(masks),
            by_normals=self.embed_pictures(pictures),
            by_points=self.embed_points(surface)[0],
            silhouettes=shape_silhouettes(surface),
        )

    def embed_views(self, surface: Surface) -> Float32Array:
        """(36, D) unit vectors of a shape's silhouettes from all sides."""
        pictures = gallery_pictures(surface)
        pictures[..., 1:] = 0
        return self.embed_pictures(pictures)

    def embed_points(self, surface: Surface) -> Float32Array:
        """(1, D) unit vector of points on a shape."""
        xyz = torch.from_numpy(unit_cloud(surface, CLOUD_POINTS))[None].to(self._device)
        with torch.inference_mode():
            made = self.point_net(xyz, xyz)
        return unit_rows(made.float().cpu().numpy(), f"the points of {surface.name}")

    def embed_pictures(self, pictures: Float32Array) -> Float32Array:
        """(B, D) unit vectors of pictures (B, 48, 48, 4): mask and normals, cut to their boxes."""
        given = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).to(self._device)
        with torch.inference_mode():
            made: Float32Array = self.view_net(given).cpu().numpy()
        return made

    @property
    def _device(self) -> torch.device:
        return next(self.view_net.parameters()).device


def gallery_pictures(surface: Surface) -> Float32Array:
    """(36, S, S, 4) mask and normals of a shape from :data:`~hoirecon.retrieval.embedded.dataset.GALLERY_VIEWS`."""
    return joined(render(surface, GALLERY_VIEWS.rotations()))


def joined(views: Views) -> Float32Array:
    """(V, S, S, 4) masks and normals as one."""
    return np.concatenate([views.masks[..., None], views.normals], -1)


def checked_mask(mask: Any) -> BoolArray:
    """(H, W) a mask that holds something.

    Raises:
        InputError: another shape, or empty.
    """
    checked = as_mask(mask, ("H", "W"), "mask")
    if not checked.any():
        raise InputError("the mask is empty: it must hold the object's visible pixels")
    return checked


@cache
def load_embedded() -> EmbeddedEncoder:
    """The encoder that comes with the package, on the CPU; the same object every time.

    Raises:
        MissingExtraError: safetensors is not installed.
    """
    return read_encoder(WEIGHTS)


def read_encoder(folder: Path) -> EmbeddedEncoder:
    """An encoder from a folder of :func:`write_encoder`.

    Raises:
        InputError: missing, damaged, or of other sizes.
    """
    view_net, point_net = ViewNet(ViewNetConfig()), build_point_encoder(POINT_NET)
    _fill(view_net, folder / VIEW_FILE)
    _fill(point_net, folder / POINT_FILE)
    return EmbeddedEncoder(view_net.eval(), point_net.eval(), _both_hashed(folder))


def write_encoder(view_net: ViewNet, point_net: torch.nn.Module, folder: Path, made_by: dict[str, Any]) -> None:
    """Write both networks in float16 as safetensors, with how they were made."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for net, name in ((view_net, VIEW_FILE), (point_net, POINT_FILE)):
        state = net.state_dict()
        half = {key: (v.half() if v.is_floating_point() else v).contiguous() for key, v in state.items()}
        with atomic_file(folder / name) as tmp:
            save_file(half, str(tmp), metadata={"made_by": json.dumps(made_by, default=asdict)})


def _fill(net: torch.nn.Module, path: Path) -> None:
    what = "the embedded encoder's weights"
    table = plain_tensors(read_tensor_table(path, MAX_BYTES, what, extra="retrieval"), path, what)
    own = net.state_dict()
    try:
        net.load_state_dict({key: value.to(own[key].dtype) for key, value in table.items()})
    except (KeyError, RuntimeError) as err:
        raise InputError(f"{path} does not hold {what} of this version: {str(err).splitlines()[0]}") from err


def _both_hashed(folder: Path) -> str:
    hashes = "".join(file_hash(folder / name) for name in (VIEW_FILE, POINT_FILE))
    return hashlib.sha256(hashes.encode()).hexdigest()
