"""Baseline ``phosa-style``: PHOSA (Zhang et al., ECCV 2020), restated for one object beside a metric body.

Stage A: many random rotations, each translated so that its box meets the mask's, then Adam on rotation and translation
against the squared silhouette error (pixels of the person are ignored), a chamfer of the silhouette's edges to the
mask's, and a penalty on leaving the crop. Stage B: from the best, Adam on rotation, translation and scale of the object
against interaction, part interaction, silhouette, ordinal depth and size.

Deviations from the published code:

- Silhouettes are soft (sigma 1e-5 of the crop) instead of the neural mesh renderer's hard ones with made-up gradients.
- The body is metric and stays: its scale, which PHOSA frees, is known here. So the size prior is the object's own
  (mean of the prior instead of a table of eight categories), and stage A places it at that size.
- Parts: the contact patches of body and object take the place of hand-labelled parts; the pair always interacts.
- Ordinal depth is asked at the object's vertices, against a z-buffer of the body, not between two depth images.
- Collision is left out: the published release does not have it.
- A vertex nearer to the camera than 1 cm is drawn at 1 cm, so that a lost hypothesis does not stop its batch.
- The square crop is 2.5 x the mask's box (published: the box enlarged by .3 on each side, drawn at 256 px).
- Optional, not published: stage B from several of stage A's best, of which its loss chooses, and a start of stage B at
  the contact's depth, where size (within two deviations of the prior) and depth change together and the picture stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.fitting.baselines.geometry import (
    NEAREST,
    box_depth,
    column_pose,
    contact_depth,
    matrix_of_6d,
    six_of_matrix,
)
from hoirecon.fitting.baselines.mask_view import MaskView, mask_view
from hoirecon.fitting.baselines.types import BaselineProblem, BaselineResult, timed
from hoirecon.fitting.raster import zbuffer
from hoirecon.fitting.soft_raster import Renderer, soft_raster
from hoirecon.pose import ObjectPose


@dataclass(frozen=True)
class PhosaConfig:
    """Published settings."""

    rotations: int = 2000
    """Random start rotations."""
    batch: int = 500
    """Rotations at once: about 1 GB at 256 px; without ``refined`` the result does not depend on it."""
    search_iterations: int = 50
    search_lr: float = 1e-3
    chamfer_weight: float = 0.5
    offscreen_weight: float = 1000.0
    edge_power: float = 0.5
    """Power of the distance to the mask's edge."""
    edge_width: int = 7
    """Window of the edge detector, px at a crop of 256; scaled with the crop."""
    refined: int | None = None
    """Hypotheses that are moved at all, by their loss at the start; None moves every one, as published."""
    finalists: int = 1
    """Hypotheses that go into stage B; published: the best."""
    to_contact_depth: bool = False
    """Slide along the ray to the contact's depth before stage B; published: no."""
    joint_iterations: int = 400
    joint_lr: float = 1e-3
    interaction_weight: float = 20.0
    part_weight: float = 50.0
    silhouette_weight: float = 10.0
    depth_weight: float = 1.0
    scale_weight: float = 100.0
    resolution: int = 256
    """Side of the crop, px."""
    sigma: float = 1e-5
    """Softness in squared NDC units of the crop."""
    seed: int = 0
    renderer: Renderer = soft_raster


def fit_phosa_style(problem: BaselineProblem, config: PhosaConfig | None = None) -> BaselineResult:
    """Fit the object as PHOSA does."""
    return timed(lambda: _fit(problem, config or PhosaConfig()))


def _fit(problem: BaselineProblem, config: PhosaConfig) -> tuple[ObjectPose, int]:
    search = _Search(problem, config)
    rotations = Rotation.random(config.rotations, rng=np.random.default_rng(config.seed)).as_matrix()
    batches = [rotations[i : i + config.batch] for i in range(0, len(rotations), config.batch)]
    found = [search.run(batch) for batch in batches]
    losses, sixes, ts = (torch.cat(parts) for parts in zip(*found, strict=True))
    joint = _Joint(problem, config, search.view)
    best = torch.argsort(losses, stable=True)[: config.finalists].tolist()
    six, t, s = min((joint.run(sixes[i], ts[i]) for i in best), key=lambda ended: ended[0])[1:]
    R = matrix_of_6d(six.double()).numpy()
    moved = config.rotations if config.refined is None else len(batches) * config.refined
    return column_pose(R, t.double().numpy(), s), moved * config.search_iterations + len(best) * config.joint_iterations


class _Search:
    """Stage A: silhouettes of many rotations."""

    def __init__(self, problem: BaselineProblem, config: PhosaConfig) -> None:
        self.problem, self.config = problem, config
        self.view = mask_view(problem, config.resolution)
        self.verts = torch.as_tensor(problem.scale * problem.mesh.verts, dtype=torch.float32)
        self.faces = torch.as_tensor(problem.mesh.faces)
        self.target = (self.view.target > 0.5).float()
        self.keep = keep_mask(self.view)
        self.width = max(3, round(config.edge_width * config.resolution / 256) | 1)
        distance = distance_transform_edt(edges_of(self.target[None], self.width)[0].numpy() == 0)
        self.edge_distance = torch.as_tensor(distance**config.edge_power, dtype=torch.float32)

    def run(self, rotations: FloatArray) -> tuple[Tensor, Tensor, Tensor]:
        """Least losses (B,), six numbers (B, 6) and translations (B, 3) from rotations (B, 3, 3), row vectors."""
        verts = self.verts.numpy()
        starts = np.stack([box_depth(self.problem, verts @ R) for R in rotations])
        six = six_of_matrix(torch.as_tensor(rotations, dtype=torch.float32)).clone()
        t = torch.as_tensor(starts, dtype=torch.float32)
        if self.config.refined is not None:
            with torch.no_grad():
                order = torch.argsort(self.losses(six, t), stable=True)[: self.config.refined]
            six, t = six[order], t[order]
        six, t = six.requires_grad_(), t.clone().requires_grad_()
        adam = torch.optim.Adam([six, t], lr=self.config.search_lr)
        best = torch.full((len(six),), torch.inf)
        best_six, best_t = six.detach().clone(), t.detach().clone()
        for _ in range(self.config.search_iterations):
            losses = self.losses(six, t)
            better = losses.detach() < best
            best = torch.where(better, losses.detach(), best)
            best_six[better], best_t[better] = six.detach()[better], t.detach()[better]
            adam.zero_grad()
            losses.sum().backward()  # type: ignore[no-untyped-call]
            adam.step()
        return best, best_six, best_t

    def losses(self, six: Tensor, t: Tensor) -> Tensor:
        """(B,) loss of each hypothesis."""
        config, view = self.config, self.view
        verts = in_front(self.verts @ matrix_of_6d(six) + t[:, None])
        drawn = self.keep * config.renderer(verts, self.faces, view.K, view.size, sigma=config.sigma)
        silhouette = (drawn - self.target).square().sum((1, 2))
        chamfer = (edges_of(drawn, self.width) * self.edge_distance).sum((1, 2))
        away = offscreen(verts, view).sum(1)
        return silhouette + config.chamfer_weight * chamfer + config.offscreen_weight * away


class _Joint:
    """Stage B: the object beside the body."""

    def __init__(self, problem: BaselineProblem, config: PhosaConfig, view: MaskView) -> None:
        def tensor(values: object) -> Tensor:
            return torch.as_tensor(np.asarray(values), dtype=torch.float32)

        self.problem, self.config, self.view = problem, config, view
        self.verts, self.faces = tensor(problem.mesh.verts), torch.as_tensor(problem.mesh.faces)
        self.target, self.keep = (view.target > 0.5).float(), keep_mask(view)
        self.body_middle = tensor(problem.body.verts.mean(0))
        on_body, on_object = problem.touching()
        self.parts = (tensor(on_body.mean(0)), tensor(on_object.mean(0))) if len(on_body) and len(on_object) else None
        verts = tensor(problem.body.verts)
        pixels = torch.cat([project(verts, view), verts[:, 2:]], -1)
        self.body_depth = zbuffer(pixels[None], torch.as_tensor(problem.body.faces), *view.size)[0]

    def run(self, six: Tensor, t: Tensor) -> tuple[float, Tensor, Tensor, float]:
        """Adam from one end of stage A; loss, six numbers, translation and scale."""
        grown = self._growth(six, t) if self.config.to_contact_depth else 1.0
        six, t = six.clone().requires_grad_(), (t * grown).requires_grad_()
        s = torch.tensor(self.problem.scale * grown, requires_grad=True)
        adam = torch.optim.Adam([six, t, s], lr=self.config.joint_lr)
        for _ in range(self.config.joint_iterations):
            adam.zero_grad()
            self.loss(six, t, s).backward()  # type: ignore[no-untyped-call]
            adam.step()
        with torch.no_grad():
            ended = float(self.loss(six, t, s)) if self.config.finalists > 1 else 0.0
        return ended, six.detach(), t.detach(), float(s.detach().clamp_min(1e-3))

    def _growth(self, six: Tensor, t: Tensor) -> float:
        """Factor on size and distance that brings the object's contact (or middle) to the body's, in the prior."""
        sigma, points = self.problem.scale_prior[1], self.verts.mean(0) if self.parts is None else self.parts[1]
        depth = float(((points * self.problem.scale) @ matrix_of_6d(six) + t)[2])
        return float(np.clip(contact_depth(self.problem) / max(depth, NEAREST), np.exp(-2 * sigma), np.exp(2 * sigma)))

    def loss(self, six: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """The joint objective."""
        config, view = self.config, self.view
        R = matrix_of_6d(six)
        verts = in_front((self.verts * s) @ R + t)
        drawn = self.keep * config.renderer(verts[None], self.faces, view.K, view.size, sigma=config.sigma)[0]
        total = config.silhouette_weight * (drawn - self.target).square().sum() / self.keep.sum().clamp_min(1)
        total = total + config.interaction_weight * (verts.mean(0) - self.body_middle).square().mean()
        if self.parts is not None:
            on_body, on_object = self.parts
            total = total + config.part_weight * ((on_object * s) @ R + t - on_body).square().mean()
        total = total + config.depth_weight * self.ordinal_depth(verts)
        return total + config.scale_weight * (s / self.problem.scale - 1).square()

    def ordinal_depth(self, verts: Tensor) -> Tensor:
        """Mean of log(1 + exp(depth the wrong way round)) over vertices where mask and depth contradict each other."""
        height, width = self.view.size
        cell = project(verts.detach(), self.view).floor().long()
        inside = (cell >= 0).all(1) & (cell[:, 0] < width) & (cell[:, 1] < height)
        column, row = cell[inside].unbind(1)
        ahead = self.body_depth[row, column] - verts[inside, 2]  # positive: the object is nearer
        seen = torch.isfinite(ahead)
        hidden, shown = self.view.person[row, column] > 0.5, self.target[row, column] > 0.5
        wrong = torch.where(hidden & (ahead > 0), ahead, torch.where(shown & (ahead < 0), -ahead, 0.0))
        contradicting = seen & (wrong > 0)
        if not bool(contradicting.any()):
            return verts.new_zeros(())
        return torch.nn.functional.softplus(wrong[contradicting]).mean()


def keep_mask(view: MaskView) -> Tensor:
    """(H, W) 0 where the person hides what is behind, 1 elsewhere."""
    return ((view.person <= 0.5) | (view.target > 0.5)).float()


def edges_of(image: Tensor, width: int) -> Tensor:
    """(B, H, W) a silhouette minus its erosion: a band inside its border."""
    eroded = -torch.nn.functional.max_pool2d(-image[:, None], width, stride=1, padding=width // 2)[:, 0]
    return image - eroded


def in_front(verts: Tensor) -> Tensor:
    """Vertices (..., V, 3) with depth held in front of the camera: a lost hypothesis must not stop its batch."""
    return torch.cat([verts[..., :2], verts[..., 2:].clamp_min(NEAREST)], -1)


def project(verts: Tensor, view: MaskView) -> Tensor:
    """(..., 2) pixels of the view."""
    pixels: Tensor = (verts / verts[..., 2:]) @ view.K.T
    return pixels[..., :2]


def offscreen(verts: Tensor, view: MaskView) -> Tensor:
    """(B, V) how far vertices leave the crop, in half crops."""
    height, width = view.size
    ndc = 2 * project(verts, view) / verts.new_tensor([width, height]) - 1
    return (ndc.abs() - 1).clamp_min(0).sum(-1)
