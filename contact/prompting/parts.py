"""What a model's answer names in words: body parts and the affordance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from hoirecon.contact.prompting.templates import AFFORDANCES, TEMPLATES

_SPACE = r"[\s_\-]*"


def named_parts(answer_text: str, known_parts: Sequence[str] = ()) -> tuple[str, ...]:
    """Body parts that an answer names, in its order, each once, as ``known_parts`` spells them.

    Case, spaces, underscores, hyphens and a plural's s make no difference; of names that overlap the longer counts
    (``left hand index`` before ``left hand``).

    Args:
        answer_text: the model's answer, decoded.
        known_parts: names that may occur; if there are none, what the answer lists in the place where the trained
            answers list body parts.

    Example:
        >>> named_parts("The contacting body parts are left hand, right foot, and the contact region is [SEG].")
        ('left hand', 'right foot')
    """
    if not known_parts:
        return _listed_parts(answer_text)
    return _occurring(answer_text, known_parts)


def affordance_named(answer: str, known: Sequence[str] = AFFORDANCES) -> str:
    """The affordance that an answer names, or an empty text; ``known`` limits what counts.

    The place where the trained answers name it is looked at first, then the whole answer.

    Example:
        >>> affordance_named("The affordance type is wrapgrasp with bottle, and the contact region is [SEG] .")
        'wrapgrasp'
    """
    for text in [found for p in _places("affordance") if (found := _search(p, answer))] + [answer]:
        if named := _occurring(text, known):
            return named[0]
    return ""


def _occurring(text: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names in the text by place; one place belongs to the longest name only."""
    spelled = {_key(name): name for name in reversed(names) if _key(name)}
    if not spelled:
        return ()
    longest_first = sorted(spelled, key=len, reverse=True)
    pattern = "|".join(_SPACE.join(map(re.escape, _words(key))) for key in longest_first)
    found = re.finditer(rf"(?<![^\W_])({pattern})s?(?![^\W_])", text, re.IGNORECASE)
    squeezed = {key.replace(" ", ""): name for key, name in spelled.items()}
    return tuple(dict.fromkeys(squeezed[_key(match[1]).replace(" ", "")] for match in found))


def _words(name: str) -> list[str]:
    return name.split(" ")


def _key(name: str) -> str:
    """Lower case, one space between words; ``leftHand`` counts as two words."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.split(r"[\s_\-]+", apart.lower())).strip()


def _listed_parts(answer: str) -> tuple[str, ...]:
    for place in _places("body_parts"):
        if found := _search(place, answer):
            items = (" ".join(item.split()) for item in re.split(r",|\band\b", found))
            return tuple(dict.fromkeys(item for item in items if item))
    return ()


def _search(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1].strip() if match else ""


@cache
def _places(name: str) -> tuple[re.Pattern[str], ...]:
    """Patterns of the trained answers, with a group where they name a thing and anything for the token."""
    texts = [text for kinds in TEMPLATES.values() for kind in kinds.values() for text in kind.answers]
    wanted = list(dict.fromkeys(text for text in texts if "{" + name + "}" in text))
    return tuple(re.compile(_pattern(text, name), re.IGNORECASE | re.DOTALL) for text in wanted)


def _pattern(template: str, name: str) -> str:
    """White space may vary; the text ends before the contact token, which may be missing."""
    before, after = template.split("{" + name + "}")
    after = re.sub(r"\{\w+\}", "", after.split("{token}")[0]).split(",")[1]
    flexible = [r"\s+".join(re.escape(word) for word in part.split()) for part in (before, after)]
    return rf"{flexible[0]}\s*(.*?)\s*,\s*{flexible[1]}"
