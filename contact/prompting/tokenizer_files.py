"""The files of a checkpoint's tokenizer: read as if an enemy had written them, and written back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoirecon.errors import InputError
from hoirecon.files import atomic_file, check_writable, read_json, write_json

MODEL = "tokenizer.model"
ADDED = "added_tokens.json"
SPECIAL = "special_tokens_map.json"
CONFIG = "tokenizer_config.json"

MAX_MODEL_BYTES = 64 << 20
"""Largest sentencepiece model that is read; LLaMA's has half a megabyte."""
MAX_JSON_BYTES = 4 << 20
"""Largest JSON file beside it."""
MAX_ADDED = 100_000
"""Most words that may have been added."""

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_DEFAULTS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_KEEP_SPACE = (*_DEFAULTS, "pad_token")  # the old tokenizer keeps white space beside these however the config has them


@dataclass(frozen=True)
class SpecialWord:
    """A word with a part of its own: begin, end, unknown, fill."""

    role: str
    """``bos_token``, ``eos_token``, ...; ``additional_special_tokens`` for the nameless."""
    text: str
    """Its spelling."""
    plain: bool = False
    """Spelled as a bare string where the old tokenizer treats that like an added word: white space beside it goes."""
    strips_left: bool = False
    """Whether white space on its left goes."""
    strips_right: bool = False
    """Whether white space on its right goes."""


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files say."""

    model: bytes
    """The sentencepiece model, serialised."""
    added: Mapping[str, int]
    """Words added to its vocabulary, and their ids."""
    specials: tuple[SpecialWord, ...]
    """Special words, in the order of :data:`ROLES`."""


def read_files(folder: str | Path) -> TokenizerFiles:
    """Read a tokenizer's folder.

    Raises:
        InputError: a file is missing, too large or damaged; the message names it.
    """
    folder = Path(folder)
    config, special = _read_table(folder / CONFIG), _read_table(folder / SPECIAL)
    added = _added(_read_table(folder / ADDED), config, folder)
    return TokenizerFiles(_read_model(folder / MODEL), added, _specials(special, config, folder))


def write_files(files: TokenizerFiles, folder: str | Path) -> None:
    """Write a tokenizer's folder so that :func:`read_files` gives the same back.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = Path(folder)
    check_writable(folder)
    with atomic_file(folder / MODEL) as tmp:
        tmp.write_bytes(files.model)
    write_json(folder / ADDED, dict(files.added))
    write_json(folder / SPECIAL, _special_table(files.specials))
    write_json(folder / CONFIG, {"tokenizer_class": "LlamaTokenizer", "legacy": True, "padding_side": "right"})


def _read_model(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a checkpoint's folder with its {MODEL}")
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise InputError(f"{path} has {path.stat().st_size >> 20} MB, more than the limit of {MAX_MODEL_BYTES >> 20}")
    return path.read_bytes()


def _read_table(path: Path) -> dict[str, Any]:
    """A JSON object, empty if there is no file."""
    if not path.exists():
        return {}
    value = read_json(path, MAX_JSON_BYTES)
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a {type(value).__name__}, expected a table of names")
    return value


def _added(own: Mapping[str, Any], config: Mapping[str, Any], folder: Path) -> dict[str, int]:
    """Words and ids of ``added_tokens.json``, else of ``added_tokens_decoder``."""
    if not own and isinstance(decoder := config.get("added_tokens_decoder"), dict):
        own = {
            str(entry.get("content", "")): int(i)
            for i, entry in decoder.items()
            if isinstance(entry, dict) and str(i).isdecimal()
        }
    if len(own) > MAX_ADDED:
        raise InputError(f"{folder / ADDED} adds {len(own)} words, more than the limit of {MAX_ADDED}")
    for word, i in own.items():
        if not word or isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < 1 << 31:
            raise InputError(f"{folder / ADDED} gives the word {word[:40]!r} the id {i!r}, expected a whole number")
    return dict(own)


def _specials(special: Mapping[str, Any], config: Mapping[str, Any], folder: Path) -> tuple[SpecialWord, ...]:
    """``special_tokens_map.json`` decides, then ``tokenizer_config.json``, then LLaMA's own spellings.

    A bare string in the first file is a plain word to the old tokenizer; elsewhere bare strings keep white space.
    """
    found: list[SpecialWord] = []
    for role in ROLES:
        if special.get(role):
            found.append(_special(role, special[role], True, folder / SPECIAL))
        elif value := config.get(role) or _DEFAULTS.get(role):
            found.append(
                _special(role, value, role not in ("bos_token", "eos_token", "unk_token", "pad_token"), folder)
            )
    more = special.get("additional_special_tokens") or config.get("additional_special_tokens") or []
    if not isinstance(more, list):
        raise InputError(f"{folder / SPECIAL} names additional tokens by a {type(more).__name__}, expected a list")
    return (*found, *(_special("additional_special_tokens", value, True, folder / SPECIAL) for value in more))


def _special(role: str, value: Any, plain: bool, path: Path) -> SpecialWord:
    if isinstance(value, str) and value:
        return SpecialWord(role, value, plain)
    if isinstance(value, dict) and isinstance(text := value.get("content"), str) and text:
        return SpecialWord(role, text, False, bool(value.get("lstrip")), bool(value.get("rstrip")))
    raise InputError(f"{path} gives {role} as {str(value)[:60]!r}, expected a word")


def _special_table(specials: tuple[SpecialWord, ...]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for s in specials:
        entry: Any = s.text
        if not s.plain:
            flags = {"lstrip": s.strips_left, "rstrip": s.strips_right, "normalized": False, "single_word": False}
            entry = {"content": s.text, **flags}
        if s.role in ROLES:
            table[s.role] = entry
        else:
            table.setdefault(s.role, []).append(entry)
    return table
