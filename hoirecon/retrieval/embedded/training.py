"""Training: pictures against the gallery's views, siblings as hard negatives; then points against pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hoirecon.arrays import IntArray
from hoirecon.retrieval.embedded.augment import AugmentConfig, Augmenter
from hoirecon.retrieval.embedded.dataset import TRAINING_SEED, Int8Array, TrainingSet
from hoirecon.retrieval.embedded.network import POINT_NET, ViewNet, ViewNetConfig
from hoirecon.retrieval.modeling.config import PointBertConfig
from hoirecon.retrieval.modeling.point_bert import build_point_encoder

Rng = np.random.Generator


@dataclass(frozen=True)
class TrainConfig:
    """How both networks are trained."""

    view_steps: int = 6000
    """Steps of the network of pictures."""
    point_steps: int = 1200
    """Steps of the network of points, towards the pictures' embeddings, which then stand still."""
    groups: int = 8
    """Categories in a batch, each once."""
    siblings: int = 6
    """Shapes of each: the hard negatives of one another. Every category must have as many."""
    views: int = 2
    """Views of each shape in a batch: a random one and the gallery's nearest to it."""
    lr: float = 2e-3
    """Highest rate of AdamW; it rises over the first steps and falls as a cosine."""
    weight_decay: float = 0.02
    """Of AdamW."""
    temperature: float = 0.06
    """Of the softmax over a batch's gallery."""
    sibling_share: float = 0.15
    """Part of the target that goes to the same view of siblings: a wrong answer should be one of the right kind."""
    normals: float = 0.3
    """How often a batch has normals beside its masks."""
    seed: int = TRAINING_SEED
    """Of weights, batches and augmentations."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What is done to the random views."""
    view_net: ViewNetConfig = field(default_factory=ViewNetConfig)
    """Sizes of the network of pictures."""
    point_net: PointBertConfig = POINT_NET
    """Sizes of the network of points."""


@dataclass(frozen=True)
class Batch:
    """Shapes of one step, group by group, and which of their views."""

    shapes: IntArray
    """(B,) numbers of shapes."""
    slots: IntArray
    """(B, V) which random views; siblings have the same."""


class Log:
    """Learning curves: a line of JSON for every hundred steps, with the means over them.

    Args:
        path: file that lines are added to; None prints only.
    """

    EVERY = 100

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._sums = np.zeros(2)

    def step(self, stage: str, step: int, loss: Tensor, right: float) -> None:
        """Add a step's loss and the part of its queries that found their own shape."""
        self._sums += float(loss.detach()), right
        if step % self.EVERY != self.EVERY - 1:
            return
        loss_mean, right_mean = (float(value) for value in (self._sums / self.EVERY).round(4))
        self._sums[:] = 0
        line = json.dumps({"stage": stage, "step": step + 1, "loss": loss_mean, "right": round(right_mean, 4)})
        print(line, flush=True)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as handle:
                handle.write(line + "\n")


def train_views(data: TrainingSet, config: TrainConfig, log: Log, checkpoint: Path | None = None) -> ViewNet:
    """The network of pictures, trained; deterministic for a seed on one thread."""
    torch.manual_seed(config.seed)
    net = ViewNet(config.view_net)
    rng = np.random.default_rng([config.seed, 3])
    augmenter = Augmenter(config.view_net.size, config.seed, config.augment)
    average = _averaged(net)
    for step, optimiser in _steps(net, config.view_steps, config):
        batch = draw_batch(data.categories, data.queries.shape[1], config, rng)
        queries, gallery = batch_pictures(data, batch, augmenter, rng, with_normals=rng.random() < config.normals)
        with torch.autocast("cpu", torch.bfloat16):
            embedded = net(torch.from_numpy(np.concatenate([queries, gallery])))
        queried, kept = embedded.float().chunk(2)
        loss, right = contrastive_loss(queried, kept, data.categories[batch.shapes], config)
        _descend(optimiser, loss)
        average.update_parameters(net)
        log.step("views", step, loss, right)
        if checkpoint is not None and step % 500 == 499:
            torch.save(average.module.state_dict(), checkpoint)
    return cast(ViewNet, average.module.eval())


def draw_batch(categories: IntArray, slots: int, config: TrainConfig, rng: Rng) -> Batch:
    """Groups of siblings; categories come as often as the square root of their shapes."""
    names, counts = np.unique(categories, return_counts=True)
    chance = np.sqrt(counts) / np.sqrt(counts).sum()
    shapes, views = [], []
    for name in rng.choice(names, size=config.groups, replace=False, p=chance):
        members = np.flatnonzero(categories == name)
        shapes.append(rng.permutation(members)[: config.siblings])
        views.append(np.tile(rng.permutation(slots)[: config.views], (len(shapes[-1]), 1)))
    return Batch(np.concatenate(shapes), np.concatenate(views))


def batch_pictures(
    data: TrainingSet, batch: Batch, augmenter: Augmenter, rng: Rng, with_normals: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Pictures (B * V, 4, S, S) of the queries, changed at random, and of the gallery's views nearest to them."""
    rows = batch.shapes[:, None]
    queries = as_floats(data.queries[rows, batch.slots]).reshape(-1, *data.queries.shape[2:])
    gallery = as_floats(data.gallery[rows, data.query_view[rows, batch.slots]]).reshape(queries.shape)
    both = [augmenter(queries, rng), gallery]
    for pictures in both:
        if not with_normals:
            pictures[..., 1:] = 0
    return both[0].transpose(0, 3, 1, 2), both[1].transpose(0, 3, 1, 2)


def as_floats(pictures: Int8Array) -> npt.NDArray[np.float32]:
    """Stored pictures as 0..1 and -1..1."""
    return pictures.astype(np.float32) / np.float32(127)


def contrastive_loss(queries: Tensor, gallery: Tensor, groups: IntArray, config: TrainConfig) -> tuple[Tensor, float]:
    """Cross entropy of each query over the batch's gallery, and how often the right shape comes first.

    Rows are shape by shape, a shape's views beside each other. Other views of the query's own shape do not count. The
    target is the query's own view, with a small share for siblings' same view, where the shape has siblings.

    Args:
        queries: (B * V, D) unit vectors.
        gallery: (B * V, D) of the views that they should find.
        groups: (B,) category of each shape; those of one are siblings, however many there are.
        config: views of a shape, temperature, share of the siblings.
    """
    count, views = len(queries), config.views
    shape = torch.arange(count) // views
    slot = torch.arange(count) % views
    group = torch.from_numpy(np.asarray(groups, dtype=np.int64))[shape]
    own = torch.eye(count, dtype=torch.bool)
    same_shape = shape[:, None] == shape
    sibling = (group[:, None] == group) & ~same_shape & (slot[:, None] == slot)
    logits = (queries @ gallery.T / config.temperature).masked_fill(same_shape & ~own, -torch.inf)
    share = config.sibling_share * sibling / sibling.sum(1, keepdim=True).clamp_min(1)
    target = own * (1 - share.sum(1, keepdim=True)) + share
    logs = F.log_softmax(logits, 1).masked_fill(same_shape & ~own, 0)
    right = (logits.argmax(1) == torch.arange(count)).float().mean()
    return -(target * logs).sum(1).mean(), float(right)


def train_points(data: TrainingSet, net: ViewNet, config: TrainConfig, log: Log) -> nn.Module:
    """The network of points, trained by InfoNCE towards the mean of two views of its shape: masks, as users have."""
    torch.manual_seed(config.seed + 1)
    points = build_point_encoder(config.point_net)
    rng = np.random.default_rng([config.seed, 4])
    views = embedded_views(data.gallery, net)
    average = _averaged(points)
    for step, optimiser in _steps(points, config.point_steps, config):
        batch = draw_batch(data.categories, data.queries.shape[1], config, rng)
        xyz = torch.from_numpy(_shaken(data.clouds[batch.shapes], rng))
        made = F.normalize(points(xyz, xyz), dim=1)
        some = views[torch.from_numpy(batch.shapes)][:, torch.from_numpy(rng.permutation(views.shape[1])[:4])]
        logits = torch.einsum("bd,cvd->bvc", made, some) / config.temperature
        target = torch.arange(len(made))
        forward = F.cross_entropy(
            logits.transpose(1, 2).reshape(len(made), len(made), -1), target[:, None].expand(-1, 4)
        )
        back = F.cross_entropy(
            torch.einsum("bvd,cd->bcv", some, made) / config.temperature, target[:, None].expand(-1, 4)
        )
        _descend(optimiser, (forward + back) / 2)
        average.update_parameters(points)
        right = float((logits.mean(1).argmax(1) == target).float().mean())
        log.step("points", step, (forward + back) / 2, right)
    return average.module.eval()


def embedded_views(pictures: Int8Array, net: ViewNet, with_normals: bool = False) -> Tensor:
    """(N, V, D) embeddings of stored pictures (N, V, S, S, 4), shape by shape."""
    rows = []
    for shape in pictures:
        given = as_floats(shape).transpose(0, 3, 1, 2).copy()
        if not with_normals:
            given[:, 1:] = 0
        with torch.inference_mode():
            rows.append(net(torch.from_numpy(given)))
    return torch.stack(rows).clone()


def _shaken(clouds: npt.NDArray[np.float16], rng: Rng) -> npt.NDArray[np.float32]:
    """Clouds (B, P, 3) with their points in another order, a little moved and stretched."""
    order = rng.permutation(clouds.shape[1])
    moved = clouds[:, order].astype(np.float32)
    moved *= rng.uniform(0.95, 1.05, (len(clouds), 1, 3)).astype(np.float32)
    noise: npt.NDArray[np.float32] = rng.normal(0, 0.005, moved.shape).astype(np.float32)
    return moved + noise


def _averaged(net: nn.Module) -> torch.optim.swa_utils.AveragedModel:
    """Keeps the running mean of a network's weights; in the first steps a short one, so that toys average too."""

    def mixed(mean: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        keep = min(0.995, (1 + int(count)) / (10 + int(count)))
        return (mean + (1 - keep) * (new - mean)).to(mean.dtype)

    return torch.optim.swa_utils.AveragedModel(net, avg_fn=mixed, use_buffers=True)


def _steps(net: nn.Module, count: int, config: TrainConfig) -> Iterator[tuple[int, torch.optim.Optimizer]]:
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    warm = max(min(200, count // 10), 1)
    for step in range(count):
        rate = min((step + 1) / warm, 0.5 * (1 + np.cos(np.pi * step / count)))
        for group in optimiser.param_groups:
            group["lr"] = config.lr * rate
        net.train()
        yield step, optimiser


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimiser.step()
