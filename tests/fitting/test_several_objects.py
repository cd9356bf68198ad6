"""Several objects in one joint fit: what is said of one is not said of the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hoirecon.fitting.fit_config import StageConfig
from hoirecon.fitting.hold import object_fits
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import GUESSED_GROUND, fit
from hoirecon.fitting.object_types import ObjectFit
from hoirecon.fitting.report import JointFit
from hoirecon.fitting.term_names import speaks_of, thing_names
from hoirecon.mesh import Mesh
from tests.fitting.joint_scenes import JointScene, make_joint_scene

ONE_STAGE = StageConfig(1, 64, 128, 80, 6.0, 0.06, 0.015, 1.0)
QUICK = JointConfig(chain=ONE_STAGE, whole=ONE_STAGE, polish=None, body_first=False, refreshes=0)


@pytest.fixture(scope="module")
def scene() -> JointScene:
    """Two things, one in each hand; the second is open and nobody is said to touch it."""
    made = make_joint_scene(holds=((0, "right"), (0, "left")))
    torn = Mesh(made.objects[1].mesh.verts, made.objects[1].mesh.faces[1:])
    objects = (replace(made.objects[0], name="table"), replace(made.objects[1], name="tablet", mesh=torn))
    return replace(made, objects=objects, contacts={(0, 0): made.contacts[0, 0]})


def fitted(scene: JointScene) -> tuple[JointFit, list[ObjectFit]]:
    found = fit(scene.observation, scene.people, scene.objects, scene.contacts, QUICK, starts=[list(scene.poses)])
    before = [ObjectFit(o.name, p, 0.0, (), {}, 0.0, 0.0) for o, p in zip(scene.objects, scene.poses, strict=True)]
    return found, object_fits(before, found, found)


@pytest.mark.parametrize("names", [("table", "tablet"), ("cup", "cup")])
def test_each_object_has_the_residuals_and_flags_of_its_own(names: tuple[str, str], scene: JointScene) -> None:
    objects = tuple(replace(o, name=name) for o, name in zip(scene.objects, names, strict=True))
    found, (held, other) = fitted(replace(scene, objects=objects))
    between = {name for name in found.terms if name.startswith("object in object")}
    assert len(between) == 2
    assert set(held.terms) & set(other.terms) == between
    kinds = [{name.split(" (")[0] for name in one.terms} for one in (held, other)]
    assert {"outline on mask", "scale prior", "body in object"} <= kinds[0] & kinds[1]
    assert {"no contact", "mesh is not closed"} <= set(other.flags)
    assert not {"no contact", "mesh is not closed", GUESSED_GROUND} & set(held.flags)
    assert set(found.flags) == {*held.flags, *other.flags}


def test_one_object_has_all_of_them() -> None:
    found, (only,) = fitted(make_joint_scene())
    assert only.terms == dict(found.terms)
    assert only.flags == found.flags == found.object_flags[0]


def test_names_of_terms_tell_objects_apart() -> None:
    assert thing_names(["cup", "cup", "cup 1"]) == ["cup 0", "cup 1", "cup 1 2"]
    assert thing_names(["cup", "tea cup"]) == ["cup", "tea cup"]
    for term in ("contact (person, cup)", "scale prior (cup)", "object in object (cup, lamp)"):
        assert speaks_of(term, "cup")
    for term in ("contact (person, tea cup)", "scale prior (cup 1)", "object in object (cupboard, lamp)", "cup"):
        assert not speaks_of(term, "cup")
    assert np.all([speaks_of(f"object in object ({a}, {b})", "cup") for a, b in (("cup", "lamp"), ("lamp", "cup"))])
