"""Evidence tower: stands where CLIP stands and sees geometry in place of colours.

Its picture is what a front end found: landmarks of the person in 2D and 3D with their confidence, and small masks of
person, object and other things. It hands the language model one vector for each landmark and some for the masks, as
CLIP hands it one for each patch, so that everything behind it is the same network. Colours of training pictures that no
photograph has cannot mislead it; what it is told, it is told by the front end, and no better.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hoirecon.errors import InputError

LANDMARK_NUMBERS = 6
"""Numbers of a landmark: x and y in the square looked at (-1..1), root-relative x, y, z (metres), confidence."""
FEATURES = 24
"""Numbers that a landmark's token is made from."""
ALONG_X = (0, 2, 7, 16)
"""Those of them that change their sign in a mirror."""
REACHES_M = (0.04, 0.12, 0.4)
"""Distances over which nearness to the object fades, metres."""
FAR_M = 1.5
"""Distances are cut off here, metres."""
GLIMPSE, GLIMPSES_M = 5, (0.05, 0.16)
"""A landmark that is told more sees the masks at so many places along each side of a square round it, metres apart."""
# fmt: off
BONES = (0, 0, 0, 0, 0, 0, 0, 11, 12, 23, 24, 23, 24, 11, 12, 13, 14, 15, 16, 15, 16, 15, 16, 24, 23, 23, 24, 25, 26,
         27, 28, 29, 30)
# fmt: on
"""For each of BlazePose's landmarks another one: half-way there lies flesh that has no landmark of its own."""
BONE_FEATURES = 7
"""Numbers of such a half-way point: where the object's nearest pixel is, and how near."""


@dataclass(frozen=True)
class EvidenceConfig:
    """Sizes of the evidence tower."""

    hidden_size: int = 128
    """Width."""
    intermediate_size: int = 384
    """Hidden width of the MLP."""
    num_layers: int = 3
    """Layers in which landmarks and patches of the masks look at one another."""
    num_heads: int = 4
    """Attention heads."""
    landmarks: int = 33
    """Landmarks of the person (33 are BlazePose's)."""
    masks: int = 3
    """Person, object, other things."""
    image_size: int = 64
    """Side of the masks, pixels."""
    patch_size: int = 8
    """Side of a patch, pixels."""
    detail: bool = False
    """Whether a landmark is also told what the masks show close round it, and where the object is seen from half-way to
    the next landmark."""

    def __post_init__(self) -> None:
        if self.detail and self.landmarks != len(BONES):
            raise InputError(f"detail is known for BlazePose's {len(BONES)} landmarks only, not for {self.landmarks}")
        if self.image_size % (2 * self.patch_size) or self.hidden_size % self.num_heads:
            raise InputError(
                f"masks of {self.image_size} pixels must hold an even number of patches of {self.patch_size}, and "
                f"{self.num_heads} heads divide the width {self.hidden_size}"
            )

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size

    @property
    def num_patches(self) -> int:
        """Vectors that one picture becomes in the language model's input: one a landmark, one for 2 x 2 patches."""
        return self.landmarks + (self.grid // 2) ** 2

    @property
    def landmark_numbers(self) -> int:
        """Numbers that a landmark's vector is made from."""
        seen = self.masks * GLIMPSE**2 * len(GLIMPSES_M)
        return FEATURES + self.detail * (BONE_FEATURES + seen)

    @property
    def packed_size(self) -> int:
        """Numbers of one picture, see :func:`pack`."""
        return self.landmarks * LANDMARK_NUMBERS + self.masks * self.image_size**2


def pack(landmarks: Tensor, masks: Tensor) -> Tensor:
    """Landmarks (B, L, 6) and masks (B, M, S, S) of 0 and 1 as one tensor (B, packed_size)."""
    return torch.cat([landmarks.flatten(1), masks.to(landmarks).flatten(1)], dim=1)


def unpack(packed: Tensor, config: EvidenceConfig) -> tuple[Tensor, Tensor]:
    """The inverse of :func:`pack`.

    Raises:
        InputError: of another size.
    """
    if packed.ndim != 2 or packed.shape[1] != config.packed_size:
        raise InputError(f"evidence is (B, {config.packed_size}), got {tuple(packed.shape)}: pack it for this model")
    split = config.landmarks * LANDMARK_NUMBERS
    landmarks = packed[:, :split].reshape(-1, config.landmarks, LANDMARK_NUMBERS)
    side = config.image_size
    return landmarks, packed[:, split:].reshape(-1, config.masks, side, side)


class EvidenceTower(nn.Module):
    """A small transformer over landmarks and patches of masks."""

    def __init__(self, config: EvidenceConfig) -> None:
        """Random weights, on torch's default device and in its default type."""
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.landmark_in = nn.Sequential(nn.Linear(config.landmark_numbers, width), nn.GELU(), nn.Linear(width, width))
        self.landmark_name = nn.Parameter(torch.randn(config.landmarks, width))
        self.patch_in = nn.Conv2d(config.masks, width, config.patch_size, config.patch_size)
        self.patch_place = nn.Parameter(0.3 * torch.randn(config.grid**2, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, config.num_heads, config.intermediate_size, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, packed: Tensor) -> Tensor:
        """(B, packed_size) of :func:`pack` -> (B, num_patches, width)."""
        landmarks, masks = unpack(packed, self.config)
        kind = self.landmark_name.dtype
        told = landmark_features(landmarks.float(), masks.float())
        if self.config.detail:
            told = torch.cat([told, detail_features(landmarks.float(), masks.float())], dim=-1)
        points = self.landmark_in(told.to(kind)) + self.landmark_name
        patches = self.patch_in(masks.to(kind) - 0.1).flatten(2).transpose(1, 2) + self.patch_place
        x = torch.cat([points, patches], dim=1)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        count, side = self.config.landmarks, self.config.grid
        grid = x[:, count:].transpose(1, 2).reshape(len(x), -1, side, side)
        pooled = functional.avg_pool2d(grid, 2).flatten(2).transpose(1, 2)
        return torch.cat([x[:, :count], pooled], dim=1)


@torch.no_grad()
def landmark_features(landmarks: Tensor, masks: Tensor) -> Tensor:
    """What is told of each landmark, lengths in metres as far as one view can say.

    Args:
        landmarks: (B, L, 6).
        masks: (B, M, S, S); the second is the object's, the third other things'.

    Returns:
        (B, L, FEATURES): place, confidence, and where the object's nearest pixel is; zeros where confidence is 0.
    """
    xy, xyz, confidence = landmarks[..., :2], landmarks[..., 2:5], landmarks[..., 5:]
    known = (confidence > 0).to(xy)
    per_metre = picture_scale(xy, xyz, known)[:, None, None]
    to_object, inside = _nearest(xy, masks[:, 1])
    to_others, _ = _nearest(xy, masks[:, 2])
    offset = (to_object / per_metre).clamp(-FAR_M, FAR_M)
    distance = offset.norm(dim=-1, keepdim=True)
    other = (to_others / per_metre).norm(dim=-1, keepdim=True)
    seen = masks[:, 1].flatten(1).amax(1)[:, None, None]
    beside = masks[:, 2].flatten(1).amax(1)[:, None, None]
    fades = [seen * torch.exp(-distance / reach) for reach in REACHES_M]
    others = [beside * torch.exp(-other / reach) for reach in REACHES_M[:2]]
    middle, spread = _middle(masks[:, 1])
    relative = ((middle[:, None] - xy) / per_metre).clamp(-FAR_M, FAR_M) * seen
    size = (spread[:, None] / per_metre).clamp(0, FAR_M).expand_as(relative) * seen
    told = [
        xy, xyz, confidence, known, seen * offset * 2, seen * distance.clamp(max=FAR_M), *fades, inside, *others,
        relative, size, per_metre.log().expand_as(confidence), seen.expand_as(confidence),
        beside.expand_as(confidence), _share(masks[:, 1])[:, None, None].expand_as(confidence),
    ]  # fmt: skip
    return torch.cat(told, dim=-1) * known


@torch.no_grad()
def detail_features(landmarks: Tensor, masks: Tensor) -> Tensor:
    """What a landmark is told beside :func:`landmark_features`.

    Args:
        landmarks: (B, 33, 6).
        masks: (B, M, S, S).

    Returns:
        (B, 33, BONE_FEATURES + M * GLIMPSE**2 * len(GLIMPSES_M)); zeros where a landmark is unknown.
    """
    xy, xyz, known = landmarks[..., :2], landmarks[..., 2:5], (landmarks[..., 5:] > 0).to(landmarks)
    per_metre = picture_scale(xy, xyz, known)[:, None, None]
    halfway = (xy + xy[:, list(BONES)]) / 2
    to_object, inside = _nearest(halfway, masks[:, 1])
    offset = (to_object / per_metre).clamp(-FAR_M, FAR_M)
    distance = offset.norm(dim=-1, keepdim=True)
    seen = masks[:, 1].flatten(1).amax(1)[:, None, None] * known[:, list(BONES)]
    bones = [seen * offset * 2, seen * distance.clamp(max=FAR_M), *(seen * torch.exp(-distance / r) for r in REACHES_M)]
    told = [*bones, seen * inside, *(glimpses(xy, masks, per_metre * reach) for reach in GLIMPSES_M)]
    return torch.cat(told, dim=-1) * known


def glimpses(xy: Tensor, masks: Tensor, apart: Tensor) -> Tensor:
    """(B, L, M * GLIMPSE**2) the masks on a small grid round each landmark, ``apart`` (B, 1, 1) between its places."""
    steps = torch.arange(GLIMPSE, device=xy.device, dtype=xy.dtype) - (GLIMPSE - 1) / 2
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    around = torch.stack([x, y], dim=-1).reshape(1, 1, -1, 2) * apart[..., None]
    found = functional.grid_sample(masks, xy[:, :, None] + around, align_corners=False)
    return found.permute(0, 2, 1, 3).flatten(2)


def picture_scale(xy: Tensor, xyz: Tensor, known: Tensor) -> Tensor:
    """(B,) how long a metre at the person is in the square, by weak perspective."""
    weight = known / known.sum(1, keepdim=True).clamp(min=1)
    flat, deep = xy - (weight * xy).sum(1, keepdim=True), xyz[..., :2] - (weight * xyz[..., :2]).sum(1, keepdim=True)
    ratio = (weight * flat.square()).sum((1, 2)) / (weight * deep.square()).sum((1, 2)).clamp(min=1e-4)
    return ratio.sqrt().clamp(0.05, 5.0)


def _nearest(xy: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, L, 2) from each landmark to the mask's nearest pixel, and (B, L, 1) whether it lies on the mask."""
    side = mask.shape[-1]
    centres = (torch.arange(side, device=mask.device, dtype=xy.dtype) + 0.5) * 2 / side - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    grid = torch.stack([x, y], dim=-1).reshape(-1, 2)
    # |p - q|^2 less |p|^2, which moves no minimum, as one product: most of the tower's time went into larger sums
    far = grid.square().sum(-1) + 100.0 * (1 - mask.flatten(1))
    pixels = torch.cat([(-2 * grid.T).expand(len(xy), -1, -1), far[:, None]], dim=1)
    apart = torch.cat([xy, torch.ones_like(xy[..., :1])], dim=-1) @ pixels
    found = grid[apart.argmin(dim=-1)] - xy
    inside = (found.abs().amax(-1, keepdim=True) <= 1.01 / side).to(xy)
    return found, inside


def _middle(mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 2) the mask's middle, and (B, 2) its spread."""
    side = mask.shape[-1]
    centres = (torch.arange(side, device=mask.device, dtype=mask.dtype) + 0.5) * 2 / side - 1
    total = mask.sum((1, 2)).clamp(min=1)
    x, y = (mask.sum(1) * centres).sum(1) / total, (mask.sum(2) * centres).sum(1) / total
    xx, yy = (mask.sum(1) * centres.square()).sum(1) / total, (mask.sum(2) * centres.square()).sum(1) / total
    middle = torch.stack([x, y], -1)
    return middle, (torch.stack([xx, yy], -1) - middle.square()).clamp(min=0).sqrt()


def _share(mask: Tensor) -> Tensor:
    """(B,) root of the mask's share of the square."""
    return mask.mean((1, 2)).sqrt()
