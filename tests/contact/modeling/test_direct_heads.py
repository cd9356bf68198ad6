"""Heads that tell contact without views: places in a box, the blend with lifted masks, networks with and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hoirecon.contact.modeling.config import NetworkConfig, config_dict, config_from_dict
from hoirecon.contact.modeling.direct_heads import (
    PLACE_NUMBERS,
    USUAL_LOGIT,
    ObjectHead,
    VertexHead,
    blend,
    place_features,
)
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.toy import toy_config
from hoirecon.errors import InputError


def test_a_box_goes_from_minus_one_to_one_and_a_flat_one_is_flat() -> None:
    verts = torch.tensor([[0.0, 1.0, 7.0], [2.0, 3.0, 7.0], [0.5, 2.0, 7.0]])
    told = place_features(verts)
    assert told.shape == (3, PLACE_NUMBERS)
    expected = torch.tensor([[-1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-0.5, 0.0, 0.0]])
    torch.testing.assert_close(told[:, :3], expected)
    torch.testing.assert_close(told[:, -6:-3], expected)  # this box's half sides are 1, 1 and 0 m
    torch.testing.assert_close(told[:, -3:], torch.tensor([1.0, 1.0, 0.0]).expand(3, -1))
    with pytest.raises(InputError, match="at least one"):
        place_features(torch.zeros(0, 3))


def test_the_middle_of_a_voxel_has_its_value_and_between_two_it_is_their_mean() -> None:
    head = ObjectHead(4, 2, 3)
    head.usual.data[1] = torch.arange(27.0)  # 9 x + 3 y + z
    middles = torch.tensor([[-2 / 3, 0.0, 2 / 3], [0.0, 0.0, 0.0], [1 / 3, 0.0, 0.0], [1.0, 1.0, 1.0]])
    torch.testing.assert_close(head.usual_at(1, middles), torch.tensor([0 * 9 + 3 + 2.0, 13.0, 17.5, 26.0]))


def test_a_blend_is_of_logits_and_what_no_view_shows_is_left_to_the_head() -> None:
    lifted, direct = torch.tensor([0.8, 0.0, 1.0]), torch.tensor([-1.0, 0.7, 30.0])
    found = blend(lifted, direct, 0.25)
    logit = 0.25 * -1.0 + 0.75 * float(np.log(0.8 / 0.2))
    torch.testing.assert_close(found[:2], torch.sigmoid(torch.tensor([logit, 0.7])))
    assert torch.isfinite(found).all()
    torch.testing.assert_close(blend(lifted[:1], direct[:1], 0.0), lifted[:1])


def test_a_head_for_objects_says_at_first_what_is_usual_for_the_word() -> None:
    head = ObjectHead(4, 3, 2)
    head.usual.data[1] = 1.5
    places = place_features(torch.rand(6, 3))
    torch.testing.assert_close(head(torch.randn(4), 1, places), torch.full((6,), 1.5))
    torch.testing.assert_close(head(torch.randn(4), 2, places), torch.full((6,), USUAL_LOGIT))
    torch.nn.init.ones_(head.out.weight)
    assert not torch.equal(head(torch.randn(4), 1, places), head(torch.randn(4), 1, places))  # the state counts


def with_heads(**changes: object) -> NetworkConfig:
    return replace(toy_config(), vertex_head=7, object_head=2, **changes)


def test_a_network_without_heads_leaves_lifted_contact_as_it_is() -> None:
    network, lifted = InteractVLMNetwork(toy_config()), torch.rand(7)
    state = torch.randn(network.config.language.hidden_size)
    assert network.with_vertex_head(lifted, state) is lifted
    assert network.with_object_head(lifted, state, 1, torch.rand(7, 3)) is lifted
    assert not [name for name in network.state_dict() if "head." in name and not name.startswith(("vlm", "mv_loc"))]


def test_a_network_with_heads_blends_them_in_and_only_on_its_own_body() -> None:
    network = InteractVLMNetwork(with_heads())
    assert isinstance(network.vertex_head, VertexHead)
    state, lifted = torch.randn(network.config.language.hidden_size), torch.rand(7)
    with torch.no_grad():
        expected = blend(lifted, network.vertex_head(state[None])[0], 0.5)
        torch.testing.assert_close(network.with_vertex_head(lifted, state), expected)
        other = torch.rand(9)
        assert network.with_vertex_head(other, state) is other
        on_thing = network.with_object_head(lifted, state, 1, torch.rand(7, 3))
    torch.testing.assert_close(on_thing, blend(lifted, torch.full((7,), USUAL_LOGIT), 0.5))


def test_settings_of_heads_are_kept_and_checked() -> None:
    config = with_heads(direct_share=0.25)
    assert config_from_dict(config_dict(config)) == config
    for name in ("direct_share", "object_share"):
        with pytest.raises(InputError, match="between 0 and 1"):
            with_heads(**{name: 1.5})
    with pytest.raises(InputError, match="at least 0"):
        replace(toy_config(), vertex_head=-1)


# ---------------------------------------------------------------------------------------------------------- look back
def test_looking_back_hears_the_name_and_sees_its_own_picture() -> None:
    torch.manual_seed(0)
    network = InteractVLMNetwork(replace(toy_config(), look_back=True))
    width = network.config.language.hidden_size
    states, pictures = torch.randn(2, width), torch.randn(2, 5, width)
    with torch.no_grad():
        both = network.looked_back(states, pictures, [3, 4])
        one = network.looked_back(states[1:], pictures[1:], [4])
        torch.testing.assert_close(both[1:], one, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(network.looked_back(states[1:], pictures[1:], [3]), one)
        assert not torch.allclose(network.looked_back(states[1:], pictures[:1], [4]), one)
        assert not torch.allclose(network.looked_back(states[:1], pictures[1:], [4]), one)


def test_a_network_that_does_not_look_back_keeps_its_states() -> None:
    network = InteractVLMNetwork(toy_config())
    states = torch.randn(2, network.config.language.hidden_size)
    assert network.looked_back(states, torch.randn(2, 5, states.shape[1]), [0, 0]) is states
