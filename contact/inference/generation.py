"""Answers of the language model, every position computed once.

The image and the system's words are read once into keys and values (:func:`prefill`); any number of questions continue
from there in one batch (:func:`answer`), each answer token costs one step, and scores over the vocabulary are computed
where a token is picked and nowhere else. The state that picks a token is the state that InteractVLM localises with when
the token is a contact token, so it is kept when it passes by: nothing is run a second time (Dwivedi et al.,
"InteractVLM", CVPR 2025, run the whole text again for every token).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hoirecon.contact.modeling.vlm import VLM
from hoirecon.errors import InputError

MAX_NEW_TOKENS = 512
"""Longest answer, as in the reference."""
CACHE_STEP = 64
"""Positions by which the room for answers grows; few answers are longer."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """A text that was read, image included: what the language model remembers of it."""

    keys: tuple[Tensor, ...]
    """(1, heads, length, head width) per layer."""
    values: tuple[Tensor, ...]
    """(1, heads, length, head width) per layer."""

    @property
    def length(self) -> int:
        """Positions that were read."""
        return int(self.keys[0].shape[2])


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer, and the states of the contact tokens in it."""

    ids: tuple[int, ...]
    """New tokens, the one that ends the answer included."""
    contact_ids: tuple[int, ...]
    """(S,) the contact tokens among them, in order."""
    states: Tensor
    """(S, H) the state that predicts each contact token: the position before it, after the final norm."""
    finished: bool
    """Whether it ends with the token that ends answers; False if it was cut off."""


class KeyValueRoom:
    """Keys and values of a batch, written into room set aside, so that a step does not copy the steps before it.

    It has the two methods that attention in ``transformers`` asks of a cache.
    """

    def __init__(self, prefixes: Sequence[Prefix], room: int) -> None:
        """Lay out one row per prefix, shorter ones padded on the right with zeros, and room for more positions."""
        self._used = [max(prefix.length for prefix in prefixes)] * len(prefixes[0].keys)
        layers = range(len(self._used))
        self._keys = [_lay_out([p.keys[i] for p in prefixes], self._used[i] + room) for i in layers]
        self._values = [_lay_out([p.values[i] for p in prefixes], self._used[i] + room) for i in layers]

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Append (B, heads, L, width) to a layer; return all of it."""
        start = self._used[layer]
        end = self._used[layer] = start + keys.shape[2]
        for stored, new in ((self._keys, keys), (self._values, values)):
            if end > stored[layer].shape[2]:
                stored[layer] = _lay_out([stored[layer][:, :, :start]], end + CACHE_STEP)
            stored[layer][:, :, start:end] = new
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def get_seq_length(self, layer: int = 0) -> int:
        """Positions that a layer holds."""
        return self._used[layer]

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these."""
        self._keys = [keys[rows.to(keys.device)] for keys in self._keys]
        self._values = [values[rows.to(values.device)] for values in self._values]


class FirstReading:
    """A cache that takes what it is given as it is, gradients and all: there is nothing before it."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        self.keys.append(keys)
        self.values.append(values)
        return keys, values

    def get_seq_length(self, layer: int = 0) -> int:
        return 0


@torch.no_grad()
def prefill(vlm: VLM, ids: Sequence[int], image_tokens: Tensor) -> Prefix:
    """Read the words before every question, and the image.

    Args:
        vlm: the model.
        ids: token ids with one mark for the image, e.g. the system's words, the image and the words round it.
        image_tokens: (P, H) of :meth:`VLM.image_tokens`.

    Raises:
        InputError: no or several marks, ids outside the vocabulary, or too long.
    """
    return prefill_images(vlm, ids, image_tokens[None])[0]


@torch.no_grad()
def prefill_images(vlm: VLM, ids: Sequence[int], image_tokens: Tensor) -> list[Prefix]:
    """Read the same words with each of several images (B, P, H), in one batch; see :func:`prefill`."""
    if not len(image_tokens):
        return []
    reading = FirstReading()
    vlm.hidden(torch.stack([vlm.embed(ids, tokens) for tokens in image_tokens]), cache=reading)
    return [Prefix(_row(reading.keys, i), _row(reading.values, i)) for i in range(len(image_tokens))]


@torch.no_grad()
def answer(
    vlm: VLM,
    prefix: Prefix | Sequence[Prefix],
    questions: Sequence[Sequence[int]],
    *,
    contact_ids: Collection[int],
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[Answer]:
    """Answer questions greedily, all in one batch; each gets what it would get alone.

    Args:
        vlm: the model.
        prefix: what stands before every question, or one prefix for each.
        questions: token ids of each, of any length.
        contact_ids: tokens whose states are wanted.
        max_new_tokens: where an answer is cut off; it also ends where the language model's positions do.

    Returns:
        One answer per question.

    Raises:
        InputError: an empty question, ids outside the vocabulary, or a question too long for the model.
    """
    if max_new_tokens < 1:
        raise InputError(f"an answer needs at least one token, got max_new_tokens={max_new_tokens}")
    if not questions:
        return []
    batch = _Batch(vlm, _one_each(prefix, len(questions)), questions)
    writers = [
        # The last token that is picked is not read, so it needs no position of its own.
        _Writer(frozenset(contact_ids), vlm.config.language.eos_token_id, min(max_new_tokens, vlm.max_length - n + 1))
        for n in batch.lengths
    ]
    states = batch.read(questions)
    states = states[range(len(questions)), [len(q) - 1 for q in questions]]
    empty, rows = states[:0], list(range(len(questions)))
    while rows:
        tokens = _pick(vlm, states)
        for row, token, state in zip(rows, tokens, states, strict=True):
            writers[row].write(token, state)
        going = [i for i, row in enumerate(rows) if not writers[row].done]
        if not going:
            break
        if len(going) < len(rows):
            batch.keep(going)
        rows = [rows[i] for i in going]
        states = batch.read([[tokens[i]] for i in going])[:, 0]
    return [writer.answer(empty) for writer in writers]


@torch.no_grad()
def teach(
    vlm: VLM,
    prefix: Prefix | Sequence[Prefix],
    questions: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    *,
    contact_ids: Collection[int],
) -> list[Answer]:
    """Take given answers instead of generating: one pass, no scores over the vocabulary.

    This is the reference's ``forward`` mode. With the true answer it leaks what was to be found (body parts are named
    before the contact token); with a fixed template it is a quick mode.

    Args:
        vlm: the model.
        prefix: what stands before every question, or one prefix for each.
        questions: token ids of each.
        answers: token ids of the answer to each.
        contact_ids: tokens whose states are wanted.

    Returns:
        One answer per question, with the ids that were given.

    Raises:
        InputError: another number of answers than of questions, or as in :func:`answer`.
    """
    if len(questions) != len(answers):
        raise InputError(f"{len(questions)} questions came with {len(answers)} answers: give one answer for each")
    if not questions:
        return []
    places = [[i for i, token in enumerate(given) if token in contact_ids] for given in answers]
    # What comes after the last state that is wanted is not read.
    texts = [
        [*question, *given[: max(at, default=0)]]
        for question, given, at in zip(questions, answers, places, strict=True)
    ]
    for question, given in zip(questions, answers, strict=True):
        _check_question(vlm, question)
        vlm.check_ids(given)
    states = _Batch(vlm, _one_each(prefix, len(questions)), texts).read(texts)
    eos = vlm.config.language.eos_token_id
    return [
        Answer(
            tuple(given),
            tuple(given[i] for i in at),
            states[row, [len(question) - 1 + i for i in at]],
            bool(given) and given[-1] == eos,
        )
        for row, (question, given, at) in enumerate(zip(questions, answers, places, strict=True))
    ]


class _Batch:
    """Texts that grow together, one per row; a row sees its own prefix and its own tokens only."""

    def __init__(self, vlm: VLM, prefixes: Sequence[Prefix], texts: Sequence[Sequence[int]]) -> None:
        self.lengths = [prefix.length + len(text) for prefix, text in zip(prefixes, texts, strict=True)]
        for text, length in zip(texts, self.lengths, strict=True):
            _check_question(vlm, text)
            vlm.check_length(length)
        self._vlm = vlm
        self._cache = KeyValueRoom(prefixes, max(map(len, texts)) + CACHE_STEP)
        self._device = prefixes[0].keys[0].device
        self._next = torch.tensor([prefix.length for prefix in prefixes], device=self._device)
        slots = torch.arange(max(prefix.length for prefix in prefixes), device=self._device)
        self._real = slots < self._next[:, None]

    def read(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """States (B, L, H) of the next tokens of every row; shorter rows are padded on the right with junk."""
        lengths = torch.tensor([len(text) for text in texts], device=self._device)
        longest = max(map(len, texts))
        pad = self._vlm.config.language.pad_token_id
        ids = torch.tensor([[*text, *[pad] * (longest - len(text))] for text in texts], device=self._device)
        steps = torch.arange(longest, device=self._device)
        real = steps < lengths[:, None]
        # Columns are places in the cache, in the order of writing: everything real before this block, then the block.
        before = self._real[:, None, :].expand(-1, longest, -1)
        block = (steps <= steps[:, None]) & real[:, None, :]
        mask = torch.cat((before, block), dim=2)[:, None]
        states = self._vlm.hidden(
            self._vlm.embed_ids(ids), positions=self._next[:, None] + steps, mask=mask, cache=self._cache
        )
        self._real = torch.cat((self._real, real), dim=1)
        self._next = self._next + lengths
        return states

    def keep(self, rows: Sequence[int]) -> None:
        """Drop rows that are finished."""
        chosen = torch.tensor(rows, device=self._device)
        self._real, self._next = self._real[chosen], self._next[chosen]
        self._cache.keep(chosen)


@dataclass
class _Writer:
    """One answer in the making."""

    contact_ids: frozenset[int]
    eos: int
    limit: int
    ids: list[int] = field(default_factory=list)
    found: list[tuple[int, Tensor]] = field(default_factory=list)

    def write(self, token: int, state: Tensor) -> None:
        self.ids.append(token)
        if token in self.contact_ids:
            self.found.append((token, state))

    @property
    def finished(self) -> bool:
        return bool(self.ids) and self.ids[-1] == self.eos

    @property
    def done(self) -> bool:
        return self.finished or len(self.ids) >= self.limit

    def answer(self, empty: Tensor) -> Answer:
        states = torch.stack([state for _, state in self.found]) if self.found else empty
        return Answer(tuple(self.ids), tuple(token for token, _ in self.found), states, self.finished)


def _pick(vlm: VLM, states: Tensor) -> list[int]:
    """The best next token of each row."""
    best = vlm.logits(states).argmax(dim=-1)
    # Without weights nothing can be picked; counting operations on the meta device goes on with padding.
    return [vlm.config.language.pad_token_id] * len(best) if best.is_meta else best.tolist()


def _lay_out(rows: Sequence[Tensor], length: int) -> Tensor:
    """Rows (n, heads, any length, width) one below the other in one tensor of this length, zeros behind."""
    first = rows[0]
    laid = first.new_zeros((sum(len(row) for row in rows), first.shape[1], length, first.shape[3]))
    start = 0
    for row in rows:
        laid[start : start + len(row), :, : row.shape[2]] = row
        start += len(row)
    return laid


def _row(layers: Sequence[Tensor], row: int) -> tuple[Tensor, ...]:
    """One row of each layer, in memory of its own: a view would keep the whole batch as long as any row lives."""
    return tuple(layer if len(layer) == 1 else layer[row : row + 1].clone() for layer in layers)


def _one_each(prefix: Prefix | Sequence[Prefix], count: int) -> list[Prefix]:
    prefixes = [prefix] * count if isinstance(prefix, Prefix) else list(prefix)
    if len(prefixes) != count:
        raise InputError(f"{count} questions came with {len(prefixes)} prefixes: give one for all or one for each")
    return prefixes


def _check_question(vlm: VLM, question: Sequence[int]) -> None:
    if not len(question):
        raise InputError("a question needs at least one token")
    vlm.check_ids(question)
