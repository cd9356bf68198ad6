"""The picture of contact in the photograph's own pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.views import draw_image_contact
from hoirecon.views.image_contact import PANEL, _outline
from hoirecon.views.palette import BACKGROUND, INK, to_bytes

ORANGE = np.full((90, 120, 3), (240, 120, 40), np.uint8)


def _panels(sheet: np.ndarray) -> list[np.ndarray]:
    """The pictures of the first row."""
    page = to_bytes(BACKGROUND)
    row = sheet[sheet.shape[0] // 2]
    inside = np.flatnonzero((row != page).any(axis=1))
    runs = np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1)
    return [sheet[:, run[0] : run[-1] + 1] for run in runs]


def test_colour_says_contact_and_nothing_else_does() -> None:
    half = np.zeros((90, 120), np.float32)
    half[:, :60] = 1.0
    photo, drawn = _panels(draw_image_contact(ORANGE, [("cup", half)]))
    assert photo.shape[1] == drawn.shape[1] == PANEL
    middle = drawn[drawn.shape[0] // 2].astype(int)
    left, right = middle[PANEL // 4], middle[3 * PANEL // 4]
    assert left[0] > left[1] + 40, "certain contact is the scale's dark red"
    assert np.ptp(right) == 0, "no contact is grey, however orange the photograph"
    border = np.flatnonzero((drawn[drawn.shape[0] // 2] == to_bytes(INK)).all(axis=1))
    assert len(border) == 1
    assert abs(border[0] - PANEL // 2) <= 3


def test_more_is_stronger() -> None:
    shades = []
    for p in (0.0, 0.3, 0.6, 1.0):
        _, drawn = _panels(draw_image_contact(ORANGE, [("cup", np.full((90, 120), p))]))
        shades.append(drawn[drawn.shape[0] // 2, PANEL // 2].astype(int))
    assert all(np.ptp(b) > np.ptp(a) for a, b in pairwise(shades))


def test_names_notes_and_many_things_fit() -> None:
    contacts = [(f"thing {i}", np.full((90, 120), 0.5)) for i in range(5)]
    one = draw_image_contact(ORANGE, contacts[:1])
    many = draw_image_contact(ORANGE, contacts, notes=["a\nb\tc", "x" * 5000, "\x00\u200b"])
    assert many.shape[0] > 1.8 * one.shape[0], "a second row"
    draw_image_contact(ORANGE, [("a\nname\x00of lines" * 50, np.zeros((90, 120)))])


def test_sizes() -> None:
    for shape in ((16, 3000), (3000, 16), (16, 16)):
        sheet = draw_image_contact(np.zeros((*shape, 3), np.uint8), [("cup", np.random.rand(*shape))])  # noqa: NPY002
        assert sheet.dtype == np.uint8
    with pytest.raises(InputError, match="at least one"):
        draw_image_contact(ORANGE, [])
    with pytest.raises(InputError, match="'cup' has shape"):
        draw_image_contact(ORANGE, [("cup", np.zeros((120, 90)))])


def test_outline_is_inside_and_not_at_the_rim() -> None:
    mask = np.zeros((6, 7), bool)
    mask[:4, 2:5] = True
    line = _outline(mask)
    assert not (line & ~mask).any()
    assert line[:4, 2].all()
    assert line[:4, 4].all()
    assert line[3, 2:5].all()
    assert not line[0, 3]
    assert not _outline(np.ones((3, 3), bool)).any()
