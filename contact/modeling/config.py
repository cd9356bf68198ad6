"""Sizes and choices of one InteractVLM network; the defaults are the paper's 13B model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hoirecon.contact.modeling.contact_tokens import ContactTokens
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig
from hoirecon.errors import InputError
from hoirecon.sam_network import SamConfig

CameraEncoder = Literal["none", "simple", "view_index", "vi_v1"]
"""How an embedding is told from which camera it will be used; ``vi_v1`` is the paper's FeatLift."""

CAMERA_NUMBERS = 5
"""Distance, elevation, azimuth, shift to x, shift to y."""


@dataclass(frozen=True)
class LanguageConfig:
    """Sizes of the LLaMA-style language model."""

    vocab_size: int = 32003
    """Tokens, the added ones included."""
    hidden_size: int = 5120
    """Width of the residual stream."""
    intermediate_size: int = 13824
    """Hidden width of the gated MLP."""
    num_layers: int = 40
    """Decoder layers."""
    num_heads: int = 40
    """Attention heads."""
    num_key_value_heads: int = 40
    """Heads of keys and values; equal to ``num_heads`` without grouping."""
    rms_norm_eps: float = 1e-5
    """Epsilon of the norms."""
    rope_theta: float = 10000.0
    """Base of the rotary positions."""
    max_position_embeddings: int = 4096
    """Longest sequence it was made for."""
    bos_token_id: int = 1
    """Token that begins a text."""
    eos_token_id: int = 2
    """Token that ends an answer."""
    pad_token_id: int = 0
    """Token that fills up a batch."""


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of the CLIP image tower that feeds the language model."""

    hidden_size: int = 1024
    """Width."""
    intermediate_size: int = 4096
    """Hidden width of the MLP."""
    num_layers: int = 24
    """Layers."""
    num_heads: int = 16
    """Attention heads."""
    image_size: int = 224
    """Side of the square input, pixels."""
    patch_size: int = 14
    """Side of a patch, pixels."""
    hidden_act: str = "quick_gelu"
    """Activation of the MLP."""
    layer_norm_eps: float = 1e-5
    """Epsilon of the norms."""
    select_layer: int = -2
    """Which hidden state the language model sees; -2 is the one before the last."""

    @property
    def num_patches(self) -> int:
        """Vectors that one image becomes in the language model's input."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class NetworkConfig:
    """Everything that fixes the shape of the network's tensors and the way they are used."""

    language: LanguageConfig = field(default_factory=LanguageConfig)
    """The language model."""
    vision: VisionConfig | EvidenceConfig = field(default_factory=VisionConfig)
    """The image tower: CLIP's, or one that sees landmarks and masks."""
    sam: SamConfig = field(default_factory=SamConfig)
    """MV-Loc's Segment Anything."""
    tokens: ContactTokens = field(default_factory=ContactTokens)
    """Ids of the contact tokens."""
    prompt_dim: int = 256
    """Width of a contact token's embedding; equals ``sam.out_chans``."""
    num_views: int = 4
    """Views that are decoded together; 1 is a model for the photograph itself."""
    camera_encoder: CameraEncoder = "vi_v1"
    """How FeatLift tells an embedding its view."""
    camera_hidden: int = 128
    """Hidden width of the camera encoder."""
    splitter_hidden: int = 128
    """Hidden width of the attention splitter; it exists if the tokens tell human from object."""
    separate_decoders: bool = False
    """Own mask decoders for human and object beside the common one (checkpoints' suffix ``DifDe``)."""
    fusion: bool = False
    """Whether language features are fused into the image embeddings; off in every released model."""
    uncertainty: bool = False
    """Whether a head predicts uncertainty per pixel; off in every released model."""
    human_views: str = "4MV-Z_Vitru"
    """Name of the view table of bodies."""
    object_views: str = "4MV-Z_HM"
    """Name of the view table of objects."""
    view_side: int = 0
    """Side of the views that are drawn and lifted from, pixels; 0 is the mask network's own side. A small mask network
    sees them shrunk, and its masks are brought to their size: at its own 96 pixels most vertices of a hand share a
    pixel or have none."""
    look_back: bool = False
    """Whether a contact token's state looks once more at what the tower saw
    (:class:`~hoirecon.contact.modeling.look_back.LookBack`); no released model does."""
    vertex_head: int = 0
    """Vertices of the one body on which a contact token's state also tells contact by itself
    (:class:`~hoirecon.contact.modeling.direct_heads.VertexHead`); 0 is without, as in every released model."""
    object_head: int = 0
    """Voxels along each side of an object's box in which it does the same on objects; 0 is without."""
    direct_share: float = 0.5
    """Share of the vertex head in the answer, the rest is the lifted masks'; 0 leaves the head to training."""
    object_share: float = 0.5
    """The same of the object head."""
    human_cut: float = 0.5
    """Probability from which a vertex of the body counts as touched, where a vertex head takes part; odds are shifted
    so that it becomes one half, from which on everybody takes contact (``ContactMap.with_threshold_at_half``)."""
    object_cut: float = 0.5
    """The same on objects, where an object head takes part."""
    human_weight: float = 3.0
    """Weight of human contact in training; 0 says that the model never learned it."""
    object_weight: float = 0.0
    """Weight of object contact in training; 0 says that the model never learned it."""
    human_questions: str = "parts"
    """Templates of questions on bodies that it was trained with."""
    object_questions: str = "afford"
    """Templates of questions on objects that it was trained with."""

    def __post_init__(self) -> None:
        if self.prompt_dim != self.sam.out_chans:
            raise InputError(
                f"embeddings of width {self.prompt_dim} cannot prompt a mask decoder of width {self.sam.out_chans}"
            )
        if min(self.vertex_head, self.object_head) < 0 or not all(
            0 <= share <= 1 for share in (self.direct_share, self.object_share)
        ):
            raise InputError(
                "vertex_head and object_head are at least 0, direct_share and object_share lie between 0 and 1"
            )
        if not all(0 < cut < 1 for cut in (self.human_cut, self.object_cut)):
            raise InputError("human_cut and object_cut lie between 0 and 1, ends left out")
        if self.camera_encoder not in ("none", "simple", "view_index", "vi_v1"):
            raise InputError(
                f"there is no camera encoder '{self.camera_encoder}': choose none, simple, view_index or vi_v1"
            )

    @property
    def map_side(self) -> int:
        """Side of the views that are drawn, pixels."""
        return self.view_side or self.sam.img_size

    @property
    def sees_evidence(self) -> bool:
        """Whether the tower takes landmarks and masks in place of a photograph."""
        return isinstance(self.vision, EvidenceConfig)

    @property
    def splits_attention(self) -> bool:
        """Whether the attention splitter exists."""
        return self.tokens.human is not None


def config_dict(config: NetworkConfig) -> dict[str, Any]:
    """Plain values, for JSON."""
    from dataclasses import asdict

    return asdict(config)


def config_from_dict(values: Mapping[str, Any]) -> NetworkConfig:
    """The inverse of :func:`config_dict`.

    Raises:
        InputError: an unknown or missing name, or a value of the wrong kind.
    """
    parts: dict[str, Any] = {
        "language": LanguageConfig,
        "vision": EvidenceConfig if "landmarks" in dict(values.get("vision", {})) else VisionConfig,
        "sam": SamConfig,
        "tokens": ContactTokens,
    }
    try:
        made = {name: cls(**_tuples(values[name])) for name, cls in parts.items()}
        rest = {name: value for name, value in values.items() if name not in parts}
        return NetworkConfig(**made, **rest)
    except (TypeError, KeyError, ValueError) as err:
        raise InputError(f"this is not the configuration of an InteractVLM network ({err})") from err


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists where the configs have tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
