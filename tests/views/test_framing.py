"""Cameras that look where they should, and hold what they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoirecon.views.framing import UP_CAM, fit_view, inside, look_at, raised, turned

VECTOR = st.tuples(*[st.floats(-5, 5)] * 3).map(np.array).filter(lambda v: bool(np.linalg.norm(v) > 0.1))


@given(VECTOR, VECTOR)
def test_look_at_is_a_rigid_motion_that_puts_the_target_ahead(eye: np.ndarray, way: np.ndarray) -> None:
    T = look_at(eye, eye + way)
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(T[:3, :3]), 1)
    np.testing.assert_allclose(T[:3, :3] @ (eye + way) + T[:3, 3], [0, 0, float(np.linalg.norm(way))], atol=1e-9)


def test_the_photographs_own_view_is_the_identity() -> None:
    np.testing.assert_allclose(look_at(np.zeros(3), np.array([0, 0, 1.0])), np.eye(4), atol=1e-12)


def test_up_points_up_in_the_picture() -> None:
    T = look_at(np.array([3.0, -1, 0]), np.zeros(3))
    assert (T[:3, :3] @ UP_CAM)[1] < -0.8  # y points down
    assert abs((T[:3, :3] @ UP_CAM)[0]) < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_all_points_fill_the_picture_up_to_the_margin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(50, 3)) * [1, 0.3, 0.5]
    view = fit_view(points, rng.normal(size=3), 200, 120, margin=0.1)
    pixels = view.project(points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    np.testing.assert_allclose(low + high, [200, 120], atol=1e-6)  # centred
    assert (low > [20 - 1e-6, 12 - 1e-6]).all()
    assert np.isclose(low[0], 20) or np.isclose(low[1], 12)  # one direction is filled


def test_a_single_point_can_be_looked_at() -> None:
    view = fit_view(np.array([[1.0, 2, 3]]), np.array([0, 0, -1.0]), 100, 80)
    np.testing.assert_allclose(view.project(np.array([1.0, 2, 3])), [50, 40])


@given(VECTOR, st.floats(-80, 80))
def test_raised_has_the_elevation(way: np.ndarray, degrees: float) -> None:
    lifted = raised(way, degrees)
    np.testing.assert_allclose(np.linalg.norm(lifted), 1)
    np.testing.assert_allclose(lifted @ UP_CAM, np.sin(np.deg2rad(degrees)), atol=1e-9)


@given(VECTOR, st.floats(-360, 360))
def test_turning_back_gives_the_same(way: np.ndarray, degrees: float) -> None:
    np.testing.assert_allclose(turned(turned(way, degrees), -degrees), way, atol=1e-9)
    np.testing.assert_allclose(turned(way, degrees) @ UP_CAM, way @ UP_CAM, atol=1e-9)


def test_inside_falls_to_the_edge() -> None:
    weight = inside(100, 50, 0.2)
    assert weight.shape == (50, 100)
    assert weight[25, 50] == 1
    assert weight[0, 50] < 0.1
