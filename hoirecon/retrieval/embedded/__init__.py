"""The default of retrieval, without downloads: views of the object library, encoded by small networks trained here.

A query is the object's mask (and normals, if there are any); it is compared with views of every mesh of the library, in
the embedding of a small convolutional network and by overlap of silhouettes, which also says how the object is turned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoirecon.lazy import lazy_names

if TYPE_CHECKING:
    from hoirecon.retrieval.embedded.encoder import EmbeddedEncoder as EmbeddedEncoder
    from hoirecon.retrieval.embedded.encoder import load_embedded as load_embedded
    from hoirecon.retrieval.embedded.gallery import RankedShape as RankedShape
    from hoirecon.retrieval.embedded.gallery import ViewGallery as ViewGallery
    from hoirecon.retrieval.embedded.gallery import library_gallery as library_gallery
    from hoirecon.retrieval.embedded.gallery import rank as rank
    from hoirecon.retrieval.embedded.shape_views import ShapeViews as ShapeViews

# Public name -> module that defines it. Loaded on first use: most of them need torch.
_PUBLIC = {
    "EmbeddedEncoder": "hoirecon.retrieval.embedded.encoder",
    "RankedShape": "hoirecon.retrieval.embedded.gallery",
    "ShapeViews": "hoirecon.retrieval.embedded.shape_views",
    "ViewGallery": "hoirecon.retrieval.embedded.gallery",
    "library_gallery": "hoirecon.retrieval.embedded.gallery",
    "load_embedded": "hoirecon.retrieval.embedded.encoder",
    "rank": "hoirecon.retrieval.embedded.gallery",
}

__all__ = sorted(_PUBLIC)

__getattr__ = lazy_names(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return list(__all__)
