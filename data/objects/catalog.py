"""Categories of objects that people touch: names, size, symmetry, and how they are typically used.

The facts stand in `categories/*.toml`; `categories/README.md` says how to write them.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hoirecon.data.objects.index import WHOLE, entries
from hoirecon.data.objects.symmetry import Symmetry
from hoirecon.errors import InputError

FOLDER = Path(__file__).parent / "categories"

UP_AXIS = "+y"
"""Up axis of every mesh frame of the library."""
FRONT_AXIS = "+z"
"""Front axis of every mesh frame: the side that faces a viewer or user, or the direction of travel."""

BODY_GROUPS: Mapping[str, tuple[str, ...]] = {
    "hand": ("palm", "thumb", "index_finger", "middle_finger", "ring_finger", "pinky_finger"),
    "fingers": ("index_finger", "middle_finger", "ring_finger", "pinky_finger"),
    "pinch": ("thumb", "index_finger", "middle_finger"),
    "foot": ("sole", "toes"),
    "thigh": ("thigh_front", "thigh_back"),
}
"""Short names that stand for several body parts of one side in the category files."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Category:
    """What is known about a kind of object before any picture of it is seen."""

    name: str
    """Canonical name, e.g. "cell phone"."""
    aliases: tuple[str, ...]
    """Other names; `get_category` takes them too."""
    group: str
    """File it stands in: furniture, kitchen, sports..."""
    coco: bool
    """Whether it is one of COCO's 80 object categories (then `name` is COCO's name)."""
    size_median: float
    """Median length of the longest side of the bounding box, metres."""
    size_log_sigma: float
    """Standard deviation of the logarithm of that length: 0.1 means about 10 %."""
    size_source: str
    """Where the size comes from, or the reasoning."""
    symmetry: Symmetry
    """Rotations under which most members look the same; a mesh may have more (see `LibraryObject.symmetry`)."""
    default_id: str
    """The mesh that `load_object` gives for the category's name."""
    parts: tuple[str, ...]
    """Names of object parts that occur on the category's meshes."""
    interactions: Mapping[str, tuple[Pair, ...]]
    """(body part, object part) pairs by the name of the interaction, the most typical interaction first."""

    def size_range(self, n_sigma: float = 2.0) -> tuple[float, float]:
        """Shortest and longest plausible longest side in metres, `n_sigma` log-sigmas about the median."""
        factor = math.exp(n_sigma * self.size_log_sigma)
        return self.size_median / factor, self.size_median * factor


def list_categories() -> list[str]:
    """Canonical names of all categories, sorted.

    Example:
        >>> "barbell" in list_categories()
        True
    """
    return sorted(_catalog())


def get_category(name: str) -> Category:
    """The category of a name or alias; case, spaces, underscores and hyphens do not matter.

    Example:
        >>> get_category("Mobile_Phone").name
        'cell phone'

    Raises:
        InputError: no such category; the message offers the nearest names.
    """
    names = _names()
    key = normalise(name)
    for candidate in (key, key.removesuffix("s")):
        if candidate in names:
            return _catalog()[names[candidate]]
    raise InputError(f"unknown object {name!r}: {_nearest(key, names)}")


def normalise(name: str) -> str:
    """Lower case, single spaces, no underscores or hyphens: the form in which names are compared."""
    return " ".join(str(name).lower().replace("_", " ").replace("-", " ").split())


def _nearest(key: str, names: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(key, list(names), n=8, cutoff=0.5)
    inside = [known for known in names if key and (f" {key} " in f" {known} " or f" {known} " in f" {key} ")]
    offered = list(dict.fromkeys(names[c] for c in [*inside, *close]))[:5]
    if not offered:
        return "`hoirecon.data.objects.list_categories()` lists the names; or give a mesh of your own"
    return f"did you mean {', '.join(offered)}? (or give a mesh of your own)"


@cache
def _catalog() -> dict[str, Category]:
    found: dict[str, Category] = {}
    for file in sorted(FOLDER.glob("*.toml")):
        for name, row in tomllib.loads(file.read_text(encoding="utf-8")).items():
            found[name] = _category(name, file.stem, row)
    return found


@cache
def _names() -> dict[str, str]:
    """Normalised name or alias -> canonical name."""
    names: dict[str, str] = {}
    for category in _catalog().values():
        for alias in (category.name, *category.aliases):
            if names.setdefault(normalise(alias), category.name) != category.name:
                raise ValueError(f"{alias!r} names both {names[normalise(alias)]} and {category.name}")
    return names


def _category(name: str, group: str, row: Mapping[str, Any]) -> Category:
    median, log_sigma = row["size"]
    used = {p for e in entries().values() if e.category == name for p in e.part_names} - {WHOLE}
    return Category(
        name=name,
        aliases=tuple(row.get("aliases", ())),
        group=group,
        coco=bool(row.get("coco", False)),
        size_median=float(median),
        size_log_sigma=float(log_sigma),
        size_source=row["why"],
        symmetry=Symmetry.parse(row.get("symmetry", "")),
        default_id=f"{name}/{row['default']}",
        parts=tuple(sorted(used)),
        interactions=dict(_interactions(row["interactions"])),
    )


def _interactions(table: Mapping[str, list[list[str]]]) -> Iterator[tuple[str, tuple[Pair, ...]]]:
    """Expand the shorthand: `~` makes a right-handed and a left-handed twin, `&` both sides at once."""
    for name, pairs in table.items():
        if any("~" in body for body, _ in pairs):
            for side in ("right", "left"):
                sided = [(b.replace("~", f"{side}_"), p.replace("~", side)) for b, p in pairs]
                yield f"{name}_{side}", tuple(_expanded(sided))
        else:
            yield name, tuple(_expanded([(b, p) for b, p in pairs]))


def _expanded(pairs: list[Pair]) -> Iterator[Pair]:
    for body, part in pairs:
        sides = ("left", "right") if "&" in body else ("",)
        for side in sides:
            yield from _grouped(body.replace("&", f"{side}_"), part.replace("&", side))


def _grouped(body: str, part: str) -> Iterator[Pair]:
    side, _, rest = body.partition("_")
    if side in ("left", "right") and rest in BODY_GROUPS:
        yield from ((f"{side}_{member}", part) for member in BODY_GROUPS[rest])
    else:
        yield body, part
