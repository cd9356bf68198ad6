"""OBJ files as they are written by hand and by other programs."""

from __future__ import annotations

from pathlib import Path

from hoirecon.mesh_files import read_obj


def test_corners_counted_backwards_are_those_before_the_face(tmp_path: Path) -> None:
    """Programs that write one group after the other count from where they are, not from the file's end."""
    group = "v {0} 0 0\nv {0} 1 0\nv {0} 0 1\nf -3 -2/1 -1/1/1\n"
    (tmp_path / "a.obj").write_text(group.format(0) + "f 4 2 6\n" + group.format(1))
    mesh = read_obj(tmp_path / "a.obj")
    assert mesh.faces.tolist() == [[0, 1, 2], [3, 1, 5], [3, 4, 5]]
    assert mesh.verts[3].tolist() == [1, 0, 0]
