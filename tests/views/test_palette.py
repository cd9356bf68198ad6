"""Colours: the OKLab maps invert, and the contact scale is even, in gamut, and only gets darker."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from hoirecon.views.palette import (
    BODY_COLORS,
    OBJECT_COLORS,
    contact_colors,
    from_hex,
    from_oklab,
    stronger,
    to_bytes,
    to_linear,
    to_oklab,
    to_srgb,
)

CHANNEL = st.floats(0, 1)


@given(CHANNEL, CHANNEL, CHANNEL)
@example(0.0, 0.0, 0.04045)  # where the straight part ends
def test_maps_invert_each_other(r: float, g: float, b: float) -> None:
    color = np.array([r, g, b])
    np.testing.assert_allclose(to_srgb(to_linear(color)), color, atol=1e-9)
    np.testing.assert_allclose(from_oklab(to_oklab(color)), color, atol=1e-5)  # the published matrices have 10 digits


def test_oklab_knows_the_published_values() -> None:
    np.testing.assert_allclose(to_oklab([1.0, 1, 1]), [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(to_oklab([1.0, 0, 0]), [0.62796, 0.22486, 0.12585], atol=1e-4)  # CSS Color 4


def test_the_contact_scale_is_perceptually_even() -> None:
    lab = to_oklab(contact_colors(np.linspace(0, 1, 65)))
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps.max() / steps.min() < 1.1  # 1 but for the corners of the path and 8-bit-free clipping


def test_the_contact_scale_only_gets_darker() -> None:
    lightness = to_oklab(contact_colors(np.linspace(0, 1, 256)))[:, 0]
    assert (np.diff(lightness) < 0).all()
    assert lightness[0] > 0.88
    assert lightness[-1] < 0.4


def test_the_contact_scale_needs_no_clipping() -> None:
    inner = contact_colors(np.linspace(0.02, 1, 50))
    assert inner.min() > 0
    assert inner.max() < 1


def test_probabilities_outside_are_held_at_the_ends() -> None:
    np.testing.assert_array_equal(contact_colors([-1.0, 2.0]), contact_colors([0.0, 1.0]))


def test_bodies_are_cool_and_objects_warm() -> None:
    assert all(to_oklab(color)[2] < 0.01 for color in BODY_COLORS)
    assert all(to_oklab(color)[2] > 0.02 for color in OBJECT_COLORS)


def test_stronger_keeps_the_hue() -> None:
    before, after = to_oklab(BODY_COLORS[0]), to_oklab(stronger(BODY_COLORS[0]))
    assert after[0] < before[0]
    assert abs(np.arctan2(before[2], before[1]) - np.arctan2(after[2], after[1])) < 0.15


def test_hex_and_bytes() -> None:
    np.testing.assert_array_equal(to_bytes(from_hex("#1080ff")), [16, 128, 255])
