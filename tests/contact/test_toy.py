"""The toy network: small, of the whole architecture, obedient, and the same everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hoirecon.contact import Query
from hoirecon.contact.prompting.tokenizer import ContactTokenizer
from hoirecon.contact.toy import SIZES, teach_answers, toy_config, toy_model, toy_network, write_toy_tokenizer
from tests.contact.toy_scene import gap, photograph, told

A, B = photograph(0), photograph(1)


def test_the_same_seed_is_the_same_network_and_no_other_is() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two, other = (toy_network(toy_config(), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    states = [network.state_dict() for network in (one, two, other)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert not all(torch.equal(states[0][k], states[2][k]) for k in states[0])


@pytest.mark.parametrize("token_type", ["Gen", "Gen-Int", "Gen-Hu-Obj"])
def test_vocabulary_and_network_agree(token_type: str, tmp_path: Path) -> None:
    count = write_toy_tokenizer(tmp_path / "words", token_type)
    words = ContactTokenizer.from_folder(tmp_path / "words")
    assert words.vocab_size == count
    assert words.contact_tokens(token_type) == toy_config("tiny", token_type, count).tokens
    assert toy_model(token_type=token_type).network.config.tokens == words.contact_tokens(token_type)


def test_every_part_matters() -> None:
    """Photograph, name, question and view must all reach the result, or tests with it would prove nothing."""
    model = told(A)
    says = "It is {token}."

    def found(**changes: object) -> object:
        usual = {"kind": "human", "image": A, "label": "bottle", "answer": says}
        return model.ask([Query(**(usual | changes))])[0]

    usual = found()
    assert gap(usual, found(image=B)) > 1e-3
    assert gap(usual, found(label="cup")) > 1e-3
    assert gap(usual, found(question="Where is the {object}?")) > 1e-3
    assert gap(usual, found(answer="Sure, the contact mask is {token}.")) > 1e-3
    masks = model.ask([Query("human", A, "bottle", answer=says)], view_masks=True)[0].view_masks  # type: ignore[union-attr]
    assert masks is not None
    views = list(masks.values())
    assert min(abs(a - b).max() for i, a in enumerate(views) for b in views[:i]) > 1e-3
    with torch.no_grad():
        for name in ("feat_lift", "attention_splitter", "token_projection"):
            changed = told(A)
            next(getattr(changed.network, name).parameters()).mul_(1.3)
            answer = changed.ask([Query("human", A, "bottle", answer=says)])[0]
            assert gap(usual, answer) > 1e-4, name


def test_it_learns_words_exactly() -> None:
    model = toy_model(seed=4)
    query = Query("human", A, "bottle")
    text = "The contacting body parts are left_palm, and the contact region is {token}."
    for _ in range(2):  # teaching again is no harm
        teach_answers(model, {query: text})
    found = model.ask([query])[0]
    assert found.answer == text.format(token="[HSEG]")
    assert found.notes == ()


def test_small_is_larger() -> None:
    assert set(SIZES) == {"tiny", "small"}
    with torch.device("meta"):
        tiny, small = (sum(p.numel() for p in toy_network_size(size)) for size in SIZES)
    assert tiny < 2_000_000 < small < 100_000_000


def toy_network_size(size: str) -> list[torch.nn.Parameter]:
    """Parameters on the meta device."""
    from hoirecon.contact.modeling.network import InteractVLMNetwork

    return list(InteractVLMNetwork(toy_config(size)).parameters())
