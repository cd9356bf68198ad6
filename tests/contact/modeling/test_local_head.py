"""The head that asks every vertex by itself: distances, places on the body, mirrors, and networks with and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hoirecon.contact.modeling.config import NetworkConfig, config_dict, config_from_dict
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig, pack
from hoirecon.contact.modeling.local_head import (
    FIELDS,
    POINTS,
    TOLD,
    Geometry,
    LocalHead,
    body_axes,
    body_points,
    distance_field,
    fields,
    filled,
    told_of,
)
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.toy import toy_config
from hoirecon.contact.training.body_places import fitted_places, learn_places, posed_bodies, vertex_normals
from hoirecon.contact.training.front_end import MIRRORED, mirror
from hoirecon.contact.training.lessons import mirror_verts
from hoirecon.errors import InputError

TOWER = EvidenceConfig(16, 32, 1, 2, patch_size=16)
LEFTWARDS = (1, FIELDS, FIELDS + 3, FIELDS + 8, FIELDS + 10, FIELDS + 13)
"""Numbers of a vertex that change their sign in a mirror: offset to the object, and what lies to the person's left."""


def evidence(count: int = 2, seed: int = 0) -> torch.Tensor:
    """People from in front with a disc for an object, and another thing beside."""
    _, landmarks = posed_bodies(count, seed)
    landmarks = landmarks - landmarks[:, [23, 24]].mean(1, keepdims=True)
    xyz = torch.as_tensor(landmarks * (1, -1, -1), dtype=torch.float32)
    told = torch.cat([0.8 * xyz[..., :2], xyz, torch.ones(count, 33, 1)], dim=-1)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc = ((x - 20) ** 2 + (y - 30) ** 2 < 40).float()
    masks = torch.stack([((x - 32).abs() < 8).float() * (1 - disc), disc, ((x > 55) & (y > 50)).float()])
    return pack(told, masks[None].expand(count, -1, -1, -1))


def test_distances_are_those_of_looking_at_every_pixel() -> None:
    mask = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1)) > 0.95
    mask[2] = False
    found = distance_field(mask.float())
    at = torch.cartesian_prod(torch.arange(16.0), torch.arange(16.0))
    for picture, one in zip(found[:2], mask[:2], strict=True):
        torch.testing.assert_close(picture.flatten(), torch.cdist(at, at[one.flatten()]).amin(1))
    assert (found[2] == 100).all()


def test_the_offset_leads_to_the_object() -> None:
    masks = torch.zeros(1, 3, 64, 64)
    masks[0, 1, :, 40:] = 1
    told = fields(masks, torch.tensor([0.5]))  # a pixel is 1/16 m wide
    assert told.shape == (1, FIELDS, 64, 64)
    torch.testing.assert_close(told[0, 1:4, 30, 36], torch.tensor([2 * 4 / 16, 0.0, 4 / 16]))
    assert (told[0, 1:3, :, 45:] == 0).all()


def test_points_turn_with_the_body_and_change_sides_in_a_mirror() -> None:
    xyz = torch.randn(2, 33, 3, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    turn = turn * torch.linalg.det(turn)
    torch.testing.assert_close(body_points(xyz @ turn), body_points(xyz) @ turn)
    flip = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    seen = body_points(xyz[:, torch.as_tensor(MIRRORED)] * flip)[:, 33:]
    sides = [0, 1, 2, *range(8, 13), *range(3, 8)]
    torch.testing.assert_close(seen, body_points(xyz)[:, 33:][:, sides] * flip)


def test_axes_are_the_persons_own() -> None:
    _, landmarks = posed_bodies(1, 3)
    axes = body_axes(torch.as_tensor(landmarks))[0]
    torch.testing.assert_close(axes.T @ axes, torch.eye(3, dtype=torch.float64))
    assert axes[0, 0] > 0.9
    assert axes[1, 1] > 0.9
    assert axes[2, 2] > 0.9


def test_an_unknown_landmark_lies_where_the_next_one_on_its_limb_lies() -> None:
    points, known = torch.arange(33.0)[None, :, None], torch.ones(1, 33, 1)
    known[0, [15, 19]] = 0  # a wrist and its index finger
    found = filled(points, known)[0, :, 0]
    assert found[15] == found[19] == 13
    assert (found[known[0, :, 0] > 0] == points[0, known[0] > 0]).all()


def test_vertices_are_placed_on_bodies_that_the_fit_never_saw() -> None:
    verts, landmarks = posed_bodies(6, 77)
    hips = landmarks[:, [23, 24]].mean(1, keepdims=True)
    place, normal = fitted_places()
    points = body_points(torch.as_tensor(landmarks - hips, dtype=torch.float32))
    apart = np.linalg.norm((place @ points).numpy() - (verts - hips), axis=-1)
    assert np.median(apart) < 0.02
    assert np.quantile(apart, 0.95) < 0.06
    facing = torch.nn.functional.normalize(normal @ points, dim=-1).numpy()
    assert (facing * vertex_normals(verts)).sum(-1).mean() > 0.9


def told(packed: torch.Tensor) -> torch.Tensor:
    return told_of(Geometry.of(packed, TOWER), *fitted_places())


def test_in_a_mirror_every_vertex_is_told_what_the_other_side_was() -> None:
    packed = evidence()
    seen = told(mirror(packed, torch.tensor([True, True]), TOWER))[:, torch.as_tensor(mirror_verts())]
    expected = told(packed)
    assert expected.shape[-1] == TOLD
    expected[..., list(LEFTWARDS)] *= -1
    torch.testing.assert_close(seen, expected, rtol=1e-3, atol=2e-3)


def head(verts: int = 30) -> LocalHead:
    torch.manual_seed(0)
    found = LocalHead(8, verts, 12)
    found.place.copy_(torch.randn(verts, POINTS) / 10)
    found.normal.copy_(torch.randn(verts, POINTS) / 10)
    return found


def test_some_vertices_are_those_of_all_and_everything_told_counts() -> None:
    local, packed = head(), evidence()
    states, pictures, some = torch.randn(2, 8), torch.randn(2, 37, 8), torch.tensor([3, 7, 20])
    every = local(states, pictures, packed, TOWER)
    assert every.shape == (2, 30)
    torch.testing.assert_close(local(states, pictures, packed, TOWER, some), every[:, some])
    assert not torch.equal(local(states + 1, pictures, packed, TOWER), every)
    assert not torch.equal(local(states, pictures + 1, packed, TOWER), every)
    moved = packed.clone()
    moved[:, 33 * 6 + 64 * 64 : 33 * 6 + 2 * 64 * 64] = 0  # the object's mask
    assert not torch.equal(local(states, pictures, moved, TOWER), every)


def test_gradients_are_true() -> None:
    local, packed = head(6).double(), evidence(1)
    states = torch.randn(1, 8, dtype=torch.float64, requires_grad=True)
    pictures = torch.randn(1, 37, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, p: local(s, p, packed, TOWER), (states, pictures))


def test_places_are_written_into_a_head_and_kept_with_its_weights() -> None:
    place, normal = fitted_places()
    local = LocalHead(8, len(place), 4)
    learn_places(local)
    kept = local.state_dict()
    assert torch.equal(kept["place"], place)
    assert torch.equal(kept["normal"], normal)


# ------------------------------------------------------------------------------------------------------------ networks
def with_local(**changes: object) -> NetworkConfig:
    vision = EvidenceConfig(16, 32, 1, 2, patch_size=16)
    return replace(toy_config(), vision=vision, look_back=True, vertex_head=7, local_head=True, **changes)


def test_other_networks_have_none_and_it_needs_its_neighbours() -> None:
    assert not NetworkConfig().local_head
    assert not [name for name in InteractVLMNetwork(toy_config()).state_dict() if name.startswith("local_head")]
    assert config_from_dict(config_dict(with_local())) == with_local()
    old = config_dict(with_local())
    del old["local_head"]  # a configuration that was written before there was one
    assert not config_from_dict(old).local_head
    for missing in ({"vertex_head": 0}, {"look_back": False}, {"vision": toy_config().vision}):
        with pytest.raises(InputError, match="local_head needs"):
            replace(with_local(), **missing)


def test_a_network_adds_it_to_its_vertex_head_and_wants_the_evidence() -> None:
    network, packed = InteractVLMNetwork(with_local()), evidence(1)
    width = network.config.language.hidden_size
    state, picture, lifted = torch.randn(width), torch.randn(37, width), torch.rand(7)
    assert network.vertex_head is not None
    with torch.no_grad():
        plain = network.vertex_head(state[None])
        both = network.direct_logits(state[None], picture[None], packed)
        assert not torch.equal(plain, both)
        some = network.direct_logits(state[None], picture[None], packed, torch.tensor([5, 1]))
        torch.testing.assert_close(some, both[:, [5, 1]])
        share = replace(network.config, direct_share=1.0)
        network.config = share
        torch.testing.assert_close(network.with_vertex_head(lifted, state, picture, packed[0]), both[0].sigmoid())
        with pytest.raises(InputError, match="packed evidence"):
            network.with_vertex_head(lifted, state)
    with pytest.raises(InputError, match="no vertex head"):
        InteractVLMNetwork(toy_config()).direct_logits(state[None])
