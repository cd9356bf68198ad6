"""From a photograph, a mask and a name to meshes of the right kind: encoders of shapes and of queries, and an index.

``modeling`` holds OpenShape's PointBERT, ``checkpoints`` reads its released weights, ``clip_towers`` the CLIP that it
was trained towards; ``openshape`` puts them together. ``view_gallery`` makes a shape encoder of any image embedder.
All encoders are behind the protocols of ``protocols``, so that one ``index`` serves any of them. ``Retriever`` is the
door to all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoirecon.lazy import lazy_names

if TYPE_CHECKING:
    from hoirecon.retrieval.checkpoints.folders import LoadedPointEncoder as LoadedPointEncoder
    from hoirecon.retrieval.checkpoints.folders import convert_openshape as convert_openshape
    from hoirecon.retrieval.checkpoints.folders import load_point_encoder as load_point_encoder
    from hoirecon.retrieval.checkpoints.folders import save_point_encoder as save_point_encoder
    from hoirecon.retrieval.checkpoints.specs import PointEncoderSpec as PointEncoderSpec
    from hoirecon.retrieval.clip_towers import ClipTowers as ClipTowers
    from hoirecon.retrieval.clouds import PointCloud as PointCloud
    from hoirecon.retrieval.clouds import prepare_clouds as prepare_clouds
    from hoirecon.retrieval.clouds import sample_cloud as sample_cloud
    from hoirecon.retrieval.galleries import Gallery as Gallery
    from hoirecon.retrieval.galleries import IndexGallery as IndexGallery
    from hoirecon.retrieval.galleries import LibraryGallery as LibraryGallery
    from hoirecon.retrieval.hits import FoundObject as FoundObject
    from hoirecon.retrieval.index.object_index import Hit as Hit
    from hoirecon.retrieval.index.object_index import ObjectIndex as ObjectIndex
    from hoirecon.retrieval.index.records import ObjectRecord as ObjectRecord
    from hoirecon.retrieval.index.records import RecordFilter as RecordFilter
    from hoirecon.retrieval.label_choice import LabelChoice as LabelChoice
    from hoirecon.retrieval.label_choice import choose_labels as choose_labels
    from hoirecon.retrieval.label_matching import match_labels as match_labels
    from hoirecon.retrieval.mesh_folders import BuildConfig as BuildConfig
    from hoirecon.retrieval.modeling.config import PointBertConfig as PointBertConfig
    from hoirecon.retrieval.modeling.point_bert import build_point_encoder as build_point_encoder
    from hoirecon.retrieval.named_encoders import encoder_named as encoder_named
    from hoirecon.retrieval.openshape import OpenShapeConfig as OpenShapeConfig
    from hoirecon.retrieval.openshape import OpenShapeEncoder as OpenShapeEncoder
    from hoirecon.retrieval.protocols import EncoderId as EncoderId
    from hoirecon.retrieval.protocols import ImageEmbedder as ImageEmbedder
    from hoirecon.retrieval.protocols import ImageQuery as ImageQuery
    from hoirecon.retrieval.protocols import QueryEncoder as QueryEncoder
    from hoirecon.retrieval.protocols import ShapeEncoder as ShapeEncoder
    from hoirecon.retrieval.protocols import TextEmbedder as TextEmbedder
    from hoirecon.retrieval.query_vectors import QueryConfig as QueryConfig
    from hoirecon.retrieval.retriever import Retriever as Retriever
    from hoirecon.retrieval.sources import GeneratedObjects as GeneratedObjects
    from hoirecon.retrieval.sources import GivenMesh as GivenMesh
    from hoirecon.retrieval.sources import ObjectSource as ObjectSource
    from hoirecon.retrieval.sources import Preparation as Preparation
    from hoirecon.retrieval.sources import RetrievedObjects as RetrievedObjects
    from hoirecon.retrieval.surfaces import Surface as Surface
    from hoirecon.retrieval.surfaces import read_surface as read_surface
    from hoirecon.retrieval.view_gallery import ViewGalleryEncoder as ViewGalleryEncoder
    from hoirecon.retrieval.view_rendering import ViewSet as ViewSet
    from hoirecon.retrieval.view_rendering import render_views as render_views

# Public name -> module that defines it. Loaded on first use: an index is searched without torch, whose memory counts.
_PUBLIC = {
    "BuildConfig": "hoirecon.retrieval.mesh_folders",
    "ClipTowers": "hoirecon.retrieval.clip_towers",
    "EncoderId": "hoirecon.retrieval.protocols",
    "FoundObject": "hoirecon.retrieval.hits",
    "Gallery": "hoirecon.retrieval.galleries",
    "GeneratedObjects": "hoirecon.retrieval.sources",
    "GivenMesh": "hoirecon.retrieval.sources",
    "Hit": "hoirecon.retrieval.index.object_index",
    "ImageEmbedder": "hoirecon.retrieval.protocols",
    "ImageQuery": "hoirecon.retrieval.protocols",
    "IndexGallery": "hoirecon.retrieval.galleries",
    "LabelChoice": "hoirecon.retrieval.label_choice",
    "LibraryGallery": "hoirecon.retrieval.galleries",
    "LoadedPointEncoder": "hoirecon.retrieval.checkpoints.folders",
    "ObjectIndex": "hoirecon.retrieval.index.object_index",
    "ObjectRecord": "hoirecon.retrieval.index.records",
    "ObjectSource": "hoirecon.retrieval.sources",
    "OpenShapeConfig": "hoirecon.retrieval.openshape",
    "OpenShapeEncoder": "hoirecon.retrieval.openshape",
    "PointBertConfig": "hoirecon.retrieval.modeling.config",
    "PointCloud": "hoirecon.retrieval.clouds",
    "PointEncoderSpec": "hoirecon.retrieval.checkpoints.specs",
    "Preparation": "hoirecon.retrieval.sources",
    "QueryConfig": "hoirecon.retrieval.query_vectors",
    "QueryEncoder": "hoirecon.retrieval.protocols",
    "RecordFilter": "hoirecon.retrieval.index.records",
    "RetrievedObjects": "hoirecon.retrieval.sources",
    "Retriever": "hoirecon.retrieval.retriever",
    "ShapeEncoder": "hoirecon.retrieval.protocols",
    "Surface": "hoirecon.retrieval.surfaces",
    "TextEmbedder": "hoirecon.retrieval.protocols",
    "ViewGalleryEncoder": "hoirecon.retrieval.view_gallery",
    "ViewSet": "hoirecon.retrieval.view_rendering",
    "build_point_encoder": "hoirecon.retrieval.modeling.point_bert",
    "choose_labels": "hoirecon.retrieval.label_choice",
    "convert_openshape": "hoirecon.retrieval.checkpoints.folders",
    "encoder_named": "hoirecon.retrieval.named_encoders",
    "load_point_encoder": "hoirecon.retrieval.checkpoints.folders",
    "match_labels": "hoirecon.retrieval.label_matching",
    "prepare_clouds": "hoirecon.retrieval.clouds",
    "read_surface": "hoirecon.retrieval.surfaces",
    "render_views": "hoirecon.retrieval.view_rendering",
    "sample_cloud": "hoirecon.retrieval.clouds",
    "save_point_encoder": "hoirecon.retrieval.checkpoints.folders",
}

__all__ = sorted(_PUBLIC)


__getattr__ = lazy_names(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return list(__all__)
