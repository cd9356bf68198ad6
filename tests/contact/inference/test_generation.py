"""Generation: cached equals uncached, batched equals single, and no position is computed twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hoirecon.contact.inference.generation import Answer, KeyValueRoom, Prefix, answer, prefill, prefill_images, teach
from hoirecon.contact.modeling.vlm import IMAGE_TOKEN, VLM
from hoirecon.errors import InputError
from tests.contact.tiny_network import VOCABULARY, tiny_config, tiny_vlm

SHARED = [1, 20, 21, IMAGE_TOKEN, 22]
EVERY = range(VOCABULARY)
"""As contact tokens: then the state of every new token is kept."""
QUESTIONS = [[30, 31, 32], [40], [50, 51, 52, 53, 54, 55, 56], [60, 61]]


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return tiny_vlm(seed=3).requires_grad_(False)


@pytest.fixture(scope="module")
def image(vlm: VLM) -> Tensor:
    return pictures(vlm, 1)[0]


@pytest.fixture(scope="module")
def prefix(vlm: VLM, image: Tensor) -> Prefix:
    return prefill(vlm, SHARED, image)


def pictures(vlm: VLM, count: int) -> Tensor:
    return vlm.image_tokens(torch.randn(count, 3, 24, 24, generator=torch.Generator().manual_seed(5)))


def uncached(vlm: VLM, image: Tensor, prompt: list[int], limit: int) -> tuple[list[int], Tensor]:
    """The whole text again for every token, and the state that predicted each."""
    ids: list[int] = []
    states = []
    while len(ids) < limit and (not ids or ids[-1] != vlm.config.language.eos_token_id):
        hidden = vlm.hidden(vlm.embed([*prompt, *ids], image)[None])[0]
        states.append(hidden[-1])
        ids.append(int(vlm.logits(hidden[-1]).argmax()))
    return ids, torch.stack(states)


def same(ours: Answer, ids: list[int], states: Tensor) -> None:
    assert list(ours.ids) == list(ours.contact_ids) == ids
    torch.testing.assert_close(ours.states, states, rtol=0, atol=1e-5)


def spied(monkeypatch: pytest.MonkeyPatch, method: str) -> list[int]:
    """Number of positions of each call of a method of the VLM from now on."""
    positions: list[int] = []
    original = getattr(VLM, method)

    def spy(vlm: VLM, x: Tensor, **named: Any) -> Tensor:
        positions.append(x.numel() // x.shape[-1])
        result: Tensor = original(vlm, x, **named)
        return result

    monkeypatch.setattr(VLM, method, spy)
    return positions


def ending(vlm: VLM, prefix: Prefix, question: list[int], after: int) -> VLM:
    """The same model with another token for the end: the one it says after so many others."""
    said = answer(vlm, prefix, [question], contact_ids=(), max_new_tokens=after + 1)[0].ids
    assert said[-1] not in said[:-1]
    changed = tiny_vlm(seed=3, language=replace(tiny_config().language, eos_token_id=said[-1]))
    return changed.requires_grad_(False)


@pytest.mark.parametrize("question", QUESTIONS)
def test_cached_answers_are_those_without_a_cache(vlm: VLM, image: Tensor, prefix: Prefix, question: list[int]) -> None:
    ids, states = uncached(vlm, image, [*SHARED, *question], 12)
    assert len(set(ids)) > 3, "an answer of one repeated token compares little"
    same(answer(vlm, prefix, [question], contact_ids=EVERY, max_new_tokens=12)[0], ids, states)


def test_questions_of_any_length_in_one_batch_get_what_each_gets_alone(vlm: VLM, image: Tensor, prefix: Prefix) -> None:
    together = answer(vlm, prefix, QUESTIONS, contact_ids=EVERY, max_new_tokens=12)
    assert len({got.ids for got in together}) == len(QUESTIONS)
    for question, got in zip(QUESTIONS, together, strict=True):
        same(got, *uncached(vlm, image, [*SHARED, *question], 12))


def test_several_images_with_prefixes_of_any_length_in_one_batch(vlm: VLM) -> None:
    images = pictures(vlm, 3)
    shared = [SHARED, [1, *SHARED, 23, 24], [IMAGE_TOKEN]]
    prefixes = [prefill(vlm, ids, image) for ids, image in zip(shared, images, strict=True)]
    assert [p.length for p in prefixes] == [13, 16, 9]
    together = answer(vlm, prefixes, QUESTIONS[:3], contact_ids=EVERY, max_new_tokens=8)
    for ids, image, question, got in zip(shared, images, QUESTIONS, together, strict=False):
        same(got, *uncached(vlm, image, [*ids, *question], 8))


def test_images_read_in_one_batch_are_remembered_as_alone(vlm: VLM) -> None:
    images = pictures(vlm, 3)
    for read, image in zip(prefill_images(vlm, SHARED, images), images, strict=True):
        alone = prefill(vlm, SHARED, image)
        for ours, theirs in zip((*read.keys, *read.values), (*alone.keys, *alone.values), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
            assert ours.untyped_storage().nbytes() == ours.nbytes, "one photograph keeps the memory of the others"
    assert prefill_images(vlm, SHARED, images[:0]) == []


def test_asking_does_not_change_the_prefix(vlm: VLM, prefix: Prefix) -> None:
    before = [tensor.clone() for tensor in (*prefix.keys, *prefix.values)]
    first = answer(vlm, prefix, QUESTIONS, contact_ids=EVERY, max_new_tokens=5)
    assert all(torch.equal(a, b) for a, b in zip(before, (*prefix.keys, *prefix.values), strict=True))
    again = answer(vlm, prefix, QUESTIONS, contact_ids=EVERY, max_new_tokens=5)
    assert [a.ids for a in first] == [a.ids for a in again]


def test_an_answer_stops_at_its_end_and_the_others_go_on(vlm: VLM, image: Tensor, prefix: Prefix) -> None:
    ends = ending(vlm, prefix, QUESTIONS[1], 3)
    together = answer(ends, prefix, QUESTIONS, contact_ids=EVERY, max_new_tokens=12)
    assert together[1].finished
    assert len(together[1].ids) == 4
    assert len({len(got.ids) for got in together}) > 1
    for question, got in zip(QUESTIONS, together, strict=True):
        same(got, *uncached(ends, image, [*SHARED, *question], 12))
        assert got.finished == (got.ids[-1] == ends.config.language.eos_token_id)


def test_an_answer_that_is_cut_off_says_so(vlm: VLM, prefix: Prefix) -> None:
    got = answer(vlm, prefix, [[30, 31]], contact_ids=(), max_new_tokens=3)[0]
    assert len(got.ids) == 3
    assert not got.finished


def test_the_state_of_a_contact_token_is_the_one_that_predicts_it(vlm: VLM, image: Tensor, prefix: Prefix) -> None:
    ids, states = uncached(vlm, image, [*SHARED, *QUESTIONS[2]], 12)
    contact = {ids[2], ids[5]}
    got = answer(vlm, prefix, [QUESTIONS[2]], contact_ids=contact, max_new_tokens=12)[0]
    places = [i for i, token in enumerate(ids) if token in contact]
    assert list(got.contact_ids) == [ids[i] for i in places]
    torch.testing.assert_close(got.states, states[places], rtol=0, atol=1e-5)
    scores = vlm.logits(got.states)
    assert scores.argmax(dim=1).tolist() == list(got.contact_ids)


def test_no_contact_token_gives_no_state(vlm: VLM, prefix: Prefix) -> None:
    for got in (
        answer(vlm, prefix, [[30]], contact_ids=(), max_new_tokens=4)[0],
        teach(vlm, prefix, [[30]], [[40, 41, 2]], contact_ids=[90])[0],
        teach(vlm, prefix, [[30]], [[]], contact_ids=[90])[0],
    ):
        assert got.contact_ids == ()
        assert got.states.shape == (0, 48)


def test_a_given_answer_gets_the_states_it_would_have_if_it_were_generated(vlm: VLM, prefix: Prefix) -> None:
    generated = answer(vlm, prefix, QUESTIONS, contact_ids=EVERY, max_new_tokens=9)
    given = teach(vlm, prefix, QUESTIONS, [list(got.ids) for got in generated], contact_ids=EVERY)
    for ours, theirs in zip(given, generated, strict=True):
        assert ours.ids == theirs.ids
        torch.testing.assert_close(ours.states, theirs.states, rtol=0, atol=1e-5)


def test_given_answers_of_any_length_in_one_batch(vlm: VLM, image: Tensor, prefix: Prefix) -> None:
    answers = [[90, 2], [70, 71, 91, 72, 92, 2], [73, 74], [90]]
    got = teach(vlm, prefix, QUESTIONS, answers, contact_ids=[90, 91, 92])
    assert [g.finished for g in got] == [True, True, False, False]
    assert [g.contact_ids for g in got] == [(90,), (91, 92), (), (90,)]
    for question, given, g in zip(QUESTIONS, answers, got, strict=True):
        hidden = vlm.hidden(vlm.embed([*SHARED, *question, *given], image)[None])[0]
        start = len(hidden) - len(given)
        places = [start + i - 1 for i, token in enumerate(given) if token >= 90]
        torch.testing.assert_close(g.states, hidden[places], rtol=0, atol=1e-5)


def test_every_position_is_computed_once_and_scores_only_where_a_token_is_picked(
    vlm: VLM, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, scored = spied(monkeypatch, "hidden"), spied(monkeypatch, "logits")
    prefix = prefill(vlm, SHARED, image)
    got = answer(vlm, prefix, [[30, 31, 32], [40, 41, 42]], contact_ids=[90], max_new_tokens=6)
    assert [len(g.ids) for g in got] == [6, 6]
    assert read == [13, 6, 2, 2, 2, 2, 2]  # the last token that is picked is not read
    assert scored == [2] * 6
    read.clear()
    scored.clear()
    teach(vlm, prefix, [[30, 31, 32]], [[5, 90, 6, 7, 2]], contact_ids=[90])
    assert read == [3 + 1]
    assert scored == []


def test_finished_answers_are_computed_no_further(vlm: VLM, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = ending(vlm, prefix, QUESTIONS[1], 2)
    rows = spied(monkeypatch, "logits")
    got = answer(ends, prefix, QUESTIONS, contact_ids=(), max_new_tokens=10)
    lengths = [len(g.ids) for g in got]
    assert rows == [sum(length > step for length in lengths) for step in range(max(lengths))]
    assert rows[-1] < 4


def test_answers_longer_than_the_room_that_was_set_aside(
    vlm: VLM, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hoirecon.contact.inference.generation.CACHE_STEP", 2)
    prefix = prefill(vlm, SHARED, image)
    together = answer(vlm, prefix, QUESTIONS, contact_ids=EVERY, max_new_tokens=11)
    for question, got in zip(QUESTIONS, together, strict=True):
        same(got, *uncached(vlm, image, [*SHARED, *question], 11))


def test_a_step_writes_into_room_that_is_there_already() -> None:
    shape = (1, 2, 5, 3)
    room = KeyValueRoom([Prefix((torch.ones(shape),), (torch.ones(shape),))], room=4)
    first, _ = room.update(torch.full((1, 2, 1, 3), 2.0), torch.zeros(1, 2, 1, 3), 0)
    second, _ = room.update(torch.full((1, 2, 1, 3), 3.0), torch.zeros(1, 2, 1, 3), 0)
    assert first.shape[2] == 6
    assert second.shape[2] == room.get_seq_length() == 7
    assert first.data_ptr() == second.data_ptr()
    assert second[0, 0, :, 0].tolist() == [1, 1, 1, 1, 1, 2, 3]


def test_a_text_fills_the_positions_to_the_last_and_no_further(vlm: VLM, image: Tensor, prefix: Prefix) -> None:
    room = vlm.max_length - prefix.length
    question = [30 + i % 50 for i in range(room - 3)]
    got = answer(vlm, prefix, [question, [40]], contact_ids=EVERY, max_new_tokens=20)
    assert len(got[0].ids) == 4  # three are read and the fourth is only picked
    assert not got[0].finished
    assert len(got[1].ids) == 20
    same(got[0], *uncached(vlm, image, [*SHARED, *question], 4))
    full = [30] * room
    assert len(answer(vlm, prefix, [full], contact_ids=(), max_new_tokens=9)[0].ids) == 1
    with pytest.raises(InputError, match=r"shorten the question"):
        answer(vlm, prefix, [[*full, 30]], contact_ids=())
    with pytest.raises(InputError, match=r"shorten the question"):
        prefill(vlm, [*SHARED, *[5] * 100], image)


def test_bad_calls_are_refused(vlm: VLM, image: Tensor, prefix: Prefix) -> None:
    assert answer(vlm, prefix, [], contact_ids=[90]) == []
    assert teach(vlm, prefix, [], [], contact_ids=[90]) == []
    with pytest.raises(InputError, match="at least one token"):
        answer(vlm, prefix, [[30], []], contact_ids=[90])
    with pytest.raises(InputError, match="at least one token"):
        teach(vlm, prefix, [[]], [[5]], contact_ids=[90])
    with pytest.raises(InputError, match="vocabulary"):
        answer(vlm, prefix, [[VOCABULARY]], contact_ids=[90])
    with pytest.raises(InputError, match="vocabulary"):
        answer(vlm, prefix, [[IMAGE_TOKEN]], contact_ids=[90])
    with pytest.raises(InputError, match="vocabulary"):
        teach(vlm, prefix, [[5]], [[6, VOCABULARY]], contact_ids=[90])
    with pytest.raises(InputError, match="one answer for each"):
        teach(vlm, prefix, [[5], [6]], [[7]], contact_ids=[90])
    with pytest.raises(InputError, match="one for all or one for each"):
        answer(vlm, [prefix, prefix], [[5]], contact_ids=[90])
    with pytest.raises(InputError, match="max_new_tokens"):
        answer(vlm, prefix, [[5]], contact_ids=[90], max_new_tokens=0)
    with pytest.raises(InputError, match="mark one image once"):
        prefill(vlm, [1, 2], image)


def test_operations_can_be_counted_without_weights() -> None:
    with torch.device("meta"):
        vlm = VLM(tiny_config())
    prefix = prefill(vlm, SHARED, torch.empty(9, 48, device="meta"))
    got = answer(vlm, prefix, [[5, 6], [7]], contact_ids=[90], max_new_tokens=4)
    assert [len(g.ids) for g in got] == [4, 4]
    assert teach(vlm, prefix, [[5]], [[6, 90]], contact_ids=[90])[0].states.is_meta


def test_halves_generate_too() -> None:
    vlm = tiny_vlm(seed=3).bfloat16().requires_grad_(False)
    prefix = prefill(vlm, SHARED, pictures(vlm, 1)[0])
    got = answer(vlm, prefix, QUESTIONS, contact_ids=EVERY, max_new_tokens=4)
    assert all(g.states.dtype == torch.bfloat16 and len(g.ids) == 4 for g in got)
