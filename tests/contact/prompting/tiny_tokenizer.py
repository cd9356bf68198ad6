"""A sentencepiece model trained in seconds with LLaMA's settings, in a folder as a checkpoint has it."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hoirecon.contact.modeling.contact_tokens import words_to_add
from hoirecon.contact.prompting.conversation import SYSTEM

SENTENCES = [
    SYSTEM,
    "Which body parts are in contact with the bottle? Segment these contact areas.",
    "The contacting body parts are left hand, right hand, and the contact region is here.",
    "What type of affordance does the human-object interaction suggest?",
    "USER: ASSISTANT: Sure, it is here. The tennis_racket is held.",
]


@cache
def model_bytes() -> bytes:
    """LLaMA's settings (BPE, byte fallback, dummy prefix, nothing normalised) on a few sentences."""
    spm = pytest.importorskip("sentencepiece")
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 3),
        model_writer=out,
        model_type="bpe",
        vocab_size=460,
        byte_fallback=True,
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return out.getvalue()


def make_folder(folder: Path, words: tuple[str, ...] = words_to_add("Gen-Hu-Obj"), **specials: Any) -> Path:
    """Write tokenizer files with these added words; ``specials`` go into ``special_tokens_map.json``."""
    spm = pytest.importorskip("sentencepiece")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model_bytes())
    base = spm.SentencePieceProcessor(model_proto=model_bytes()).get_piece_size()
    (folder / "added_tokens.json").write_text(json.dumps({word: base + i for i, word in enumerate(words)}))
    flags = {"lstrip": False, "rstrip": False, "normalized": True, "single_word": False}
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    table: dict[str, Any] = {role: {"content": text, **flags} for role, text in named.items()}
    (folder / "special_tokens_map.json").write_text(json.dumps({**table, "pad_token": "<unk>", **specials}))
    return folder
