"""Silhouettes alone choose the mesh and say how it is turned."""

from __future__ import annotations

import numpy as np
import pytest

from hoirecon.data.objects import list_objects, load_object
from hoirecon.errors import InputError
from hoirecon.retrieval.embedded.views import render, view_rotation
from hoirecon.retrieval.silhouette_ranker import SilhouetteRanker
from hoirecon.retrieval.surfaces import Surface


def seen(name: str, azimuth: float, elevation: float, roll: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Mask (64, 64) and R_cam_obj of a mesh of the library."""
    turn = view_rotation(*(np.radians([angle]) for angle in (azimuth, elevation, roll)))
    return render(Surface.from_mesh(load_object(name).mesh), turn, 3.0, 64).masks[0] >= 0.5, turn[0]


@pytest.mark.parametrize("name", ["umbrella/open", "guitar/electric"])
def test_the_right_one_is_found_and_its_rotation_is_near(name: str) -> None:
    ids = [entry.id for entry in list_objects(name.split("/")[0])]
    name = name if name in ids else ids[-1]
    mask, R = seen(name, 40, 20, 8)
    best = SilhouetteRanker().rank(mask, ids, 2)
    assert best[0].name == name
    assert best[0].score > 0.8
    assert best[0].score >= best[1].score
    angles = [np.degrees(np.arccos(np.clip((np.trace(G @ R.T) - 1) / 2, -1, 1))) for G in best[0].rotations]
    assert min(angles) < 20
    assert np.allclose(best[0].rotations @ best[0].rotations.transpose(0, 2, 1), np.eye(3), atol=1e-9)


def test_empty_masks_and_lists() -> None:
    assert SilhouetteRanker().rank(np.ones((5, 5), bool), []) == []
    with pytest.raises(InputError, match="mask is empty"):
        SilhouetteRanker().rank(np.zeros((5, 5), bool), ["chair/plain"])
    with pytest.raises(InputError, match="k is -1"):
        SilhouetteRanker().rank(np.ones((5, 5), bool), ["chair/plain"], -1)
