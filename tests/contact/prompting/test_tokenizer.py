"""Ids are those of the old tokenizer: its recorded ids, a slow twin, known examples, hostile files and texts."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoirecon.contact.modeling.contact_tokens import ContactTokens, words_to_add
from hoirecon.contact.prompting import tokenizer_files
from hoirecon.contact.prompting.tokenizer import (
    IMAGE_ID,
    MAX_TEXT,
    MAX_UNTRUSTED,
    RESERVED_WORDS,
    ContactTokenizer,
    neutralise,
)
from hoirecon.errors import InputError
from tests.contact.prompting.tiny_tokenizer import make_folder, model_bytes

pytest.importorskip("sentencepiece")
GOLDEN = Path(__file__).with_name("legacy_ids.json")
PIECES = [
    *["[SEG]", "[HSEG]", "<im_start>", "<im_end>", "<s>", "</s>", "<unk>", " ", "  ", "\n", "\u3000", "\u2581"],
    *["is", "The contact", ".", "left hand", "[", "]", "SEG", "é", "日", "<0x0A>", "USER:", "[SE", "\x1c"],
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=30).filter(
    lambda t: all(not 0xD800 <= ord(c) < 0xE000 for c in t)
)


@cache
def golden() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return read


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ContactTokenizer:
    return ContactTokenizer.from_folder(make_folder(tmp_path_factory.mktemp("tok")))


def pieces(tokenizer: ContactTokenizer, ids: list[int]) -> list[str]:
    spm = pytest.importorskip("sentencepiece")
    sp = spm.SentencePieceProcessor(model_proto=model_bytes())
    added = {i: word for word, i in tokenizer.added.items()}
    return [added[i] if i in added else sp.id_to_piece(i) for i in ids]


@pytest.mark.parametrize("name", ["tok", "tok_plain", "tok_odd", "tok_new"])
def test_ids_and_texts_recorded_from_transformers_4_31(name: str, tmp_path: Path) -> None:
    """Four folders: usual, special words as bare strings, overlapping added words, special words without an id."""
    recorded = golden()["folders"][name]
    (tmp_path / "tokenizer.model").write_bytes(base64.b64decode(golden()["tokenizer.model"]))
    for file in ("added_tokens.json", "special_tokens_map.json"):
        (tmp_path / file).write_text(json.dumps(recorded[file]))
    tokenizer = ContactTokenizer.from_folder(tmp_path)
    assert len(recorded["cases"]) > 100
    for text, ids, decoded, without_special in recorded["cases"]:
        assert tokenizer.encode(text) == ids, repr(text)
        assert tokenizer.decode(ids) == decoded, repr(text)
        assert tokenizer.decode(ids, skip_special=True) == without_special, repr(text)


def twin(tokenizer: ContactTokenizer, text: str) -> list[int]:
    """The same by hand, one character after the other."""
    spm = pytest.importorskip("sentencepiece")
    sp = spm.SentencePieceProcessor(model_proto=model_bytes())
    words = {**tokenizer.added, "<s>": 1, "</s>": 2, "<unk>": 0}
    parts: list[str] = [""]
    while text:
        here = max((w for w in words if text.startswith(w)), key=len, default="")
        if here:
            parts += [here, ""]
        else:
            parts[-1] += text[0]
        text = text[len(here) or 1 :]
    ids = [1]
    for i, part in enumerate(parts):
        if part in words:
            ids.append(words[part])
            continue
        if i > 0 and parts[i - 1] in tokenizer.added:
            part = part.lstrip()
        if i + 1 < len(parts) and parts[i + 1] in tokenizer.added:
            part = part.rstrip()
        ids += sp.encode(part) if part else []
    return ids


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_equals_a_slow_twin(tokenizer: ContactTokenizer, text: str) -> None:
    assert tokenizer.encode(text) == twin(tokenizer, text)


def test_white_space_round_added_words(tokenizer: ContactTokenizer) -> None:
    def of(text: str) -> list[str]:
        return pieces(tokenizer, tokenizer.encode(text, bos=False))

    after_image = of("<im_end>\nWhich")
    assert after_image[0] == "<im_end>"
    assert "".join(after_image[1:]) == "▁Which"
    assert of("is [SEG].")[:2] == ["▁is", "[SEG]"]
    assert "".join(of("is [SEG].")[2:]) == "▁."  # one piece in LLaMA's vocabulary, two in this small one
    assert of("ASSISTANT: ")[-1] == "▁"
    assert of("a [SEG] [SEG]") == of("a[SEG][SEG]")
    assert of("a </s>") != of("a</s>")  # special words keep theirs
    assert of("") == of("[SEG] ")[1:] == []
    assert "".join(of("  ")) == "▁▁▁"  # only spaces: nothing is dropped, and the dummy prefix comes


def test_bare_special_words_drop_white_space(tmp_path: Path) -> None:
    tokenizer = ContactTokenizer.from_folder(make_folder(tmp_path, eos_token="</s>"))
    assert tokenizer.encode("a </s> b") == tokenizer.encode("a</s>b")


def test_ids_of_parts(tokenizer: ContactTokenizer, tmp_path: Path) -> None:
    base = tokenizer.base_size
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id, tokenizer.pad_id) == (1, 2, 0, 0)
    assert tokenizer.vocab_size == base + 5
    expected = ContactTokens(base, base + 1, base + 2, "Gen-Hu-Obj")
    assert tokenizer.contact_tokens("Gen-Hu-Obj") == tokenizer.contact_tokens("Gen-Hu-Obj-DifDe") == expected
    assert tokenizer.contact_tokens("Gen") == ContactTokens(base)
    with pytest.raises(InputError, match=r"needs \[ISEG\]"):
        tokenizer.contact_tokens("Gen-Int")
    with pytest.raises(InputError, match="no token type 'Foo'"):
        tokenizer.contact_tokens("Foo")
    with pytest.raises(InputError, match="no word"):
        tokenizer.id_of("[ISEG]")
    shared = ContactTokenizer.from_folder(make_folder(tmp_path, words_to_add("Gen-Int"))).contact_tokens("Gen-Int")
    assert shared.human == shared.object == base + 1


def test_adding_words_keeps_known_ids(tmp_path: Path) -> None:
    """A vocabulary of LISA's, with [SEG] and the image's words, grows by what is missing."""
    lisa = ContactTokenizer.from_folder(make_folder(tmp_path / "a", ("[SEG]", "<im_start>", "<im_end>")))
    grown = lisa.extended("Gen-Hu-Obj")
    base = lisa.base_size
    assert grown.added == {"[SEG]": base, "<im_start>": base + 1, "<im_end>": base + 2, "[HSEG]": base + 3} | {
        "[OSEG]": base + 4
    }
    assert lisa.extended("Gen").added == lisa.added
    grown.save(tmp_path / "b")
    again = ContactTokenizer.from_folder(tmp_path / "b")
    assert again.added == grown.added
    for text in ("a </s> b", "is [OSEG].\n", "<unk> x"):
        assert again.encode(text) == grown.encode(text)


def test_added_words_of_the_newer_file(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    added = json.loads((folder / "added_tokens.json").read_text())
    before = ContactTokenizer.from_folder(folder)
    (folder / "added_tokens.json").unlink()
    table = {str(i): {"content": word, "lstrip": False, "special": True} for word, i in added.items()}
    table["1"] = {"content": "<s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": table}))
    after = ContactTokenizer.from_folder(folder)
    for text in ("is [SEG] .", "<s> a </s> b", "<im_end>\nWhich"):
        assert after.encode(text) == before.encode(text)


def test_decoding(tokenizer: ContactTokenizer) -> None:
    text = "The contact region is [HSEG].</s>"
    assert (
        tokenizer.decode(tokenizer.encode(text, bos=False)) == "The contact region is [HSEG]  .</s>"
    )  # as the old one
    assert tokenizer.decode([IMAGE_ID, tokenizer.added["<im_end>"]]) == "<image> <im_end>"
    assert tokenizer.decode([]) == ""
    for bad in (-1, tokenizer.vocab_size):
        with pytest.raises(InputError, match="not in this vocabulary"):
            tokenizer.decode([bad])


@settings(max_examples=300, deadline=None)
@given(text=st.lists(st.sampled_from([*PIECES, *RESERVED_WORDS, "\u200b", "\x00", "\u202e"]), max_size=12).map("".join))
def test_untrusted_text_never_means_anything(tokenizer: ContactTokenizer, text: str) -> None:
    """No added or special id comes out, and nothing that can be seen is lost."""
    try:
        plain = tokenizer.neutralise(text)
    except InputError:
        assert not any(c.isalnum() for c in text) or len(text) > MAX_UNTRUSTED
        return
    ids = tokenizer.encode_untrusted(text)
    assert not set(ids) & ({*tokenizer.added.values()} | tokenizer.special_ids)
    assert not any(word in plain for word in RESERVED_WORDS)
    assert tokenizer.neutralise(plain) == plain
    seen = "".join(c for c in text if c.isprintable() and not c.isspace() and c != "▁")
    assert plain.replace(" ", "") == seen


def test_untrusted_text_that_is_refused(tokenizer: ContactTokenizer) -> None:
    for empty in ("", "  \n", "\u200b", "[]", "?!", "▁"):
        with pytest.raises(InputError, match="must hold a letter or a digit"):
            tokenizer.neutralise(empty)
    for long in ("a" * (MAX_UNTRUSTED + 1), "a" * 10_000_000):
        with pytest.raises(InputError, match=f"the limit is {MAX_UNTRUSTED}"):
            tokenizer.neutralise(long)
    with pytest.raises(InputError, match="must be a text, got int"):
        neutralise(3)
    assert tokenizer.neutralise("a" * MAX_UNTRUSTED) == "a" * MAX_UNTRUSTED
    assert tokenizer.neutralise("[S\u200bEG]") == "[ SEG]"  # what cannot be seen goes first
    assert tokenizer.neutralise("日本 Tasse\t1") == "日本 Tasse 1"
    assert neutralise("a§b", words=["§"]) == "ab"


def test_texts_that_cannot_be_encoded(tokenizer: ContactTokenizer) -> None:
    with pytest.raises(InputError, match="half a character"):
        tokenizer.encode("a\ud800")
    with pytest.raises(InputError, match="too long"):
        tokenizer.encode("a" * (MAX_TEXT + 1))


def _damage(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.model", b"nonsense", "not a sentencepiece model"),
        ("tokenizer.model", b"", "not a sentencepiece model"),
        ("added_tokens.json", "[1]", "expected a table"),
        ("added_tokens.json", "{", "not JSON"),
        ("added_tokens.json", '{"[SEG]": "5"}', "expected a whole number"),
        ("added_tokens.json", '{"[SEG]": -5}', "expected a whole number"),
        ("added_tokens.json", '{"": 500}', "expected a whole number"),
        ("added_tokens.json", '{"[SEG]": true}', "expected a whole number"),
        ("added_tokens.json", '{"[SEG]": 700, "[X]": 700}', "the same id"),
        ("added_tokens.json", '{"[SEG]": 5}', "not of one checkpoint"),
        ("special_tokens_map.json", '{"bos_token": 5}', "expected a word"),
        ("special_tokens_map.json", '{"bos_token": {"content": []}}', "expected a word"),
        ("special_tokens_map.json", '{"additional_special_tokens": "x"}', "expected a list"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ContactTokenizer.from_folder(_damage(make_folder(tmp_path), name, content))


def test_missing_and_huge_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="does not exist"):
        ContactTokenizer.from_folder(tmp_path)
    folder = make_folder(tmp_path)
    monkeypatch.setattr(tokenizer_files, "MAX_MODEL_BYTES", 100)
    with pytest.raises(InputError, match="more than the limit"):
        ContactTokenizer.from_folder(folder)
    monkeypatch.undo()
    monkeypatch.setattr(tokenizer_files, "MAX_ADDED", 2)
    with pytest.raises(InputError, match="adds 5 words"):
        ContactTokenizer.from_folder(folder)
