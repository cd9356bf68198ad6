"""The least error of touching parts: against the generator's own noise, and by what more evidence must do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hoirecon.data.closedworld import ClosedWorldScene, level_of, load_scene
from hoirecon.data.closedworld.bent_body import bent_body
from hoirecon.data.closedworld.posing import body_model
from hoirecon.errors import InputError
from hoirecon.evaluation.closedworld.touching_bound import STEPS, mean_length, touching_bound

L2 = level_of("L2")


@pytest.fixture(scope="module")
def scene() -> ClosedWorldScene:
    return load_scene(0)


def test_the_given_bodys_error_is_what_the_generator_makes_of_it(scene: ClosedWorldScene) -> None:
    """A closed form against 60 draws of the noise itself."""
    touching, errors = scene.body_contact.probability > 0, []
    for seed in range(60):
        params = bent_body(scene.params, L2.joint_deg, L2.ends_m, np.random.default_rng(seed))
        off = np.linalg.norm((body_model().pose(params).verts - scene.body_verts)[touching], axis=1)
        errors.append(100 * off.mean())
    said = touching_bound(scene).mean_cm["given"]
    assert abs(np.mean(errors) / said - 1) < 3 * np.std(errors) / np.sqrt(60) / said + 0.03


def test_more_evidence_never_makes_it_worse_and_depth_is_the_last_to_go(scene: ClosedWorldScene) -> None:
    bound = touching_bound(scene)
    found = [bound.mean_cm[name] for name in STEPS]
    assert found == sorted(found, reverse=True)
    assert bound.depth_cm["outline"] > 0.8 * bound.depth_cm["given"]  # one picture does not see it


def test_sharper_landmarks_tell_more(scene: ClosedWorldScene) -> None:
    sharp = touching_bound(scene, replace(L2, landmark_share=L2.landmark_share / 4))
    usual = touching_bound(scene)
    assert sharp.mean_cm["landmarks"] < 0.97 * usual.mean_cm["landmarks"]
    assert sharp.mean_cm["given"] == usual.mean_cm["given"]


def test_mean_length_of_a_round_error() -> None:
    """sqrt(8 / pi) sigma, the mean of Maxwell's distribution."""
    assert mean_length(4.0 * np.eye(3)[None]) == pytest.approx(2 * np.sqrt(8 / np.pi), rel=0.05)


def test_an_exact_level_has_no_bound(scene: ClosedWorldScene) -> None:
    with pytest.raises(InputError, match="exact"):
        touching_bound(scene, "L0")
