"""Write docs/api.md, the list of public names, from the packages themselves; a test keeps the page true.

Usage: python tools/api_page.py

A public name is one that a package's ``__init__`` offers. Removing one breaks users: the test then fails and asks.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = (
    "hoirecon",
    "hoirecon.perception",
    "hoirecon.data.body",
    "hoirecon.data.objects",
    "hoirecon.data.closedworld",
    "hoirecon.contact",
    "hoirecon.fitting",
    "hoirecon.fitting.baselines",
    "hoirecon.retrieval",
    "hoirecon.retrieval.index",
    "hoirecon.evaluation",
    "hoirecon.views",
)
OUT = Path(__file__).resolve().parent.parent / "docs" / "api.md"


def public_names(package: ModuleType) -> list[str]:
    """Names that a package offers: its ``__all__``, or what its ``__init__`` imports and defines without underscore."""
    if hasattr(package, "__all__"):
        names = [n for n in package.__all__ if n != "__version__"]
    else:
        names = [n for n, v in vars(package).items() if not n.startswith("_") and not inspect.ismodule(v)]
        names = [n for n in names if str(getattr(getattr(package, n), "__module__", "hoirecon")).startswith("hoirecon")]
    return sorted(set(names), key=str.lower)


def first_sentence(value: Any) -> str:
    """First sentence of a docstring in one line; of a plain value what it holds: its class's docstring is Python's."""
    if isinstance(value, Mapping | tuple | int):
        held = [f"`{name}`" for name in value if isinstance(name, str)] if not isinstance(value, int) else [str(value)]
        return f"Holds {', '.join(held[:6])}{' and more' if len(held) > 6 else ''}."
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    return text.replace("|", "\\|")


def signature(name: str, value: Any) -> str:
    """Name with its parameters' names; a dataclass's fields are its parameters."""
    if not callable(value):
        return name
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return name
    shown = [p.name if p.default is p.empty else f"{p.name}=" for p in parameters]
    if getattr(value, "_is_protocol", False):
        return name
    text = ", ".join(shown)
    return f"{name}({text if len(text) <= 150 else text[:150].rsplit(',', 1)[0] + ', ...'})"


def page() -> str:
    """The page as text."""
    lines = [
        "# Public names",
        "",
        "Written by `python tools/api_page.py` from the docstrings; `name=` is optional. All else is private and may",
        "change. Read a name's whole docstring (shapes, units, frames, errors) with `help(name)`.",
    ]
    for package_name in PACKAGES:
        package = importlib.import_module(package_name)
        lines += ["", f"## `{package_name}`", "", first_sentence(package), "", "| name | what |", "|---|---|"]
        for name in public_names(package):
            value = getattr(package, name)
            lines.append(f"| `{signature(name, value)}` | {first_sentence(value)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    OUT.write_text(page(), encoding="utf-8")
    print(OUT.name)
