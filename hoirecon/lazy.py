"""Public names that are imported when they are first asked for, so that importing a package stays light."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, public: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package whose names live in modules that are loaded on demand.

    Args:
        package: ``__name__`` of the package, for the error.
        public: name -> the module that has it.

    Returns:
        A function that gives a name's object and raises :class:`AttributeError` for others, as Python's own does.
    """

    def getter(name: str) -> Any:
        if name in public:
            return getattr(import_module(public[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return getter
