"""What an object head is told of shape, on bodies whose thickness is known, and heads with and without it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hoirecon.contact.modeling.direct_heads import PLACE_NUMBERS, ObjectHead, object_features, place_features
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.modeling.object_shape import AT_ONCE, REACHES_M, SHAPE_NUMBERS, shape_features
from hoirecon.contact.toy import toy_config
from hoirecon.errors import InputError

AXES = slice(6, 9)
"""Half axes within the shortest reach; the next reach's stand five numbers further."""


def box(sides: tuple[float, float, float], steps: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices and faces of a box round the origin, each side cut into squares; corners are there three times."""
    at = torch.linspace(-1, 1, steps + 1)
    u, v = (x.flatten() for x in torch.meshgrid(at, at, indexing="ij"))
    k = torch.arange(steps)
    first = (k[:, None] * (steps + 1) + k).flatten()
    square = torch.stack([first, first + steps + 1, first + steps + 2, first, first + steps + 2, first + 1], 1)
    verts, faces = [], []
    for axis in range(3):
        for sign in (1.0, -1.0):
            side = torch.zeros(len(u), 3)
            side[:, axis], side[:, (axis + 1) % 3], side[:, (axis + 2) % 3] = sign, u, v * sign
            faces.append(square.reshape(-1, 3) + len(verts) * len(u))
            verts.append(side)
    return torch.cat(verts) * torch.tensor(sides) / 2, torch.cat(faces)


def test_a_slab_is_as_thick_as_it_is_and_looks_up_and_down() -> None:
    verts, faces = box((0.4, 0.03, 0.4))
    told = shape_features(verts, faces)
    assert told.shape == (len(verts), SHAPE_NUMBERS)
    middle = (verts[:, [0, 2]].abs() < 0.11).all(1)
    top, bottom = middle & (verts[:, 1] > 0.014), middle & (verts[:, 1] < -0.014)
    assert (told[top, 1] > 0.99).all()
    assert (told[bottom, 1] < -0.99).all()
    torch.testing.assert_close(told[top, 3], torch.full((int(top.sum()),), 0.3), atol=0.01, rtol=0)
    assert (told[top, 5] < 1e-3).all()  # nothing lies opposite
    torch.testing.assert_close(told[top][:, -4:], torch.tensor([0.03, 0.4, 0.03, 0.4]).expand(int(top.sum()), -1))


def test_between_two_slabs_there_is_a_gap() -> None:
    verts, faces = box((0.4, 0.02, 0.4))
    both, ends = torch.cat([verts, verts + torch.tensor([0, 0.08, 0])]), torch.cat([faces, faces + len(verts)])
    told = shape_features(both, ends)
    inside = (verts[:, [0, 2]].abs() < 0.11).all(1) & (verts[:, 1] > 0.009)
    found = -0.06 * told[: len(verts)][inside, 5].log()
    torch.testing.assert_close(found, torch.full_like(found, 0.06), atol=0.006, rtol=0)


def test_a_rod_is_long_one_way_and_a_plate_two() -> None:
    rod, plate = box((0.02, 0.6, 0.02)), box((0.6, 0.02, 0.6))
    far = slice(AXES.start + 5 * (len(REACHES_M) - 1), AXES.stop + 5 * (len(REACHES_M) - 1))
    small, medium, large = shape_features(*rod)[(rod[0].abs() < 0.05)[:, 1]][:, far].mean(0)
    assert large > 5 * medium
    assert medium < 0.1
    small, medium, large = shape_features(*plate)[(plate[0][:, [0, 2]].abs() < 0.1).all(1)][:, far].mean(0)
    assert medium > 0.6 * large
    assert small < 0.1


def test_where_it_stands_does_not_matter_and_turned_shapes_keep_all_but_directions() -> None:
    verts, faces = box((0.3, 0.1, 0.2))
    told = shape_features(verts, faces)
    torch.testing.assert_close(shape_features(verts.double() + 5.0, faces), told, rtol=1e-3, atol=1e-3)
    turned = shape_features(verts[:, [1, 2, 0]], faces)  # a rotation that takes axes to axes
    torch.testing.assert_close(turned[:, :3], told[:, [1, 2, 0]])
    torch.testing.assert_close(turned[:, 3:-4], told[:, 3:-4], rtol=1e-3, atol=1e-4)


def test_many_vertices_are_described_in_parts() -> None:
    verts, faces = box((0.3, 0.1, 0.2), steps=16)
    assert len(verts) > AT_ONCE
    told = shape_features(verts, faces)
    assert torch.isfinite(told).all()
    few = [0, AT_ONCE - 1, AT_ONCE, len(verts) - 1]
    torch.testing.assert_close(told[few], shape_features(verts, faces)[few])


def test_points_without_faces_have_no_shape() -> None:
    for faces in (torch.zeros(0, 3), torch.zeros(4, 2)):
        with pytest.raises(InputError, match="shape needs"):
            shape_features(torch.zeros(3, 3), faces)


def test_a_head_that_is_told_of_shape_hears_it_and_starts_with_what_is_usual() -> None:
    torch.manual_seed(0)
    head, (verts, faces) = ObjectHead(4, 2, 2, shape=True), box((0.3, 0.1, 0.2), 3)
    told, state = object_features(verts, faces), torch.randn(4)
    assert told.shape == (len(verts), PLACE_NUMBERS + SHAPE_NUMBERS)
    head.usual.data[1] = 0.7
    torch.testing.assert_close(head(state, 1, told), torch.full((len(verts),), 0.7))
    torch.nn.init.normal_(head.out.weight)
    other = told.clone()
    other[:, PLACE_NUMBERS:] += 0.5
    assert not torch.equal(head(state, 1, other), head(state, 1, told))
    double, wanted = head.double(), state.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: double(s, 1, told[:5].double()), (wanted,))


def test_a_network_asks_for_faces_only_if_it_is_told_of_shape() -> None:
    verts, faces = box((0.3, 0.1, 0.2), 3)
    plain = InteractVLMNetwork(replace(toy_config(), object_head=2))
    torch.testing.assert_close(plain.object_told(verts, None), place_features(verts))
    network = InteractVLMNetwork(replace(toy_config(), object_head=2, object_shape=True))
    state, lifted = torch.randn(network.config.language.hidden_size), torch.rand(len(verts))
    with torch.no_grad():
        assert network.with_object_head(lifted, state, 1, verts, faces).shape == lifted.shape
        with pytest.raises(InputError, match="faces"):
            network.with_object_head(lifted, state, 1, verts)
