"""The VLM: what goes in where, that nothing sees what comes later, any type and device, 13B by shape."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.contact.modeling.vlm import IMAGE_TOKEN, VLM, RotaryPositions
from hoirecon.errors import InputError
from tests.contact.tiny_network import VOCABULARY, tiny_config, tiny_vlm

IDS = [1, 20, IMAGE_TOKEN, 33, 47]


def images(count: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 24, 24, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return tiny_vlm().requires_grad_(False)


def test_the_image_stands_where_it_is_marked(vlm: VLM) -> None:
    tokens = vlm.image_tokens(images())[0]
    assert tokens.shape == (9, 48)
    embedded = vlm.embed(IDS, tokens)
    words = vlm.language_model.model.embed_tokens.weight
    assert embedded.shape == (len(IDS) + 9 - 1, 48)
    torch.testing.assert_close(embedded[:2], words[[1, 20]], rtol=0, atol=0)
    torch.testing.assert_close(embedded[2:11], tokens, rtol=0, atol=0)
    torch.testing.assert_close(embedded[11:], words[[33, 47]], rtol=0, atol=0)
    torch.testing.assert_close(vlm.embed(torch.tensor(IDS), tokens), embedded, rtol=0, atol=0)
    torch.testing.assert_close(vlm.embed([5, 6]), words[[5, 6]], rtol=0, atol=0)


def test_features_are_the_selected_layers_without_the_class_token(vlm: VLM) -> None:
    """A plain pass through the tower's own layers, stopped one before the last."""
    tower = vlm.vision_tower
    x = tower.pre_layrnorm(tower.embeddings(images(2)))
    for layer in tower.encoder.layers[:-1]:
        attention, heads = layer.self_attn, 4
        y = layer.layer_norm1(x)
        q, k, v = (getattr(attention, f"{n}_proj")(y).unflatten(-1, (heads, -1)).transpose(1, 2) for n in "qkv")
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(dim=-1)
        x = x + attention.out_proj((weights @ v).transpose(1, 2).flatten(2))
        y = layer.mlp.fc1(layer.layer_norm2(x))
        x = x + layer.mlp.fc2(y * torch.sigmoid(1.702 * y))
    torch.testing.assert_close(vlm.image_features(images(2)), x[:, 1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("select", [-1, -2, 1])
def test_the_selected_layer_is_a_setting(select: int) -> None:
    base = tiny_config()
    vlm = tiny_vlm(vision=replace(base.vision, select_layer=select)).requires_grad_(False)
    seen = vlm.vision_tower(pixel_values=images(), output_hidden_states=True).hidden_states
    assert len(seen) == base.vision.num_layers + 1
    torch.testing.assert_close(vlm.image_features(images()), seen[select][:, 1:], rtol=0, atol=0)


def test_a_state_knows_what_came_before_it_and_nothing_after(vlm: VLM) -> None:
    embedded = vlm.embed(IDS, vlm.image_tokens(images())[0])[None]
    changed = embedded.clone()
    changed[0, 7] += 1
    before, after = vlm.hidden(embedded)[0], vlm.hidden(changed)[0]
    torch.testing.assert_close(before[:7], after[:7], rtol=0, atol=0)
    assert ((before[7:] - after[7:]).abs().amax(dim=1) > 1e-3).all()


def test_states_are_those_of_transformers_own_forward(vlm: VLM) -> None:
    """Its rotary positions and mask against ours."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    ids = torch.tensor([[1, 7, 30, 31, 80, 2]])
    expected = vlm.hidden(vlm.embed_ids(ids))
    plain = tiny_vlm().requires_grad_(False)
    plain.language_model.model.rotary_emb = LlamaRotaryEmbedding(plain.language_model.config)
    out = plain.language_model(input_ids=ids, output_hidden_states=True)
    torch.testing.assert_close(expected, out.hidden_states[-1], rtol=0, atol=1e-5)
    torch.testing.assert_close(vlm.logits(expected), out.logits, rtol=0, atol=1e-5)


def test_padding_on_the_right_changes_nothing(vlm: VLM) -> None:
    ids = torch.tensor([[1, 7, 30, 31, 0, 0], [1, 9, 8, 7, 6, 5]])
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    together = vlm.hidden(vlm.embed_ids(ids), mask=mask)
    torch.testing.assert_close(together[:1, :4], vlm.hidden(vlm.embed_ids(ids[:1, :4])), rtol=0, atol=1e-5)
    torch.testing.assert_close(together[1:], vlm.hidden(vlm.embed_ids(ids[1:])), rtol=0, atol=1e-5)


def test_only_differences_of_positions_matter_to_rotary_attention(vlm: VLM) -> None:
    embedded = vlm.embed([3, 5, 8, 13])[None]
    later = torch.arange(40, 44)[None]
    torch.testing.assert_close(vlm.hidden(embedded), vlm.hidden(embedded, positions=later), rtol=0, atol=1e-4)
    spread = torch.tensor([[0, 2, 30, 31]])
    assert (vlm.hidden(embedded) - vlm.hidden(embedded, positions=spread)).abs().max() > 1e-3


def test_rotary_positions_turn_each_pair_by_its_own_frequency() -> None:
    cos, sin = RotaryPositions(6, 100.0)(torch.zeros(1, 1, dtype=torch.float64), torch.tensor([[0, 7]]))
    angles = [7.0, 7 / 100 ** (1 / 3), 7 / 100 ** (2 / 3)]
    assert cos.dtype == torch.float64
    torch.testing.assert_close(cos[0, 1], torch.tensor([math.cos(a) for a in angles] * 2).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(sin[0, 1], torch.tensor([math.sin(a) for a in angles] * 2).double(), rtol=0, atol=1e-6)
    assert cos[0, 0].eq(1).all()


def test_a_cast_to_half_does_not_touch_the_positions() -> None:
    """A cast of frequencies to bfloat16 would be off by more than a radian at position 500."""
    vlm = tiny_vlm().bfloat16()
    cos, sin = vlm.language_model.model.rotary_emb(torch.zeros(1, dtype=torch.bfloat16), torch.tensor([[500, 4000]]))
    exact, _ = tiny_vlm().language_model.model.rotary_emb(torch.zeros(1), torch.tensor([[500, 4000]]))
    assert cos.dtype == sin.dtype == torch.bfloat16
    torch.testing.assert_close(cos, exact.bfloat16(), rtol=0, atol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-3), (torch.bfloat16, 0.5)])
def test_every_type_of_number_runs_and_agrees(vlm: VLM, dtype: torch.dtype, tolerance: float) -> None:
    other = tiny_vlm().to(dtype).requires_grad_(False)
    tokens = other.image_tokens(images())
    states = other.hidden(other.embed(IDS, tokens[0])[None])
    assert tokens.dtype == states.dtype == other.logits(states).dtype == dtype
    expected = vlm.hidden(vlm.embed(IDS, vlm.image_tokens(images())[0])[None])
    difference = (states.double() - expected.double()).norm() / expected.double().norm()
    assert difference < tolerance


def test_the_13b_model_has_the_published_shapes_on_the_meta_device() -> None:
    with torch.device("meta"):
        vlm = VLM(NetworkConfig())
    shapes = {name: tuple(value.shape) for name, value in vlm.state_dict().items()}
    language = {name.removeprefix("language_model."): s for name, s in shapes.items() if name.startswith("language")}
    assert language["model.embed_tokens.weight"] == language["lm_head.weight"] == (32003, 5120)
    assert language["model.layers.39.mlp.gate_proj.weight"] == (13824, 5120)
    assert language["model.layers.0.self_attn.k_proj.weight"] == (5120, 5120)
    assert len(language) == 3 + 40 * 9
    assert shapes["projector.weight"] == (5120, 1024)
    assert shapes["vision_tower.embeddings.patch_embedding.weight"] == (1024, 3, 14, 14)
    assert shapes["vision_tower.embeddings.position_embedding.weight"] == (257, 1024)
    assert {value.device.type for value in vlm.state_dict().values()} == {"meta"}
    assert 13.2e9 < sum(p.numel() for p in vlm.parameters()) < 13.4e9


def test_weights_assigned_to_a_model_from_the_meta_device_run() -> None:
    source = tiny_vlm().requires_grad_(False)
    with torch.device("meta"):
        vlm = VLM(tiny_config()).eval()
    vlm.load_state_dict(source.state_dict(), assign=True)
    vlm.restore_buffers("cpu")
    assert not [name for name, buffer in vlm.named_buffers() if buffer.is_meta]
    tokens = source.image_tokens(images())
    torch.testing.assert_close(vlm.image_tokens(images()), tokens, rtol=0, atol=0)
    embedded = source.embed(IDS, tokens[0])[None]
    torch.testing.assert_close(vlm.hidden(embedded), source.hidden(embedded), rtol=0, atol=0)


@pytest.mark.parametrize("ids", [[1, VOCABULARY], [1, -1], [1, -200, -3]])
def test_a_token_that_the_vocabulary_lacks_is_refused(vlm: VLM, ids: list[int]) -> None:
    image = torch.zeros(9, 48) if IMAGE_TOKEN in ids else None
    with pytest.raises(InputError, match=f"vocabulary of {VOCABULARY}"):
        vlm.embed(ids, image)


def test_an_image_without_its_mark_and_a_mark_without_its_image_are_refused(vlm: VLM) -> None:
    for ids, image in (([1, 2], torch.zeros(9, 48)), (IDS, None), ([*IDS, IMAGE_TOKEN], torch.zeros(9, 48))):
        with pytest.raises(InputError, match="mark one image once"):
            vlm.embed(ids, image)


def test_texts_beyond_the_positions_and_images_of_another_size_are_refused(vlm: VLM) -> None:
    longest = vlm.max_length
    assert vlm.hidden(torch.zeros(1, longest, 48)).shape == (1, longest, 48)
    with pytest.raises(InputError, match=f"was made for {longest}"):
        vlm.hidden(torch.zeros(1, longest + 1, 48))
    with pytest.raises(InputError, match=r"\(B, 3, 24, 24\)"):
        vlm.image_tokens(torch.zeros(1, 3, 32, 32))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    base = tiny_config()
    for heads, keys in ((5, 5), (4, 3)):
        with pytest.raises(InputError, match="heads"):
            VLM(replace(base, language=replace(base.language, num_heads=heads, num_key_value_heads=keys)))
