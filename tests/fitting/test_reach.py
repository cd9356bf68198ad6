"""Which way round a symmetric object is held."""

from __future__ import annotations

import numpy as np
import pytest

from hoirecon.contact.protocols import ContactObject, PartPair
from hoirecon.data.body import BodyModel, load_body
from hoirecon.data.objects import load_object
from hoirecon.fitting.reach import held_way_round
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


def test_pairs_that_tell_nothing_turn_nothing(model: BodyModel) -> None:
    """Parts that surely do not touch, and parts that another body has."""
    bar = load_object("barbell")
    obj, turns = ContactObject.of(bar), bar.symmetry.rotations(8)
    flipped = ObjectPose(_at_hands(model).R @ np.diag([-1.0, 1.0, -1.0]), _at_hands(model).t)
    silent = (PartPair("left_palm", "bar_left", 0.0), PartPair("left_tentacle", "bar_left", 0.9))
    assert held_way_round(model.rest_verts, model.parts, obj, flipped, silent, turns) is flipped
    alone, beside = (
        held_way_round(model.rest_verts, model.parts, obj, flipped, p, turns) for p in (PAIRS, (*PAIRS, *silent))
    )
    np.testing.assert_array_equal(alone.R, beside.R)
