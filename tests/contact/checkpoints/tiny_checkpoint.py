"""Small released folders with random weights, written the way the reference's tools write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from hoirecon.contact.checkpoints.keys import TOWER, to_released
from hoirecon.contact.modeling.config import LanguageConfig, NetworkConfig, VisionConfig
from hoirecon.contact.modeling.contact_tokens import ContactTokens
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.sam_network import SamConfig

IDS = {"Gen": (40, None, None), "Gen-Int": (40, 41, 41), "Gen-Hu-Obj": (40, 41, 42)}


def tiny_config(token_type: str = "Gen-Hu-Obj", **changes: Any) -> NetworkConfig:
    """A network of some 60 000 numbers."""
    general, human, thing = IDS[token_type]
    values: dict[str, Any] = {
        "language": LanguageConfig(48, 32, 48, 2, 4, 4, max_position_embeddings=64),
        "vision": VisionConfig(24, 32, 2, 4, 16, 8),
        "sam": SamConfig(
            img_size=48,
            embed_dim=16,
            depth=2,
            num_heads=2,
            window_size=2,
            global_attn_indexes=(1,),
            out_chans=16,
            decoder_depth=1,
            decoder_mlp_dim=16,
            iou_head_depth=2,
            iou_head_hidden_dim=16,
        ),
        "tokens": ContactTokens(general, human, thing, token_type),
        "prompt_dim": 16,
        "object_weight": 3.0,
    }
    return NetworkConfig(**(values | changes))


def random_network(config: NetworkConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> InteractVLMNetwork:
    """Every tensor random, also those that begin as zeros or ones."""
    network = InteractVLMNetwork(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(0.2 * torch.randn(value.shape, generator=generator))
    return network.to(dtype).eval()


def released_json(config: NetworkConfig) -> dict[str, Any]:
    """config.json with the keys that the reference writes."""
    language, tokens, vision = config.language, config.tokens, config.vision
    assert isinstance(vision, VisionConfig)
    return {
        "architectures": ["InteractVLMForCausalLM"],
        "model_type": "llava",
        "vocab_size": language.vocab_size,
        "hidden_size": language.hidden_size,
        "intermediate_size": language.intermediate_size,
        "num_hidden_layers": language.num_layers,
        "num_attention_heads": language.num_heads,
        "num_key_value_heads": language.num_key_value_heads,
        "rms_norm_eps": language.rms_norm_eps,
        "max_position_embeddings": language.max_position_embeddings,
        "hidden_act": "silu",
        "rope_scaling": None,
        "mm_vision_tower": "openai/a-tower-nobody-has",
        "mm_hidden_size": vision.hidden_size,
        "mm_vision_select_layer": vision.select_layer,
        "mm_vision_select_feature": "patch",
        "out_dim": config.prompt_dim,
        "img_emb_len": vision.num_patches - 1,
        "token_type": tokens.token_type + ("-DifDe" if config.separate_decoders else ""),
        "seg_token_idx": tokens.general,
        "hseg_token_idx": tokens.human,
        "oseg_token_idx": tokens.object,
        "cam_encoder_type": config.camera_encoder,
        "multiview_cam_cond": config.camera_encoder != "none",
        "multiview_channels": config.num_views,
        "hC_sam_view_type": config.human_views,
        "oC_sam_view_type": config.object_views,
        "hC_loss_weight": config.human_weight,
        "oC_loss_weight": config.object_weight,
        "hC_question_type": config.human_questions,
        "oC_question_type": config.object_questions,
        "use_fusion": config.fusion,
        "use_uncertainty": config.uncertainty,
    }


def released_state(network: InteractVLMNetwork) -> dict[str, Tensor]:
    """Tensors by their released names, rotary frequencies included, image tower left out."""
    state = {to_released(k): v for k, v in network.state_dict().items() if not k.startswith(TOWER)}
    for layer in range(network.config.language.num_layers):
        state[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    return state


def write_released(folder: Path, network: InteractVLMNetwork, shards: int = 1, kind: str = "bin") -> Path:
    """A released folder with its image tower inside."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(released_json(network.config)))
    write_weights(folder, released_state(network), shards, kind)
    write_tower(folder / "vision_tower", network)
    return folder


def write_weights(folder: Path, state: Mapping[str, Tensor], shards: int, kind: str) -> None:
    """One file, or several with an index, as transformers names them."""
    stem = {"bin": "pytorch_model", "safetensors": "model"}[kind]
    if shards == 1:
        write_tensors(folder / f"{stem}.{kind}", state)
        return
    table: dict[str, str] = {}
    for i in range(shards):
        name = f"{stem}-{i + 1:05d}-of-{shards:05d}.{kind}"
        mine = {key: state[key] for key in list(state)[i::shards]}
        write_tensors(folder / name, mine)
        table |= dict.fromkeys(mine, name)
    (folder / f"{stem}.{kind}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))


def write_tensors(path: Path, state: Mapping[str, Tensor]) -> None:
    """One file of tensors by its ending."""
    plain = {key: value.detach().clone().contiguous() for key, value in state.items()}
    if path.suffix == ".bin":
        torch.save(plain, path)
    else:
        save_file(plain, path, {"format": "pt"})


def write_tower(folder: Path, network: InteractVLMNetwork) -> None:
    """The image tower as CLIP's folders are, with the text half's leavings that a reader must pass over."""
    folder.mkdir(parents=True, exist_ok=True)
    v = network.config.vision
    assert isinstance(v, VisionConfig)
    part = {
        "hidden_size": v.hidden_size,
        "intermediate_size": v.intermediate_size,
        "num_hidden_layers": v.num_layers,
        "num_attention_heads": v.num_heads,
        "image_size": v.image_size,
        "patch_size": v.patch_size,
        "hidden_act": v.hidden_act,
    }
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": part}))
    state = {k.removeprefix(TOWER): t for k, t in network.state_dict().items() if k.startswith(TOWER)}
    whole = {f"vision_model.{key}": tensor for key, tensor in state.items()}
    whole |= {"text_model.final_layer_norm.bias": torch.ones(3), "logit_scale": torch.ones(())}
    write_tensors(folder / "pytorch_model.bin", whole | {"vision_model.embeddings.position_ids": torch.arange(5)[None]})
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "CLIPImageProcessor"}')


def same_tensors(a: Any, b: Any) -> bool:
    """Whether two networks hold the same bits under the same names."""
    one, two = a.state_dict(), b.state_dict()
    return list(one) == list(two) and all(one[k].dtype == two[k].dtype and torch.equal(one[k], two[k]) for k in one)


def outputs(network: InteractVLMNetwork) -> list[Tensor]:
    """What one question gives at every stage."""
    config, generator = network.config, torch.Generator().manual_seed(7)
    kind = network.vlm.projector.weight.dtype
    side, h = config.vision.image_size, config.sam.img_size
    with torch.no_grad():
        image = network.vlm.image_tokens(torch.randn(1, 3, side, side, generator=generator).to(kind))[0]
        hidden = network.vlm.hidden(network.vlm.embed([1, -200, 5, 6], image)[None])
        ids = list(config.tokens.ids)
        prompts = network.contact_prompts(hidden[0, -len(ids) :], ids, torch.rand(config.num_views, 5).fill_(0.3))
        views = network.mv_loc.encode(torch.full((config.num_views, 3, h, h), 90.0))
        masks = [network.mv_loc.localize(prompts, views, role).logits for role in ("human", "object", "general")]
        return [network.vlm.logits(hidden), prompts, *masks]
