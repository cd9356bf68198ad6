"""Symmetry groups: as groups, and against the geometry of every mesh."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import trimesh

from hoirecon.data.objects import ObjectEntry, Symmetry, list_objects, load_object
from hoirecon.errors import InputError

SYMMETRIC = [  # every sixth runs always, the others with the slow tests
    pytest.param(entry, id=entry.id, marks=() if k % 6 == 0 else pytest.mark.slow)
    for k, entry in enumerate(e for e in list_objects() if e.symmetry)
]


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 1), ("y:2", 2), ("y:4", 4), ("x:2 y:2", 4), ("x:2 y:2 z:2", 4), ("x:4 y:4", 24), ("y:5", 5), ("y:inf", 9),
     ("x:inf y:2", 18), ("x:6 y:2", 12)],
)  # fmt: skip
def test_group_has_its_known_size_and_is_closed(text: str, size: int) -> None:
    group = Symmetry.parse(text).rotations(steps=9)
    assert len(group) == size
    np.testing.assert_array_equal(group[0], np.eye(3))
    for a in group:
        np.testing.assert_allclose(a @ a.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(a) == pytest.approx(1)
        for b in group:
            assert min(np.abs(a @ b - c).max() for c in group) < 1e-6


def test_ball_is_continuous_about_all_axes() -> None:
    ball = Symmetry.parse("ball")
    assert ball.continuous == ("x", "y", "z")
    assert len(ball.rotations(steps=12)) >= 36
    assert Symmetry().is_trivial
    assert not ball.is_trivial


@pytest.mark.parametrize("wrong", ["w:2", "y", "y:1", "y:-2", "y:x", "2:y", "balls"])
def test_wrong_words_are_refused(wrong: str) -> None:
    with pytest.raises(InputError, match="axis and an order"):
        Symmetry.parse(wrong)


@pytest.mark.parametrize("entry", SYMMETRIC)
def test_symmetry_holds_for_the_geometry(entry: ObjectEntry) -> None:
    """Points of the surface, turned by each generator, lie on the surface again within 1.5 % of the diagonal."""
    o3d: Any = pytest.importorskip("open3d")
    obj = load_object(entry.id)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(obj.mesh.verts.astype(np.float32), obj.mesh.faces.astype(np.uint32))
    points = trimesh.sample.sample_surface(obj.mesh.to_trimesh(), 600, seed=1)[0]
    words = [f"{axis}:{order}" for axis, order in obj.symmetry.discrete] + [
        f"{axis}:inf" for axis in obj.symmetry.continuous
    ]
    for word in words:
        for R in Symmetry.parse(word).rotations(steps=11)[1:3]:
            query = o3d.core.Tensor((points @ R.T).astype(np.float32))
            distance = scene.compute_distance(query).numpy()
            assert np.percentile(distance, 98) < 0.015 * obj.mesh.diagonal, word


def test_a_wrong_symmetry_would_be_noticed() -> None:
    """The check above must fail for a symmetry that an object does not have."""
    chair = load_object("chair/plain").mesh
    turned = chair.verts @ Symmetry.parse("y:2").rotations()[1].T
    nearest = np.linalg.norm(turned[:, None] - chair.verts[None], axis=-1).min(1)
    assert np.percentile(nearest, 98) > 0.1 * chair.diagonal
