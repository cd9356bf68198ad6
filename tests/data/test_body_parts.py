"""Named parts and landmarks: of the free body, and carried over to a body that has none of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.data.body import BodyModel, Landmarks, body_landmarks, load_body, mirror_verts
from hoirecon.data.body.landmarks import LAYOUTS
from hoirecon.data.body.skeleton import joint_index, mirror_name
from hoirecon.data.body.transfer import nearest_on_other
from hoirecon.errors import InputError


@dataclass(frozen=True)
class Stranger:
    """The free body as another model file would hold it: another mesh, another build, no names."""

    model: BodyModel
    ends: IntArray
    """(V, 2) the free body's vertices that each vertex lies between."""


def midpoint_model(free: BodyModel, seed: int = 0) -> Stranger:
    """A mesh on the middles of the free body's edges (no vertex shared), in random order, of another person."""
    edges = np.concatenate([free.faces[:, [0, 1]], free.faces[:, [1, 2]], free.faces[:, [2, 0]]])
    keys, index = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    ab, bc, ca = index.reshape(3, -1)
    order = np.random.default_rng(seed).permutation(len(keys))
    ends, place = keys[order], np.argsort(order)
    betas = torch.tensor([1.5, -1.0, 1.0, 0.5], dtype=free.dtype)
    shaped = free.v_template + free.shapedirs[..., :4] @ betas
    scale = torch.tensor([1.1, 0.95, 1.15], dtype=free.dtype)  # broader, shorter, deeper

    def middle(values: torch.Tensor) -> torch.Tensor:
        return values[torch.tensor(ends)].mean(1)

    joints = (free.joint_template + free.joint_shapedirs[..., :4] @ betas) * scale
    model = replace(
        free,
        topology="stranger",
        faces=place[np.stack([ab, bc, ca], axis=1)],
        v_template=middle(shaped) * scale,
        shapedirs=middle(free.shapedirs),
        posedirs=None if free.posedirs is None else middle(free.posedirs),
        weights=middle(free.weights),
        joint_template=joints,
        annotations=None,
    )
    return Stranger(model, ends)


@pytest.fixture(scope="module")
def free() -> BodyModel:
    return load_body(dtype=torch.float64)


@pytest.fixture(scope="module")
def stranger(free: BodyModel) -> Stranger:
    return midpoint_model(free)


# ---------------------------------------------------------------------------------------------------------- parts


def test_every_vertex_has_one_part_and_every_part_vertices(free: BodyModel) -> None:
    parts = free.parts
    assert len(parts.names) >= 30
    counts = [len(parts.verts_of(name)) for name in parts.names]
    assert min(counts) > 0
    assert sum(counts) == free.num_verts


def test_groups_are_the_union_of_their_parts(free: BodyModel) -> None:
    parts = free.parts
    hand = ["palm", "hand_back", "thumb", "index_finger", "middle_finger", "ring_finger", "pinky_finger"]
    expected = np.sort(np.concatenate([parts.verts_of(f"left_{name}") for name in hand]))
    np.testing.assert_array_equal(parts.verts_of("left_hand"), expected)
    both = np.union1d(parts.verts_of("left_hand"), parts.verts_of("right_hand"))
    for name in ("both_hand", "both_hands"):
        np.testing.assert_array_equal(parts.verts_of(name), both)
    np.testing.assert_array_equal(parts.verts_of("left_hand", "right_hand"), both)
    assert len(parts.verts_of("both_feet")) == 2 * len(parts.verts_of("left_foot"))
    np.testing.assert_array_equal(np.flatnonzero(parts.mask_of("back")), parts.verts_of("upper_back", "lower_back"))


def test_an_unknown_part_gets_the_nearest_names(free: BodyModel) -> None:
    with pytest.raises(InputError, match="left_palm"):
        free.parts.verts_of("left_plam")
    with pytest.raises(InputError, match="no body part"):
        free.parts.verts_of("both_heads")


@pytest.mark.parametrize("side", ["left", "right"])
def test_parts_lie_where_their_names_say(free: BodyModel, side: str) -> None:
    verts, outward = free.rest_verts, 1.0 if side == "left" else -1.0

    def centre(name: str) -> FloatArray:
        middle: FloatArray = verts[free.parts.verts_of(name)].mean(0)
        return middle

    wrist = free.joint_template[joint_index(f"{side}_wrist")].numpy()
    assert (centre(f"{side}_palm") - wrist)[0] * outward > 0
    assert centre(f"{side}_palm")[1] < centre(f"{side}_hand_back")[1]  # T-pose: palms look down
    assert centre(f"{side}_buttock")[2] < centre("belly")[2]  # +z is the front
    assert centre(f"{side}_sole")[1] < centre(f"{side}_foot_top")[1]
    assert centre(f"{side}_toes")[2] > centre(f"{side}_sole")[2]
    assert centre(f"{side}_thigh_front")[2] > centre(f"{side}_thigh_back")[2]


# ------------------------------------------------------------------------------------------------------ landmarks


@pytest.mark.parametrize("layout", LAYOUTS)
def test_landmarks_are_symmetric_and_near_their_joints(free: BodyModel, layout: str) -> None:
    landmarks = body_landmarks(free, layout)
    points = regress(landmarks, free)
    np.testing.assert_allclose(landmarks.w.sum(1), 1, atol=1e-12)
    for name, point in zip(landmarks.names, points, strict=True):
        other = points[landmarks.names.index(mirror_name(name))]
        np.testing.assert_allclose(other, point * [-1, 1, 1], atol=2e-3, err_msg=name)
    for name in ("left_elbow", "right_wrist", "left_knee", "right_ankle"):
        joint = free.joint_template[joint_index(name)].numpy()
        assert np.linalg.norm(points[landmarks.names.index(name)] - joint) < 0.05


def test_take_picks_landmarks_by_name(free: BodyModel) -> None:
    landmarks = body_landmarks(free, "coco17").take(["right_wrist", "nose"])
    assert landmarks.names == ("right_wrist", "nose")
    assert landmarks.idx.shape[0] == 2
    with pytest.raises(InputError, match="left_wing"):
        landmarks.take(["left_wing"])


def test_unknown_layout_is_refused(free: BodyModel) -> None:
    with pytest.raises(InputError, match="blazepose33, coco17"):
        body_landmarks(free, "openpose25")


def regress(landmarks: Landmarks, model: BodyModel) -> FloatArray:
    points: FloatArray = (model.rest_verts[landmarks.idx] * landmarks.w[..., None]).sum(1)
    return points


# --------------------------------------------------------------------------------------------- carried to others


def test_parts_carried_to_another_mesh_agree(free: BodyModel, stranger: Stranger) -> None:
    parts, own = stranger.model.parts, free.parts
    assert parts.approximate
    assert not own.approximate
    assert parts.names == own.names
    inner = own.ids[stranger.ends[:, 0]] == own.ids[stranger.ends[:, 1]]  # the rest lies on a border, either is right
    agree = parts.ids == own.ids[stranger.ends[:, 0]]
    assert agree[inner].mean() > 0.97
    hands = np.isin(own.ids[stranger.ends[:, 0]], own.ids[own.verts_of("both_hands")])
    assert agree[inner & hands].mean() > 0.97
    sides = np.array([name.split("_")[0] for name in own.names])
    true_side, side = sides[own.ids[stranger.ends[:, 0]]], sides[parts.ids]
    assert not ((true_side == "left") & (side == "right")).any()


def test_palm_and_back_of_the_hand_stay_apart_where_hands_rest_otherwise(free: BodyModel, stranger: Stranger) -> None:
    """Another model's hands need not rest flat: wrists turned by 0.2 rad, fingers curled by 0.1 rad."""
    wrists, fingers = torch.zeros(1, 21, 3, dtype=free.dtype), torch.zeros(1, 15, 3, dtype=free.dtype)
    wrists[0, 19, 2], wrists[0, 20, 2], fingers[..., 2] = 0.2, -0.2, -0.1
    rest = stranger.model.forward(None, None, wrists, fingers, -fingers).verts[0]
    parts, own = replace(stranger.model, v_template=rest).parts, free.parts
    true = own.ids[stranger.ends]
    hand = [own.names.index(f"{side}_{part}") for side in ("left", "right") for part in ("palm", "hand_back")]
    inner = np.isin(true[:, 0], hand) & (true[:, 0] == true[:, 1])
    assert (parts.ids[inner] == true[inner, 0]).mean() > 0.97  # 0.88 if normals did not count


@pytest.mark.parametrize("layout", LAYOUTS)
def test_landmarks_carried_to_another_mesh_agree(free: BodyModel, stranger: Stranger, layout: str) -> None:
    carried, own = body_landmarks(stranger.model, layout), body_landmarks(free, layout)
    betas = torch.tensor([1.5, -1.0, 1.0, 0.5], dtype=free.dtype)
    shaped = (free.v_template + free.shapedirs[..., :4] @ betas).numpy() * [1.1, 0.95, 1.15]
    true = (shaped[own.idx] * own.w[..., None]).sum(1)
    error = np.linalg.norm(regress(carried, stranger.model) - true, axis=1)
    assert np.median(error) < 5e-3
    assert error.max() < 2e-2


def test_carrying_to_itself_is_the_identity(free: BodyModel) -> None:
    twin = replace(free, annotations=None)
    np.testing.assert_array_equal(nearest_on_other(free, twin), np.arange(free.num_verts))


def test_a_segment_that_hardly_exists_is_looked_up_everywhere(body_file: Callable[..., Path]) -> None:
    """A file of random weights has segments without a counterpart; the map must still be total."""
    model = load_body(body_file())
    assert model.parts.ids.shape == (300,)
    assert body_landmarks(model, "coco17").idx.max() < 300
    assert mirror_verts(model).max() < 300
