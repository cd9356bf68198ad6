"""What contact with one object says about the body alone: links between parts, and straight lines through them."""

from __future__ import annotations

import numpy as np
import pytest

from hoirecon.contact.protocols import ContactEstimate, ContactObject, PartPair
from hoirecon.contact_map import ContactMap
from hoirecon.data.body import BodyModel, load_body
from hoirecon.data.objects import load_object
from hoirecon.errors import InputError
from hoirecon.fitting.body_fit import fit_body, refine_body
from hoirecon.fitting.body_links import SIGMA_M, SLACK_M, contact_lines, contact_links
from hoirecon.fitting.body_types import BodyLink
from hoirecon.fitting.random_people import CAMERA, random_person

MODEL: BodyModel = load_body()


def _estimate(obj: ContactObject, *pairs: tuple[str, str, float]) -> ContactEstimate:
    probability = np.zeros(MODEL.num_verts)
    for part, _, p in pairs:
        probability[MODEL.parts.verts_of(part)] = p
    body = ContactMap(probability, MODEL.topology)
    return ContactEstimate(
        body, ContactMap.none(len(obj.mesh.verts), obj.mesh.topology), tuple(PartPair(*q) for q in pairs)
    )


PHONE, BAR, TABLET = (ContactObject.of(load_object(name)) for name in ("cell phone", "barbell", "tablet"))


def test_a_phone_links_hand_and_ear_by_its_own_size() -> None:
    found = _estimate(
        PHONE, ("right_palm", "back", 0.8), ("right_thumb", "edge_left", 0.7), ("right_ear", "screen", 0.6)
    )
    (link,) = contact_links(found, PHONE, MODEL)
    assert link.name == "right_ear-right_hand"
    assert 0.05 < link.at_most_m < PHONE.mesh.diagonal + SLACK_M
    twice = contact_links(found, PHONE, MODEL, scale=2.0)[0].at_most_m
    once = contact_links(found, PHONE, MODEL, scale=1.0)[0].at_most_m
    assert twice - SLACK_M == pytest.approx(2 * (once - SLACK_M))


def test_a_link_is_as_loose_as_contact_and_size_are_unsure() -> None:
    sure, unsure = (_estimate(PHONE, ("right_palm", "back", p), ("right_ear", "screen", p)) for p in (0.9, 0.5))
    tight, loose = (contact_links(e, PHONE, MODEL)[0].sigma_m for e in (sure, unsure))
    assert tight == pytest.approx(loose * (0.5 / 0.9) ** 2)
    known = contact_links(sure, PHONE, MODEL, scale=1.0)[0].sigma_m
    assert known == pytest.approx(SIGMA_M / 0.9**2)
    assert known < tight
    with pytest.raises(InputError, match="sigma_m"):
        BodyLink(np.array([0]), np.array([1]), 0.1, sigma_m=0.0)


def test_unsure_parts_and_trunk_among_itself_are_not_linked() -> None:
    unsure = _estimate(PHONE, ("right_palm", "back", 0.8), ("right_ear", "screen", 0.2))
    assert contact_links(unsure, PHONE, MODEL) == []
    trunk = _estimate(BAR, ("upper_back", "bar_centre", 0.9), ("neck_back", "bar_centre", 0.9))
    assert contact_links(trunk, BAR, MODEL) == []


def test_only_a_straight_thing_makes_a_line() -> None:
    bar = (("left_palm", "bar_left", 0.8), ("right_palm", "bar_right", 0.8), ("upper_back", "bar_centre", 0.7))
    (line,) = contact_lines(_estimate(BAR, *bar), BAR, MODEL)
    assert line.name == "left_hand-upper_back-right_hand"
    assert contact_lines(_estimate(BAR, *bar[:2]), BAR, MODEL) == []
    flat = (("left_palm", "edge_left", 0.8), ("right_palm", "edge_right", 0.8), ("belly", "back", 0.7))
    assert contact_lines(_estimate(TABLET, *flat), TABLET, MODEL) == []


def test_refining_by_a_line_straightens_it() -> None:
    person = random_person(MODEL, 1)
    fit = fit_body(person.keypoints, CAMERA, MODEL)
    bar = (("left_palm", "bar_left", 0.8), ("right_palm", "bar_right", 0.8), ("upper_back", "bar_centre", 0.7))
    lines = contact_lines(_estimate(BAR, *bar), BAR, MODEL)

    def off(verts: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        a, b, c = (verts[ids].mean(axis=0) for ids in (lines[0].first_ids, lines[0].middle_ids, lines[0].last_ids))
        return float(np.linalg.norm(np.cross(b - a, c - a)) / np.linalg.norm(c - a))

    refined = refine_body(fit, lines=lines)
    assert off(refined.body.verts) < 0.6 * off(fit.body.verts)
