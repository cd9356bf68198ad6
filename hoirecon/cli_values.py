"""Boxes, points, strokes and the user's body as they are said on the command line and in the environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hoirecon.errors import InputError


def body_of_environment() -> Path | None:
    """The body file (or folder) that ``HOIRECON_BODY`` names: what ``--body`` is where it is not given.

    Benchmarks and training speak of licensed bodies that no package may ship; who has one says so once. What
    reconstructs keeps the free body until told otherwise.
    """
    named = os.environ.get("HOIRECON_BODY", "").strip()
    return Path(named).expanduser() if named else None


def parse_box(text: str) -> tuple[float, float, float, float]:
    """Read ``x,y,width,height``.

    Example:
        >>> parse_box("0,150,180,60")
        (0.0, 150.0, 180.0, 60.0)

    Raises:
        InputError: not four numbers.
    """
    numbers = numbers_of(text, "a box")
    if len(numbers) != 4:
        raise InputError(f"a box is x,y,width,height in pixels, got '{text}'")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def which_person(number: int | None, box: str, mask: Path | None) -> int | str | tuple[float, float, float, float]:
    """Which person is meant, as ``reconstruct(person=...)`` takes it: a number from the left, a box in pixels, or
    ``auto``; a mask says it by itself.

    Example:
        >>> which_person(None, "0,150,180,60", None)
        (0.0, 150.0, 180.0, 60.0)

    Raises:
        InputError: said twice, or the box is not four numbers.
    """
    told = {"--person": number is not None, "--person-box": bool(box), "--person-mask": mask is not None}
    given = [option for option, is_given in told.items() if is_given]
    if len(given) > 1:
        raise InputError(f"a person is meant by {' or by '.join(given)}: give one of them")
    if box:
        return parse_box(box)
    return "auto" if number is None else number


def parse_points(text: str) -> tuple[tuple[float, float], ...]:
    """Read ``x,y;x,y;...``.

    Example:
        >>> parse_points("1,2;3,4")
        ((1.0, 2.0), (3.0, 4.0))

    Raises:
        InputError: a point has not two numbers.
    """
    pairs = [numbers_of(part, "a point") for part in text.split(";") if part.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(f"points are x,y;x,y;... in pixels, got '{text}'")
    return tuple((pair[0], pair[1]) for pair in pairs)


def parse_stroke(text: str, positive: bool) -> Any:
    """Read a polyline ``x,y;x,y;...`` with an optional ``:width`` in pixels.

    Raises:
        InputError: not points, or not a width.
    """
    import numpy as np

    from hoirecon.perception.protocols import Scribble

    points, _, width = text.partition(":")
    return Scribble(np.array(parse_points(points)), numbers_of(width, "a width")[0] if width else 3.0, positive)


def numbers_of(text: str, what: str) -> list[float]:
    """Numbers with commas between them; ``what`` is what to call them in the error.

    Raises:
        InputError: something is not a number.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{what} is made of numbers with commas between them, got '{text}'") from None


def given_once(values: Sequence[str], name: str) -> str | None:
    """The one value of an option that may be repeated, None without one.

    Raises:
        InputError: it was given several times.
    """
    if len(values) > 1:
        raise InputError(f"{name} was given {len(values)} times for one object: give it once")
    return values[0] if values else None


def refuse_idle(idle: bool, says: str) -> None:
    """Refuse an option that would do nothing, instead of passing over it.

    Raises:
        InputError: it is idle; ``says`` is the message.
    """
    if idle:
        raise InputError(says)


def parse_seeds(text: str) -> list[int]:
    """Read ``0:60`` (the end left out), ``3,5,8`` or a mixture.

    Example:
        >>> parse_seeds("0:3,7")
        [0, 1, 2, 7]

    Raises:
        InputError: not numbers, or none at all.
    """
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, colon, last = part.partition(":")
            seeds += range(int(first), int(last)) if colon else [int(first)]
    except ValueError:
        raise InputError(f"seeds are like 0:60 or 3,5,8, got '{text}'") from None
    if not seeds:
        raise InputError(f"seeds '{text}' hold no scene: the end of a range is left out, so 0:1 is scene 0")
    return seeds


def parse_names(text: str) -> tuple[str, ...]:
    """Names with commas between them, each once.

    Example:
        >>> parse_names("icp, centroid,icp")
        ('icp', 'centroid')
    """
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
