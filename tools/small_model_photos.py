"""Ask the small contact model about the photographs: pictures of the body for the docs, and what it says.

Usage: python tools/small_model_photos.py --photos DIR [--weights tiny] [--write docs/small-model.md]

DIR holds the photographs named in docs/photos.json, whose boxes and strokes are used. The photographs themselves may
not be passed on: only the body is drawn, with its contact. ``--write`` puts the table between the page's marks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from hoirecon.arrays import ByteArray
from hoirecon.contact.estimator import InteractVLM
from hoirecon.contact.inference.evidence import Evidence
from hoirecon.contact.training.tiny import GROUPS
from hoirecon.contact_map import CONTACT_THRESHOLD, ContactMap
from hoirecon.data.body import load_body
from hoirecon.mesh import Mesh
from hoirecon.perception.observe import observe
from hoirecon.perception.protocols import MaskPrompt
from hoirecon.safe_io import write_png
from hoirecon.views.canvas import sheet
from hoirecon.views.contact import contact_surface, draw_contact, neighbourhood
from hoirecon.views.contact_sides import body_sides, up_of

ROOT = Path(__file__).resolve().parent.parent
NAMES = {"phone": "cell phone"}
"""What the model's vocabulary calls things that docs/photos.json calls otherwise."""
START, END = "<!-- photographs: written by tools/small_model_photos.py -->", "<!-- end of photographs -->"
THRESHOLD = CONTACT_THRESHOLD
"""Above it a part of the body counts as touched in the table."""
NAMED_SHARE = 0.1
"""Of a part's vertices so many must be touched for it to be named."""
PANEL = (300, 420)
"""Width and height of one view, pixels."""
RAYS = 20


@dataclass(frozen=True)
class Options:
    """Options of the pictures."""

    photos: Path
    """Folder with the photographs."""
    weights: str = "tiny"
    """Weights to ask: ``tiny`` or a folder."""
    out: Path = ROOT / "docs" / "pictures"
    """Folder for the pictures."""
    write: Path | None = None
    """Page to write the table to."""


def main(options: Options) -> None:
    """Ask, draw, print and perhaps write."""
    model = InteractVLM.from_pretrained(options.weights)
    rows = ["| photograph | called | says | touched (a tenth of the part above one half) |", "| --- " * 4 + "|"]
    drawn = []
    for entry in json.loads((ROOT / "docs" / "photos.json").read_text(encoding="utf-8"))["photos"]:
        name = NAMES.get(entry["object"], entry["object"])
        found = asked(model, options.photos / entry["file"], entry, name)
        rows.append(f"| {Path(entry['file']).stem} | {name} | {found.answer} | {', '.join(parts_of(found)) or '-'} |")
        drawn.append((f"{Path(entry['file']).stem}: {name}", body_row(found)))
        print(rows[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    write_png(sheet([[pair] for pair in drawn], contact_scale=True), options.out / "small-model-photos.png")
    if options.write:
        put_between(options.write, "\n".join(rows))


def asked(model: InteractVLM, photo: Path, entry: dict[str, Any], name: str) -> ContactMap:
    """Contact of the body with the entry's object, through BlazePose and GrabCut."""
    observation = observe(str(photo), [MaskPrompt.from_dict(entry)])
    return model.human_contact(Evidence.of(observation), name)


def parts_of(found: ContactMap) -> list[str]:
    """Touched parts of the body, those of a group that is touched in all its parts as that group."""
    parts, named = load_body().parts, list[str]()
    touched = {n for n in parts.names if (found.probability[parts.verts_of(n)] > THRESHOLD).mean() >= NAMED_SHARE}
    for group, members in GROUPS.items():
        own = [n for n in members if n in parts.names]
        named += [f"{group} (all of it)"] if touched.issuperset(own) else [n for n in own if n in touched]
    return named


def body_row(found: ContactMap) -> ByteArray:
    """Four views of the body in its rest pose, coloured by contact."""
    model = load_body()
    mesh = Mesh(model.rest_verts, model.faces, "body")
    surface, panels = contact_surface(mesh, found.probability, RAYS), []
    for side in body_sides(mesh, found.probability, "rest"):
        points, margin, fade = mesh.verts, 0.06, 0.0
        if side.focus is not None:
            points, margin, fade = neighbourhood(mesh.verts[side.focus]), 0.12, 0.07
        panels.append(draw_contact(surface, points, side.way, up_of("rest"), PANEL, margin, fade))
    return np.concatenate(panels, axis=1)


def put_between(page: Path, text: str) -> None:
    """Put a text between the page's marks."""
    old = page.read_text(encoding="utf-8")
    before, _, rest = old.partition(START)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{START}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Options))
