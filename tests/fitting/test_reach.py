"""Targets on a placed object, and which way round a symmetric one is held."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from hoirecon.contact.protocols import ContactObject, PartPair
from hoirecon.data.body import BodyModel, load_body
from hoirecon.data.objects import load_object
from hoirecon.errors import InputError
from hoirecon.fitting.reach import ReachConfig, _part_points, held_way_round, reach_targets
from hoirecon.pose import ObjectPose

PAIRS = (PartPair("left_palm", "bar_left", 0.9), PartPair("right_palm", "bar_right", 0.9))


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_body()


def _at_hands(model: BodyModel) -> ObjectPose:
    """A barbell through both palms of the T pose, the bar's left half (+x) in the left hand (+x)."""
    palms = [model.rest_verts[model.parts.verts_of(f"{side}_palm")].mean(0) for side in ("left", "right")]
    return ObjectPose(np.eye(3), (palms[0] + palms[1]) / 2 - [0, 0.05, 0])


def test_a_flipped_bar_is_turned_round_and_only_then(model: BodyModel) -> None:
    bar = load_object("barbell")
    obj, turns = ContactObject.of(bar), bar.symmetry.rotations(8)
    right = _at_hands(model)
    flipped = ObjectPose(right.R @ np.diag([-1.0, 1.0, -1.0]), right.t)
    again = held_way_round(model.rest_verts, model.parts, obj, flipped, PAIRS, turns)
    np.testing.assert_allclose(again.R[0, 0], 1, atol=1e-9)
    assert held_way_round(model.rest_verts, model.parts, obj, right, PAIRS, turns) is right
    assert held_way_round(model.rest_verts, model.parts, obj, flipped, PAIRS, np.eye(3)[None]) is flipped


def test_palms_are_sent_to_the_bar(model: BodyModel) -> None:
    obj, pose = ContactObject.of(load_object("barbell")), _at_hands(model)
    targets = reach_targets(model.rest_verts, model.parts, obj, pose, PAIRS)
    assert [t.name for t in targets] == ["left_palm at bar_left", "right_palm at bar_right"]
    for target in targets:
        bar = pose.apply(obj.mesh.verts)
        assert np.linalg.norm(bar - target.target_cam, axis=1).min() < 0.1
        assert abs(target.target_cam[1] - pose.t[1]) < 0.05


def test_what_is_far_or_unsure_pulls_nothing(model: BodyModel) -> None:
    obj, pose = ContactObject.of(load_object("barbell")), _at_hands(model)
    away = ObjectPose(pose.R, pose.t + np.array([0, 0, 2.0]))
    assert reach_targets(model.rest_verts, model.parts, obj, away, PAIRS) == []
    unsure = [PartPair("left_palm", "bar_left", 0.4)]
    assert reach_targets(model.rest_verts, model.parts, obj, pose, unsure) == []
    with pytest.raises(InputError, match="positive"):
        ReachConfig(sigma_m=0)


def test_a_part_stops_when_its_nearest_point_touches(model: BodyModel) -> None:
    obj, pose = ContactObject.of(load_object("barbell")), _at_hands(model)
    targets = reach_targets(model.rest_verts, model.parts, obj, pose, PAIRS)
    assert len(targets) == 2
    for pair, target in zip(PAIRS, targets, strict=True):
        patch = model.rest_verts[target.vertex_ids]
        gaps = cKDTree(_part_points(obj, pose, pair)).query(patch)[0]
        way = float(np.linalg.norm(target.target_cam - patch.mean(axis=0)))
        assert 0 < way <= gaps.min() + 1e-9
        assert gaps.mean() > 1.1 * gaps.min()  # so that moving the patch's middle onto the bar would be too far
