"""Meshes with their colours, whatever carries them: vertices, faces, textures or materials."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hoirecon.arrays import ByteArray, FloatArray, IntArray
from hoirecon.errors import InputError
from hoirecon.files import check_mesh_file
from hoirecon.mesh import Mesh

GREY = 0.4
"""Colour where a mesh has none; half of OpenShape's training had it."""
FORMATS = (".obj", ".ply", ".stl", ".off", ".glb")
"""Mesh files that are read."""
MAX_BYTES = 512 << 20
"""Largest mesh file that is opened."""
MAX_FACES = 5_000_000
"""Most faces, all instances of a scene counted."""
MAX_TEXTURE_PIXELS = 1 << 26
"""Most pixels of one texture (8192 x 8192)."""

Source = Mesh | str | Path


@dataclass(frozen=True)
class Surface:
    """Triangles with a colour at every point of them."""

    verts: FloatArray
    """(V, 3), y up."""
    faces: IntArray
    """(F, 3) vertex indices."""
    corner_colors: FloatArray
    """(F, 3, 3) RGB in 0..1 at the corners of each face; with a texture, what its colours are multiplied by."""
    textures: tuple[ByteArray, ...] = ()
    """Images (H, W, 3), RGB."""
    face_texture: IntArray | None = None
    """(F,) which texture a face has, -1 for none; None: no face has any."""
    corner_uv: FloatArray | None = None
    """(F, 3, 2) places of the corners in their texture: u to the right, v up, repeating outside 0..1."""
    name: str = "mesh"
    """What to call it in errors."""

    @classmethod
    def from_mesh(cls, mesh: Mesh) -> Surface:
        """A mesh with its vertex colours, or grey without."""
        if mesh.colors is None:
            colors = np.full((len(mesh.faces), 3, 3), GREY)
        else:
            colors = mesh.colors[mesh.faces] / 255.0
        return cls(mesh.verts, mesh.faces, colors, name=mesh.name)

    @cached_property
    def face_areas(self) -> FloatArray:
        """(F,) areas."""
        a, b, c = (self.verts[self.faces[:, i]] for i in range(3))
        areas: FloatArray = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
        return areas

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of vertices, faces and colours, in hexadecimal."""
        digest = hashlib.sha256()
        parts: list[Any] = [self.verts, self.faces, self.corner_colors, *self.textures]
        parts += [part for part in (self.face_texture, self.corner_uv) if part is not None]
        for part in parts:
            digest.update(f"{part.shape}{part.dtype}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def colors_at(self, face: npt.NDArray[np.int64], bary: FloatArray) -> FloatArray:
        """(N, 3) RGB in 0..1 at points of faces (N,) with barycentric coordinates (N, 3)."""
        colors: FloatArray = np.einsum("nc,ncx->nx", bary, self.corner_colors[face])
        if self.face_texture is not None and self.corner_uv is not None:
            which = self.face_texture[face]
            uv = np.einsum("nc,ncx->nx", bary, self.corner_uv[face])
            for i, texture in enumerate(self.textures):
                mine = which == i
                colors[mine] *= sample_texture(texture, uv[mine])
        return np.clip(colors, 0.0, 1.0)


def as_surface(source: Surface | Source) -> Surface:
    """A surface of a mesh or mesh file; a surface comes back as it is.

    Raises:
        InputError: not a mesh, or a file that cannot be read.
    """
    if isinstance(source, Surface):
        return source
    if isinstance(source, Mesh):
        return Surface.from_mesh(source)
    if isinstance(source, str | Path):
        return read_surface(source)
    raise InputError(f"expected a Surface, a Mesh or the path of a mesh file, got {type(source).__name__}")


def read_surface(path: str | Path) -> Surface:
    """The triangles and colours of a mesh file (obj, ply, stl, off, glb); a scene's parts are joined in their places.

    Raises:
        InputError: missing, too large, of another format, damaged, or without triangles.
    """
    path = Path(path)
    check_mesh_file(path, FORMATS, MAX_BYTES)
    import trimesh

    try:
        loaded = trimesh.load(path, process=False)
        parts = _instances(loaded, path)
        surfaces = [surface_of(part, path.name) for part in parts]
    except InputError:
        raise
    except Exception as err:  # the readers of trimesh raise anything on a broken file
        raise InputError(f"{path.name} cannot be read as a mesh ({type(err).__name__}: {str(err)[:120]})") from err
    return joined(surfaces, path.name)


def surface_of(mesh: Any, name: str = "mesh") -> Surface:
    """A surface from a :class:`trimesh.Trimesh`, with the colours that its ``visual`` has.

    A texture counts before the material's main colour, and that before grey; a material's colour multiplies its
    texture, as glTF says.
    """
    checked = Mesh(mesh.vertices, mesh.faces, name=name)  # refuses NaN and faces that name missing vertices
    visual = mesh.visual
    if getattr(visual, "kind", None) == "texture":
        return _textured(checked, visual)
    if getattr(visual, "kind", None) == "face":
        corner = np.repeat(_unit_range(visual.face_colors)[:, None, :3], 3, axis=1)
    elif getattr(visual, "kind", None) == "vertex":
        corner = _unit_range(visual.vertex_colors)[checked.faces, :3]
    else:
        corner = np.full((len(checked.faces), 3, 3), GREY)
    return Surface(checked.verts, checked.faces, corner, name=name)


def joined(surfaces: list[Surface], name: str) -> Surface:
    """Several surfaces as one."""
    if not surfaces:
        raise InputError(f"{name} holds no triangles (a point cloud, or empty): give a surface mesh")
    first_vert = np.cumsum([0, *(len(s.verts) for s in surfaces)])
    first_texture = np.cumsum([0, *(len(s.textures) for s in surfaces)])
    has_texture = any(s.textures for s in surfaces)
    texture, uv = [], []
    for surface, first in zip(surfaces, first_texture[:-1], strict=True):
        none = np.full(len(surface.faces), -1)
        which = none if surface.face_texture is None else surface.face_texture
        texture.append(np.where(which < 0, -1, which + first))
        uv.append(np.zeros((len(surface.faces), 3, 2)) if surface.corner_uv is None else surface.corner_uv)
    return Surface(
        np.concatenate([s.verts for s in surfaces]),
        np.concatenate([s.faces + first for s, first in zip(surfaces, first_vert[:-1], strict=True)]),
        np.concatenate([s.corner_colors for s in surfaces]),
        tuple(t for s in surfaces for t in s.textures),
        np.concatenate(texture) if has_texture else None,
        np.concatenate(uv) if has_texture else None,
        name,
    )


def sample_texture(texture: ByteArray, uv: FloatArray) -> FloatArray:
    """(N, 3) RGB in 0..1 at places (N, 2), between texels, repeating outside 0..1; v points up."""
    height, width = texture.shape[:2]
    x = (uv[:, 0] % 1.0) * width - 0.5
    y = (1.0 - uv[:, 1] % 1.0) * height - 0.5
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, down = (x - left)[:, None], (y - top)[:, None]
    x0, x1, y0, y1 = left % width, (left + 1) % width, top % height, (top + 1) % height
    upper = texture[y0, x0] * (1 - right) + texture[y0, x1] * right
    lower = texture[y1, x0] * (1 - right) + texture[y1, x1] * right
    mixed: FloatArray = (upper * (1 - down) + lower * down) / 255.0
    return mixed


def _instances(loaded: Any, path: Path) -> list[Any]:
    """Meshes of a file at their places; counted before any is copied."""
    import trimesh

    if isinstance(loaded, trimesh.Trimesh):
        loaded = trimesh.Scene(loaded)
    if not isinstance(loaded, trimesh.Scene):
        return []
    nodes = [loaded.graph[node] for node in loaded.graph.nodes_geometry]
    placed = [(transform, loaded.geometry[name]) for transform, name in nodes]
    placed = [(transform, mesh) for transform, mesh in placed if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)]
    count = sum(len(mesh.faces) for _, mesh in placed)
    if count > MAX_FACES:
        raise InputError(f"{path.name} has {count} faces, more than {MAX_FACES}: decimate it first")
    return [_moved(mesh, transform) for transform, mesh in placed]


def _moved(mesh: Any, transform: FloatArray) -> Any:
    moved = mesh.copy(include_cache=False)
    moved.vertices = mesh.vertices @ transform[:3, :3].T + transform[:3, 3]
    return moved


def _textured(mesh: Mesh, visual: Any) -> Surface:
    material = visual.material
    image = _image(material, mesh.name)
    uv = None if visual.uv is None else np.asarray(visual.uv, dtype=np.float64)
    usable = image is not None and uv is not None and uv.shape == (len(mesh.verts), 2) and bool(np.isfinite(uv).all())
    factor = _factor(material, 1.0 if usable else GREY)
    corner = np.broadcast_to(factor, (len(mesh.faces), 3, 3)).copy()
    if not usable or image is None or uv is None:
        return Surface(mesh.verts, mesh.faces, corner, name=mesh.name)
    which = np.zeros(len(mesh.faces), dtype=np.int64)
    return Surface(mesh.verts, mesh.faces, corner, (image,), which, uv[mesh.faces], mesh.name)


def _image(material: Any, name: str) -> ByteArray | None:
    """The texture's pixels; None if there is none or it cannot be decoded."""
    image = getattr(material, "baseColorTexture", None)
    if image is None:
        image = getattr(material, "image", None)
    if image is None:
        return None
    width, height = image.size
    if width * height > MAX_TEXTURE_PIXELS:  # known from the header, before any pixel is decoded
        raise InputError(f"{name} has a texture of {width} x {height} pixels: shrink it first")
    try:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError):  # damaged: the shape still counts
        return None


def _factor(material: Any, without: float) -> FloatArray:
    """(3,) colour of a material."""
    is_physical = hasattr(material, "baseColorFactor")
    value = material.baseColorFactor if is_physical else getattr(material, "diffuse", None)
    # trimesh gives simple materials (OBJ) the grey of its own where the file says nothing; with a texture that would
    # only darken it, and OBJ viewers leave it out.
    if value is None or (not is_physical and without == 1.0):
        return np.full(3, without)
    return _unit_range(np.asarray(value)[None])[0, :3]


def _unit_range(colors: Any) -> FloatArray:
    """Colours to 0..1, whether they came as bytes or as numbers up to 1."""
    values = np.asarray(colors)
    top = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 255.0 if values.dtype.kind == "i" else 1.0
    scaled: FloatArray = values.astype(np.float64) / top
    return np.clip(np.nan_to_num(scaled), 0.0, 1.0)
