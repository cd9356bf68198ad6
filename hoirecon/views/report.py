"""``report.html``: one page that opens offline, with the orbitable scene beside the photograph and every number."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from hoirecon.arrays import ByteArray
from hoirecon.scene import Measure, Scene
from hoirecon.scene_io import CONVENTIONS, plain
from hoirecon.views.canvas import over, resize
from hoirecon.views.look import Ghost, cautions, ghosts, part_colors, part_names, remarks
from hoirecon.views.palette import to_bytes
from hoirecon.views.report_style import SCRIPT, STYLE
from hoirecon.views.scene3d import node, offline_page

JPEG_QUALITY = 88
PHOTO_SIDE = 1000

# The page forbids itself (and the 3D view in its frame) every request to a network. The view's client unpacks itself,
# which needs inline scripts, eval and WebAssembly.
_POLICY = "default-src data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src data: blob:"


def report_page(scene: Scene, pictures: Mapping[str, ByteArray] | None = None) -> str:
    """Make the page. Needs the extra ``viewer``.

    Args:
        scene: what it tells about.
        pictures: (H, W, 3) pictures to show, by caption.

    Returns:
        A whole HTML document; the 3D view, pictures and style are inside.
    """
    names = part_names(scene)
    title = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    views = {"parts": offline_page(scene, contact=False), "contact": offline_page(scene, contact=True)}
    body = [
        f"<header><h1>{escape(title)}</h1><p class=sub>hoirecon: a person and what they touch, in 3D, "
        f"from one photograph</p></header>",
        _warnings(scene),
        _top(scene),
        "".join(_figure(caption, picture) for caption, picture in (pictures or {}).items()),
        _tables(scene),
    ]
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · hoirecon</title><style>{STYLE}</style></head>\n<body><main>"
        + "\n".join(body)
        + f"</main>\n<script>const VIEW={_packed(views)};{SCRIPT}</script></body></html>\n"
    )


def _packed(views: Mapping[str, str]) -> str:
    """The views as a JavaScript object; what they share, the 3D client, is kept once."""
    start = common_start(list(views.values()))
    rest = [page[len(start) :] for page in views.values()]
    end = common_start([text[::-1] for text in rest])[::-1]
    middles = {name: text[: len(text) - len(end)] for name, text in zip(views, rest, strict=True)}
    text = json.dumps({"start": start, "end": end, "middles": middles}, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def common_start(texts: Sequence[str]) -> str:
    """The longest text that all of them begin with.

    Example:
        >>> common_start(["scene one", "scene two"])
        'scene '
    """
    first, last = min(texts), max(texts)  # in the order of characters, all others lie between these two
    low, high = 0, min(len(first), len(last))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[:middle] == last[:middle] else (low, middle - 1)
    return first[:low]


def _top(scene: Scene) -> str:
    image = scene.observation.image
    scale = min(1.0, PHOTO_SIDE / max(image.shape[:2]))
    photo = resize(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return (
        f'<section class=top><figure><img class=photo alt="the photograph" src="{_jpeg(photo)}">'
        "<figcaption>the photograph</figcaption></figure>"
        "<figure class=view><div class=tabs role=tablist>"
        "<button data-view=parts aria-selected=true>parts</button><button data-view=contact>contact</button>"
        f"{_contact_legend()}</div>{_switches(scene)}"
        '<iframe id=scene title="the scene in 3D"></iframe>'
        "<figcaption>drag to turn, wheel to come nearer, right-drag to move</figcaption></figure></section>"
    )


def _switches(scene: Scene) -> str:
    """A box for each part, and one for each other pose that an object may have."""
    parts = zip(part_names(scene), part_colors(scene), strict=True)
    boxes = [_switch(name, name, color, "part", "shown in 3D") for name, color in parts]
    others = [_switch(g.name, ghost_label(g), g.color, "ghost", "another pose that was found") for g in ghosts(scene)]
    return f"<div class=switches>{''.join(boxes + others)}</div>"


def _switch(name: str, label: str, color: Any, kind: str, hint: str) -> str:
    return (
        f'<label class="key {kind}" title="{hint}"><input type=checkbox{" checked" * (kind == "part")} '
        f'data-node="{escape(node(name))}">'
        f'<i style="background:{_css(color)}"></i>{escape(label)}</label>'
    )


def ghost_label(ghost: Ghost) -> str:
    """What to call another pose of an object, with its energy above the fitted pose's."""
    return ghost.name if ghost.energy is None else f"{ghost.name} (+{ghost.energy:.1f})"


def _contact_legend() -> str:
    from hoirecon.views.palette import contact_colors

    stops = ",".join(_css(color) for color in contact_colors(np.linspace(0, 1, 17)))
    return (
        "<span class='legend contact' hidden>probability of contact 0 "
        f'<i class=bar style="background:linear-gradient(90deg,{stops})"></i> 1</span>'
    )


def _warnings(scene: Scene) -> str:
    return _list("flags", "Before you trust it", cautions(scene)) + _list("rests", "What it rests on", remarks(scene))


def _list(kind: str, title: str, texts: Sequence[str]) -> str:
    lines = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<section class='notes {kind}'><h2>{title}</h2><ul>{lines}</ul></section>" if texts else ""


def _figure(caption: str, picture: ByteArray) -> str:
    return (
        f'<figure class=wide><img alt="{escape(caption)}" src="{_jpeg(picture)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _tables(scene: Scene) -> str:
    measures = [(name, number(m), m.unit, m.meaning) for name, m in scene.measures.items()]
    (fx, fy), (cx, cy) = scene.camera.focal, scene.camera.centre
    camera = [
        ("image", f"{scene.camera.width} x {scene.camera.height}", "px"),
        ("focal length", f"{fx:.1f}, {fy:.1f}", "px"),
        ("principal point", f"{cx:.1f}, {cy:.1f}", "px"),
        ("known from", {"default": "assumed (50 mm-equivalent)"}.get(scene.camera.source, scene.camera.source), ""),
    ]
    objects = [
        (
            obj.name,
            obj.category,
            " x ".join(f"{100 * v:.1f}" for v in obj.mesh.extents * obj.pose.s),
            f"{obj.pose.s:.3f}",
            f"{obj.pose.t[2]:.2f}",
            obj.licence,
            obj.author,
        )
        for obj in scene.objects
    ]
    conventions = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in CONVENTIONS.items())
    config = escape(json.dumps(plain(scene.config, "config"), indent=1, ensure_ascii=False))
    return (
        f"<section class=cols><div>{_table('Measures', ('what', 'value', 'unit', 'meaning'), measures)}</div><div>"
        + _table("Objects", ("name", "category", "size cm", "scale", "depth m", "licence", "author"), objects)
        + _table("Other poses that objects may have", _OTHERS, _others(scene))
        + _table("Camera", ("", "", ""), camera)
        + _table("Versions", ("", ""), list(scene.versions.items()))
        + "</div></section>"
        + f"<details><summary>Settings of the run</summary><pre>{config}</pre></details>"
        + f"<details><summary>Frames, axes and units</summary><dl>{conventions}</dl></details>"
    )


_OTHERS = ("pose", "energy above the best", "moved cm", "turned deg", "scale")


def _others(scene: Scene) -> list[tuple[str, ...]]:
    """A row per other pose: its energy above the fitted pose's, and where it is as seen from there."""
    rows: list[tuple[str, ...]] = []
    poses = [pose for obj in scene.objects for pose in obj.alternatives]
    for ghost, pose in zip(ghosts(scene), poses, strict=True):
        fitted = scene.objects[ghost.object_index]
        moved = np.linalg.norm(ghost.mesh.verts.mean(axis=0) - fitted.verts_cam.mean(axis=0))
        cosine = (np.trace(pose.R @ fitted.pose.R.T) - 1) / 2
        turned = np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))
        worse = "" if ghost.energy is None else f"{ghost.energy:.1f}"
        rows.append((ghost.name, worse, f"{100 * moved:.1f}", f"{turned:.0f}", f"{pose.s:.3f}"))
    return rows


def _table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    top = "<tr>" + "".join(f"<th>{escape(h)}</th>" for h in head) + "</tr>" if any(head) else ""
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=card><h2>{escape(title)}</h2><table>{top}{lines}</table></div>"


def number(measure: Measure) -> str:
    """A measure's value with the digits its unit deserves.

    Example:
        >>> number(Measure(3.14159, "px")), number(Measure(7.0, "count"))
        ('3.14', '7')
    """
    digits = {"count": 0, "mm": 1, "deg": 1, "s": 1, "px": 2, "ratio": 3, "m": 3}[measure.unit]
    return f"{measure.value:.{digits}f}"


def _jpeg(picture: ByteArray) -> str:
    from PIL import Image

    rgb = over(picture) if picture.shape[2] == 4 else picture
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _css(color: Any) -> str:
    return "#" + "".join(f"{int(v):02x}" for v in to_bytes(color))
