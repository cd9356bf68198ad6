"""The point-cloud encoder beyond the reference's numbers: the slow twin, invariances, training, types and devices."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.retrieval.modeling import point_groups
from hoirecon.retrieval.modeling.config import PointBertConfig
from hoirecon.retrieval.modeling.packed_linear import can_pack
from hoirecon.retrieval.modeling.point_bert import PointBert, build_point_encoder
from hoirecon.retrieval.modeling.point_groups import farthest_points, gather_points, points_in_balls
from tests.retrieval.plain_point_bert import plain_balls, plain_encode, plain_farthest_points
from tests.retrieval.stand_ins import transformer_of

SMALL = PointBertConfig(
    dim=32, depth=2, heads=4, head_dim=8, mlp_dim=48, patch_dim=24, num_patches=12, patch_points=8, radius=0.4,
    embed_dim=20,
)  # fmt: skip


def cloud(batch: int = 1, points: int = 300, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points in the unit ball with colours."""
    random = torch.Generator().manual_seed(seed)
    xyz = torch.randn(batch, points, 3, generator=random)
    xyz = xyz - xyz.mean(1, keepdim=True)
    xyz = xyz / xyz.norm(dim=-1).amax(1)[:, None, None]
    return xyz, torch.cat([xyz, torch.rand(batch, points, 3, generator=random)], -1)


def small(config: PointBertConfig = SMALL) -> Any:
    """A network with normalisation statistics that are not those of the start."""
    torch.manual_seed(0)
    network = build_point_encoder(config)
    network.train()
    network(*cloud(4, seed=9))
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("points", [12, 13, 300])
def test_groups_are_the_slow_twins(points: int, seed: int) -> None:
    xyz, _ = cloud(2, points, seed)
    chosen = farthest_points(xyz, 12, start=seed)
    assert torch.equal(chosen, plain_farthest_points(xyz, 12, start=seed))
    centres = gather_points(xyz, chosen)
    for radius in (0.01, 0.3, 3.0):
        assert torch.equal(points_in_balls(xyz, centres, radius, 8), plain_balls(xyz, centres, radius, 8))


def test_ties_go_to_the_lowest_index() -> None:
    corners = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])[None]
    assert farthest_points(corners, 3).tolist() == [[0, 7, 1]]
    same = torch.ones(1, 5, 3)
    assert farthest_points(same, 4, start=2).tolist() == [[2, 0, 0, 0]]
    assert points_in_balls(same, same[:, 3:4], 0.1, 3).tolist() == [[[0, 1, 2]]]


def test_short_balls_repeat_their_first_point_and_empty_ones_take_the_clouds() -> None:
    xyz = torch.tensor([[[0.0, 0, 0], [5, 0, 0], [5.1, 0, 0]]])
    centres = torch.tensor([[[5.0, 0, 0], [50, 0, 0]]])
    assert points_in_balls(xyz, centres, 1.0, 4).tolist() == [[[1, 2, 1, 1], [0, 0, 0, 0]]]


def test_large_batches_are_worked_off_cloud_by_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    xyz, _ = cloud(3, 100)
    centres = xyz[:, :9].contiguous()
    at_once = points_in_balls(xyz, centres, 0.4, 6)
    monkeypatch.setattr(point_groups, "CELLS", 1)
    assert torch.equal(points_in_balls(xyz, centres, 0.4, 6), at_once)


@pytest.mark.parametrize("changes", [{}, {"embed_dim": None}, {"relative_bias": True}, {"channels": 3}])
def test_the_whole_is_the_slow_twins(changes: dict[str, Any]) -> None:
    config = PointBertConfig(**{**SMALL.__dict__, **changes})
    torch.manual_seed(1)
    network = build_point_encoder(config).eval().requires_grad_(False)
    xyz, features = cloud(2)
    features = features[..., : config.channels]
    expected = plain_encode(network.state_dict(), config, xyz, features, start=5)
    torch.testing.assert_close(network(xyz, features, 5), expected, rtol=1e-5, atol=1e-5)


def test_a_batch_is_its_clouds_and_runs_repeat() -> None:
    network, (xyz, features) = small(), cloud(3)
    together = network(xyz, features)
    assert torch.equal(network(xyz, features), together)
    alone = torch.cat([network(xyz[i : i + 1], features[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_the_order_of_the_points_counts() -> None:
    """A property of the reference that users must know of: patches take the first points of a ball, not the nearest."""
    network, (xyz, features) = small(), cloud()
    order = torch.randperm(300, generator=torch.Generator().manual_seed(3))
    assert not torch.allclose(network(xyz, features), network(xyz[:, order], features[:, order]), atol=1e-5)


def test_float64_and_half_precision() -> None:
    network, (xyz, features) = small(), cloud()
    single = network(xyz, features)
    double = small().double()(xyz.double(), features.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
    half = small().bfloat16()(xyz, features)
    assert half.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(half.float(), single).item() > 0.99


def test_training_uses_the_batchs_statistics_and_gives_gradients_to_all() -> None:
    """Folding must not leak into training: a plain forward with batch statistics, written out, gives the same."""
    torch.manual_seed(2)
    network = build_point_encoder(SMALL).double()
    assert isinstance(network, PointBert)
    xyz, features = (part.double() for part in cloud(3))
    groups = network.ppat.group(xyz)
    members, centres = groups.members, gather_points(xyz, groups.centre_index)
    x = torch.cat([gather_points(xyz, members) - centres[:, :, None], gather_points(features, members)], -1)
    x = x.permute(0, 3, 2, 1)
    for conv, norm in zip(network.ppat.sa.mlp_convs, network.ppat.sa.mlp_bns, strict=True):
        pre = conv(x)
        mean, var = pre.mean((0, 2, 3), keepdim=True), pre.var((0, 2, 3), correction=0, keepdim=True)
        normed = (pre - mean) / (var + norm.eps).sqrt()
        x = (normed * norm.weight[:, None, None] + norm.bias[:, None, None]).relu()  # type: ignore[index]
    ours = network.ppat.sa(xyz, features, centres, members)
    torch.testing.assert_close(ours.transpose(1, 2), x.amax(2))
    network(xyz, features).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for n, p in network.named_parameters())


def test_gradients_of_the_input_agree_with_differences() -> None:
    network, (xyz, features) = small().double(), cloud(1, 60)
    groups = network.ppat.group(xyz.double())

    def tokens(points: Tensor, values: Tensor) -> Tensor:
        given: Tensor = network.ppat.tokens(points, values, groups)[0]
        return given

    inputs = (xyz.double().requires_grad_(), features.double().requires_grad_())
    assert torch.autograd.gradcheck(tokens, inputs, eps=1e-6, atol=1e-5, fast_mode=True)


@pytest.mark.parametrize(
    ("xyz", "features", "start"),
    [
        ((1, 300, 2), (1, 300, 6), 0),
        ((1, 300, 3), (1, 300, 3), 0),
        ((1, 300, 3), (2, 300, 6), 0),
        ((300, 3), (300, 6), 0),
        ((1, 11, 3), (1, 11, 6), 0),
        ((1, 300, 3), (1, 300, 6), 300),
    ],
)
def test_wrong_shapes_are_refused(xyz: tuple[int, ...], features: tuple[int, ...], start: int) -> None:
    with pytest.raises(InputError, match="points"):
        small()(torch.rand(xyz), torch.rand(features), start)


@pytest.mark.parametrize(
    "changes", [{"dim": 0}, {"embed_dim": 0}, {"radius": 0.0}, {"channels": 2}, {"radius": float("nan")}]
)
def test_impossible_sizes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(changes))} is"):
        PointBertConfig(**changes)


def test_the_released_sizes_have_the_known_number_of_parameters() -> None:
    with torch.device("meta"):
        network = build_point_encoder(PointBertConfig())
    assert sum(p.numel() for p in network.parameters()) == 32_326_080
    assert transformer_of(network).config.output_dim == 1280


def test_long_clouds_go_head_by_head_and_give_the_slow_twins_numbers() -> None:
    """Enough tokens for attention through oneDNN, two clouds, all of a batch at once."""
    config = replace(SMALL, num_patches=150, depth=3)
    torch.manual_seed(4)
    network = build_point_encoder(config).eval().requires_grad_(False)
    xyz, features = cloud(2, 400)
    expected = plain_encode(network.state_dict(), config, xyz, features)
    torch.testing.assert_close(network(xyz, features), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not can_pack([]), reason="torch was built without oneDNN")
def test_packed_and_plain_passes_agree_and_each_is_taken_where_it_should() -> None:
    network, (xyz, features) = small(replace(SMALL, num_patches=150)), cloud(2, 400)
    transformer = transformer_of(network).transformer
    packed = network(xyz, features)
    assert transformer._packed is not None
    transformer._packed = None
    with torch.backends.mkldnn.flags(enabled=False):
        torch.testing.assert_close(network(xyz, features), packed, rtol=1e-5, atol=1e-5)
    network.requires_grad_(True)
    torch.testing.assert_close(network(xyz, features), packed, rtol=1e-5, atol=1e-5)
    assert network(xyz, features).requires_grad
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        network(xyz, features)
    assert transformer._packed is None


def test_packed_weights_follow_the_parameters_and_are_not_copied() -> None:
    network, (xyz, features) = small(), cloud()
    before = network(xyz, features)
    copied = copy.deepcopy(network)
    assert transformer_of(copied).transformer._packed is None
    with torch.no_grad():
        transformer_of(network).transformer.get_parameter("layers.0.1.fn.net.0.weight").mul_(1.5)
    after = network(xyz, features)
    assert not torch.allclose(after, before, atol=1e-3)
    torch.testing.assert_close(after, plain_encode(network.state_dict(), SMALL, xyz, features), rtol=1e-5, atol=1e-5)
    network.load_state_dict(copied.state_dict())
    assert torch.equal(network(xyz, features), before)
    assert torch.equal(copied(xyz, features), before)


def test_all_clouds_at_once_choose_the_same_farthest_points() -> None:
    """The way of other devices, run here."""
    xyz, _ = cloud(3, 200)
    assert torch.equal(point_groups._farthest_of_all(xyz, 40, 7), farthest_points(xyz, 40, 7))


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    begun = time.process_time()
    call()
    return time.process_time() - begun


@pytest.mark.slow
def test_speed_against_the_slow_twin() -> None:
    """The whole on one cloud, one thread, each pass beside one of the twin.

    The ratio is about 3 (``tools/pointbert_bench.py``); the bound leaves room for a machine busy with other work.
    """
    config = PointBertConfig()
    torch.manual_seed(0)
    network = build_point_encoder(config).eval().requires_grad_(False)
    xyz, features = cloud(1, 10_000)
    state, threads = network.state_dict(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            ours, plain = network(xyz, features), plain_encode(state, config, xyz, features)
            torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)
            passes = lambda: network(xyz, features), lambda: plain_encode(state, config, xyz, features)
            taken = [[seconds(each) for each in passes] for _ in range(9)]
    finally:
        torch.set_num_threads(threads)
    fast, slow = (statistics.median(column) for column in zip(*taken, strict=True))
    assert slow > 2.5 * fast
