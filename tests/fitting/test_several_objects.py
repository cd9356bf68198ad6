"""Several objects in one joint fit: what is said of one is not said of the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.fitting.fit_config import StageConfig
from hoirecon.fitting.hold import object_fits
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import GUESSED_GROUND, fit
from hoirecon.fitting.object_fit import AMBIGUOUS
from hoirecon.fitting.object_types import ObjectAlternative, ObjectFit
from hoirecon.fitting.report import JointFit
from hoirecon.fitting.term_names import speaks_of, thing_names
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose
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


def test_what_the_search_found_elsewhere_makes_the_result_less_sure() -> None:
    """Starts are the best few poses alone; the others that the search ended with are as good a reason for doubt."""
    scene = make_joint_scene()
    pose = scene.poses[0]
    away = ObjectPose(pose.R, pose.t + np.array([0.3, 0.0, 0.0]), pose.s)
    fits = [ObjectFit("box", pose, 1.0, (), {}, 0.9, 0.0)]
    doubt = (ObjectAlternative(pose, 1.0, 0.9), *([ObjectAlternative(away, 1.5, 0.9)] * 3))
    doubtful = [replace(fits[0], flags=(AMBIGUOUS,), candidates=doubt, chance_far=0.7, predicted_error_m=0.2)]
    alone, asked = (
        fit(scene.observation, scene.people, scene.objects, scene.contacts, QUICK, starts=[[pose]], searched=searched)
        for searched in (fits, doubtful)
    )
    assert alone.chance_far[0] < 0.2 < 0.7 < asked.chance_far[0]
    assert asked.predicted_error_m[0] > 0.1 > alone.predicted_error_m[0]
    for found, before in ((alone, fits), (asked, doubtful)):
        (said,) = object_fits(before, found, found)
        assert (said.chance_far, said.predicted_error_m) == (found.chance_far[0], found.predicted_error_m[0])
        assert (AMBIGUOUS in said.flags) == (found is asked)


def test_a_search_without_starts_or_of_another_number_of_objects_is_refused() -> None:
    scene = make_joint_scene()
    one = ObjectFit("box", scene.poses[0], 1.0, (), {}, 0.9, 0.0)
    given = (scene.observation, scene.people, scene.objects, scene.contacts, QUICK)
    with pytest.raises(InputError, match=r"searched holds 1 fits for 1 objects, without starts: give what fit_objects"):
        fit(*given, searched=[one])
    with pytest.raises(InputError, match=r"searched holds 2 fits for 1 objects: give what fit_objects"):
        fit(*given, starts=[list(scene.poses)], searched=[one, one])


def test_names_of_terms_tell_objects_apart() -> None:
    assert thing_names(["cup", "cup", "cup 1"]) == ["cup 0", "cup 1", "cup 1 2"]
    assert thing_names(["cup", "tea cup"]) == ["cup", "tea cup"]
    for term in ("contact (person, cup)", "scale prior (cup)", "object in object (cup, lamp)"):
        assert speaks_of(term, "cup")
    for term in ("contact (person, tea cup)", "scale prior (cup 1)", "object in object (cupboard, lamp)", "cup"):
        assert not speaks_of(term, "cup")
    assert np.all([speaks_of(f"object in object ({a}, {b})", "cup") for a, b in (("cup", "lamp"), ("lamp", "cup"))])
