"""Names of the tensors: as released checkpoints write them, and as our network has them.

A released file holds LLaVA's layout (LISA's, in fact): Segment Anything under ``model.visual_model``, the projection of
contact tokens under ``model.text_hidden_fcs.0`` and the paper's FeatLift under ``cam_pose_encoder``. This file alone
knows those names.
"""

from __future__ import annotations

from collections.abc import Mapping

from hoirecon.contact.modeling.config import NetworkConfig

Shape = tuple[int, ...]

LANGUAGE = "vlm.language_model."
"""Prefix of the language model in our network."""
TOWER = "vlm.vision_tower."
"""Prefix of the image tower in our network."""
EMBEDDING = "vlm.language_model.model.embed_tokens.weight"
"""Our name of the table of token embeddings."""

_PREFIXES = (
    ("model.visual_model.", "mv_loc."),
    ("model.text_hidden_fcs.0.", "token_projection."),
    ("model.mm_projector.", "vlm.projector."),
    ("cam_pose_encoder.", "feat_lift."),
    ("lm_head.", "vlm.language_model.lm_head."),
    ("model.", "vlm.language_model.model."),
)
"""Released prefix and ours; the first that fits counts. ``attention_splitter.`` is the same in both."""

DECODERS = ("mv_loc.mask_decoder.", "mv_loc.human_mask_decoder.", "mv_loc.object_mask_decoder.")
"""Prefixes of the common decoder and, in checkpoints with separate ones, of the body's and the object's."""


def is_ignored(released: str) -> bool:
    """Whether a released tensor is no part of the network's state.

    Rotary frequencies are computed, not learned (transformers 4.31 stored them); the image tower was frozen and is read
    from its own folder, so a copy in the checkpoint is not needed.
    """
    return released.endswith("rotary_emb.inv_freq") or "vision_tower" in released


def to_ours(released: str) -> str:
    """Our name of a released tensor; a name of no known part comes back as it is.

    Example:
        >>> to_ours("model.text_hidden_fcs.0.2.bias"), to_ours("model.norm.weight")
        ('token_projection.2.bias', 'vlm.language_model.model.norm.weight')
    """
    for theirs, ours in _PREFIXES:
        if released.startswith(theirs):
            return ours + released.removeprefix(theirs)
    return released


def to_released(ours: str) -> str:
    """Released name of one of our tensors; the inverse of :func:`to_ours` on everything but the image tower.

    Example:
        >>> to_released("feat_lift.view_transforms.0.weight")
        'cam_pose_encoder.view_transforms.0.weight'
    """
    for theirs, prefix in _PREFIXES:
        if ours.startswith(prefix):
            return theirs + ours.removeprefix(prefix)
    return ours


def expected_released_shapes(config: NetworkConfig) -> dict[str, Shape]:
    """Every tensor that a released checkpoint of this configuration holds, by its name there, with its shape.

    The network is laid out on the ``meta`` device, so the 13B model takes no memory.

    Raises:
        MissingExtraError: transformers or segment-anything are not installed.
    """
    from hoirecon.contact.checkpoints.assembly import empty_network

    return released_shapes(shapes_of(empty_network(config).state_dict()))


def released_shapes(ours: Mapping[str, Shape]) -> dict[str, Shape]:
    """The part of our tensors that a released checkpoint holds, by its names there."""
    return {to_released(key): shape for key, shape in ours.items() if not key.startswith(TOWER)}


def shapes_of(state: Mapping[str, object]) -> dict[str, Shape]:
    """Shape of every tensor of a state dict."""
    return {key: tuple(value.shape) for key, value in state.items()}  # type: ignore[attr-defined]


def without_separate_decoders(keys: Mapping[str, object]) -> dict[str, str]:
    """Which tensor stands for which when separate decoders become one, as the reference's own loading does it.

    The reference gives its three decoders one module before it reads the file, so each overwrites the one before and
    the object's, read last, wins.

    Returns:
        Our name after collapsing, and the name of the tensor that it is read from.
    """
    common, _, last = DECODERS
    winner = last if any(key.startswith(last) for key in keys) else common
    kept = {key: key for key in keys if not key.startswith(DECODERS)}
    won = {common + key.removeprefix(winner): key for key in keys if key.startswith(winner)}
    return kept | won
