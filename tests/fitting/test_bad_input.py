"""Whatever cannot be used is refused in a clear sentence before any work starts; a lost hypothesis harms no other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.camera import Camera
from hoirecon.contact.protocols import ContactEstimate
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.fitting import FitConfig, ObjectToFit, fit, fit_objects, joint_fit, object_fit
from hoirecon.fitting.baselines import baseline_problem
from hoirecon.fitting.evidence_checks import INSIDE_OUT, OPEN_MESH, mesh_flags
from hoirecon.fitting.fit_config import StageConfig
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_fit import solve_stages
from hoirecon.fitting.object_fit import fit_object
from hoirecon.fitting.object_problem import ObjectProblem, prepare
from hoirecon.fitting.object_search import Search, starts
from hoirecon.fitting.object_state import ObjectState
from hoirecon.fitting.so3 import super_fibonacci
from hoirecon.fitting.solver import LMConfig
from hoirecon.mesh import Mesh
from hoirecon.observation import Keypoints, Observation
from hoirecon.pose import ObjectPose
from tests.fitting.joint_scenes import JointScene, make_joint_scene


@dataclass
class Given:
    """What a fit is given, to be spoilt by a case."""

    observation: Any
    body: Any
    objects: Any
    contacts: Any
    config: Any = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def thing(self) -> ObjectToFit:
        """The only object."""
        found: ObjectToFit = self.objects[0]
        return found

    def mask(self, mask: Any, person: bool = False) -> None:
        """Another mask."""
        seen = self.observation
        self.observation = seen.replace(person_mask=mask) if person else seen.replace(object_masks=(mask,))

    def mesh(self, mesh: Mesh) -> None:
        """Another mesh, without contact."""
        self.objects, self.contacts = [replace(self.thing, mesh=mesh)], [None]

    def moved_body(self, change: Callable[[Any], Any]) -> None:
        """Other vertices of the body."""
        self.body = replace(self.body, verts=change(self.body.verts))

    def contact(self, on_body: float | None = None, on_object: float | None = None) -> None:
        """The same probability everywhere on one side."""
        hands, grips = self.contacts[0]
        if on_body is not None:
            hands = hands.replace(probability=np.full(len(hands.probability), on_body))
        if on_object is not None:
            grips = grips.replace(probability=np.full(len(grips.probability), on_object))
        self.contacts = [(hands, grips)]


@pytest.fixture(scope="module")
def scene() -> JointScene:
    """The free body holds a thing."""
    return make_joint_scene()


@pytest.fixture
def given(scene: JointScene) -> Given:
    """Good input: to be spoilt."""
    return Given(scene.observation, scene.people[0].body, list(scene.objects), [scene.contacts[0, 0]])


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if any work starts."""

    def works(*_: Any, **__: Any) -> None:
        raise AssertionError("work started")

    monkeypatch.setattr(object_fit, "prepare", works)
    monkeypatch.setattr(joint_fit, "prepare_joint", works)


def nan_inside(array: np.ndarray[Any, Any]) -> None:
    """Write NaN into an array that was checked when it came in."""
    array.flat[0] = np.nan


def swap(g: Given) -> None:
    seen = g.observation
    g.observation = seen.replace(person_mask=seen.object_masks[0], object_masks=(seen.person_mask,))


def set_stage(g: Given, name: str, **changes: Any) -> None:
    config = FitConfig()
    g.config = replace(config, **{name: replace(getattr(config, name), **changes)})


def own_starts(g: Given, z: float) -> None:
    g.options["starts"] = [[ObjectPose(np.eye(3), [0.0, 0.0, z])]]


def lost_start(g: Given) -> None:
    own_starts(g, 2.0)
    nan_inside(g.options["starts"][0][0].t)


def nothing_to_fit(g: Given) -> None:
    g.objects, g.contacts = [], []


def touching_large(g: Given) -> None:
    """A thing of 1.2 m of which every vertex touches."""
    g.objects = [replace(g.thing, mesh=g.thing.mesh.with_verts(g.thing.mesh.verts * 4))]
    g.contact(on_object=1.0)


SIZE = (360, 480)
BOTH: dict[str, tuple[Callable[[Given], Any], str]] = {
    "empty object mask": (lambda g: g.mask(np.zeros(SIZE, bool)), "0 pixels .*give a box or mask that shows it"),
    "eleven pixels": (lambda g: g.mask(np.arange(360 * 480).reshape(SIZE) < 11), "11 pixels .*at least 12"),
    "full object mask": (lambda g: g.mask(np.ones(SIZE, bool)), "the whole picture of 480 x 360.*mark only"),
    "empty person mask": (lambda g: g.mask(np.zeros(SIZE, bool), True), "person mask has 0 pixels.*None if it is not"),
    "full person mask": (lambda g: g.mask(np.ones(SIZE, bool), True), "person mask .*the whole picture"),
    "another size": (lambda g: g.mask(np.ones((10, 20), bool)), r"has shape \(10, 20\), expected \(360, 480\)"),
    "a mask of words": (lambda g: g.mask(np.full(SIZE, "x")), "must be an array of numbers"),
    "a mask of NaN": (lambda g: g.mask(np.full(SIZE, np.nan)), "must hold bool, 0/1"),
    "masks swapped": (swap, "seem to be swapped.*exchange person_mask and object_masks"),
    "contact everywhere on the body": (lambda g: g.contact(on_body=1.0), "the body is touched on all of its 69"),
    "contact everywhere on a large thing": (touching_large, "touched on all of its .*or None"),
    "one triangle": (lambda g: g.mesh(Mesh(np.eye(3) * 0.3, [[0, 1, 2]])), "1 faces: at least 4"),
    "mesh in millimetres": (lambda g: g.mesh(Mesh(g.thing.mesh.verts * 1e3, g.thing.mesh.faces)), "scale it to metres"),
    "mesh in kilometres": (lambda g: g.mesh(Mesh(g.thing.mesh.verts * 0.03, g.thing.mesh.faces)), "mesh and body in m"),
    "mesh in centimetres": (lambda g: g.mesh(Mesh(g.thing.mesh.verts * 60, g.thing.mesh.faces)), "mesh and body in m"),
    "body in millimetres": (lambda g: g.moved_body(lambda v: v * 1e3), "scale it to metres first"),
    "body behind the camera": (
        lambda g: g.moved_body(lambda v: v - np.array([0, 0, 9])),
        "behind the camera.*camera frame",
    ),
    "body outside the picture": (lambda g: g.moved_body(lambda v: v + np.array([9, 0, 0])), "outside the picture"),
    "NaN in the body": (lambda g: nan_inside(g.body.verts), "body.*NaN"),
    "NaN in the mesh": (lambda g: nan_inside(g.thing.mesh.verts), "NaN"),
    "NaN in the contact": (lambda g: nan_inside(g.contacts[0][0].probability), "contact.*NaN"),
    "NaN in the camera": (lambda g: nan_inside(g.observation.camera.K), "camera's K.*NaN"),
    "NaN in the prior": (lambda g: replace(g.thing, size_prior=(np.nan, 0.1)), "size_prior.*NaN"),
    "NaN in rotations": (lambda g: replace(g.thing, initial_rotations=np.full((1, 3, 3), np.nan)), "NaN"),
    "mirroring rotations": (
        lambda g: setattr(g, "objects", [replace(g.thing, initial_rotations=np.diag([1.0, 1, -1])[None])]),
        "mirrors.*flip one axis",
    ),
    "no start": (lambda g: setattr(g, "config", FitConfig(hypotheses=0)), "no start rotation: give initial_rotations"),
    "no iterations": (lambda g: set_stage(g, "final", iterations=0), "final.iterations must be above 0, got 0"),
    "half an iteration": (lambda g: set_stage(g, "final", iterations=1.5), "final.iterations must be a whole number"),
    "negative scale": (lambda g: set_stage(g, "coarse", contour_scale=-1.0), "coarse.contour_scale must be above 0"),
    "zero sigma": (lambda g: setattr(g, "config", FitConfig(contact_sigma=0.0)), "contact_sigma must be above 0"),
    "NaN sigma": (lambda g: setattr(g, "config", FitConfig(contour_sigma=np.nan)), "contour_sigma must be above 0"),
    "nothing finished": (lambda g: setattr(g, "config", FitConfig(finish=0)), "finish must be above 0"),
    "negative weight": (lambda g: setattr(g, "config", FitConfig(contact_weight=-1.0)), "contact_weight .*0 or more"),
    "no hypotheses kept": (lambda g: FitConfig(keep=0), "keep >= 1"),
    "config of words": (lambda g: setattr(g, "config", {"hypotheses": 3}), "FitConfig.* got dict"),
    "an observation of words": (lambda g: setattr(g, "observation", "photo.jpg"), "type Observation, got str"),
    "a mesh instead of an object": (lambda g: setattr(g, "objects", [g.thing.mesh]), r"objects\[0\] .*ObjectToFit"),
    "one object, no list": (lambda g: setattr(g, "objects", g.thing), "objects must be a list.*brackets"),
    "no objects": (nothing_to_fit, "got .*0 objects"),
    "two objects, one mask": (lambda g: setattr(g, "objects", g.objects * 2), "2 objects"),
    "no contacts": (lambda g: setattr(g, "contacts", []), "0 contacts"),
    "contacts None": (lambda g: setattr(g, "contacts", None), "contacts=.None. for one object"),
    "one pair, no list": (lambda g: setattr(g, "contacts", g.contacts[0]), "two ContactMaps.*got ContactMap"),
    "probabilities as arrays": (
        lambda g: setattr(g, "contacts", [(np.ones(3), np.ones(3))]),
        "ContactMap, got ndarray",
    ),
    "contacts swapped": (lambda g: setattr(g, "contacts", [g.contacts[0][::-1]]), "transfer it first"),
    "a body of numbers": (lambda g: setattr(g, "body", 7), "bod.*got int"),
    "unknown device": (lambda g: g.options.update(device="abacus"), "'cpu' or 'cuda'.*abacus"),
}
"""Name -> (what spoils the input, what is said), for both fits."""

JOINT: dict[str, tuple[Callable[[Given], Any], str]] = {
    "start behind the camera": (lambda g: own_starts(g, -2.0), "behind the camera.*z forward"),
    "start at NaN": (lambda g: own_starts(g, np.nan), "NaN"),
    "start at NaN later": (lost_start, "starts.0. .*NaN"),
    "no starts": (lambda g: g.options.update(starts=[]), "at least one hypothesis, each with 1 poses"),
    "start of words": (lambda g: g.options.update(starts=[["here"]]), "ObjectPose, got str"),
    "a flat list of starts": (lambda g: g.options.update(starts=[ObjectPose(np.eye(3), [0, 0, 2])]), "must be a list"),
    "unknown term name": (lambda g: g.options.update(terms=["contact"]), "terms.0. is 'contact', which has no name"),
    "no last steps": (
        lambda g: setattr(g, "config", JointConfig(polish=replace(StageConfig(1, 8, 8, 8, 1, 1, 0, 0), iterations=0))),
        "polish.iterations must be above 0",
    ),
    "zero rounds": (lambda g: setattr(g, "config", JointConfig(whole=replace(JointConfig().whole, iterations=0))),
                    "whole.iterations must be above 0"),
    "negative anchor": (lambda g: JointConfig(anchor=-1.0), "positive anchor"),
    "a mesh for a body": (lambda g: setattr(g, "body", g.body.mesh), "body 0 must be of type .*SceneBody, got Mesh"),
    "nobody": (lambda g: setattr(g, "body", []), "got 0 bodies"),
    "contact with a third body": (lambda g: setattr(g, "contacts", {(2, 0): g.contacts[0]}), "which are not there"),
    "contact by name": (lambda g: setattr(g, "contacts", {"chair": g.contacts[0]}), "index of the body, index of the"),
    "half precision": (lambda g: g.options.update(dtype=torch.float16), "float32 or torch.float64"),
}  # fmt: skip
"""The same for the joint fit alone."""


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("case", BOTH)
@pytest.mark.parametrize("door", ["fit", "fit_objects"])
def test_bad_input_is_told_before_any_work(case: str, door: str) -> None:
    """Each case on a scene of its own, as some write into it."""
    scene = _fresh()
    spoil, said = BOTH[case]
    with pytest.raises(InputError, match=f"(?s){said}") as told:
        spoil(scene)
        call = fit if door == "fit" else fit_objects
        call(scene.observation, scene.body, scene.objects, scene.contacts, scene.config, **scene.options)
    _is_a_sentence(str(told.value))


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("case", JOINT)
def test_bad_input_of_the_joint_fit_is_told_before_any_work(case: str) -> None:
    scene = _fresh()
    spoil, said = JOINT[case]
    with pytest.raises(InputError, match=f"(?s){said}") as told:
        spoil(scene)
        fit(scene.observation, scene.body, scene.objects, scene.contacts, scene.config, **scene.options)
    _is_a_sentence(str(told.value))


def _fresh() -> Given:
    """Good input with arrays of its own."""
    import copy

    kept = copy.deepcopy(_kept())
    return Given(kept.observation, kept.people[0].body, list(kept.objects), [kept.contacts[0, 0]])


def _kept(made: list[JointScene] = []) -> JointScene:  # noqa: B006  (made once)
    if not made:
        made.append(make_joint_scene())
    return made[0]


def _is_a_sentence(text: str) -> None:
    assert 20 < len(text) < 400
    assert "\n" not in text
    assert "Traceback" not in text


@pytest.mark.usefixtures("no_work")
def test_good_input_passes_and_no_contact_is_ordinary(given: Given) -> None:
    spoils: list[Callable[[], Any]] = [
        lambda: None, lambda: given.contact(0.0, 0.0), lambda: setattr(given, "contacts", [None]),
        lambda: setattr(given, "contacts", [_fresh().contacts[0]]),
        lambda: setattr(given, "contacts", [ContactEstimate(*given.contacts[0])]),
    ]  # fmt: skip
    for spoil in spoils:
        spoil()
        for call in (fit, fit_objects):
            with pytest.raises(AssertionError, match="work started"):
                call(given.observation, given.body, given.objects, given.contacts)


@pytest.mark.usefixtures("no_work")
def test_a_small_thing_may_be_touched_all_over(given: Given) -> None:
    given.contact(on_object=1.0)
    assert given.thing.mesh.diagonal < 0.5
    with pytest.raises(AssertionError, match="work started"):
        fit_objects(given.observation, given.body, given.objects, given.contacts)


# ------------------------------------------------------------------------------------------------ meshes with holes
def test_a_mesh_with_holes_is_fitted_and_flagged(scene: JointScene) -> None:
    """Six faces of the surface are missing: inside and outside are told by winding, the pose hardly changes."""
    obj = scene.objects[0]
    holes = np.random.default_rng(0).choice(len(obj.mesh.faces), 6, replace=False)
    torn = Mesh(obj.mesh.verts, np.delete(obj.mesh.faces, holes, axis=0))
    found = []
    for mesh in (obj.mesh, torn):
        pair = scene.contacts[0, 0]
        contact = (pair[0], ContactMap(pair[1].probability, mesh.topology))
        one = replace(obj, mesh=mesh, initial_rotations=scene.poses[0].R[None])
        found += fit_objects(scene.observation, scene.people[0].body, [one], [contact], FitConfig(hypotheses=0))
    assert (OPEN_MESH in found[0].flags, OPEN_MESH in found[1].flags) == (False, True)
    assert mesh_flags(torn) == (OPEN_MESH,)
    assert mesh_flags(replace(obj.mesh, faces=obj.mesh.faces[:, ::-1])) == (INSIDE_OUT,)
    apart = found[0].pose.apply(obj.mesh.verts) - found[1].pose.apply(obj.mesh.verts)
    assert np.linalg.norm(apart, axis=1).mean() < 0.01


# ------------------------------------------------------------------------------------------------- the other doors
@pytest.mark.parametrize(
    "case",
    ["empty object mask", "full object mask", "masks swapped", "one triangle", "mesh in millimetres", "NaN in the mesh",
     "body behind the camera", "body in millimetres", "contact everywhere on the body"],
)  # fmt: skip
def test_baselines_have_the_same_door(case: str) -> None:
    g, (spoil, said) = _fresh(), BOTH[case]
    spoil(g)
    pair = g.contacts[0]
    on_mesh = None if pair is None else (ContactMap(pair[0].probability, g.body.mesh.topology), pair[1])
    with pytest.raises(InputError, match=f"(?s){said}|0 pixels|NaN"):
        baseline_problem(g.observation, g.body.mesh, g.thing, on_mesh)


def test_keypoints_and_poses_with_nan_do_not_come_in() -> None:
    for make in (
        lambda: Keypoints("blazepose33", np.full((33, 2), np.nan), np.ones(33)),
        lambda: ObjectPose(np.eye(3), [0, 0, np.nan]),
        lambda: ObjectPose(np.eye(3), [0, 0, 1], np.nan),
        lambda: Camera(np.diag([np.nan, 500, 1]), 640, 480),
        lambda: ContactMap([0.1, np.nan], "m"),
        lambda: Mesh(np.full((3, 3), np.inf), [[0, 1, 2]]),
    ):
        with pytest.raises(InputError, match=r"NaN|positive number"):
            make()
    with pytest.raises(InputError, match=r"mesh of cup is of type Trimesh: give a Mesh, e.g. Mesh\(m.vertices"):
        ObjectToFit(_kept().objects[0].mesh.to_trimesh(), "cup")
    with pytest.raises(InputError, match="at least one iteration"):
        LMConfig(iterations=0)
    with pytest.raises(InputError, match="expected"):
        Observation(np.zeros((4, 5, 3), np.uint8), Camera.from_focal(9, 5, 4), np.zeros((5, 4), bool))


# -------------------------------------------------------------------------------------------- lost hypotheses
# Batches of other sizes are summed in another order by the matrix products: last bits differ, hence 1e-8 in float64.
BAD_STARTS = {
    "behind the camera": torch.tensor([0.0, 0.0, -3.0]),
    "far away": torch.tensor([4e3, -9e3, 1e-4]),
    "astronomic": torch.tensor([1e15, 1e15, 1e15]),
}


def _object_problem(scene: JointScene) -> tuple[ObjectProblem, Mesh]:
    body = scene.people[0].body.mesh
    contact = (ContactMap(scene.contacts[0, 0][0].probability, body.topology), scene.contacts[0, 0][1])
    found = prepare(scene.observation, 0, body, scene.objects[0], contact, (), FitConfig(), dtype=torch.float64)
    return found, body


@pytest.mark.parametrize("kind", BAD_STARTS)
def test_a_lost_hypothesis_changes_no_other(kind: str, scene: JointScene) -> None:
    """Object poses through all three stages, with and without a start that is lost."""
    (problem, _), config = _object_problem(scene), FitConfig(prune_after=0)
    good = starts(problem, super_fibonacci(4), config)
    index, others = torch.tensor([0, 1, 1, 2, 3]), torch.tensor([0, 1, 3, 4])
    t = good.t[index].clone()
    t[2] = BAD_STARTS[kind].to(t)
    ends = []
    for start in (good, ObjectState(good.R[index], t, good.log_s[index], good.view)):
        state, search = start, Search(problem, config)
        for stage in (config.coarse, config.anneal, config.final):
            state, quad = search.refine(state, stage)
        ends.append((state, quad))
    (alone, quad), (beside, mixed) = ends
    for name in ("R", "t", "log_s"):
        assert torch.allclose(getattr(beside, name)[others], getattr(alone, name), rtol=0, atol=1e-8), name
    assert torch.allclose(mixed.cost[others], quad.cost, rtol=1e-8)
    assert not float(mixed.cost[2]) < float(quad.cost.min())


def test_starts_at_nan_are_left_out(scene: JointScene) -> None:
    problem, body = _object_problem(scene)
    mesh, config, R = scene.objects[0].mesh, FitConfig(prune_after=0, keep=3), super_fibonacci(3)
    broken = torch.cat([R[:1], R[:1] * torch.nan, R[1:]])
    one, two = (fit_object(problem, rotations, mesh, body, config) for rotations in (R, broken))
    assert np.allclose(one.pose.T_cam_obj, two.pose.T_cam_obj, rtol=0, atol=1e-9)
    assert one.energy == pytest.approx(two.energy, rel=1e-9)
    with pytest.raises(InputError, match="no start is finite"):
        fit_object(problem, R * torch.nan, mesh, body, config)


@pytest.mark.parametrize("kind", BAD_STARTS)
def test_a_lost_hypothesis_changes_no_other_of_the_joint_fit(kind: str, scene: JointScene) -> None:
    default = JointConfig()
    stages = {name: replace(getattr(default, name), iterations=2) for name in ("chain", "whole")}
    few = JointConfig(**stages, refreshes=0, polish=None, body_first=False)
    problem, truth = scene.problem(torch.float64, few), scene.poses[0]
    near = ObjectPose(truth.R, truth.t + np.array([0.01, -0.01, 0.02]))
    state = problem.start([[near], [near], [truth]])
    t = state.objects[0].t.clone()
    t[1] = BAD_STARTS[kind].to(t)
    mixed = replace(state, objects=(replace(state.objects[0], t=t),))
    alone, quad = solve_stages(problem, state.select(torch.tensor([0, 2])))
    beside, found = solve_stages(problem, mixed)
    for a, b in (
        (alone.objects[0].t, beside.objects[0].t),
        (alone.objects[0].R, beside.objects[0].R),
        (alone.bodies[0].rotations, beside.bodies[0].rotations),
        (quad.cost, found.cost),
    ):
        assert torch.allclose(a, b[[0, 2]], rtol=1e-8, atol=1e-8)
