"""Weights of point-cloud encoders: released files read as they are, and our own folders without pickle."""

from __future__ import annotations

from hoirecon.retrieval.checkpoints.folders import LoadedPointEncoder as LoadedPointEncoder
from hoirecon.retrieval.checkpoints.folders import convert_openshape as convert_openshape
from hoirecon.retrieval.checkpoints.folders import load_point_encoder as load_point_encoder
from hoirecon.retrieval.checkpoints.folders import save_point_encoder as save_point_encoder
from hoirecon.retrieval.checkpoints.specs import OPENSHAPE as OPENSHAPE
from hoirecon.retrieval.checkpoints.specs import PointEncoderSpec as PointEncoderSpec
