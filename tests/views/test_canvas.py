"""Sheets, legends and outlines."""

from __future__ import annotations

from typing import get_args

import numpy as np

from hoirecon.views.canvas import LegendEntry, Swatch, font, outlines, over, rounded, sheet, shorten, text_width
from hoirecon.views.palette import BACKGROUND, from_hex, to_bytes


def test_the_outline_of_a_rectangle_runs_along_its_pixels_borders() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[4:9, 10:22] = True
    (line,) = outlines(mask)
    np.testing.assert_allclose(line.min(axis=0), [10, 4])
    np.testing.assert_allclose(line.max(axis=0), [22, 9])
    np.testing.assert_allclose(line[0], line[-1])  # closed
    (double,) = outlines(mask, 2.0)
    np.testing.assert_allclose(double, 2 * line)


def test_a_rounded_outline_stays_where_it_was_but_for_the_stairs() -> None:
    rows, columns = np.mgrid[:60, :60]
    inside = np.hypot(columns + 0.5 - 30, rows + 0.5 - 30) < 20
    (raw,) = outlines(inside)
    (line,) = rounded([raw])
    np.testing.assert_array_equal(line[0], line[-1])
    raw_error, error = (np.abs(np.hypot(*(points - 30).T) - 20) for points in (raw, line))
    assert error.max() < 0.75 * raw_error.max()
    assert error.mean() < 0.3


def test_a_mask_at_the_border_has_a_closed_outline() -> None:
    (line,) = outlines(np.ones((5, 7), dtype=bool))
    np.testing.assert_allclose([*line.min(axis=0), *line.max(axis=0)], [0, 0, 7, 5])


def test_laying_over() -> None:
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = [0, 255, 51]
    below = np.full((1, 3, 3), 100, dtype=np.uint8)
    np.testing.assert_array_equal(over(rgba, below)[0, :, 0], [100, 200, 120])
    np.testing.assert_array_equal(over(rgba, below, opacity=0.5)[0, :, 0], [100, 150, 110])
    np.testing.assert_array_equal(over(rgba)[0, 0], to_bytes(BACKGROUND))


def test_long_texts_are_shortened_to_fit() -> None:
    text = shorten("a very long name of an object " * 5, 120, 16)
    assert text.endswith("…")
    assert text_width(text, 16) <= 120
    assert shorten("box", 120, 16) == "box"


def test_a_sheet_holds_its_pictures_unchanged() -> None:
    red = np.full((40, 60, 3), [200, 10, 10], dtype=np.uint8)
    blue = np.full((50, 30, 3), [10, 10, 200], dtype=np.uint8)
    legend = [LegendEntry(f"thing {k}", from_hex("#10a020"), s) for k, s in enumerate(get_args(Swatch))]
    page = sheet([[("red", red), ("blue", blue)]], "title", legend, contact_scale=True, notes=["a note"])
    assert (page == [200, 10, 10]).all(axis=2).sum() == 40 * 60
    assert (page == [10, 10, 200]).all(axis=2).sum() == 50 * 30
    assert (page == [16, 160, 32]).all(axis=2).sum() > 300  # the legend's signs
    np.testing.assert_array_equal(page[0, 0], to_bytes(BACKGROUND))


def test_the_font_scales() -> None:
    assert font(30).getlength("object") > 1.5 * font(15).getlength("object")
