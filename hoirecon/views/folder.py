"""The result folder: everything about one scene, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hoirecon.scene import Scene


def save_scene(scene: Scene, out: str | Path, pictures: bool = True, report: bool = True) -> Path:
    """Write the scene as a folder; see :meth:`hoirecon.Scene.save`."""
    from hoirecon.files import atomic_folder
    from hoirecon.scene_io import JSON_NAME, write_scene

    out = Path(out)
    with atomic_folder(out, marker=JSON_NAME) as tmp:
        write_scene(scene, tmp)
    return out
