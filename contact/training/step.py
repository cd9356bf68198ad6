"""One teacher-forced step: the true answer is read, its contact token localised, and everything compared.

sample = Sample(ids, labels, image, target, views=renders, cameras=cameras)
parts = training_step(network, [sample, ...])
parts.total.backward()

Dwivedi et al., "InteractVLM" (CVPR 2025). Gradients reach every parameter that is not frozen, but for the two image
encoders, which never get any. What is trained, and how, is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hoirecon.contact.inference.queries import ROLE_OF_KIND
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.modeling.vlm import IMAGE_TOKEN
from hoirecon.contact.training.contact_losses import WORD_IGNORE, token_loss
from hoirecon.contact.training.losses import LossConfig, LossParts, Target, contact_loss
from hoirecon.errors import InputError

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Sample:
    """One question with its answer, and what it is about."""

    input_ids: Tensor
    """(T,) question and answer, one ``IMAGE_TOKEN`` among them; not padded."""
    labels: Tensor
    """(T,) the same ids where the answer is learned, ``WORD_IGNORE`` (-100) elsewhere."""
    image: Tensor
    """(3, S, S) the photograph as CLIP wants it, or (P, width) the tower's features of it, kept from before."""
    target: Target | None = None
    """Masks and contact; None for an answer without a contact token."""
    views: Tensor | None = None
    """(V, 3, h, w) pictures to localise in, RGB in 0..255, not padded; (1, 3, h, w) the photograph itself, which the
    reference repeats V times, to the same effect."""
    features: Tensor | None = None
    """(V, C, e, e) the mask network's embeddings of the views, kept from before, in place of ``views``."""
    resized: Size | None = None
    """(h, w) of the views that ``features`` were made of; None is the network's full square."""
    cameras: Tensor | None = None
    """(V, 5) normalised cameras of the network's views; None says that nothing is known (zeros)."""

    def __post_init__(self) -> None:
        if self.input_ids.ndim != 1 or self.input_ids.shape != self.labels.shape or not len(self.input_ids):
            raise InputError(
                f"token ids and labels are both (T,), got {tuple(self.input_ids.shape)} and {tuple(self.labels.shape)}"
            )
        if self.image.ndim not in (2, 3):
            raise InputError(f"an image is (3, S, S), or features (P, width), got {tuple(self.image.shape)}")
        if self.target is not None and (self.views is None) == (self.features is None):
            raise InputError("a sample with a target needs the views to localise in, or their features, not both")
        seen = self.views if self.features is None else self.features
        if self.target is not None and seen is not None and (seen.ndim != 4 or len(seen) != len(self.target.mask)):
            raise InputError(
                f"views {tuple(seen.shape)} do not fit a target of {len(self.target.mask)} masks: give one for each"
            )


@dataclass(frozen=True, eq=False)
class Reading:
    """What the language model made of the texts of a batch, padded on the right."""

    hidden: Tensor
    """(B, L, H) states after the final norm, those of the image among them."""
    labels: Tensor
    """(B, L), ``WORD_IGNORE`` at the image and at padding."""
    lengths: tuple[int, ...]
    """Positions of each row without padding."""
    contacts: tuple[tuple[tuple[int, int], ...], ...]
    """For each row its contact tokens: position and id."""


def training_step(
    network: InteractVLMNetwork, samples: Sequence[Sample], config: LossConfig | None = None
) -> LossParts:
    """Loss of a batch, differentiable.

    Args:
        network: in any mode, on any device; the samples may lie elsewhere.
        samples: the batch. Views that several samples share (the body's renders, one tensor) are encoded once.
        config: weights and faults; None takes the weights that the network's configuration names.

    Returns:
        The weighted parts; call ``total.backward()``.

    Raises:
        InputError: no sample, a text that does not fit the network, a target whose answer has other than one contact
            token, or views and targets that do not fit the network.
    """
    reading = read_texts(network, samples)
    words = words_loss(network, reading)
    encoded: dict[int, Tensor] = {}
    masks, targets = [], []
    for row, sample in enumerate(samples):
        if sample.target is None:
            continue
        seen = sample.views if sample.features is None else sample.features
        if id(seen) not in encoded:
            encoded[id(seen)] = _features(network, sample)
        masks.append(localize_sample(network, sample, row, reading, encoded[id(seen)]))
        targets.append(sample.target)
    return contact_loss(masks, targets, config or LossConfig.of(network.config), words)


def read_texts(network: InteractVLMNetwork, samples: Sequence[Sample]) -> Reading:
    """Read all questions and answers, each with its image, in one pass.

    No token of a text is taken for padding. (The reference hides every token 0, within a text too.)

    Raises:
        InputError: no sample, ids outside the vocabulary, or other than one mark for the image in a text.
    """
    if not samples:
        raise InputError("a batch needs at least one sample")
    vlm, known = network.vlm, network.config.tokens.ids
    texts = [sample.input_ids.tolist() for sample in samples]
    images = _image_tokens(network, samples)
    rows = [vlm.embed(text, image) for text, image in zip(texts, images, strict=True)]
    marks = [text.index(IMAGE_TOKEN) for text in texts]  # embed has seen to it that there is one
    extra = images.shape[1] - 1
    contacts = [
        tuple((i + extra * (i > mark), token) for i, token in enumerate(text) if token in known)
        for text, mark in zip(texts, marks, strict=True)
    ]
    labels = [_spread(sample.labels, mark, extra) for sample, mark in zip(samples, marks, strict=True)]
    # Padding stands behind every text, where causal attention never looks: it needs no mask.
    hidden = vlm.hidden(pad_sequence(rows, batch_first=True))
    padded = pad_sequence(labels, batch_first=True, padding_value=WORD_IGNORE).to(hidden.device)
    return Reading(hidden, padded, tuple(map(len, rows)), tuple(contacts))


def words_loss(network: InteractVLMNetwork, reading: Reading) -> Tensor:
    """Cross-entropy of the tokens that are learned; no scores are computed for the others."""
    labels = reading.labels[:, 1:]
    learned = labels != WORD_IGNORE
    return token_loss(network.vlm.logits(reading.hidden[:, :-1][learned]), labels[learned])


def localize_sample(
    network: InteractVLMNetwork, sample: Sample, row: int, reading: Reading, features: Tensor
) -> Tensor:
    """(V, H, W) logits of a sample's masks, at the size of its target.

    Args:
        network: the model.
        sample: with a target.
        row: its row in ``reading``.
        reading: what the language model made of the batch.
        features: (V, C, e, e) embeddings of its views.

    Raises:
        InputError: other than one contact token in the answer, or shapes that do not fit.
    """
    assert sample.target is not None  # the caller's matter
    contacts = reading.contacts[row]
    if len(contacts) != 1:
        raise InputError(
            f"the text of sample {row} holds {len(contacts)} contact tokens, its target is one: have one token in each "
            f"answer ({network.config.tokens.ids}), and one sample for each object"
        )
    (place, token), mv_loc = contacts[0], network.mv_loc
    states = reading.hidden[row, : reading.lengths[row]]
    cameras = None if sample.cameras is None else sample.cameras.to(states.device)
    # One place before the token: the state that predicts it, as in generation.
    prompts = network.contact_prompts(states[place - 1 : place], [token], cameras)
    features = mv_loc.fuse(features.to(states), states)
    low = mv_loc.localize(prompts, features, ROLE_OF_KIND[sample.target.kind])
    side = network.config.sam.img_size
    resized = sample.resized or ((side, side) if sample.views is None else tuple(sample.views.shape[-2:]))
    height, width = sample.target.mask.shape[-2:]
    return mv_loc.upscale(low.logits[0], (resized[0], resized[1]), (height, width))


def _image_tokens(network: InteractVLMNetwork, samples: Sequence[Sample]) -> Tensor:
    """(B, P, H) vectors that stand for each photograph; the projector may be trained, the tower is not."""
    projector = network.vlm.projector
    pictures = [i for i, sample in enumerate(samples) if sample.image.ndim == 3]
    features = [sample.image for sample in samples]
    if pictures:
        try:
            seen = network.vlm.image_features(torch.stack([features[i] for i in pictures]).to(projector.weight))
        except RuntimeError as err:
            raise InputError(f"the photographs of a batch are all of CLIP's size (3, S, S) ({err})") from err
        for i, feature in zip(pictures, seen, strict=True):
            features[i] = feature
    wanted = (network.config.vision.num_patches, network.config.vision.hidden_size)
    if wrong := [tuple(feature.shape) for feature in features if tuple(feature.shape) != wanted]:
        raise InputError(f"features of a photograph are {wanted} in this network, got {wrong[0]}")
    tokens: Tensor = projector(torch.stack([feature.to(projector.weight) for feature in features]))
    return tokens


def _features(network: InteractVLMNetwork, sample: Sample) -> Tensor:
    """(V, C, e, e) of a sample's views; those kept from before are taken as they are."""
    if sample.features is not None:
        return sample.features
    assert sample.views is not None  # Sample sees to it where there is a target
    return network.mv_loc.encode(sample.views.to(network.mv_loc.no_mask().device))


def _spread(labels: Tensor, mark: int, extra: int) -> Tensor:
    """Labels (T,) with room for the image's vectors at its mark, (T + extra,)."""
    return torch.cat((labels[:mark], labels.new_full((extra + 1,), WORD_IGNORE), labels[mark + 1 :]))
