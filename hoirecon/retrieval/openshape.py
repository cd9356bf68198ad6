"""OpenShape as an encoder: meshes by its PointBERT, photographs and names by the CLIP it was trained towards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hoirecon.errors import InputError
from hoirecon.retrieval.checkpoints.folders import LoadedPointEncoder, load_point_encoder
from hoirecon.retrieval.clip_towers import CLIP_MODELS, ClipTowers
from hoirecon.retrieval.clouds import POINTS, PointCloud, prepare_clouds, sample_cloud
from hoirecon.retrieval.protocols import EncoderId, Float32Array, ImageQuery, Shape, unit_rows
from hoirecon.retrieval.query_vectors import QueryConfig, query_vectors

CLIP_FOLDER = "clip"
"""Folder beside the weights in which CLIP is looked for."""


@dataclass(frozen=True)
class OpenShapeConfig:
    """How shapes and queries are embedded; the defaults are those of the published models' training."""

    points: int = POINTS
    """Points sampled on a mesh."""
    seed: int = 0
    """Of the sampling."""
    batch: int = 8
    """Clouds that go through the network at once."""
    query: QueryConfig = field(default_factory=QueryConfig)
    """How image and name are put together."""


@dataclass(frozen=True)
class OpenShapeEncoder:
    """Encoder of shapes and of queries.

    Example:
        encoder = OpenShapeEncoder.from_folder("openshape-pointbert-vitg14-rgb", clip="CLIP-ViT-bigG-14")
        rows = encoder.embed_shapes([mesh])  # (1, 1, 1280)
        query = encoder.embed_queries([ImageQuery(image, mask, "chair")])  # (1, 1280)
    """

    point_encoder: LoadedPointEncoder
    """The point-cloud encoder."""
    clip: ClipTowers | None = None
    """The towers for queries; None if only shapes are embedded."""
    config: OpenShapeConfig = OpenShapeConfig()
    """How."""

    @classmethod
    def from_folder(
        cls,
        weights: str | Path,
        *,
        clip: str | Path | None = None,
        name: str | None = None,
        device: Any = "cpu",
        clip_dtype: torch.dtype = torch.float32,
        config: OpenShapeConfig = OpenShapeConfig(),
    ) -> OpenShapeEncoder:
        """An encoder from the released weights.

        Args:
            weights: folder of ``model.pt``, that file, or a converted folder.
            clip: folder of the CLIP model that belongs to it; None takes the folder ``clip`` beside the weights if
                there is one, else only shapes are embedded.
            name: which released model it is; None recognises it.
            device: where both go.
            clip_dtype: type of CLIP's weights; bfloat16 halves its 10 GB (ViT-bigG-14).
            config: how shapes and queries are embedded.

        Raises:
            InputError: no such weights, or a CLIP of another space.
            MissingExtraError: transformers is not installed, and there is a CLIP folder.
        """
        loaded = load_point_encoder(weights, name=name, device=device)
        beside = (Path(weights) if Path(weights).is_dir() else Path(weights).parent) / CLIP_FOLDER
        folder = Path(clip) if clip is not None else beside if beside.is_dir() else None
        towers = None
        if folder is not None:
            towers = ClipTowers.from_folder(folder, expect=loaded.spec.clip, device=device, dtype=clip_dtype)
        return cls(loaded, towers, config)

    def __post_init__(self) -> None:
        spec = self.point_encoder.spec
        width = spec.config.output_dim
        if self.clip is not None and self.clip.encoder_id.dim != width:
            raise InputError(
                f"{self.clip.encoder_id} does not go with {spec.name}, whose embeddings have {width} values"
            )

    @property
    def encoder_id(self) -> EncoderId:
        """Name and hash of the point-cloud encoder; CLIP is the one that it was trained towards."""
        spec = self.point_encoder.spec
        return EncoderId(spec.name, spec.config.output_dim, self.point_encoder.weights_sha256)

    @property
    def rows_per_shape(self) -> int:
        """One."""
        return 1

    def embed_shapes(self, shapes: Sequence[Shape]) -> Float32Array:
        """(S, 1, dim) unit vectors of meshes, y up."""
        clouds = (sample_cloud(shape, self.config.points, self.config.seed) for shape in shapes)
        return self._embedded(clouds, len(shapes))

    def embed_clouds(self, clouds: Sequence[PointCloud]) -> Float32Array:
        """(S, 1, dim) unit vectors of clouds, y up; their points may come in any number, but their order counts."""
        return self._embedded(iter(clouds), len(clouds))

    def embed_queries(self, queries: Sequence[ImageQuery]) -> Float32Array:
        """(Q, dim) unit vectors.

        Raises:
            InputError: the encoder was loaded without CLIP.
        """
        if self.clip is None:
            info = CLIP_MODELS.get(self.point_encoder.spec.clip)
            wanted = info.repository if info else "the CLIP model it was trained towards"
            raise InputError(
                f"{self.point_encoder.spec.name} was loaded without CLIP, so photographs cannot be embedded: give "
                f"clip=FOLDER with {wanted}"
            )
        texts = None if self.clip.tokenizer is None else self.clip
        return query_vectors(queries, self.clip, texts, self.config.query)

    def _embedded(self, clouds: Any, count: int) -> Float32Array:
        rows = np.zeros((count, 1, self.encoder_id.dim), np.float32)
        done = 0
        for batch in _equal_runs(clouds, self.config.batch):
            rows[done : done + len(batch), 0] = self._network_on(batch)
            done += len(batch)
        return unit_rows(rows, f"the output of {self.point_encoder.spec.name}") if count else rows

    def _network_on(self, clouds: list[PointCloud]) -> Float32Array:
        spec, network = self.point_encoder.spec, self.point_encoder.network
        xyz, features = prepare_clouds(clouds, spec.up, spec.config.channels)
        device = next(network.parameters()).device
        with torch.inference_mode():
            out = network(torch.from_numpy(xyz).to(device), torch.from_numpy(features).to(device))
        embedded: Float32Array = out.float().cpu().numpy()
        return embedded


def _equal_runs(clouds: Any, size: int) -> Any:
    """Batches of at most ``size`` neighbours with equally many points."""
    batch: list[PointCloud] = []
    for cloud in clouds:
        if batch and (len(batch) == size or len(cloud.points) != len(batch[0].points)):
            yield batch
            batch = []
        batch.append(cloud)
    if batch:
        yield batch
