"""Speed of the point-cloud encoder against its plain re-statement, step by step; docs/retrieval.md has the figures.

CPU seconds of one thread, medians; every pass of ours stands beside one of each other, so that a busy machine slows all
alike. "torch's layers" is the re-statement with torch's own normalisations and GELU in place of formulas written out.

Usage: OMP_NUM_THREADS=1 python -m tools.pointbert_bench [--passes 9]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor
from torch.nn import functional as F

from hoirecon.retrieval.modeling import packed_linear
from hoirecon.retrieval.modeling.config import PointBertConfig
from hoirecon.retrieval.modeling.point_bert import PointBert
from hoirecon.retrieval.modeling.point_groups import farthest_points, gather_points, points_in_balls
from tests.retrieval import plain_point_bert as plain


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    passes: int = 9
    """Passes of each, one after the other in turn."""
    points: int = 10_000
    """Points of the cloud."""
    seed: int = 0
    """Of the cloud and of the network's weights."""


def main(options: Options) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    config = PointBertConfig()
    network = PointBert(config).eval().requires_grad_(False)
    xyz = torch.randn(1, options.points, 3)
    xyz = xyz - xyz.mean(1, keepdim=True)
    xyz = xyz / xyz.norm(dim=-1).amax()
    features = torch.cat([xyz, torch.rand_like(xyz)], -1)
    with torch.inference_mode():
        print_products(config, options.passes)
        print_steps(network, xyz, features, options.passes)
        print_whole(network, xyz, features, options.passes)


def print_whole(network: PointBert, xyz: Tensor, features: Tensor, passes: int) -> None:
    """The whole of ours, of the re-statement, and of the re-statement by torch's layers."""
    state, config = network.state_dict(), network.config
    ways: list[Callable[[], Tensor]] = [
        lambda: network(xyz, features),
        lambda: plain.plain_encode(state, config, xyz, features),
        lambda: by_torchs_layers(state, config, xyz, features),
    ]
    ours, *others = [way() for way in ways]
    taken = interleaved(ways, passes)
    fast, *slow = (statistics.median(each) for each in taken)
    print(f"whole: ours {1e3 * fast:.0f} ms")
    for name, other, its, middle in zip(("plain", "torch's layers"), others, taken[1:], slow, strict=True):
        ratios = sorted(b / a for a, b in zip(taken[0], its, strict=True))
        print(f"  {name} {1e3 * middle:.0f} ms, ratio {middle / fast:.2f} (pass by pass {ratios[0]:.2f} to "
              f"{ratios[-1]:.2f}); largest difference {float((ours - other).abs().max()):.1e}")  # fmt: skip


def print_steps(network: PointBert, xyz: Tensor, features: Tensor, passes: int) -> None:
    """Each step of ours beside the re-statement's."""
    ppat, config = network.ppat, network.config
    state = {key.removeprefix("ppat."): value for key, value in network.state_dict().items()}
    groups = ppat.group(xyz)
    chosen, members = groups.centre_index, groups.members
    centres, tokens = gather_points(xyz, chosen), torch.randn(1, config.num_patches + 1, config.dim)
    ball = config.radius, config.patch_points
    steps: dict[str, list[Callable[[], object]]] = {
        "farthest points": [
            lambda: farthest_points(xyz, config.num_patches),
            lambda: plain.plain_farthest_points(xyz, config.num_patches),
        ],
        "balls": [lambda: points_in_balls(xyz, centres, *ball), lambda: plain.plain_balls(xyz, centres, *ball)],
        "patch network": [
            lambda: ppat.sa(xyz, features, centres, members),
            lambda: plain.plain_patches(state, xyz, features, chosen, members),
        ],
        "transformer": [
            lambda: ppat.transformer(tokens, only_first=True),
            lambda: plain_blocks(state, config, tokens, centres),
        ],
    }
    for name, ways in steps.items():
        ours, its = (statistics.median(each) for each in interleaved(ways, passes))
        print(f"{name}: ours {1e3 * ours:.1f} ms, plain {1e3 * its:.1f} ms, ratio {its / ours:.1f}")
    distinct = sum(len(set(row)) for row in members[0].tolist())
    print(f"repeated points of patches: {1 - distinct / members.numel():.2f}")


def print_products(config: PointBertConfig, passes: int) -> None:
    """Rates of the transformer's matrix products, each way, and what they cost at the least."""
    rows, weights = config.num_patches + 1, config.dim * (4 * config.dim + 2 * config.mlp_dim)
    whole = 2 * rows * weights * config.depth / 1e9
    attention = 4 * rows * rows * config.dim * config.depth / 1e9
    needed = (whole + attention) * (config.depth - 1) / config.depth
    values, weight = torch.randn(rows, config.dim), torch.randn(config.mlp_dim, config.dim)
    large = torch.randn(2048, 2048)
    flop = [2 * rows * weight.numel() / 1e9] * 2 + [2 * 2048**3 / 1e9] * 2
    ways = [
        lambda: F.linear(values, weight),
        packed(values, weight),
        lambda: F.linear(large, large),
        packed(large, large),
    ]
    rates = [count / statistics.median(each) for count, each in zip(flop, interleaved(ways, passes), strict=True)]
    print(f"products: {whole + attention:.1f} GFLOP in the re-statement, {needed:.1f} here (all but the last block)")
    print(f"  {rows} x {config.dim} x {config.mlp_dim}: torch {rates[0]:.0f} GFLOP/s, packed {rates[1]:.0f}; "
          f"2048 x 2048 x 2048: {rates[2]:.0f}, {rates[3]:.0f}")  # fmt: skip
    print(f"  at least {1e3 * needed / rates[3]:.0f} ms at the highest rate")


def packed(values: Tensor, weight: Tensor) -> Callable[[], Tensor]:
    """The product by oneDNN where it can be had, else torch's."""
    if not packed_linear.can_pack([values, weight]):
        return lambda: F.linear(values, weight)
    layer = packed_linear.PackedLinear.pack(weight, None, len(values))
    return lambda: layer(values)


def plain_blocks(state: plain.State, config: PointBertConfig, x: Tensor, centres: Tensor) -> Tensor:
    """The re-statement's transformer alone."""
    for i in range(config.depth):
        layer = f"transformer.layers.{i}"
        normed = plain.plain_norm(x, state, f"{layer}.0.norm")
        x = x + plain.plain_attention(normed, state, f"{layer}.0.fn", config.heads, centres)
        hidden = plain.plain_norm(x, state, f"{layer}.1.norm") @ state[f"{layer}.1.fn.net.0.weight"].T
        hidden = hidden + state[f"{layer}.1.fn.net.0.bias"]
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        x = x + hidden @ state[f"{layer}.1.fn.net.3.weight"].T + state[f"{layer}.1.fn.net.3.bias"]
    return x


def by_torchs_layers(state: plain.State, config: PointBertConfig, xyz: Tensor, features: Tensor) -> Tensor:
    """The re-statement with ``F.layer_norm``, ``F.batch_norm``, ``F.gelu`` and ``F.linear``: no other change."""
    bare = {key.removeprefix("ppat."): value for key, value in state.items()}
    chosen = plain.plain_farthest_points(xyz, config.num_patches)
    centres = gather_points(xyz, chosen)
    members = plain.plain_balls(xyz, centres, config.radius, config.patch_points)
    grouped = torch.cat([gather_points(xyz, members) - centres[:, :, None], gather_points(features, members)], -1)
    grouped = grouped.permute(0, 3, 2, 1)
    for i in range(3):
        conv, norm = f"sa.mlp_convs.{i}", f"sa.mlp_bns.{i}"
        grouped = F.conv2d(grouped, bare[f"{conv}.weight"], bare[f"{conv}.bias"])
        running = bare[f"{norm}.running_mean"], bare[f"{norm}.running_var"]
        grouped = F.relu(F.batch_norm(grouped, *running, bare[f"{norm}.weight"], bare[f"{norm}.bias"]))
    lifted = torch.cat([centres.transpose(1, 2), grouped.max(2)[0]], 1)
    lifted = F.conv1d(lifted, bare["lift.0.weight"], bare["lift.0.bias"]).transpose(1, 2)
    x = torch.cat([bare["cls_token"].repeat(len(xyz), 1, 1), _norm(lifted, bare, "lift.2")], 1)
    for i in range(config.depth):
        layer = f"transformer.layers.{i}"
        normed = _norm(x, bare, f"{layer}.0.norm")
        x = x + plain.plain_attention(normed, bare, f"{layer}.0.fn", config.heads, centres)
        hidden = F.gelu(_linear(_norm(x, bare, f"{layer}.1.norm"), bare, f"{layer}.1.fn.net.0"))
        x = x + _linear(hidden, bare, f"{layer}.1.fn.net.3")
    return _linear(x[:, 0], state, "proj")


def interleaved(ways: Sequence[Callable[[], object]], passes: int) -> list[list[float]]:
    """CPU seconds of each way, one pass of each in turn, after a first that does not count."""
    for way in ways:
        way()
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(passes):
        for way, its in zip(ways, taken, strict=True):
            begun = time.process_time()
            way()
            its.append(time.process_time() - begun)
    return taken


def _norm(values: Tensor, state: plain.State, name: str) -> Tensor:
    return F.layer_norm(values, values.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def _linear(values: Tensor, state: plain.State, name: str) -> Tensor:
    return F.linear(values, state[f"{name}.weight"], state[f"{name}.bias"])


if __name__ == "__main__":
    main(tyro.cli(Options))
