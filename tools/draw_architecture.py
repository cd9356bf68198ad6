"""Draw docs/architecture.svg; a test holds the code's imports against the same table of rooms.

Usage: python tools/draw_architecture.py
"""

from __future__ import annotations

from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "docs" / "architecture.svg"

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "hoirecon.perception": (),
    "hoirecon.data": (),
    "hoirecon.contact": ("hoirecon.data",),
    "hoirecon.fitting": ("hoirecon.data", "hoirecon.contact"),
    "hoirecon.views": (),
    "hoirecon.retrieval": ("hoirecon.data",),
    "hoirecon.evaluation": (
        "hoirecon.perception",
        "hoirecon.data",
        "hoirecon.contact",
        "hoirecon.fitting",
        "hoirecon.views",
    ),
}
"""Room -> other rooms it may import. Every room may import the core types; the core imports no room."""

DOOR = (
    "hoirecon.reconstruction",
    "hoirecon.requests",
    "hoirecon.outcome",
    "hoirecon.__main__",
    "hoirecon.cli",
    "hoirecon.cli_contact",
    "hoirecon.cli_retrieval",
    "hoirecon.cli_values",
    "hoirecon.cli_bench",
    "hoirecon.cli_train",
    "hoirecon.cli_finetune",
    "hoirecon.landmark_errors",
    "hoirecon.cli_bench_ladder",
    "hoirecon.cli_bench_list",
    "hoirecon.cli_bench_runs",
    "hoirecon.cli_bench_score",
    "hoirecon.cli_bench_shared",
    "hoirecon.cli_bench_track_b",
    "hoirecon.doctor",
    "hoirecon.sample",
    "hoirecon.scene",
)
"""The one-call door and its commands (and Scene.save, inside the function): the modules that know every room."""

CONTACT_MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "hoirecon.contact.modeling": (),
    "hoirecon.contact.rendering": (),
    "hoirecon.contact.lifting": ("hoirecon.contact.rendering",),
    "hoirecon.contact.transfer": ("hoirecon.contact.rendering",),
    "hoirecon.contact.prompting": ("hoirecon.contact.modeling",),
    "hoirecon.contact.checkpoints": ("hoirecon.contact.modeling",),
    "hoirecon.contact.training.finetune": (
        "hoirecon.contact.training",
        "hoirecon.contact.checkpoints",
        "hoirecon.contact.modeling",
        "hoirecon.contact.rendering",
        "hoirecon.contact.lifting",
        "hoirecon.contact.inference",
        "hoirecon.contact.prompting",
    ),
    "hoirecon.contact.training": (
        "hoirecon.contact.modeling",
        "hoirecon.contact.rendering",
        "hoirecon.contact.lifting",
        "hoirecon.contact.inference",
        "hoirecon.contact.prompting",
    ),
    "hoirecon.contact.inference": (
        "hoirecon.contact.modeling",
        "hoirecon.contact.rendering",
        "hoirecon.contact.prompting",
    ),
}
"""Part of InteractVLM -> other parts it may import; the estimator, beside them, may import all."""

STAGES = (
    ("hoirecon.perception", "whose pixels are whose?", "Observation"),
    ("hoirecon.fitting", "where is the body?", "BodyFit"),
    ("hoirecon.retrieval", "which mesh is it?", "UsableObject"),
    ("hoirecon.contact", "where do they touch?", "ContactMap"),
    ("hoirecon.fitting", "where is the object?", "ObjectFit"),
    ("hoirecon.views", "what does it look like?", "pictures, page, files"),
)
"""The way of the data: room, the question it answers, what it hands on."""

W, H, GAP, LEFT = 184, 88, 30, 26
WIDTH = 2 * LEFT + len(STAGES) * W + (len(STAGES) - 1) * GAP
Y_DOOR, Y_DATA, Y_STAGE, Y_CORE = 14, 108, 238, 372


def _box(x: float, y: float, width: float, height: float, title: str, lines: tuple[str, ...], fill: str) -> str:
    text = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="{fill}" stroke="#44505c"/>'
    text += f'<text x="{x + width / 2}" y="{y + 25}" class="t">{title}</text>'
    for i, line in enumerate(lines):
        text += f'<text x="{x + width / 2}" y="{y + 47 + 19 * i}" class="s">{line}</text>'
    return text


def _arrow(x0: float, y0: float, x1: float, y1: float, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" class="a"{dash} marker-end="url(#h)"/>'


def _parts() -> list[str]:
    wide = WIDTH - 2 * LEFT
    xs = [LEFT + i * (W + GAP) for i in range(len(STAGES))]
    data_x, data_w = xs[1], xs[-2] + W - xs[1]
    parts = [
        _box(LEFT, Y_DOOR, wide, 62, "scene = hoirecon.reconstruct(photo, object)",
             ("the one-call door walks the stages below from left to right",), "#fff3d6"),
        _box(data_x, Y_DATA, data_w, 66, "hoirecon.data: what do we know beforehand?",
             ("BodyModel: SMPL-H layout, parts, landmarks · LibraryObject: mesh, size prior, typical interactions"
              " · Dataset: questions, truths",),
             "#e6f4e4"),
        _box(LEFT, Y_CORE, wide, 66, "hoirecon: the types at the seams; they know nothing of the rooms above",
             ("Camera · Mesh · BodyParams · ObjectPose · Keypoints · Observation · ContactMap · Scene",), "#f0f0f0"),
    ]  # fmt: skip
    for i, (room, asks, gives) in enumerate(STAGES):
        parts.append(_box(xs[i], Y_STAGE, W, H, room, (asks, f"gives {gives}"), "#e3eefb"))
        parts.append(_arrow(xs[i] + W / 2, Y_STAGE + H, xs[i] + W / 2, Y_CORE - 3, dashed=True))
        if i:
            parts.append(_arrow(xs[i] - GAP, Y_STAGE + H / 2, xs[i] - 3, Y_STAGE + H / 2))
        if "hoirecon.data" in MAY_IMPORT[room]:
            parts.append(_arrow(xs[i] + W / 2, Y_DATA + 66, xs[i] + W / 2, Y_STAGE - 3))
    return parts


def draw() -> str:
    """The picture as SVG text."""
    height = Y_CORE + 66 + 40
    style = (
        "<style>text{font-family:DejaVu Sans,Helvetica,Arial,sans-serif;fill:#1d2730}.t{font-size:15px;"
        "font-weight:bold;text-anchor:middle}.s{font-size:12.5px;text-anchor:middle}.l{font-size:12px}"
        ".a{stroke:#44505c;stroke-width:1.6}</style>"
    )
    head = (
        '<defs><marker id="h" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 10 5 0 10z" fill="#44505c"/></marker></defs>'
    )
    note = (
        f'<text x="{LEFT}" y="{height - 14}" class="l">full arrow: the way of the data.   dashed: imports.   '
        "Nothing imports to the right or upwards; a test holds it.</text>"
    )
    background = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    inner = "\n".join([style, head, background, *_parts(), note])
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{inner}\n</svg>\n'


if __name__ == "__main__":
    OUT.write_text(draw(), encoding="utf-8")
    print(OUT.name)
