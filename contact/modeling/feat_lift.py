"""FeatLift: tells an embedding, once per view, from which camera it will be localised.

Dwivedi et al., "InteractVLM", CVPR 2025. The paper's form is :class:`GatedLift`; every released model has it. The other
two are earlier forms that checkpoints may name. Parameters are named as in checkpoints under ``cam_pose_encoder``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hoirecon.contact.modeling.config import CAMERA_NUMBERS, NetworkConfig
from hoirecon.errors import InputError

CAMERA_SHIFT = (0.0, 0.0, 0.0, 1.0, 1.0)
CAMERA_SCALE = (10.0, 360.0, 360.0, 2.0, 2.0)
"""Distance, elevation and azimuth in degrees, and shifts within [-1, 1] all come to lie in [0, 1]."""


def normalize_cameras(raw: Tensor | None) -> Tensor:
    """Camera vectors as the network reads them.

    Args:
        raw: (..., 5) distance, elevation and azimuth in degrees, shift to x and to y; None for "no camera".

    Returns:
        (..., 5) ``(raw + shift) / scale``; five zeros for None, which is not what any raw vector becomes.

    Example:
        >>> normalize_cameras(torch.tensor([2.0, 45, 315, 0, 0.3]))
        tensor([0.2000, 0.1250, 0.8750, 0.5000, 0.6500])
    """
    if raw is None:
        return torch.zeros(CAMERA_NUMBERS)
    if raw.ndim == 0 or raw.shape[-1] != CAMERA_NUMBERS:
        raise InputError(f"a camera has {CAMERA_NUMBERS} numbers, got an array of shape {tuple(raw.shape)}")
    return (raw + raw.new_tensor(CAMERA_SHIFT)) / raw.new_tensor(CAMERA_SCALE)


class FeatLift(nn.Module):
    """What the three forms share: a code per camera, and a way to lay it on the embedding."""

    def codes(self, cameras: Tensor) -> Tensor:
        """(..., V, D) code of each normalised camera (..., V, 5); place v along V is view v."""
        raise NotImplementedError

    def condition(self, embedding: Tensor, codes: Tensor) -> Tensor:
        """Lay codes (V, D) on embeddings (S, V, D)."""
        return embedding * codes

    def forward(self, embedding: Tensor, cameras: Tensor | None) -> Tensor:
        """Condition embeddings on cameras.

        Args:
            embedding: (S, V, D) one embedding per contact token and view.
            cameras: (V, 5) normalised, in the order of the view table; None says that nothing is known (zeros).

        Returns:
            (S, V, D).

        Raises:
            InputError: another number of cameras than of views.
        """
        views = embedding.shape[-2]
        if cameras is None:
            cameras = normalize_cameras(None).expand(views, -1)
        if tuple(cameras.shape) != (views, CAMERA_NUMBERS):
            raise InputError(
                f"{views} views need cameras of shape {(views, CAMERA_NUMBERS)}, got {tuple(cameras.shape)}: "
                "give one normalised camera for each view"
            )
        return self.condition(embedding, self.codes(cameras.to(embedding)))


class AdditiveLift(FeatLift):
    """``simple``: the camera's code, the same function for every view, is added."""

    def __init__(self, dim: int) -> None:
        """Random weights for embeddings of width ``dim``."""
        super().__init__()
        self.linear1 = nn.Linear(CAMERA_NUMBERS, dim)

    def codes(self, cameras: Tensor) -> Tensor:
        """(..., V, D), none negative."""
        return torch.relu(self.linear1(cameras))

    def condition(self, embedding: Tensor, codes: Tensor) -> Tensor:
        """The sum."""
        return embedding + codes


class ViewIndexLift(FeatLift):
    """``view_index``: a map per view of the camera's features scales the embedding, without bounds."""

    def __init__(self, dim: int, num_views: int) -> None:
        """Random weights for embeddings of width ``dim`` and this many views."""
        super().__init__()
        self.spatial_encoder = nn.Sequential(
            nn.Linear(CAMERA_NUMBERS, dim), nn.ReLU(), nn.Linear(dim, dim), nn.Sigmoid()
        )
        self.view_transforms = nn.ModuleList(nn.Linear(dim, dim) for _ in range(num_views))

    def codes(self, cameras: Tensor) -> Tensor:
        """(..., V, D), any sign."""
        return _each_view(self.view_transforms, self.spatial_encoder(cameras))


class GatedLift(FeatLift):
    """``vi_v1``, the paper's FeatLift: a map per view of the camera's features gates every channel, within (0, 1)."""

    def __init__(self, dim: int, num_views: int, hidden: int = 128) -> None:
        """Random weights.

        Args:
            dim: width of an embedding.
            num_views: views, each with its own last map.
            hidden: width of the camera's features.
        """
        super().__init__()
        self.spatial_encoder = nn.Sequential(
            nn.Linear(CAMERA_NUMBERS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.view_transforms = nn.ModuleList(nn.Linear(hidden, dim) for _ in range(num_views))

    def codes(self, cameras: Tensor) -> Tensor:
        """(..., V, D) within (0, 1)."""
        return torch.sigmoid(_each_view(self.view_transforms, self.spatial_encoder(cameras)))


def build_feat_lift(config: NetworkConfig) -> FeatLift | None:
    """The form that the configuration names, with random weights; None for ``none``."""
    dim, views = config.prompt_dim, config.num_views
    if config.camera_encoder == "simple":
        return AdditiveLift(dim)
    if config.camera_encoder == "view_index":
        return ViewIndexLift(dim, views)
    if config.camera_encoder == "vi_v1":
        return GatedLift(dim, views, config.camera_hidden)
    return None


def _each_view(transforms: nn.ModuleList, features: Tensor) -> Tensor:
    """Apply map v at place v of the axis before the last."""
    if features.shape[-2] != len(transforms):
        raise InputError(
            f"FeatLift knows {len(transforms)} views, got {features.shape[-2]}: give the views of the model's own table"
        )
    return torch.stack([transform(features[..., v, :]) for v, transform in enumerate(transforms)], dim=-2)
