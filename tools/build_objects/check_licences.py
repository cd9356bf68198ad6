"""Read the licence file beside every selected model and say where it disagrees with its library's licence.

Run ``python tools/build_objects/check_licences.py SH3D_FOLDER``; prints one line per mesh and a summary.
"""

from __future__ import annotations

import re
import sys
import tomllib
from html import unescape
from pathlib import Path

CC0 = re.compile(r"creative commons zero|publicdomain/zero|CC0|CC-0", re.IGNORECASE)
CC_BY = re.compile(r"creative commons attribution|licenses/by/|CC-BY\b", re.IGNORECASE)
FORBIDDEN = re.compile(r"by-nc|by-nd|by-sa|noncommercial|non-commercial|sharealike|no ?derivatives", re.IGNORECASE)


def licence_of(folder: Path) -> tuple[str, str]:
    """(licence found, head of the text) from the licence files of one model's folder."""
    texts = []
    for file in sorted(folder.iterdir()):
        if re.search(r"licen|copying|readme", file.name, re.IGNORECASE):
            raw = re.sub(r"<(style|script).*?</\1>", " ", file.read_text(encoding="latin1"), flags=re.DOTALL)
            texts.append(
                " ".join(
                    unescape(re.sub(r"<[^>]+>", " ", raw) + " " + " ".join(re.findall(r'href="([^"]+)"', raw))).split()
                )
            )
    text = " ".join(texts)
    if not text:
        return "none", ""
    if FORBIDDEN.search(text):
        return "FORBIDDEN", FORBIDDEN.search(text).group(0)  # type: ignore[union-attr]
    found = [name for name, pattern in (("CC0", CC0), ("CC-BY", CC_BY)) if pattern.search(text)]
    return "+".join(found) or "unclear", text[:160]


def main(sh3d: Path) -> None:
    """Check every selected mesh."""
    chosen = tomllib.loads((Path(__file__).parent / "selection.toml").read_text(encoding="utf-8"))
    for object_id, row in chosen.items():
        library, model = row["model"].split("/")
        file = next((sh3d / library).rglob(f"{model}.obj"))
        found, head = licence_of(file.parent)
        print(f"{object_id:28s} {library:16s} {found:10s} {head[:110]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
