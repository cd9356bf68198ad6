"""Names and shapes of the full-size network against the published layout, written down here a second time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hoirecon.contact.checkpoints.keys import expected_released_shapes, is_ignored, to_ours, to_released
from hoirecon.contact.modeling.config import LanguageConfig, NetworkConfig
from hoirecon.contact.modeling.contact_tokens import ContactTokens

Table = dict[str, tuple[int, ...]]


def linear(name: str, out: int, into: int) -> Table:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> Table:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def language_13b(vocab: int) -> Table:
    table: Table = {
        "model.embed_tokens.weight": (vocab, 5120),
        "lm_head.weight": (vocab, 5120),
        "model.norm.weight": (5120,),
        **linear("model.mm_projector", 5120, 1024),
        **linear("model.text_hidden_fcs.0.0", 5120, 5120),
        **linear("model.text_hidden_fcs.0.2", 256, 5120),
    }
    for i in range(40):
        layer = f"model.layers.{i}"
        table |= {f"{layer}.self_attn.{x}_proj.weight": (5120, 5120) for x in "qkvo"}
        table |= {f"{layer}.mlp.{x}_proj.weight": (13824, 5120) for x in ("gate", "up")}
        table[f"{layer}.mlp.down_proj.weight"] = (5120, 13824)
        table |= {f"{layer}.{x}_layernorm.weight": (5120,) for x in ("input", "post_attention")}
    return table


def vit_h() -> Table:
    """Segment Anything's ViT-H and prompt encoder, as in its published checkpoint."""
    p = "model.visual_model.image_encoder"
    table: Table = {
        f"{p}.pos_embed": (1, 64, 64, 1280),
        f"{p}.patch_embed.proj.weight": (1280, 3, 16, 16),
        f"{p}.patch_embed.proj.bias": (1280,),
        f"{p}.neck.0.weight": (256, 1280, 1, 1),
        f"{p}.neck.2.weight": (256, 256, 3, 3),
        **norm(f"{p}.neck.1", 256),
        **norm(f"{p}.neck.3", 256),
    }
    for i in range(32):
        block, reach = f"{p}.blocks.{i}", 127 if i in (7, 15, 23, 31) else 27
        table |= norm(f"{block}.norm1", 1280) | norm(f"{block}.norm2", 1280)
        table |= {f"{block}.attn.rel_pos_h": (reach, 80), f"{block}.attn.rel_pos_w": (reach, 80)}
        table |= linear(f"{block}.attn.qkv", 3840, 1280) | linear(f"{block}.attn.proj", 1280, 1280)
        table |= linear(f"{block}.mlp.lin1", 5120, 1280) | linear(f"{block}.mlp.lin2", 1280, 5120)
    q = "model.visual_model.prompt_encoder"
    table |= {f"{q}.point_embeddings.{i}.weight": (1, 256) for i in range(4)}
    table |= {f"{q}.no_mask_embed.weight": (1, 256), f"{q}.not_a_point_embed.weight": (1, 256)}
    table[f"{q}.pe_layer.positional_encoding_gaussian_matrix"] = (2, 128)
    for i, shape in ((0, (4, 1, 2, 2)), (3, (16, 4, 2, 2)), (6, (256, 16, 1, 1))):
        table |= {f"{q}.mask_downscaling.{i}.weight": shape, f"{q}.mask_downscaling.{i}.bias": shape[:1]}
    return table | norm(f"{q}.mask_downscaling.1", 4) | norm(f"{q}.mask_downscaling.4", 16)


def attention(name: str, inner: int) -> Table:
    sides = (linear(f"{name}.{x}_proj", inner, 256) for x in "qkv")
    return {k: v for side in sides for k, v in side.items()} | linear(f"{name}.out_proj", 256, inner)


def decoder(name: str) -> Table:
    p = f"model.visual_model.{name}"
    table: Table = {f"{p}.iou_token.weight": (1, 256), f"{p}.mask_tokens.weight": (4, 256)}
    for i in range(2):
        layer = f"{p}.transformer.layers.{i}"
        table |= attention(f"{layer}.self_attn", 256)
        table |= attention(f"{layer}.cross_attn_token_to_image", 128)
        table |= attention(f"{layer}.cross_attn_image_to_token", 128)
        table |= linear(f"{layer}.mlp.lin1", 2048, 256) | linear(f"{layer}.mlp.lin2", 256, 2048)
        for n in range(1, 5):
            table |= norm(f"{layer}.norm{n}", 256)
    table |= attention(f"{p}.transformer.final_attn_token_to_image", 128) | norm(
        f"{p}.transformer.norm_final_attn", 256
    )
    table |= {f"{p}.output_upscaling.0.weight": (256, 64, 2, 2), f"{p}.output_upscaling.0.bias": (64,)}
    table |= {f"{p}.output_upscaling.3.weight": (64, 32, 2, 2), f"{p}.output_upscaling.3.bias": (32,)}
    table |= norm(f"{p}.output_upscaling.1", 64)
    for token in range(4):
        for i, width in enumerate((256, 256, 32)):
            table |= linear(f"{p}.output_hypernetworks_mlps.{token}.layers.{i}", width, 256)
    for i, width in enumerate((256, 256, 4)):
        table |= linear(f"{p}.iou_prediction_head.layers.{i}", width, 256)
    return table


def camera_encoder(kind: str) -> Table:
    if kind == "none":
        return {}
    if kind == "simple":
        return linear("cam_pose_encoder.linear1", 256, 5)
    hidden = {"vi_v1": 128, "view_index": 256}[kind]
    table = linear("cam_pose_encoder.spatial_encoder.0", hidden, 5)
    table |= linear("cam_pose_encoder.spatial_encoder.2", hidden, hidden)
    for view in range(4):
        table |= linear(f"cam_pose_encoder.view_transforms.{view}", 256, hidden)
    return table


def splitter() -> Table:
    table = linear("attention_splitter.input_proj", 128, 256) | linear("attention_splitter.output_proj", 256, 128)
    for name in ("query_human", "query_object", "key", "value"):
        table |= linear(f"attention_splitter.{name}", 128, 128)
    return table


GEN = NetworkConfig()
JOINT = NetworkConfig(
    language=LanguageConfig(vocab_size=32005), tokens=ContactTokens(32000, 32003, 32004, "Gen-Hu-Obj")
)
INTERACTION = NetworkConfig(
    language=LanguageConfig(vocab_size=32004), tokens=ContactTokens(32000, 32003, 32003, "Gen-Int")
)
BASE = {**vit_h(), **decoder("mask_decoder")}
OWN_DECODERS = {**decoder("human_mask_decoder"), **decoder("object_mask_decoder")}


@pytest.mark.parametrize("encoder", ["none", "simple", "view_index", "vi_v1"])
def test_every_tensor_of_the_13b_model_by_camera_encoder(encoder: str) -> None:
    expected = language_13b(32003) | BASE | camera_encoder(encoder)
    assert expected_released_shapes(replace(GEN, camera_encoder=encoder)) == expected


@pytest.mark.parametrize(("config", "vocab"), [(JOINT, 32005), (INTERACTION, 32004)])
@pytest.mark.parametrize("separate", [False, True])
def test_every_tensor_of_the_13b_models_with_own_tokens(config: NetworkConfig, vocab: int, separate: bool) -> None:
    expected = language_13b(vocab) | BASE | camera_encoder("vi_v1") | splitter() | (OWN_DECODERS if separate else {})
    assert expected_released_shapes(replace(config, separate_decoders=separate)) == expected


def test_the_13b_model_has_the_published_size() -> None:
    numbers = sum(_count(shape) for shape in expected_released_shapes(GEN).values())
    assert 13.6e9 < numbers < 13.8e9  # 13.0 of LLaMA, 0.64 of ViT-H, some projections
    assert 2 * numbers == pytest.approx(27.4e9, rel=0.01)  # bytes in bf16


def test_optional_modules_have_the_published_names() -> None:
    more = expected_released_shapes(replace(GEN, fusion=True, uncertainty=True)).keys() - expected_released_shapes(GEN)
    assert {key.split(".")[2] for key in more} == {"fusion", "uncertainty"}
    assert "model.visual_model.fusion.llava_proj.weight" in more
    assert "model.visual_model.uncertainty.linear3.bias" in more


def test_names_there_and_back() -> None:
    names = expected_released_shapes(replace(JOINT, separate_decoders=True))
    assert [to_released(to_ours(name)) for name in names] == list(names)
    assert len({to_ours(name) for name in names}) == len(names)
    assert not any(is_ignored(name) for name in names)


def test_computed_frequencies_and_a_copy_of_the_tower_are_no_state() -> None:
    assert is_ignored("model.layers.3.self_attn.rotary_emb.inv_freq")
    assert is_ignored("model.vision_tower.vision_tower.vision_model.post_layernorm.bias")


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total
