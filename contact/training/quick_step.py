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
        """From the estimator's own gallery, so that training and use see the same; a body or an object."""
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
class Things:
    """Questions with answers on the objects of some of a batch's pictures."""

    rows: Tensor
    """(K,) whose pictures."""
    questions: Sequence[Sequence[int]]
    """Ids after the picture, up to the answer."""
    answers: Sequence[Sequence[int]]
    """Ids of the answers, one contact token in each."""
    words: Sequence[int]
    """(K,) ids of the words that name the objects."""
    places: Sequence[Tensor]
    """(No, PLACE_NUMBERS) each, where the vertices lie in the mesh."""
    contact: Sequence[Tensor]
    """(No,) each, 1 where a vertex of its mesh is touched."""
    views: Sequence[BodyViews]
    """Of the first objects, those whose masks are decoded, each one's own."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Questions with answers on the body."""

    evidence: Tensor
    """(B, packed_size) of the evidence tower."""
    questions: Sequence[Sequence[int]]
    """Ids after the picture, up to the answer."""
    answers: Sequence[Sequence[int]]
    """Ids of the answer, its end included; at most one contact token in it."""
    learned_from: Sequence[int]
    """Place in each answer from which its words are learned (what stands before was made up)."""
    contact: Tensor
    """(B, N) 1 where a vertex is touched."""
    landmark_distance: Tensor
    """(B, L) metres from each landmark to the object."""
    part_touched: Tensor
    """(B, P) 1 where a part of the body is touched anywhere."""
    masked: int | None = None
    """Of how many of the questions, the first ones, masks are decoded; None decodes all."""
    things: Things | None = None
    """Questions on objects, if any are asked in this step."""
    words: Sequence[int] = ()
    """(B,) ids of the words that name the objects."""
    glance: bool = False
    """Whether in this step nothing is read, said or drawn: zeros stand for the state before the contact token, so
    that the object's name alone looks back and speaks of the body: the tower learns in a fifth of the time."""


class SideTasks(nn.Module):
    """Heads that exist in training only: what a lookup by pose knows and words do not say."""

    def __init__(self, tower_width: int, hidden: int, parts: int) -> None:
        """Random weights."""
        super().__init__()
        self.distance = nn.Linear(tower_width, 1)
        self.parts = nn.Linear(hidden, parts)


def distance_loss(head: nn.Module, seen: Tensor, batch: Batch) -> Tensor:
    """Of a head that tells the logarithm of landmarks' distances to the object from the tower's tokens (B, P, W)."""
    guess = head(seen[:, : batch.landmark_distance.shape[1]])[..., 0]
    return functional.smooth_l1_loss(guess, torch.log(batch.landmark_distance + NEAR_M), beta=0.3)


def parts_loss(head: nn.Module, states: Tensor, batch: Batch) -> Tensor:
    """Of a head that tells from states (B, H) which parts of the body touch."""
    return functional.binary_cross_entropy_with_logits(head(states), batch.part_touched)


@dataclass(frozen=True)
class QuickWeights:
    """Weights of the losses."""

    words: float = 0.5
    vertices: float = 2.0
    dice: float = 1.5
    distance: float = 0.3
    parts: float = 0.3
    direct: float = 1.0
    """Of what the heads without views say, relative to the masks."""
    objects: float = 0.4
    """Of losses on objects, relative to the same on the body."""
    area_share: float = 0.5
    """How much of a vertex's weight is by the area round it; the rest is the same for all."""
    balance: float = 0.5
    """How far small contacts count as much as large ones in the cross-entropy: 0 leaves every vertex alike, so that
    the dense hands outweigh seat and feet; 1 gives the touched vertices of every sample the same weight together."""


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
    """
    vlm, things = network.vlm, batch.things
    seen = vlm.image_features(batch.evidence)
    found = {"distance": weights.distance * distance_loss(side.distance, seen, batch)}
    pictures = vlm.projector(seen.to(vlm.projector.weight))
    if batch.glance:
        return found | _glance_losses(network, side, pictures, batch, area, weights)
    questions, answers, learned = list(batch.questions), list(batch.answers), list(batch.learned_from)
    shown = pictures
    if things is not None:
        questions, answers = [*questions, *things.questions], [*answers, *things.answers]
        learned, shown = [*learned, *[0] * len(things.rows)], torch.cat([pictures, pictures[things.rows]])
    texts = [[*q, *a] for q, a in zip(questions, answers, strict=True)]
    states = read_all(vlm, before, shown, texts)
    text_states = states[:, pictures.shape[1] - 1 :]  # state i is the one that predicts the text's token i
    spoken, said = _spoken(questions, answers, learned, text_states)
    contact_states, tokens = _contact_states(network, questions, answers, text_states)
    named = [*batch.words, *(things.words if things is not None else ())]
    contact_states = network.looked_back(contact_states, shown, named)
    count = len(batch.questions)
    found |= {
        "words": weights.words * token_loss(vlm.logits(spoken), said),
        "parts": weights.parts * parts_loss(side.parts, contact_states[:count], batch),
        **_body_losses(network, views, contact_states[:count], tokens[:count], batch, area, weights),
    }
    if things is not None:
        found |= _thing_losses(network, things, contact_states[count:], tokens[count:], weights)
    return found


def _glance_losses(
    network: InteractVLMNetwork, side: SideTasks, pictures: Tensor, batch: Batch, area: Tensor, weights: QuickWeights
) -> dict[str, Tensor]:
    """What the names alone say of the body when they look at the pictures (B, P, H)."""
    assert network.vertex_head is not None  # lessons have no glances without it
    states = network.looked_back(torch.zeros_like(pictures[:, 0]), pictures, batch.words)
    direct = _direct_loss(network.vertex_head(states), batch.contact, area, weights)
    return {"parts": weights.parts * parts_loss(side.parts, states, batch), "direct": direct}


def _body_losses(
    network: InteractVLMNetwork, views: BodyViews, states: Tensor, tokens: Sequence[int | None], batch: Batch,
    area: Tensor, weights: QuickWeights,
) -> dict[str, Tensor]:  # fmt: skip
    """What those answers that hold a contact token say of the body: without views all of them, as masks the first."""
    rows = [i for i, token in enumerate(tokens) if token is not None]
    found = dict[str, Tensor]()
    if rows and network.vertex_head is not None:
        found["direct"] = weights.direct * _direct_loss(
            network.vertex_head(states[rows]), batch.contact[rows], area, weights
        )
    rows = rows[: batch.masked]
    if not rows:
        return found
    prompts = network.contact_prompts(states[rows], [t for i in rows if (t := tokens[i]) is not None], views.cameras)
    features = _encoded(network, views.pictures, prompts)
    logits = network.mv_loc.localize_many(prompts, features, "human")
    probability, at = lift_points(logits, views)
    return found | body_losses(probability, at, views.seen, batch.contact[rows], area, weights)


def _direct_loss(logits: Tensor, contact: Tensor, area: Tensor, weights: QuickWeights) -> Tensor:
    losses = unseen_body_losses(logits, contact, area, weights)
    return losses["vertices"] + losses["dice"]


def unseen_body_losses(logits: Tensor, contact: Tensor, area: Tensor, weights: QuickWeights) -> dict[str, Tensor]:
    """Of logits (B, N) that came from no mask, as :func:`body_losses`."""
    return body_losses(logits.sigmoid(), logits[:, None], torch.ones_like(logits[:1]), contact, area, weights)


def body_losses(
    probability: Tensor, logits: Tensor, seen: Tensor, contact: Tensor, area: Tensor, weights: QuickWeights
) -> dict[str, Tensor]:
    """:func:`vertex_losses` of the body, weighted; ``area`` (N,) is each vertex's share of the surface."""
    share = weights.area_share * area + (1 - weights.area_share) / len(area)
    bce, dice = vertex_losses(probability, logits, seen, contact, share, weights.balance)
    return {"vertices": weights.vertices * bce, "dice": weights.dice * dice}


def _thing_losses(
    network: InteractVLMNetwork, things: Things, states: Tensor, tokens: Sequence[int | None], weights: QuickWeights
) -> dict[str, Tensor]:
    """What is said of objects: without views, and of the first also as masks on views of their own."""
    found = dict[str, Tensor]()
    if network.object_head is not None:
        asked = zip(states, things.words, things.places, strict=True)
        direct = [network.object_head(state, word, places) for state, word, places in asked]
        losses = [
            _object_loss(d.sigmoid(), d[None], None, c, weights) for d, c in zip(direct, things.contact, strict=True)
        ]
        found["places"] = weights.objects * weights.direct * torch.stack(losses).mean()
    count = len(things.views)
    if not count:
        return found
    prompts = network.contact_prompts(states[:count], [t for t in tokens[:count] if t is not None],
                                      things.views[0].cameras)  # fmt: skip
    features = _encoded(network, torch.cat([v.pictures for v in things.views]), prompts)
    logits = network.mv_loc.localize_many(prompts, features.reshape(count, -1, *features.shape[1:]), "object")
    losses = []
    for one, own, contact in zip(logits, things.views, things.contact[:count], strict=True):
        probability, at = lift_points(one[None], own)
        losses.append(_object_loss(probability[0], at[0], own.seen, contact, weights))
    return found | {"objects": weights.objects * torch.stack(losses).mean()}


def _object_loss(
    probability: Tensor, logits: Tensor, seen: Tensor | None, contact: Tensor, weights: QuickWeights
) -> Tensor:
    """Of one object's vertices (No,), with logits (V, No) in the views that show them."""
    shown = torch.ones_like(logits) if seen is None else seen
    bce, dice = vertex_losses(probability[None], logits[None], shown, contact[None], None, weights.balance)
    return weights.vertices * bce + weights.dice * dice


def _encoded(network: InteractVLMNetwork, pictures: Tensor, like: Tensor) -> Tensor:
    features: Tensor = network.mv_loc.image_encoder(prepare_images(pictures, network.config.sam.img_size, like.dtype))
    return features


EMPTY = 3e-4
"""Added to both sides of dice, a share of all vertices."""
USUAL_SHARE, MOST_BOOST = 0.1, 6.0
"""Share of all weight that touched vertices have in the middle, and how much more a small contact may count at most."""


def vertex_losses(
    probability: Tensor, logits: Tensor, seen: Tensor, truth: Tensor, share: Tensor | None = None, balance: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Cross-entropy in every view that shows a vertex, and dice of what is lifted, both means over the batch.

    Args:
        probability: (B, N) of :func:`lift_points`.
        logits: (B, V, N) of the same.
        seen: (V, N) 1 where a view shows the vertex.
        truth: (B, N).
        share: (N,) weight of each vertex in the cross-entropy, sums to 1; None is the same for all. Dice is the mean
            of dice by these weights and of dice that counts all vertices alike, as F1 does.
        balance: see :class:`QuickWeights`.
    """
    even = torch.full_like(truth[0], 1 / truth.shape[1])
    share = even if share is None else share
    size = (truth * share).sum(1, keepdim=True).clamp(min=1e-4)
    boost = (USUAL_SHARE / size).pow(balance).clamp(1 / MOST_BOOST, MOST_BOOST)
    weight = (share * (1 + truth * (boost - 1)))[:, None] * seen
    each = functional.binary_cross_entropy_with_logits(logits, truth[:, None].expand_as(logits), reduction="none")
    bce = (each * weight).sum() / (share * seen).sum().clamp(min=1e-6) / len(truth)
    p, t = probability, truth * (seen.amax(0) > 0)
    dice = torch.stack([1 - (2 * (p * t) @ w + EMPTY) / (p @ w + t @ w + EMPTY) for w in (even, share)])
    return bce, dice.mean()


def _spoken(
    questions: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], learned: Sequence[int], states: Tensor
) -> tuple[Tensor, Tensor]:
    """States that predict the learned words of all answers, and those words."""
    rows, places, said = [], [], []
    for i, (question, answer, start) in enumerate(zip(questions, answers, learned, strict=True)):
        for k in range(start, len(answer)):
            rows.append(i)
            places.append(len(question) + k)
            said.append(answer[k])
    return states[rows, places], torch.tensor(said, device=states.device)


def _contact_states(
    network: InteractVLMNetwork, questions: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], states: Tensor
) -> tuple[Tensor, list[int | None]]:
    """(B, H) the state that predicts each answer's contact token, and the tokens; for an answer without one the state
    that predicts its end, and None."""
    known = network.config.tokens.ids
    places, tokens = list[int](), list[int | None]()
    for question, answer in zip(questions, answers, strict=True):
        found = [k for k, token in enumerate(answer) if token in known]
        if len(found) > 1:
            raise InputError(f"an answer holds {len(found)} contact tokens, expected at most one: {list(answer)}")
        places.append(len(question) + (found[0] if found else len(answer) - 1))
        tokens.append(answer[found[0]] if found else None)
    return states[range(len(places)), places], tokens
