"""Make the picture of the README from the demo's result: python tools/demo_picture.py out/demo."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from hoirecon.scene import Scene
from hoirecon.views import overlay_picture, turntable_picture

OUT = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "demo.jpg"
WIDTH = 1400


def main(folder: Path) -> None:
    """Photograph, overlay and four sides of the scene, one above the other."""
    scene = Scene.load(folder)
    rows = [overlay_picture(scene), turntable_picture(scene, views=3)]
    scaled = [Image.fromarray(r).resize((WIDTH, round(r.shape[0] * WIDTH / r.shape[1]))) for r in rows]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([np.asarray(r) for r in scaled])).save(OUT, quality=86)
    print(OUT.name, OUT.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo"))
