"""The teacher-forced step of a tiny network: it is inference's own path, it learns, and refuses what does not fit."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hoirecon.contact.inference.generation import prefill, teach
from hoirecon.contact.inference.queries import ROLE_OF_KIND, Kind
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.modeling.vlm import IMAGE_TOKEN
from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.contact.training.contact_losses import WORD_IGNORE
from hoirecon.contact.training.losses import LossConfig, Target
from hoirecon.contact.training.step import Sample, localize_sample, read_texts, training_step, words_loss
from hoirecon.errors import InputError
from tests.contact.tiny_network import tiny_network

VIEWS = 4
SIZE = (40, 64)
"""Of pictures and masks, rows and columns."""
CONTACT: dict[Kind, int] = {"human": 91, "object": 92, "affordance": 92, "image": 90}


@cache
def network() -> InteractVLMNetwork:
    return tiny_network(3)


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample_of(kind: Kind, seed: int = 0, question: int = 3, after: int = 1) -> Sample:
    """A question with an answer of three words, one of them the contact token."""
    words = torch.randint(3, 80, (question + 2 + after,), generator=draw(seed)).tolist()
    prompt = [1, 7, IMAGE_TOKEN, 8, *words[:question]]
    answer = [words[question], CONTACT[kind], *words[question + 1 : question + 1 + after], 2]
    views = torch.randint(0, 256, (VIEWS, 3, *SIZE), generator=draw(seed + 1), dtype=torch.uint8)
    mask = (torch.rand(VIEWS, *SIZE, generator=draw(seed + 2)) < 0.3).float()
    return Sample(
        torch.tensor([*prompt, *answer]),
        torch.tensor([WORD_IGNORE] * len(prompt) + answer),
        torch.randn(3, 24, 24, generator=draw(seed + 3)),
        Target(kind, mask),
        views,
        cameras=torch.rand(VIEWS, 5, generator=draw(seed + 4)),
    )


def words_only(seed: int = 0) -> Sample:
    """An answer without a contact token."""
    sample = sample_of("image", seed)
    ids = torch.where(sample.input_ids == CONTACT["image"], 9, sample.input_ids)
    labels = torch.where(sample.labels == CONTACT["image"], 9, sample.labels)
    return Sample(ids, labels, sample.image)


def masks_of(net: InteractVLMNetwork, samples: list[Sample]) -> list[Tensor]:
    reading = read_texts(net, samples)
    encoded = [net.mv_loc.encode(s.views) for s in samples if s.views is not None]
    with torch.no_grad():
        return [localize_sample(net, s, i, reading, encoded[i]) for i, s in enumerate(samples)]


def floats(net: InteractVLMNetwork, samples: list[Sample], **weights: float) -> dict[str, float]:
    with torch.no_grad():
        return training_step(net, samples, LossConfig(**weights)).floats()


@pytest.mark.parametrize("kind", list(CONTACT))
def test_masks_are_those_of_inference(kind: Kind) -> None:
    """Prefix, question and given answer through the cache of generation, then prompts and decoder."""
    net, sample = network(), sample_of(kind)
    ids = sample.input_ids.tolist()
    start, end = ids.index(IMAGE_TOKEN) + 2, int((sample.labels == WORD_IGNORE).sum())
    with torch.no_grad():
        prefix = prefill(net.vlm, ids[:start], net.vlm.image_tokens(sample.image[None])[0])
        given = teach(net.vlm, prefix, [ids[start:end]], [ids[end:]], contact_ids=net.config.tokens.ids)[0]
        prompts = net.contact_prompts(given.states, given.contact_ids, sample.cameras)
        assert sample.views is not None
        low = net.mv_loc.localize(prompts, net.mv_loc.encode(sample.views), ROLE_OF_KIND[kind])
        expected = net.mv_loc.upscale(low.logits[0], SIZE, SIZE)
    ours = masks_of(net, [sample])[0]
    assert expected.std() > 1e-3
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_a_batch_is_its_samples() -> None:
    """Texts of other lengths beside it, and so padding, change nothing."""
    net = network()
    samples = [sample_of("human", 0, 2), sample_of("object", 10, 9, 4), sample_of("image", 20, 5)]
    for sample, beside in zip(samples, masks_of(net, samples), strict=True):
        torch.testing.assert_close(masks_of(net, [sample])[0], beside, rtol=0, atol=1e-4)
    alone = [floats(net, [sample]) for sample in samples]
    learned = [int((sample.labels != WORD_IGNORE).sum()) for sample in samples]
    together = floats(net, [*samples])
    words = sum(a["tokens"] * n for a, n in zip(alone, learned, strict=True)) / sum(learned)
    assert together["tokens"] == pytest.approx(words, rel=1e-4)
    for name in ("focal", "dice"):
        assert together[name] == pytest.approx(sum(a[name] for a in alone) / 3, rel=1e-4)


def test_words_cost_what_all_scores_say() -> None:
    """The slow way: scores of every position, the image's among them, and labels shifted by hand."""
    net, sample = network(), sample_of("human")
    with torch.no_grad():
        reading = read_texts(net, [sample])
        scores = net.vlm.logits(reading.hidden)[0].log_softmax(-1)
        ours = float(words_loss(net, reading))
    ids = sample.input_ids.tolist()
    mark, patches = ids.index(IMAGE_TOKEN), net.config.vision.num_patches
    costs = []
    for i, label in enumerate(sample.labels.tolist()):
        if label != WORD_IGNORE:
            place = i if i < mark else i + patches - 1
            costs.append(-float(scores[place - 1, label]))
    assert len(costs) == 4
    assert ours == pytest.approx(sum(costs) / len(costs), rel=1e-5)


def test_a_token_zero_within_a_text_is_no_padding() -> None:
    net, sample = network(), sample_of("human")
    ids = sample.input_ids.clone()
    ids[5] = 0
    zero = replace(sample, input_ids=ids)
    with torch.no_grad():
        hidden = net.vlm.hidden(net.vlm.embed(ids, net.vlm.image_tokens(sample.image[None])[0])[None])[0]
        reading = read_texts(net, [zero, sample_of("object", 5, 12)])
    torch.testing.assert_close(reading.hidden[0, : len(hidden)], hidden, rtol=0, atol=1e-4)


def test_contact_tokens_are_found_on_either_side_of_the_image() -> None:
    """Their positions are those of their embeddings in the language model's input."""
    net, sample = network(), with_ids(sample_of("human"), 1, 90)
    with torch.no_grad():
        embedded = net.vlm.embed(sample.input_ids, net.vlm.image_tokens(sample.image[None])[0])
        contacts = read_texts(net, [sample]).contacts[0]
        assert [token for _, token in contacts] == [90, 91]
        for place, token in contacts:
            torch.testing.assert_close(embedded[place], net.vlm.embed_ids(torch.tensor(token)))


def test_what_was_kept_from_before_gives_the_same() -> None:
    net, sample = network(), sample_of("human")
    assert sample.views is not None
    kept = replace(
        sample,
        image=net.vlm.image_features(sample.image[None])[0],
        views=None,
        features=net.mv_loc.encode(sample.views),
        resized=SIZE,
    )
    assert floats(net, [kept]) == pytest.approx(floats(net, [sample]), rel=1e-5)
    assert floats(net, [kept, sample]) == pytest.approx(floats(net, [sample, sample]), rel=1e-5)


def test_shared_views_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net, first = network(), sample_of("human")
    second = replace(sample_of("human", 9), views=first.views)
    expected, encode = floats(net, [first, second]), net.mv_loc.encode
    calls: list[int] = []

    def counted(views: Tensor) -> Tensor:
        calls.append(len(views))
        return encode(views)

    monkeypatch.setattr(net.mv_loc, "encode", counted)
    assert floats(net, [first, second]) == expected
    assert calls == [VIEWS]


def test_a_photograph_need_not_be_repeated() -> None:
    net, sample = network(), sample_of("image")
    assert sample.views is not None
    assert sample.target is not None
    once = replace(sample, views=sample.views[:1], target=Target("image", sample.target.mask[:1]))
    often = replace(
        sample,
        views=sample.views[:1].expand(4, -1, -1, -1),
        target=Target("image", sample.target.mask[:1].expand(4, -1, -1)),
    )
    assert floats(net, [once]) == pytest.approx(floats(net, [often]), rel=1e-4)


def test_answers_without_a_contact_token_learn_words_only() -> None:
    net = network()
    alone = floats(net, [words_only()])
    assert alone["tokens"] > 0
    assert alone["total"] == alone["tokens"]
    with_masks = floats(net, [words_only(), sample_of("human", 3)])
    assert with_masks["focal"] == pytest.approx(floats(net, [sample_of("human", 3)])["focal"], rel=1e-4)


def test_every_part_but_the_image_encoders_learns() -> None:
    net = tiny_network(4, separate_decoders=True).requires_grad_(True)
    kinds: tuple[Kind, ...] = ("human", "object", "image")
    torch.autograd.backward(training_step(net, [sample_of(kind, 10 * i) for i, kind in enumerate(kinds)]).total)
    learned = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    for part in (
        "vlm.language_model.model.embed_tokens",
        "vlm.language_model.lm_head",
        "vlm.projector",
        "token_projection.0",
        "feat_lift",
        "attention_splitter.query_human",
        "attention_splitter.query_object",
        "mv_loc.mask_decoder",
        "mv_loc.human_mask_decoder",
        "mv_loc.object_mask_decoder",
    ):
        assert any(name.startswith(part) for name in learned), part
    assert not any("vision_tower" in name or "image_encoder" in name for name in learned)
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)


def test_gradient_is_the_slope_of_the_loss() -> None:
    """Central differences along a random direction of the parameters, in float32 as masks are."""
    net = tiny_network(5)
    samples = [sample_of("human"), sample_of("image", 20)]
    parameters = [p for n, p in net.named_parameters() if n.startswith(("token_projection", "feat_lift"))]
    directions = [torch.randn(p.shape, generator=draw(i)) for i, p in enumerate(parameters)]
    gradients = torch.autograd.grad(training_step(net, samples).total, parameters)
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))

    def moved(step: float) -> float:
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(step * d)
            value = float(training_step(net, samples).total)
            for p, d in zip(parameters, directions, strict=True):
                p.sub_(step * d)
        return value

    assert abs(slope) > 1e-3
    assert (moved(2e-3) - moved(-2e-3)) / 4e-3 == pytest.approx(slope, rel=0.03)


def test_a_network_learns_a_sample_by_heart() -> None:
    """Masks that views tell apart: halves of the pictures' brightness."""
    net = tiny_network(6)
    sample = sample_of("human")
    ramp = torch.linspace(0, 255, SIZE[1]).expand(VIEWS, 3, *SIZE).to(torch.uint8)
    target = Target("human", (ramp[:, 0] > 127).float())
    assert sample.views is not None
    sample = replace(sample, views=None, features=net.mv_loc.encode(ramp), resized=SIZE, target=target)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    before = floats(net, [sample])
    for _ in range(30):
        optimizer.zero_grad()
        torch.autograd.backward(training_step(net, [sample]).total)
        optimizer.step()
    after = floats(net, [sample])
    assert after["tokens"] < 0.2 * before["tokens"]
    assert after["dice"] < 0.6 * before["dice"]


def test_weights_come_from_the_networks_configuration() -> None:
    net, sample = tiny_network(human_weight=5.0), sample_of("human")
    assert sample.target is not None
    rng = np.random.default_rng(0)
    verts = rng.integers(0, 9, (VIEWS, *SIZE, 3)).astype(np.int32)
    maps = PixelMaps(verts, np.full(verts.shape, 1 / 3, np.float32), 9, tuple("abcd"))
    sample = replace(sample, target=replace(sample.target, contact=torch.ones(9), maps=maps))
    with torch.no_grad():
        own, other = training_step(net, [sample]), training_step(net, [sample], LossConfig(human=1.0))
    assert float(other.human) > 0
    assert float(own.human) == pytest.approx(5 * float(other.human))


def test_half_precision_trains_with_losses_in_full() -> None:
    net, samples = tiny_network(7).bfloat16(), [sample_of("human"), sample_of("image", 20)]
    parts = training_step(net, samples)
    assert parts.total.dtype == torch.float32
    torch.autograd.backward(parts.total)
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)
    assert parts.floats() == pytest.approx(floats(tiny_network(7), samples), rel=0.1)


# --- hostile input ----------------------------------------------------------------------------------------------------


def with_ids(sample: Sample, place: int, token: int) -> Sample:
    ids = sample.input_ids.clone()
    ids[place] = token
    return replace(sample, input_ids=ids)


def test_hostile_texts() -> None:
    net, sample = network(), sample_of("human")
    contact = sample.input_ids.tolist().index(91)
    hostile = {
        "at least one sample": [],
        "holds 0 contact tokens": [with_ids(sample, contact, 5)],
        "holds 2 contact tokens": [with_ids(sample, contact - 1, 92)],
        "marks 0 images": [with_ids(sample, 2, 5)],
        "marks 2 images": [with_ids(sample, 4, IMAGE_TOKEN)],
        "not in the vocabulary": [with_ids(sample, 4, 1000)],
    }
    for message, samples in hostile.items():
        with pytest.raises(InputError, match=message):
            training_step(net, samples)
    labels = sample.labels.clone()
    labels[-1] = 1000
    with pytest.raises(InputError, match="a label is not in the vocabulary"):
        training_step(net, [replace(sample, labels=labels)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.zeros(3, dtype=torch.long)}, "token ids and labels"),
        ({"image": torch.zeros(24)}, "an image is"),
        ({"views": None}, "needs the views"),
        ({"features": torch.zeros(4, 32, 4, 4)}, "not both"),
        ({"views": torch.zeros(3, 3, *SIZE)}, "one for each"),
    ],
)
def test_hostile_samples(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(sample_of("human"), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": torch.zeros(3, 20, 20)}, "image tower"),
        ({"image": torch.zeros(5, 32)}, "features of a photograph"),
        ({"cameras": torch.zeros(3, 5)}, "one normalised camera"),
        ({"views": None, "features": torch.zeros(4, 7, 4, 4)}, "encode the views with this model"),
    ],
)
def test_samples_that_do_not_fit_the_network(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        training_step(network(), [replace(sample_of("human"), **changes)])


def test_photographs_of_several_sizes() -> None:
    other = replace(sample_of("object", 5), image=torch.zeros(3, 20, 20))
    with pytest.raises(InputError, match="all of CLIP's size"):
        training_step(network(), [sample_of("human"), other])
