"""The small model's make: sizes, vocabulary and what it is asked and answers.

It is the same network as the paper's (:mod:`hoirecon.contact.modeling`), 3 million parameters instead of 13 billion,
with the evidence tower in CLIP's place.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hoirecon.arrays import BoolArray, IntArray
from hoirecon.contact.modeling.config import CameraEncoder, LanguageConfig, NetworkConfig
from hoirecon.contact.modeling.contact_tokens import ContactTokens, words_to_add
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig
from hoirecon.contact.prompting.conversation import SYSTEM
from hoirecon.contact.prompting.templates import question
from hoirecon.data.closedworld.posing import body_model
from hoirecon.errors import require
from hoirecon.sam_network import SamConfig

if TYPE_CHECKING:
    from hoirecon.contact.prompting.tokenizer import ContactTokenizer

NAME = "tiny-closedworld"
TOKEN_TYPE = "Gen-Hu-Obj"
ANSWER = "The contacting body parts are {body_parts}, and the contact region is {token}."
"""The first answer of the paper's templates."""
ANSWER_THING = "It is {token}."
"""The same for questions on the object."""
NO_CONTACT = "No body parts are in contact."
"""What is said where nothing touches; it holds no contact token. Our own words, the paper has no such answer."""
NAMED_SHARE = 0.1
"""A part is named if so much of it is touched, as in the paper."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "head": ("head", "face", "neck_front", "neck_back", "left_ear", "right_ear"),
    "chest": ("chest", "belly"),
    "back": ("upper_back", "lower_back"),
    "seat": ("pelvis", "left_hip", "right_hip", "left_buttock", "right_buttock"),
    **{
        f"{side}_{name}": tuple(f"{side}_{part}" for part in parts)
        for name, parts in {
            "arm": ("shoulder", "upper_arm", "elbow", "forearm"),
            "hand": ("palm", "hand_back", "thumb", "index_finger", "middle_finger", "ring_finger", "pinky_finger"),
            "leg": ("thigh_front", "thigh_back", "knee", "shin", "calf"),
            "foot": ("foot_top", "sole", "toes"),
        }.items()
        for side in ("left", "right")
    },
}
"""What the small model's answers name, and the body's parts in each."""


@dataclass(frozen=True)
class TinySize:
    """Sizes of a small model."""

    hidden: int = 128
    """Width of the language model and of the tower."""
    layers: int = 4
    """Layers of the language model."""
    tower_layers: int = 3
    """Layers of the evidence tower."""
    heads: int = 4
    """Heads of both."""
    prompt: int = 64
    """Width of the mask decoder."""
    sam_layers: int = 2
    """Layers of the mask network's image encoder."""
    view_side: int = 512
    """Side of the views that are lifted from, pixels."""
    patch: int = 16
    """Side of a patch of the evidence's masks, pixels; landmarks are told the fine detail."""
    detail: bool = True
    """Whether landmarks are told what lies round them and half-way to the next (:class:`EvidenceConfig`)."""
    camera_encoder: CameraEncoder = "vi_v1"
    """FeatLift; ``none`` leaves it out."""
    vertex_head: bool = True
    """Whether the contact token's state looks back at the evidence and also tells contact by itself
    (:mod:`~hoirecon.contact.modeling.direct_heads`)."""
    voxels: int = 5
    """Voxels along each side of an object's box in which it does so on objects; 0 is without."""
    objects: bool = True
    """Whether contact on objects is learned too."""


def tiny_config(vocab_size: int, tokens: ContactTokens, size: TinySize | None = None) -> NetworkConfig:
    """The network's configuration for a vocabulary."""
    s = size or TinySize()
    return NetworkConfig(
        language=LanguageConfig(vocab_size, s.hidden, 3 * s.hidden, s.layers, s.heads, s.heads,
                                max_position_embeddings=512),
        vision=EvidenceConfig(s.hidden, 3 * s.hidden, s.tower_layers, s.heads, patch_size=s.patch, detail=s.detail),
        sam=SamConfig(img_size=96, patch_size=8, embed_dim=s.prompt, depth=s.sam_layers, num_heads=4, window_size=0,
                      global_attn_indexes=(), mlp_ratio=2.0, out_chans=s.prompt, decoder_heads=4,
                      decoder_mlp_dim=2 * s.prompt, iou_head_hidden_dim=s.prompt // 2),
        tokens=tokens,
        prompt_dim=s.prompt,
        camera_hidden=s.prompt,
        splitter_hidden=s.prompt,
        view_side=s.view_side,
        look_back=s.vertex_head,
        vertex_head=body_model().num_verts if s.vertex_head else 0,
        object_head=s.voxels if s.objects else 0,
        human_weight=3.0,
        object_weight=0.0,  # whether it is trusted with objects is seen after training
        object_views="4MV-Z_HM_BM",
        camera_encoder=s.camera_encoder,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- vocabulary
def vocabulary_words(names: Iterable[str]) -> tuple[str, ...]:
    """Every word that questions about these things and their answers are made of."""
    texts = [SYSTEM, "USER: ASSISTANT:", question("human", "parts", "object"), question("object", "simple", "object")]
    texts += [ANSWER.format(body_parts=", ".join(GROUPS), token=""), ANSWER_THING.format(token=""), NO_CONTACT, *names]
    words = re.findall(r"[\w']+|[^\w\s]", " ".join(texts))
    return tuple(dict.fromkeys(words))


def write_tokenizer(folder: Path, names: Iterable[str]) -> None:
    """Write a vocabulary in which every known word is one token and any other text is spelled in bytes.

    Raises:
        MissingExtraError: sentencepiece is not installed.
    """
    spm = require("sentencepiece", extra="vlm")
    words = vocabulary_words(names)
    whole = [f"\u2581{word}" if re.match(r"\w", word) else word for word in words]
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(words)] * 3), model_writer=model, vocab_size=len(whole) + 400,
        model_type="bpe", byte_fallback=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, add_dummy_prefix=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, hard_vocab_limit=False, minloglevel=2,
        user_defined_symbols=whole,
    )  # fmt: skip
    count = int(spm.SentencePieceProcessor(model_proto=model.getvalue()).vocab_size())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
    settings = {**special, "tokenizer_class": "LlamaTokenizer", "legacy": True, "model_max_length": 512}
    added = {word: count + i for i, word in enumerate(words_to_add(TOKEN_TYPE))}
    for name, content in (("added_tokens", added), ("special_tokens_map", special), ("tokenizer_config", settings)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def tiny_tokenizer(folder: Path, names: Iterable[str]) -> ContactTokenizer:
    """The vocabulary, written to a folder and read back."""
    from hoirecon.contact.prompting.tokenizer import ContactTokenizer

    write_tokenizer(folder, names)
    return ContactTokenizer.from_folder(folder)


# ---------------------------------------------------------------------------------------------------- answers
@cache
def group_verts() -> tuple[IntArray, ...]:
    """Vertices of the body's parts in each group."""
    parts = body_model().parts
    return tuple(parts.verts_of(*(name for name in members if name in parts.names)) for members in GROUPS.values())


def touched_groups(contact: BoolArray) -> BoolArray:
    """(n, groups) which groups contact (n, V) names: the touched share of one of its parts counts, as in the paper."""
    parts = body_model().parts
    columns = [
        np.stack([contact[:, parts.verts_of(name)].mean(1) >= NAMED_SHARE for name in members if name in parts.names])
        for members in GROUPS.values()
    ]
    return np.stack([column.any(0) for column in columns], axis=1)


def answer_text(groups: BoolArray, token: str) -> str:
    """The answer that names these groups."""
    return ANSWER.format(body_parts=", ".join(np.array(list(GROUPS))[groups]), token=token)
