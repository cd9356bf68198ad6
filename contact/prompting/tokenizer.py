"""Text to token ids and back, exactly as the tokenizer that InteractVLM's checkpoints were trained with.

That tokenizer is the slow ``LlamaTokenizer`` of transformers 4.31 in its legacy form. Its ids differ from those of
today's tokenizers wherever a prompt holds a word that was added to the vocabulary (``<im_start>``, ``[SEG]``, ...):

- the text is cut at added and special words, the leftmost first and of two the longer;
- white space beside an added word is dropped, the line break after ``<im_end>`` included; beside ``<s>``, ``</s>`` and
  ``<unk>`` it stays, unless ``special_tokens_map.json`` spells them as plain strings;
- every stretch between them goes through sentencepiece on its own, which puts its dummy prefix ``▁`` before it, so that
  a full stop after ``[SEG]`` is ``▁.`` and not ``.``.

Only the ``sentencepiece`` package is needed (Kudo and Richardson, 2018); nothing here depends on transformers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hoirecon.contact.modeling.contact_tokens import (
    IMAGE_END,
    IMAGE_START,
    SEPARATE_DECODERS,
    SPELLINGS,
    ContactTokens,
    words_to_add,
)
from hoirecon.contact.prompting.tokenizer_files import SpecialWord, TokenizerFiles, read_files, write_files
from hoirecon.errors import InputError, require

IMAGE_WORD = "<image>"
"""Stands for the image in a prompt's text; never reaches the vocabulary."""
IMAGE_ID = -200
"""Stands for the image in a prompt's ids."""
ROLE_WORDS = ("USER:", "ASSISTANT:")
"""What the two speakers' turns begin with."""
MAX_UNTRUSTED = 200
"""Longest object's name that is put into a prompt, characters; the released models read names of one to three words."""
MAX_TEXT = 100_000
"""Longest text that is encoded, characters."""

RESERVED_WORDS = tuple(
    dict.fromkeys(
        [word for words in SPELLINGS.values() for word in words.values()]
        + ["<HCON>", "<OCON>", IMAGE_START, IMAGE_END, IMAGE_WORD, "<im_patch>", "<s>", "</s>", "<unk>", "<pad>"]
        + list(ROLE_WORDS)
    )
)
"""Words that mean something to some model of the family; a user's text never holds one, whatever the vocabulary."""


class ContactTokenizer:
    """Sentencepiece with added words, by the rules of the checkpoints' own tokenizer.

    Immutable; make one with :meth:`from_folder`.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        """Take the content of the files.

        Raises:
            InputError: the model is not sentencepiece's, or ids contradict each other.
        """
        self._sp = _load_model(files.model)
        base = int(self._sp.get_piece_size())
        added = dict(files.added)
        for special in files.specials:  # the old tokenizer gives a special word that nobody knows the next free id
            if special.text not in added and not _in_base(self._sp, special.text):
                added[special.text] = max([base - 1, *added.values()]) + 1
        _check_ids(added, self._sp)
        self._files = TokenizerFiles(files.model, dict(sorted(added.items(), key=lambda item: item[1])), files.specials)
        self._ids = {s.text: int(self._sp.piece_to_id(s.text)) for s in files.specials} | added
        self._words = {i: word for word, i in added.items()}
        self._keeps_left, self._keeps_right = _kept_space(files.specials)
        self._cut = _any_of(self._ids)

    @classmethod
    def from_folder(cls, folder: str | Path) -> ContactTokenizer:
        """Read ``tokenizer.model`` and the small JSON files beside it, as a checkpoint's folder holds them.

        Ids come from ``added_tokens.json`` and, where that is missing, from ``added_tokens_decoder`` in
        ``tokenizer_config.json``. What the latter says of white space is newer than the checkpoints and is ignored.

        Raises:
            InputError: a file is missing, too large, damaged, or contradicts another.
        """
        return cls(read_files(folder))

    def extended(self, token_type: str) -> ContactTokenizer:
        """With the words that a token type needs, in the order in which checkpoints added them; known ones stay.

        Example: a plain LLaMA vocabulary of 32000 becomes 32003 with ``Gen`` and 32005 with ``Gen-Hu-Obj``.
        """
        added = dict(self._files.added)
        for word in words_to_add(_base_type(token_type)):
            if word not in self._ids:
                added[word] = max([self.base_size - 1, *added.values()]) + 1
        return ContactTokenizer(TokenizerFiles(self._files.model, added, self._files.specials))

    def save(self, folder: str | Path) -> None:
        """Write the files that :meth:`from_folder` and transformers read.

        Raises:
            InputError: the folder cannot be written.
        """
        write_files(self._files, folder)

    @property
    def base_size(self) -> int:
        """Tokens of the sentencepiece model, without the added ones."""
        return int(self._sp.get_piece_size())

    @property
    def vocab_size(self) -> int:
        """Tokens, the added ones included."""
        return max([self.base_size - 1, *self._words]) + 1

    @property
    def added(self) -> dict[str, int]:
        """Added words and their ids, by id."""
        return dict(self._files.added)

    @property
    def bos_id(self) -> int:
        """Id of the token that begins a text."""
        return self._special_id("bos_token")

    @property
    def eos_id(self) -> int:
        """Id of the token that ends an answer."""
        return self._special_id("eos_token")

    @property
    def unk_id(self) -> int:
        """Id of the unknown token."""
        return self._special_id("unk_token")

    @property
    def pad_id(self) -> int:
        """Id that fills up a batch: the unknown token's unless the files name another."""
        return self._special_id("pad_token") if "pad_token" in self._roles else self.unk_id

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of the special words (begin, end, unknown, fill), not of the added ones."""
        return frozenset(self._ids[special.text] for special in self._files.specials)

    @property
    def _roles(self) -> dict[str, str]:
        return {special.role: special.text for special in self._files.specials}

    def _special_id(self, role: str) -> int:
        return self._ids[self._roles[role]]

    def id_of(self, word: str) -> int:
        """Id of an added or special word.

        Raises:
            InputError: the vocabulary has no such word of its own.
        """
        if word not in self._ids:
            raise InputError(f"this tokenizer has no word '{word}' of its own; it has {', '.join(self._ids)}")
        return self._ids[word]

    def contact_tokens(self, token_type: str) -> ContactTokens:
        """Ids of the contact tokens; the suffix for separate decoders is taken off the type.

        Raises:
            InputError: an unknown type, or a word of it is missing here.
        """
        base = _base_type(token_type)
        words = SPELLINGS[base]
        if missing := [word for word in words.values() if word not in self._ids]:
            raise InputError(
                f"token type '{token_type}' needs {', '.join(missing)}, but the tokenizer only added "
                f"{', '.join(self._files.added) or 'nothing'}: take the tokenizer from the checkpoint's own folder"
            )
        human, object_ = (self._ids[words[r]] if r in words else None for r in ("human", "object"))
        return ContactTokens(self._ids[words["general"]], human, object_, base)

    def encode(self, text: str, bos: bool = True) -> list[int]:
        """Ids of a text; added and special words in it become their own ids.

        Args:
            text: any text that you trust; an object's name goes through :meth:`neutralise` first.
            bos: whether the id of the beginning is put first.

        Raises:
            InputError: the text is too long or cannot be written in UTF-8.
        """
        ids = [self.bos_id] if bos else []
        for stretch in self._stretches(_checked(text)):
            if stretch in self._ids:
                ids.append(self._ids[stretch])
            else:
                ids.extend(self._sp.encode(stretch, out_type=int))
        return ids

    def _stretches(self, text: str) -> Iterator[str]:
        """The text cut at added and special words, white space beside added ones dropped, nothing empty."""
        parts = [part for part in self._cut.split(text) if part]
        for i, part in enumerate(parts):
            if part not in self._ids:
                if i > 0 and parts[i - 1] not in self._keeps_right:
                    part = part.lstrip()
                if i + 1 < len(parts) and parts[i + 1] not in self._keeps_left:
                    part = part.rstrip()
            if part:
                yield part

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """Text of ids; added words stand between single spaces, the image's id becomes ``<image>``.

        Args:
            ids: token ids, as the model gives them.
            skip_special: leave out begin, end, unknown and fill.

        Raises:
            InputError: an id is not in the vocabulary.
        """
        words = {IMAGE_ID: IMAGE_WORD} | self._words
        texts: list[str] = []
        run: list[int] = []
        for token in map(int, ids):
            if token not in words and not 0 <= token < self.base_size:
                raise InputError(f"token {token} is not in this vocabulary of {self.vocab_size}")
            if skip_special and token in self.special_ids:
                continue
            if token not in words:
                run.append(token)
                continue
            texts.extend([self._decode_run(run), words[token]] if run else [words[token]])
            run = []
        texts.extend([self._decode_run(run)] if run else [])
        return " ".join(texts)

    def _decode_run(self, run: Sequence[int]) -> str:
        """Text of base ids; special words are spelled out, with one space before the first of several."""
        text, pieces, after_special = "", [], False
        for i, token in enumerate(run):
            if token not in self.special_ids:
                pieces.append(token)
                after_special = False
                continue
            space = " " if i and not after_special else ""
            text += space + self._sp.decode(pieces) + self._sp.id_to_piece(token)
            pieces, after_special = [], True
        return str(text + self._sp.decode(pieces))

    def neutralise(self, text: str, limit: int = MAX_UNTRUSTED) -> str:
        """A user's text as plain words: :func:`neutralise` with this vocabulary's own words besides the reserved."""
        return neutralise(text, limit, self._ids)

    def encode_untrusted(self, text: str) -> list[int]:
        """Ids of a user's text without a beginning; no added or special word can be among them.

        Raises:
            InputError: empty or too long (see :func:`neutralise`).
        """
        return self.encode(self.neutralise(text), bos=False)


def neutralise(text: str, limit: int = MAX_UNTRUSTED, words: Iterable[str] = ()) -> str:
    """A user's text (an object's name) made harmless: it can mean nothing but its letters.

    White space of any kind becomes one space, what cannot be seen (control, format and unassigned characters) goes, and
    a reserved word is broken by a space after its first character: ``[SEG]`` becomes ``[ SEG]``, which reads the same
    and is plain letters to the model.

    Args:
        text: what the user gave.
        limit: longest text, characters.
        words: further words that must not occur, besides :data:`RESERVED_WORDS`.

    Raises:
        InputError: not a text, empty, or longer than the limit.

    Example:
        >>> neutralise(" tennis\\n racket [SEG] ")
        'tennis racket [ SEG]'
    """
    if not isinstance(text, str):
        raise InputError(f"an object's name must be a text, got {type(text).__name__}")
    if len(text) > 20 * limit:  # looked at before any work on it
        raise _too_long(len(text), limit)
    spaced = "".join(" " if c.isspace() or c == "▁" else c for c in text)  # sentencepiece reads ▁ as a space
    seen = "".join(c for c in spaced if not unicodedata.category(c).startswith("C"))
    reserved = {*RESERVED_WORDS, *words}
    lone = {word for word in reserved if len(word) == 1}  # cannot be broken, only left out
    plain = " ".join("".join(c for c in seen if c not in lone).split())
    if not any(c.isalnum() for c in plain):
        raise InputError(f"an object's name must hold a letter or a digit, got {text[:40]!r}: say what the object is")
    if len(plain) > limit:
        raise _too_long(len(plain), limit)
    return break_words(plain, reserved - lone)


def _too_long(length: int, limit: int) -> InputError:
    return InputError(
        f"an object's name of {length} characters is too long, the limit is {limit}: name it in few words"
    )


def break_words(text: str, words: Iterable[str]) -> str:
    """A space after the first character of every occurrence, until there is none."""
    pattern = _any_of(words)
    while match := pattern.search(text):
        text = text[: match.start() + 1] + " " + text[match.start() + 1 :]
    return text


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the words, of several at one place the longest."""
    longest_first = sorted(set(words), key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")


def _checked(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise InputError(f"a text of {len(text)} characters is too long for a prompt, the limit is {MAX_TEXT}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as err:
        raise InputError(f"the text holds half a character at place {err.start}: give valid Unicode") from err
    return text


def _base_type(token_type: str) -> str:
    base = token_type.removesuffix(SEPARATE_DECODERS)
    if base not in SPELLINGS:
        raise InputError(f"there is no token type '{token_type}': choose {', '.join(SPELLINGS)}")
    return base


def _load_model(model: bytes) -> Any:
    sentencepiece = require("sentencepiece", extra="vlm")
    advice = "copy it again from the checkpoint"
    try:
        sp = sentencepiece.SentencePieceProcessor(model_proto=model) if model else None  # no bytes would pass silently
    except Exception as err:  # sentencepiece raises RuntimeError and others on damaged bytes
        first = "".join(str(err).strip().splitlines()[:1])[:120]
        raise InputError(f"tokenizer.model is not a sentencepiece model ({first}): {advice}") from err
    if sp is None:
        raise InputError(f"tokenizer.model is not a sentencepiece model (it is empty): {advice}")
    return sp


def _in_base(sp: Any, word: str) -> bool:
    return bool(sp.piece_to_id(word) != sp.unk_id() or word == sp.id_to_piece(sp.unk_id()))


def _check_ids(added: Mapping[str, int], sp: Any) -> None:
    """Added words have one id each, beyond the model's own."""
    base = int(sp.get_piece_size())
    if len(set(added.values())) < len(added):
        raise InputError("two added words of the tokenizer have the same id: added_tokens.json is damaged")
    for word, i in added.items():
        if i < base and sp.id_to_piece(i) != word:
            raise InputError(
                f"the added word '{word}' has the id {i} of the piece '{sp.id_to_piece(i)}': "
                "added_tokens.json and tokenizer.model are not of one checkpoint"
            )


def _kept_space(specials: Sequence[SpecialWord]) -> tuple[set[str], set[str]]:
    """Words beside which white space stays: on their left, on their right. Of equal words the last one decides."""
    known = {s.text: s for s in specials if not s.plain}
    left = {text for text, s in known.items() if not s.strips_left}
    right = {text for text, s in known.items() if not s.strips_right}
    return left, right
