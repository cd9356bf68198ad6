"""What a run starts from: LISA's weights, which lack the parts for contact, or InteractVLM's of any kind.

plan = plan_start("LISA_DIR", token_type="Gen")      # headers only
start = load_start(plan, "cuda", torch.bfloat16)     # the weights, and new ones for what is missing

New weights are drawn as the published models' were (normal with standard deviation 0.02, biases 0), each from the
run's seed and its own name. LISA's folder has the layout of released InteractVLM folders, but for FeatLift, the
attention splitter and the words ``[HSEG]`` and ``[OSEG]``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hoirecon.contact.checkpoints.assembly import check_tensors, empty_network, fill, finish
from hoirecon.contact.checkpoints.keys import EMBEDDING, LANGUAGE, shapes_of
from hoirecon.contact.checkpoints.layout import TOKENIZER_FOLDER, TOWER_FOLDER, read_manifest, read_places
from hoirecon.contact.checkpoints.open import kind_of
from hoirecon.contact.checkpoints.released import look_at
from hoirecon.contact.checkpoints.released_weights import Weights
from hoirecon.contact.modeling.config import NetworkConfig, VisionConfig
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.prompting.tokenizer import ContactTokenizer
from hoirecon.errors import InputError

NEW_STD = 0.02
"""Of new weights, as in the published models."""
WORD_TABLES = (EMBEDDING, f"{LANGUAGE}lm_head.weight")
"""Tables with a row for each word."""


@dataclass(frozen=True)
class Wanted:
    """What a recipe asks of the network that it trains."""

    token_type: str = "Gen"
    """Which contact tokens; weights that have more keep theirs."""
    human_views: str = "4MV-Z_Vitru"
    object_views: str = "4MV-Z_HM"
    human: bool = True
    """Whether contact on people is taught."""
    object: bool = False
    """Whether contact on objects or affordance is."""
    human_questions: str = "parts"
    object_questions: str = "afford"


@dataclass(frozen=True, eq=False)
class Plan:
    """A start that was looked at, but not read."""

    folder: Path
    config: NetworkConfig
    """Of the network that will be trained."""
    tokenizer: ContactTokenizer
    """With the words that it needs."""
    weights: Weights
    """Where each tensor lies that the folder has."""
    new: tuple[str, ...]
    """Names of tensors that it does not have."""
    new_words: int
    """Rows that are added to the tables of words."""
    tower: Path | None
    """Folder of the image tower, whose processor's file is taken over."""
    empty: InteractVLMNetwork
    """The network without weights."""
    fingerprint: str
    """Hash of names, shapes and the folder's own description."""

    @property
    def is_base(self) -> bool:
        """Whether the weights know nothing of views, as LISA's."""
        return any(name.startswith("feat_lift.") for name in self.new)


def plan_start(init: str | Path, wanted: Wanted, vision_tower: str | Path | None = None) -> Plan:
    """Look at a folder of weights, before anything is read.

    Args:
        init: LISA's folder, a released InteractVLM folder, or one of ours.
        wanted: by the recipe.
        vision_tower: folder of CLIP's tower, which released folders lack; None looks beside them and in the cache.

    Raises:
        InputError: not such a folder, a vocabulary that does not fit its weights, one view or no photographs.
        MissingModelError: CLIP's tower is not on this machine.
    """
    folder = Path(init)
    native = kind_of(folder) == "native"
    words = folder / TOKENIZER_FOLDER if native else folder
    tokenizer = ContactTokenizer.from_folder(words)
    if native:
        base, weights, tower = _native(folder, vision_tower)
    else:
        source = look_at(folder, vision_tower=vision_tower)
        base, weights, tower = source.config, source.weights, source.tower
    _check(base, tokenizer, folder)
    config, tokenizer = _extended(base, tokenizer, wanted, folder)
    empty = empty_network(config)
    new = tuple(key for key in empty.state_dict() if key not in weights.infos)
    told = (sorted((k, i.shape, i.file.stat().st_size) for k, i in weights.infos.items()), new, wanted)
    digest = hashlib.sha256(repr(told).encode()).hexdigest()[:32]
    rows = config.language.vocab_size - base.language.vocab_size
    return Plan(folder, config, tokenizer, weights, new, rows, tower, empty, digest)


def _native(folder: Path, vision_tower: str | Path | None) -> tuple[NetworkConfig, Weights, Path]:
    if vision_tower is not None:
        raise InputError(f"{folder} has an image tower of its own: leave vision_tower out")
    manifest, infos = read_manifest(folder), read_places(folder)
    check_tensors(shapes_of(empty_network(manifest.config).state_dict()), infos, folder, str)
    return manifest.config, Weights(infos), folder / TOWER_FOLDER


def _check(config: NetworkConfig, tokenizer: ContactTokenizer, folder: Path) -> None:
    if not isinstance(config.vision, VisionConfig):
        raise InputError(
            f"{folder} reads landmarks, not photographs: fine-tune LISA's or InteractVLM's weights, or train a small "
            "model with --config tiny-closedworld"
        )
    if config.num_views == 1:
        raise InputError(f"{folder} knows one view, the photograph: start from weights for contact in 3D, or LISA's")
    rows, words = config.language.vocab_size, tokenizer.vocab_size
    if words > rows:
        raise InputError(
            f"the tokenizer in {folder} has {words} words, the weights have rows for {rows}: weights and tokenizer "
            "must come from one model"
        )


def _extended(
    base: NetworkConfig, tokenizer: ContactTokenizer, wanted: Wanted, folder: Path
) -> tuple[NetworkConfig, ContactTokenizer]:
    """The network that the recipe wants, on top of what there is, and its vocabulary."""
    kind = wanted.token_type if base.tokens.token_type == "Gen" else base.tokens.token_type
    words = tokenizer.extended(kind)
    rows = base.language.vocab_size
    if tokenizer.vocab_size != rows and words.vocab_size != rows:
        raise InputError(
            f"the weights in {folder} have rows for {rows} words, its tokenizer has {tokenizer.vocab_size}: weights "
            "and tokenizer must come from one model"
        )
    tokens = words.contact_tokens(kind)
    if tokens.general != base.tokens.general:
        raise InputError(
            f"config.json in {folder} gives [SEG] the id {base.tokens.general}, its tokenizer {tokens.general}: both "
            "must come from one model"
        )
    config = replace(
        base,
        language=replace(base.language, vocab_size=words.vocab_size),
        tokens=tokens,
        camera_encoder="vi_v1" if base.camera_encoder == "none" else base.camera_encoder,
        human_views=wanted.human_views,
        object_views=wanted.object_views,
        human_weight=3.0 if wanted.human else 0.0,
        object_weight=3.0 if wanted.object else 0.0,
        human_questions=wanted.human_questions,
        object_questions=wanted.object_questions,
    )
    return config, words


def load_start(
    plan: Plan, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0
) -> InteractVLMNetwork:
    """Read the weights and draw those that are missing; the plan's empty network is filled, so call it once.

    Args:
        plan: what was looked at.
        device: where the weights go.
        dtype: their type.
        seed: of new weights.
    """
    network = plan.empty
    fill(network, _tensors(plan, seed), device, dtype)
    finish(network, device)
    return network


def _tensors(plan: Plan, seed: int) -> Iterator[tuple[str, Tensor]]:
    shapes = shapes_of(plan.empty.state_dict())
    for key, tensor in plan.weights.read():
        if key in WORD_TABLES and len(tensor) < shapes[key][0]:
            rows = new_weight(key, (shapes[key][0] - len(tensor), tensor.shape[1]), seed)
            tensor = torch.cat((tensor, rows.to(tensor.dtype)))
        yield key, tensor
    for key in plan.new:
        yield key, new_weight(key, shapes[key], seed)


def new_weight(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """A weight that no file has: normal for matrices, 0 for biases; a function of name, shape and seed alone."""
    if len(shape) < 2:
        return torch.zeros(shape)
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.empty(shape).normal_(0.0, NEW_STD, generator=generator)


def told(plan: Plan) -> Mapping[str, Any]:
    """What a run's card says of its start: plain values."""
    return {
        "weights": plan.folder.resolve().name,
        "kind": "base (LISA)" if plan.is_base else "InteractVLM",
        "new_tensors": list(plan.new),
        "new_words": plan.new_words,
        "fingerprint": plan.fingerprint,
    }
