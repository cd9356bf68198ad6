"""Local head: every vertex of the body is asked by itself what the evidence shows where it lies.

Not in the paper and in none of the released models. A map from one state to a logit for each vertex
(:class:`~hoirecon.contact.modeling.direct_heads.VertexHead`) has to learn for every vertex anew what nearness to an
object means. Here the landmarks place all vertices in picture and space, by fixed combinations; each is told how far
the object's and other masks are and to which side, and one small network, shared by all, makes a logit of that, of the
token's state and of what the tower says of the landmarks near by. What is learned of one hand and one object holds for
the next. Pixel-aligned features are Saito et al., "PIFu" (ICCV 2019); contact from them Huang et al., "BSTRO" (CVPR
2022), whose vertices are tokens of a transformer, which is too slow here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoirecon.contact.modeling.evidence_tower import BONES, FAR_M, EvidenceConfig, picture_scale, unpack

# fmt: off
SIDES = ((11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), (12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32))
# fmt: on
"""BlazePose's landmarks of the left and the right side: shoulder, elbow, wrist, little finger, index finger, thumb,
hip, knee, ankle, heel, toe."""
POINTS = 33 + 3 + 5 * len(SIDES)
"""Points of :func:`body_points`."""
BESIDE_M = 0.1
"""How far the points beside the landmarks lie from the hips' middle, at most, metres."""
REACHES_M = (0.04, 0.12, 0.4)
"""Distances over which nearness to the object fades, metres."""
OTHERS_M = 0.06
"""The same for other things."""
BLURS = (5, 13)
"""Sides of the squares, pixels, over which the masks of person and object are averaged."""
FIELDS = 5 + len(REACHES_M) + 2 + 2 * len(BLURS)
"""Pictures of :func:`fields`."""
TOLD = FIELDS + 16
"""Numbers that a vertex is told."""


def body_points(xyz: Tensor) -> Tensor:
    """Landmarks (B, 33, 3) relative to the hips, and points beside them (B, POINTS, 3), in the same unit.

    What lies beside a bone is no combination of its ends; so the normals of trunk, hips, head, elbows, palms, thumbs,
    knees and feet are added, 10 cm long where the two bones they come from are at right angles, and shorter where they
    are not. In a mirror the left side's become the right side's.
    """
    p = xyz.unbind(1)
    up = (p[11] + p[12] - p[23] - p[24]) / 2
    beside = [_normal(p[12] - p[11], up), _normal(p[24] - p[23], up), _normal(p[8] - p[7], p[0] - (p[7] + p[8]) / 2)]
    for sign, side in zip((1.0, -1.0), SIDES, strict=True):
        shoulder, elbow, wrist, little, index, thumb, hip, knee, ankle, heel, toe = (p[k] for k in side)
        pairs = [
            (elbow - shoulder, wrist - elbow), (index - wrist, little - wrist), (thumb - wrist, index - wrist),
            (knee - hip, ankle - knee), (toe - heel, ankle - heel),
        ]  # fmt: skip
        beside += [sign * _normal(a, b) for a, b in pairs]
    return torch.cat([xyz, torch.stack(beside, dim=1)], dim=1)


def _normal(a: Tensor, b: Tensor) -> Tensor:
    lengths = (a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True)).clamp(min=1e-4)
    found: Tensor = BESIDE_M * torch.linalg.cross(a, b) / lengths
    return found


def body_axes(xyz: Tensor) -> Tensor:
    """(B, 3, 3) to the person's left, up along the trunk, and to the front, as columns, of landmarks (B, 33, 3)."""
    up = functional.normalize(xyz[:, 11] + xyz[:, 12] - xyz[:, 23] - xyz[:, 24], dim=-1, eps=1e-4)
    left = xyz[:, 11] - xyz[:, 12] + xyz[:, 23] - xyz[:, 24]
    left = functional.normalize(left - (left * up).sum(-1, keepdim=True) * up, dim=-1, eps=1e-4)
    return torch.stack([left, up, torch.linalg.cross(left, up)], dim=-1)


def filled(points: Tensor, known: Tensor) -> Tensor:
    """Landmarks (B, 33, C); one that is unknown (B, 33, 1) lies where the next one on its limb lies."""
    along = list(BONES)
    for _ in range(3):
        points, known = torch.where(known > 0, points, points[:, along]), torch.maximum(known, known[:, along])
    return points


def distance_field(mask: Tensor) -> Tensor:
    """(B, S, S) from the middle of each pixel to that of the nearest one of masks (B, S, S), pixels, exact; 100 where
    a mask is empty. Rows first, then columns, as in Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled
    Functions", 2012."""
    side = mask.shape[-1]
    at = torch.arange(side, device=mask.device, dtype=mask.dtype)
    before = torch.where(mask > 0.5, at, at.new_tensor(-200.0)).cummax(-1)[0]
    behind = torch.where(mask > 0.5, at, at.new_tensor(300.0)).flip(-1).cummin(-1)[0].flip(-1)
    rows = torch.minimum(at - before, behind - at).square().clamp(max=1e4)
    best, squares = torch.full_like(rows, 1e4), (at[:, None] - at).square()
    for y in range(side):
        torch.minimum(best, rows[:, y : y + 1] + squares[y, :, None], out=best)
    return best.sqrt()


def fields(masks: Tensor, per_metre: Tensor) -> Tensor:
    """Pictures (B, FIELDS, S, S) that vertices read: other things, offset to the object (two), distance, fades of
    nearness, both masks and their means over squares; lengths in metres, zeros where there is no such thing.

    Args:
        masks: (B, 3, S, S) person, object, other things.
        per_metre: (B,) how long a metre is in the square, whose side is 2.
    """
    scale = 2 / masks.shape[-1] / per_metre[:, None, None]
    there = masks.flatten(2).amax(2)[:, :, None, None]
    distance = (distance_field(masks[:, 1]) * scale).clamp(max=FAR_M)
    other = (distance_field(masks[:, 2]) * scale).clamp(max=FAR_M)
    wide = functional.pad(distance[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    slope = torch.stack([wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2], wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]], dim=1)
    offset = -slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-6) * distance[:, None]
    near = [there[:, 1] * torch.exp(-distance / reach) for reach in REACHES_M]
    told = [masks[:, 2], *(2 * there[:, 1:2] * offset).unbind(1), there[:, 1] * distance, *near]
    told.append(there[:, 2] * torch.exp(-other / OTHERS_M))
    return torch.cat([torch.stack(told, dim=1), masks[:, :2], *(_blurred(masks[:, :2], k) for k in BLURS)], dim=1)


def _blurred(masks: Tensor, side: int) -> Tensor:
    rows = functional.avg_pool2d(masks, (1, side), 1, (0, side // 2))
    return functional.avg_pool2d(rows, (side, 1), 1, (side // 2, 0))


@dataclass(frozen=True, eq=False)
class Geometry:
    """What the evidence says of places on the body, before any vertex is asked."""

    points: Tensor
    """(B, POINTS, 3) of :func:`body_points`, camera axes, metres from the middle of the hips."""
    seen: Tensor
    """(B, POINTS, 2) the same in the square looked at, relative to ``hips``."""
    hips: Tensor
    """(B, 2) the middle of the hips in the square."""
    axes: Tensor
    """(B, 3, 3) of :func:`body_axes`."""
    fields: Tensor
    """(B, FIELDS, S, S) of :func:`fields`."""
    per_metre: Tensor
    """(B,) how long a metre is in the square."""
    middle: Tensor
    """(B, 2) of the object's mask; far away where there is none (``there``)."""
    there: Tensor
    """(B,) 1 where the object is seen."""

    @classmethod
    def of(cls, packed: Tensor, config: EvidenceConfig) -> Geometry:
        """Of packed evidence (B, packed_size)."""
        landmarks, masks = unpack(packed, config)
        known = (landmarks[..., 5:] > 0).to(landmarks)
        per_metre = picture_scale(landmarks[..., :2], landmarks[..., 2:5], known)
        marks = filled(landmarks[..., :5], known)
        xy, xyz = marks[..., :2], marks[..., 2:]
        xyz = xyz - xyz[:, [23, 24]].mean(1, keepdim=True)
        hips, points = xy[:, [23, 24]].mean(1), body_points(xyz)
        beside = points[:, xy.shape[1] :, :2] * per_metre[:, None, None]
        at = (torch.arange(masks.shape[-1], device=xy.device, dtype=xy.dtype) + 0.5) * 2 / masks.shape[-1] - 1
        total = masks[:, 1].sum((1, 2)).clamp(min=1)
        middle = torch.stack([(masks[:, 1].sum(axis) * at).sum(1) / total for axis in (1, 2)], dim=-1)
        seen, there = torch.cat([xy - hips[:, None], beside], dim=1), masks[:, 1].amax((1, 2))
        return cls(points, seen, hips, body_axes(xyz), fields(masks, per_metre), per_metre, middle, there)


def told_of(geometry: Geometry, place: Tensor, normal: Tensor) -> Tensor:
    """(B, n, TOLD) what vertices are told.

    Args:
        geometry: of the evidence.
        place: (n, POINTS) each one's combination of points.
        normal: (n, POINTS) the same of its normal.
    """
    g = geometry
    at, facing = place @ g.points, functional.normalize(normal @ g.points, dim=-1, eps=1e-3)
    seen = place @ g.seen + g.hips[:, None]
    shown = functional.grid_sample(g.fields, seen[:, None], align_corners=False, padding_mode="border")
    shown = shown[:, :, 0].transpose(1, 2)
    offset = shown[..., 1:3]
    towards = (facing[..., :2] * offset).sum(-1, keepdim=True) / offset.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    middle = ((g.middle[:, None] - seen) / g.per_metre[:, None, None]).clamp(-FAR_M, FAR_M) * g.there[:, None, None]
    flat = functional.pad(middle, (0, 1))
    camera = g.axes[:, 2][:, None].expand_as(at)
    told = [shown, at @ g.axes, facing @ g.axes, facing[..., 2:], towards, middle, camera, flat @ g.axes]
    return torch.cat(told, dim=-1)


class LocalHead(nn.Module):
    """A logit for any vertices of one body, which a :class:`VertexHead`'s is added to."""

    place: Tensor
    normal: Tensor

    def __init__(self, hidden: int, verts: int, width: int = 64) -> None:
        """Random weights; ``place`` and ``normal`` are to be fitted on the body (they are kept in checkpoints).

        Args:
            hidden: width of the language model.
            verts: N vertices of the body that the model knows.
            width: of what a vertex knows.
        """
        super().__init__()
        self.register_buffer("place", torch.zeros(verts, POINTS))
        self.register_buffer("normal", torch.zeros(verts, POINTS))
        self.own = nn.Parameter(0.3 * torch.randn(verts, width))
        self.told = nn.Linear(TOLD, width)
        self.asked = nn.Linear(hidden, 2 * width)
        self.token = nn.Linear(hidden, width, bias=False)
        self.mix = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.out = nn.Linear(width, 1)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, states: Tensor, pictures: Tensor, packed: Tensor, config: EvidenceConfig, verts: Tensor | None = None
    ) -> Tensor:
        """Logits (S, n).

        Args:
            states: (S, H) before contact tokens.
            pictures: (S, P, H) vectors of each one's picture as the language model sees them, landmarks first.
            packed: (S, packed_size) the evidence itself.
            config: of the tower that took it.
            verts: (n,) vertices wanted; None takes all.
        """
        kind = self.out.weight
        rows = slice(None) if verts is None else verts
        place, normal, own = self.place[rows], self.normal[rows], self.own[rows]
        near = place[:, : config.landmarks].square()
        near = near / near.sum(1, keepdim=True).clamp(min=1e-6)
        with torch.no_grad():
            told = told_of(Geometry.of(packed.float(), config), place.float(), normal.float())
        add, scale = self.asked(states.to(kind)).chunk(2, dim=-1)
        marks = near.to(kind) @ self.token(pictures[:, : config.landmarks].to(kind))
        known = functional.gelu(self.told(told.to(kind)) + own + marks + add[:, None]) * (1 + scale[:, None])
        logits: Tensor = self.out(known + self.mix(known))[..., 0]
        return logits
