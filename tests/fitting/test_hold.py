"""Parts that meet, hands that close, penetration seen close up: what reconstruct adds to the joint fit."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.contact.protocols import ContactObject, PartPair
from hoirecon.data.body import load_body
from hoirecon.data.body.state import BodyState, FreeParams
from hoirecon.errors import InputError
from hoirecon.fitting.close_up import close_penetration
from hoirecon.fitting.finger_terms import HANDS, FingerRange
from hoirecon.fitting.grasp import close_fingers
from hoirecon.fitting.hand_poses import hand_pose
from hoirecon.fitting.joint_config import JointConfig
from hoirecon.fitting.joint_result import unheard
from hoirecon.fitting.joint_state import JointState, Layout
from hoirecon.fitting.joint_view import Figure, JointView, with_shape
from hoirecon.fitting.object_state import ObjectState
from hoirecon.fitting.objective import Quadratic, Residuals
from hoirecon.fitting.part_contact import PartContactConfig, PartsMeet, part_terms, surest
from hoirecon.fitting.sdf import inside_depth
from hoirecon.mesh import Mesh
from hoirecon.pose import ObjectPose

MODEL = load_body()
FINGERS = FreeParams((0, 16, 18, 20, *HANDS["left"]), 0, True)


def cylinder(radius: float, length: float, axis: np.ndarray, centre: np.ndarray) -> Mesh:
    import trimesh

    made = trimesh.creation.cylinder(radius, length, sections=40)
    turn = trimesh.geometry.align_vectors([0, 0, 1], axis)[:3, :3]
    return Mesh(made.vertices @ turn.T + centre, made.faces, "bar")


def bar_in_palm(radius: float = 0.014, gap: float = 0.012) -> Mesh:
    """A bar across the left palm of the T-posed body, below it, where a fist would hold it."""
    joints = MODEL.joint_template.double().numpy()
    knuckles = joints[[22, 25, 28, 31]].mean(0)
    palm = 0.35 * joints[20] + 0.65 * knuckles
    skin = MODEL.rest_verts[MODEL.parts.verts_of("left_palm")]
    below = skin[np.linalg.norm(skin[:, [0, 2]] - palm[[0, 2]], axis=1).argmin(), 1]
    return cylinder(radius, 0.5, np.array([0.0, 0, 1]), np.array([palm[0] + 0.02, below - radius - gap / 4, palm[2]]))


def view_of(rotations: torch.Tensor, shift: float = 2.0, bar: Mesh | None = None) -> JointView:
    """A body in double precision, moved before the camera, and an object as it was made."""
    model = with_shape(MODEL.to(dtype=torch.float64), torch.zeros(MODEL.num_betas, dtype=torch.float64))
    body = BodyState(rotations, torch.zeros(1, 1).double(), torch.tensor([[0.0, 0.0, shift]]).double())
    figure = Figure(model, (), torch.zeros(21, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    eye, zero = torch.eye(3).double()[None], torch.zeros(1, 3).double()
    thing = ObjectState(eye, zero, zero[:, 0], None)
    return JointView(JointState((thing,), (body,), Layout(("bar",), ("person",), (FINGERS,))), (figure,))


def rest(seed: int | None = None) -> torch.Tensor:
    """(1, 52, 3, 3) the T-pose with curled hands, or turned a little at random."""
    left, right = (torch.as_tensor(hand_pose(side, 0.3))[None] for side in ("left", "right"))
    rotations = MODEL.to(dtype=torch.float64).rotations(left_hand_pose=left, right_hand_pose=right)
    if seed is not None:
        import roma

        noise = 0.25 * torch.randn(1, 52, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        rotations = rotations @ roma.rotvec_to_rotmat(noise)
    return rotations


def check_gradient(residuals: object, view: JointView) -> None:
    """The closed-form Jacobian against finite differences of the residuals along random steps."""
    res: Residuals = residuals(view)  # type: ignore[operator]
    rng = torch.Generator().manual_seed(3)
    for _ in range(4):
        step = torch.randn(1, view.state.layout.size, generator=rng, dtype=torch.float64)
        ahead, behind = (residuals(JointView(view.state.retract(h * step), view.figures)).r for h in (1e-6, -1e-6))  # type: ignore[operator]
        torch.testing.assert_close((res.J @ step[0])[0], ((ahead - behind) / 2e-6)[0], rtol=2e-4, atol=2e-4)


class TestFingerRange:
    def test_jacobian(self) -> None:
        check_gradient(FingerRange(0).residuals, view_of(rest(1)))
        at = BodyState(rest(4), torch.zeros(1, 1).double(), torch.zeros(1, 3).double())
        check_gradient(FingerRange(0, at).residuals, view_of(rest(1)))

    def test_both_hands_of_hand_poses_are_free_of_charge(self) -> None:
        for grip in (0.0, 0.5, 1.0):
            hand = torch.as_tensor(hand_pose("left", grip))[None]
            view = view_of(MODEL.to(dtype=torch.float64).rotations(left_hand_pose=hand))
            assert float(FingerRange(0).residuals(view).r[:, :, :3].abs().max()) < 1e-6

    def test_a_finger_bent_backwards_costs(self) -> None:
        pose = np.zeros(45)
        pose[2] = np.radians(40)  # the left index, 40 degrees the wrong way: 20 beyond, by a sigma of 4
        view = view_of(MODEL.to(dtype=torch.float64).rotations(left_hand_pose=torch.as_tensor(pose)[None]))
        assert float(FingerRange(0).residuals(view).r.abs().max()) == pytest.approx(5.0, abs=1e-6)

    def test_no_fingers_no_cost(self) -> None:
        view = view_of(rest())
        bare = replace(view.state, layout=replace(view.state.layout, free=(FreeParams((0, 3), 0, True),)))
        res = FingerRange(0).residuals(JointView(bare, view.figures))
        assert float(res.r.abs().sum() + res.w.sum()) == 0


class TestPartsMeet:
    def terms(self, mesh: Mesh, **options: Any) -> list[PartsMeet]:
        config = PartContactConfig(dead_zone=0.0, **options)
        pairs = [PartPair("left_palm", "whole", 0.9)]
        return part_terms(MODEL, ContactObject.of_mesh(mesh), pairs, config=config, dtype=torch.float64)

    def test_jacobian(self) -> None:
        view = view_of(rest(2), shift=0.0)
        check_gradient(self.terms(bar_in_palm())[0].residuals, view)

    def test_it_vanishes_where_they_touch(self) -> None:
        """The nearest vertices of the palm lie a known gap from the bar."""
        mesh = bar_in_palm(gap=0.0)
        centre = (mesh.verts.min(0) + mesh.verts.max(0)) / 2
        view = view_of(rest(), shift=0.0)
        place = ObjectState(
            *(torch.eye(3).double()[None], torch.as_tensor(centre)[None], torch.zeros(1).double(), None)
        )
        view = JointView(replace(view.state, objects=(place,)), view.figures)
        touching = self.terms(mesh)[0].residuals(view).r.norm(dim=-1)
        assert float(touching.max()) < 1.0  # centimetres

    def test_the_back_of_the_hand_does_not_count_as_palm(self) -> None:
        """With the bar above the hand, the palm is drawn to its upper side, through the hand, not to the lower."""
        below = bar_in_palm()
        centre = (below.verts.min(0) + below.verts.max(0)) / 2 + [0, 0.06, 0]
        view = view_of(rest(), shift=0.0)
        place = ObjectState(torch.eye(3).double()[None], torch.as_tensor(centre)[None], torch.zeros(1).double(), None)
        view = JointView(replace(view.state, objects=(place,)), view.figures)
        plain, facing = (self.terms(below, facing=f)[0].residuals(view).r[..., 1].mean() for f in (0.0, 0.05))
        assert float(facing) > float(plain) + 1.0

    def test_of_a_part_the_surest_pair_counts(self) -> None:
        pairs = [PartPair("a", "x", 0.4), PartPair("a", "y", 0.8), PartPair("b", "x", 0.2)]
        assert surest(pairs, 0.35) == [pairs[1]]

    def test_a_part_that_may_as_well_touch_another_is_left_to_the_contact_maps(self) -> None:
        pairs = [PartPair("finger", "side", 0.41), PartPair("finger", "bottom", 0.43), PartPair("palm", "side", 0.4)]
        assert surest(pairs, 0.35, margin=0.1) == [pairs[2]]
        assert surest(pairs, 0.35, margin=0.01) == [pairs[1], pairs[2]]
        assert PartContactConfig().margin == 0.1

    def test_settings_are_checked(self) -> None:
        with pytest.raises(InputError, match="sigma"):
            PartContactConfig(sigma=0.0)
        with pytest.raises(InputError, match="margin"):
            PartContactConfig(margin=-0.1)


class TestCloseFingers:
    def close(self, mesh: Mesh) -> tuple[np.ndarray, BodyState]:
        state = BodyState.rest(MODEL)
        closed = close_fingers(MODEL, state, [mesh], ["left"])
        return closed.forward(MODEL).verts[0].numpy(), closed

    def test_they_wrap_a_bar_without_entering_it(self) -> None:
        mesh = bar_in_palm()
        verts, _ = self.close(mesh)
        own = {k: np.isin(MODEL.weights.argmax(1).numpy(), HANDS["left"][3 * k : 3 * k + 3]) for k in range(4)}
        for ids in own.values():
            assert inside_depth(mesh, verts[ids]).max() < 0.006
        away = np.linalg.norm((verts - mesh.verts.mean(0))[:, :2], axis=1) - 0.014
        reached = [abs(away[ids].min()) for ids in own.values()]
        assert np.sort(reached)[:3].max() < 0.01  # three of four fingers are at the bar

    def test_they_close_less_on_a_thicker_bar(self) -> None:
        angles = []
        for radius in (0.012, 0.03):
            _, state = self.close(bar_in_palm(radius))
            angles.append(float(state.rotvecs()[0, 22:34].norm(dim=-1).sum()))
        assert angles[0] > angles[1]

    def test_the_other_hand_and_the_body_stay(self) -> None:
        _, state = self.close(bar_in_palm())
        same = [j for j in range(52) if j not in HANDS["left"]]
        torch.testing.assert_close(state.rotations[:, same], BodyState.rest(MODEL).rotations[:, same])

    def test_without_contact_a_hand_rests(self) -> None:
        far = cylinder(0.01, 0.2, np.array([0.0, 0, 1]), np.array([5.0, 5, 5]))
        _, state = self.close(far)
        flexed = np.degrees(state.rotvecs()[0, [22, 25, 31]].norm(dim=-1).numpy())
        assert ((flexed > 10) & (flexed < 60)).all(), flexed


class TestCloseUp:
    def test_a_thin_bar_in_the_palm_is_seen(self) -> None:
        mesh = bar_in_palm(gap=0.0)
        inside = mesh.with_verts(mesh.verts + np.array([0, 0.012, 0]))
        terms = close_penetration(inside, ObjectPose(np.eye(3), np.zeros(3)), MODEL.rest_verts)
        assert [t.name for t in terms] == ["body in object close up", "object in body close up"]
        grid = terms[0].grid  # type: ignore[attr-defined]
        centre = (inside.verts.min(0) + inside.verts.max(0)) / 2
        value, _ = grid.sample(torch.tensor(centre - centre, dtype=grid.values.dtype)[None])
        assert float(value) == pytest.approx(-0.014, abs=0.002)

    def test_it_computes_as_the_joint_fit_does(self) -> None:
        mesh = bar_in_palm(gap=0.0)
        pose = ObjectPose(np.eye(3), np.zeros(3))
        view = view_of(rest(), shift=0.0)
        ids = torch.as_tensor(MODEL.parts.verts_of("left_palm"))
        view = JointView(view.state, (replace(view.figures[0], surface=ids),))
        for term in close_penetration(mesh, pose, MODEL.rest_verts, dtype=torch.float64):
            assert term.residuals(view).r.dtype == torch.float64

    def test_far_apart_there_is_nothing_to_see(self) -> None:
        assert close_penetration(bar_in_palm(), ObjectPose(np.eye(3), np.array([9.0, 9, 9])), MODEL.rest_verts) == []


def test_named_parts_count_by_a_share_when_a_hypothesis_is_chosen() -> None:
    """By hand: .75 of 57 + 30 and of 1 + 0 is not heard; own terms that only sound like parts count whole."""
    none, some = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)
    parts = [
        PartsMeet(0, 0, some, none, none, none, PartContactConfig(), 2.0, name)
        for name in ("right_palm at edge_right", "left_palm at edge_left")
    ]
    own = SimpleNamespace(name="lamp at ceiling")
    costs = {parts[0].name: [57.0, 1.0], parts[1].name: [30.0, 0.0], own.name: [9.0, 9.0]}
    terms = {name: torch.tensor(cost) for name, cost in costs.items()}
    quad = Quadratic(torch.tensor([100.0, 100.0]), torch.zeros(2, 7), torch.eye(7).expand(2, 7, 7), terms)
    problem: Any = SimpleNamespace(extra=(*parts, own), config=JointConfig(rank_parts_weight=0.25))
    assert unheard(problem, quad).tolist() == pytest.approx([0.75 * 87, 0.75])
    problem.extra = (own,)
    assert unheard(problem, quad).tolist() == [0.0, 0.0]
    with pytest.raises(InputError, match="a share, 0 to 1"):
        JointConfig(rank_parts_weight=1.5)
