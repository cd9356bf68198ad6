"""An object's mask by Segment Anything, when the user gives a checkpoint; none comes with hoirecon.

Kirillov et al., "Segment Anything", 2023, through the ``segment-anything`` package (Apache-2.0). The network's sizes
are read off the checkpoint's own tensors, so that ViT-B, -L, -H and smaller trainings of the same design all load.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.arrays import BoolArray, ByteArray, FloatArray, as_image
from hoirecon.errors import InputError, require
from hoirecon.observation import Keypoints
from hoirecon.perception.hands import find_hands
from hoirecon.perception.masks import components
from hoirecon.perception.protocols import MaskPrompt, Scribble

MAX_CHECKPOINT_BYTES = 4 << 30
"""Largest checkpoint that is opened (ViT-H has 2.6 GB)."""
POINTS_PER_STROKE = 6
"""A stroke becomes so many points."""


class SamSegmenter:
    """Segment Anything behind the :class:`~hoirecon.perception.protocols.Segmenter` protocol.

    Args:
        checkpoint: ``.pth`` with plain tensors (pickles with code are refused) or ``.safetensors``.
        model_type: ``auto`` reads the sizes off the checkpoint; ``vit_b``, ``vit_l``, ``vit_h`` demand that one.
        device: where torch runs it, e.g. ``cpu`` or ``cuda``.

    Raises:
        InputError: the file is missing, too large, not plain tensors, or not SAM's weights.
        MissingExtraError: ``segment-anything`` is not installed.
    """

    def __init__(self, checkpoint: str | Path, model_type: str = "auto", device: str = "cpu") -> None:
        anything = require("segment_anything", extra="sam")
        state = read_checkpoint(checkpoint)
        _check_type(state, model_type, checkpoint)
        model = build_sam(state, checkpoint).to(device).eval()
        self._predictor = anything.SamPredictor(model)

    def segment(
        self,
        image: ByteArray,
        prompt: MaskPrompt,
        *,
        person_mask: BoolArray | None = None,
        keypoints: Keypoints | None = None,
    ) -> BoolArray:
        """Mask (H, W) of the object's visible pixels: SAM's best guess, cut to the box.

        Hands inside the box become negative points where landmarks are known. The person's mask gives none: a
        detector's outline often includes the object that is held.
        """
        image = as_image(image)
        height, width = image.shape[:2]
        prompt = prompt.checked(width, height)
        positive, negative = _points(prompt, True), _points(prompt, False)
        hands = _hand_points(image, keypoints, person_mask, prompt)
        points = np.concatenate([positive, negative, hands])
        labels = np.concatenate([np.ones(len(positive)), np.zeros(len(negative) + len(hands))])
        box = prompt.region(width, height)
        corners = None if prompt.box is None else np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]])
        self._predictor.set_image(np.ascontiguousarray(image), image_format="RGB")
        masks, scores, _ = self._predictor.predict(
            point_coords=points if len(points) else None,
            point_labels=labels if len(points) else None,
            box=corners,
            multimask_output=corners is None,  # a lone point is ambiguous (part or whole): take the surest of three
        )
        best: BoolArray = np.asarray(masks[int(np.argmax(scores))], dtype=bool)
        return best & _inside(box, (height, width)) if prompt.box is not None else best


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Tensors of a checkpoint by name, without executing anything from the file.

    Raises:
        InputError: missing, too large, or not plain tensors.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise InputError(f"the checkpoint {path} does not exist: give the path of a Segment Anything checkpoint")
    if path.stat().st_size > MAX_CHECKPOINT_BYTES:
        raise InputError(
            f"the checkpoint {path} has {path.stat().st_size >> 20} MB, more than any Segment Anything model"
        )
    try:
        if path.suffix == ".safetensors":
            state: Any = require("safetensors.torch", extra="sam").load_file(str(path))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:  # torch raises many kinds on files that are damaged or hold code
        first = str(err).strip().splitlines()[:1]
        raise InputError(f"the checkpoint {path} is not a file of plain tensors ({''.join(first)[:120]})") from err
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"the checkpoint {path} holds no table of tensors: give the original Segment Anything file")
    return state


def build_sam(state: dict[str, Any], name: str | Path = "checkpoint") -> Any:
    """A Sam of the sizes that the tensors have, with them loaded.

    Raises:
        InputError: tensors are missing or do not fit together.
    """
    modeling = require("segment_anything.modeling", extra="sam")
    torch = require("torch", extra="sam")
    from functools import partial

    try:
        s = {key: tuple(value.shape) for key, value in state.items()}
        _, grid, _, width = s["image_encoder.pos_embed"]
        patch = s["image_encoder.patch_embed.proj.weight"][2]
        channels = s["image_encoder.neck.0.weight"][0]
        depth = _count(s, r"image_encoder\.blocks\.(\d+)\.")
        reach = [s[f"image_encoder.blocks.{i}.attn.rel_pos_h"] for i in range(depth)]
        windows = [(length + 1) // 2 for length, _ in reach]
        encoder = modeling.ImageEncoderViT(
            img_size=grid * patch,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=width // reach[0][1],
            mlp_ratio=s["image_encoder.blocks.0.mlp.lin1.weight"][0] / width,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            qkv_bias="image_encoder.blocks.0.attn.qkv.bias" in s,
            use_rel_pos=True,
            global_attn_indexes=[i for i, w in enumerate(windows) if w == grid],
            window_size=min(windows),
            out_chans=channels,
        )
        prompts = modeling.PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(grid, grid),
            input_image_size=(grid * patch, grid * patch),
            mask_in_chans=s["prompt_encoder.mask_downscaling.3.weight"][0],
        )
        decoder = modeling.MaskDecoder(
            num_multimask_outputs=s["mask_decoder.mask_tokens.weight"][0] - 1,
            transformer=modeling.TwoWayTransformer(
                depth=_count(s, r"mask_decoder\.transformer\.layers\.(\d+)\."),
                embedding_dim=channels,
                mlp_dim=s["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
                num_heads=8,  # not visible in the tensors; 8 in every published model
            ),
            transformer_dim=channels,
            iou_head_depth=_count(s, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
            iou_head_hidden_dim=s["mask_decoder.iou_prediction_head.layers.0.weight"][0],
        )
        sam = modeling.Sam(
            encoder, prompts, decoder, pixel_mean=[123.675, 116.28, 103.53], pixel_std=[58.395, 57.12, 57.375]
        )
        sam.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError, IndexError, AssertionError, ZeroDivisionError) as err:
        first = str(err).strip().splitlines()[:1]
        raise InputError(f"{name} is not a Segment Anything checkpoint ({''.join(first)[:120]})") from err
    return sam


def _count(shapes: dict[str, Any], pattern: str) -> int:
    """How many numbered blocks there are."""
    return 1 + max(int(match[1]) for key in shapes if (match := re.match(pattern, key)))


def _check_type(state: dict[str, Any], model_type: str, name: str | Path) -> None:
    widths = {"vit_b": 768, "vit_l": 1024, "vit_h": 1280}
    if model_type == "auto":
        return
    if model_type not in widths:
        raise InputError(f"there is no model type '{model_type}': choose auto, {', '.join(widths)}")
    pos = state.get("image_encoder.pos_embed")
    if pos is None or pos.shape[-1] != widths[model_type]:
        raise InputError(f"the checkpoint {name} is not a {model_type}: leave model_type at auto")


def _points(prompt: MaskPrompt, positive: bool) -> FloatArray:
    """(N, 2) points of one sign: those given, and some along each stroke."""
    given = np.reshape(prompt.points if positive else prompt.negative_points, (-1, 2))
    strokes = [_along(s) for s in prompt.scribbles if s.positive == positive]
    return np.concatenate([given, *strokes])


def _along(stroke: Scribble) -> FloatArray:
    """Points at equal distances along a polyline."""
    steps = np.linalg.norm(np.diff(stroke.points, axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    if length[-1] == 0:
        return stroke.points[:1]
    at = np.linspace(0, length[-1], POINTS_PER_STROKE)
    return np.column_stack([np.interp(at, length, stroke.points[:, k]) for k in (0, 1)])


def _hand_points(
    image: ByteArray, keypoints: Keypoints | None, person_mask: BoolArray | None, prompt: MaskPrompt
) -> FloatArray:
    """(N, 2) middles of the hands that lie in the prompt's region."""
    hands = find_hands(image, keypoints)
    if hands is None:
        return np.zeros((0, 2))
    sure = hands.sure & _inside(prompt.region(image.shape[1], image.shape[0]), image.shape[:2])
    if person_mask is not None:
        sure &= person_mask
    labels, areas = components(sure)
    middles = []
    for i in range(1, len(areas)):
        rows, cols = np.nonzero(labels == i)
        nearest = np.argmin((rows - rows.mean()) ** 2 + (cols - cols.mean()) ** 2)  # a pixel of the hand itself
        middles.append([cols[nearest] + 0.5, rows[nearest] + 0.5])
    return np.reshape(middles, (-1, 2)).astype(np.float64)


def _inside(box: tuple[float, float, float, float], size: tuple[int, ...]) -> BoolArray:
    x, y, w, h = box
    inside = np.zeros(size, dtype=bool)
    inside[int(y) : int(np.ceil(y + h)), int(x) : int(np.ceil(x + w))] = True
    return inside
