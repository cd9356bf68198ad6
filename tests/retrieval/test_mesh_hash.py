"""By what a mesh in a folder is known: by all that it shows, not by its file alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hoirecon.retrieval.hashing import file_hash, mesh_hash
from hoirecon.retrieval.mesh_folders import index_folder
from hoirecon.retrieval.protocols import EncoderId, Float32Array
from hoirecon.retrieval.surfaces import as_surface

OBJ = "mtllib m.mtl\nusemtl paint\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


class MeanOfCorners:
    """Embeds a shape by its colour."""

    encoder_id = EncoderId("colour", 3, "0123456789ab")
    rows_per_shape = 1

    def embed_shapes(self, shapes: Sequence[Any]) -> Float32Array:
        return np.array([as_surface(s).corner_colors.mean((0, 1))[None] for s in shapes], np.float32) + 0.01


def painted(folder: Path, colour: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "m.mtl").write_text(f"newmtl paint\nKd {colour}\n", encoding="ascii")
    (folder / "m.obj").write_text(OBJ, encoding="ascii")
    return folder / "m.obj"


def test_equal_shapes_of_other_colours_are_embedded_apart(tmp_path: Path) -> None:
    for name, colour in (("blue", "0 0 1"), ("red", "1 0 0"), ("rouge", "1 0 0")):
        painted(tmp_path / name, colour)
    built = index_folder(tmp_path, MeanOfCorners())
    rows = built.index.rows.values[:, 0]
    assert [record.id for record in built.index.records] == ["blue/m.obj", "red/m.obj", "rouge/m.obj"]
    assert rows.argmax(1).tolist() == [2, 0, 0]
    assert built.embedded == 2, "what shows the same is embedded once"
    (tmp_path / "red" / "m.mtl").write_text("newmtl paint\nKd 0 1 0\n", encoding="ascii")
    again = index_folder(tmp_path, MeanOfCorners(), earlier=built)
    assert again.index.rows.values[:, 0].argmax(1).tolist() == [2, 1, 0]
    assert again.embedded == 1


def test_textures_count_and_what_lies_elsewhere_does_not(tmp_path: Path) -> None:
    mesh = painted(tmp_path / "a", "1 1 1")
    bare = mesh_hash(mesh)
    (tmp_path / "a" / "m.mtl").write_text("newmtl paint\nmap_Kd my paint.png\nmap_Kd ../out.png\n", encoding="ascii")
    named = mesh_hash(mesh)
    Image.new("RGB", (1, 1), "red").save(tmp_path / "out.png")
    assert mesh_hash(mesh) == named
    Image.new("RGB", (1, 1), "red").save(tmp_path / "a" / "my paint.png")
    textured = mesh_hash(mesh)
    assert len({bare, named, textured}) == 3
    ply = tmp_path / "a" / "m.ply"
    ply.write_text("ply\nformat ascii 1.0\ncomment TextureFile my paint.png\nend_header\n", encoding="ascii")
    assert mesh_hash(ply) != file_hash(ply)


@pytest.mark.parametrize("content", ["mtllib m.obj\n", "mtllib \nmtllib none.mtl\nmtllib /dev/zero\n", "", "v 0 0 0\n"])
def test_odd_files_end(content: str, tmp_path: Path) -> None:
    """One that names itself, and names of nothing."""
    path = tmp_path / "m.obj"
    path.write_text(content, encoding="ascii")
    assert mesh_hash(path) == mesh_hash(path)
    if "m.obj" not in content:
        assert mesh_hash(path) == file_hash(path)
