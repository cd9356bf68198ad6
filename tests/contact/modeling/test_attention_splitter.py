"""Attention splitter: a loop as its twin, gradients, symmetry."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hoirecon.contact.modeling.attention_splitter import AttentionSplitter
from hoirecon.contact.modeling.contact_tokens import Role

DIM, HIDDEN = 5, 3
SPEAKING: tuple[Role, ...] = ("human", "object")


def splitter() -> AttentionSplitter:
    torch.manual_seed(1)
    return AttentionSplitter(DIM, HIDDEN).double()


def embedding(tokens: int = 2, views: int = 4) -> Tensor:
    return torch.randn(tokens, views, DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def slow(module: AttentionSplitter, views: Tensor, role: Role) -> Tensor:
    """One token's views (V, D), by the definition."""
    low = [module.input_proj(view) for view in views]
    ask = module.query_human if role == "human" else module.query_object
    out = []
    for here in low:
        scores = [(ask(here) @ module.key(there)).item() / math.sqrt(HIDDEN) for there in low]
        shares = [math.exp(s) / sum(math.exp(other) for other in scores) for s in scores]
        mixed = sum((share * module.value(there) for share, there in zip(shares, low, strict=True)), torch.zeros(1))
        out.append(module.output_proj(mixed))
    return torch.stack(out)


@pytest.mark.parametrize("role", SPEAKING)
def test_it_is_what_a_loop_over_views_says(role: Role) -> None:
    module, x = splitter(), embedding()
    out = module(x, role)
    for token, mixed in zip(x, out, strict=True):
        torch.testing.assert_close(mixed, slow(module, token, role))


@pytest.mark.parametrize("role", SPEAKING)
def test_gradients(role: Role) -> None:
    module = splitter()
    assert torch.autograd.gradcheck(lambda x: module(x, role), embedding().requires_grad_())


@pytest.mark.parametrize("role", SPEAKING)
def test_the_order_of_views_goes_through(role: Role) -> None:
    module, x, order = splitter(), embedding(), [2, 0, 3, 1]
    torch.testing.assert_close(module(x[:, order], role), module(x, role)[:, order])


def test_human_and_object_differ_and_the_general_token_passes_through() -> None:
    module, x = splitter(), embedding()
    assert (module(x, "human") - module(x, "object")).abs().max() > 1e-3
    assert module(x, "general") is x


def test_a_single_view_sees_only_itself_so_that_the_role_is_of_no_account() -> None:
    module, x = splitter(), embedding(views=1)
    expected = module.output_proj(module.value(module.input_proj(x)))
    torch.testing.assert_close(module(x, "human"), expected)
    torch.testing.assert_close(module(x, "object"), expected)


def test_parameters_have_the_checkpoints_names_and_shapes_at_full_size() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in AttentionSplitter(256).state_dict().items()}
    inner = {f"{name}.weight": (128, 128) for name in ("query_human", "query_object", "key", "value")}
    weights = inner | {"input_proj.weight": (128, 256), "output_proj.weight": (256, 128)}
    assert shapes == weights | {key.replace("weight", "bias"): shape[:1] for key, shape in weights.items()}
