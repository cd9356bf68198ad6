"""A step of the small model's training: many questions on the body at a time, everything computed once.

:mod:`hoirecon.contact.training.step` takes any mix of samples one by one, as the large models need it. Here all
questions are of one kind and about one body, so that its views are encoded once a step, the words before the picture
are read once for the whole batch, and all masks are decoded together. The network's parameters are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoirecon.contact.inference.gallery import Gallery, Subject
from hoirecon.contact.inference.generation import FirstReading
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.modeling.sam_encoder import prepare_images
from hoirecon.contact.modeling.vlm import VLM
from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.contact.training.contact_losses import token_loss
from hoirecon.errors import InputError

NEAR_M = 0.02
"""Added to distances before their logarithm is learned, metres."""


@dataclass(frozen=True, eq=False)
class BodyViews:
    """The body as MV-Loc sees it, and where its vertices are in the masks."""

    pictures: Tensor
    """(V, 3, S, S) RGB in 0..255, as large as the encoder takes them."""
    cameras: Tensor
    """(V, 5) normalised."""
    places: Tensor
    """(V, N, 2) each vertex's place in each view, -1..1, x to the right, y down."""
    seen: Tensor
    """(V, N) 1 where a view shows the vertex."""

    @classmethod
    def of(cls, gallery: Gallery, body: Subject) -> BodyViews:
        """From the estimator's own gallery, so that training and use see the same."""
        maps, cameras = gallery.rendered(body).maps, gallery.cameras(body)
        assert isinstance(maps, PixelMaps)
        assert cameras is not None
        places, seen = vertex_places(maps)
        return cls(gallery.pictures(body), cameras, places, seen)


def vertex_places(maps: PixelMaps) -> tuple[Tensor, Tensor]:
    """Where each vertex lies in each view: the weighted mean of the pixels that speak to it.

    Returns:
        (V, N, 2) in -1..1, and (V, N) 1 where a view shows the vertex.
    """
    views, height, width, _ = maps.verts.shape
    ids, weights = torch.as_tensor(maps.verts).long(), torch.as_tensor(maps.bary)
    y, x = torch.meshgrid((torch.arange(height) + 0.5) * 2 / height - 1, (torch.arange(width) + 0.5) * 2 / width - 1,
                          indexing="ij")  # fmt: skip
    places, seen = torch.zeros(views, maps.num_verts, 2), torch.zeros(views, maps.num_verts)
    for view in range(views):
        good = (ids[view] >= 0).all(-1)
        for corner in range(3):
            vertex, w = ids[view][good][:, corner], weights[view][good][:, corner]
            seen[view].index_add_(0, vertex, w)
            places[view].index_add_(0, vertex, w[:, None] * torch.stack([x[good], y[good]], dim=-1))
    places /= seen.clamp(min=1e-9)[..., None]
    return places, (seen > 0).float()


def lift_points(logits: Tensor, views: BodyViews, verts: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Masks at the vertices, without drawing them large: a stand-in for the soft lift while training.

    Args:
        logits: (B, V, h, w).
        views: of the body.
        verts: (n,) vertices wanted; None takes all.

    Returns:
        (B, n) probabilities, the mean over the views that show a vertex and 0 where none does, and (B, V, n) logits.
    """
    places, seen = views.places, views.seen
    if verts is not None:
        places, seen = places[:, verts], seen[:, verts]
    batch, count = logits.shape[:2]
    grid = places[None, :, None].expand(batch, -1, -1, -1, -1).reshape(batch * count, 1, -1, 2)
    at = functional.grid_sample(
        logits.reshape(batch * count, 1, *logits.shape[2:]), grid, align_corners=False, padding_mode="border"
    ).reshape(batch, count, -1)
    return (at.sigmoid() * seen).sum(1) / seen.sum(0).clamp(min=1), at


@dataclass(frozen=True, eq=False)
class Batch:
    """Questions with answers on the body."""

    evidence: Tensor
    """(B, packed_size) of the evidence tower."""
    questions: Sequence[Sequence[int]]
    """Ids after the picture, up to the answer."""
    answers: Sequence[Sequence[int]]
    """Ids of the answer, its end included, one contact token in it."""
    learned_from: Sequence[int]
    """Place in each answer from which its words are learned (what stands before was made up)."""
    contact: Tensor
    """(B, N) 1 where a vertex is touched."""
    landmark_distance: Tensor
    """(B, L) metres from each landmark to the object."""
    part_touched: Tensor
    """(B, P) 1 where a part of the body is touched anywhere."""


class SideTasks(nn.Module):
    """Heads that exist in training only: what a lookup by pose knows and words do not say."""

    def __init__(self, tower_width: int, hidden: int, parts: int) -> None:
        """Random weights."""
        super().__init__()
        self.distance = nn.Linear(tower_width, 1)
        self.parts = nn.Linear(hidden, parts)


@dataclass(frozen=True)
class QuickWeights:
    """Weights of the losses."""

    words: float = 0.5
    vertices: float = 2.0
    dice: float = 1.0
    distance: float = 0.3
    parts: float = 0.3
    area_share: float = 0.5
    """How much of a vertex's weight is by the area round it; the rest is the same for all."""
    vertices_drawn: int = 2000
    """Vertices that a step looks at."""


class _SharedBefore:
    """A cache that lays keys and values of one row before those of every row."""

    def __init__(self, keys: list[Tensor], values: list[Tensor]) -> None:
        self.keys, self.values = keys, values

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        rows = (len(keys), -1, -1, -1)
        before = self.keys[layer].expand(*rows), self.values[layer].expand(*rows)
        return torch.cat((before[0], keys), 2), torch.cat((before[1], values), 2)

    def get_seq_length(self, layer: int = 0) -> int:
        return int(self.keys[layer].shape[2])


def read_all(vlm: VLM, before: Sequence[int], pictures: Tensor, texts: Sequence[Sequence[int]]) -> Tensor:
    """States (B, P + L, H) of pictures and texts behind common words; shorter texts are padded with junk.

    Args:
        vlm: the language model.
        before: ids of the words before every picture.
        pictures: (B, P, H) vectors of each picture.
        texts: ids after the picture.
    """
    taking = FirstReading()
    vlm.hidden(vlm.embed_ids(torch.tensor([list(before)], device=pictures.device)), cache=taking)
    longest = max(map(len, texts))
    pad = vlm.config.language.pad_token_id
    ids = torch.tensor([[*text, *[pad] * (longest - len(text))] for text in texts], device=pictures.device)
    embeds = torch.cat([pictures, vlm.embed_ids(ids)], dim=1)
    length, start = embeds.shape[1], len(before)
    causal = torch.ones(length, length, dtype=torch.bool, device=embeds.device).tril()
    mask = torch.cat([causal.new_ones(length, start), causal], dim=1)[None, None].expand(len(texts), -1, -1, -1)
    positions = torch.arange(start, start + length, device=embeds.device).expand(len(texts), -1)
    return vlm.hidden(embeds, positions=positions, mask=mask, cache=_SharedBefore(taking.keys, taking.values))


def quick_step(
    network: InteractVLMNetwork,
    side: SideTasks,
    views: BodyViews,
    before: Sequence[int],
    batch: Batch,
    area: Tensor,
    weights: QuickWeights,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Losses of a batch by name, weighted; add them up and call ``backward``.

    Args:
        network: with the evidence tower; all of it may be trained, the mask network's encoder too.
        side: heads of the side tasks.
        views: of the body.
        before: ids before the picture.
        batch: the questions.
        area: (N,) share of the body's surface that each vertex stands for; sums to 1.
        weights: of the losses.
        generator: draws the vertices.
    """
    vlm = network.vlm
    seen = vlm.image_features(batch.evidence)
    pictures = vlm.projector(seen.to(vlm.projector.weight))
    texts = [[*q, *a] for q, a in zip(batch.questions, batch.answers, strict=True)]
    states = read_all(vlm, before, pictures, texts)
    text_states = states[:, pictures.shape[1] - 1 :]  # state i is the one that predicts the text's token i
    spoken, said = _spoken(batch, text_states)
    contact_states, tokens = _contact_states(network, batch, text_states)
    prompts = network.contact_prompts(contact_states, tokens, views.cameras)
    encoder, side_px = network.mv_loc.image_encoder, network.config.sam.img_size
    features = encoder(prepare_images(views.pictures, side_px, prompts.dtype))
    logits = network.mv_loc.localize_many(prompts, features, "human")
    share = weights.area_share * area + (1 - weights.area_share) / len(area)
    drawn = torch.multinomial(share, min(weights.vertices_drawn, len(area)), generator=generator)
    probability, at = lift_points(logits, views, drawn)
    bce, dice = vertex_losses(probability, at, views.seen[:, drawn], batch.contact[:, drawn])
    landmarks = batch.landmark_distance.shape[1]
    guess = side.distance(seen[:, :landmarks])[..., 0]
    true = torch.log(batch.landmark_distance + NEAR_M)
    return {
        "words": weights.words * token_loss(vlm.logits(spoken), said),
        "vertices": weights.vertices * bce,
        "dice": weights.dice * dice,
        "distance": weights.distance * functional.smooth_l1_loss(guess, true, beta=0.3),
        "parts": weights.parts
        * functional.binary_cross_entropy_with_logits(side.parts(contact_states), batch.part_touched),
    }


def vertex_losses(probability: Tensor, logits: Tensor, seen: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in every view that shows a vertex, and dice of what is lifted, both means over the batch."""
    views = seen.expand_as(logits)
    each = functional.binary_cross_entropy_with_logits(logits, truth[:, None].expand_as(logits), reduction="none")
    bce = (each * views).sum() / views.sum().clamp(min=1)
    anywhere = (seen.amax(0) > 0).to(truth)
    p, t = probability * anywhere, truth * anywhere
    dice = 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    return bce, dice.mean()


def _spoken(batch: Batch, states: Tensor) -> tuple[Tensor, Tensor]:
    """States that predict the learned words of all answers, and those words."""
    rows, places, said = [], [], []
    for i, (question, answer, start) in enumerate(zip(batch.questions, batch.answers, batch.learned_from, strict=True)):
        for k in range(start, len(answer)):
            rows.append(i)
            places.append(len(question) + k)
            said.append(answer[k])
    return states[rows, places], torch.tensor(said, device=states.device)


def _contact_states(network: InteractVLMNetwork, batch: Batch, states: Tensor) -> tuple[Tensor, list[int]]:
    """(B, H) the state that predicts each answer's contact token, and the tokens."""
    known = network.config.tokens.ids
    places, tokens = [], []
    for question, answer in zip(batch.questions, batch.answers, strict=True):
        found = [k for k, token in enumerate(answer) if token in known]
        if len(found) != 1:
            raise InputError(f"an answer holds {len(found)} contact tokens, expected one: {list(answer)}")
        places.append(len(question) + found[0])
        tokens.append(answer[found[0]])
    return states[range(len(places)), places], tokens
