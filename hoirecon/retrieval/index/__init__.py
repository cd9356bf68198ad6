"""Indices of embeddings, from fifty objects to ten million, behind one protocol."""

from __future__ import annotations

from hoirecon.retrieval.index.faiss_search import FaissConfig as FaissConfig
from hoirecon.retrieval.index.faiss_search import FaissSearch as FaissSearch
from hoirecon.retrieval.index.objaverse import fetch_mesh as fetch_mesh
from hoirecon.retrieval.index.objaverse import read_objaverse as read_objaverse
from hoirecon.retrieval.index.object_index import Hit as Hit
from hoirecon.retrieval.index.object_index import ObjectIndex as ObjectIndex
from hoirecon.retrieval.index.records import ObjectRecord as ObjectRecord
from hoirecon.retrieval.index.records import RecordFilter as RecordFilter
from hoirecon.retrieval.index.records import RecordStore as RecordStore
from hoirecon.retrieval.index.vectors import EmbeddingRows as EmbeddingRows
from hoirecon.retrieval.index.vectors import ExactSearch as ExactSearch
from hoirecon.retrieval.index.vectors import VectorSearch as VectorSearch
