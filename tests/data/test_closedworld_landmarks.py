"""Landmarks of closed-world scenes: exact at L0, off by the stated share, unsure where hidden or outside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hoirecon.arrays import FloatArray
from hoirecon.data.body import body_landmarks
from hoirecon.data.closedworld import LEVELS, ClosedWorldScene, make_scene, observe_scene
from hoirecon.data.closedworld.landmarks import (
    HIDDEN_FACTOR,
    SURE,
    UNSURE,
    hidden_landmarks,
    noisy_landmarks,
    true_landmarks,
)
from hoirecon.data.closedworld.posing import body_model
from hoirecon.observation import Keypoints

pytest.importorskip("open3d")

UNEVEN_RMS = np.sqrt((0.6**2 + 0.6 * 1.6 + 1.6**2) / 3)
"""Root mean square of a factor spread evenly from 0.6 to 1.6: 1.14."""


@pytest.fixture(scope="module")
def scene() -> ClosedWorldScene:
    """A person who holds a box."""
    return make_scene(0)


@pytest.fixture(scope="module")
def draws(scene: ClosedWorldScene) -> list[Keypoints]:
    """Landmarks of level L2, many times."""
    return [noisy_landmarks(scene, LEVELS["L2"], np.random.default_rng(seed)) for seed in range(120)]


def _off(scene: ClosedWorldScene, found: Keypoints) -> FloatArray:
    return np.asarray(found.xy - scene.camera.project(true_landmarks(scene)))


def test_true_landmarks_are_those_of_the_body(scene: ClosedWorldScene) -> None:
    marks = body_landmarks(body_model(), "blazepose33")
    places = np.einsum("lk,lkc->lc", marks.w, scene.body_verts[marks.idx])
    assert np.allclose(true_landmarks(scene), places, atol=1e-5)


def test_true_landmarks_lie_at_the_joints_they_are_named_after(scene: ClosedWorldScene) -> None:
    """Shoulders, elbows, wrists, hips, knees, ankles of BlazePose against the joints of the body."""
    pairs = {11: 16, 12: 17, 13: 18, 14: 19, 15: 20, 16: 21, 23: 1, 24: 2, 25: 4, 26: 5, 27: 7, 28: 8}
    at = true_landmarks(scene)
    off = {k: np.linalg.norm(at[k] - scene.body.joints[j]) for k, j in pairs.items()}
    assert max(off.values()) < 0.09, off


def test_level_zero_projects_the_bodys_own_landmarks(scene: ClosedWorldScene) -> None:
    found = observe_scene(scene, "L0").observation.keypoints
    assert found is not None
    assert found.layout == "blazepose33"
    assert np.abs(_off(scene, found)).max() < 1e-9


@pytest.mark.parametrize("name", ["L1", "L2", "L3"])
def test_seen_landmarks_are_off_by_the_stated_share(scene: ClosedWorldScene, name: str) -> None:
    """Share of a stature of 1.7 m in pixels; single landmarks are better or worse by a factor of their own."""
    level, points = LEVELS[name], true_landmarks(scene)
    hidden = hidden_landmarks(scene, points, scene.camera.project(points))
    off = np.stack([_off(scene, noisy_landmarks(scene, level, np.random.default_rng(s))) for s in range(120)])
    stature_px = scene.camera.focal[1] * 1.7 / points[:, 2].mean()
    wanted = level.landmark_share * stature_px * UNEVEN_RMS
    assert off[:, ~hidden].std() == pytest.approx(wanted, rel=0.06)
    assert off[:, hidden].std() == pytest.approx(wanted * HIDDEN_FACTOR, rel=0.12)
    assert np.abs(off[:, ~hidden].mean(axis=(0, 1))).max() < 0.1 * wanted  # no bias


def test_hidden_landmarks_are_unsure_and_seen_ones_sure(scene: ClosedWorldScene, draws: list[Keypoints]) -> None:
    points = true_landmarks(scene)
    xy = scene.camera.project(points)
    hidden = hidden_landmarks(scene, points, xy)
    assert 0 < hidden.sum() < len(hidden)
    confidence = np.stack([d.confidence for d in draws])
    inside = np.stack([((d.xy >= 0) & (d.xy <= (scene.camera.width, scene.camera.height))).all(1) for d in draws])
    seen = confidence[:, ~hidden][inside[:, ~hidden]]
    unseen = confidence[:, hidden][inside[:, hidden]]
    assert (seen.min(), seen.max()) == pytest.approx(SURE, abs=0.02)
    assert (unseen.min(), unseen.max()) == pytest.approx(UNSURE, abs=0.05)
    assert (confidence[~inside] == 0).all()


def test_hidden_ones_lie_behind_what_is_seen(scene: ClosedWorldScene) -> None:
    points = true_landmarks(scene)
    xy = scene.camera.project(points)
    hidden = hidden_landmarks(scene, points, xy)
    for point, (x, y), behind in zip(points, xy, hidden, strict=True):
        if 1 <= x < scene.camera.width - 1 and 1 <= y < scene.camera.height - 1:
            row, column = int(y), int(x)  # pixel (0, 0) covers 0 to 1
            assert behind == (point[2] > scene.depth[row, column] + 0.12)
    free = replace(scene, depth=np.full_like(scene.depth, np.inf))
    assert not hidden_landmarks(free, points, xy).any()


def test_a_landmark_is_asked_in_the_pixel_that_it_lies_in(scene: ClosedWorldScene) -> None:
    """Pixel 99 covers 99 to 100: what stands before the next one hides nothing at 99.6."""
    depth = np.full_like(scene.depth, np.inf)
    depth[:, 100:] = 1.0
    xy = np.array([[99.6, 50.2], [100.1, 50.2], [100.6, 50.2]])
    found = hidden_landmarks(replace(scene, depth=depth), np.full((3, 3), 2.0), xy)
    assert found.tolist() == [False, True, True]


def test_outside_the_picture_nothing_is_sure() -> None:
    """The camera's picture is cut in half: landmarks in the other half have confidence 0, the others do not."""
    scene = make_scene(0)
    points = scene.camera.project(true_landmarks(scene))
    cut = int(np.median(points[:, 1]))
    half = replace(
        scene,
        camera=scene.camera.cropped(0, 0, scene.camera.width, cut),
        depth=scene.depth[:cut],
        person=scene.person[:cut],
    )
    found = noisy_landmarks(half, LEVELS["L0"], np.random.default_rng(0))
    assert np.array_equal(found.confidence > 0, points[:, 1] <= cut)


def test_another_seed_gives_other_landmarks_and_the_same_the_same(scene: ClosedWorldScene) -> None:
    a, b, c = (observe_scene(scene, "L2", seed).observation.keypoints for seed in (0, 0, 1))
    assert a is not None
    assert b is not None
    assert c is not None
    assert np.array_equal(a.xy, b.xy)
    assert not np.array_equal(a.xy, c.xy)


def test_landmarks_do_not_change_the_other_noise(scene: ClosedWorldScene) -> None:
    """They are drawn by a generator of their own: evidence of earlier figures stays what it was."""
    plain = replace(LEVELS["L2"], landmark_share=0.0)
    a, b = observe_scene(scene, "L2"), observe_scene(scene, plain)
    assert np.array_equal(a.body.verts, b.body.verts)
    assert np.array_equal(a.observation.object_masks[0], b.observation.object_masks[0])
    assert a.true_scale == b.true_scale
