"""The encoder said plainly, from the description alone: the slow twin that ours is held against and timed against.

Nothing is shared with ours but the names of the weights, which come as a table. It follows the formulas as a first
implementation would: the definition's loop for farthest points, all distances and a sort for balls, every point of
every patch through each layer, normalisation unfolded, softmax(q k) v over whole matrices.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hoirecon.retrieval.modeling.config import PointBertConfig

State = Mapping[str, Tensor]


def plain_farthest_points(xyz: Tensor, count: int, start: int = 0) -> Tensor:
    """(B, count) indices, as a loop over the definition."""
    clouds = len(xyz)
    chosen = torch.zeros(clouds, count, dtype=torch.int64)
    distance = torch.full(xyz.shape[:2], 1e10)
    last = torch.full((clouds,), start, dtype=torch.int64)
    batch = torch.arange(clouds)
    for i in range(count):
        chosen[:, i] = last
        centre = xyz[batch, last][:, None]
        new = torch.sum((xyz - centre) ** 2, -1)
        distance = torch.where(new < distance, new, distance)
        last = torch.max(distance, -1)[1]
    return chosen


def plain_balls(xyz: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """(B, P, count) indices: outsiders get the index N, and sorting moves them to the end."""
    clouds, number, _ = xyz.shape
    squared = -2 * torch.matmul(centres, xyz.permute(0, 2, 1))
    squared = squared + torch.sum(centres**2, -1)[:, :, None] + torch.sum(xyz**2, -1)[:, None, :]
    index = torch.arange(number).repeat(clouds, centres.shape[1], 1)
    index[squared > radius**2] = number
    index = index.sort(dim=-1)[0][:, :, :count]
    first = index[:, :, :1].repeat(1, 1, count)
    return torch.where(index == number, first, index)


def plain_patches(state: State, xyz: Tensor, features: Tensor, centre_index: Tensor, members: Tensor) -> Tensor:
    """(B, patch_dim, P) features of the patches."""
    batch = torch.arange(len(xyz))[:, None]
    centres = xyz[batch, centre_index]
    grouped = torch.cat([
        xyz[batch[..., None], members] - centres[:, :, None],
        features[batch[..., None], members],
    ], -1).permute(0, 3, 2, 1)  # fmt: skip  # (B, C, K, P)
    for i in range(3):
        grouped = torch.nn.functional.conv2d(
            grouped, state[f"sa.mlp_convs.{i}.weight"], state[f"sa.mlp_convs.{i}.bias"]
        )
        norm = f"sa.mlp_bns.{i}."
        shape = (1, -1, 1, 1)
        grouped = (grouped - state[norm + "running_mean"].view(shape)) / torch.sqrt(
            state[norm + "running_var"].view(shape) + 1e-5
        )
        grouped = torch.relu(grouped * state[norm + "weight"].view(shape) + state[norm + "bias"].view(shape))
    return grouped.max(2)[0]


def plain_norm(values: Tensor, state: State, name: str) -> Tensor:
    """Layer normalisation."""
    centred = values - values.mean(-1, keepdim=True)
    return (
        centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5) * state[f"{name}.weight"]
        + state[f"{name}.bias"]
    )


def plain_attention(x: Tensor, state: State, name: str, heads: int, centres: Tensor) -> Tensor:
    """Attention of all tokens to all tokens."""
    qkv = x @ state[f"{name}.to_qkv.weight"].T
    q, k, v = (part.view(*x.shape[:2], heads, -1).transpose(1, 2) for part in qkv.chunk(3, -1))
    logits = q @ k.transpose(-1, -2)
    if f"{name}.pe.0.weight" in state:
        places = torch.cat([torch.zeros(len(x), 1, 3), centres], 1)
        offsets = places[:, :, None] - places[:, None]
        hidden = torch.relu(offsets @ state[f"{name}.pe.0.weight"][:, :, 0, 0].T + state[f"{name}.pe.0.bias"])
        logits = logits + (hidden @ state[f"{name}.pe.2.weight"][0, :, 0, 0] + state[f"{name}.pe.2.bias"])[:, None]
    logits = logits * (q.shape[-1] ** -0.5)
    mixed = (torch.softmax(logits, -1) @ v).transpose(1, 2).reshape(*x.shape[:2], -1)
    return mixed @ state[f"{name}.to_out.0.weight"].T + state[f"{name}.to_out.0.bias"]


def plain_encode(full: State, config: PointBertConfig, xyz: Tensor, features: Tensor, start: int = 0) -> Tensor:
    """(B, embed_dim) embeddings by the weights of a projected or bare encoder."""
    state = {key.removeprefix("ppat."): value for key, value in full.items()}
    centre_index = plain_farthest_points(xyz, config.num_patches, start)
    centres = xyz[torch.arange(len(xyz))[:, None], centre_index]
    members = plain_balls(xyz, centres, config.radius, config.patch_points)
    patches = plain_patches(state, xyz, features, centre_index, members)
    lifted = torch.cat([centres.transpose(1, 2), patches], 1)
    lifted = torch.nn.functional.conv1d(lifted, state["lift.0.weight"], state["lift.0.bias"]).transpose(1, 2)
    x = plain_norm(lifted, state, "lift.2")
    x = torch.cat([state["cls_token"].repeat(len(x), 1, 1), x], 1)
    for i in range(config.depth):
        layer = f"transformer.layers.{i}"
        normed = plain_norm(x, state, f"{layer}.0.norm")
        x = x + plain_attention(normed, state, f"{layer}.0.fn", config.heads, centres)
        hidden = plain_norm(x, state, f"{layer}.1.norm") @ state[f"{layer}.1.fn.net.0.weight"].T
        hidden = hidden + state[f"{layer}.1.fn.net.0.bias"]
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        x = x + hidden @ state[f"{layer}.1.fn.net.3.weight"].T + state[f"{layer}.1.fn.net.3.bias"]
    out = x[:, 0]
    return out @ full["proj.weight"].T + full["proj.bias"] if "proj.weight" in full else out
