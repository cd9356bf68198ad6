"""What must be known of an encoder beside its tensors, and the table of OpenShape's released ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from hoirecon.errors import InputError
from hoirecon.retrieval.modeling.config import Axis, PointBertConfig
from hoirecon.retrieval.modeling.point_bert import build_point_encoder

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class PointEncoderSpec:
    """A point-cloud encoder: its sizes, and the conventions that its training had."""

    name: str
    """What indices call it."""
    config: PointBertConfig
    """Sizes."""
    up: Axis = "z"
    """Axis that points up in its input. "z": y and z of a y-up mesh are exchanged (which mirrors it)."""
    clip: str = ""
    """Name of the CLIP model whose space it embeds into (see ``CLIP_MODELS``); empty: none that is known."""
    sha256: str = ""
    """Hash of the published file; empty if it is not known."""

    def __post_init__(self) -> None:
        if self.up not in ("y", "z"):
            raise InputError(f"up is {self.up!r}, expected 'y' or 'z'")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor by name; nothing is allocated."""
        with torch.device("meta"):
            return {key: tuple(value.shape) for key, value in build_point_encoder(self.config).state_dict().items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a manifest."""
        return {"name": self.name, "config": asdict(self.config), "up": self.up, "clip": self.clip}

    @classmethod
    def from_dict(cls, value: Any) -> PointEncoderSpec:
        """Back from a manifest.

        Raises:
            InputError: a value is missing or wrong.
        """
        try:
            return cls(str(value["name"]), PointBertConfig(**value["config"]), value["up"], str(value["clip"]))
        except (TypeError, KeyError) as err:
            raise InputError(f"the manifest does not describe an encoder ({type(err).__name__}: {err})") from err


_G14 = PointBertConfig()
_L14 = PointBertConfig(mlp_dim=1024, patch_dim=128, num_patches=64, radius=0.4, patch_points=256, embed_dim=768)
_B32 = PointBertConfig(mlp_dim=1024, patch_dim=128, num_patches=64, radius=0.4, patch_points=256, embed_dim=None)

OPENSHAPE: dict[str, PointEncoderSpec] = {
    spec.name: spec
    for spec in (
        PointEncoderSpec(
            "openshape-pointbert-vitg14-rgb", _G14, "z", "openclip-vit-bigg-14",
            "34949c162aca01b6fd3147ed7ccf34b448a34bdebc4a857605ea62412ad54fb9",
        ),
        PointEncoderSpec("openshape-pointbert-no-lvis", _G14, "z", "openclip-vit-bigg-14"),
        PointEncoderSpec("openshape-pointbert-shapenet", _G14, "z", "openclip-vit-bigg-14"),
        PointEncoderSpec(
            "openshape-pointbert-vitl14-rgb", _L14, "y", "openai-clip-vit-l-14",
            "2ce4eb7a6997aed26390c7fd0ed5edfeb833eb7f160f1f790cc87dc733cd432a",
        ),
        PointEncoderSpec(
            "openshape-pointbert-vitb32-rgb", _B32, "y", "openai-clip-vit-b-32",
            "491a08f1922713df67099dfb7ffceaa6e039fd3953f99f80ecd7178d727c7f3f",
        ),
    )
}  # fmt: skip
"""OpenShape's published PointBERT models by name."""


def spec_named(name: str) -> PointEncoderSpec:
    """A released encoder by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in OPENSHAPE:
        raise InputError(f"there is no released encoder '{name}': choose one of {', '.join(OPENSHAPE)}")
    return OPENSHAPE[name]


def recognise(shapes: Shapes, sha256: str, hint: str, what: str) -> PointEncoderSpec:
    """Which released encoder a file is.

    Patches and radius leave no trace in the tensors, so a file of other sizes than the released ones needs a manifest.

    Args:
        shapes: shape of every tensor by name.
        sha256: the file's hash; a known one decides.
        hint: name of its folder or file, which decides among models of equal sizes.
        what: what to call it in errors.

    Raises:
        InputError: no released encoder has these tensors; the message names the first difference to the nearest one.
    """
    fitting = [spec for spec in OPENSHAPE.values() if spec.shapes() == dict(shapes)]
    if not fitting:
        raise InputError(f"{what} is no released OpenShape PointBERT: {_nearest_difference(shapes)}")
    known = [spec for spec in fitting if spec.sha256 and spec.sha256 == sha256]
    named = [spec for spec in fitting if spec.name in hint]
    return (known or named or fitting)[0]


def first_difference(expected: Shapes, shapes: Shapes) -> str:
    """The first tensor that is missing, has another shape, or is not known; empty if there is none."""
    for key, shape in expected.items():
        if key not in shapes:
            return f"the tensor '{key}' is missing"
        if tuple(shapes[key]) != shape:
            return f"the tensor '{key}' has shape {tuple(shapes[key])}, expected {shape}"
    return next((f"the tensor '{key}' is not known" for key in shapes if key not in expected), "")


def _nearest_difference(shapes: Shapes) -> str:
    expected = max(
        (spec.shapes() for spec in OPENSHAPE.values()),
        key=lambda known: sum(known.get(key) == tuple(shape) for key, shape in shapes.items()),
    )
    return first_difference(expected, shapes)
