"""What a model's answer names in words: body parts and the affordance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from hoirecon.contact.prompting.templates import AFFORDANCES, TEMPLATES

_SPACE = r"[\s_\-]*"
_FILLERS = frozenset({"a", "an", "and", "both", "her", "his", "or", "the", "their"})
"""Words that may stand beside names in a list without making them other names."""


def named_parts(answer_text: str, known_parts: Sequence[str] = ()) -> tuple[str, ...]:
    """Body parts that an answer names, in its order, each once, as ``known_parts`` spells them.

    What the answer lists in the place where the trained answers list body parts counts first: known names as
    ``known_parts`` spells them, others as they are written. Of an answer without such a list, the known names anywhere
    in it. Case, spaces, underscores, hyphens and a plural's s make no difference; of names that overlap the longer
    counts (``left hand index`` before ``left hand``).

    Args:
        answer_text: the model's answer, decoded.
        known_parts: names that are respelled; if there are none, only a list counts, as it is written.

    Example:
        >>> named_parts("The contacting body parts are left hand, right foot, and the contact region is [SEG].")
        ('left hand', 'right foot')
    """
    listed = _list(answer_text)
    if not listed:
        return _occurring(answer_text, known_parts)
    if named := _wholly_known(listed, known_parts):  # first, for a known name may hold a comma or an "and"
        return named
    named = ()
    for item in _items(listed):
        named += _wholly_known(item, known_parts) or (item,)
    return tuple(dict.fromkeys(named))


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
    return _sought(text, names)[0]


def _wholly_known(text: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names in the text if it says nothing else of weight, else none: ``left hand palm`` is not ``left hand``."""
    found, rest = _sought(text, names)
    return found if set(re.findall(r"[^\W_]+", rest.lower())) <= _FILLERS else ()


def _sought(text: str, names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Names in the text by place, and the text without them."""
    spelled = {_key(name): name for name in reversed(names) if _key(name)}
    if not spelled:
        return (), text
    longest_first = sorted(spelled, key=len, reverse=True)
    either = "|".join(_SPACE.join(map(re.escape, _words(key))) for key in longest_first)
    pattern = re.compile(rf"(?<![^\W_])({either})s?(?![^\W_])", re.IGNORECASE)
    squeezed = {key.replace(" ", ""): name for key, name in spelled.items()}
    found = (squeezed[_key(match[1]).replace(" ", "")] for match in pattern.finditer(text))
    return tuple(dict.fromkeys(found)), pattern.sub(" ", text)


def _words(name: str) -> list[str]:
    return name.split(" ")


def _key(name: str) -> str:
    """Lower case, one space between words; ``leftHand`` counts as two words."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.split(r"[\s_\-]+", apart.lower())).strip()


def _list(answer: str) -> str:
    """What stands in the place where the trained answers list body parts; empty if there is no such place."""
    return next((found for place in _places("body_parts") if (found := _search(place, answer))), "")


def _items(listed: str) -> tuple[str, ...]:
    items = (" ".join(item.split()) for item in re.split(r",|\band\b", listed))
    return tuple(dict.fromkeys(item for item in items if item))


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
