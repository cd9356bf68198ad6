"""What a released folder says of its network: config.json, and what only files beside it or the tensors tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hoirecon.contact.checkpoints.keys import EMBEDDING, Shape
from hoirecon.contact.modeling.config import CameraEncoder, LanguageConfig, NetworkConfig, VisionConfig
from hoirecon.contact.modeling.contact_tokens import SEPARATE_DECODERS, SPELLINGS, ContactTokens
from hoirecon.errors import InputError
from hoirecon.files import read_json
from hoirecon.sam_network import SamConfig

CONFIG, TRAINING = "config.json", "pretrained_config.json"
"""The model's configuration, and the training's settings, which some folders have too."""


class Settings:
    """config.json, with the training's settings for what it does not say."""

    def __init__(self, folder: Path) -> None:
        """Read both files.

        Raises:
            InputError: no config.json, or not a JSON object.
        """
        self.path = folder / CONFIG
        if not self.path.is_file():
            raise InputError(
                f"{folder} is not a checkpoint (it has no {CONFIG}): give the folder of a released InteractVLM model, "
                "or one that 'hoirecon contact convert' wrote"
            )
        self._values = _object(folder / TRAINING) if (folder / TRAINING).is_file() else {}
        self._values |= {key: value for key, value in _object(self.path).items() if value is not None}

    def get(self, name: str, default: Any = None) -> Any:
        """A value as it stands; ``default`` if both files are silent or say null."""
        value = self._values.get(name)
        return default if value is None else value

    def whole(self, name: str, default: int | None = None, low: int = 1, high: int = 1 << 20) -> int:
        """A whole number within bounds that keep a hostile file from asking for endless work."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InputError(f"{self.path}: '{name}' is {value!r}, expected a whole number from {low} to {high}")
        return value

    def number(self, name: str, default: float) -> float:
        """A finite number of at least 0."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise InputError(f"{self.path}: '{name}' is {value!r}, expected a number of at least 0")
        return float(value)

    def text(self, name: str, default: str) -> str:
        """A word."""
        value = self.get(name, default)
        if not isinstance(value, str):
            raise InputError(f"{self.path}: '{name}' is {value!r}, expected a word")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """A truth value; the training's settings may spell it as a word."""
        value = self.get(name, default)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise InputError(f"{self.path}: '{name}' is {value!r}, expected true or false")
        return value


def released_config(
    settings: Settings, shapes: Mapping[str, Shape], vision: VisionConfig, folder: Path
) -> NetworkConfig:
    """Configuration of a released folder's network.

    Args:
        settings: its config.json.
        shapes: shape of each tensor by our names; Segment Anything's sizes and hidden widths are read off them.
        vision: sizes of the image tower.
        folder: where the tokenizer's files lie.

    Raises:
        InputError: values that are missing, of the wrong kind, or contradict each other.
    """
    _check_supported(settings, vision)
    token_type = settings.text("token_type", "Gen")
    encoder = _camera_encoder(settings, shapes)
    transforms = sum(key.startswith("feat_lift.view_transforms.") and key.endswith("weight") for key in shapes)
    base, gate = NetworkConfig(), "feat_lift.spatial_encoder.0.weight"
    config = NetworkConfig(
        language=_language(settings),
        vision=vision,
        sam=_sam(shapes, folder),
        tokens=_tokens(settings, token_type.removesuffix(SEPARATE_DECODERS), folder),
        prompt_dim=settings.whole("out_dim", 256),
        num_views=settings.whole("multiview_channels", transforms or base.num_views, high=1024),
        camera_encoder=encoder,
        camera_hidden=_rows(shapes, gate, base.camera_hidden) if encoder == "vi_v1" else base.camera_hidden,
        splitter_hidden=_rows(shapes, "attention_splitter.input_proj.weight", base.splitter_hidden),
        separate_decoders=token_type.endswith(SEPARATE_DECODERS),
        fusion=settings.flag("use_fusion", any(key.startswith("mv_loc.fusion.") for key in shapes)),
        uncertainty=settings.flag("use_uncertainty", any(key.startswith("mv_loc.uncertainty.") for key in shapes)),
        human_views=settings.text("hC_sam_view_type", base.human_views),
        object_views=settings.text("oC_sam_view_type", base.object_views),
        human_weight=settings.number("hC_loss_weight", base.human_weight),
        object_weight=settings.number("oC_loss_weight", base.object_weight),
        human_questions=settings.text("hC_question_type", base.human_questions),
        object_questions=settings.text("oC_question_type", base.object_questions),
    )
    _check_ids(config, settings, shapes)
    return config


def _check_supported(settings: Settings, vision: VisionConfig) -> None:
    """Refuse what the network is not made for, before it fails further on."""
    fixed = {"hidden_act": "silu", "mm_vision_select_feature": "patch"}
    for name, value in fixed.items():
        if settings.text(name, value) != value:
            raise InputError(f"{settings.path}: '{name}' is {settings.get(name)!r}, but InteractVLM's is '{value}'")
    if settings.get("rope_scaling") is not None:
        raise InputError(f"{settings.path}: scaled rotary positions ('rope_scaling') are not those of InteractVLM")
    length = settings.whole("img_emb_len", vision.num_patches - 1)
    if length != vision.num_patches - 1:
        raise InputError(
            f"{settings.path}: an image makes {length + 1} vectors, but this image tower gives {vision.num_patches}: "
            "give the tower that the model was made with, vision_tower=FOLDER"
        )
    width = settings.whole("mm_hidden_size", vision.hidden_size)
    if width != vision.hidden_size:
        raise InputError(
            f"{settings.path}: the image tower's width is {width}, but that of this tower is {vision.hidden_size}: "
            "give the tower that the model was made with, vision_tower=FOLDER"
        )


def _language(settings: Settings) -> LanguageConfig:
    heads = settings.whole("num_attention_heads", high=1 << 12)
    return LanguageConfig(
        vocab_size=settings.whole("vocab_size", high=1 << 24),
        hidden_size=settings.whole("hidden_size"),
        intermediate_size=settings.whole("intermediate_size"),
        num_layers=settings.whole("num_hidden_layers", high=512),
        num_heads=heads,
        num_key_value_heads=settings.whole("num_key_value_heads", heads, high=1 << 12),
        rms_norm_eps=settings.number("rms_norm_eps", LanguageConfig.rms_norm_eps),
        rope_theta=settings.number("rope_theta", LanguageConfig.rope_theta),
        max_position_embeddings=settings.whole("max_position_embeddings", LanguageConfig.max_position_embeddings),
        bos_token_id=settings.whole("bos_token_id", LanguageConfig.bos_token_id, low=0),
        eos_token_id=settings.whole("eos_token_id", LanguageConfig.eos_token_id, low=0),
        pad_token_id=settings.whole("pad_token_id", LanguageConfig.pad_token_id, low=0),
    )


def _sam(shapes: Mapping[str, Shape], folder: Path) -> SamConfig:
    parts = ("mv_loc.image_encoder.", "mv_loc.prompt_encoder.", "mv_loc.mask_decoder.")
    mine = {key.removeprefix("mv_loc."): shape for key, shape in shapes.items() if key.startswith(parts)}
    if not mine:
        raise InputError(
            f"{folder} holds no mask model (model.visual_model.*): it is a language model, but not InteractVLM's"
        )
    return SamConfig.of_state(mine, folder)


def _camera_encoder(settings: Settings, shapes: Mapping[str, Shape]) -> CameraEncoder:
    """The form that config.json names, else the one that the tensors have.

    ``view_index`` and ``vi_v1`` have tensors of the same names; in the former all are as wide as the prompts.
    """
    if not settings.flag("multiview_cam_cond", any(key.startswith("feat_lift.") for key in shapes)):
        return "none"
    named: str = settings.text("cam_encoder_type", "")
    if named in ("simple", "view_index", "vi_v1"):
        return named  # type: ignore[return-value]  # mypy does not narrow to the literals
    if named:
        raise InputError(f"{settings.path}: there is no camera encoder '{named}' (simple, view_index, vi_v1)")
    if "feat_lift.linear1.weight" in shapes:
        return "simple"
    if not any(key.startswith("feat_lift.") for key in shapes):
        raise InputError(f"{settings.path} asks for a camera encoder, but the weights hold none (cam_pose_encoder.*)")
    hidden, dim = _rows(shapes, "feat_lift.spatial_encoder.0.weight", 0), settings.whole("out_dim", 256)
    return "view_index" if hidden == dim and hidden != NetworkConfig.camera_hidden else "vi_v1"


def _rows(shapes: Mapping[str, Shape], key: str, default: int) -> int:
    shape = shapes.get(key, ())
    return shape[0] if shape else default


def _tokens(settings: Settings, token_type: str, folder: Path) -> ContactTokens:
    """Ids of the contact tokens: config.json's, held against the tokenizer's files, which also fill gaps."""
    if token_type not in SPELLINGS:
        raise InputError(
            f"{settings.path}: there is no token type '{token_type}' ({', '.join(SPELLINGS)}, each also with "
            f"'{SEPARATE_DECODERS}')"
        )
    words = SPELLINGS[token_type]
    added = added_tokens(folder)
    ids: dict[str, int | None] = {}
    for role, name in (("general", "seg_token_idx"), ("human", "hseg_token_idx"), ("object", "oseg_token_idx")):
        word = words.get(role)  # type: ignore[call-overload]  # the roles are the literals
        ids[role] = None if word is None else _id_of(settings, name, word, added)
    general = ids["general"]
    assert general is not None  # every token type has a general word
    return ContactTokens(general, ids["human"], ids["object"], token_type)


def _id_of(settings: Settings, name: str, word: str, added: Mapping[str, int]) -> int:
    if settings.get(name) is None:
        if word not in added:
            raise InputError(
                f"neither {settings.path} ('{name}') nor the tokenizer beside it says which id '{word}' has: put the "
                "model's added_tokens.json or tokenizer_config.json into the folder"
            )
        return added[word]
    stated = settings.whole(name, low=0, high=1 << 24)
    if added.get(word, stated) != stated:
        raise InputError(
            f"{settings.path} says that '{word}' has the id {stated}, the tokenizer beside it says {added[word]}: "
            "use the tokenizer that came with the weights"
        )
    return stated


def added_tokens(folder: Path) -> dict[str, int]:
    """Ids of words that were added to the vocabulary, from whichever of the tokenizer's files are there.

    Raises:
        InputError: such a file is not JSON.
    """
    found: dict[str, int] = {}
    if (path := folder / "tokenizer_config.json").is_file():
        table = _object(path).get("added_tokens_decoder")
        for key, entry in table.items() if isinstance(table, dict) else ():
            if isinstance(entry, dict) and isinstance(entry.get("content"), str) and key.isdecimal():
                found[entry["content"]] = int(key)
    if (path := folder / "added_tokens.json").is_file():
        found |= {word: i for word, i in _object(path).items() if type(i) is int and i >= 0}
    return found


def _check_ids(config: NetworkConfig, settings: Settings, shapes: Mapping[str, Shape]) -> None:
    rows = min(shapes.get(EMBEDDING, (config.language.vocab_size,))[0], config.language.vocab_size)
    for token in config.tokens.ids:
        if token >= rows:
            raise InputError(
                f"{settings.path}: the contact token's id {token} is not in the vocabulary of {rows}: weights, "
                "config.json and tokenizer must come from one model"
            )


def _object(path: Path) -> dict[str, Any]:
    read = read_json(path)
    if not isinstance(read, dict):
        raise InputError(f"{path} holds a {type(read).__name__}, expected a JSON object")
    return read
