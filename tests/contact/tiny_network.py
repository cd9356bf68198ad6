"""Networks of the whole architecture that are small enough for a test, with weights that make every part matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from hoirecon.contact.modeling.config import LanguageConfig, NetworkConfig, VisionConfig
from hoirecon.contact.modeling.contact_tokens import ContactTokens
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.modeling.vlm import VLM
from hoirecon.sam_network import SamConfig

VOCABULARY = 97


def tiny_config(**changes: Any) -> NetworkConfig:
    """A joint model: splitter, four views, one decoder; grouped key heads, as no released model has."""
    config = NetworkConfig(
        language=LanguageConfig(VOCABULARY, 48, 80, 3, 4, 2, max_position_embeddings=96),
        vision=VisionConfig(32, 64, 3, 4, 24, 8),
        sam=SamConfig(
            img_size=64,
            embed_dim=32,
            depth=2,
            num_heads=4,
            window_size=3,
            global_attn_indexes=(1,),
            out_chans=32,
            decoder_mlp_dim=64,
            iou_head_hidden_dim=32,
        ),
        tokens=ContactTokens(90, 91, 92, "Gen-Hu-Obj"),
        prompt_dim=32,
        camera_hidden=24,
        splitter_hidden=40,
    )
    return replace(config, **changes)


def tiny_vlm(seed: int = 0, **changes: Any) -> VLM:
    """Random weights, large enough for attention to be sharp and for answers to vary."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vlm = VLM(tiny_config(**changes)).eval()
        louder(vlm.language_model)
        return vlm


def tiny_network(seed: int = 0, **changes: Any) -> InteractVLMNetwork:
    """The same for the whole network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = InteractVLMNetwork(tiny_config(**changes)).eval()
        for part in (network.vlm.language_model, network.token_projection, network.attention_splitter):
            if part is not None:
                louder(part)
        return network


def louder(part: nn.Module) -> None:
    """Matrices with entries of about one over the root of their width, so that no part is drowned by the others."""
    with torch.no_grad():
        for parameter in part.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=1.5 * parameter.shape[1] ** -0.5)
