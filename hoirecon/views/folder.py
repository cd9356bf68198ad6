"""The result folder: parameters, arrays, meshes, pictures and the page, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoirecon.arrays import ByteArray
from hoirecon.errors import require
from hoirecon.files import atomic_file, atomic_folder
from hoirecon.safe_io import write_png
from hoirecon.scene import Scene
from hoirecon.scene_io import JSON_NAME, write_scene

CAPTIONS = {
    "overlay": "the fitted scene over the photograph",
    "contact": "where they touch",
    "turntable": "the scene from all round; one cell of the ground is a quarter metre",
}


def save_scene(scene: Scene, out: str | Path, pictures: bool = True, report: bool = True) -> Path:
    """Write a scene as a folder.

    Always: ``scene.json`` (parameters, measures, frames in words), ``scene.npz`` (arrays), ``photo.png``, ``scene.glb``
    (everything, coloured by contact, glTF axes), ``body.obj`` and ``object_<name>.obj`` (camera frame). The folder
    appears under its name only when all of it is written; an interrupted run leaves what was there before.

    Args:
        scene: what to write.
        out: folder to make; an earlier result there is replaced as a whole, anything else is refused.
        pictures: also ``overlay.png``, ``contact.png`` and ``turntable.png`` (needs the extra ``render``).
        report: also ``report.html`` (needs the extra ``viewer``); it shows the pictures if they are made.

    Returns:
        The folder.

    Raises:
        InputError: the folder cannot be written or holds something else.
        MissingExtraError: a package that was asked for is not installed; said before anything is computed.
    """
    from tqdm import tqdm

    from hoirecon.views.meshes import write_glb, write_objs
    from hoirecon.views.report import report_page

    out = Path(out)
    for wanted, module, extra in ((pictures, "open3d", "render"), (report, "viser", "viewer")):
        if wanted:
            require(module, extra)
    steps = 2 + (3 if pictures else 0) + (1 if report else 0)
    # `leave=False`: the bar is gone when the work is done; where there is no terminal, it says nothing (disable=None).
    with atomic_folder(out, marker=JSON_NAME) as tmp, tqdm(total=steps, leave=False, disable=None) as bar:
        drawn: dict[str, ByteArray] = {}
        if pictures:
            drawn = _draw(scene, bar)
            for name, picture in drawn.items():
                write_png(picture, tmp / f"{name}.png")
        if report:
            bar.set_description("report")
            page = report_page(scene, {CAPTIONS[name]: picture for name, picture in drawn.items()})
            with atomic_file(tmp / "report.html") as part:
                part.write_text(page, encoding="utf-8")
            bar.update()
        bar.set_description("meshes")
        write_glb(scene, tmp / "scene.glb")
        write_objs(scene, tmp)
        bar.update()
        bar.set_description("parameters")
        write_scene(scene, tmp)
        bar.update()
    return out


def _draw(scene: Scene, bar: Any) -> dict[str, ByteArray]:
    from hoirecon.views.contact import contact_picture
    from hoirecon.views.look import scene_surfaces
    from hoirecon.views.overlay import overlay_picture
    from hoirecon.views.turntable import turntable_picture

    surfaces = scene_surfaces(scene)
    makers: dict[str, Callable[[], ByteArray]] = {
        "overlay": lambda: overlay_picture(scene, surfaces),
        "contact": lambda: contact_picture(scene),
        "turntable": lambda: turntable_picture(scene, surfaces),
    }
    drawn = {}
    for name, make in makers.items():
        bar.set_description(name)
        drawn[name] = make()
        bar.update()
    return drawn
