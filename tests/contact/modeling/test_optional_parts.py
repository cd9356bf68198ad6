"""Token projection, fusion and uncertainty: closed forms."""

from __future__ import annotations

import torch
from torch import nn

from hoirecon.contact.modeling.fusion import LanguageFusion, MultiHeadAttention
from hoirecon.contact.modeling.token_projection import TokenProjection
from hoirecon.contact.modeling.uncertainty import UncertaintyHead


def test_attention_agrees_with_torchs_own() -> None:
    torch.manual_seed(0)
    ours, theirs = MultiHeadAttention(12, 3).double(), nn.MultiheadAttention(12, 3, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q_proj.weight, ours.k_proj.weight, ours.v_proj.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q_proj.bias, ours.k_proj.bias, ours.v_proj.bias]))
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    query, keys = torch.randn(2, 7, 12).double(), torch.randn(2, 5, 12).double()
    values = torch.randn(2, 5, 12).double()
    expected, shares = theirs(query, keys, values, average_attn_weights=False)
    torch.testing.assert_close(ours(query, keys, values), expected)
    torch.testing.assert_close(ours.attention_map(query, keys), shares)


def test_fusion_of_one_word_adds_the_same_everywhere() -> None:
    torch.manual_seed(0)
    module = LanguageFusion(6, 10, hidden=8, num_heads=2)
    features, word = torch.randn(2, 6, 3, 4), torch.randn(2, 1, 10)
    added = module(features, word) - features
    told = module.output_proj(module.fusion.out_proj(module.fusion.v_proj(module.llava_proj(word[:, 0]))))
    torch.testing.assert_close(added, told[:, :, None, None].expand_as(features), atol=1e-5, rtol=1e-5)


def test_fusion_treats_every_place_alone() -> None:
    torch.manual_seed(0)
    module = LanguageFusion(6, 10, hidden=8, num_heads=2)
    features, words = torch.randn(1, 6, 3, 4), torch.randn(1, 5, 10)
    corner = module(features[:, :, 1:2, 2:3], words)
    torch.testing.assert_close(module(features, words)[:, :, 1:2, 2:3], corner)


def test_uncertainty_is_positive_and_the_same_function_at_every_place() -> None:
    torch.manual_seed(0)
    module = UncertaintyHead(6)
    features = 30 * torch.randn(2, 6, 3, 5)
    out = module(features)
    assert out.shape == (2, 1, 3, 5)
    assert (out > 0).all()
    torch.testing.assert_close(module(features.flip(-1)), out.flip(-1))
    hidden = module.linear2(module.linear1(features[1, :, 2, 4]).clamp_min(0)).clamp_min(0)
    torch.testing.assert_close(out[1, :, 2, 4], (1 + module.linear3(hidden).exp()).log(), atol=1e-5, rtol=1e-4)


def test_the_token_projection_has_the_checkpoints_names_and_shapes_at_full_size() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in TokenProjection(5120, 256).state_dict().items()}
    assert shapes == {"0.weight": (5120, 5120), "0.bias": (5120,), "2.weight": (256, 5120), "2.bias": (256,)}


def test_the_token_projection_is_two_matrices_with_a_relu_between() -> None:
    torch.manual_seed(0)
    module, x = TokenProjection(4, 3).double(), torch.randn(2, 5, 4).double()
    w = module.state_dict()
    hidden = (x @ w["0.weight"].T + w["0.bias"]).clamp_min(0)
    torch.testing.assert_close(module(x), hidden @ w["2.weight"].T + w["2.bias"])
