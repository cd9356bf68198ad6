"""The whole network: the way from states to prompts, that gradients take it back, and which parts exist."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.contact.modeling.contact_tokens import ContactTokens
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.modeling.vlm import IMAGE_TOKEN
from hoirecon.errors import InputError
from tests.contact.tiny_network import tiny_network

CAMERAS = torch.tensor([[0.2, 0.125, a, 0.5, 0.5] for a in (0.875, 0.125, 0.375, 0.625)])
GENERAL, HUMAN, OBJECT = 90, 91, 92


@pytest.fixture(scope="module")
def network() -> InteractVLMNetwork:
    return tiny_network().requires_grad_(False)


def states(count: int) -> Tensor:
    return torch.randn(count, 48, generator=torch.Generator().manual_seed(2))


def test_prompts_are_projected_then_lifted_then_split(network: InteractVLMNetwork) -> None:
    lift, split = network.feat_lift, network.attention_splitter
    assert lift is not None
    assert split is not None
    embedded = network.token_projection(states(1)).expand(4, -1)[None]
    lifted = lift(embedded, CAMERAS)
    expected = {GENERAL: lifted, HUMAN: split(lifted, "human"), OBJECT: split(lifted, "object")}
    for token, prompts in expected.items():
        torch.testing.assert_close(network.contact_prompts(states(1), [token], CAMERAS), prompts, rtol=0, atol=1e-6)
    assert (expected[HUMAN] - expected[OBJECT]).abs().max() > 1e-3


def test_several_tokens_get_what_each_gets_alone(network: InteractVLMNetwork) -> None:
    ids = torch.tensor([OBJECT, GENERAL, HUMAN, OBJECT])
    together = network.contact_prompts(states(4), ids, CAMERAS)
    assert together.shape == (4, 4, 32)
    for i, token in enumerate(ids.tolist()):
        alone = network.contact_prompts(states(4)[i : i + 1], [token], CAMERAS)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)


def test_no_tokens_give_no_prompts(network: InteractVLMNetwork) -> None:
    assert network.contact_prompts(states(0), [], CAMERAS).shape == (0, 4, 32)
    assert network.contact_prompts(states(0), (), None).shape == (0, 4, 32)


def test_no_cameras_are_cameras_of_zeros(network: InteractVLMNetwork) -> None:
    prompts = network.contact_prompts(states(2), [HUMAN, OBJECT], None)
    zeros = network.contact_prompts(states(2), [HUMAN, OBJECT], torch.zeros(4, 5))
    torch.testing.assert_close(prompts, zeros, rtol=0, atol=0)
    assert (prompts - network.contact_prompts(states(2), [HUMAN, OBJECT], CAMERAS)).abs().max() > 1e-4


def test_a_model_of_one_view_without_cameras_has_neither_lift_nor_splitter() -> None:
    network = tiny_network(tokens=ContactTokens(90), num_views=1, camera_encoder="none").requires_grad_(False)
    assert network.feat_lift is None
    assert network.attention_splitter is None
    expected = network.token_projection(states(2))[:, None]
    torch.testing.assert_close(network.contact_prompts(states(2), [90, 90]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "present", "absent"),
    [
        ({}, {"vlm", "token_projection", "feat_lift", "attention_splitter", "mv_loc"}, set()),
        ({"camera_encoder": "none"}, {"attention_splitter"}, {"feat_lift"}),
        ({"tokens": ContactTokens(90)}, {"feat_lift"}, {"attention_splitter"}),
        ({"separate_decoders": True}, {"mv_loc.human_mask_decoder", "mv_loc.object_mask_decoder"}, {"mv_loc.fusion"}),
    ],
)
def test_parts_exist_as_the_configuration_says(changes: dict[str, object], present: set[str], absent: set[str]) -> None:
    names = list(tiny_network(**changes).state_dict())
    assert all(any(name.startswith(f"{part}.") for name in names) for part in present)
    assert not any(name.startswith(f"{part}.") for name in names for part in absent)


def test_states_are_cast_to_the_projections_type(network: InteractVLMNetwork) -> None:
    half = tiny_network().bfloat16().requires_grad_(False)
    prompts = half.contact_prompts(states(1), [HUMAN], CAMERAS)
    assert prompts.dtype == torch.bfloat16
    expected = network.contact_prompts(states(1), [HUMAN], CAMERAS)
    assert (prompts.float() - expected).norm() < 0.05 * expected.norm()


def test_bad_calls_are_refused(network: InteractVLMNetwork) -> None:
    with pytest.raises(InputError, match="not a contact token"):
        network.contact_prompts(states(1), [5], CAMERAS)
    with pytest.raises(InputError, match=r"2 contact tokens need states \(2, H\)"):
        network.contact_prompts(states(1), [HUMAN, HUMAN], CAMERAS)
    with pytest.raises(InputError, match="one normalised camera for each view"):
        network.contact_prompts(states(1), [HUMAN], CAMERAS[:2])


def test_gradients_of_a_mask_reach_every_part_that_is_trained() -> None:
    """From the mask through decoder, splitter, FeatLift and projection into the language model, and from its scores."""
    network = tiny_network(separate_decoders=True)
    images = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    features = torch.randn(4, 32, 4, 4, generator=torch.Generator().manual_seed(1))
    ids = [1, 20, IMAGE_TOKEN, 30, 31, HUMAN, 2]
    hidden = network.vlm.hidden(network.vlm.embed(ids, network.vlm.image_tokens(images)[0])[None])[0]
    prompts = network.contact_prompts(hidden[-3][None], [HUMAN], CAMERAS)  # one before the contact token
    masks = network.mv_loc.upscale(network.mv_loc.localize(prompts, features, "human").logits, (64, 64), (20, 30))
    torch.autograd.backward(masks.square().mean())
    grads = {name: p.grad for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    reached = [f"vlm.language_model.model.layers.{i}.self_attn.{p}_proj.weight" for i in range(3) for p in "qv"]
    reached += ["vlm.language_model.model.embed_tokens.weight", "vlm.projector.weight", "token_projection.0.weight"]
    reached += ["token_projection.2.bias", "feat_lift.spatial_encoder.0.weight"]
    reached += [f"feat_lift.view_transforms.{v}.weight" for v in range(4)]
    reached += ["attention_splitter.query_human.weight", "attention_splitter.output_proj.weight"]
    reached += [
        f"mv_loc.human_mask_decoder.{name}" for name in ("mask_tokens.weight", "transformer.norm_final_attn.bias")
    ]
    assert [name for name in reached if name not in grads] == []
    untouched = ("vlm.vision_tower", "mv_loc.object_mask_decoder", "mv_loc.mask_decoder", "mv_loc.image_encoder")
    assert not [name for name in grads if name.startswith((*untouched, "attention_splitter.query_object"))]
    used = grads["vlm.language_model.model.embed_tokens.weight"].abs().sum(dim=1)
    # The contact token and what follows come after the state; they cannot have mattered.
    assert used.nonzero().flatten().tolist() == [1, 20, 30, 31]


def test_the_full_size_exists_on_the_meta_device_with_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = InteractVLMNetwork(NetworkConfig())
    count = sum(p.numel() for p in network.parameters())
    assert 13.9e9 < count < 14.1e9
    assert {p.device.type for p in network.parameters()} == {"meta"}
    with torch.device("meta"):
        prompts = network.contact_prompts(torch.empty(2, 5120), [32000, 32000])
    assert prompts.shape == (2, 4, 256)
