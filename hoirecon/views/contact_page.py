"""One sheet that shows an estimate of contact: the photograph, the words, and body and objects from four views each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import get_args

import numpy as np

from hoirecon.arrays import ByteArray, FloatArray, IntArray, as_floats, as_image
from hoirecon.contact_map import CONTACT_THRESHOLD, ContactMap
from hoirecon.errors import InputError, TopologyError
from hoirecon.mesh import Mesh
from hoirecon.views.canvas import GAP, TEXT_SIZE, font, ink, resize, sheet, shorten
from hoirecon.views.contact import contact_surface, draw_contact, neighbourhood
from hoirecon.views.contact_sides import Frame, body_sides, object_sides, up_of
from hoirecon.views.framing import bounding_ball
from hoirecon.views.palette import BACKGROUND, INK, INK_SOFT, WARNING, to_bytes
from hoirecon.views.shapes import balls, lighter

Shape = Mesh | FloatArray
"""What a map speaks of: a mesh, or the (N, 3) points of a cloud."""

COLUMN = 440
"""Width of the photograph's column, pixels."""
LEAST_PHOTO = 300
"""Height that the photograph may take however much is written below it; else the page is as high as its right side."""
PANEL_WIDTH = 296
"""Width of one view, pixels."""
BODY_HEIGHTS = (280, 440)
"""Least and largest height of a body's views: a lying body is low, a standing one high."""
OBJECT_HEIGHT = 236
"""Height of an object's views."""
MAX_LINES = 12
"""Lines of one answer or note before it is cut."""

MAX_NOTES = 8
"""Notes before the rest is only counted."""

_SIZES = {"body": 2.2, "object": 1.0}  # metres across, as drawn: light and distances do not depend on the user's units
_RAYS = 20
_GAP = 10
_HEAD = 54  # two lines of text over each row of views
_CAPTION = 22
_LINE = 24


def contact_sheet(
    image: ByteArray,
    body: tuple[Shape, ContactMap] | None = None,
    objects: Sequence[tuple[Shape, ContactMap]] = (),
    title: str = "",
    notes: Sequence[str] = (),
    frame: Frame = "rest",
) -> ByteArray:
    """Draw the photograph, and beside it contact on the body and on each object from four views.

    The views are chosen so that touched places are seen: front, back and close-ups of a body; all round an object, and
    a close-up where the touched place is small. Each thing is drawn alone, so nothing hides its contact. Needs the
    extra ``render``.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W) grey.
        body: the body and the contact on it, or None.
        objects: objects and the contact on each; an object is a mesh, or the (N, 3) points of a cloud.
        title: a line above everything.
        notes: what else to say; the maps' own notes are said in any case.
        frame: axes of all meshes: ``rest`` is y up and z to the front (library objects, a body's rest pose),
            ``camera`` the photograph's frame (a fitted scene).

    Returns:
        (H, W, 3) uint8, the same for the same input.

    Raises:
        InputError: nothing to draw, an unknown frame, or an image that is none.
        TopologyError: a map with another number of vertices than its mesh.

    Example:
        >>> contact_sheet(np.zeros((8, 8, 3), np.uint8))
        Traceback (most recent call last):
        hoirecon.errors.InputError: a contact sheet needs a body or an object: give (mesh, contact map)
    """
    if frame not in get_args(Frame):
        raise InputError(f"unknown frame '{frame}' of the meshes; known: {', '.join(get_args(Frame))}")
    things = ([("body", *body)] if body is not None else []) + [("object", *thing) for thing in objects]
    if not things:
        raise InputError("a contact sheet needs a body or an object: give (mesh, contact map)")
    photo = _rgb(image)
    rows = [_row(kind, shape, contact, frame) for kind, shape, contact in things]
    right = np.concatenate([part for row in rows for part in (row, _blank(GAP, row.shape[1]))][:-1])
    words = _words([(kind, contact) for kind, _, contact in things], notes)
    room = len(right) - sum(len(block) for block in words)
    left = np.concatenate([_photo_panel(photo, max(room, LEAST_PHOTO)), *words])
    return sheet([[("", left), ("", right)]], title=_plain(title), contact_scale=True)


# -------------------------------------------------------------------------------------------------- the right: views


def _row(kind: str, shape: Shape, contact: ContactMap, frame: Frame) -> ByteArray:
    """Two lines of text over four views."""
    mesh, values, remark = _drawable(shape, contact, kind)
    mesh = _of_size(mesh, _SIZES[kind])
    surface = contact_surface(mesh, values, _RAYS if len(mesh.faces) < 25_000 else _RAYS // 2)
    size = (PANEL_WIDTH, _body_height(mesh) if kind == "body" else OBJECT_HEIGHT)
    panels = []
    for side in (body_sides if kind == "body" else object_sides)(mesh, values, frame):
        points, margin, fade, caption = mesh.verts, 0.06, 0.0, side.caption
        if side.focus is not None:
            points, margin, fade = neighbourhood(mesh.verts[side.focus], _room(mesh, kind)), 0.12, 0.07
            if len(mesh.verts) == len(contact.probability):
                caption = ", ".join(text for text in (_main_part(contact, side.focus), caption) if text)
        picture = draw_contact(surface, points, side.way, up_of(frame), size, margin, fade)
        panels.append(np.concatenate([_caption(caption), picture]))
    return np.concatenate([_head(kind, shape, contact, remark, 4 * PANEL_WIDTH + 3 * _GAP), _side_by_side(panels)])


def _main_part(contact: ContactMap, group: IntArray) -> str:
    """Name of the part that most of some vertices belong to, or '' if no parts are known."""
    held = {name: int(np.isin(group, ids).sum()) for name, ids in contact.parts.items()}
    name = max(held, key=lambda name: held[name], default="")
    return _plain(name.replace("_", " ")) if name and held[name] else ""


def _drawable(shape: Shape, contact: ContactMap, kind: str) -> tuple[Mesh, FloatArray, str]:
    """A mesh to draw, the probability at its vertices, and what to say about it."""
    name = shape.name if isinstance(shape, Mesh) else contact.label or "point cloud"
    count = len(shape.verts) if isinstance(shape, Mesh) else len(shape)
    if len(contact.probability) != count:
        raise TopologyError(
            f"the contact map of the {kind} is on '{contact.topology}' ({len(contact.probability)} vertices), but "
            f"{name} has {count}: estimate it on this mesh or transfer it first"
        )
    if isinstance(shape, Mesh):
        return *lighter(shape, contact.probability), ""
    return *balls(as_floats(shape, ("N", 3), name), contact.probability), "points"


def _of_size(mesh: Mesh, size: float) -> Mesh:
    verts = mesh.verts - (mesh.verts.min(axis=0) + mesh.verts.max(axis=0)) / 2
    radius = float(np.linalg.norm(verts, axis=1).max())
    return mesh.with_verts(verts * (size / 2 / radius) if radius > 0 else verts)


def _room(mesh: Mesh, kind: str) -> float:
    return 0.34 if kind == "body" else 0.3 * bounding_ball(mesh.verts)[1]


def _body_height(mesh: Mesh) -> int:
    width, height = mesh.extents[0], mesh.extents[1]  # both frames: x across, y up or down
    return int(np.clip(PANEL_WIDTH * height / max(width, 1e-6), *BODY_HEIGHTS))


def _head(kind: str, shape: Shape, contact: ContactMap, remark: str, width: int) -> ByteArray:
    name = shape.name if isinstance(shape, Mesh) else ""
    label = _plain(contact.label)
    what = "the body" if kind == "body" else _plain(name) or "the object"
    line = f"contact with {label}: on {what}" if label else f"contact on {what}"
    count, total = int(contact.binary().sum()), len(contact.probability)
    facts = [f"{count} of {total} {remark or 'vertices'} above {CONTACT_THRESHOLD:g}"]
    if count == 0:
        facts = [f"no contact: highest probability {contact.probability.max():.2f}"]
    parts, verb = contact.named_parts, "the answer names"
    if not parts and contact.parts:
        parts, verb = contact.touched_parts(), "touched"
    if parts:
        facts.append(f"{verb}: {_plain(', '.join(part.replace('_', ' ') for part in parts))}")
    return _written(_blank(_HEAD, width), [(line, TEXT_SIZE + 1, INK), (" · ".join(facts), TEXT_SIZE - 2, INK_SOFT)])


def _caption(text: str) -> ByteArray:
    return _written(_blank(_CAPTION, PANEL_WIDTH), [(text, TEXT_SIZE - 3, INK_SOFT)])


def _side_by_side(panels: Sequence[ByteArray]) -> ByteArray:
    gap = _blank(panels[0].shape[0], _GAP)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)


# ----------------------------------------------------------------------------------------------- the left: photo, words


def _rgb(image: ByteArray) -> ByteArray:
    plain = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    photo = image if plain else as_image(image)  # which copies, and a hundred megapixels are large
    if photo.size == 0:
        raise InputError(f"the image has no pixels: shape {photo.shape}")
    return photo


def _photo_panel(photo: ByteArray, room: int) -> ByteArray:
    """The photograph as wide as the column, or as high as there is room; a tiny one is enlarged up to eight times."""
    from PIL import Image

    height, width = photo.shape[:2]
    scale = min(COLUMN / width, room / height, 8.0)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    step = max(1, int(0.125 / scale))  # a hundred megapixels: every k-th still leaves eight a pixel to be averaged
    if scale < 0.25:
        photo = np.asarray(Image.fromarray(np.ascontiguousarray(photo[::step, ::step])).reduce(int(0.5 / scale / step)))
    panel = _blank(size[1], COLUMN)
    panel[:, : size[0]] = resize(photo, *size)
    return panel


def _words(maps: Sequence[tuple[str, ContactMap]], notes: Sequence[str]) -> list[ByteArray]:
    """The answers, each once with what it is about, then the notes."""
    answers: dict[str, list[str]] = {}
    for kind, contact in maps:
        about = "body" if kind == "body" else _plain(contact.label) or "object"
        answers.setdefault(_plain(contact.answer), []).append(about)
    blocks = [
        _text_block(f"the model's answer, {' and '.join(dict.fromkeys(about))}", answer, INK)
        for answer, about in answers.items()
        if answer
    ]
    every = (*(note for _, contact in maps for note in contact.notes), *notes)
    said = [note for note in dict.fromkeys(_plain(note) for note in every) if note]
    if len(said) > MAX_NOTES:
        said = [*said[:MAX_NOTES], f"and {len(said) - MAX_NOTES} more notes"]
    heads = ["to know before trusting it"] + [""] * len(said)
    return blocks + [_text_block(head, note, WARNING) for head, note in zip(heads, said, strict=False)]


def _text_block(head: str, text: str, color: FloatArray) -> ByteArray:
    """A small heading and a wrapped text, in the column's width."""
    lines = wrap(text, COLUMN, TEXT_SIZE - 1)
    written = [(head, TEXT_SIZE - 3, INK_SOFT)] if head else []
    written += [(line, TEXT_SIZE - 1, color) for line in lines]
    return _written(_blank(14 + _LINE * len(written), COLUMN), written, top=12 if head else 4)


def wrap(text: str, width: int, size: float, max_lines: int = MAX_LINES) -> list[str]:
    """Break a text into lines that fit a width in pixels; words that are too long are cut, and so is a text."""
    length = font(size).getlength
    lines, line = [], ""
    for word in text[: max_lines * width // 2].split():  # letters are wider than two pixels
        while length(word) > width:
            cut = max(1, _fitting(word, width, size))
            lines += [line, word[:cut]] if line else [word[:cut]]
            line, word = "", word[cut:]
        if line and length(f"{line} {word}") > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    lines += [line] if line else []
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], shorten(lines[max_lines - 1] + " " + "…", width, size)]
    return lines


def _fitting(text: str, width: int, size: float) -> int:
    """How many letters of a text fit a width in pixels."""
    length = font(size).getlength
    return bisect_right(range(1, len(text) + 1), float(width), key=lambda k: float(length(text[:k])))


def _plain(text: str) -> str:
    """One line without control characters, cut where no picture could hold it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:10_000]).split())


def _written(picture: ByteArray, lines: Sequence[tuple[str, float, FloatArray]], top: int = 0) -> ByteArray:
    """A copy of a picture with lines of (text, size, colour) from its upper left."""
    from PIL import Image, ImageDraw

    page = Image.fromarray(picture)
    draw = ImageDraw.Draw(page)
    for k, (text, size, color) in enumerate(lines):
        room = picture.shape[1]
        few = text[: _fitting(text, room, size) + 1]  # `shorten` takes away letter by letter
        draw.text((0, top + _LINE * k), shorten(few, room, size), ink(color), font(size))
    return np.asarray(page)


def _blank(height: int, width: int) -> ByteArray:
    return np.broadcast_to(to_bytes(BACKGROUND), (height, width, 3)).copy()
