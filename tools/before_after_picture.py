"""Make the picture of docs/photographs.md from two runs of tools/photo_figures.py.

python tools/before_after_picture.py OUT_OF_THE_OLD_COMMIT OUT_OF_TODAY

Turntables only: the photographs may not be shipped.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

OUT = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "joint-before-after.jpg"
PHOTOS = ("barbell_lunge", "phone_at_ear", "tablet_two_hands")
PANEL = (429, 445)
"""Width and height of a turntable's panel, pixels."""
TITLE = 45
"""Height of the words above it."""
VIEWS = 3
SMALL = (230, 238)
ROW = 260


def main(before: Path, now: Path) -> None:
    """Draw the first views of each turntable, the old run's to the left."""
    half = VIEWS * SMALL[0] + 20
    sheet = Image.new("RGB", (2 * half - 20, 40 + ROW * len(PHOTOS)), (245, 244, 241))
    pen = ImageDraw.Draw(sheet)
    for side, (folder, words) in enumerate(((before, "before the joint fit"), (now, "now"))):
        pen.text((side * half + 12, 8), words, fill=(60, 60, 60), font=ImageFont.load_default(size=20))
        for row, name in enumerate(PHOTOS):
            table = Image.open(folder / name / "turntable.png").convert("RGB")
            for k in range(VIEWS):
                panel = table.crop((k * PANEL[0], TITLE, (k + 1) * PANEL[0], TITLE + PANEL[1])).resize(SMALL)
                sheet.paste(panel, (side * half + k * SMALL[0], 48 + row * ROW))
    sheet.save(OUT, quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
