"""MV-Loc: slow twins of localisation, decoders per role, upscaling, what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hoirecon.contact.modeling.config import LanguageConfig, NetworkConfig
from hoirecon.contact.modeling.contact_tokens import Role
from hoirecon.contact.modeling.mv_loc import LowRes, MVLoc
from hoirecon.errors import InputError
from hoirecon.sam_network import SamConfig

pytest.importorskip("segment_anything")

DIM, SIDE, VIEWS, SIZE = 16, 4, 3, 32
SAM = SamConfig(
    img_size=SIZE,
    patch_size=8,
    embed_dim=12,
    depth=2,
    num_heads=2,
    window_size=3,
    global_attn_indexes=(1,),
    out_chans=DIM,
    decoder_mlp_dim=20,
    iou_head_hidden_dim=10,
    mask_in_chans=4,
)


def mv_loc(separate: bool = False, fusion: bool = False, uncertainty: bool = False) -> MVLoc:
    torch.manual_seed(7)
    config = NetworkConfig(
        sam=SAM,
        prompt_dim=DIM,
        num_views=VIEWS,
        separate_decoders=separate,
        fusion=fusion,
        uncertainty=uncertainty,
        language=LanguageConfig(hidden_size=6),
    )
    return MVLoc(config).eval().requires_grad_(False)


def given(prompts: int = 2, tokens: int = VIEWS, views: int = VIEWS) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(8)
    return (
        torch.randn(prompts, tokens, DIM, generator=draw),
        torch.randn(views, DIM, SIDE, SIDE, generator=draw),
    )


def one_pair(model: MVLoc, tokens: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
    """The definition for a single prompt and view: learned tokens, then all embeddings; mask token 0 answers."""
    decoder = model.mask_decoder
    learned = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    queries = torch.cat([learned, tokens])[None]
    image = feature[None] + model.prompt_encoder.no_mask_embed.weight[:, :, None, None]
    states, places = decoder.transformer(image, model.prompt_encoder.get_dense_pe(), queries)
    upscaled = decoder.output_upscaling(places.transpose(1, 2).reshape(1, DIM, SIDE, SIDE))
    filters = decoder.output_hypernetworks_mlps[0](states[:, 1])
    mask = torch.einsum("c,chw->hw", filters[0], upscaled[0])
    return mask, decoder.iou_prediction_head(states[:, 0])[0, 0]


def test_localisation_is_what_a_loop_over_prompts_and_views_says() -> None:
    model, (prompts, features) = mv_loc(), given()
    low = model.localize(prompts, features, "general")
    assert low.logits.shape == (2, VIEWS, 4 * SIDE, 4 * SIDE)
    assert low.iou.shape == (2, VIEWS)
    for s, tokens in enumerate(prompts):
        for v, feature in enumerate(features):
            mask, iou = one_pair(model, tokens, feature)
            torch.testing.assert_close(low.logits[s, v], mask, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(low.iou[s, v], iou, atol=1e-5, rtol=1e-5)


def test_every_view_hears_every_token_of_its_prompt_and_none_of_another() -> None:
    model, (prompts, features) = mv_loc(), given()
    before = model.localize(prompts, features, "general").logits
    prompts[0, 2] += 1  # the embedding meant for the last view
    after = model.localize(prompts, features, "general").logits
    changed = (after - before).abs().amax(dim=(-1, -2))
    assert (changed[0] > 1e-6).all()
    assert (changed[1] == 0).all()


def test_the_order_of_views_goes_through_and_that_of_tokens_is_of_no_account() -> None:
    model, (prompts, features), order = mv_loc(), given(), [2, 0, 1]
    low = model.localize(prompts, features, "general")
    turned = model.localize(prompts[:, order], features[order], "general")
    torch.testing.assert_close(turned.logits, low.logits[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(turned.iou, low.iou[:, order], atol=1e-5, rtol=1e-5)


def test_one_prompt_or_one_view_at_a_time_gives_the_same() -> None:
    model, (prompts, features) = mv_loc(), given(prompts=3)
    whole = model.localize(prompts, features, "general").logits
    by_prompt = torch.cat([model.localize(p[None], features, "general").logits for p in prompts])
    by_view = torch.cat([model.localize(prompts, f[None], "general").logits for f in features], dim=1)
    torch.testing.assert_close(by_prompt, whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(by_view, whole, atol=1e-5, rtol=1e-5)


def test_no_prompt_gives_no_mask() -> None:
    model, (prompts, features) = mv_loc(), given(prompts=0)
    low = model.localize(prompts, features, "human")
    assert low.logits.shape == (0, VIEWS, 4 * SIDE, 4 * SIDE)
    assert low.iou.shape == (0, VIEWS)
    assert model.upscale(low.logits, (SIZE, SIZE), (5, 6)).shape == (0, VIEWS, 5, 6)


def roles(model: MVLoc) -> dict[Role, LowRes]:
    prompts, features = given(prompts=1)
    names: tuple[Role, ...] = ("general", "human", "object")
    return {role: model.localize(prompts, features, role) for role in names}


def test_a_common_decoder_answers_every_role_alike() -> None:
    low = roles(mv_loc())
    assert torch.equal(low["human"].logits, low["general"].logits)
    assert torch.equal(low["object"].logits, low["general"].logits)


def test_separate_decoders_answer_their_own_role() -> None:
    model = mv_loc(separate=True)
    low = roles(model)
    for role in ("human", "object"):
        common = mv_loc()
        common.mask_decoder.load_state_dict(getattr(model, f"{role}_mask_decoder").state_dict())
        common.prompt_encoder.load_state_dict(model.prompt_encoder.state_dict())
        assert torch.equal(low[role].logits, roles(common)["general"].logits)
        assert (low[role].logits - low["general"].logits).abs().max() > 1e-3


def test_collapsed_decoders_are_the_objects() -> None:
    model = mv_loc(separate=True)
    before = roles(model)["object"].logits
    model.collapse_decoders()
    low = roles(model)
    assert all(torch.equal(low[role].logits, before) for role in low)
    assert not any(key.startswith(("human_", "object_")) for key in model.state_dict())
    model.collapse_decoders()  # a second time changes nothing
    assert torch.equal(roles(model)["human"].logits, before)


def test_gradients_reach_prompts_and_decoder_but_not_the_image_encoder() -> None:
    model = mv_loc().requires_grad_(True)
    features = model.encode(torch.rand(VIEWS, 3, SIZE, SIZE) * 255)
    prompts = given()[0].requires_grad_()
    low = model.localize(prompts, features, "general")
    low.logits.square().sum().backward()  # type: ignore[no-untyped-call]
    assert prompts.grad is not None
    assert (prompts.grad.abs().sum(dim=-1) > 0).all()
    assert model.mask_decoder.iou_token.weight.grad is not None
    assert all(p.grad is None for p in model.image_encoder.parameters())


def test_dense_positions_in_float32_are_segment_anythings() -> None:
    model = mv_loc()
    torch.testing.assert_close(model.dense_position(), model.prompt_encoder.get_dense_pe(), atol=1e-5, rtol=0)


def test_dense_positions_in_bfloat16_are_rounded_at_every_step() -> None:
    """Number by number: after the sum of products, after 2 pi, after sine and cosine."""
    model = mv_loc().bfloat16()
    gaussian = model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    assert gaussian.dtype == torch.bfloat16

    def rounded(value: float) -> float:
        return float(torch.tensor(value).bfloat16())

    position = model.dense_position()
    assert position.dtype == torch.bfloat16
    for i, j in ((0, 0), (1, 3), (3, 2)):
        x, y = 2 * (j + 0.5) / SIDE - 1, 2 * (i + 0.5) / SIDE - 1
        for c in range(DIM // 2):
            phase = rounded(2 * math.pi * rounded(x * float(gaussian[0, c]) + y * float(gaussian[1, c])))
            assert float(position[0, c, i, j]) == rounded(math.sin(phase))
            assert float(position[0, c + DIM // 2, i, j]) == rounded(math.cos(phase))
    exact = model.float().dense_position()
    assert (position - exact).abs().max() > 1e-3


@pytest.mark.parametrize(("resized", "original"), [((32, 32), (32, 32)), ((32, 20), (61, 37)), ((9, 32), (5, 17))])
def test_upscaling_is_segment_anythings(resized: tuple[int, int], original: tuple[int, int]) -> None:
    model, sam = mv_loc(), SAM.build()
    logits = 10 * torch.randn(2, VIEWS, 4 * SIDE, 4 * SIDE)
    expected = sam.postprocess_masks(logits, resized, original)
    assert torch.equal(model.upscale(logits, resized, original), expected)
    assert torch.equal(model.upscale(logits[0, 0], resized, original), expected[0, 0])


def test_upscaling_happens_in_float32() -> None:
    model, logits = mv_loc(), torch.randn(2, 4 * SIDE, 4 * SIDE).bfloat16()
    out = model.upscale(logits, (SIZE, SIZE), (50, 50))
    assert out.dtype == torch.float32
    assert torch.equal(out, model.upscale(logits.float(), (SIZE, SIZE), (50, 50)))


def test_bfloat16_runs_through_and_takes_cached_float32_features() -> None:
    prompts, features = given()
    exact = mv_loc().localize(prompts, features, "human")
    low = mv_loc().bfloat16().localize(prompts, features, "human")
    assert low.logits.dtype == torch.bfloat16
    scale = float(exact.logits.abs().max())
    torch.testing.assert_close(low.logits.float(), exact.logits, atol=0.05 * scale, rtol=0)


def test_the_full_size_runs_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = MVLoc(NetworkConfig(separate_decoders=True)).bfloat16()
        prompts = torch.empty(1, 4, 256, dtype=torch.bfloat16)
        features = model.encode(torch.empty(4, 3, 1024, 1024, dtype=torch.uint8))
        low = model.localize(prompts, features, "human")
        masks = model.upscale(low.logits, (1024, 1024), (1024, 1024))
    assert masks.shape == (1, 4, 1024, 1024)
    assert masks.dtype == torch.float32
    decoder = {key for key in model.state_dict() if key.startswith("mask_decoder.")}
    assert {f"human_{key}" for key in decoder} <= set(model.state_dict())


def test_optional_parts_exist_only_if_wanted() -> None:
    plain, full = mv_loc(), mv_loc(fusion=True, uncertainty=True)
    features, language = given()[1], torch.randn(5, 6)
    assert plain.fusion is None
    assert plain.uncertainty is None
    assert plain.fuse(features, language) is features
    assert full.fusion is not None
    assert full.uncertainty is not None
    fused = full.fuse(features, language)
    assert fused.shape == features.shape
    torch.testing.assert_close(fused[1:2], full.fuse(features[1:2], language), atol=1e-5, rtol=1e-5)
    assert (full.uncertainty(features) > 0).all()


def test_what_does_not_fit_is_refused() -> None:
    model, (prompts, features) = mv_loc(), given()
    with pytest.raises(InputError, match=r"prompts are \(prompts, tokens, 16\)"):
        model.localize(prompts[0], features, "human")
    with pytest.raises(InputError, match="encode the views with this model"):
        model.localize(prompts, features[..., :2], "human")
    with pytest.raises(InputError, match="cannot be brought"):
        model.upscale(torch.zeros(16, 16), (33, 32), (5, 5))
    with pytest.raises(InputError, match="cannot be brought"):
        model.upscale(torch.zeros(16, 16), (32, 32), (0, 5))
