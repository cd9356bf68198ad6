"""Encoders by name: what ``hoirecon index build --encoder`` and :meth:`Retriever.build` take."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hoirecon.arrays import FloatArray
from hoirecon.errors import InputError
from hoirecon.retrieval.protocols import QueryEncoder, ShapeEncoder

EMBEDDED = "embedded"
"""The small networks that come with hoirecon; they need no weights."""
VIEWS = "views"
"""A gallery of views by any CLIP, from the folder of its weights."""
OPENSHAPE_NAME = "openshape"
"""Whichever released OpenShape model the folder of weights holds."""
CLIP_CONFIG = "config.json"


@runtime_checkable
class Encoder(ShapeEncoder, QueryEncoder, Protocol):
    """Turns shapes and queries into embeddings of one space."""


def encoder_named(
    name: str | None = None,
    weights: str | Path | None = None,
    *,
    clip: str | Path | None = None,
    device: Any = "cpu",
) -> Encoder:
    """An encoder of shapes and of queries.

    Args:
        name: "embedded"; "views"; "openshape", or one released model of it, such as
            "openshape-pointbert-vitg14-rgb". None tells it by the folder: a point-cloud encoder's weights mean
            OpenShape, a CLIP's "views", and no folder "embedded".
        weights: folder of the weights: ``model.pt`` or a converted folder for OpenShape (its CLIP in ``clip`` beside
            them, or given by ``clip``), a CLIP's for "views".
        clip: folder of the CLIP that belongs to an OpenShape model; without one, only shapes are embedded.
        device: where torch runs it.

    Raises:
        InputError: no encoder of that name, weights missing, or weights of another one.
        MissingExtraError: transformers is not installed (extra "retrieval"), and CLIP is needed.
    """
    from hoirecon.retrieval.checkpoints.specs import OPENSHAPE

    name = name or _told_by_folder(weights)
    if name == EMBEDDED:
        from hoirecon.retrieval.embedded import load_embedded

        return load_embedded()
    if name != VIEWS and name != OPENSHAPE_NAME and name not in OPENSHAPE:
        raise InputError(
            f"there is no encoder '{name}': choose one of {', '.join((EMBEDDED, VIEWS, OPENSHAPE_NAME, *OPENSHAPE))}"
        )
    if weights is None:
        raise InputError(f"the encoder '{name}' needs weights: give their folder (weights=DIR, --weights DIR)")
    if name == VIEWS:
        from hoirecon.retrieval.clip_towers import ClipTowers
        from hoirecon.retrieval.view_gallery import ViewGalleryEncoder

        return ViewGalleryEncoder(ClipTowers.from_folder(weights, device=device), pooling="max")
    from hoirecon.retrieval.openshape import OpenShapeEncoder

    released = name if name in OPENSHAPE else None
    return OpenShapeEncoder.from_folder(weights, clip=clip, name=released, device=device)


def row_rotations(encoder: Any) -> FloatArray | None:
    """(R, 3, 3) R_cam_source of each row that an encoder gives of a shape, if its rows are views; else None."""
    from hoirecon.retrieval.embedded.dataset import GALLERY_VIEWS
    from hoirecon.retrieval.embedded.encoder import EmbeddedEncoder

    if isinstance(encoder, EmbeddedEncoder):
        return GALLERY_VIEWS.rotations() if encoder.shapes_by == "views" else None
    found: FloatArray | None = getattr(encoder, "row_rotations", None)
    return found


def _told_by_folder(weights: str | Path | None) -> str:
    if weights is None:
        return EMBEDDED
    from hoirecon.retrieval.checkpoints.folders import MANIFEST, PUBLISHED

    path = Path(weights)
    if not path.exists():
        raise InputError(f"{path} does not exist: give the folder of an encoder's weights")
    if path.is_file() or (path / MANIFEST).is_file() or (path / PUBLISHED[0]).is_file():
        return OPENSHAPE_NAME
    if (path / CLIP_CONFIG).is_file():  # a CLIP's weights are called model.safetensors too
        return VIEWS
    if any((path / file).is_file() for file in PUBLISHED):
        return OPENSHAPE_NAME
    raise InputError(f"{path} holds no weights of an encoder ({MANIFEST}, {' or '.join(PUBLISHED)}, or a CLIP's)")
