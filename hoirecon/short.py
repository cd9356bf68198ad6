"""Short words for what a person looks at in a notebook: a text cut to a length, warnings counted."""

from __future__ import annotations

from collections.abc import Sequence


def short(text: str, length: int = 40) -> str:
    """A text on one line, cut with an ellipsis.

    Example:
        >>> short("a cup  of tea", 8)
        'a cup o…'
    """
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def counted(count: int, what: str, many: str = "") -> str:
    """How many of something.

    Example:
        >>> counted(1, "body", "bodies"), counted(2, "object")
        ('1 body', '2 objects')
    """
    return f"{count} {what if count == 1 else many or what + 's'}"


def flags_text(flags: Sequence[str], length: int = 100) -> str:
    """How many flags there are and how they begin.

    Example:
        >>> flags_text(["ambiguous", "no contact"]), flags_text([])
        ('2 flags: ambiguous; no contact', 'no flags')
    """
    return f"{counted(len(flags), 'flag')}: {short('; '.join(flags), length)}" if flags else "no flags"
