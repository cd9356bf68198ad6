"""All parametric variants of the library."""

from __future__ import annotations

import importlib
import pkgutil

import hoirecon.data.objects.generators as package
from hoirecon.data.objects.generators.assembly import REGISTRY, Variant


def all_variants() -> dict[str, Variant]:
    """Every variant by id; imports all modules of this package first."""
    for module in pkgutil.iter_modules(package.__path__, prefix=f"{package.__name__}."):
        importlib.import_module(module.name)
    return dict(sorted(REGISTRY.items()))
